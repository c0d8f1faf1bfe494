//! Accumulation.

use super::*;

/// The mean of the gradients `0..`, by their weights.
fn mean(weights: &[f64], device: &Device, dtype: DType) -> Values {
    let total: f64 = weights.iter().sum();
    let mut mean = zeros();
    for (t, weight) in weights.iter().enumerate() {
        let grads = held(&grad_values(t), device, dtype);
        for (mean, grad) in mean.iter_mut().flatten().zip(grads.iter().flatten()) {
            *mean += grad * weight / total;
        }
    }
    mean
}

#[test]
fn micro_batches_equal_one_batch_of_all_their_samples() {
    for_all(|label, device, dtype| {
        let inner = &device.device;
        for (optim, make) in PLAIN {
            for (samples, flushed) in [
                (&[1, 1, 1][..], false),
                (&[1, 2, 5], false),
                (&[3, 1, 3], true),
                (&[7], true),
            ] {
                let label = format!("{optim} on {label}, {samples:?}, flushed: {flushed}");
                let net = Net::from_values(&zeros(), inner, dtype);
                let of = if flushed { 5 } else { 3 };
                let mut driver = Driver::builder(make(), 1.0)
                    .with_accumulation(Accumulation::mean(of))
                    .bind(&net)
                    .unwrap();
                let mut net = net;
                let mut last = None;
                for (t, &samples) in samples.iter().enumerate() {
                    let grads = net.grads(t, &ALL, inner, dtype);
                    let batch = MicroBatch::new(grads)
                        .with_loss(t as f64)
                        .with_samples(samples);
                    let report;
                    (net, report) = driver.step(net, batch).unwrap();
                    let done = t as u32 + 1;
                    if flushed || done < of {
                        assert_eq!(report.outcome, Outcome::Accumulated { done, of }, "{label}");
                        assert_eq!(net.values(), zeros(), "{label}");
                        assert_eq!(driver.updates(), 0);
                    }
                    last = Some(report);
                }
                if flushed {
                    (net, last) = driver.flush(net).unwrap();
                }
                let report = last.unwrap();
                assert_eq!(report.outcome, Outcome::Updated, "{label}");
                let weights: Vec<f64> = samples.iter().map(|&samples| samples as f64).collect();
                let expected = mean(&weights, inner, dtype);
                let rounding = rounding(device, dtype);
                for (found, expected) in negated(net.values()).iter().zip(&expected) {
                    assert_close(&label, found, expected, rounding, rounding * 0.1);
                }
                let total: f64 = weights.iter().sum();
                let loss = weights
                    .iter()
                    .enumerate()
                    .map(|(t, weight)| t as f64 * weight / total);
                assert!(
                    (report.loss.unwrap() - loss.sum::<f64>()).abs() < 1e-12,
                    "{label}"
                );
                let full = norm(&expected);
                assert!(
                    is_close(report.grad_norm.unwrap().value(), full, 1e-5),
                    "{label}"
                );
                // The window is empty again.
                let (_, none) = driver.flush(net).unwrap();
                assert!(none.is_none(), "{label}");
                assert_eq!(driver.updates(), 1);
            }
        }
    });
}

#[test]
fn a_sum_does_not_divide_and_has_no_weights() {
    for_all(|label, device, dtype| {
        let inner = &device.device;
        for (optim, make) in PLAIN {
            let net = Net::from_values(&zeros(), inner, dtype);
            let mut driver = Driver::builder(make(), 1.0)
                .with_accumulation(Accumulation::sum(3))
                .bind(&net)
                .unwrap();
            let mut net = net;
            for t in 0..3 {
                let grads = net.grads(t, &ALL, inner, dtype);
                let batch = MicroBatch::new(grads).with_samples(5);
                (net, _) = driver.step(net, batch).unwrap();
            }
            let expected = scaled(&mean(&[1.0; 3], inner, dtype), 3.0);
            let rounding = rounding(device, dtype);
            for (found, expected) in negated(net.values()).iter().zip(&expected) {
                assert_close(
                    &format!("{optim} on {label}"),
                    found,
                    expected,
                    rounding,
                    rounding,
                );
            }
        }
    });
}

#[test]
fn a_window_in_half_precision_is_summed_in_single() {
    for (dtype, large) in [(DType::BF16, 256.0), (DType::F16, 2048.0)] {
        for device in common::devices_with(dtype) {
            for (optim, make) in PLAIN {
                for (accumulation, divisor) in
                    [(Accumulation::sum(9), 1.0), (Accumulation::mean(9), 9.0)]
                {
                    let inner = &device.device;
                    let mut net = Net::from_values(&zeros(), inner, dtype);
                    let mut driver = Driver::builder(make(), 1.0)
                        .with_accumulation(accumulation)
                        .bind(&net)
                        .unwrap();
                    for t in 0..9 {
                        // Added in 16 bits, the ones would be lost.
                        let size = if t == 0 { large } else { 1.0 };
                        let ones = zeros().map(|zeros| vec![size; zeros.len()]);
                        let grads = net.grads_from(&ones, &ALL, inner, dtype);
                        (net, _) = driver.step(net, grads).unwrap();
                    }
                    let expected = (large + 8.0) / divisor;
                    let label =
                        format!("{optim} on {} in {dtype:?}, {accumulation:?}", device.name);
                    let half = rounding(&device, dtype) / 2.0;
                    assert_close(&label, &negated(net.values())[1], &[expected; 3], half, 0.0);
                    assert!(net.values()[1][0] != -large / divisor, "{label}");
                }
            }
        }
    }
}

/// As for a large model that is kept in 16 bits while a small one in f32 learns on top of it.
#[test]
fn a_frozen_parameter_in_half_precision_does_not_disturb_a_window() {
    for dtype in [DType::BF16, DType::F16] {
        for device in common::devices_with(dtype) {
            for (optim, optimizer) in PLAIN {
                let inner = &device.device;
                let autodiff = inner.clone().autodiff();
                let frozen = make(1, &[2, 3], &autodiff, dtype);
                let head = make(2, &[3], &autodiff, DType::F32);
                let mut model = Frozen {
                    base: Param::from_tensor(frozen).set_require_grad(false),
                    head: Param::from_tensor(head),
                };
                let before = floats(model.head.val().into_data());
                let mut driver = Driver::builder(optimizer(), 1.0)
                    .with_accumulation(Accumulation::mean(2))
                    .bind(&model)
                    .unwrap();
                for size in [1.0, 3.0] {
                    let mut grads = GradientsParams::new();
                    let grad = Tensor::<1>::full([3], size, (inner, DType::F32));
                    grads.register(model.head.id, grad);
                    (model, _) = driver.step(model, grads).unwrap();
                }
                let expected: Vec<f64> = before.iter().map(|x| x - 2.0).collect();
                let found = floats(model.head.val().into_data());
                let label = format!("{optim} on {} in {dtype:?}", device.name);
                assert_close(&label, &found, &expected, 1e-6, 1e-6);
            }
        }
    }
}

#[derive(Module, Debug)]
struct Frozen {
    base: Param<Tensor<2>>,
    head: Param<Tensor<1>>,
}

#[test]
fn micro_batches_may_come_in_several_precisions() {
    let Some(device) = &exact_device() else {
        return;
    };
    for (optim, make) in PLAIN {
        let mut moved = Net::from_values(&zeros(), device, DType::F32);
        let mut driver = Driver::builder(make(), 1.0)
            .with_accumulation(Accumulation::sum(3))
            .bind(&moved)
            .unwrap();
        for dtype in [DType::F64, DType::F32, DType::F64] {
            let ones = zeros().map(|zeros| vec![1.5; zeros.len()]);
            let grads = moved.grads_from(&ones, &ALL, device, dtype);
            (moved, _) = driver.step(moved, grads).unwrap();
        }
        let all = negated(moved.values());
        assert!(all.iter().flatten().all(|x| *x == 4.5), "{optim}: {all:?}");
    }
}

/// A parameter that has a gradient in some micro-batches of a window only.
#[test]
fn a_gradient_that_is_missing_in_a_micro_batch_counts_as_zero() {
    let Some(device) = &exact_device() else {
        return;
    };
    let mut net = Net::from_values(&zeros(), device, DType::F64);
    let mut driver = Driver::builder(PLAIN[0].1(), 1.0)
        .with_accumulation(Accumulation::mean(2))
        .bind(&net)
        .unwrap();
    let mut last = None;
    for of in [&[0, 1][..], &[0]] {
        let grads = net.grads(0, of, device, DType::F64);
        let report;
        (net, report) = driver.step(net, grads).unwrap();
        last = Some(report);
    }
    let report = last.unwrap();
    assert_eq!(
        (report.updated, &report.missing[..]),
        (2, &["kernel".into()][..])
    );
    let [weight, bias, kernel] = negated(net.values());
    let [of_weight, of_bias, _] = grad_values(0);
    assert_eq!(weight, of_weight);
    let half: Vec<f64> = of_bias.iter().map(|x| 0.5 * x).collect();
    assert_eq!(bias, half);
    assert!(kernel.iter().all(|x| *x == 0.0));
}

#[test]
fn a_micro_batch_that_is_skipped_or_refused_leaves_the_window_as_it_was() {
    for skips in [false, true] {
        let Some(device) = &exact_device() else {
            return;
        };
        let policy = match skips {
            true => NonFinite::Skip { max_consecutive: 1 },
            false => NonFinite::Error,
        };
        let mut net = Net::from_values(&zeros(), device, DType::F64);
        let mut driver = Driver::builder(PLAIN[0].1(), 1.0)
            .with_accumulation(Accumulation::mean(3))
            .with_non_finite(policy)
            .bind(&net)
            .unwrap();
        for t in 0..3 {
            for bad in BAD.into_iter().take(1) {
                let before = bytes(&driver, &net);
                let grads = net.grads_from(&spoilt(9, bad), &ALL, device, DType::F64);
                let batch = MicroBatch::new(grads).with_loss(9.0).with_samples(9);
                net = match driver.step(net, batch) {
                    Ok((net, report)) => {
                        assert!(skips);
                        assert_eq!(report.outcome, Outcome::Skipped);
                        net
                    }
                    Err(error) => {
                        assert!(!skips);
                        assert!(before == bytes(&driver, &error.model));
                        error.model
                    }
                };
            }
            let grads = net.grads(t, &ALL, device, DType::F64);
            let batch = MicroBatch::new(grads).with_loss(t as f64);
            let report;
            (net, report) = driver.step(net, batch).unwrap();
            assert_eq!(report.outcome == Outcome::Updated, t == 2);
            assert_eq!(report.loss, Some([0.0, 1.0, 1.0][t]));
        }
        let expected = mean(&[1.0; 3], device, DType::F64);
        for (found, expected) in negated(net.values()).iter().zip(&expected) {
            assert_close("the mean", found, expected, 1e-12, 1e-14);
        }
    }
}

#[test]
fn a_weight_that_cannot_be_one_is_refused() {
    let device = &devices()[0].device;
    let net = Net::new(1, device, DType::F32);
    let mut driver = Driver::builder(PLAIN[0].1(), 1.0)
        .with_accumulation(Accumulation::mean(2))
        .bind(&net)
        .unwrap();
    let grads = net.grads(0, &ALL, device, DType::F32);
    let batch = MicroBatch::new(grads).with_samples(0);
    let error = driver.step(net, batch).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`samples of a micro-batch` must be finite and above 0, got 0"
    );
}

#[test]
fn a_sum_of_finite_gradients_that_overflows_is_not_finite() {
    let large = zeros().map(|zeros| vec![3e38; zeros.len()]);
    for_nan(|on, device, dtype| {
        let device = &device.device;
        if dtype != DType::F32 {
            return;
        }
        for policy in [
            NonFinite::Error,
            NonFinite::Skip { max_consecutive: 3 },
            NonFinite::ZeroNan,
        ] {
            let net = Net::new(1, device, dtype);
            let mut driver = Driver::builder(PLAIN[0].1(), 1.0)
                .with_accumulation(Accumulation::sum(2))
                .with_non_finite(policy)
                .bind(&net)
                .unwrap();
            let values = net.values();
            let grads = net.grads_from(&large, &ALL, device, dtype);
            let (net, _) = driver.step(net, grads).unwrap();
            let mut second = large.clone();
            if policy == NonFinite::ZeroNan {
                second[0][0] = f64::NAN;
            }
            let grads = net.grads_from(&second, &ALL, device, dtype);
            let label = format!("{policy:?} on {on}");
            match driver.step(net, grads) {
                Ok((net, report)) => {
                    assert!(matches!(policy, NonFinite::Skip { .. }), "{label}");
                    assert_eq!(report.outcome, Outcome::Skipped);
                    assert_eq!(net.values(), values, "{label}");
                    assert!(driver.flush(net).unwrap().1.is_none(), "the window is gone");
                }
                Err(error) => {
                    assert!(!matches!(policy, NonFinite::Skip { .. }), "{label}");
                    assert_eq!(error.model.values(), values, "{label}");
                    let back = error.model.read_grads(&error.grads);
                    assert_eq!(back[1], held(&second, device, dtype)[1], "{label}");
                    assert_eq!(back[0][0].is_nan(), second[0][0].is_nan(), "{label}");
                    assert_eq!(driver.updates(), 0);
                    driver.discard_window();
                    let (_, report) = driver.flush(error.model).unwrap();
                    assert!(report.is_none(), "the window is gone");
                }
            }
        }
    });
}

/// Burn's optimizers take gradients in the parameter's precision only.
#[test]
fn a_sum_that_is_too_large_for_the_parameters_precision_is_not_finite() {
    let large = zeros().map(|zeros| vec![40_000.0; zeros.len()]);
    for device in common::devices_with(DType::F16) {
        let inner = &device.device;
        for (optim, make) in PLAIN {
            for policy in [
                NonFinite::Error,
                NonFinite::Skip { max_consecutive: 3 },
                NonFinite::ZeroNan,
            ] {
                let label = format!("{optim}, {policy:?} on {}", device.name);
                let net = Net::from_values(&zeros(), inner, DType::F16);
                let mut driver = Driver::builder(make(), 1e-3)
                    .with_accumulation(Accumulation::sum(2))
                    .with_non_finite(policy)
                    .bind(&net)
                    .unwrap();
                let [first, second] =
                    [(), ()].map(|()| net.grads_from(&large, &ALL, inner, DType::F16));
                let (net, _) = driver.step(net, first).unwrap();
                let before = bytes(&driver, &net);
                match driver.step(net, second) {
                    // Inside the pass of this library's everything is in f32.
                    Ok((net, report)) if optim == "downhill" => {
                        assert_eq!(report.updated, 3, "{label}");
                        let near = |x: &f64| is_close(*x, -80.0, 1e-3);
                        assert!(net.values().iter().flatten().all(near), "{label}");
                    }
                    Ok((net, report)) => {
                        assert!(matches!(policy, NonFinite::Skip { .. }), "{label}");
                        assert_eq!(report.outcome, Outcome::Skipped, "{label}");
                        assert_eq!((report.updated, report.non_finite.len()), (0, 3));
                        assert_eq!(net.values(), zeros(), "{label}");
                        assert!(driver.flush(net).unwrap().1.is_none(), "the window is gone");
                    }
                    Err(error) => {
                        assert_ne!(optim, "downhill", "{label}");
                        assert!(!matches!(policy, NonFinite::Skip { .. }), "{label}");
                        assert!(
                            matches!(error.cause, StepCause::NonFinite { .. }),
                            "{label}"
                        );
                        assert_eq!(bytes(&driver, &error.model), before, "{label}");
                        let back = error.model.read_grads(&error.grads);
                        assert_eq!(back, large, "{label}");
                    }
                }
            }
        }
    }
}
