//! Checkpoints made of Burn's own records: going on from one is going on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::common::devices;
use crate::common::net::{ALL, Net};
use crate::common::rows::rows_alone_on;
use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{self as theirs, ModuleOptimizer};
use burn::tensor::{Bytes, DType, Device};
use burn_pack::{Reader, Tensor, Writer};
use downhill::optim::{
    AdaGradConfig, AdafactorConfig, AdamConfig, AdamWConfig, AdanConfig, Identity, LambConfig,
    LionConfig, OptimizerConfig, RmsPropConfig, SgdConfig,
};
use downhill::train::Driver;
use downhill::train::checkpoint::{Checkpoint, CheckpointError};

const LR: f64 = 0.01;

fn train(
    optim: &mut ModuleOptimizer,
    mut net: Net,
    lr: f64,
    steps: core::ops::Range<usize>,
    of: &[usize],
    (device, dtype): (&Device, DType),
) -> Net {
    for t in steps {
        let grads = net.grads(t, of, device, dtype);
        net = optim.step(lr, net, grads);
    }
    net
}

fn go_on(
    driver: &mut Driver,
    mut net: Net,
    steps: core::ops::Range<usize>,
    of: &[usize],
    (device, dtype): (&Device, DType),
) -> Net {
    for t in steps {
        let grads = net.grads(t, of, device, dtype);
        (net, _) = driver.step(net, grads).unwrap();
    }
    net
}

/// The bytes of a model's and an optimizer's record.
fn records(net: &Net, optim: &ModuleOptimizer) -> (Vec<u8>, Vec<u8>) {
    let model = net.clone().into_record().into_bytes().unwrap();
    (model.to_vec(), optim.into_bytes().unwrap().to_vec())
}

fn identity(config: &OptimizerConfig) -> Option<Identity> {
    config.try_build().unwrap().identity().cloned()
}

#[test]
fn a_record_of_this_library_goes_on_bit_for_bit() {
    for device in devices() {
        for &dtype in device.dtypes {
            for row in rows_alone_on(&device) {
                for (label, config) in row.configs() {
                    let label = format!("{label} on {} in {dtype:?}", device.name);
                    let on = (&device.device, dtype);
                    let mut optim = config.try_init().unwrap();
                    let net = Net::new(1, on.0, dtype);
                    let net = train(&mut optim, net, row.lr, 0..3, &ALL, on);
                    let (model, record) = records(&net, &optim);
                    let net = train(&mut optim, net, row.lr, 3..6, &ALL, on);
                    for identity in [identity(&config), None] {
                        let (model, record) = (model.clone(), record.clone());
                        let converted =
                            Checkpoint::from_burn_records(model, record, identity, None);
                        let bytes = converted.unwrap().to_bytes().unwrap();
                        let converted = Checkpoint::from_bytes(bytes).unwrap();
                        // Other values, and other ids.
                        let other = Net::new(5, on.0, dtype);
                        let optim = config.try_init().unwrap();
                        let mut driver = Driver::builder(optim, row.lr).bind(&other).unwrap();
                        let other = driver.resume(other, &converted).unwrap();
                        assert_eq!(driver.updates(), 3, "{label}");
                        let other = go_on(&mut driver, other, 3..6, &ALL, on);
                        assert_eq!(net.values(), other.values(), "{label}");
                    }
                }
            }
        }
    }
}

/// burn-optim's optimizers, and this library's that compute the same; whether they count their steps.
fn pairs() -> Vec<(&'static str, ModuleOptimizer, OptimizerConfig, bool)> {
    let decay = || Some(WeightDecayConfig::new(0.1));
    let momentum = |nesterov, dampening| {
        let config = MomentumConfig::new().with_nesterov(nesterov);
        Some(config.with_momentum(0.9).with_dampening(dampening))
    };
    vec![
        (
            "adam",
            theirs::AdamConfig::new().init(),
            OptimizerConfig::from(AdamConfig::burn()),
            true,
        ),
        (
            "adam with amsgrad and decay",
            theirs::AdamConfig::new()
                .with_amsgrad(true)
                .with_weight_decay(decay())
                .init(),
            OptimizerConfig::from(AdamConfig::burn().with_amsgrad(true).with_weight_decay(0.1)),
            true,
        ),
        (
            "adamw",
            theirs::AdamWConfig::new().init(),
            OptimizerConfig::from(AdamWConfig::burn()),
            true,
        ),
        (
            "adagrad",
            theirs::AdaGradConfig::new().with_lr_decay(0.1).init(),
            OptimizerConfig::from(AdaGradConfig::burn().with_lr_decay(0.1)),
            true,
        ),
        (
            "rmsprop",
            theirs::RmsPropConfig::new().init(),
            OptimizerConfig::from(RmsPropConfig::burn()),
            false,
        ),
        (
            "rmsprop, centered, without momentum",
            theirs::RmsPropConfig::new()
                .with_centered(true)
                .with_momentum(0.0)
                .init(),
            OptimizerConfig::from(RmsPropConfig::burn().with_centered(true).with_momentum(0.0)),
            false,
        ),
        (
            "sgd with momentum",
            theirs::SgdConfig::new()
                .with_momentum(momentum(false, 0.1))
                .init(),
            OptimizerConfig::from(SgdConfig::burn()),
            false,
        ),
        (
            "sgd with Nesterov's momentum",
            theirs::SgdConfig::new()
                .with_momentum(momentum(true, 0.0))
                .init(),
            OptimizerConfig::from(SgdConfig::new().with_momentum(0.9).with_nesterov(true)),
            false,
        ),
        (
            "lion",
            theirs::LionConfig::new().init(),
            OptimizerConfig::from(LionConfig::new().with_weight_decay(0.0)),
            false,
        ),
        (
            "lamb",
            theirs::LambConfig::new().init(),
            OptimizerConfig::from(LambConfig::new()),
            true,
        ),
        (
            "adan",
            theirs::AdanConfig::new().init(),
            OptimizerConfig::from(AdanConfig::new()),
            true,
        ),
        (
            "adafactor",
            theirs::AdafactorConfig::new().init(),
            OptimizerConfig::from(AdafactorConfig::burn()),
            true,
        ),
    ]
}

fn assert_near(label: &str, one: &Net, other: &Net) {
    let (one, other) = (one.values(), other.values());
    for (one, other) in one.iter().flatten().zip(other.iter().flatten()) {
        assert!((one - other).abs() <= 1e-6, "{label}: {one} {other}");
    }
}

/// There and back, each in one call.
#[test]
fn a_driver_takes_up_a_record_of_burn_optim_and_writes_one() {
    for device in devices() {
        let on = (&device.device, DType::F32);
        for (label, mut theirs, config, counts) in pairs() {
            let label = format!("{label} on {}", device.name);
            let net = train(&mut theirs, Net::new(1, on.0, on.1), LR, 0..4, &ALL, on);
            let (_, record) = records(&net, &theirs);
            let optim = config.try_init().unwrap();
            let mut driver = Driver::builder(optim, LR).bind(&net).unwrap();
            driver.load_burn(&net, record).unwrap();
            assert_eq!(driver.updates(), if counts { 4 } else { 0 }, "{label}");
            let ours = go_on(&mut driver, net.clone(), 4..8, &ALL, on);
            let net = train(&mut theirs, net, LR, 4..8, &ALL, on);
            assert_near(&label, &ours, &net);

            let record = driver.burn_record(&ours).unwrap();
            let (_, own) = records(&net, &theirs);
            let names = |record: Vec<u8>| -> Vec<String> {
                let reader = Reader::from_bytes(Bytes::from_bytes_vec(record)).unwrap();
                let names = reader.tensor_names().into_iter().map(str::to_string);
                names.chain(reader.scalars().keys().cloned()).collect()
            };
            let sorted = |mut names: Vec<String>| {
                names.sort();
                names
            };
            assert_eq!(sorted(names(record.clone())), sorted(names(own)), "{label}");
            let mut back = theirs
                .clone()
                .from_bytes(Bytes::from_bytes_vec(record))
                .unwrap();
            let ours = go_on(&mut driver, ours.clone(), 8..12, &ALL, on);
            let net = train(&mut back, net, LR, 8..12, &ALL, on);
            assert_near(&label, &ours, &net);
        }
    }
}

#[test]
fn a_record_that_does_not_fit_changes_nothing() {
    let (device, dtype) = cpu();
    let on = (&device, dtype);
    let mut adam = theirs::AdamConfig::new().init();
    let net = train(&mut adam, Net::new(1, on.0, dtype), LR, 0..3, &ALL, on);
    let (_, record) = records(&net, &adam);
    let bind = |config: &OptimizerConfig, net: &Net| {
        let optim = config.try_init().unwrap();
        Driver::builder(optim, LR).bind(net).unwrap()
    };
    let mut driver = bind(&AdaGradConfig::burn().into(), &net);
    let before = driver.checkpoint(&net).unwrap().to_bytes().unwrap();
    let error = driver
        .load_burn(&net, record.clone())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("is not that of burn-optim's adagrad: it has"),
        "{error}"
    );
    let error = driver
        .load_burn(&net, b"none".to_vec())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the record is not a burnpack file"),
        "{error}"
    );
    assert_eq!(driver.checkpoint(&net).unwrap().to_bytes().unwrap(), before);
    let mut muon = bind(&OptimizerConfig::by_name("muon").unwrap(), &net);
    let error = muon.load_burn(&net, record).unwrap_err().to_string();
    assert!(
        error.contains("for muon it cannot be translated"),
        "{error}"
    );
    go_on(&mut muon, net.clone(), 0..1, &ALL, on);
    let error = muon.burn_record(&net).unwrap_err().to_string();
    assert!(
        error.contains("burn-optim has no optimizer with the state that muon has"),
        "{error}"
    );
}

#[test]
fn a_record_of_burn_optim_goes_on_here() {
    for device in devices() {
        let on = (&device.device, DType::F32);
        for (label, mut theirs, config, counts) in pairs() {
            let label = format!("{label} on {}", device.name);
            let net = Net::new(1, on.0, on.1);
            let net = train(&mut theirs, net, LR, 0..4, &ALL, on);
            let (model, record) = records(&net, &theirs);
            let net = train(&mut theirs, net, LR, 4..8, &ALL, on);

            let convert = |updates| {
                let (model, record) = (model.clone(), record.clone());
                Checkpoint::from_burn_records(model, record, identity(&config), updates)
            };
            if !counts {
                assert_eq!(convert(None).unwrap_err(), CheckpointError::UnknownUpdates);
            }
            let converted = convert((!counts).then_some(4)).unwrap();
            let other = Net::new(5, on.0, on.1);
            let optim = config.try_init().unwrap();
            let mut driver = Driver::builder(optim, LR).bind(&other).unwrap();
            let other = driver.resume(other, &converted).unwrap();
            assert_eq!(driver.updates(), 4, "{label}");
            let other = go_on(&mut driver, other, 4..8, &ALL, on);
            assert_near(&label, &net, &other);
            // Without the state the way is another.
            let fresh =
                Checkpoint::from_burn_records(model, empty_record(), None, Some(4)).unwrap();
            let other = Net::new(5, on.0, on.1);
            let optim = config.try_init().unwrap();
            let mut driver = Driver::builder(optim, LR).bind(&other).unwrap();
            let other = driver.resume(other, &fresh).unwrap();
            let other = go_on(&mut driver, other, 4..8, &ALL, on);
            let farthest = (net.values().iter().flatten())
                .zip(other.values().iter().flatten())
                .fold(0.0, |far: f64, (a, b)| far.max((a - b).abs()));
            assert!(farthest > 1e-4, "{label}: {farthest}");
        }
    }
}

fn empty_record() -> Vec<u8> {
    Writer::new(Vec::new()).into_bytes().unwrap().to_vec()
}

fn cpu() -> (Device, DType) {
    (devices()[0].device.clone(), DType::F32)
}

#[test]
fn the_state_of_burn_s_own_optimizer_stays_as_it_is() {
    let (device, dtype) = cpu();
    let on = (&device, dtype);
    let mut optim = theirs::AdamConfig::new().init();
    let net = train(&mut optim, Net::new(1, on.0, dtype), LR, 0..3, &ALL, on);
    let (model, record) = records(&net, &optim);
    let net = train(&mut optim, net, LR, 3..6, &ALL, on);
    let converted = Checkpoint::from_burn_records(model, record, None, None).unwrap();
    let other = Net::new(5, on.0, dtype);
    let optim = theirs::AdamConfig::new().init();
    let mut driver = Driver::builder(optim, LR).bind(&other).unwrap();
    let other = driver.resume(other, &converted).unwrap();
    let other = go_on(&mut driver, other, 3..6, &ALL, on);
    assert_eq!(net.values(), other.values());
}

#[test]
fn a_parameter_without_a_state_is_no_mismatch() {
    let (device, dtype) = cpu();
    let on = (&device, dtype);
    let config = OptimizerConfig::from(AdamConfig::new());
    let mut optim = config.try_init().unwrap();
    let net = train(&mut optim, Net::new(1, on.0, dtype), LR, 0..3, &[0, 2], on);
    let (model, record) = records(&net, &optim);
    let net = train(&mut optim, net, LR, 3..6, &ALL, on);
    let identity = identity(&config);
    let converted = Checkpoint::from_burn_records(model, record, identity, None).unwrap();
    let other = Net::new(5, on.0, dtype);
    let mut driver = Driver::builder(config.try_init().unwrap(), LR)
        .bind(&other)
        .unwrap();
    let other = driver.resume(other, &converted).unwrap();
    let other = go_on(&mut driver, other, 3..6, &ALL, on);
    assert_eq!(net.values(), other.values());

    // The settings are compared all the same.
    let other = Net::new(5, on.0, dtype);
    let optim = AdamConfig::new().with_beta_1(0.5).init();
    let mut driver = Driver::builder(optim, LR).bind(&other).unwrap();
    let error = driver
        .resume(other, &converted)
        .unwrap_err()
        .cause
        .to_string();
    assert!(error.contains("another optimizer of `"), "{error}");
}

/// The record without the ids, or with others.
fn renumbered(model: &[u8], id: impl Fn(u64) -> Option<u64>) -> Vec<u8> {
    let reader = Reader::from_bytes(Bytes::from_bytes_vec(model.to_vec())).unwrap();
    let tensors = reader.into_tensors().unwrap().into_iter().map(|tensor| {
        let (name, dtype, shape, old, bytes) = tensor.into_parts().unwrap();
        Tensor::new(name, dtype, shape, id(old.unwrap()), bytes)
    });
    Writer::new(tensors.collect())
        .into_bytes()
        .unwrap()
        .to_vec()
}

#[test]
fn states_are_found_by_their_paths_where_ids_differ() {
    let (device, dtype) = cpu();
    let on = (&device, dtype);
    let mut optim = AdamConfig::new().init();
    let net = train(&mut optim, Net::new(1, on.0, dtype), LR, 0..3, &ALL, on);
    let (model, record) = records(&net, &optim);
    let convert = |model: Vec<u8>| {
        let converted = Checkpoint::from_burn_records(model, record.clone(), None, None);
        converted.unwrap().to_bytes().unwrap()
    };
    let by_id = convert(model.clone());
    assert!(by_id == convert(renumbered(&model, |_| None)));
    assert!(by_id == convert(renumbered(&model, |id| Some(id ^ 1))));
}

#[track_caller]
fn refused(model: &[u8], record: &[u8], optimizer: Option<&str>, expected: &str) {
    let identity = optimizer.map(|name| {
        let config = OptimizerConfig::by_name(name).unwrap();
        config.try_build().unwrap().identity().unwrap().clone()
    });
    let (model, record) = (model.to_vec(), record.to_vec());
    let error = Checkpoint::from_burn_records(model, record, identity, None);
    let error = error.unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn records_that_do_not_go_together_are_refused_in_words() {
    let (device, dtype) = cpu();
    let on = (&device, dtype);
    let mut adam = theirs::AdamConfig::new().init();
    let net = train(&mut adam, Net::new(1, on.0, dtype), LR, 0..3, &ALL, on);
    let (model, record) = records(&net, &adam);

    refused(&record, &model, None, "are the two files swapped?");
    refused(&model, &model, None, "are the two files swapped?");
    refused(
        &model,
        b"no record",
        None,
        "the optimizer's record is not a burnpack file",
    );
    refused(
        b"",
        &record,
        None,
        "the model's record is not a burnpack file",
    );
    let checkpoint = Checkpoint::from_burn_records(model.clone(), record.clone(), None, None);
    let checkpoint = checkpoint.unwrap().to_bytes().unwrap();
    refused(
        &checkpoint,
        &record,
        None,
        "the model's record is a checkpoint already",
    );

    // A state of no parameter is listed, by its path where that is known.
    let reader = Reader::from_bytes(Bytes::from_bytes_vec(model.clone())).unwrap();
    let tensors = reader.into_tensors().unwrap().into_iter();
    let fewer: Vec<Tensor> = tensors.filter(|tensor| tensor.name != "bias").collect();
    let fewer = Writer::new(fewer).into_bytes().unwrap().to_vec();
    refused(
        &fewer,
        &record,
        None,
        "a state of `bias`, which the model does not have",
    );

    refused(
        &model,
        &record,
        Some("nadam"),
        "for nadam it cannot be translated; of burn-optim's optimizers that can be done for adam, adamw, \
         adagrad, rmsprop, sgd",
    );
    refused(
        &model,
        &record,
        Some("rmsprop"),
        "is not that of burn-optim's rmsprop",
    );

    let (model, record) = (model.to_vec(), record.to_vec());
    let error = Checkpoint::from_burn_records(model, record, None, Some(2)).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("has made 3 updates, more than the 2"),
        "{error}"
    );
}

/// They have no checksums, so that what is damaged may go on; never with a panic, and an error changes nothing.
#[test]
fn damaged_records_are_an_error_or_go_on_and_never_a_panic() {
    let (device, dtype) = cpu();
    let on = (&device, dtype);
    for own in [true, false] {
        let config = OptimizerConfig::from(AdamConfig::new());
        let make = || match own {
            true => config.try_init().unwrap(),
            false => theirs::AdamConfig::new().init(),
        };
        let mut optim = make();
        let net = train(&mut optim, Net::new(1, on.0, dtype), LR, 0..3, &ALL, on);
        let (model, record) = records(&net, &optim);
        let mut damaged = Vec::new();
        for (which, bytes) in [&model, &record].into_iter().enumerate() {
            let mut add = |what: String, bytes: Vec<u8>| {
                let mut both = [model.clone(), record.clone()];
                both[which] = bytes;
                damaged.push((format!("record {which}, {what}"), both));
            };
            for len in (0..bytes.len()).step_by(3) {
                add(format!("its first {len} bytes"), bytes[..len].to_vec());
            }
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at % 8);
                add(format!("a bit flipped in byte {at}"), flipped);
            }
        }
        let (mut refused, mut went_on) = (0, 0);
        for (what, [model, record]) in damaged {
            let result = catch_unwind(AssertUnwindSafe(|| {
                let Ok(converted) = Checkpoint::from_burn_records(model, record, None, None) else {
                    refused += 1;
                    return;
                };
                let other = Net::new(5, on.0, dtype);
                let mut driver = Driver::builder(make(), LR).bind(&other).unwrap();
                let before = other.values();
                match driver.resume(other, &converted) {
                    Ok(mut other) => {
                        went_on += 1;
                        for t in 0..2 {
                            let grads = other.grads(t, &ALL, on.0, dtype);
                            other = match driver.step(other, grads) {
                                Ok((other, _)) => other,
                                Err(error) => error.model,
                            };
                        }
                    }
                    Err(rejected) => {
                        refused += 1;
                        assert_eq!(rejected.model.values(), before, "{what}");
                        assert_eq!(driver.updates(), 0, "{what}");
                    }
                }
            }));
            assert!(result.is_ok(), "{what}");
        }
        assert!(refused > 300 && went_on > 100, "{refused}, {went_on}");
    }
}

/// Burn keeps the states of parameters that a model had before it was built anew, and lists them in any order.
#[test]
fn states_of_parameters_that_are_no_more_are_left_behind() {
    let on = (&devices()[0].device, DType::F32);
    let adam = OptimizerConfig::from(AdamConfig::burn());
    for round in 0..20 {
        let mut optim = theirs::AdamConfig::new().init();
        let old = Net::new(1, on.0, on.1);
        let old = train(&mut optim, old, LR, 0..7, &ALL, on);
        // The same structure with other ids.
        let new = Net::new(2, on.0, on.1);
        let new = train(&mut optim, new, LR, 7..10, &ALL, on);
        let (model, record) = records(&new, &optim);
        let converted = Checkpoint::from_burn_records(model, record.clone(), identity(&adam), None);
        let converted = converted.unwrap();
        assert_eq!(converted.header().updates, 3, "{round}");

        // As if the optimizer had never seen the old one.
        let mut alone = theirs::AdamConfig::new().init();
        let only = train(&mut alone, Net::new(2, on.0, on.1), LR, 7..10, &ALL, on);
        let (model, record_alone) = records(&only, &alone);
        let expected = Checkpoint::from_burn_records(model, record_alone, identity(&adam), None);
        let expected = expected.unwrap().to_bytes().unwrap();
        assert!(converted.to_bytes().unwrap() == expected, "{round}");

        // Under a third set of ids it cannot be told which of both is meant.
        let (model, _) = records(&Net::new(3, on.0, on.1), &optim);
        let error = Checkpoint::from_burn_records(model, record, identity(&adam), None);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("2 states of `bias`"), "{error}");
        drop(old);
    }
}
