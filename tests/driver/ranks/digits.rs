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

/// The losses of the whole batches before each update, the network after the last, and the bytes sent for the updates.
struct End {
    losses: Vec<f64>,
    model: Mlp,
    bytes: Vec<u8>,
    sent: u64,
}

/// So many updates of one rank.
fn train(
    rank: usize,
    of: usize,
    updates: usize,
    with: impl FnOnce(DriverBuilder) -> DriverBuilder,
) -> End {
    let digits = data::digits();
    let device = flex().autodiff();
    let mut model = MlpConfig::new(64, 32, 10).init(1, &device);
    let builder = Driver::builder(optim::AdamWConfig::new().init(), 3e-3)
        .with_clipping(Clipping::global_norm(1.0));
    let mut driver = with(builder).bind(&model).unwrap();
    let bound = driver.sent();
    let mut random = RandomState::new(1);
    let mut losses = Vec::new();
    while losses.len() < updates {
        let batches = digits.train.batches(64, &mut random, &device);
        for batch in batches.take(updates - losses.len()) {
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
    // Before the ranks' states come together for a checkpoint.
    let sent = driver.sent() - bound;
    End {
        bytes: bytes(&driver, &model),
        sent,
        losses,
        model,
    }
}

#[test]
fn digits_are_learned_as_by_one_process() {
    let digits = data::digits();
    let alone = train(0, 1, UPDATES, |builder| builder);
    for size in [2, 4] {
        let ranks = on_each(size, |rank, exchange| {
            train(rank, size, UPDATES, |builder| {
                builder.with_exchange(exchange)
            })
        });
        for rank in &ranks[1..] {
            assert_eq!(rank.losses, ranks[0].losses);
            assert!(
                rank.bytes == ranks[0].bytes,
                "{size} ranks end with other bits"
            );
        }
        for (at, (found, expected)) in ranks[0].losses.iter().zip(&alone.losses).enumerate() {
            let apart = (found - expected).abs();
            assert!(
                apart <= 1e-6 * (1.0 + at as f64),
                "{size} ranks, step {at}: {found}, {expected}"
            );
        }
        let [found, expected] =
            [&ranks[0], &alone].map(|end| end.model.evaluate(&digits.test).accuracy);
        assert!(
            (found - expected).abs() < 0.01,
            "{size} ranks: {found}, {expected}"
        );
    }
}

/// What the ranks tell each other falls to a twentieth, and no more than one in a hundred digits is read worse.
#[test]
fn ranks_that_meet_after_twenty_updates_learn_as_much() {
    const UPDATES: usize = 400;
    let digits = data::digits();
    let run = |local: Option<LocalUpdates>| {
        let ranks = on_each(2, |rank, exchange| {
            let with = |mut builder: DriverBuilder| {
                if let Some(local) = local.clone() {
                    builder = builder.with_local_updates(local);
                }
                builder.with_exchange(exchange)
            };
            train(rank, 2, UPDATES, with)
        });
        assert!(ranks[0].bytes == ranks[1].bytes);
        let accuracy = ranks[0].model.evaluate(&digits.test).accuracy;
        (accuracy, ranks[0].sent as f64)
    };
    let (together, sent) = run(None);
    for local in [LocalUpdates::new(20), LocalUpdates::averaged(20)] {
        let (apart, less) = run(Some(local.clone()));
        assert!(apart > together - 0.01, "{local:?}: {apart}, {together}");
        let times = sent / less;
        assert!((19.0..22.0).contains(&times), "{local:?}: {times}");
    }
}
