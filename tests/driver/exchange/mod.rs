//! What ranks tell each other, between threads.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use downhill::train::exchange::{Exchange, ExchangeError, Message, Threads};

mod collectives;
#[cfg(feature = "mpi")]
mod mpi;

/// What each rank makes of its handle; a panic of a rank is one of the test.
fn on<T: Send + 'static>(
    ranks: Vec<Threads>,
    work: impl Fn(Threads) -> T + Clone + Send + 'static,
) -> Vec<T> {
    let ranks: Vec<_> = ranks
        .into_iter()
        .map(|exchange| {
            let work = work.clone();
            thread::spawn(move || work(exchange))
        })
        .collect();
    ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
}

fn on_each(check: fn(&mut dyn Exchange) -> Result<(), ExchangeError>) {
    for size in 1..=4 {
        let done = on(Threads::of(size), move |mut exchange| check(&mut exchange));
        assert_eq!(done, vec![Ok(()); size]);
    }
}

#[test]
fn collectives_are_right_bit_for_bit() {
    on_each(collectives::all);
}

#[test]
fn what_is_sent_is_counted() {
    on_each(collectives::sent);
}

#[test]
fn ranks_that_do_different_things_are_told() {
    on_each(collectives::mismatch);
}

#[test]
fn a_rank_that_panics_is_lost_to_those_that_wait_and_that_come_later() {
    for size in 2..=4 {
        let begun = Instant::now();
        let (late, wait) = channel::<()>();
        let mut ranks = Threads::of(size);
        let mut panics = ranks.remove(0);
        let panicked = thread::spawn(move || {
            panics.barrier().unwrap();
            // While the others wait.
            thread::sleep(Duration::from_millis(50));
            panic!("on purpose");
        });
        let later = thread::spawn({
            let mut later = ranks.pop().unwrap();
            move || {
                later.barrier().unwrap();
                wait.recv().unwrap_err();
                [later.barrier(), later.sum(&mut [1.0])]
            }
        });
        let waited = on(ranks, |mut exchange| {
            exchange.barrier().unwrap();
            [exchange.sum(&mut [1.0; 10_000]), exchange.barrier()]
        });
        panicked.join().unwrap_err();
        drop(late);
        let lost = Err(ExchangeError::Lost { rank: 0 });
        for found in waited.into_iter().chain([later.join().unwrap()]) {
            assert_eq!(found, [lost.clone(), lost.clone()]);
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_rank_that_ends_early_does_not_harm_what_it_took_part_in() {
    let found = on(Threads::of(3), |mut exchange| {
        let rank = exchange.rank();
        let mut sum = [rank as f32; 5000];
        exchange.sum(&mut sum)?;
        assert_eq!(sum, [3.0; 5000]);
        match rank {
            1 => Ok(()),
            _ => exchange.barrier(),
        }
    });
    let lost = Err(ExchangeError::Lost { rank: 1 });
    assert_eq!(found, [lost.clone(), Ok(()), lost]);
}

#[test]
fn a_rank_that_does_not_come_is_named_after_the_timeout() {
    let timeout = Duration::from_millis(200);
    let (end, wait) = channel::<()>();
    let mut ranks = Threads::of(4);
    let stuck = ranks.remove(2);
    let stuck = thread::spawn(move || {
        wait.recv().unwrap_err();
        let mut stuck = stuck;
        stuck.barrier()
    });
    let found = on(ranks, move |exchange| {
        let mut exchange = exchange.with_timeout(timeout);
        [exchange.barrier(), exchange.barrier()]
    });
    for error in found.into_iter().flatten() {
        let error = error.unwrap_err();
        assert!(
            matches!(&error, ExchangeError::Timeout { waited, missing } if *waited >= timeout && *missing == [2]),
            "{error:?}"
        );
    }
    drop(end);
    let late = stuck.join().unwrap().unwrap_err();
    assert!(matches!(late, ExchangeError::Timeout { .. }), "{late:?}");
}

#[test]
fn a_sum_after_many_others_is_not_mixed_with_them() {
    on(Threads::of(3), |mut exchange| {
        for round in 0..2000 {
            let mut sum = [round as f32 + exchange.rank() as f32];
            exchange.sum(&mut sum).unwrap();
            assert_eq!(sum, [3.0 * round as f32 + 3.0]);
        }
    });
}

#[test]
fn messages_that_are_not_one_for_each_rank_are_refused() {
    let mut exchange = Threads::of(2).remove(0);
    let error = exchange.all_to_all(vec![Message::default()]).unwrap_err();
    assert_eq!(error.to_string(), "there are 1 messages for 2 ranks");
    assert_eq!(exchange.sent(), 0);
}

#[test]
fn a_message_that_is_none_of_this_library_is_no_garbage() {
    let found = on(Threads::of(2), |mut exchange| match exchange.rank() {
        0 => exchange.barrier().unwrap_err().to_string(),
        _ => {
            let foreign = Message::new(vec![77; 40]);
            exchange
                .all_to_all(vec![foreign; 2])
                .map(|_| String::new())
                .unwrap()
        }
    });
    assert_eq!(
        found[0],
        "rank 1 makes another call: one that this version of the library does not know, where this rank makes a \
         barrier"
    );
}
