//! What holds for every optimizer, on every backend that is compiled in. A new optimizer is one row
//! of `common/rows.rs`.

use std::collections::BTreeSet;

use crate::common::behaviour::{self, noise};
use crate::common::rows::{APART, BEGINS, ROWS, Row, rows_on};
use crate::common::{Subject, TestDevice, devices, devices_with, floats, tensor};
use burn::optim::Optimizer;
use burn::tensor::{DType, Tensor, TensorData};
use downhill::optim::{OptimizerConfig, RuleOptimizer, RuleState};

/// Runs every configuration of every row on every device and precision.
fn for_all(mut test: impl FnMut(&str, &Row, RuleOptimizer, &TestDevice, DType)) {
    for device in devices() {
        for dtype in device.dtypes {
            for row in rows_on(&device) {
                for (label, optim) in row.optimizers() {
                    let label = format!("{label} on {} in {dtype:?}", device.name);
                    test(&label, row, optim, &device, *dtype);
                }
            }
        }
    }
}

fn run(subject: &mut Subject, lr: f64, steps: u64, first_seed: u64) {
    let len = subject.param().len();
    for step in 0..steps {
        subject.step(rate(lr, step), &noise(len, first_seed + step));
    }
}

/// A rate that changes, up and down, shows where it stands in the formula.
fn rate(lr: f64, step: u64) -> f64 {
    lr / (1.0 + 0.2 * ((step + 1) % 4) as f64)
}

/// Whether every number is the exact one up to f32's rounding of it and of the largest; of a rule with jumps,
/// all but one in a thousand.
fn assert_close(label: &str, jumps: bool, found: &[f64], exact: &[f64]) {
    let largest = exact.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
    let mut far = Vec::new();
    for (i, (found, exact)) in found.iter().zip(exact).enumerate() {
        if (found - exact).abs() > 2e-5 * exact.abs() + 2e-6 * largest || found.is_nan() {
            far.push(format!("element {i} is {found}, in f64 {exact}"));
        }
    }
    let allowed = if jumps { found.len() / 1000 } else { 0 };
    let count = far.len();
    assert!(
        count <= allowed,
        "{label}: {count} elements are far off, as {}",
        far[0]
    );
}

#[test]
fn every_optimizer_has_a_row() {
    let rows: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    let known = OptimizerConfig::all().into_iter();
    let known: Vec<_> = known
        .chain(OptimizerConfig::slides())
        .map(|info| info.name)
        .collect();
    assert_eq!(rows, known);
}

#[test]
fn every_option_of_every_optimizer_acts() {
    for row in ROWS.iter() {
        let mut untested: BTreeSet<String> = {
            let json = serde_json::to_value(row.config("{}")).unwrap();
            json.as_object().unwrap().keys().cloned().collect()
        };
        untested.remove("name");
        untested.retain(|option| !APART.contains(&option.as_str()));
        for (option, values, base) in &row.options {
            untested.remove(*option);
            let moved = |settings: &str| {
                let device = devices_with(DType::F64)
                    .next()
                    .or(devices().into_iter().next());
                let device = device.expect("a backend is compiled in");
                let dtype = *device
                    .dtypes
                    .iter()
                    .find(|dtype| **dtype == DType::F64)
                    .unwrap_or(&DType::F32);
                let optim = row.config(settings).try_build().unwrap();
                let shapes: [&[usize]; 2] = [&[4, 3], &[5]];
                shapes.map(|shape| {
                    let len = shape.iter().product();
                    let mut subject =
                        Subject::new(optim.clone(), &device.device, dtype, shape, &noise(len, 1));
                    for step in 0..8 {
                        // They agree where a rate is to be found in them.
                        let begins = BEGINS.iter().any(|name| base.get(name).is_some());
                        let (share, offset) = if begins { (0.25, 0.5) } else { (1.0, 0.0) };
                        let grads = noise(len, 100 + step).into_iter();
                        let grads = grads.map(|g| share * g + offset);
                        subject.step(rate(row.lr, step), &grads.collect::<Vec<_>>());
                    }
                    // Some options are of the average that is kept beside it, or of what is known of the model.
                    [subject.param(), subject.evaluated(), subject.of_model()].concat()
                })
            };
            let without = moved(&base.to_string());
            let acts = |value: &serde_json::Value| {
                let mut with = base.clone();
                with[*option] = value.clone();
                let with = moved(&with.to_string());
                let mut change = without.iter().flatten().zip(with.iter().flatten());
                change.any(|(a, b)| (a - b).abs() > 1e-6)
            };
            assert!(
                values.iter().any(acts),
                "{}: `{option}` = {values:?} over {base} changes nothing",
                row.name
            );
        }
        assert!(
            untested.is_empty(),
            "{}: the options {untested:?} have no test",
            row.name
        );
    }
}

#[test]
fn a_step_goes_downhill_and_maximize_uphill() {
    for device in devices() {
        // Downhill can be along the parameter.
        for row in rows_on(&device).filter(|row| !row.goes_across) {
            // A rate that is found for the gradients can be too much for the decay.
            let is_fair = |(label, _): &(String, _)| row.is_alone() || !label.contains("decay");
            for (label, optim) in row.optimizers().filter(is_fair) {
                let mut subject =
                    Subject::new(optim, &device.device, DType::F32, &[4, 3], &noise(12, 7));
                let loss = |x: &[f64]| x.iter().map(|x| (x - 2.0).powi(2)).sum::<f64>();
                let before = loss(&subject.param());
                for _ in 0..20 {
                    let grad: Vec<f64> = subject.param().iter().map(|x| 2.0 * (x - 2.0)).collect();
                    subject.step(row.lr, &grad);
                }
                let after = loss(&subject.param());
                assert!(
                    after < before,
                    "{label} on {}: {before} became {after}",
                    device.name
                );
            }
        }
    }
}

#[test]
fn a_zero_gradient_does_not_move_a_parameter_without_decay() {
    for device in devices() {
        for dtype in device.dtypes {
            for row in rows_on(&device) {
                for (label, config) in row.configs() {
                    let Some(config) = behaviour::still(&config) else {
                        continue;
                    };
                    let optim = config.try_build().unwrap();
                    for shape in [&[3, 2][..], &[5]] {
                        let len = shape.iter().product();
                        let start = noise(len, 3);
                        let mut subject =
                            Subject::new(optim.clone(), &device.device, *dtype, shape, &start);
                        for _ in 0..3 {
                            subject.step(row.lr, &vec![0.0; len]);
                        }
                        assert_eq!(
                            subject.param(),
                            start,
                            "{label} on {} in {dtype:?}",
                            device.name
                        );
                        for (name, values) in subject.named_state() {
                            assert!(values.iter().all(|x| x.is_finite()), "{label}: {name}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn every_shape_moves_finitely() {
    let shapes: [&[usize]; 10] = [
        &[1],
        &[0],
        &[0, 3],
        &[1, 1],
        &[3, 1],
        &[1, 3],
        &[2, 3, 4],
        &[2, 1, 3, 2],
        &[2, 2, 1, 3, 2],
        &[1, 2, 2, 2, 1],
    ];
    for_all(|label, row, optim, device, dtype| {
        for shape in shapes {
            let len = shape.iter().product();
            let start = noise(len, 5);
            let mut subject = Subject::new(optim.clone(), &device.device, dtype, shape, &start);
            let steps = row.waits + 3;
            run(&mut subject, row.lr, steps, 11);
            let end = subject.param();
            assert!(
                end.iter().all(|x| x.is_finite()),
                "{label} {shape:?}: {end:?}"
            );
            // A 16-bit parameter may be too coarse for the step.
            let coarse = matches!(dtype, DType::F16 | DType::BF16);
            // Of a single element nothing is left without its mean, or across it.
            let filtered = row.needs_a_buffer() && shape.contains(&1);
            assert!(
                len == 0 || coarse || filtered || end != start,
                "{label} {shape:?} does not move"
            );
            assert_eq!(subject.param_data().shape().as_slice(), shape, "{label}");
            assert_eq!(subject.state().step(), steps, "{label} {shape:?}");
        }
    });
}

/// Their squares are less than an f32 can hold, and some of the gradients are themselves.
#[test]
fn tiny_gradients_leave_parameter_and_state_finite() {
    for_all(|label, row, optim, device, dtype| {
        for size in [1e-3, 1e-20, 1e-30, 1e-40] {
            let start = noise(12, 5);
            let mut subject = Subject::new(optim.clone(), &device.device, dtype, &[4, 3], &start);
            for seed in 0..5 {
                let grads: Vec<f64> = noise(12, seed).iter().map(|x| size * x).collect();
                subject.step(row.lr, &grads);
            }
            let state = subject.named_state();
            let all = state.iter().flat_map(|(_, values)| values);
            let finite = subject.param().iter().chain(all).all(|x| x.is_finite());
            assert!(
                finite,
                "{label} at {size:e}: {:?}, {state:?}",
                subject.param()
            );
        }
    });
}

/// Products of them are more than an f32 can hold: what is decomposed then stays as it was, and norms do not overflow.
#[test]
fn huge_gradients_leave_matrices_finite() {
    for device in devices() {
        for row in rows_on(&device).filter(|row| row.is_of_matrices()) {
            for (label, optim) in row.optimizers() {
                for as_tensors in [false, true] {
                    for size in [1e20, 1e30] {
                        let start = noise(12, 5);
                        let mut subject = Subject::new(
                            optim.clone(),
                            &device.device,
                            DType::F32,
                            &[4, 3],
                            &start,
                        );
                        if as_tensors {
                            subject = subject.with_tensor_operations();
                        }
                        for seed in 0..4 {
                            let grads: Vec<f64> =
                                noise(12, seed).iter().map(|x| size * x).collect();
                            subject.step(1e-3, &grads);
                        }
                        let end = subject.param();
                        assert!(
                            end.iter().all(|x| x.is_finite()),
                            "{label} on {} at {size:e}, tensors {as_tensors}: {end:?}",
                            device.name
                        );
                    }
                }
            }
        }
    }
}

/// Sizes around the width of the vector instructions and above the size from which the work is
/// split over threads: each element must come out as it does alone, or, where a rule looks at the
/// whole tensor, as it does in f64.
#[test]
fn every_size_gives_the_same_numbers() {
    for device in devices() {
        for row in rows_on(&device) {
            for (label, config) in row.configs() {
                let optim = config.try_build().unwrap();
                let jumps = behaviour::jumps(&config);
                let elementwise = behaviour::is_elementwise(&config);
                for len in [1, 7, 33, 4097, 600_011] {
                    let large = len > 5000;
                    if large && device.name == "wgpu" {
                        continue;
                    }
                    let label = format!("{label} on {} at {len}", device.name);
                    let at = |dtype| {
                        let start = noise(len, 21);
                        let mut subject =
                            Subject::new(optim.clone(), &device.device, dtype, &[len], &start);
                        run(&mut subject, row.lr, 4, 31);
                        subject.param()
                    };
                    let found = at(DType::F32);
                    if device.dtypes.contains(&DType::F64) {
                        assert_close(&label, jumps, &found, &at(DType::F64));
                    }
                    if !elementwise {
                        continue;
                    }
                    let grads: Vec<_> = (0..4).map(|step| noise(len, 31 + step)).collect();
                    let start = noise(len, 21);
                    for i in [0, len / 2, len - 1] {
                        let mut alone = Subject::new(
                            optim.clone(),
                            &device.device,
                            DType::F32,
                            &[1],
                            &[start[i]],
                        );
                        for (step, grad) in grads.iter().enumerate() {
                            alone.step(rate(row.lr, step as u64), &[grad[i]]);
                        }
                        assert_eq!(alone.param(), [found[i]], "{label}: element {i}");
                    }
                }
            }
        }
    }
}

/// Large matrices, so that rows are split over threads and columns summed from parts. What products and decompositions
/// take most of the time of has smaller ones, on one of the processor's backends, which share the code.
#[test]
fn a_large_matrix_gives_the_numbers_of_f64() {
    for device in devices_with(DType::F64) {
        for row in rows_on(&device).filter(|row| !row.goes_by_factors()) {
            let shapes: &[&[usize]] = match (row.is_of_matrices(), device.name) {
                (false, _) => &[&[801, 707], &[33, 140, 121], &[3, 510, 371]],
                (true, "flex") => &[&[401, 353], &[3, 210, 171]],
                (true, _) => &[],
            };
            for (label, config) in row.configs() {
                let optim = config.try_build().unwrap();
                // What comes out of products is rounded, and where it is about zero a division by its own size jumps.
                let jumps = behaviour::jumps(&config) || row.is_of_matrices();
                for shape in shapes {
                    let len = shape.iter().product();
                    let at = |dtype| {
                        let start = noise(len, 21);
                        let mut subject =
                            Subject::new(optim.clone(), &device.device, dtype, shape, &start);
                        run(&mut subject, row.lr, 3, 31);
                        subject.param()
                    };
                    let label = format!("{label} on {} {shape:?}", device.name);
                    assert_close(&label, jumps, &at(DType::F32), &at(DType::F64));
                }
            }
        }
    }
}

/// One step on tensors as they are, without a detour over plain numbers.
fn step<const D: usize>(
    optim: &RuleOptimizer,
    lr: f64,
    param: Tensor<D>,
    grad: Tensor<D>,
    state: Option<RuleState>,
) -> (Tensor<D>, Option<RuleState>) {
    optim.step(lr, param, grad, state)
}

#[test]
fn views_give_the_same_numbers_as_dense_tensors() {
    for_all(|label, row, optim, device, dtype| {
        if !row.is_alone() {
            return;
        }
        let make = |values: &[f64], shape: [usize; 2]| -> Tensor<2> {
            tensor(
                TensorData::new(values.to_vec(), shape),
                &device.device,
                dtype,
            )
        };
        let dense = |view: &Tensor<2>| make(&floats(view.to_data()), view.dims());
        let wide = make(&noise(40, 1), [5, 8]);
        let grads = make(&noise(40, 2), [8, 5]);
        // The same 4 by 3 numbers as a transpose, a slice, a slice of a transpose, a broadcast, and
        // a flip; each as a parameter and as a gradient.
        let views: [(&str, Tensor<2>); 5] = [
            ("transposed", make(&noise(12, 3), [3, 4]).transpose()),
            ("sliced", wide.clone().slice([1..5, 2..5])),
            (
                "sliced and transposed",
                grads.clone().transpose().slice([0..4, 1..4]),
            ),
            ("broadcast", make(&noise(3, 4), [1, 3]).expand([4, 3])),
            ("flipped", make(&noise(12, 5), [4, 3]).flip([0])),
        ];
        for (what, view) in &views {
            for (grad_what, grad) in &views {
                let mut state_of_view = None;
                let mut state_of_dense = None;
                let mut param_view = view.clone();
                let mut param_dense = dense(view);
                for _ in 0..3 {
                    let (param, state) =
                        step(&optim, row.lr, param_view, grad.clone(), state_of_view);
                    (param_view, state_of_view) = (param, state);
                    let (param, state) =
                        step(&optim, row.lr, param_dense, dense(grad), state_of_dense);
                    (param_dense, state_of_dense) = (param, state);
                }
                let label = format!("{label}: {what} parameter, {grad_what} gradient");
                let (view, dense) = (
                    floats(param_view.into_data()),
                    floats(param_dense.into_data()),
                );
                if device.exact {
                    assert_eq!(view, dense, "{label}");
                } else {
                    assert_close(&label, false, &view, &dense);
                }
            }
        }
        // The views' sources are untouched: nothing was written through a shared buffer.
        assert_eq!(floats(wide.into_data()), noise(40, 1), "{label}");
        assert_eq!(floats(grads.into_data()), noise(40, 2), "{label}");
    });
}

#[test]
fn shared_tensors_are_not_written_through() {
    for_all(|label, row, optim, device, dtype| {
        if !row.is_alone() {
            return;
        }
        let start = noise(12, 1);
        let make = |values: Vec<f64>| -> Tensor<2> {
            tensor(TensorData::new(values, [4, 3]), &device.device, dtype)
        };
        let kept = make(start.clone());
        let grad = make(noise(12, 2));
        let (first, state) = step(&optim, row.lr, kept.clone(), grad.clone(), None);
        let (first_kept, state_kept) = (first.clone(), state.clone());
        let numbers = floats(first.to_data());
        let frozen: Vec<_> = state_kept.as_ref().unwrap().tensors();
        // The original and its clone go different ways.
        let (one, _) = step(&optim, row.lr, first, grad.clone(), state);
        assert_eq!(floats(kept.to_data()), start, "{label}: the parameter");
        assert_eq!(floats(first_kept.to_data()), numbers, "{label}: its clone");
        assert_eq!(
            floats(grad.to_data()),
            noise(12, 2),
            "{label}: the gradient"
        );
        assert_eq!(
            state_kept.as_ref().unwrap().tensors(),
            frozen,
            "{label}: the state's clone"
        );
        let (two, _) = step(&optim, row.lr, first_kept, grad, state_kept);
        assert_eq!(floats(one.into_data()), floats(two.into_data()), "{label}");
    });
}

#[test]
fn the_state_has_the_documented_precision() {
    for_all(|label, row, optim, device, dtype| {
        let mut subject = Subject::new(optim, &device.device, dtype, &[4, 3], &noise(12, 1));
        run(&mut subject, row.lr, 2, 2);
        let expected = match dtype {
            DType::F64 => DType::F64,
            _ => DType::F32,
        };
        for (name, data) in subject.state().tensors() {
            assert_eq!(data.dtype(), expected, "{label}: {name}");
        }
    });
}

/// 16-bit parameters are moved by f32 arithmetic over f32 state: a step differs from f32's by the
/// rounding of the parameter alone.
#[test]
fn half_precision_follows_single() {
    // Of a gradient along the parameter only rounding is left across it, and of the deck's factors nothing.
    let follows = |row: &&Row| row.name != "slides_adafactor" && !row.goes_across;
    for device in devices() {
        for dtype in [DType::F16, DType::BF16] {
            if !device.dtypes.contains(&dtype) {
                continue;
            }
            for row in rows_on(&device).filter(follows) {
                // Coupled decay feeds the parameter's rounding back into the gradient.
                let undecayed = |(label, _): &(String, _)| !label.contains("weight_decay");
                for (label, optim) in row.optimizers().filter(undecayed) {
                    for scale in [1e-4, 1e-3, 1.0] {
                        let run = |dtype| {
                            let mut subject = Subject::new(
                                optim.clone(),
                                &device.device,
                                dtype,
                                &[4, 3],
                                &[0.0; 12],
                            );
                            let grads = tensor::<1>(
                                TensorData::from(noise(12, 9).as_slice()),
                                &device.device,
                                DType::BF16,
                            );
                            // Exact in both 16-bit formats, so that both runs see the same numbers.
                            let grads: Vec<f64> = floats(grads.into_data());
                            let scale = 2f64.powi(f64::log2(scale) as i32);
                            let grads: Vec<f64> = grads.iter().map(|g| g * scale).collect();
                            subject.step(row.lr, &grads);
                            subject.step(row.lr, &grads);
                            (subject.param(), subject.named_state())
                        };
                        let (half, half_state) = run(dtype);
                        let (single, single_state) = run(DType::F32);
                        for (half, single) in half.iter().zip(&single) {
                            assert!(
                                (half - single).abs() <= 0.02 * single.abs() + 1e-7,
                                "{label} in {dtype:?} at {scale}: {half} instead of {single}"
                            );
                        }
                        for ((name, half), (_, single)) in half_state.iter().zip(&single_state) {
                            for (half, single) in half.iter().zip(single) {
                                assert!(
                                    (half - single).abs() <= 0.02 * single.abs(),
                                    "{label} in {dtype:?}: {name} {half} instead of {single}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A second moment that is kept in bf16 stops at half its limit, because 0.999 rounds to 1 there.
#[test]
fn the_second_moment_reaches_its_limit_in_bf16() {
    for device in devices_with(DType::BF16) {
        let optim = OptimizerConfig::by_name("adam")
            .unwrap()
            .try_build()
            .unwrap();
        let mut subject = Subject::new(optim, &device.device, DType::BF16, &[1], &[1.0]);
        for _ in 0..3000 {
            subject.step(1e-3, &[1.0]);
        }
        let state = subject.named_state();
        let (_, v) = state.iter().find(|(name, _)| name == "exp_avg_sq").unwrap();
        assert!((v[0] - 0.950).abs() < 1e-3, "{v:?}");
    }
}

#[test]
fn clones_go_their_own_ways() {
    for_all(|label, row, optim, device, dtype| {
        let mut one = Subject::new(optim, &device.device, dtype, &[4, 3], &noise(12, 1));
        run(&mut one, row.lr, 2, 2);
        let mut two = one.fork();
        run(&mut one, row.lr, 3, 50);
        let (param, state) = (one.param(), one.named_state());
        run(&mut two, row.lr, 3, 70);
        assert_eq!((one.param(), one.named_state()), (param, state), "{label}");
        assert_ne!(one.param(), two.param(), "{label}");
    });
}

/// Adam and its kin do not see the unit of the loss; the deck's AdaFactor does, upside down.
#[test]
fn the_first_direction_scales_as_it_should() {
    for device in devices() {
        for row in rows_on(&device).filter(|row| !row.goes_by_factors()) {
            for shape in [&[4, 3][..], &[6]] {
                let Some(law) = behaviour::scaling(&row.config("{}"), row.lr, shape) else {
                    continue;
                };
                let optim = law.config.try_build().unwrap();
                let len: usize = shape.iter().product();
                let moved = |c: f64| {
                    let mut subject = Subject::new(
                        optim.clone(),
                        &device.device,
                        DType::F32,
                        shape,
                        &vec![0.0; len],
                    );
                    for step in 0..=row.waits {
                        let grads = noise(len, 17 + step).into_iter().map(|g| g * c);
                        subject.step(row.lr, &grads.collect::<Vec<_>>());
                    }
                    subject.param()
                };
                let unit = moved(1.0);
                for c in [1e-3, 1e-1, 1e1, 1e3] {
                    for (scaled, unit) in moved(c).iter().zip(&unit) {
                        let expected = unit * c.powf(law.exponent);
                        assert!(
                            (scaled - expected).abs() <= 1e-4 * expected.abs(),
                            "{} on {} {shape:?}: gradients times {c} move by {scaled} instead of {expected}",
                            row.name,
                            device.name
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn configs_survive_json_and_print_themselves() {
    for row in ROWS.iter() {
        for (label, config) in row.configs() {
            let json = serde_json::to_string(&config).unwrap();
            let back: OptimizerConfig = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&back).unwrap(), json, "{label}");
            assert_eq!(back.name(), row.name);
            assert_eq!(config.to_string(), json, "{label}");
            assert!(format!("{config:?}").len() > row.name.len(), "{label}");
            let optim = config.try_build().unwrap();
            assert!(format!("{optim:?}").starts_with("RuleOptimizer"), "{label}");
        }
    }
}

#[test]
fn the_step_counter_saturates() {
    for row in ROWS.iter() {
        for (label, optim) in row.optimizers() {
            let device = devices().into_iter().next().unwrap();
            for step in [i32::MAX as u64 - 1, u64::MAX] {
                let mut subject = Subject::new(
                    optim.clone(),
                    &device.device,
                    DType::F32,
                    &[3],
                    &[1.0, 2.0, 3.0],
                );
                subject.step(row.lr, &[0.1, 0.2, 0.3]);
                subject.set_step(step);
                for _ in 0..3 {
                    subject.step(row.lr, &[0.1, 0.2, 0.3]);
                }
                assert_eq!(subject.state().step(), step.saturating_add(3), "{label}");
                assert!(subject.param().iter().all(|x| x.is_finite()), "{label}");
            }
        }
    }
}

/// A constant gradient drives the variance of centered RMSprop below zero by rounding.
#[test]
fn centered_rmsprop_survives_a_constant_gradient() {
    for device in devices() {
        let steps = if device.name == "wgpu" { 50 } else { 3000 };
        for grad in [0.05, 0.1, 0.2, 0.123, 0.9] {
            let json = r#"{"name": "rmsprop", "centered": true}"#;
            let optim = OptimizerConfig::from_json(json)
                .unwrap()
                .try_build()
                .unwrap();
            let mut subject = Subject::new(optim, &device.device, DType::F32, &[2], &[1.0, -1.0]);
            for _ in 0..steps {
                subject.step(1e-3, &[grad, -grad]);
            }
            assert!(
                subject.param().iter().all(|x| x.is_finite()),
                "{} with {grad}: {:?}",
                device.name,
                subject.param()
            );
        }
    }
}

/// Sums of squares over a large tensor, where plain f32 sums lose three digits: the scale of a
/// constant vector is known.
#[test]
fn a_large_vector_is_scaled_by_its_exact_root_mean_square() {
    for device in devices().iter().filter(|device| device.exact) {
        let json = r#"{"name": "adafactor", "clip_threshold": null}"#;
        let optim = OptimizerConfig::from_json(json)
            .unwrap()
            .try_build()
            .unwrap();
        let len = 1 << 21;
        let start = vec![f64::from(0.1_f32); len];
        let mut subject = Subject::new(optim, &device.device, DType::F32, &[len], &start);
        subject.step(0.01, &vec![1.0; len]);
        let moved = start[0] - subject.param()[len / 2];
        assert!(
            (moved / 1e-3 - 1.0).abs() < 2e-4,
            "{}: {moved}",
            device.name
        );
    }
}
