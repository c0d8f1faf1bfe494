//! Ranks that train by themselves, and meet now and then.

use downhill::train::ExchangeError;
use downhill::train::checkpoint::{CheckpointError, Checkpoints};

use super::*;

/// Steps of one rank, of which each sees its own data.
fn steps(driver: &mut Driver, mut net: Net, rank: usize, steps: core::ops::Range<usize>) -> Net {
    for t in steps {
        let batch = batch(&net, t, rank, DType::F32);
        (net, _) = driver.step(net, batch).unwrap();
    }
    net
}

fn builder(json: &str) -> DriverBuilder {
    Driver::builder(optimizer(json), 0.02).with_clipping(Clipping::global_norm(1.5))
}

/// What each rank does by itself, and what all do together, by the formula.
#[test]
fn ranks_meet_where_the_formula_says() {
    const EVERY: usize = 3;
    const NESTEROV: f64 = 0.9;
    for (json, size, bf16) in [
        (CONFIGS[1], 2, false),
        (CONFIGS[0], 3, false),
        (CONFIGS[2], 2, true),
    ] {
        let label = format!("{json}, {size} ranks, bf16 {bf16}");
        let start = Net::new(7, &flex(), DType::F32);
        let of_meeting = |meeting| meeting * EVERY..(meeting + 1) * EVERY;
        let found = on_each(size, |rank, exchange| {
            let mut local = LocalUpdates::new(EVERY as u32);
            if bf16 {
                local = local.with_bf16();
            }
            let builder = builder(json).with_local_updates(local);
            let mut net = start.clone();
            let mut driver = builder.with_exchange(exchange).bind(&net).unwrap();
            [0, 1, 2].map(|meeting| {
                net = steps(&mut driver, net.clone(), rank, of_meeting(meeting));
                net.values()
            })
        });
        let mut alone: Vec<Driver> = (0..size)
            .map(|_| builder(json).bind(&start).unwrap())
            .collect();
        let mut at = start.values();
        let mut momentum = zeros();
        for meeting in 0..3 {
            let ways: Vec<Values> = (alone.iter_mut().enumerate())
                .map(|(rank, driver)| {
                    let net = Net::from_values(&at, &flex(), DType::F32);
                    driver.rebind(&net).unwrap();
                    steps(driver, net, rank, of_meeting(meeting)).values()
                })
                .collect();
            for parameter in 0..at.len() {
                for index in 0..at[parameter].len() {
                    let all: f64 = ways.iter().map(|values| values[parameter][index]).sum();
                    let (at, momentum) =
                        (&mut at[parameter][index], &mut momentum[parameter][index]);
                    let way = *at - all / size as f64;
                    *momentum = NESTEROV * *momentum + way;
                    *at -= 0.7 * (way + NESTEROV * *momentum);
                }
            }
            let tolerance = if bf16 { 2e-3 } else { 3e-6 };
            for rank in &found {
                assert_eq!(rank[meeting], found[0][meeting], "{label}: the same bits");
                let pairs = rank[meeting].iter().zip(&at);
                for (found, expected) in pairs {
                    assert_close(&label, found, expected, tolerance, tolerance);
                }
            }
            // From where they are, not to add up what is rounded.
            at = found[0][meeting].clone();
        }
    }
}

/// Local SGD that meets after each update is SGD on all samples.
#[test]
fn one_update_of_sgd_between_two_meetings_is_data_parallel() {
    let start = Net::new(7, &flex(), DType::F32);
    let sgd = || Driver::builder(optim::SgdConfig::new().init(), 0.1);
    let run = |local: bool| {
        on_each(4, |rank, exchange| {
            let builder = match local {
                true => sgd().with_local_updates(LocalUpdates::averaged(1)),
                false => sgd(),
            };
            let mut net = start.clone();
            let mut driver = builder.with_exchange(exchange).bind(&net).unwrap();
            for t in 0..5 {
                let grads = net.grads_from(&gradient(t, rank), &ALL, &flex(), DType::F32);
                (net, _) = driver.step(net, grads).unwrap();
            }
            net.values()
        })
    };
    let (local, together) = (run(true), run(false));
    for values in &local {
        assert_eq!(*values, local[0]);
        for (found, expected) in values.iter().zip(&together[0]) {
            assert_close("local", found, expected, 1e-6, 1e-6);
        }
    }
}

/// Nothing between two meetings, and at one the parameters once, or half of them.
#[test]
fn what_is_sent_is_counted() {
    let start = Net::new(7, &flex(), DType::F32);
    let elements: usize = (SHAPES.iter())
        .map(|shape| shape.iter().product::<usize>())
        .sum();
    for (local, bytes) in [
        (LocalUpdates::new(4), 4 * elements),
        (LocalUpdates::new(4).with_bf16(), 2 * elements),
    ] {
        let sent = on_each(2, |rank, exchange| {
            let builder = builder(CONFIGS[1]).with_local_updates(local.clone());
            let mut driver = builder.with_exchange(exchange).bind(&start).unwrap();
            let mut net = start.clone();
            let mut sent = [0, 1, 2, 3, 4, 5, 6, 7].map(|t| {
                let before = driver.sent();
                net = steps(&mut driver, net.clone(), rank, t..t + 1);
                (driver.sent() - before) as usize
            });
            // The first word has a checksum too.
            for t in [3, 7] {
                let words = sent[t].checked_sub(bytes).unwrap();
                assert!((50..400).contains(&words), "{words}");
                sent[t] = bytes;
            }
            sent
        });
        let expected = [0, 0, 0, bytes, 0, 0, 0, bytes];
        assert_eq!(sent, [expected; 2]);
    }
}

#[test]
fn averages_are_taken_when_ranks_have_met() {
    let start = Net::new(7, &flex(), DType::F32);
    let ends = on_each(2, |rank, exchange| {
        let builder = builder(CONFIGS[1])
            .with_averaging(Averaging::mean())
            .with_local_updates(LocalUpdates::averaged(2));
        let mut driver = builder.with_exchange(exchange).bind(&start).unwrap();
        let first = steps(&mut driver, start.clone(), rank, 0..2);
        let second = steps(&mut driver, first.clone(), rank, 2..4);
        let apart = steps(&mut driver, second.clone(), rank, 4..5);
        let averaged = driver.averaged(&apart).values();
        (first.values(), second.values(), apart.values(), averaged)
    });
    let (first, second, apart, averaged) = &ends[0];
    assert_ne!(*apart, ends[1].2, "each rank goes its own way");
    assert_eq!(*averaged, ends[1].3);
    for (found, (first, second)) in averaged.iter().zip(first.iter().zip(second)) {
        let expected: Vec<f64> = (first.iter().zip(second))
            .map(|(first, second)| 0.5 * (first + second))
            .collect();
        assert_close("mean", found, &expected, 1e-6, 1e-6);
    }
}

/// Bit for bit as without a break on as many ranks, with each rank's own momenta; on more, the new ones begin with those
/// of the others.
#[test]
fn a_checkpoint_has_what_each_rank_has() {
    let start = Net::new(7, &flex(), DType::F32);
    let folder = std::env::temp_dir().join(format!("downhill-local-{}", std::process::id()));
    let local = LocalUpdates::new(2).with_outer(
        OptimizerConfig::from_json(r#"{"name": "adam"}"#).unwrap(),
        0.05,
    );
    let bound = |exchange: Threads| {
        let builder = builder(CONFIGS[1]).with_local_updates(local.clone());
        builder
            .with_averaging(Averaging::ema(0.9))
            .with_exchange(exchange)
            .bind(&start)
            .unwrap()
    };
    let ends = on_each(2, |rank, exchange| {
        let mut driver = bound(exchange);
        let saves = Checkpoints::new(&folder);
        let net = steps(&mut driver, start.clone(), rank, 0..3);
        let error = driver.checkpoint(&net).unwrap_err();
        assert_eq!(error, CheckpointError::Apart { done: 1, every: 2 });
        assert_eq!(
            saves.save(&driver, &net, None).unwrap_err().to_string(),
            "ranks that train by themselves can save what they have when they have met, after every 2 updates; 1 \
             were made since"
        );
        let net = steps(&mut driver, net, rank, 3..4);
        let path = saves.save(&driver, &net, None).unwrap();
        let net = steps(&mut driver, net, rank, 4..8);
        (path, bytes(&driver, &net), driver.averaged(&net).values())
    });
    assert_eq!(ends[0].0, folder.join("step-000000000004.ckpt"));
    assert_eq!(ends[0].0, ends[1].0);
    assert!(ends[0].1 == ends[1].1, "each gets the whole");
    for size in [2, 3, 1] {
        let went_on = on_each(size, |rank, exchange| {
            let mut driver = bound(exchange);
            let net = driver.load(start.clone(), &ends[0].0).unwrap();
            let states = driver.states().unwrap();
            let net = steps(&mut driver, net, rank, 4..8);
            (states, bytes(&driver, &net), driver.averaged(&net).values())
        });
        if size == 2 {
            assert!(went_on[0].0 != went_on[1].0, "states of their own");
            assert!(went_on.iter().all(|end| end.1 == ends[0].1));
            assert!(went_on.iter().all(|end| end.2 == ends[0].2));
        }
        if size == 3 {
            assert!(went_on[0].0 == went_on[2].0, "as the first");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// A rank that skips an update comes to the meeting all the same.
#[test]
fn a_skipped_update_counts() {
    let start = Net::new(7, &flex(), DType::F32);
    let ends = on_each(2, |rank, exchange| {
        let mut driver = builder(CONFIGS[1])
            .with_non_finite(NonFinite::Skip { max_consecutive: 1 })
            .with_local_updates(LocalUpdates::averaged(2))
            .with_exchange(exchange)
            .bind(&start)
            .unwrap();
        let mut net = start.clone();
        for t in 0..4 {
            let values = match (t, rank) {
                (1, 1) => spoilt(t, f64::NAN),
                _ => grad_values(t + rank),
            };
            let grads = net.grads_from(&values, &ALL, &flex(), DType::F32);
            (net, _) = driver.step(net, grads).unwrap();
        }
        (net.values(), driver.updates(), driver.skipped())
    });
    assert_eq!(ends[0].0, ends[1].0);
    assert_eq!(
        [(ends[0].1, ends[0].2), (ends[1].1, ends[1].2)],
        [(4, 0), (3, 1)]
    );
}

/// The outer momentum does not move it either, and what it moved before it was frozen is not lost.
#[test]
fn what_is_frozen_stays_where_the_ranks_have_it() {
    let start = Net::new(7, &flex(), DType::F32);
    let ends = on_each(2, |rank, exchange| {
        let mut driver = builder(CONFIGS[1])
            .with_local_updates(LocalUpdates::new(2))
            .with_exchange(exchange)
            .bind(&start)
            .unwrap();
        let net = steps(&mut driver, start.clone(), rank, 0..3);
        driver.freeze(&Select::path("bias")).unwrap();
        let met = steps(&mut driver, net, rank, 3..4);
        let later = steps(&mut driver, met.clone(), rank, 4..8);
        [met.values(), later.values()]
    });
    assert_eq!(ends[0], ends[1]);
    let [met, later] = &ends[0];
    assert_eq!(met[1], later[1]);
    assert_ne!(met[0], later[0]);
}

#[test]
fn ranks_that_cannot_meet_are_told_why() {
    let start = Net::new(7, &flex(), DType::F32);
    let local = |exchange: Threads| {
        let builder = builder(CONFIGS[1]).with_local_updates(LocalUpdates::new(1));
        builder.with_exchange(exchange).bind(&start).unwrap()
    };
    let saved = on_each(1, |rank, exchange| {
        let mut driver = local(exchange);
        let net = steps(&mut driver, start.clone(), rank, 0..1);
        bytes(&driver, &net)
    });
    let causes = on_each(2, |rank, exchange| {
        let mut driver = local(exchange);
        let mut net = start.clone();
        if rank == 1 {
            let checkpoint = Checkpoint::from_bytes(saved[0].clone()).unwrap();
            net = driver.resume(net, &checkpoint).unwrap();
        }
        let batch = batch(&net, 0, rank, DType::F32);
        let error = driver.step(net, batch).unwrap_err();
        assert_eq!(driver.updates(), 1 + rank as u64, "its own step is made");
        assert_ne!(error.model.values(), start.values());
        error.cause.to_string()
    });
    assert_eq!(
        causes[0],
        "rank 1 does not make this step: it differs in the number of meetings: it has 1, and this rank 0"
    );
    let lost = on_each(2, |rank, exchange| {
        let mut driver = local(exchange);
        let net = start.clone();
        match rank {
            1 => None,
            _ => Some(
                driver
                    .step(net.clone(), batch(&net, 0, rank, DType::F32))
                    .unwrap_err()
                    .into_cause(),
            ),
        }
    });
    let expected = StepCause::Exchange(ExchangeError::Lost { rank: 1 });
    assert_eq!(lost, [Some(expected), None]);
}

#[test]
fn outer_optimizers_and_numbers_that_cannot_be_are_refused() {
    let start = Net::new(7, &flex(), DType::F32);
    let error = |local: LocalUpdates| {
        let builder = builder(CONFIGS[1]).with_local_updates(local);
        let exchange = Threads::of(1).remove(0);
        let bound = builder.with_exchange(exchange).bind(&start);
        bound.map(|_| ()).unwrap_err().to_string()
    };
    let outer = |json| OptimizerConfig::from_json(json).unwrap();
    for json in [r#"{"name": "prodigy"}"#, r#"{"name": "momo"}"#] {
        assert_eq!(
            error(LocalUpdates::new(2).with_outer(outer(json), 1.0)),
            "the outer optimizer of the local updates cannot be used: it looks at the loss or at the whole model"
        );
    }
    assert_eq!(
        error(LocalUpdates::new(0)),
        "`updates between two meetings` must be finite and above 0, got 0"
    );
    let rate = LocalUpdates::new(1).with_outer(outer(CONFIGS[0]), -1.0);
    assert!(error(rate).starts_with("`rate of the outer optimizer`"));
    let alone = builder(CONFIGS[1]).with_local_updates(LocalUpdates::new(2));
    assert_eq!(
        alone.bind(&start).map(|_| ()).unwrap_err().to_string(),
        "local updates are for several ranks: see `with_exchange`"
    );
}
