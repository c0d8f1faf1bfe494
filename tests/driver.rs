//! The driver around a step: every promise against plain formulas and steps made by hand.

// A step that fails hands the model back, and Burn takes one range in an array.
#![allow(clippy::result_large_err, clippy::single_range_in_vec_init)]

mod common;

use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::nn::{self, BatchNorm, BatchNormConfig};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use common::net::{ALL, Net, SHAPES, Values, grad_values, make, train, values, zeros};
use common::rows::{ROWS, Row};
use common::{TestDevice, assert_close, devices, floats, rounding, tensor, values_of};
use downhill::optim::{self, Identity, OptimizerConfig, canonical_bytes};
use downhill::schedule::{LinearConfig, ScheduleConfig};
use downhill::train::{
    Accumulation, Averaging, BindError, Clipping, Driver, DriverBuilder, Group, GroupError,
    MicroBatch, ModuleError, NonFinite, Outcome, PolyakError, Rate, Select, StepCause, StepReport,
    polyak_update,
};

fn for_all(mut test: impl FnMut(&str, &TestDevice, DType)) {
    for device in devices() {
        for &dtype in device.dtypes {
            let label = format!("{} in {dtype:?}", device.name);
            test(&label, &device, dtype);
        }
    }
}

/// Every configuration of every row.
fn for_rows(mut test: impl FnMut(&str, &Row, &OptimizerConfig)) {
    for row in ROWS {
        for (label, config) in row.configs() {
            test(&label, row, &config);
        }
    }
}

type Make = fn() -> ModuleOptimizer;

/// Plain gradient descent, whose gradients are scaled in its own pass or beforehand.
const PLAIN: [(&str, Make); 2] = [
    ("downhill", || optim::SgdConfig::new().init()),
    ("burn", || burn::optim::SgdConfig::new().init()),
];

/// burn-optim's optimizers.
const BURN: [(&str, Make); 3] = [
    ("burn's adam", || burn::optim::AdamConfig::new().init()),
    ("burn's sgd", || burn::optim::SgdConfig::new().init()),
    ("burn's rmsprop", || {
        burn::optim::RmsPropConfig::new().init()
    }),
];

/// The gradients that the optimizer sees: from 0, plain gradient descent at the rate 1 goes to their
/// negatives.
fn seen(
    optim: Make,
    with: impl Fn(DriverBuilder) -> DriverBuilder,
    grads: &Values,
    device: &Device,
    dtype: DType,
) -> (Values, StepReport) {
    let net = Net::from_values(&zeros(), device, dtype);
    let mut driver = with(Driver::builder(optim(), 1.0)).bind(&net).unwrap();
    let grads = net.grads_from(grads, &ALL, device, dtype);
    let (net, report) = driver.step(net, grads).unwrap();
    (negated(net.values()), report)
}

fn negated(values: Values) -> Values {
    values.map(|values| values.into_iter().map(|x| -x).collect())
}

fn scaled(values: &Values, factor: f64) -> Values {
    values
        .clone()
        .map(|values| values.into_iter().map(|x| x * factor).collect())
}

/// As a tensor of this precision holds them.
fn held(values: &Values, device: &Device, dtype: DType) -> Values {
    Net::from_values(values, device, dtype).values()
}

/// The norm in f64, without overflow.
fn norm<'a>(values: impl IntoIterator<Item = &'a Vec<f64>>) -> f64 {
    let all: Vec<f64> = values.into_iter().flatten().copied().collect();
    let largest = all.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    match largest {
        0.0 => 0.0,
        largest => {
            let squares: f64 = all.iter().map(|x| (x / largest) * (x / largest)).sum();
            largest * squares.sqrt()
        }
    }
}

fn cosine(a: &Values, b: &Values) -> f64 {
    let (norm_a, norm_b) = (norm(a), norm(b));
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| (a / norm_a) * (b / norm_b)).sum()
}

fn is_close(found: f64, expected: f64, relative: f64) -> bool {
    (found - expected).abs() <= relative * expected.abs()
}

fn bytes(driver: &Driver, net: &impl Module) -> Vec<u8> {
    driver.checkpoint(net).unwrap().to_bytes().unwrap()
}

/// The first device that keeps a NaN and has every precision that the tests take it for, if one is
/// compiled in.
fn exact_device() -> Option<Device> {
    let found = devices().into_iter().find(|device| device.exact);
    found.map(|device| device.device)
}

/// The same numbers; where another kernel may round in another way, up to a few roundings.
fn assert_same(label: &str, device: &TestDevice, found: &[f64], expected: &[f64]) {
    let tolerance = if device.exact {
        0.0
    } else {
        4.0 * device.f32_tolerance
    };
    assert_close(label, found, expected, tolerance, tolerance);
}

fn state(driver: &Driver) -> Vec<u8> {
    canonical_bytes(driver.optimizer()).unwrap().to_vec()
}

// Clipping

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
        for (found, expected) in net.values().iter().zip(other.values()) {
            assert_close(label, found, &expected, relative, relative * rate);
        }
    }
}

#[test]
fn the_factor_inside_the_pass_is_the_one_applied_beforehand() {
    for device in devices() {
        for &dtype in device.dtypes {
            for_rows(|label, row, config| {
                let label = format!("{label} on {} in {dtype:?}", device.name);
                // Elementwise rules get the same numbers; of 16-bit gradients the factor inside loses
                // nothing, and the one beforehand rounds.
                let tolerance = match dtype {
                    DType::F32 | DType::F64 if device.exact && !row.name.contains("adafactor") => {
                        0.0
                    }
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
        for row in ROWS {
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

fn tensor_norm(_: &[f64], grad: &[f64], _: &[usize], threshold: f64) -> Vec<f64> {
    let factor = (threshold / norm([&grad.to_vec()])).min(1.0);
    grad.iter().map(|x| x * factor).collect()
}

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

// What is not finite

/// One element of one parameter's gradient is `bad`.
fn spoilt(t: usize, bad: f64) -> Values {
    let mut grads = grad_values(t);
    grads[2][5] = bad;
    grads
}

const BAD: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// Devices that are bound to keep a NaN: shader languages let a compiler assume that there is none.
fn for_nan(mut test: impl FnMut(&str, &Device, DType)) {
    for_all(|label, device, dtype| {
        if device.exact {
            test(label, &device.device, dtype);
        }
    });
}

fn guarded(config: &OptimizerConfig, lr: f64, net: &Net, non_finite: NonFinite) -> Driver {
    let schedule = LinearConfig::new(lr, 0.5 * lr, 5).try_build().unwrap();
    Driver::builder(config.try_init().unwrap(), schedule)
        .with_clipping(Clipping::global_norm(1.0))
        .with_averaging(Averaging::ema(0.5))
        .with_non_finite(non_finite)
        .bind(net)
        .unwrap()
}

#[test]
fn a_gradient_that_is_not_finite_is_as_if_it_had_never_been() {
    for_nan(|on, inner, dtype| {
        for_rows(|label, row, config| {
            for (bad, skips) in BAD.into_iter().flat_map(|bad| [(bad, false), (bad, true)]) {
                let label = format!("{label} on {on}, {bad}");
                let policy = match skips {
                    true => NonFinite::Skip { max_consecutive: 1 },
                    false => NonFinite::Error,
                };
                let net = Net::new(1, inner, dtype);
                let mut spared = guarded(config, row.lr, &net, policy);
                let mut driver = guarded(config, row.lr, &net, policy);
                let straight = train(&mut spared, net.clone(), 0..3, inner, dtype);

                let net = train(&mut driver, net, 0..1, inner, dtype);
                let (values, before) = (net.values(), bytes(&driver, &net));
                let grads = net.grads_from(&spoilt(9, bad), &ALL, inner, dtype);
                let net = match driver.step(net, grads) {
                    Ok((net, report)) => {
                        assert!(skips, "{label}");
                        assert_eq!(report.outcome, Outcome::Skipped);
                        assert_eq!((report.skipped, driver.skipped()), (1, 1));
                        assert_eq!(report.step, 1);
                        let [broken] = &report.non_finite[..] else {
                            panic!("{label}: {report}");
                        };
                        assert_eq!(broken.to_string(), "kernel (1 of 24)");
                        net
                    }
                    Err(error) => {
                        assert!(!skips, "{label}: {error}");
                        let StepCause::NonFinite {
                            gradients,
                            loss: None,
                        } = &error.cause
                        else {
                            panic!("{label}: {error}");
                        };
                        assert_eq!(gradients.len(), 1);
                        assert_eq!(gradients[0].to_string(), "kernel (1 of 24)");
                        let back = error.model.read_grads(&error.grads)[2][5];
                        assert!(back == bad || (back.is_nan() && bad.is_nan()), "{label}");
                        assert!(
                            before == bytes(&driver, &error.model),
                            "{label}: the driver"
                        );
                        error.model
                    }
                };
                assert_eq!(net.values(), values, "{label}: the step");
                assert_eq!(driver.updates(), 1);
                let net = train(&mut driver, net, 1..3, inner, dtype);
                assert_eq!(net.values(), straight.values(), "{label}");
                assert_eq!(state(&driver), state(&spared), "{label}: the state");
                let averages = [(&driver, &net), (&spared, &straight)];
                let [one, two] = averages.map(|(driver, net)| driver.averaged(net).values());
                assert_eq!(one, two, "{label}: the averages");
            }
        });
    });
}

#[test]
fn zero_nan_zeroes_what_is_not_finite_and_nothing_else() {
    for_nan(|on, inner, dtype| {
        for_rows(|label, row, config| {
            for bad in BAD {
                let label = format!("{label} on {on}, {bad}");
                let run = |values: &Values| {
                    let net = Net::new(1, inner, dtype);
                    let mut driver = guarded(config, row.lr, &net, NonFinite::ZeroNan);
                    let grads = net.grads_from(values, &ALL, inner, dtype);
                    let (net, report) = driver.step(net, grads).unwrap();
                    (net.values(), report)
                };
                let (found, report) = run(&spoilt(0, bad));
                let (expected, _) = run(&spoilt(0, 0.0));
                assert_eq!(found, expected, "{label}");
                assert_eq!(report.outcome, Outcome::Updated);
                assert_eq!(report.non_finite[0].to_string(), "kernel (1 of 24)");
                assert_eq!(report.non_finite.len(), 1);
            }
        });
    });
}

#[test]
fn ignore_looks_at_nothing() {
    for_nan(|on, device, dtype| {
        let ignore = |driver: DriverBuilder| driver.with_non_finite(NonFinite::Ignore);
        let grads = spoilt(0, f64::NAN);
        let (seen, report) = seen(PLAIN[0].1, ignore, &grads, device, dtype);
        assert!(seen[2][5].is_nan(), "{on}");
        assert_eq!(report.outcome, Outcome::Updated);
        assert!(report.grad_norm.is_none(), "nothing asked for it");
        assert!(report.non_finite.is_empty());
    });
}

/// Without a guard, clipping is no worse than none.
#[test]
fn an_infinite_norm_that_is_ignored_scales_nothing() {
    for_nan(|on, device, dtype| {
        for bad in BAD {
            let with = |driver: DriverBuilder| {
                driver
                    .with_non_finite(NonFinite::Ignore)
                    .with_clipping(Clipping::global_norm(1.0))
            };
            let grads = held(&spoilt(0, bad), device, dtype);
            let (seen, report) = seen(PLAIN[0].1, with, &grads, device, dtype);
            assert!(!report.clipped_norm.unwrap().value().is_finite(), "{on}");
            assert_eq!(seen[..2], grads[..2], "{on}, {bad}");
        }
    });
}

#[test]
fn a_loss_that_is_not_finite_is_judged_like_a_gradient() {
    let Some(device) = &exact_device() else {
        return;
    };
    for bad in BAD {
        let step = |non_finite: NonFinite| {
            let net = Net::new(1, device, DType::F32);
            let mut driver = Driver::builder(optim::SgdConfig::new().init(), 0.1)
                .with_non_finite(non_finite)
                .bind(&net)
                .unwrap();
            let grads = net.grads(0, &ALL, device, DType::F32);
            driver.step(net, MicroBatch::new(grads).with_loss(bad))
        };
        let error = step(NonFinite::Error).unwrap_err();
        assert_eq!(error.to_string(), format!("the loss is {bad}"));
        let (_, report) = step(NonFinite::Skip { max_consecutive: 1 }).unwrap();
        assert_eq!(report.outcome, Outcome::Skipped);
        let error = step(NonFinite::Skip { max_consecutive: 0 }).unwrap_err();
        let expected =
            format!("1 updates in a row were not finite (0 may be skipped): the loss is {bad}");
        assert_eq!(error.to_string(), expected);
        for policy in [NonFinite::ZeroNan, NonFinite::Ignore] {
            let (_, report) = step(policy).unwrap();
            assert_eq!(report.outcome, Outcome::Updated);
            let loss = report.loss.unwrap();
            assert!(loss == bad || loss.is_nan() && bad.is_nan());
        }
    }
}

#[test]
fn skips_in_a_row_are_counted_and_a_good_update_starts_over() {
    let Some(device) = &exact_device() else {
        return;
    };
    let net = Net::new(1, device, DType::F32);
    let halving = LinearConfig::new(1.0, 0.0, 10).try_build().unwrap();
    let mut driver = Driver::builder(optim::SgdConfig::new().init(), halving)
        .with_non_finite(NonFinite::Skip { max_consecutive: 2 })
        .bind(&net)
        .unwrap();
    let mut net = net;
    for round in 0..3 {
        for skip in 1..=2 {
            let grads = net.grads_from(&spoilt(0, f64::NAN), &ALL, device, DType::F32);
            let report;
            (net, report) = driver.step(net, grads).unwrap();
            assert_eq!(report.outcome, Outcome::Skipped);
            assert_eq!(report.skipped, 2 * round + skip);
        }
        let values = net.values();
        let grads = net.grads_from(&spoilt(0, f64::NAN), &ALL, device, DType::F32);
        let error = driver.step(net, grads).unwrap_err();
        assert_eq!(
            error.to_string(),
            "3 updates in a row were not finite (2 may be skipped): gradients are not finite: \
             kernel (1 of 24)"
        );
        net = error.model;
        assert_eq!(net.values(), values);
        let grads = net.grads(0, &ALL, device, DType::F32);
        let report;
        (net, report) = driver.step(net, grads).unwrap();
        assert_eq!(report.outcome, Outcome::Updated);
        // The schedule counts updates.
        assert_eq!(report.learning_rate, 1.0 - 0.1 * round as f64);
        assert_eq!(driver.updates(), round + 1);
    }
    assert_eq!(driver.skipped(), 6);
}

/// A scheduler of Burn's kind that counts.
#[derive(Clone)]
struct Counting(f64);

impl LrScheduler for Counting {
    fn step(&mut self) -> f64 {
        self.0 += 1.0;
        self.0
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new()
    }

    fn load_record(&mut self, _: LrSchedulerRecord) {}
}

#[test]
fn a_scheduler_of_burns_moves_on_with_updates_only() {
    let Some(device) = &exact_device() else {
        return;
    };
    let net = Net::new(1, device, DType::F32);
    let mut driver = Driver::builder(
        optim::SgdConfig::new().init(),
        Rate::scheduler(Counting(0.0)),
    )
    .with_non_finite(NonFinite::Skip { max_consecutive: 9 })
    .with_accumulation(Accumulation::mean(2))
    .bind(&net)
    .unwrap();
    let mut net = net;
    for update in 1..4 {
        for (grads, outcome) in [
            (grad_values(0), Outcome::Accumulated { done: 1, of: 2 }),
            (spoilt(0, f64::NAN), Outcome::Skipped),
            (grad_values(0), Outcome::Updated),
        ] {
            let grads = net.grads_from(&grads, &ALL, device, DType::F32);
            let report;
            (net, report) = driver.step(net, grads).unwrap();
            assert_eq!(report.outcome, outcome);
            assert_eq!(report.learning_rate, f64::from(update));
        }
    }
}

// Gradients that do not fit

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
        for_rows(|row_label, row, config| {
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
        for_rows(|row_label, row, config| {
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
        for_rows(|row_label, row, config| {
            let label = format!("{row_label} on {label}");
            let inner = &device.device;
            let mut net = Net::new(1, inner, dtype);
            let mut driver = Driver::builder(config.try_init().unwrap(), row.lr)
                .with_clipping(Clipping::global_norm(1.0))
                .bind(&net)
                .unwrap();
            net = train(&mut driver, net, 0..1, inner, dtype);
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

// Binding

fn bind_error(with: impl FnOnce(DriverBuilder) -> DriverBuilder) -> BindError {
    let net = Net::new(1, &devices()[0].device, DType::F32);
    let builder = Driver::builder(optim::AdamWConfig::new().init(), 0.1);
    with(builder).bind(&net).unwrap_err()
}

#[derive(Module, Debug)]
struct Pair {
    first: Param<Tensor<1>>,
    second: Param<Tensor<1>>,
}

#[test]
fn tied_parameters_are_refused_with_both_paths() {
    let device = &devices()[0].device;
    let first = Net::new(1, device, DType::F32).bias;
    let pair = Pair {
        second: first.clone(),
        first,
    };
    let error = Driver::builder(optim::SgdConfig::new().init(), 0.1)
        .bind(&pair)
        .unwrap_err();
    let expected = ModuleError::Tied {
        first: "first".into(),
        second: "second".into(),
    };
    assert_eq!(error, BindError::Module(expected));
}

#[test]
fn a_model_that_cannot_be_trained_is_refused() {
    let device = &devices()[0].device;
    let frozen = Net::new(1, device, DType::F32).no_grad();
    let inner = Net::new(1, device, DType::F32).valid();
    for net in [frozen, inner] {
        let error = Driver::builder(optim::SgdConfig::new().init(), 0.1)
            .bind(&net)
            .unwrap_err();
        assert_eq!(error, BindError::Module(ModuleError::Untrainable));
    }
}

#[test]
fn groups_that_are_empty_or_contradict_each_other_are_refused() {
    let error = bind_error(|driver| {
        driver.with_group(Group::new("head", Select::path("head.**")).frozen())
    });
    assert_eq!(
        error.to_string(),
        "no parameter is in the group `head` (path `head.**`); the parameters are weight, bias, kernel"
    );
    let two = |one: fn(Group) -> Group, other: fn(Group) -> Group| {
        [
            one(Group::new("one", Select::rank(1..=2))),
            other(Group::new("two", Select::rank(2..=4))),
        ]
    };
    type Claim = fn(Group) -> Group;
    let claims: [(&str, Claim); 5] = [
        ("the learning rate", |group| {
            group.with_learning_rate_factor(0.5)
        }),
        ("the weight decay", |group| group.with_weight_decay(0.5)),
        ("the momentum", |group| group.with_momentum(0.5)),
        ("freezing", Group::frozen),
        ("the optimizer", |group| {
            group.with_optimizer(optim::SgdConfig::new().build())
        }),
    ];
    for (i, (what, one)) in claims.iter().enumerate() {
        for (j, (_, other)) in claims.iter().enumerate() {
            let net = Net::new(1, &devices()[0].device, DType::F32);
            let bound = Driver::builder(optim::AdamWConfig::new().init(), 0.1)
                .with_groups(two(*one, *other))
                .bind(&net);
            match (i == j, bound) {
                (true, Err(error)) => {
                    let expected = GroupError::Overlap {
                        first: "one".into(),
                        second: "two".into(),
                        what,
                        path: "weight".into(),
                    };
                    assert_eq!(error, BindError::Group(expected));
                }
                (true, Ok(_)) => panic!("two groups that set {what}"),
                // Plain gradient descent has no momentum.
                (false, Err(BindError::NotDriven { .. })) => {}
                (false, Err(error)) => panic!("{error}"),
                (false, Ok(_)) => {}
            }
        }
    }
    let both = |group: Group| group.with_learning_rate_factor(0.5).with_learning_rate(0.1);
    assert!(matches!(
        bind_error(|driver| driver.with_groups(two(both, |group| group.with_learning_rate(1.0)))),
        BindError::Group(GroupError::Overlap {
            what: "the learning rate",
            ..
        })
    ));
    let error = bind_error(|driver| {
        driver.with_groups([
            Group::new("a", Select::all()),
            Group::new("a", Select::all()),
        ])
    });
    assert_eq!(error.to_string(), "two groups have the name `a`");
}

#[test]
fn settings_outside_their_range_are_refused_when_the_driver_is_bound() {
    let device = &devices()[0].device;
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0];
    let group = || Group::new("kernel", Select::name("kernel"));
    type With = Box<dyn Fn(DriverBuilder, f64) -> DriverBuilder>;
    let settings: Vec<(&str, With, &[f64])> = vec![
        ("weight decay", Box::new(|d, x| d.with_weight_decay(x)), &[]),
        ("momentum", Box::new(|d, x| d.with_momentum(x)), &[1.0]),
        (
            "threshold of the clipping",
            Box::new(|d, x| d.with_clipping(Clipping::global_norm(x))),
            &[0.0],
        ),
        (
            "threshold of the clipping",
            Box::new(|d, x| d.with_clipping(Clipping::tensor_norm(x))),
            &[0.0],
        ),
        (
            "threshold of the clipping",
            Box::new(|d, x| d.with_clipping(Clipping::value(x))),
            &[0.0],
        ),
        (
            "ratio of the clipping",
            Box::new(|d, x| d.with_clipping(Clipping::adaptive(x))),
            &[0.0],
        ),
        (
            "decay of the average",
            Box::new(|d, x| d.with_averaging(Averaging::ema(x))),
            &[1.0],
        ),
        (
            "learning rate factor of a group",
            Box::new(move |d, x| d.with_group(group().with_learning_rate_factor(x))),
            &[],
        ),
        (
            "learning rate of a group",
            Box::new(move |d, x| d.with_group(group().with_learning_rate(x))),
            &[],
        ),
        (
            "weight decay of a group",
            Box::new(move |d, x| d.with_group(group().with_weight_decay(x))),
            &[],
        ),
        (
            "momentum of a group",
            Box::new(move |d, x| d.with_group(group().with_momentum(x))),
            &[1.0],
        ),
    ];
    for (name, with, more) in &settings {
        for &value in odd.iter().chain(*more) {
            let error = bind_error(|driver| with(driver, value)).to_string();
            assert!(error.contains(&format!("`{name}` must be ")), "{error}");
            assert!(error.ends_with(&format!("got {value}")), "{error}");
        }
    }
    for rate in odd {
        let net = Net::new(1, device, DType::F32);
        let builder = Driver::builder(optim::SgdConfig::new().init(), rate);
        let error = builder.bind(&net).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("`learning rate` must be finite and at least 0, got {rate}")
        );
    }
    for (name, error) in [
        (
            "micro-batches of an update",
            bind_error(|d| d.with_accumulation(Accumulation::mean(0))),
        ),
        (
            "micro-batches of an update",
            bind_error(|d| d.with_accumulation(Accumulation::sum(0))),
        ),
        (
            "cadence of the update ratios",
            bind_error(|d| d.with_update_ratios(0)),
        ),
        (
            "cadence of the average",
            bind_error(|d| d.with_averaging(Averaging::mean().with_every(0))),
        ),
    ] {
        assert_eq!(
            error.to_string(),
            format!("`{name}` must be finite and above 0, got 0")
        );
    }
}

/// Whatever goes bad on the way: the step at which it does is an error, and changes nothing.
#[test]
fn a_schedule_that_leaves_its_range_is_an_error_at_that_step() {
    let device = &devices()[0].device;
    let bad = |good: f64, bad: f64| {
        let value = move |step| if step < 2 { good } else { bad };
        ScheduleConfig::custom("turning", value)
            .try_build()
            .unwrap()
    };
    let group = || Group::new("kernel", Select::name("kernel"));
    let rate = |of_rest: f64, of_bias: f64| {
        #[derive(Clone)]
        struct Turning(u32, f64);
        impl LrScheduler for Turning {
            fn step(&mut self) -> f64 {
                self.0 += 1;
                if self.0 > 2 { self.1 } else { 0.1 }
            }
            fn to_record(&self) -> LrSchedulerRecord {
                LrSchedulerRecord::new()
            }
            fn load_record(&mut self, _: LrSchedulerRecord) {}
        }
        let scheduler = ModuleLrScheduler::new(Turning(0, of_rest));
        scheduler.with_group(ParamGroup::from_path("bias"), Turning(0, of_bias))
    };
    let start = || Driver::builder(optim::AdamWConfig::new().init(), 0.1);
    let turning = |rate: Rate| Driver::builder(optim::AdamWConfig::new().init(), rate);
    for value in [f64::NAN, f64::INFINITY, -0.5] {
        let drivers = [
            ("learning rate", turning(bad(0.1, value).into())),
            ("learning rate", turning(rate(value, 0.1).into())),
            ("learning rate", turning(rate(0.1, value).into())),
            ("weight decay", start().with_weight_decay(bad(0.1, value))),
            ("momentum", start().with_momentum(bad(0.1, value))),
            (
                "threshold of the clipping",
                start().with_clipping(Clipping::global_norm(bad(0.1, value))),
            ),
            (
                "ratio of the clipping",
                start().with_clipping(Clipping::adaptive(bad(0.1, value))),
            ),
            (
                "learning rate of a group",
                start().with_group(group().with_learning_rate(bad(0.1, value))),
            ),
            (
                "weight decay of a group",
                start().with_group(group().with_weight_decay(bad(0.1, value))),
            ),
            (
                "momentum of a group",
                start().with_group(group().with_momentum(bad(0.1, value))),
            ),
        ];
        for (name, builder) in drivers {
            let net = Net::new(1, device, DType::F32);
            let mut driver = builder
                .with_averaging(Averaging::ema(0.5))
                .bind(&net)
                .unwrap();
            let net = train(&mut driver, net, 0..2, device, DType::F32);
            let (values, before) = (net.values(), bytes(&driver, &net));
            let grads = net.grads(2, &ALL, device, DType::F32);
            let error = driver.step(net, grads).unwrap_err();
            let StepCause::Setting {
                step: 2,
                error: odd,
            } = &error.cause
            else {
                panic!("{name}: {error}");
            };
            assert_eq!(odd.setting, name);
            assert!(odd.value == value || odd.value.is_nan() && value.is_nan());
            assert_eq!(error.model.values(), values, "{name}");
            assert!(before == bytes(&driver, &error.model), "{name}");
        }
    }
}

#[test]
fn an_optimizer_that_cannot_step_a_parameter_is_refused_with_its_path() {
    let device = &devices()[0].device;
    let net = Net::new(1, device, DType::F32);
    let muon = || burn::optim::MuonConfig::new().init();
    let error = Driver::builder(muon(), 0.1).bind(&net).unwrap_err();
    let BindError::Refused { path, reason } = &error else {
        panic!("{error}");
    };
    assert_eq!(*path, "bias");
    assert!(!reason.is_empty());
    // In a group of matrices it is welcome.
    let group = Group::new("matrices", Select::rank(2..=2))
        .with_optimizer(burn::optim::MuonConfig::new().build());
    let mut driver = Driver::builder(optim::AdamWConfig::new().init(), 0.01)
        .with_group(group)
        .bind(&net)
        .unwrap();
    train(&mut driver, net, 0..2, device, DType::F32);
    let names: Vec<Option<&str>> = driver
        .parameters()
        .map(|param| param.optimizer.map(|identity| identity.name.as_str()))
        .collect();
    assert_eq!(names, [None, Some("adamw"), Some("adamw")]);
}

#[test]
fn a_setting_that_an_optimizer_does_not_have_cannot_be_driven() {
    let net = Net::new(1, &devices()[0].device, DType::F32);
    type With = fn(DriverBuilder) -> DriverBuilder;
    type Case<'a> = (&'a str, &'a str, Make, With);
    let cases: [Case; 4] = [
        ("weight decay", "weight", BURN[0].1, |driver| {
            driver.with_weight_decay(0.1)
        }),
        ("momentum", "weight", BURN[0].1, |driver| {
            driver.with_momentum(0.1)
        }),
        ("momentum", "weight", PLAIN[0].1, |driver| {
            driver.with_momentum(0.1)
        }),
        ("weight decay", "bias", BURN[0].1, |driver| {
            driver.with_group(Group::no_decay())
        }),
    ];
    for (what, path, make, with) in cases {
        let error = with(Driver::builder(make(), 0.1)).bind(&net).unwrap_err();
        let path = path.into();
        assert_eq!(error, BindError::NotDriven { path, what });
    }
}

#[test]
fn a_name_that_is_given_is_that_of_optimizers_without_one() {
    let net = Net::new(1, &devices()[0].device, DType::F32);
    let driver = Driver::builder(burn::optim::SgdConfig::new().init(), 0.1)
        .with_identity(Identity::new("burn_sgd", "{}"))
        .with_group(
            Group::new("bias", Select::name("bias"))
                .with_optimizer(optim::SgdConfig::new().build()),
        )
        .bind(&net)
        .unwrap();
    let names: Vec<&str> = driver
        .parameters()
        .map(|param| param.optimizer.unwrap().name.as_str())
        .collect();
    assert_eq!(names, ["burn_sgd", "sgd", "burn_sgd"]);
    let groups: Vec<usize> = driver
        .parameters()
        .map(|param| param.groups.len())
        .collect();
    assert_eq!(groups, [0, 1, 0]);
}

// Groups and driven settings

/// What steps a parameter alone, with the settings of each update.
type Alone<'a> = &'a dyn Fn(u64) -> (ModuleOptimizer, f64);

/// Compares a driver with optimizers that are rebuilt for every update, one for each parameter; their
/// state goes on through records.
fn assert_steps_as(
    label: &str,
    builder: DriverBuilder,
    alone: [Alone; 3],
    device: &TestDevice,
    dtype: DType,
) {
    let inner = &device.device;
    let mut net = Net::new(1, inner, dtype);
    let mut other = net.clone();
    let mut driver = builder.bind(&net).unwrap();
    let mut records = [None, None, None];
    for t in 0..5 {
        let grads = net.grads(t, &ALL, inner, dtype);
        (net, _) = driver.step(net, grads).unwrap();
        for index in ALL {
            let (mut optim, rate) = alone[index](t as u64);
            if let Some(record) = records[index].take() {
                optim = optim.from_bytes(record).unwrap();
            }
            let grads = other.grads(t, &[index], inner, dtype);
            other = optim.step(rate, other, grads);
            records[index] = Some(optim.into_bytes().unwrap());
        }
        for index in ALL {
            let (found, expected) = (&net.values()[index], &other.values()[index]);
            let name = ["weight", "bias", "kernel"][index];
            assert_same(
                &format!("{label}, step {t}: {name}"),
                device,
                found,
                expected,
            );
        }
    }
}

fn adamw(weight_decay: f64, beta_1: f64) -> ModuleOptimizer {
    let config = optim::AdamWConfig::new().with_weight_decay(weight_decay);
    config.with_beta_1(beta_1).init()
}

#[test]
fn each_group_is_stepped_as_if_it_were_alone() {
    let falling = LinearConfig::new(0.1, 0.0, 5).try_build().unwrap();
    let momentum = LinearConfig::new(0.95, 0.55, 4).try_build().unwrap();
    let base: Alone = &|_| (adamw(0.1, 0.9), 0.05);
    let no_decay: Alone = &|_| (adamw(0.0, 0.9), 0.05);
    let tenth: Alone = &|_| (adamw(0.1, 0.9), 0.005);
    let quarter: Alone = &|_| (adamw(0.1, 0.9), 0.0125);
    let own_rate: Alone = &|t| (adamw(0.1, 0.9), falling.value(t));
    let own_decay: Alone = &|t| (adamw(falling.value(t), 0.9), 0.05);
    let own_momentum: Alone = &|t| (adamw(0.1, momentum.value(t)), 0.05);
    let nadam: Alone = &|_| (optim::NAdamConfig::new().init(), 0.05);
    let burns: Alone = &|_| (burn::optim::AdamConfig::new().init(), 0.05);
    let of = |name: &'static str| Group::new(name, Select::name(name));
    let cases: Vec<(&str, Vec<Group>, [Alone; 3])> = vec![
        ("no groups", vec![], [base; 3]),
        ("no decay", vec![Group::no_decay()], [base, no_decay, base]),
        (
            "layers",
            Group::layers(0.5, ["weight", "bias", "kernel"]),
            [quarter, &|_| (adamw(0.1, 0.9), 0.025), base],
        ),
        (
            "factor",
            vec![of("kernel").with_learning_rate_factor(0.1)],
            [base, base, tenth],
        ),
        (
            "rate",
            vec![of("bias").with_learning_rate(falling.clone())],
            [base, own_rate, base],
        ),
        (
            "decay",
            vec![of("weight").with_weight_decay(falling.clone())],
            [own_decay, base, base],
        ),
        (
            "momentum",
            vec![of("kernel").with_momentum(momentum.clone())],
            [base, base, own_momentum],
        ),
        (
            "optimizers",
            vec![
                of("weight").with_optimizer(optim::NAdamConfig::new().build()),
                of("bias").with_optimizer(burn::optim::AdamConfig::new().build()),
            ],
            [nadam, burns, base],
        ),
        (
            "decay beside another's optimizer",
            vec![
                of("bias").with_optimizer(burn::optim::AdamConfig::new().build()),
                of("kernel").with_weight_decay(falling.clone()),
            ],
            [base, burns, own_decay],
        ),
        (
            "all at once",
            vec![
                Group::no_decay(),
                of("bias").with_learning_rate_factor(0.1),
                of("weight").with_optimizer(optim::NAdamConfig::new().build()),
                of("kernel").with_momentum(momentum.clone()),
            ],
            [nadam, &|_| (adamw(0.0, 0.9), 0.005), own_momentum],
        ),
    ];
    for device in devices() {
        for (label, groups, alone) in &cases {
            let label = format!("{label} on {}", device.name);
            let builder = Driver::builder(adamw(0.1, 0.9), 0.05).with_groups(groups.clone());
            assert_steps_as(&label, builder, *alone, &device, DType::F32);
        }
    }
}

/// Every parameter has directives of its own, and some are not stepped.
#[test]
fn directives_reach_their_parameters_where_others_have_no_gradient() {
    for device in devices() {
        let inner = &device.device;
        let mut net = Net::new(1, inner, DType::F32);
        let mut driver = Driver::builder(adamw(0.1, 0.9), 0.05)
            .with_clipping(Clipping::tensor_norm(0.5))
            .with_group(Group::no_decay())
            .bind(&net)
            .unwrap();
        let mut other = net.clone();
        let mut optims = [adamw(0.1, 0.9), adamw(0.0, 0.9), adamw(0.1, 0.9)];
        let given: [&[usize]; 6] = [&ALL, &[1], &[0, 2], &[2], &[], &[1, 2]];
        for (t, given) in given.into_iter().enumerate() {
            net.kernel = net.kernel.set_require_grad(t != 3);
            let grads = net.grads(t, given, inner, DType::F32);
            (net, _) = driver.step(net, grads).unwrap();
            for &index in given.iter().filter(|index| (t, **index) != (3, 2)) {
                let grads = grad_values(t).map(|grad| tensor_norm(&[], &grad, &[], 0.5));
                let grads = other.grads_from(&grads, &[index], inner, DType::F32);
                other = optims[index].step(0.05, other, grads);
            }
            for (found, expected) in net.values().iter().zip(&other.values()) {
                let tolerance = 2.0 * device.f32_tolerance;
                assert_close(device.name, found, expected, tolerance, tolerance);
            }
        }
    }
}

#[derive(Module, Debug)]
struct Deep {
    layers: Vec<nn::Linear>,
}

#[test]
fn groups_find_the_layers_that_they_name_and_no_others() {
    let device = &devices()[0].device.clone().autodiff();
    let mut deep = Deep {
        layers: (0..12)
            .map(|_| nn::LinearConfig::new(2, 2).init(device))
            .collect(),
    };
    let group = Group::new("second", Select::path("layers.1.**"));
    let mut driver = Driver::builder(PLAIN[0].1(), 0.1)
        .with_group(group.with_optimizer(optim::AdamWConfig::new().build()))
        .with_group(Group::new("last", Select::path("layers.11.*")).frozen())
        .bind(&deep)
        .unwrap();
    let before = values_of(&deep);
    let (grads, _) = grads_for(&deep, 0);
    let report;
    (deep, report) = driver.step(deep, grads).unwrap();
    assert_eq!(report.frozen, ["layers.11.weight", "layers.11.bias"]);
    assert_eq!(values_of(&deep)[66..], before[66..]);
    assert!(
        values_of(&deep)[..66]
            .iter()
            .zip(&before)
            .all(|(a, b)| a != b)
    );
    let other: Vec<String> = driver
        .parameters()
        .filter(|param| {
            param
                .optimizer
                .is_some_and(|identity| identity.name == "adamw")
        })
        .map(|param| param.info.path.to_string())
        .collect();
    assert_eq!(other, ["layers.1.weight", "layers.1.bias"]);
}

#[test]
fn groups_of_a_scheduler_and_of_the_driver_go_together() {
    let scheduler = ModuleLrScheduler::new(Counting(0.0))
        .with_group(ParamGroup::from_path("bias"), 0.01)
        .with_group(ParamGroup::from_path("kernel"), 0.5);
    let kernel = Group::new("kernel", Select::name("kernel")).with_learning_rate_factor(0.5);
    let sgd: Make = PLAIN[0].1;
    let alone: [Alone; 3] = [&|t| (sgd(), (t + 1) as f64), &|_| (sgd(), 0.01), &|_| {
        (sgd(), 0.25)
    }];
    for device in devices() {
        let builder = Driver::builder(sgd(), scheduler.clone());
        let whole: Alone = &|_| (sgd(), 0.5);
        let without = [alone[0], alone[1], whole];
        assert_steps_as(
            "without groups",
            builder.clone(),
            without,
            &device,
            DType::F32,
        );
        assert_steps_as(
            "with a group",
            builder.with_group(kernel.clone()),
            alone,
            &device,
            DType::F32,
        );
    }
}

#[test]
fn driven_settings_equal_an_optimizer_that_is_rebuilt_with_them() {
    let momentum = LinearConfig::new(0.95, 0.85, 4).try_build().unwrap();
    let decay = LinearConfig::new(0.0, 0.2, 4).try_build().unwrap();
    let cases = [
        (
            "sgd",
            "momentum",
            r#"{"momentum": 0.5, "weight_decay": 0.3}"#,
        ),
        (
            "sgd",
            "momentum",
            r#"{"momentum": 0.5, "nesterov": true, "dampening": 0.0, "decoupled_weight_decay": true, "weight_decay": 0.3}"#,
        ),
        ("sgd", "momentum", r#"{"momentum": 0.5, "velocity": true}"#),
        ("adam", "beta_1", r#"{"weight_decay": 0.3}"#),
        ("adam", "beta_1", r#"{"amsgrad": true}"#),
        ("adamw", "beta_1", "{}"),
        ("nadam", "beta_1", "{}"),
        ("nadam", "beta_1", r#"{"variant": "dozat"}"#),
        (
            "nadam",
            "beta_1",
            r#"{"variant": "optax", "weight_decay": 0.3, "decoupled_weight_decay": true}"#,
        ),
        ("rmsprop", "momentum", r#"{"momentum": 0.5}"#),
        (
            "rmsprop",
            "momentum",
            r#"{"momentum": 0.5, "centered": true}"#,
        ),
        (
            "adafactor",
            "beta_1",
            r#"{"variant": "hf", "relative_step": false, "beta_1": 0.5}"#,
        ),
        (
            "adafactor",
            "beta_1",
            r#"{"relative_step": false, "beta_1": 0.5}"#,
        ),
    ];
    for_all(|label, device, dtype| {
        for (name, field, settings) in cases {
            let build = |momentum: Option<f64>, decay: Option<f64>| {
                let mut json: serde_json::Value = serde_json::from_str(settings).unwrap();
                json["name"] = name.into();
                if let Some(momentum) = momentum {
                    json[field] = momentum.into();
                }
                if let Some(decay) = decay {
                    json["weight_decay"] = decay.into();
                }
                let config = OptimizerConfig::from_json(&json.to_string()).unwrap();
                config.try_init().unwrap()
            };
            let builder = Driver::builder(build(None, None), 0.05)
                .with_momentum(momentum.clone())
                .with_weight_decay(decay.clone());
            let rebuilt: Alone = &|t| (build(Some(momentum.value(t)), Some(decay.value(t))), 0.05);
            let label = format!("{name} {settings} on {label}");
            assert_steps_as(&label, builder, [rebuilt; 3], device, dtype);
        }
    });
}

#[test]
fn driven_settings_are_reported() {
    let device = &devices()[0].device;
    let net = Net::new(1, device, DType::F32);
    let mut driver = Driver::builder(optim::AdamWConfig::new().init(), 0.1)
        .with_momentum(LinearConfig::new(0.95, 0.85, 2).try_build().unwrap())
        .with_weight_decay(0.25)
        .bind(&net)
        .unwrap();
    let net = train(&mut driver, net, 0..1, device, DType::F32);
    let grads = net.grads(1, &ALL, device, DType::F32);
    let (_, report) = driver.step(net, grads).unwrap();
    assert_eq!(report.weight_decay, Some(0.25));
    assert!(is_close(report.momentum.unwrap(), 0.9, 1e-15));
}

// Accumulation

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

// Averages

/// Values after each of 50 updates, and the averages after the last.
fn averaged_run(averaging: &Averaging, device: &Device, dtype: DType) -> (Vec<Values>, Values) {
    let mut net = Net::new(1, device, dtype);
    let mut driver = Driver::builder(optim::AdamConfig::new().init(), 0.05)
        .with_averaging(averaging.clone())
        .bind(&net)
        .unwrap();
    let mut history = Vec::new();
    for t in 0..50 {
        let grads = net.grads(t, &ALL, device, dtype);
        (net, _) = driver.step(net, grads).unwrap();
        history.push(net.values());
    }
    let averaged = driver.averaged(&net);
    assert_eq!(net.values(), history[49], "the model stays");
    (history, averaged.values())
}

/// The weights of the values that are taken in.
type Weights = fn(usize) -> Vec<f64>;

fn ema_weights(count: usize, decay: impl Fn(usize) -> f64, corrected: bool) -> Vec<f64> {
    let mut weights: Vec<f64> = Vec::new();
    for t in 0..count {
        let decay = decay(t);
        for weight in &mut weights {
            *weight *= decay;
        }
        weights.push(if t == 0 && !corrected {
            1.0
        } else {
            1.0 - decay
        });
    }
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

#[test]
fn averages_follow_their_formulas() {
    fn warm(decay: f64) -> impl Fn(usize) -> f64 {
        move |t| decay.min((1.0 + t as f64) / (10.0 + t as f64))
    }
    let cases: [(&str, Averaging, usize, usize, Weights); 7] = [
        ("ema", Averaging::ema(0.9), 0, 1, |n| {
            ema_weights(n, |_| 0.9, true)
        }),
        (
            "ema without correction",
            Averaging::ema(0.9).without_bias_correction(),
            0,
            1,
            |n| ema_weights(n, |_| 0.9, false),
        ),
        (
            "ema with warmup",
            Averaging::ema(0.99).with_warmup(),
            0,
            1,
            |n| ema_weights(n, warm(0.99), true),
        ),
        (
            "warmup without correction",
            Averaging::ema(0.7).with_warmup().without_bias_correction(),
            0,
            1,
            |n| ema_weights(n, warm(0.7), false),
        ),
        ("mean", Averaging::mean(), 0, 1, |n| vec![1.0 / n as f64; n]),
        (
            "late mean",
            Averaging::mean().with_start(20).with_every(7),
            20,
            7,
            |n| vec![1.0 / n as f64; n],
        ),
        ("no decay", Averaging::ema(0.0), 0, 1, |n| {
            ema_weights(n, |_| 0.0, true)
        }),
    ];
    for_all(|label, device, dtype| {
        for (name, averaging, start, every, weights) in &cases {
            let label = format!("{name} on {label}");
            let (history, averaged) = averaged_run(averaging, &device.device, dtype);
            let taken: Vec<&Values> = history[*start..]
                .iter()
                .skip(every - 1)
                .step_by(*every)
                .collect();
            let weights = weights(taken.len());
            for index in ALL {
                let mut expected = vec![0.0; history[0][index].len()];
                for (values, weight) in taken.iter().zip(&weights) {
                    for (sum, value) in expected.iter_mut().zip(&values[index]) {
                        *sum += weight * value;
                    }
                }
                let rounding = rounding(device, dtype);
                // Of 16 bits only the way back is rounded; there were 50 roundings in f32.
                let absolute = if dtype == DType::F64 { 1e-13 } else { 4e-6 };
                assert_close(
                    &label,
                    &averaged[index],
                    &expected,
                    rounding / 2.0,
                    absolute,
                );
            }
        }
    });
}

#[test]
fn averages_of_16_bit_parameters_are_in_single() {
    for dtype in [DType::BF16, DType::F16, DType::F64] {
        for device in common::devices_with(dtype) {
            let net = Net::new(1, &device.device, dtype);
            let mut driver = Driver::builder(PLAIN[0].1(), 0.1)
                .with_averaging(Averaging::ema(0.9))
                .bind(&net)
                .unwrap();
            let net = train(&mut driver, net, 0..2, &device.device, dtype);
            let checkpoint = driver.checkpoint(&net).unwrap();
            let averages: Vec<DType> = checkpoint
                .tensors()
                .filter(|(name, ..)| name.starts_with("average/"))
                .map(|(_, _, dtype, _)| dtype)
                .collect();
            let expected = if dtype == DType::F64 {
                DType::F64
            } else {
                DType::F32
            };
            assert_eq!(averages, [expected; 3]);
            assert_eq!(driver.averaged(&net).weight.val().dtype(), dtype);
        }
    }
}

/// Running statistics, integers and booleans beside parameters.
#[derive(Module, Debug)]
struct Buffers {
    norm: BatchNorm,
    weight: Param<Tensor<2>>,
    count: Param<Tensor<1, Int>>,
    mask: Param<Tensor<1, Bool>>,
}

impl Buffers {
    fn new(device: &Device) -> Self {
        let autodiff = &device.clone().autodiff();
        let count = Tensor::from_data(TensorData::from([1i32, 2]), autodiff);
        let mask = Tensor::from_data(TensorData::from([true, false]), autodiff);
        Self {
            norm: BatchNormConfig::new(3).init(autodiff),
            weight: Param::from_tensor(make(1, SHAPES[0], autodiff, DType::F32)),
            count: Param::initialized(ParamId::new(), count),
            mask: Param::initialized(ParamId::new(), mask),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.norm.forward(x.matmul(self.weight.val()))
    }

    /// Trains on a batch, and counts it.
    fn grads(&mut self, t: usize, device: &Device) -> GradientsParams {
        let x = make::<2>(t, &[5, 4], &device.clone().autodiff(), DType::F32);
        let loss = self.forward(x).powi_scalar(3).sum();
        let grads = GradientsParams::from_grads(loss.backward(), self);
        let (id, count, mapper) = self.count.clone().consume();
        self.count = Param::from_mapped_value(id, count + 1, mapper);
        grads
    }

    fn statistics(&self) -> [Vec<f64>; 2] {
        let data = [&self.norm.running_mean, &self.norm.running_var];
        data.map(|state| floats(state.value_sync().into_data()))
    }

    fn others(&self) -> (Vec<i64>, Vec<bool>) {
        let count = self.count.val().into_data().iter::<i64>().collect();
        (count, self.mask.val().into_data().iter::<bool>().collect())
    }
}

#[test]
fn running_statistics_are_averaged_or_the_models_and_the_rest_is_the_models() {
    for device in devices() {
        for of_the_model in [false, true] {
            let label = format!("{}, the model's: {of_the_model}", device.name);
            let averaging = match of_the_model {
                true => Averaging::mean().with_buffers_of_the_model(),
                false => Averaging::mean(),
            };
            let mut model = Buffers::new(&device.device);
            let mut driver = Driver::builder(PLAIN[0].1(), 0.01)
                .with_averaging(averaging)
                .bind(&model)
                .unwrap();
            let fresh = driver.averaged(&model);
            assert_eq!(
                values_of(&fresh),
                values_of(&model),
                "{label}: before the first update"
            );
            let (mut gammas, mut means) = (Vec::new(), Vec::new());
            for t in 0..4 {
                let grads = model.grads(t, &device.device);
                // The driver is the first to ask for the statistics of this batch.
                (model, _) = driver.step(model, grads).unwrap();
                gammas.push(floats(model.norm.gamma.val().into_data()));
                means.push(model.statistics()[0].clone());
            }
            let statistics = model.statistics();
            let values = values_of(&model);
            let averaged = driver.averaged(&model);
            let mean = |values: &[Vec<f64>]| {
                let element = |i| values.iter().map(|values| values[i]).sum::<f64>() / 4.0;
                [0, 1, 2].map(element)
            };
            let tolerance = device.f32_tolerance;
            let gamma = floats(averaged.norm.gamma.val().into_data());
            assert_close(&label, &gamma, &mean(&gammas), tolerance, tolerance);
            match of_the_model {
                true => assert_eq!(averaged.statistics(), statistics, "{label}"),
                false => {
                    let found = &averaged.statistics()[0];
                    assert_close(&label, found, &mean(&means), tolerance, tolerance);
                    assert_ne!(averaged.statistics(), statistics, "{label}");
                }
            }
            assert_eq!(
                averaged.others(),
                (vec![5, 6], vec![true, false]),
                "{label}"
            );

            // It is a model for evaluation: it neither learns nor counts.
            assert!(!averaged.weight.val().is_autodiff(), "{label}");
            let x = make::<2>(9, &[5, 4], &device.device, DType::F32);
            let before = averaged.statistics();
            let one = averaged.forward(x.clone().slice([0..1, 0..4])).into_data();
            let all = averaged.forward(x).slice([0..1, 0..4]).into_data();
            assert_close(&label, &floats(one), &floats(all), tolerance, tolerance);
            assert_eq!(averaged.statistics(), before, "{label}");
            assert_eq!(values_of(&model), values, "{label}: the model stays");
            assert_eq!(model.statistics(), statistics, "{label}: the model stays");

            // Nor does training move what was taken out.
            let taken = values_of(&averaged);
            let grads = model.grads(5, &device.device);
            driver.step(model, grads).unwrap();
            assert_eq!(
                values_of(&averaged),
                taken,
                "{label}: the averages taken out"
            );
        }
    }
}

#[test]
fn a_polyak_update_is_a_step_towards_the_source() {
    for_all(|label, device, dtype| {
        let source = Net::new(5, &device.device, dtype);
        for tau in [0.0, 0.005, 0.5, 1.0] {
            let target = Net::new(1, &device.device, dtype);
            let ids = [target.weight.id, target.bias.id, target.kernel.id];
            let before = target.values();
            let target = polyak_update(target, &source, tau).unwrap();
            for index in ALL {
                let to = &source.values()[index];
                let pairs = before[index].iter().zip(to);
                let expected: Vec<f64> = pairs.map(|(from, to)| from + tau * (to - from)).collect();
                let rounding = rounding(device, dtype);
                assert_close(
                    label,
                    &target.values()[index],
                    &expected,
                    rounding,
                    rounding,
                );
            }
            if tau == 1.0 {
                assert_eq!(target.values(), source.values(), "{label}");
            }
            assert_eq!([target.weight.id, target.bias.id, target.kernel.id], ids);
            assert!(target.weight.is_require_grad(), "{label}");
            assert_eq!(
                source.values(),
                Net::new(5, &device.device, dtype).values(),
                "{label}"
            );
        }
    });
}

#[test]
fn running_statistics_follow_a_polyak_update_too() {
    for device in devices() {
        let (mut source, mut target) = (Buffers::new(&device.device), Buffers::new(&device.device));
        source.grads(1, &device.device);
        target.grads(2, &device.device);
        let target = polyak_update(target, &source, 0.25).unwrap();
        let mut other = Buffers::new(&device.device);
        other.grads(2, &device.device);
        let pairs = other.statistics().into_iter().zip(source.statistics());
        for ((from, to), found) in pairs.zip(target.statistics()) {
            let steps = from
                .iter()
                .zip(&to)
                .map(|(from, to)| from + 0.25 * (to - from));
            let expected: Vec<f64> = steps.collect();
            let tolerance = device.f32_tolerance;
            assert_close(device.name, &found, &expected, tolerance, tolerance);
        }
    }
}

#[test]
fn a_polyak_update_that_does_not_fit_hands_the_target_back() {
    let device = &devices()[0].device;
    let source = Net::new(5, device, DType::F32);
    for tau in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        let target = Net::new(1, device, DType::F32);
        let rejected = polyak_update(target, &source, tau).unwrap_err();
        assert_eq!(
            rejected.to_string(),
            format!("`tau` must be at least 0 and at most 1, got {tau}")
        );
        assert_eq!(
            rejected.model.values(),
            Net::new(1, device, DType::F32).values()
        );
    }
    let mut other = Net::new(5, device, DType::F32);
    other.bias = Param::from_tensor(make(1, &[4], device, DType::F32));
    let rejected = polyak_update(Net::new(1, device, DType::F32), &other, 0.5).unwrap_err();
    let expected = PolyakError::Structure {
        path: "bias".into(),
        reason: "the shapes differ",
    };
    assert_eq!(rejected.cause, expected);
    assert_eq!(
        rejected.model.values(),
        Net::new(1, device, DType::F32).values()
    );
}

// Reports

#[test]
fn update_ratios_are_how_far_parameters_moved_by_their_own_norm() {
    for_all(|label, device, dtype| {
        for (optim, make) in PLAIN.into_iter().chain(BURN) {
            let inner = &device.device;
            let mut net = Net::new(1, inner, dtype);
            let mut driver = Driver::builder(make(), 0.05)
                .with_update_ratios(3)
                .with_group(Group::new("bias", Select::name("bias")).frozen())
                .bind(&net)
                .unwrap();
            for t in 0..7 {
                let before = net.values();
                let grads = net.grads(t, &ALL, inner, dtype);
                let report;
                (net, report) = driver.step(net, grads).unwrap();
                if (t + 1) % 3 != 0 {
                    assert!(report.update_ratios.is_empty(), "{label}");
                    continue;
                }
                let paths: Vec<&str> = report
                    .update_ratios
                    .iter()
                    .map(|ratio| &*ratio.path)
                    .collect();
                assert_eq!(paths, ["weight", "bias", "kernel"], "{label}");
                for index in ALL {
                    let pairs = net.values()[index].clone().into_iter().zip(&before[index]);
                    let moved: Vec<f64> = pairs.map(|(after, before)| after - before).collect();
                    let expected = norm([&moved]) / norm([&before[index]]);
                    let found = report.update_ratios[index].ratio;
                    let close = is_close(found, expected, 1e-4 + rounding(device, dtype));
                    assert!(close, "{optim} on {label}: {found} instead of {expected}");
                    assert_eq!(found == 0.0, index == 1, "{label}");
                }
            }
        }
    });
}

/// A report, as it is written and read back.
fn again(report: &StepReport) -> StepReport {
    let json = serde_json::to_string(report).unwrap();
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn assert_reports(report: &StepReport, expected: &str) {
    assert_eq!(report.to_string(), expected);
    assert_eq!(again(report).to_string(), expected);
    let json = |report: &StepReport| serde_json::to_string(report).unwrap();
    assert_eq!(json(&again(report)), json(report));
}

#[test]
fn a_report_is_one_line_and_the_same_when_it_is_read_back() {
    let Some(device) = &exact_device() else {
        return;
    };
    let ones = |net: &Net, of: &[usize]| {
        let grads = zeros().map(|zeros| vec![1.0; zeros.len()]);
        net.grads_from(&grads, of, device, DType::F32)
    };
    let start = || Net::from_values(&zeros().map(|x| vec![2.0; x.len()]), device, DType::F32);
    let step = |net: Net, with: &dyn Fn(DriverBuilder) -> DriverBuilder, batch: MicroBatch| {
        let builder = Driver::builder(optim::AdamWConfig::new().init(), 0.5);
        let mut driver = with(builder).bind(&net).unwrap();
        driver.step(net, batch).unwrap().1
    };
    let net = start();
    let grads = ones(&net, &ALL);
    assert_reports(
        &step(net, &|driver| driver, grads.into()),
        "step 1: lr 0.5, gradient norm 6.245, 3 parameters updated",
    );
    let net = start();
    let batch = MicroBatch::new(ones(&net, &[0])).with_loss(0.123_456);
    let all = |driver: DriverBuilder| {
        driver
            .with_clipping(Clipping::global_norm(1e-6))
            .with_weight_decay(0.1)
            .with_momentum(0.85)
            .with_update_ratios(1)
            .with_group(Group::new("bias", Select::name("bias")).frozen())
    };
    assert_reports(
        &step(net, &all, batch),
        "step 1: lr 0.5, loss 0.1235, weight decay 0.1, momentum 0.85, gradient norm 3.464, clipped to \
         1e-6, 1 parameter updated, missing: kernel, frozen: bias, largest update 0.2916 of weight",
    );
    let net = start();
    let mut bad = grad_values(0);
    bad[0][0] = f64::NAN;
    bad[0][1] = f64::INFINITY;
    bad[1][0] = f64::NEG_INFINITY;
    let spoil = |net: &Net| net.grads_from(&bad, &ALL, device, DType::F32);
    let skip =
        |driver: DriverBuilder| driver.with_non_finite(NonFinite::Skip { max_consecutive: 1 });
    let batch = MicroBatch::new(spoil(&net)).with_loss(1e-9);
    assert_reports(
        &step(net, &skip, batch),
        "step 0: skipped, loss 1e-9, not finite: weight (2 of 12), bias (1 of 3)",
    );
    let net = start();
    let batch = spoil(&net).into();
    let zero = |driver: DriverBuilder| driver.with_non_finite(NonFinite::ZeroNan);
    let report = step(net, &zero, batch);
    assert!(
        report
            .to_string()
            .ends_with("updated, zeroed: weight (2 of 12), bias (1 of 3)"),
        "{report}"
    );
    assert_reports(&report, &report.to_string());
    let net = start();
    let grads = ones(&net, &ALL);
    let window = |driver: DriverBuilder| driver.with_accumulation(Accumulation::mean(4));
    assert_reports(
        &step(net, &window, grads.into()),
        "step 0: 1 of 4 micro-batches",
    );
}

/// A bias that begins at 0 has no norm to be measured by.
#[test]
fn a_report_about_parameters_of_0_can_be_read_back() {
    let device = &devices()[0].device;
    let ratios = |driver: DriverBuilder| driver.with_update_ratios(1);
    let (_, report) = seen(PLAIN[0].1, ratios, &grad_values(1), device, DType::F32);
    assert_eq!(report.update_ratios[0].ratio, f64::INFINITY);
    assert_reports(&report, &report.to_string());
}

// Shapes, models and ids

#[derive(Module, Debug)]
struct Shapes {
    empty: Param<Tensor<1>>,
    no_rows: Param<Tensor<2>>,
    no_columns: Param<Tensor<2>>,
    one: Param<Tensor<1>>,
    single: Param<Tensor<2>>,
    column: Param<Tensor<2>>,
    row: Param<Tensor<2>>,
    three: Param<Tensor<3>>,
    four: Param<Tensor<4>>,
    five: Param<Tensor<5>>,
}

impl Shapes {
    fn new(device: &Device, dtype: DType) -> Self {
        fn param<const D: usize>(
            shape: [usize; D],
            device: &Device,
            dtype: DType,
        ) -> Param<Tensor<D>> {
            Param::from_tensor(make(
                7 * D + shape[0],
                &shape,
                &device.clone().autodiff(),
                dtype,
            ))
        }
        Self {
            empty: param([0], device, dtype),
            no_rows: param([0, 3], device, dtype),
            no_columns: param([3, 0], device, dtype),
            one: param([1], device, dtype),
            single: param([1, 1], device, dtype),
            column: param([3, 1], device, dtype),
            row: param([1, 3], device, dtype),
            three: param([2, 1, 3], device, dtype),
            four: param([1, 2, 1, 3], device, dtype),
            five: param([2, 1, 3, 1, 2], device, dtype),
        }
    }
}

/// Gradients for every float tensor of a module, and the norm of them all.
fn grads_for(module: &impl Module, t: usize) -> (GradientsParams, f64) {
    struct Fill {
        grads: GradientsParams,
        all: Vec<f64>,
        seed: usize,
    }
    impl ModuleVisitor for Fill {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.seed += 1;
            let like = param.val().without_autodiff();
            let shape = like.shape();
            let grad = values(shape.num_elements(), self.seed);
            let data = TensorData::new(grad, shape);
            let grad: Tensor<D> = tensor(data, &like.device(), like.dtype());
            self.all.extend(floats(grad.clone().into_data()));
            self.grads.register(param.id, grad);
        }
    }
    let mut fill = Fill {
        grads: GradientsParams::new(),
        all: Vec::new(),
        seed: 100 * t,
    };
    module.visit(&mut fill);
    (fill.grads, norm([&fill.all]))
}

#[test]
fn empty_and_odd_shaped_parameters_are_stepped_like_others() {
    for_all(|label, device, dtype| {
        for_rows(|row_label, row, config| {
            let label = format!("{row_label} on {label}");
            let net = Shapes::new(&device.device, dtype);
            let make = || config.try_init().unwrap();
            let mut driver = Driver::builder(make(), row.lr)
                .with_clipping(Clipping::global_norm(1e6))
                .with_averaging(Averaging::ema(0.5))
                .with_update_ratios(1)
                .bind(&net)
                .unwrap();
            let mut optim = make();
            let (mut net, mut other) = (net.clone(), net);
            for t in 0..3 {
                let (grads, expected) = grads_for(&net, t);
                let report;
                (net, report) = driver.step(net, grads).unwrap();
                assert_eq!(report.updated, 10, "{label}");
                let found = report.grad_norm.unwrap().value();
                assert!(
                    is_close(found, expected, 2.0 * device.f32_tolerance),
                    "{label}"
                );
                let (grads, _) = grads_for(&other, t);
                other = optim.step(row.lr, other, grads);
                assert_same(&label, device, &values_of(&net), &values_of(&other));
            }
            let averaged = values_of(&driver.averaged(&net));
            assert_eq!(averaged.len(), values_of(&net).len());
            assert!(averaged.iter().all(|x| x.is_finite()), "{label}");
        });
    });
}

#[test]
fn every_clipping_and_policy_takes_empty_parameters() {
    for_all(|label, device, dtype| {
        for (optim, make) in PLAIN {
            for clipping in [
                Clipping::global_norm(0.5),
                Clipping::tensor_norm(0.5),
                Clipping::value(0.5),
                Clipping::adaptive(0.5),
            ] {
                for policy in [NonFinite::ZeroNan, NonFinite::Ignore] {
                    let mut net = Shapes::new(&device.device, dtype);
                    let mut driver = Driver::builder(make(), 0.1)
                        .with_clipping(clipping.clone())
                        .with_non_finite(policy)
                        .with_accumulation(Accumulation::mean(2))
                        .bind(&net)
                        .unwrap();
                    let before = values_of(&net);
                    for t in 0..2 {
                        let (mut grads, _) = grads_for(&net, t);
                        if policy == NonFinite::ZeroNan && device.exact {
                            let nan = tensor(TensorData::from([f64::NAN]), &device.device, dtype);
                            grads.register::<1>(net.one.id, nan);
                        }
                        (net, _) = driver.step(net, grads).unwrap();
                    }
                    let after = values_of(&net);
                    let label = format!("{clipping} in {optim} on {label}");
                    assert!(after.iter().all(|x| x.is_finite()), "{label}");
                    assert_ne!(after, before, "{label}");
                }
            }
        }
    });
}

/// So many elements that the passes over them are shared between threads.
#[test]
fn large_parameters_are_measured_to_the_last_element() {
    const LEN: usize = 1_000_003;
    for_all(|label, device, dtype| {
        let inner = &device.device;
        let ones = |len: usize| Tensor::<1>::ones([len], (&inner.clone().autodiff(), dtype));
        let pair = Pair {
            first: Param::from_tensor(ones(LEN)),
            second: Param::from_tensor(ones(1)),
        };
        let mut driver = Driver::builder(PLAIN[0].1(), 1.0)
            .with_clipping(Clipping::global_norm(1.0))
            .bind(&pair)
            .unwrap();
        let grads = |last: f64| {
            let mut grads = GradientsParams::new();
            let all = Tensor::<1>::ones([LEN - 1], (inner, dtype)).mul_scalar(0.5);
            let last = tensor::<1>(TensorData::from([last]), inner, dtype);
            grads.register(pair.first.id, Tensor::cat(vec![all, last], 0));
            grads
        };
        let (_, report) = driver.step(pair.clone(), grads(1000.0)).unwrap();
        let expected = (0.25 * (LEN - 1) as f64 + 1e6).sqrt();
        let found = report.grad_norm.unwrap().value();
        assert!(
            is_close(found, expected, 10.0 * device.f32_tolerance),
            "{label}: {found}"
        );
        if device.exact {
            let error = driver.step(pair.clone(), grads(f64::NAN)).unwrap_err();
            let expected = format!("gradients are not finite: first (1 of {LEN})");
            assert_eq!(error.to_string(), expected, "{label}");
        }
    });
}

#[test]
fn gradients_that_are_views_give_the_same_bits() {
    for_all(|label, device, dtype| {
        for_rows(|row_label, row, config| {
            let run = |views: bool| {
                let inner = &device.device;
                let mut net = Net::new(1, inner, dtype);
                let mut driver = Driver::builder(config.try_init().unwrap(), row.lr)
                    .with_clipping(Clipping::global_norm(1.0))
                    .with_accumulation(Accumulation::mean(2))
                    .bind(&net)
                    .unwrap();
                for t in 0..4 {
                    let mut grads = GradientsParams::new();
                    let weight = make::<2>(t, &[3, 4], inner, dtype).swap_dims(0, 1);
                    let bias = make::<1>(t, &[6], inner, dtype).slice([2..5]);
                    let kernel = make::<4>(t, &[2, 3, 2, 2], inner, dtype).permute([3, 0, 1, 2]);
                    if views {
                        grads.register(net.weight.id, weight);
                        grads.register(net.bias.id, bias);
                        grads.register(net.kernel.id, kernel);
                    } else {
                        grads
                            .register(net.weight.id, tensor::<2>(weight.into_data(), inner, dtype));
                        grads.register(net.bias.id, tensor::<1>(bias.into_data(), inner, dtype));
                        grads
                            .register(net.kernel.id, tensor::<4>(kernel.into_data(), inner, dtype));
                    }
                    (net, _) = driver.step(net, grads).unwrap();
                }
                net.values()
            };
            let (views, dense) = (run(true), run(false));
            for (views, dense) in views.iter().zip(&dense) {
                assert_same(&format!("{row_label} on {label}"), device, views, dense);
            }
        });
    });
}

fn rebindable(make: Make, net: &Net) -> Driver {
    Driver::builder(make(), 0.01)
        .with_averaging(Averaging::ema(0.5))
        .with_accumulation(Accumulation::mean(2))
        .bind(net)
        .unwrap()
}

const STATEFUL: [(&str, Make); 4] = [
    ("adamw", || optim::AdamWConfig::new().init()),
    ("adafactor", || optim::AdafactorConfig::new().init()),
    BURN[0],
    BURN[2],
];

#[test]
fn a_driver_goes_on_with_a_model_that_has_got_other_ids() {
    for_all(|label, device, dtype| {
        for (optim, make) in STATEFUL {
            let label = format!("{optim} on {label}");
            let inner = &device.device;
            let net = Net::new(1, inner, dtype);
            if optim.starts_with("burn") && dtype != DType::F32 {
                // Its states would come back in single precision.
                let mut driver = rebindable(make, &net);
                let net = train(&mut driver, net, 0..3, inner, dtype);
                let before = bytes(&driver, &net);
                let error = driver.rebind(&Net::new(1, inner, dtype)).unwrap_err();
                assert!(matches!(error, BindError::State { .. }), "{label}: {error}");
                assert!(before == bytes(&driver, &net), "{label}");
                continue;
            }
            let (mut straight, mut moved) = (rebindable(make, &net), rebindable(make, &net));
            let other = train(&mut straight, net.clone(), 0..3, inner, dtype);
            let net = train(&mut moved, net, 0..3, inner, dtype);
            let net = Net::from_values(&net.values(), inner, dtype);
            moved.rebind(&net).unwrap();
            let other = train(&mut straight, other, 3..8, inner, dtype);
            let net = train(&mut moved, net, 3..8, inner, dtype);
            assert_eq!(net.values(), other.values(), "{label}");
            assert!(bytes(&moved, &net) == bytes(&straight, &other), "{label}");
            let averages = [(&moved, &net), (&straight, &other)];
            let [one, two] = averages.map(|(driver, net)| driver.averaged(net).values());
            assert_eq!(one, two, "{label}: the averages");
        }
    });
}

/// Parameters that change places keep what belongs to their places.
#[test]
fn a_driver_goes_on_with_ids_that_have_changed_places() {
    let device = &devices()[0].device;
    let pair = |swapped: bool| {
        let net = Net::new(1, device, DType::F32);
        let (first, second) = (net.bias, Net::new(9, device, DType::F32).bias);
        match swapped {
            true => Pair {
                first: second,
                second: first,
            },
            false => Pair { first, second },
        }
    };
    let bind = |pair: &Pair| {
        Driver::builder(optim::AdamWConfig::new().init(), 0.1)
            .with_averaging(Averaging::ema(0.5))
            .with_accumulation(Accumulation::mean(2))
            .bind(pair)
            .unwrap()
    };
    let run = |driver: &mut Driver, mut pair: Pair, steps: core::ops::Range<usize>| {
        for t in steps {
            let grads = grads_for(&pair, t).0;
            (pair, _) = driver.step(pair, grads).unwrap();
        }
        pair
    };
    let net = pair(false);
    let (mut straight, mut moved) = (bind(&net), bind(&net));
    let other = run(&mut straight, net.clone(), 0..3);
    let Pair { first, second } = run(&mut moved, net, 0..3);
    // The values stay where they are, and the ids change places.
    let with =
        |id: &Param<Tensor<1>>, value: Param<Tensor<1>>| Param::initialized(id.id, value.val());
    let net = Pair {
        first: with(&second, first.clone()),
        second: with(&first, second.clone()),
    };
    moved.rebind(&net).unwrap();
    let (net, other) = (run(&mut moved, net, 3..8), run(&mut straight, other, 3..8));
    assert_eq!(values_of(&net), values_of(&other));
    assert!(bytes(&moved, &net) == bytes(&straight, &other));
}

#[derive(Module, Debug)]
struct Longer {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    kernel: Param<Tensor<4>>,
    more: Param<Tensor<1>>,
}

#[test]
fn a_driver_does_not_go_over_to_a_model_of_another_structure() {
    let Some(device) = &exact_device() else {
        return;
    };
    let net = Net::new(1, device, DType::F32);
    let mut driver = rebindable(STATEFUL[0].1, &net);
    let net = train(&mut driver, net, 0..3, device, DType::F32);
    let before = bytes(&driver, &net);

    let mut reshaped = Net::new(1, device, DType::F32);
    reshaped.bias = Param::from_tensor(make(1, &[4], &device.clone().autodiff(), DType::F32));
    assert_eq!(
        driver.rebind(&reshaped).unwrap_err().to_string(),
        "`bias` is [4] in F32, and the driver was bound to [3] in F32"
    );
    let double = Net::new(1, device, DType::F64);
    assert_eq!(
        driver.rebind(&double).unwrap_err().to_string(),
        "`weight` is [4, 3] in F64, and the driver was bound to [4, 3] in F32"
    );
    let Net {
        weight,
        bias,
        kernel,
    } = Net::new(1, device, DType::F32);
    let more = Net::new(2, device, DType::F32).bias;
    let longer = Longer {
        weight,
        bias,
        kernel,
        more,
    };
    assert_eq!(
        driver.rebind(&longer).unwrap_err().to_string(),
        "the driver was bound to a model without `more`"
    );
    let short = Pair {
        first: longer.bias,
        second: longer.more,
    };
    assert_eq!(
        driver.rebind(&short).unwrap_err().to_string(),
        "the model has no parameter `weight`, which the driver was bound to"
    );
    assert!(before == bytes(&driver, &net));
}

#[test]
fn a_step_on_a_clone_does_not_touch_the_original() {
    for_all(|label, device, dtype| {
        for_rows(|row_label, row, config| {
            let label = format!("{row_label} on {label}");
            let inner = &device.device;
            let net = Net::new(1, inner, dtype);
            let mut driver = Driver::builder(config.try_init().unwrap(), row.lr)
                .with_averaging(Averaging::ema(0.5))
                .with_update_ratios(1)
                .bind(&net)
                .unwrap();
            let values = net.values();
            let grads = net.grads(0, &ALL, inner, dtype);
            let kept = [
                grads.get::<2>(net.weight.id).unwrap(),
                grads.get::<2>(net.weight.id).unwrap(),
            ];
            let (stepped, _) = driver.step(net.clone(), grads).unwrap();
            assert_eq!(net.values(), values, "{label}");
            assert_ne!(stepped.values(), values, "{label}");
            // Nor are gradients that are held elsewhere.
            let expected = &held(&grad_values(0), inner, dtype)[0];
            for kept in kept {
                assert_eq!(&floats(kept.into_data()), expected, "{label}");
            }
        });
    });
}

// What a driver is made of

#[test]
fn what_is_not_finite_is_an_error_unless_another_policy_is_chosen() {
    let Some(device) = &exact_device() else {
        return;
    };
    let net = Net::new(1, device, DType::F32);
    let mut driver = Driver::builder(PLAIN[0].1(), 0.1).bind(&net).unwrap();
    let grads = net.grads_from(&spoilt(0, f64::NAN), &ALL, device, DType::F32);
    let error = driver.step(net, grads).unwrap_err();
    assert_eq!(
        error.to_string(),
        "gradients are not finite: kernel (1 of 24)"
    );
}

#[test]
fn a_choice_of_parameters_is_what_its_operators_say() {
    let net = Net::new(1, &devices()[0].device, DType::F32);
    let cases = [
        (Select::all(), vec!["weight", "bias", "kernel"]),
        (Select::path("weight"), vec!["weight"]),
        (Select::path("*e*"), vec!["weight", "kernel"]),
        (
            Select::name("bias") | Select::name("kernel"),
            vec!["bias", "kernel"],
        ),
        (!Select::name("bias"), vec!["weight", "kernel"]),
        (!Select::name("bias") & Select::rank(2..=3), vec!["weight"]),
        (
            Select::custom("large", |info| info.shape.iter().product::<usize>() > 20),
            vec!["kernel"],
        ),
    ];
    for (select, expected) in cases {
        let label = select.to_string();
        let driver = Driver::builder(PLAIN[0].1(), 0.1)
            .with_group(Group::new("chosen", select))
            .bind(&net)
            .unwrap();
        let chosen: Vec<String> = driver
            .parameters()
            .filter(|param| !param.groups.is_empty())
            .map(|param| param.info.path.to_string())
            .collect();
        assert_eq!(chosen, expected, "{label}");
    }
}

/// A state that is there when the driver is bound is gone on from, or refused.
#[test]
fn a_driver_goes_on_with_the_state_that_its_optimizer_has() {
    for device in devices() {
        let inner = &device.device;
        for row in ROWS {
            let label = format!("{} on {}", row.name, device.name);
            let make = || row.config(row.configs[0]).try_init().unwrap();
            let mut optim = make();
            let mut other = Net::new(1, inner, DType::F32);
            let mut net = other.clone();
            let mut own = make();
            for t in 0..3 {
                let grads = other.grads(t, &ALL, inner, DType::F32);
                other = optim.step(row.lr, other, grads);
                let grads = net.grads(t, &ALL, inner, DType::F32);
                net = own.step(row.lr, net, grads);
            }
            let loaded = make().from_bytes(own.into_bytes().unwrap()).unwrap();
            let mut driver = Driver::builder(loaded, row.lr).bind(&net).unwrap();
            for t in 3..6 {
                let grads = other.grads(t, &ALL, inner, DType::F32);
                other = optim.step(row.lr, other, grads);
            }
            let net = train(&mut driver, net, 3..6, inner, DType::F32);
            for (found, expected) in net.values().iter().zip(&other.values()) {
                assert_same(&label, &device, found, expected);
            }
            let optim = driver.into_optimizer();
            if row.name != "sgd" {
                // The state is another rule's.
                let sgd = optim::SgdConfig::new().with_momentum(0.9).init();
                let loaded = sgd.from_bytes(optim.into_bytes().unwrap()).unwrap();
                let error = Driver::builder(loaded, 0.1).bind(&net).unwrap_err();
                assert!(matches!(error, BindError::State { .. }), "{label}: {error}");
            }
        }
    }
}

#[test]
fn drivers_and_what_they_say_can_go_to_another_thread() {
    fn can_be_sent<T: Send + 'static>() {}
    can_be_sent::<Driver>();
    can_be_sent::<DriverBuilder>();
    can_be_sent::<StepReport>();
    can_be_sent::<StepCause>();
    can_be_sent::<BindError>();
}
