//! What every transport has to do, whatever it is.

use burn::tensor::bf16;
use downhill::train::{Exchange, ExchangeError};

/// What rank `rank` contributes at `index`: sums of these differ with the order in which they are added.
pub fn value(rank: usize, index: usize) -> f32 {
    let mixed = (index * 31 + rank * 17 + 1) as u32;
    let mixed = mixed.wrapping_mul(2_654_435_761);
    let magnitude = 10_f32.powi((mixed % 13) as i32 - 6);
    let sign = if mixed & (1 << 20) == 0 { 1.0 } else { -1.0 };
    sign * magnitude * (1.0 + (mixed >> 9) as f32 / 8_388_608.0)
}

pub fn all(exchange: &mut dyn Exchange) -> Result<(), ExchangeError> {
    sums(exchange)?;
    special(exchange)?;
    broadcasts(exchange)?;
    gathers(exchange)?;
    for _ in 0..3 {
        exchange.barrier()?;
    }
    Ok(())
}

fn sums(exchange: &mut dyn Exchange) -> Result<(), ExchangeError> {
    let (rank, size) = (exchange.rank(), exchange.size());
    // 2048 f32 and 1024 f64 go directly, 131072 f32 are the share of a rank in a piece.
    for length in [
        0,
        1,
        size - 1,
        size,
        size + 1,
        1024,
        1025,
        2048,
        2049,
        262_145,
        1_000_003,
    ] {
        let mut sum: Vec<f32> = (0..length).map(|i| value(rank, i)).collect();
        exchange.sum(&mut sum)?;
        for (index, found) in sum.iter().enumerate() {
            let expected = (1..size).fold(value(0, index), |sum, rank| sum + value(rank, index));
            assert_eq!(
                found.to_bits(),
                expected.to_bits(),
                "{length} f32, at {index}"
            );
        }
        let mut sum: Vec<f32> = (0..length).map(|i| value(rank, i)).collect();
        exchange.sum_bf16(&mut sum)?;
        let half = |value: f32| bf16::from_f32(value).to_f32();
        for (index, found) in sum.iter().enumerate() {
            let value = |rank| half(value(rank, index));
            let whole = (1..size).fold(value(0), |sum, rank| sum + value(rank));
            let expected = match (size, length) {
                (1, _) => self::value(0, index),
                (_, ..=4096) => whole,
                _ => half(whole),
            };
            assert_eq!(
                found.to_bits(),
                expected.to_bits(),
                "{length} bf16, at {index}"
            );
        }
        let mut sum: Vec<f64> = (0..length).map(|i| value(rank, i).into()).collect();
        exchange.sum_f64(&mut sum)?;
        for (index, found) in sum.iter().enumerate() {
            let value = |rank| f64::from(value(rank, index));
            let expected = (1..size).fold(value(0), |sum, rank| sum + value(rank));
            assert_eq!(
                found.to_bits(),
                expected.to_bits(),
                "{length} f64, at {index}"
            );
        }
    }
    Ok(())
}

fn special(exchange: &mut dyn Exchange) -> Result<(), ExchangeError> {
    let last = exchange.rank() == exchange.size() - 1;
    let given = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX];
    let given = given.map(|element| if last { element } else { 1.0 });
    for length in [4, 40_000] {
        let mut sum: Vec<f32> = given.into_iter().cycle().take(length).collect();
        exchange.sum(&mut sum)?;
        for four in sum.chunks(4) {
            assert!(four[0].is_nan() && four[1..] == [f32::INFINITY, f32::NEG_INFINITY, f32::MAX]);
        }
    }
    let mut zero = [-0.0_f32];
    exchange.sum(&mut zero)?;
    assert!(zero[0].is_sign_negative());
    let mut both = [if exchange.rank() == 0 {
        f32::INFINITY
    } else {
        f32::NEG_INFINITY
    }];
    exchange.sum(&mut both)?;
    assert_eq!(both[0].is_nan(), exchange.size() > 1);
    Ok(())
}

fn broadcasts(exchange: &mut dyn Exchange) -> Result<(), ExchangeError> {
    let (rank, size) = (exchange.rank(), exchange.size());
    for root in 0..size {
        for length in [0, 1, 8192, 8193, 3_000_001] {
            let expected: Vec<u8> = (0..length).map(|i| (i * 7 + root) as u8).collect();
            let mut bytes = if rank == root {
                expected.clone()
            } else {
                vec![9; rank]
            };
            exchange.broadcast(root, &mut bytes)?;
            assert!(
                bytes == expected,
                "{length} bytes from {root}: {}",
                bytes.len()
            );
        }
    }
    let mut bytes = vec![1, 2];
    let error = exchange.broadcast(size, &mut bytes).unwrap_err();
    assert_eq!(error, ExchangeError::Root { root: size, size });
    assert_eq!(bytes, [1, 2]);
    Ok(())
}

fn gathers(exchange: &mut dyn Exchange) -> Result<(), ExchangeError> {
    let (rank, size) = (exchange.rank(), exchange.size());
    // The last is longer than a segment on some ranks and not on others.
    for each in [0, 1, 10_000, 700_001] {
        let of = |rank: usize| -> Vec<u8> { (0..each * rank).map(|i| (i + rank) as u8).collect() };
        let gathered = exchange.all_gather(&of(rank))?;
        let expected: Vec<_> = (0..size).map(of).collect();
        assert!(gathered == expected, "{each}");
        for root in 0..size {
            let gathered = exchange.gather(root, &of(rank))?;
            let expected = if rank == root { &expected[..] } else { &[] };
            assert!(gathered == expected, "{each} by {root}");
        }
    }
    let error = exchange.gather(size, &[1]).unwrap_err();
    assert_eq!(error, ExchangeError::Root { root: size, size });
    Ok(())
}

/// What is sent must be what the documentation says.
pub fn sent(exchange: &mut dyn Exchange) -> Result<(), ExchangeError> {
    let (rank, size) = (exchange.rank() as u64, exchange.size() as u64);
    let others = size - 1;
    let mut before = exchange.sent();
    let mut since = |exchange: &dyn Exchange| {
        let sent = exchange.sent() - before;
        before = exchange.sent();
        sent
    };
    exchange.barrier()?;
    assert_eq!(since(exchange), 16 * others);
    exchange.sum(&mut [0.0; 100])?;
    assert_eq!(since(exchange), (16 + 400) * others);
    exchange.all_gather(&vec![0; 10 * rank as usize])?;
    assert_eq!(since(exchange), (16 + 10 * rank) * others);
    exchange.gather(0, &vec![0; 10 * rank as usize])?;
    let own = if rank == 0 { 0 } else { 10 * rank };
    // A round to say how much comes, and one in which it does if there is something.
    let rounds = if size == 1 { 1 } else { 2 };
    assert_eq!(since(exchange), rounds * 16 * others + own);
    // One segment, and divisible by 1 to 4.
    exchange.sum(&mut vec![0.0; 240_000])?;
    let heads = 2 * 16 * others;
    assert_eq!(since(exchange), heads + 2 * 960_000 * others / size);
    exchange.sum_bf16(&mut vec![0.0; 240_000])?;
    assert_eq!(since(exchange), heads + 960_000 * others / size);
    exchange.broadcast(0, &mut vec![0; if rank == 0 { 960_000 } else { 0 }])?;
    let heads = 3 * 16 * others;
    let shares = match rank {
        0 => 2 * others,
        _ => size - 2,
    };
    assert_eq!(since(exchange), heads + shares * 960_000 / size);
    Ok(())
}

/// The last rank does something else than the others: all hear of it, nothing has changed, and they can go on.
pub fn mismatch(exchange: &mut dyn Exchange) -> Result<(), ExchangeError> {
    let (rank, last) = (exchange.rank(), exchange.size() - 1);
    if last == 0 {
        return Ok(());
    }
    let expect = |error: ExchangeError, common: &str, other: &str| {
        let (first, theirs, ours) = match rank == last {
            true => (0, common, other),
            false => (last, other, common),
        };
        let (theirs, ours) = (theirs.to_owned(), ours.to_owned());
        let rank = first;
        assert_eq!(error, ExchangeError::Mismatch { rank, theirs, ours });
    };
    let mut ones = vec![1.0; if rank == last { 9_000 } else { 9_001 }];
    let error = exchange.sum(&mut ones).unwrap_err();
    expect(error, "a sum of 9001 f32", "a sum of 9000 f32");
    assert!(ones.iter().all(|&one| one == 1.0));

    let error = match rank == last {
        true => exchange.barrier().unwrap_err(),
        false => exchange.sum_f64(&mut [0.0; 5]).unwrap_err(),
    };
    expect(error, "a sum of 5 f64", "a barrier");

    let root = usize::from(rank == last);
    let mut bytes = vec![rank as u8];
    let error = exchange.broadcast(root, &mut bytes).unwrap_err();
    expect(error, "a broadcast from rank 0", "a broadcast from rank 1");
    assert_eq!(bytes, [rank as u8]);
    exchange.barrier()
}
