//! Clipping.

use super::*;

#[test]
fn a_global_norm_is_that_of_all_gradients_and_keeps_their_direction() {
    for_all(|label, device, dtype| {
        let magnitudes: &[f64] = match dtype {
            DType::F16 => &[1e-3, 1.0, 60_000.0],
            DType::F64 => &[1e-300, 1e-20, 1.0, 1e20, 1e300],
            _ => &[1e-20, 1.0, 1e20, 1e30, 3e38],
        };
        for (optim, make) in PLAIN {
            for &magnitude in magnitudes {
                let grads = scaled(&grad_values(1), magnitude);
                let grads = held(&grads, &device.device, dtype);
                let before = norm(&grads);
                for threshold in [0.5, 1e-3, 2.0 * before] {
                    let label = format!("{optim} on {label}, {magnitude:e} to {threshold:e}");
                    let clip = |driver: DriverBuilder| {
                        driver.with_clipping(Clipping::global_norm(threshold))
                    };
                    let (seen, report) = seen(make, clip, &grads, &device.device, dtype);
                    let factor = (threshold / before).min(1.0);
                    let tolerance = 2.0 * rounding(device, dtype);
                    for (seen, expected) in seen.iter().zip(&scaled(&grads, factor)) {
                        // Below the smallest normal number of 16 bits.
                        let absolute = if dtype == DType::F16 { 6e-8 } else { 0.0 };
                        assert_close(&label, seen, expected, tolerance, absolute);
                    }
                    let (full, clipped) = (report.grad_norm.unwrap(), report.clipped_norm.unwrap());
                    let exact = device.f32_tolerance;
                    assert!(is_close(full.value(), before, exact), "{label}: {full}");
                    let after = before.min(threshold);
                    assert!(
                        is_close(clipped.value(), after, exact),
                        "{label}: {clipped}"
                    );
                    assert!(is_close(norm(&seen), after, tolerance), "{label}");
                    let turned = 1.0 - cosine(&seen, &grads);
                    assert!(
                        turned.abs() < 1e-6 + tolerance * tolerance,
                        "{label}: {turned}"
                    );
                }
            }
        }
    });
}

#[test]
fn subnormal_gradients_have_a_norm_and_pass_unchanged() {
    for device in devices().into_iter().filter(|device| device.exact) {
        for (dtype, magnitude) in [(DType::F32, 1e-40), (DType::F64, 1e-310)] {
            let grads = scaled(&grad_values(1), magnitude);
            let grads = held(&grads, &device.device, dtype);
            let clip = |driver: DriverBuilder| driver.with_clipping(Clipping::global_norm(1.0));
            let (seen, report) = seen(PLAIN[0].1, clip, &grads, &device.device, dtype);
            assert_eq!(seen, grads, "{} in {dtype:?}", device.name);
            let found = report.grad_norm.unwrap().value();
            let expected = norm(&grads);
            assert!(is_close(found, expected, 1e-6), "{found:e}, {expected:e}");
        }
    }
}

/// Gradients times a factor, in their own precision.
fn scaled_by_hand(net: &Net, grads: &GradientsParams, factor: f64) -> GradientsParams {
    let mut scaled = GradientsParams::new();
    let weight = grads.get::<2>(net.weight.id).unwrap().mul_scalar(factor);
    scaled.register(net.weight.id, weight);
    let bias = grads.get::<1>(net.bias.id).unwrap().mul_scalar(factor);
    scaled.register(net.bias.id, bias);
    let kernel = grads.get::<4>(net.kernel.id).unwrap().mul_scalar(factor);
    scaled.register(net.kernel.id, kernel);
    scaled
}

fn assert_clips_as_by_hand(
    label: &str,
    (make, rate): (impl Fn() -> ModuleOptimizer, f64),
    device: &TestDevice,
    dtype: DType,
    relative: f64,
) {
    let threshold = 0.7;
    let inner = &device.device;
    let mut net = Net::new(1, inner, dtype);
    let mut other = net.clone();
    let start = net.values();
    let mut driver = Driver::builder(make(), rate)
        .with_clipping(Clipping::global_norm(threshold))
        .bind(&net)
        .unwrap();
    let mut optim = make();
    for t in 0..4 {
        let grads = net.grads(t, &ALL, inner, dtype);
        let report;
        (net, report) = driver.step(net, grads).unwrap();
        // The norm itself has a test of its own.
        let factor = threshold / report.grad_norm.unwrap().value();
        let grads = other.grads(t, &ALL, inner, dtype);
        let grads = scaled_by_hand(&other, &grads, factor);
        other = optim.step(rate, other, grads);
        for ((found, expected), start) in net.values().iter().zip(other.values()).zip(&start) {
            let moved = expected.iter().zip(start).map(|(a, b)| (a - b).abs());
            let furthest = moved.fold(0.0, f64::max);
            assert_close(label, found, &expected, relative, relative * furthest);
        }
    }
}

#[test]
fn the_factor_inside_the_pass_is_the_one_applied_beforehand() {
    for device in devices() {
        for &dtype in device.dtypes {
            for_rows(&device, |label, row, config| {
                // What 16 bits round of a gradient, small singular values grow with.
                let half = matches!(dtype, DType::F16 | DType::BF16);
                if !row.is_alone() || (half && row.is_of_matrices()) {
                    return;
                }
                let label = format!("{label} on {} in {dtype:?}", device.name);
                let elementwise = common::behaviour::is_elementwise(config);
                // Elementwise rules get the same numbers; of 16-bit gradients the factor inside loses
                // nothing, and the one beforehand rounds.
                let tolerance = match dtype {
                    DType::F32 | DType::F64 if device.exact && elementwise => 0.0,
                    DType::F16 | DType::BF16 => 4.0 * rounding(&device, dtype),
                    _ => rounding(&device, dtype),
                };
                let make = || config.try_init().unwrap();
                assert_clips_as_by_hand(&label, (make, row.lr), &device, dtype, tolerance);
            });
        }
    }
}

#[test]
fn optimizers_of_burn_get_clipped_gradients_too() {
    for device in devices() {
        for (label, make) in BURN {
            let label = format!("{label} on {}", device.name);
            let tolerance = if device.exact {
                0.0
            } else {
                device.f32_tolerance
            };
            assert_clips_as_by_hand(&label, (make, 0.01), &device, DType::F32, tolerance);
        }
    }
}

#[test]
fn clipping_of_an_optimizers_own_comes_after_the_drivers() {
    for device in devices() {
        for row in rows_alone_on(&device) {
            let mut json = serde_json::to_value(row.config("{}")).unwrap();
            let clipping = GradientClippingConfig::Value(0.1);
            json["grad_clipping"] = serde_json::to_value(clipping).unwrap();
            let config = OptimizerConfig::from_json(&json.to_string()).unwrap();
            let label = format!("{} on {}", row.name, device.name);
            let tolerance = if device.exact {
                0.0
            } else {
                device.f32_tolerance
            };
            let make = || config.try_init().unwrap();
            assert_clips_as_by_hand(&label, (make, row.lr), &device, DType::F32, tolerance);
        }
    }
}

#[test]
fn frozen_gradients_are_not_part_of_the_norm_and_groups_are() {
    for_all(|label, device, dtype| {
        let groups = [
            Group::new("bias", Select::name("bias")).frozen(),
            Group::new("kernel", Select::name("kernel"))
                .with_optimizer(burn::optim::SgdConfig::new().build()),
        ];
        let grads = held(&grad_values(1), &device.device, dtype);
        let expected = norm([&grads[0], &grads[2]]);
        let threshold = 0.25 * expected;
        let (seen, report) = seen(
            PLAIN[0].1,
            |driver| {
                driver
                    .with_clipping(Clipping::global_norm(threshold))
                    .with_groups(groups.clone())
            },
            &grads,
            &device.device,
            dtype,
        );
        assert!(
            is_close(
                report.grad_norm.unwrap().value(),
                expected,
                device.f32_tolerance
            ),
            "{label}"
        );
        assert_eq!(seen[1], [0.0; 3], "{label}: frozen");
        assert_eq!(report.frozen, ["bias"], "{label}");
        for index in [0, 2] {
            let clipped: Vec<f64> = grads[index].iter().map(|x| 0.25 * x).collect();
            assert_close(
                label,
                &seen[index],
                &clipped,
                2.0 * rounding(device, dtype),
                0.0,
            );
        }
    });
}

/// What a clipping makes of one parameter's gradient.
type Formula = fn(param: &[f64], grad: &[f64], shape: &[usize], threshold: f64) -> Vec<f64>;

fn value(_: &[f64], grad: &[f64], _: &[usize], threshold: f64) -> Vec<f64> {
    grad.iter()
        .map(|x| x.clamp(-threshold, threshold))
        .collect()
}

fn adaptive(param: &[f64], grad: &[f64], shape: &[usize], threshold: f64) -> Vec<f64> {
    let unit = |index: usize| match shape {
        [_] => 0,
        [_, columns] => index % columns,
        [units, ..] => index / (grad.len() / units),
        [] => unreachable!(),
    };
    let norm_of = |values: &[f64], of: usize| {
        let unit = values.iter().enumerate().filter(|(i, _)| unit(*i) == of);
        norm([&unit.map(|(_, x)| *x).collect()])
    };
    let factor = |i| {
        let limit = threshold * norm_of(param, unit(i)).max(1e-3);
        (limit / norm_of(grad, unit(i))).min(1.0)
    };
    grad.iter()
        .enumerate()
        .map(|(i, x)| x * factor(i))
        .collect()
}

#[test]
fn other_clippings_follow_their_formulas_and_their_schedules() {
    let threshold = LinearConfig::new(1.2, 0.2, 4).try_build().unwrap();
    let clippings: [(&str, Clipping, Formula); 3] = [
        (
            "tensor norm",
            Clipping::tensor_norm(threshold.clone()),
            tensor_norm,
        ),
        ("value", Clipping::value(threshold.clone()), value),
        ("adaptive", Clipping::adaptive(threshold.clone()), adaptive),
    ];
    for_all(|label, device, dtype| {
        for (name, clipping, formula) in &clippings {
            for (optim, make) in PLAIN {
                let inner = &device.device;
                let mut net = Net::new(3, inner, dtype);
                let mut driver = Driver::builder(make(), 1.0)
                    .with_clipping(clipping.clone())
                    .bind(&net)
                    .unwrap();
                for t in 0..6 {
                    let label = format!("{name} in {optim} on {label}, step {t}");
                    let before = net.values();
                    let grads = held(&grad_values(t), inner, dtype);
                    let report;
                    let given = net.grads_from(&grads, &ALL, inner, dtype);
                    (net, report) = driver.step(net, given).unwrap();
                    let clipped: Vec<Vec<f64>> = ALL
                        .iter()
                        .map(|&i| {
                            formula(&before[i], &grads[i], SHAPES[i], threshold.value(t as u64))
                        })
                        .collect();
                    let rounding = rounding(device, dtype);
                    for index in ALL {
                        let expected: Vec<f64> = before[index]
                            .iter()
                            .zip(&clipped[index])
                            .map(|(x, g)| x - g)
                            .collect();
                        assert_close(
                            &label,
                            &net.values()[index],
                            &expected,
                            rounding,
                            2.0 * rounding,
                        );
                    }
                    if let Some(found) = report.clipped_norm {
                        let expected = norm(&clipped);
                        assert!(
                            is_close(found.value(), expected, 2.0 * rounding),
                            "{label}: {found}"
                        );
                    } else {
                        assert!(*name == "tensor norm" && !device.exact, "{label}");
                    }
                }
            }
        }
    });
}

#[test]
fn adaptive_clipping_does_not_lose_gradients_whose_norm_is_out_of_range() {
    for (dtype, magnitude) in [(DType::F32, 3e38), (DType::F64, 1.5e308)] {
        for device in common::devices_with(dtype).filter(|device| device.exact) {
            let grads = SHAPES.map(|shape| vec![magnitude; shape.iter().product()]);
            let clip = |driver: DriverBuilder| driver.with_clipping(Clipping::adaptive(0.5));
            let (seen, _) = seen(PLAIN[0].1, clip, &grads, &device.device, dtype);
            // The parameters are 0, so a unit's norm is half of the floor of 1e-3.
            let expected = 0.5e-3 / 3f64.sqrt();
            assert_close(device.name, &seen[1], &[expected; 3], 1e-5, 0.0);
        }
    }
}

#[test]
fn a_mean_of_micro_batches_is_what_is_clipped() {
    for_all(|label, device, dtype| {
        let inner = &device.device;
        let big = held(&scaled(&grad_values(1), 100.0), inner, dtype);
        let small = scaled(&held(&grad_values(2), inner, dtype), -1.0);
        for (optim, make) in PLAIN {
            for clipping in [
                Clipping::global_norm(1.0),
                Clipping::tensor_norm(1.0),
                Clipping::value(0.2),
            ] {
                let net = Net::from_values(&zeros(), inner, dtype);
                let mut driver = Driver::builder(make(), 1.0)
                    .with_clipping(clipping.clone())
                    .with_accumulation(Accumulation::mean(3))
                    .bind(&net)
                    .unwrap();
                let mut net = net;
                let mut last = None;
                for grads in [&big, &scaled(&big, -1.0), &small] {
                    let grads = net.grads_from(grads, &ALL, inner, dtype);
                    let report;
                    (net, report) = driver.step(net, grads).unwrap();
                    last = Some(report);
                }
                let mean = scaled(&small, 1.0 / 3.0);
                let expected: Values = match &clipping {
                    Clipping::GlobalNorm { .. } => scaled(&mean, (1.0 / norm(&mean)).min(1.0)),
                    Clipping::TensorNorm { .. } => {
                        mean.clone().map(|grad| tensor_norm(&[], &grad, &[], 1.0))
                    }
                    _ => mean.clone().map(|grad| value(&[], &grad, &[], 0.2)),
                };
                // What is left of numbers 100 times as large.
                let absolute = match dtype {
                    DType::F64 => 1e-13,
                    _ => 2e-5,
                };
                let label = format!("{clipping} in {optim} on {label}");
                for (found, expected) in negated(net.values()).iter().zip(&expected) {
                    assert_close(
                        &label,
                        found,
                        expected,
                        2.0 * rounding(device, dtype),
                        absolute,
                    );
                }
                let before = last.unwrap().grad_norm.unwrap().value();
                assert!(is_close(before, norm(&mean), 1e-4), "{label}: {before}");
            }
        }
    });
}

/// Squares of such gradients are more than an f32 can be: a bare optimizer's second moment is infinite.
#[test]
fn clipped_gradients_move_every_optimizer_however_large_they_are() {
    for device in common::devices_with(DType::F32) {
        let inner = &device.device;
        for_rows(&device, |label, row, config| {
            // In single precision factors without full rank are of rounding errors.
            if row.goes_by_factors() {
                return;
            }
            let run = |size: f64| {
                let mut net = Net::new(1, inner, DType::F32);
                let mut driver = Driver::builder(config.try_init().unwrap(), row.lr)
                    .with_clipping(Clipping::global_norm(0.5))
                    .bind(&net)
                    .unwrap();
                for t in 0..3 {
                    let grads = scaled(&grad_values(t), size);
                    let grads = net.grads_from(&grads, &ALL, inner, DType::F32);
                    (net, _) = driver.step(net, grads).unwrap();
                }
                net.values()
            };
            let expected = run(1.0);
            for size in [1e20, 1e30, 1e38] {
                let label = format!("{label} on {}, {size:e}", device.name);
                for (found, expected) in run(size).iter().zip(&expected) {
                    assert_close(&label, found, expected, 1e-5, 1e-4 * row.lr);
                }
            }
        });
    }
}
