//! Gradients that do not fit.

use super::*;

/// A driver after one update, that is refused a step, and what it says; nothing may have changed.
fn refusal(spoil: impl FnOnce(&Net, &mut GradientsParams, &Device)) -> (Driver, Net, StepCause) {
    let device = &devices()[0].device;
    let net = Net::new(1, device, DType::F32);
    let mut driver = Driver::builder(optim::AdamConfig::new().init(), 0.1)
        .with_averaging(Averaging::ema(0.5))
        .bind(&net)
        .unwrap();
    let net = train(&mut driver, net, 0..1, device, DType::F32);
    let (before, values) = (bytes(&driver, &net), net.values());
    let mut grads = net.grads(1, &ALL, device, DType::F32);
    spoil(&net, &mut grads, device);
    let len = grads.len();
    let error = driver.step(net, grads).unwrap_err();
    assert_eq!(error.grads.len(), len);
    assert_eq!(error.model.values(), values);
    assert!(before == bytes(&driver, &error.model), "{}", error.cause);
    (driver, error.model, error.cause)
}

#[test]
fn gradients_of_other_shapes_are_refused_before_anything_is_written() {
    for shape in [&[3, 4], &[1, 3], &[4, 1], &[4, 4]] {
        let (_, _, cause) = refusal(|net, grads, device| {
            grads.register(net.weight.id, make::<2>(1, shape, device, DType::F32));
        });
        let expected = StepCause::GradientShape {
            path: "weight".into(),
            expected: vec![4, 3],
            found: shape.to_vec(),
        };
        assert_eq!(cause, expected);
    }
    let (_, _, cause) = refusal(|net, grads, device| {
        grads.register(net.kernel.id, make::<2>(1, &[4, 6], device, DType::F32));
    });
    let expected = StepCause::GradientRank {
        path: "kernel".into(),
        expected: 4,
    };
    assert_eq!(cause, expected);
}

#[test]
fn gradients_of_another_model_are_refused() {
    let (mut driver, net, cause) = refusal(|_, grads, device| {
        grads.register(ParamId::new(), make::<1>(1, &[3], device, DType::F32));
    });
    assert_eq!(cause, StepCause::UnknownGradients { count: 1 });

    // The model itself is another one.
    let device = &devices()[0].device;
    let other = Net::new(2, device, DType::F32);
    let grads = other.grads(0, &ALL, device, DType::F32);
    let before = bytes(&driver, &net);
    let error = driver.step(other, grads).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this is not the model that the driver was bound to: its parameter in the place of `weight` has \
         another id; `rebind` goes over to another one of the same structure"
    );
    assert!(before == bytes(&driver, &net));
}

#[test]
fn gradients_on_an_autodiff_device_are_refused() {
    let (_, _, cause) = refusal(|net, grads, device| {
        let device = device.clone().autodiff();
        grads.register(net.bias.id, make::<1>(1, &[3], &device, DType::F32));
    });
    let path = "bias".into();
    assert_eq!(cause, StepCause::GradientAutodiff { path });
}

#[test]
fn gradients_of_another_precision_are_applied_by_every_optimizer() {
    for device in devices().into_iter().filter(|device| device.exact) {
        for (optim, make) in PLAIN {
            let inner = &device.device;
            let net = Net::from_values(&zeros(), inner, DType::F32);
            let mut driver = Driver::builder(make(), 1.0).bind(&net).unwrap();
            let grads = net.grads(0, &ALL, inner, DType::F64);
            let (net, _) = driver.step(net, grads).unwrap();
            let label = format!("{optim} on {}", device.name);
            assert_eq!(negated(net.values()), grad_values(0), "{label}");
        }
    }
}

#[test]
fn a_missing_gradient_leaves_its_parameter_its_state_and_its_count_alone() {
    for_all(|label, device, dtype| {
        for_rows(device, |row_label, row, config| {
            if !row.is_alone() {
                return;
            }
            let label = format!("{row_label} on {label}");
            let inner = &device.device;
            let make = |net: &Net| {
                Driver::builder(config.try_init().unwrap(), row.lr)
                    .bind(net)
                    .unwrap()
            };
            let net = Net::new(1, inner, dtype);
            let (mut with_gap, mut without) = (make(&net), make(&net));
            let mut other = net.clone();
            let mut net = net;
            for t in 0..4 {
                let of: &[usize] = if t == 2 { &[0, 2] } else { &ALL };
                let bias = net.values()[1].clone();
                let grads = net.grads(t, of, inner, dtype);
                let report;
                (net, report) = with_gap.step(net, grads).unwrap();
                assert_eq!(report.updated, of.len());
                if t == 2 {
                    assert_eq!(net.values()[1], bias, "{label}");
                    assert_eq!(report.missing, ["bias"], "{label}");
                } else {
                    assert!(report.missing.is_empty());
                }
            }
            for t in [0, 1, 3] {
                let grads = other.grads(t, &[1], inner, dtype);
                (other, _) = without.step(other, grads).unwrap();
            }
            assert_same(&label, device, &net.values()[1], &other.values()[1]);
        });
    });
}

#[test]
fn without_gradients_no_parameter_moves() {
    for_all(|label, device, dtype| {
        for_rows(device, |row_label, row, config| {
            for clipping in [
                Clipping::global_norm(1.0),
                Clipping::tensor_norm(1.0),
                Clipping::value(1.0),
                Clipping::adaptive(1.0),
            ] {
                let net = Net::new(1, &device.device, dtype);
                let before = net.values();
                let mut driver = Driver::builder(config.try_init().unwrap(), row.lr)
                    .with_clipping(clipping)
                    .bind(&net)
                    .unwrap();
                let (net, report) = driver.step(net, GradientsParams::new()).unwrap();
                assert_eq!(net.values(), before, "{row_label} on {label}");
                assert_eq!(report.outcome, Outcome::Nothing);
                assert_eq!((report.updated, driver.updates()), (0, 0));
                assert_eq!(
                    report.to_string(),
                    "step 0: no gradients, missing: weight, bias, kernel"
                );
                assert_eq!(report.missing, ["weight", "bias", "kernel"]);
                assert!(report.grad_norm.is_none() && report.clipped_norm.is_none());
                assert_eq!(optim::state_bytes(driver.optimizer()).unwrap(), 0);
            }
        });
    });
}

#[test]
fn a_parameter_that_is_frozen_in_the_module_stays_whoever_has_a_gradient_for_it() {
    for_all(|label, device, dtype| {
        for_rows(device, |row_label, row, config| {
            let label = format!("{row_label} on {label}");
            let inner = &device.device;
            let mut net = Net::new(1, inner, dtype);
            let mut driver = Driver::builder(config.try_init().unwrap(), row.lr)
                .with_clipping(Clipping::global_norm(1.0))
                .bind(&net)
                .unwrap();
            let waits = usize::try_from(row.waits).unwrap();
            net = train(&mut driver, net, 0..waits + 1, inner, dtype);
            net.bias = net.bias.set_require_grad(false);
            let before = net.values();
            for given in [true, false] {
                let of: &[usize] = if given { &ALL } else { &[0, 2] };
                let grads = net.grads(1, of, inner, dtype);
                let report;
                (net, report) = driver.step(net, grads).unwrap();
                assert_eq!(report.frozen, ["bias"], "{label}");
                assert!(report.missing.is_empty(), "{label}");
                assert_eq!(net.values()[1], before[1], "{label}");
                assert_ne!(net.values()[0], before[0], "{label}");
            }
            // It goes on where it was.
            net.bias = net.bias.set_require_grad(true);
            let grads = net.grads(3, &ALL, inner, dtype);
            let report;
            (net, report) = driver.step(net, grads).unwrap();
            if matches!(dtype, DType::F32 | DType::F64) {
                assert_ne!(net.values()[1], before[1], "{label}: thawed");
            }
            assert_eq!(report.updated, 3, "{label}");
        });
    });
}

/// Frozen when the driver was bound: groups and optimizer did not see it.
#[test]
fn a_parameter_that_is_thawed_after_binding_is_not_stepped_blindly() {
    let device = &devices()[0].device;
    for group in [
        None,
        Some(Group::new("weight", Select::name("weight")).with_weight_decay(0.1)),
    ] {
        let mut net = Net::new(1, device, DType::F32);
        net.bias = net.bias.set_require_grad(false);
        let mut driver = Driver::builder(optim::AdamWConfig::new().init(), 0.1)
            .with_clipping(Clipping::global_norm(0.1))
            .with_groups(group)
            .bind(&net)
            .unwrap();
        net = train(&mut driver, net, 0..1, device, DType::F32);
        net.bias = net.bias.set_require_grad(true);
        let (values, before) = (net.values(), bytes(&driver, &net));
        let grads = net.grads(1, &ALL, device, DType::F32);
        let error = driver.step(net, grads).unwrap_err();
        assert!(matches!(&error.cause, StepCause::Thawed { path } if *path == "bias"));
        assert_eq!(error.model.values(), values);
        assert!(before == bytes(&driver, &error.model));
    }
}
