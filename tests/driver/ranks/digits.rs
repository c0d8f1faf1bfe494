//! A network that learns the digits, on ranks with shares of each batch that are not alike.

use downhill_problems::data::{self, Batch};
use downhill_problems::mlp::{Mlp, MlpConfig};
use downhill_problems::numpy::RandomState;

use super::*;

const UPDATES: usize = 60;

/// Of a batch the samples of one rank: each has another number of them.
fn share(batch: &Batch, rank: usize, of: usize) -> Batch {
    let samples = batch.targets.dims()[0];
    let place = |rank: usize| samples * rank * (rank + 1) / (of * (of + 1));
    let share = place(rank)..place(rank + 1);
    let count = share.len();
    Batch {
        inputs: batch.inputs.clone().narrow(0, share.start, count),
        targets: batch.targets.clone().narrow(0, share.start, count),
    }
}

/// The losses of the whole batches before each step, and the network after the last.
fn train(rank: usize, of: usize, exchange: Option<Threads>) -> (Vec<f64>, Mlp, Driver) {
    let digits = data::digits();
    let device = flex().autodiff();
    let mut model = MlpConfig::new(64, 32, 10).init(1, &device);
    let builder = Driver::builder(optim::AdamWConfig::new().init(), 3e-3)
        .with_clipping(Clipping::global_norm(1.0));
    let builder = match exchange {
        Some(exchange) => builder.with_exchange(exchange),
        None => builder,
    };
    let mut driver = builder.bind(&model).unwrap();
    let mut random = RandomState::new(1);
    let mut losses = Vec::new();
    while losses.len() < UPDATES {
        for batch in digits.train.batches(64, &mut random, &device) {
            let share = share(&batch, rank, of);
            let loss = model.loss(&share);
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            let batch = MicroBatch::new(grads)
                .with_loss(loss.into_scalar())
                .with_samples(share.targets.dims()[0] as u64);
            let report;
            (model, report) = driver.step(model, batch).unwrap();
            losses.push(report.loss.unwrap());
        }
    }
    (losses, model, driver)
}

#[test]
fn digits_are_learned_as_by_one_process() {
    let digits = data::digits();
    let (expected, alone, _) = train(0, 1, None);
    for size in [2, 4] {
        let ranks = on_each(size, |rank, exchange| {
            let (losses, model, driver) = train(rank, size, Some(exchange));
            (losses, bytes(&driver, &model), model)
        });
        for (losses, bytes, _) in &ranks[1..] {
            assert_eq!(*losses, ranks[0].0);
            assert!(*bytes == ranks[0].1, "{size} ranks end with other bits");
        }
        for (at, (found, expected)) in ranks[0].0.iter().zip(&expected).enumerate() {
            let apart = (found - expected).abs();
            assert!(
                apart <= 1e-6 * (1.0 + at as f64),
                "{size} ranks, step {at}: {found}, {expected}"
            );
        }
        let [found, expected] =
            [&ranks[0].2, &alone].map(|model| model.evaluate(&digits.test).accuracy);
        assert!(
            (found - expected).abs() < 0.01,
            "{size} ranks: {found}, {expected}"
        );
    }
}
