//! Checkpoints: what is saved is what goes on, bit for bit, or nothing is.

mod common;

use burn::tensor::{DType, Device};
use common::devices;
use common::net::{ALL, Net};
use common::rows::ROWS;
use downhill::optim::OptimizerConfig;
use downhill::schedule::CosineConfig;
use downhill::train::checkpoint::Checkpoint;
use downhill::train::{Averaging, Clipping, Driver, Group, Outcome, Select};

/// A driver that uses everything which has a state.
fn driver(config: &OptimizerConfig, lr: f64, net: &Net) -> Driver {
    let schedule = CosineConfig::new(lr, 20).schedule().warmup(3);
    Driver::builder(config.try_init().unwrap(), schedule.try_build().unwrap())
        .with_clipping(Clipping::global_norm(1.0))
        .with_averaging(Averaging::ema(0.9))
        .with_group(Group::new("kernel", Select::name("kernel")).with_learning_rate_factor(0.5))
        .bind(net)
        .unwrap()
}

fn train(
    driver: &mut Driver,
    mut net: Net,
    steps: core::ops::Range<usize>,
    device: &Device,
    dtype: DType,
) -> Net {
    for t in steps {
        let grads = net.grads(t, &ALL, device, dtype);
        let report;
        (net, report) = driver.step(net, grads).unwrap();
        assert_eq!(report.outcome, Outcome::Updated);
    }
    net
}

#[test]
fn going_on_from_a_checkpoint_is_not_having_stopped() {
    for device in devices() {
        for &dtype in device.dtypes {
            for row in ROWS {
                for (label, config) in row.configs() {
                    let label = format!("{label} on {} in {dtype:?}", device.name);
                    let device = &device.device;
                    let net = Net::new(1, device, dtype);
                    let mut whole = driver(&config, row.lr, &net);
                    let net = train(&mut whole, net, 0..3, device, dtype);
                    let saved = whole.checkpoint(&net).unwrap().to_bytes().unwrap();
                    let net = train(&mut whole, net, 3..6, device, dtype);

                    // Other values, and other ids.
                    let other = Net::new(5, device, dtype);
                    let mut resumed = driver(&config, row.lr, &other);
                    let checkpoint = Checkpoint::from_bytes(saved.clone()).unwrap();
                    let other = resumed.resume(other, &checkpoint).unwrap();
                    let again = resumed.checkpoint(&other).unwrap().to_bytes().unwrap();
                    assert!(saved == again, "{label}: saved again, it is other bytes");
                    let other = train(&mut resumed, other, 3..6, device, dtype);
                    assert_eq!(net.values(), other.values(), "{label}");
                    let bytes =
                        |driver: &Driver, net| driver.checkpoint(net).unwrap().to_bytes().unwrap();
                    assert!(bytes(&whole, &net) == bytes(&resumed, &other), "{label}");
                }
            }
        }
    }
}
