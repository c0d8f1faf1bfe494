//! Several ranks that train one model.

mod digits;
mod local;
mod refused;
mod shares;

use std::thread;

use downhill::train::checkpoint::Checkpoint;
use downhill::train::{Exchange, LocalUpdates, Threads};

use super::*;

/// What each of so many ranks makes of its end.
fn on_each<T: Send>(size: usize, work: impl Fn(usize, Threads) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let ranks = Threads::of(size).into_iter();
        let ranks: Vec<_> = ranks
            .map(|exchange| scope.spawn(move || work(exchange.rank(), exchange)))
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

fn flex() -> Device {
    Device::flex()
}

/// The samples of a micro-batch.
fn samples(t: usize, rank: usize) -> u64 {
    [3, 1, 4, 2][(t + rank) % 4]
}

/// Its loss.
fn loss(t: usize, rank: usize) -> f64 {
    0.25 + (t + rank) as f64
}

fn gradient(t: usize, rank: usize) -> Values {
    grad_values(4 * t + rank)
}

/// The micro-batches of some steps of one rank.
fn batch(net: &Net, t: usize, rank: usize, dtype: DType) -> MicroBatch {
    let grads = net.grads_from(&gradient(t, rank), &ALL, &flex(), dtype);
    MicroBatch::new(grads)
        .with_samples(samples(t, rank))
        .with_loss(loss(t, rank))
}

/// The mean over pairs of step and rank, by samples.
fn mean(of: &[(usize, usize)], dtype: DType) -> (Values, f64) {
    let weight = |&(t, rank): &(usize, usize)| samples(t, rank) as f64;
    let total: f64 = of.iter().map(weight).sum();
    let mut mean = zeros();
    let mut mean_loss = 0.0;
    for pair in of {
        let share = weight(pair) / total;
        let grads = held(&gradient(pair.0, pair.1), &flex(), dtype);
        for (mean, grad) in mean.iter_mut().flatten().zip(grads.iter().flatten()) {
            *mean += share * grad;
        }
        mean_loss += share * loss(pair.0, pair.1);
    }
    (mean, mean_loss)
}

/// Several of each kind: elementwise, with looks, of matrices, of the whole model, around others.
const CONFIGS: [&str; 9] = [
    r#"{"name": "sgd", "momentum": 0.9, "nesterov": true}"#,
    r#"{"name": "adamw", "weight_decay": 0.1}"#,
    r#"{"name": "lamb"}"#,
    r#"{"name": "adafactor"}"#,
    r#"{"name": "came"}"#,
    r#"{"name": "muon"}"#,
    r#"{"name": "prodigy"}"#,
    r#"{"name": "momo"}"#,
    r#"{"name": "lookahead", "k": 2, "optimizer": {"name": "adam"}}"#,
];

fn optimizer(json: &str) -> ModuleOptimizer {
    OptimizerConfig::from_json(json)
        .unwrap()
        .try_init()
        .unwrap()
}

fn clipped(json: &str, windows: Option<u32>) -> DriverBuilder {
    let builder = Driver::builder(optimizer(json), 0.02)
        .with_clipping(Clipping::global_norm(1.5))
        .with_averaging(Averaging::ema(0.9));
    match windows {
        Some(windows) => builder.with_accumulation(Accumulation::mean(windows)),
        None => builder,
    }
}

#[test]
fn ranks_are_one_process_on_all_samples() {
    const UPDATES: usize = 5;
    for json in CONFIGS {
        for (size, windows) in [(2, None), (4, None), (2, Some(3))] {
            let label = format!("{json}, {size} ranks, {windows:?} micro-batches");
            let steps = windows.unwrap_or(1) as usize;
            let start = Net::new(7, &flex(), DType::F32);
            let ranks = on_each(size, |rank, exchange| {
                let mut net = start.clone();
                let mut driver = clipped(json, windows)
                    .with_exchange(exchange)
                    .bind(&net)
                    .unwrap();
                assert_eq!(driver.rank(), rank);
                let mut reports = Vec::new();
                for t in 0..UPDATES * steps {
                    let batch = batch(&net, t, rank, DType::F32);
                    let report;
                    (net, report) = driver.step(net, batch).unwrap();
                    if report.outcome == Outcome::Updated {
                        reports.push((report, net.values(), state(&driver)));
                    }
                }
                (reports, driver.averaged(&net).values())
            });
            let mut net = start.clone();
            let mut driver = clipped(json, None).bind(&net).unwrap();
            for update in 0..UPDATES {
                let all = (update * steps..(update + 1) * steps)
                    .flat_map(|t| (0..size).map(move |rank| (t, rank)));
                let (grads, loss) = mean(&all.collect::<Vec<_>>(), DType::F32);
                let grads = net.grads_from(&grads, &ALL, &flex(), DType::F32);
                let report;
                (net, report) = driver
                    .step(net, MicroBatch::new(grads).with_loss(loss))
                    .unwrap();
                let (first, values, bits) = &ranks[0].0[update];
                for (others, _) in &ranks[1..] {
                    assert_eq!(
                        others[update].1, *values,
                        "{label}: the same bits on all ranks"
                    );
                    assert_eq!(
                        others[update].2, *bits,
                        "{label}: the same state on all ranks"
                    );
                    assert_eq!(
                        others[update].0.to_string(),
                        first.to_string(),
                        "{label}: the same report"
                    );
                }
                for (found, expected) in values.iter().zip(&net.values()) {
                    assert_close(&label, found, expected, 2e-5, 2e-5);
                }
                let found = first.loss.unwrap();
                assert!((found - loss).abs() < 1e-9, "{label}: {found}, {loss}");
                let norms =
                    [first, &report].map(|report| report.grad_norm.clone().unwrap().value());
                assert!(is_close(norms[0], norms[1], 1e-6), "{label}: {norms:?}");
            }
            for (found, expected) in ranks[0].1.iter().zip(&driver.averaged(&net).values()) {
                assert_close(&label, found, expected, 2e-5, 2e-5);
            }
        }
    }
}

#[test]
fn sixteen_bits_are_added_up_in_single() {
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        let start = Net::new(7, &flex(), dtype);
        let values = on_each(3, |rank, exchange| {
            let mut driver = Driver::builder(optim::SgdConfig::new().init(), 1.0)
                .with_exchange(exchange)
                .bind(&start)
                .unwrap();
            let batch = batch(&start, 0, rank, dtype);
            driver.step(start.clone(), batch).unwrap().0.values()
        });
        let (grads, _) = mean(&[(0, 0), (0, 1), (0, 2)], dtype);
        let before = start.values();
        let expected = before.iter().flatten().zip(grads.iter().flatten());
        let expected: Vec<f64> = expected.map(|(param, grad)| param - grad).collect();
        let found: Vec<f64> = values[0].iter().flatten().copied().collect();
        let rounding = match dtype {
            DType::F16 => 2e-3,
            DType::BF16 => 2e-2,
            _ => 1e-14,
        };
        assert_close(&format!("{dtype:?}"), &found, &expected, rounding, rounding);
        assert!(values.iter().all(|other| *other == values[0]), "{dtype:?}");
    }
}

fn plain(non_finite: NonFinite) -> DriverBuilder {
    Driver::builder(optim::SgdConfig::new().init(), 1.0).with_non_finite(non_finite)
}

#[test]
fn a_frozen_parameter_stays_and_need_not_have_a_gradient_on_each_rank() {
    let start = Net::new(7, &flex(), DType::F32);
    let values = on_each(2, |rank, exchange| {
        let mut driver = plain(NonFinite::Error)
            .with_group(Group::new("still", Select::path("bias")).frozen())
            .with_exchange(exchange)
            .bind(&start)
            .unwrap();
        let of: &[usize] = if rank == 0 { &ALL } else { &[0, 2] };
        let grads = start.grads(rank, of, &flex(), DType::F32);
        let (net, report) = driver.step(start.clone(), grads).unwrap();
        assert_eq!(report.frozen.len(), 1);
        net.values()
    });
    assert_eq!(values[0], values[1]);
    assert_eq!(values[0][1], start.values()[1]);
    assert_ne!(values[0][0], start.values()[0]);
}

/// The gradients once, twice over halves, and a word about each micro-batch.
#[test]
fn what_is_sent_is_counted() {
    let start = Net::new(7, &flex(), DType::F32);
    let sent = on_each(2, |_, exchange| {
        let mut driver = plain(NonFinite::Error)
            .with_exchange(exchange)
            .bind(&start)
            .unwrap();
        let before = driver.sent();
        let grads = start.grads(0, &ALL, &flex(), DType::F32);
        let _ = driver.step(start.clone(), grads).unwrap();
        driver.sent() - before
    });
    let gradients = 4 * SHAPES
        .iter()
        .map(|shape| shape.iter().product::<usize>())
        .sum::<usize>();
    assert_eq!(sent[0], sent[1]);
    let words = sent[0] as usize - gradients;
    assert!((100..400).contains(&words), "{words}");
}

/// All from one file: bit for bit as without a break. From two: an error at the first step.
#[test]
fn ranks_go_on_from_one_checkpoint() {
    let start = Net::new(7, &flex(), DType::F32);
    let steps = |driver: &mut Driver, mut net: Net, rank: usize, steps: core::ops::Range<usize>| {
        for t in steps {
            (net, _) = driver
                .step(net.clone(), batch(&net, t, rank, DType::F32))
                .unwrap();
        }
        net
    };
    let bound = |exchange: Threads| {
        let builder = clipped(CONFIGS[1], None).with_exchange(exchange);
        builder.bind(&start).unwrap()
    };
    let saved = on_each(2, |rank, exchange| {
        let mut driver = bound(exchange);
        let net = steps(&mut driver, start.clone(), rank, 0..3);
        let saved = bytes(&driver, &net);
        let net = steps(&mut driver, net, rank, 3..6);
        (saved, bytes(&driver, &net))
    });
    assert!(saved[0] == saved[1]);
    let other = on_each(1, |rank, exchange| {
        let mut driver = bound(exchange);
        let net = steps(&mut driver, start.clone(), rank, 0..3);
        bytes(&driver, &net)
    });
    let went_on = on_each(2, |rank, exchange| {
        let mut driver = bound(exchange);
        let checkpoint = Checkpoint::from_bytes(saved[0].0.clone()).unwrap();
        let net = driver.resume(start.clone(), &checkpoint).unwrap();
        let net = steps(&mut driver, net, rank, 3..6);
        bytes(&driver, &net)
    });
    assert!(went_on[0] == saved[0].1 && went_on[1] == saved[0].1);
    let causes = on_each(2, |rank, exchange| {
        let mut driver = bound(exchange);
        let bytes = if rank == 0 { &saved[0].0 } else { &other[0] };
        let checkpoint = Checkpoint::from_bytes(bytes.clone()).unwrap();
        let net = driver.resume(start.clone(), &checkpoint).unwrap();
        let batch = batch(&net, 3, rank, DType::F32);
        driver
            .step(net, batch)
            .unwrap_err()
            .into_cause()
            .to_string()
    });
    for cause in causes {
        assert!(
            cause.contains("its parameters have other values"),
            "{cause}"
        );
    }
}
