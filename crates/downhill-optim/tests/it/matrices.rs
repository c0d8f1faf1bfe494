//! Optimizers of matrices: what holds of them whatever the numbers are.

use downhill_optim::OptimizerConfig;
use faer::Mat;
use serde_json::{Value, json};

const GRADIENTS: [[f64; 6]; 3] = [
    [0.1, -0.2, 0.3, 0.4, -0.5, 0.6],
    [-0.3, 0.1, 0.2, 0.5, 0.0, -0.1],
    [0.2, 0.2, -0.4, -0.1, 0.3, 0.05],
];

/// The other way round, row by row.
fn turned(values: &[f64], rows: usize) -> Vec<f64> {
    let cols = values.len() / rows;
    let turned = (0..cols).flat_map(|col| (0..rows).map(move |row| values[row * cols + col]));
    turned.collect()
}

/// Numbers in `[-1, 1)` without a pattern.
fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / 2f64.powi(52) - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn product(a: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
    let (rows, cols) = (a.len() / inner, b.len() / inner);
    let entry = |row: usize, col: usize| -> f64 {
        (0..inner)
            .map(|at| a[row * inner + at] * b[at * cols + col])
            .sum()
    };
    (0..rows)
        .flat_map(|row| (0..cols).map(move |col| entry(row, col)))
        .collect()
}

fn config(settings: Value) -> OptimizerConfig {
    OptimizerConfig::from_json(&settings.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

/// The steps of a parameter that starts at zero under some gradients.
fn way(settings: &Value, shape: &[usize], grads: &[Vec<f64>]) -> Vec<f64> {
    let mut trajectory = config(settings.clone()).try_trajectory(shape).unwrap();
    let mut param = vec![0.0; grads[0].len()];
    for grad in grads {
        trajectory.step(1.0, &mut param, grad);
    }
    param
}

fn assert_near(label: &str, found: &[f64], expected: &[f64], by: f64) {
    assert_eq!(found.len(), expected.len(), "{label}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= by,
            "{label}: {found} instead of {expected}"
        );
    }
}

/// The golden files of the facade have sixty steps and every option.
#[test]
fn three_steps_end_where_the_references_do() {
    let ends = [
        (json!({"name": "muon"}), 0.5464419436, 1.3281138396),
        (
            json!({"name": "muon", "adjust_lr": "match_rms_adamw"}),
            0.5063818253,
            1.4113384797,
        ),
        (
            json!({"name": "muon", "nesterov": false}),
            0.6021996501,
            1.3703959056,
        ),
        // Of these two the authors add epsilon to the norm, which changes the seventh digit.
        (json!({"name": "normuon"}), 0.5554004647, 1.3603301305),
        (
            json!({"name": "adamuon", "weight_decay": 0.0}),
            0.4801002385,
            1.4407074667,
        ),
        (
            json!({"name": "adamuon", "sign": false, "weight_decay": 0.0}),
            0.5219389064,
            1.4316644743,
        ),
    ];
    for (settings, first, last) in ends {
        assert_ends(&settings, 3, [first, last], 2e-9);
    }
}

/// Steps from the usual start on, of a weight of three inputs and two outputs.
fn assert_ends(settings: &Value, steps: usize, expected: [f64; 2], by: f64) {
    let mut trajectory = config(settings.clone()).try_trajectory(&[3, 2]).unwrap();
    let mut param = turned(&[0.5, -1.0, 2.0, -0.25, 0.75, 1.5], 2);
    for step in 0..steps {
        trajectory.step(0.1, &mut param, &turned(&GRADIENTS[step % 3], 2));
    }
    assert_near(&settings.to_string(), &[param[0], param[5]], &expected, by);
}

#[test]
fn steps_with_factors_end_where_the_references_do() {
    let soap = |frequency: usize| json!({"name": "soap", "weight_decay": 0.0, "precondition_frequency": frequency});
    let shampoo = |more: Value| {
        let mut settings = json!({
            "name": "shampoo", "beta_2": 0.999, "grafting": "adam", "epsilon": 1e-12,
        });
        for (name, value) in more.as_object().expect("an object") {
            settings[name] = value.clone();
        }
        settings
    };
    let ends = [
        (soap(10), 3, [0.6366616710, 1.4210443595]),
        (soap(10), 12, [0.9354161401, 0.9646646069]),
        (soap(1), 12, [0.5694127357, 1.1371313029]),
        (
            shampoo(json!({"epsilon": 1e-6})),
            3,
            [0.6510641495, 1.3341862954],
        ),
        (
            shampoo(json!({"weight_decay": 0.1})),
            3,
            [0.6337151012, 1.2915561330],
        ),
        (
            shampoo(json!({"precondition_frequency": 2})),
            8,
            [0.4879210138, 1.0300579779],
        ),
    ];
    for (settings, steps, expected) in ends {
        // A factor without full rank has roots of what rounding leaves of nothing.
        let by = if settings["name"] == "soap" {
            2e-9
        } else {
            1e-6
        };
        assert_ends(&settings, steps, expected, by);
    }
}

/// A matrix whose singular values are these.
fn with_singular_values(values: &[f64], cols: usize) -> Vec<f64> {
    let rows = values.len();
    let orthogonal = |len: usize, seed: u64| {
        let noise = noise(len * len, seed);
        Mat::from_fn(len, len, |row, col| noise[row * len + col])
            .qr()
            .compute_Q()
    };
    let (left, right) = (orthogonal(rows, 1), orthogonal(cols, 2));
    let entry = |row: usize, col: usize| -> f64 {
        (0..rows)
            .map(|at| left[(row, at)] * values[at] * right[(col, at)])
            .sum()
    };
    (0..rows)
        .flat_map(|row| (0..cols).map(move |col| entry(row, col)))
        .collect()
}

fn singular_values(values: &[f64], rows: usize) -> Vec<f64> {
    let cols = values.len() / rows;
    let matrix = Mat::from_fn(rows, cols, |row, col| values[row * cols + col]);
    matrix.singular_values().expect("finite numbers")
}

/// One step of the gradient alone: of the orthogonalisation there is nothing else to see.
fn bare(more: Value) -> Value {
    let mut settings = json!({
        "name": "muon", "momentum": 0.0, "nesterov": false, "weight_decay": 0.0,
        "adjust_lr": "spectral_unclamped", "epsilon": 1e-60,
    });
    for (name, value) in more.as_object().expect("an object") {
        settings[name] = value.clone();
    }
    settings
}

#[test]
fn singular_values_come_close_to_one() {
    // After the division by their norm the least is 0.01, and the largest 0.97.
    let values: Vec<f64> = (0..8).map(|at| 0.01f64.powf(f64::from(at) / 7.0)).collect();
    let norm = values.iter().map(|x| x * x).sum::<f64>().sqrt();
    let values: Vec<f64> = values.iter().map(|x| x.max(0.0105 * norm)).collect();
    let bounds = [
        ("original", 5, 0.68, 1.14),
        ("quintic", 5, 0.97, 1.04),
        ("polar_express", 5, 0.86, 1.14),
        ("polar_express_safer", 5, 0.86, 1.14),
        ("polar_express", 8, 1.0 - 1e-3, 1.0 + 1e-3),
    ];
    for (set, steps, least, largest) in bounds {
        for cols in [8, 13] {
            let settings = bare(json!({"ns_coefficients": set, "ns_steps": steps}));
            let moved = way(
                &settings,
                &[8, cols],
                &[with_singular_values(&values, cols)],
            );
            let scale = (cols as f64 / 8.0).sqrt();
            for value in singular_values(&moved, 8) {
                let value = value / scale;
                assert!(
                    (least..largest).contains(&value),
                    "{set}, {steps} steps, {cols} columns: a singular value of {value}"
                );
            }
        }
    }
}

/// A rotation of the outputs rotates the step.
#[test]
fn a_step_turns_with_its_gradient() {
    let grads: Vec<_> = (0..3).map(|step| noise(4 * 6, 10 + step)).collect();
    let turn = with_singular_values(&[1.0; 4], 4);
    let turned: Vec<_> = grads.iter().map(|grad| product(&turn, grad, 4)).collect();
    let settings = json!({"name": "muon", "weight_decay": 0.0});
    let expected = product(&turn, &way(&settings, &[4, 6], &grads), 4);
    let found = way(&settings, &[4, 6], &turned);
    assert_near("turned", &found, &expected, 1e-12);
}

/// Outputs are told from inputs by the layout, and by nothing else.
#[test]
fn a_transposed_weight_takes_the_transposed_step() {
    let grads: Vec<_> = (0..4).map(|step| noise(4 * 6, 10 + step)).collect();
    let turned_grads: Vec<_> = grads.iter().map(|grad| turned(grad, 4)).collect();
    for name in ["muon", "normuon", "adamuon"] {
        for parts in [1, 3] {
            let of = |layout: &str| json!({"name": name, "layout": layout, "parts": parts});
            let expected = turned(&way(&of("in_out"), &[4, 6], &grads), 4);
            let found = way(&of("out_in"), &[6, 4], &turned_grads);
            assert_near(name, &found, &expected, 1e-12);
            let convolution = way(&of("auto"), &[6, 2, 2], &turned_grads);
            assert_near(name, &convolution, &expected, 1e-12);
        }
    }
}

/// What treats both sides alike cannot tell them from each other.
#[test]
fn rows_and_columns_are_alike() {
    let grads: Vec<_> = (0..6).map(|step| noise(4 * 6, 10 + step)).collect();
    let turned_grads: Vec<_> = grads.iter().map(|grad| turned(grad, 4)).collect();
    let settings = [
        // Of the longer side there are directions without a gradient at first, in which no basis is the right one.
        json!({"name": "soap", "max_precond_dim": 4, "precondition_frequency": 2}),
        json!({"name": "splus", "max_precond_dim": 4, "precondition_frequency": 2}),
        json!({"name": "shampoo", "epsilon": 1e-3, "grafting": "adam"}),
        json!({"name": "shampoo", "epsilon": 1e-3, "max_preconditioner_dim": 3}),
        json!({"name": "galore", "rank": 2, "update_proj_gap": 3}),
        json!({"name": "apollo", "rank": 2, "update_proj_gap": 3}),
        json!({"name": "apollo_mini"}),
    ];
    for settings in settings {
        let expected = turned(&way(&settings, &[4, 6], &grads), 4);
        let found = way(&settings, &[6, 4], &turned_grads);
        let size = expected.iter().fold(0.0_f64, |size, x| size.max(x.abs()));
        assert_near(&settings.to_string(), &found, &expected, 1e-9 * size);
    }
}

/// What comes out of PSGD has no direction in which it is longer than in others.
#[test]
fn psgd_whitens_its_gradients() {
    let settings = json!({
        "name": "psgd_kron", "beta_1": 0.0, "clip": 1e9, "precond_lr": 0.02, "fallback": {"name": "sgd"},
    });
    let mut trajectory = config(settings).try_trajectory(&[3, 2]).unwrap();
    let (left, right) = (
        [3.0, 0.0, 0.0, 1.0, 0.5, 0.0, 0.0, 0.2, 0.1],
        [2.0, 0.3, 0.0, 0.2],
    );
    let (steps, last) = (40_000, 20_000);
    let mut covariance = [0.0; 36];
    for step in 0..steps {
        let normal: Vec<f64> = noise(6 * 12, step)
            .chunks(12)
            .map(|twelve| twelve.iter().sum::<f64>() / 2.0)
            .collect();
        let grad = product(&product(&left, &normal, 3), &right, 2);
        let mut param = vec![0.0; 6];
        trajectory.step(1.0, &mut param, &grad);
        if step >= steps - last {
            for (at, sum) in covariance.iter_mut().enumerate() {
                *sum += param[at / 6] * param[at % 6] / last as f64;
            }
        }
    }
    for (at, value) in covariance.iter().enumerate() {
        let expected = if at / 6 == at % 6 { 1.0 } else { 0.0 };
        assert!((value - expected).abs() < 0.25, "{covariance:?}");
    }
}

/// A projection to few dimensions leaves the others alone.
#[test]
fn a_step_of_galore_has_its_rank() {
    let settings = json!({"name": "galore", "rank": 2});
    let grads: Vec<_> = (0..3).map(|step| noise(5 * 7, 10 + step)).collect();
    let values = singular_values(&way(&settings, &[5, 7], &grads), 5);
    assert!(
        values[1] > 1e-3 && values[2..].iter().all(|value| *value < 1e-12),
        "{values:?}"
    );
}

/// The layers of a network have norms of their own; what is named goes by signs.
#[test]
fn scion_goes_as_far_as_the_norm_allows() {
    let settings = json!({"name": "scion", "constrained": false, "momentum": 0.0, "ns_coefficients": "quintic", "epsilon": 1e-30});
    let vector = way(&settings, &[6], &[noise(6, 1)]);
    let rms = (vector.iter().map(|x| x * x).sum::<f64>() / 6.0).sqrt();
    assert!((rms - 50.0).abs() < 1e-5, "{rms}");
    for (shape, scale) in [
        (&[4, 6][..], 1.5f64.sqrt()),
        (&[6, 2, 2], 3f64.sqrt() / 2.0),
    ] {
        for value in singular_values(&way(&settings, shape, &[noise(24, 1)]), shape[0]) {
            let value = value / (50.0 * scale);
            assert!((0.9..1.1).contains(&value), "{shape:?}: {value}");
        }
    }
}

/// Three parts are three weights.
#[test]
fn parts_are_matrices_of_their_own() {
    let grad = noise(4 * 6, 10);
    let settings = json!({"name": "muon", "weight_decay": 0.0, "parts": 3});
    let whole = way(&settings, &[4, 6], std::slice::from_ref(&grad));
    for part in 0..3 {
        let columns = |values: &[f64]| -> Vec<f64> {
            let rows = values.chunks(6);
            rows.flat_map(|row| row[2 * part..2 * part + 2].to_vec())
                .collect()
        };
        let alone = way(&settings, &[4, 2], &[columns(&grad)]);
        assert_near("a part", &columns(&whole), &alone, 1e-14);
    }
}

/// Zeros at the edges change nothing.
#[test]
fn padding_with_zeros_is_exact() {
    let grads: Vec<_> = (0..3).map(|step| noise(25, 10 + step)).collect();
    let padded = |values: &Vec<f64>| -> Vec<f64> {
        let entry = |at: usize| match (at / 7, at % 7) {
            (row @ 0..5, col @ 0..5) => values[row * 5 + col],
            _ => 0.0,
        };
        (0..49).map(entry).collect()
    };
    let settings = json!({"name": "muon", "weight_decay": 0.0});
    let expected = padded(&way(&settings, &[5, 5], &grads));
    let grads: Vec<_> = grads.iter().map(padded).collect();
    let found = way(&settings, &[7, 7], &grads);
    assert_near("padded", &found, &expected, 1e-14);
}

#[test]
fn nothing_comes_of_nothing() {
    let names = [
        "muon",
        "normuon",
        "adamuon",
        "scion",
        "shampoo",
        "shampoo_algoperf",
        "soap",
        "splus",
        "psgd_kron",
        "galore",
        "apollo",
        "apollo_mini",
    ];
    for name in names {
        let settings = json!({"name": name});
        let moved = way(&settings, &[4, 6], &vec![vec![0.0; 24]; 3]);
        assert_eq!(moved, [0.0; 24], "{name}");
    }
    // Of a gradient of rank one, everything across it stays where it is.
    let (left, right) = (noise(4, 1), noise(6, 2));
    let grad = product(&left, &right, 1);
    let moved = way(&bare(json!({})), &[4, 6], std::slice::from_ref(&grad));
    let along = singular_values(&moved, 4);
    assert!(
        along[0] > 0.5 && along[1..].iter().all(|value| *value < 1e-12),
        "{along:?}"
    );
}

/// The direction does not depend on the gradient's unit, from the least numbers to the largest.
#[test]
fn a_gradient_may_be_of_any_size() {
    let grad = noise(24, 3);
    let expected = way(&bare(json!({})), &[4, 6], std::slice::from_ref(&grad));
    for scale in [1e-30, 1e-10, 1e10, 1e30] {
        let grad: Vec<f64> = grad.iter().map(|g| g * scale).collect();
        let found = way(&bare(json!({})), &[4, 6], &[grad]);
        assert_near("another unit", &found, &expected, 1e-12);
    }
}

/// In bfloat16 the same comes out in its two or three digits.
#[test]
fn bfloat16_is_the_same_in_few_digits() {
    let grad = noise(24, 3);
    let scale = 1.5f64.sqrt();
    let of = |bfloat16: bool| bare(json!({"bfloat16": bfloat16}));
    let exact = way(&of(false), &[4, 6], std::slice::from_ref(&grad));
    let rounded = way(&of(true), &[4, 6], &[grad]);
    assert_near("rounded", &rounded, &exact, 3e-2);
    // What is in bfloat16 has no more than eight binary digits.
    let digits = |x: f64| f64::from(x as f32).to_bits().trailing_zeros();
    assert!(
        rounded.iter().all(|x| digits(x / scale) >= 52 - 8),
        "{rounded:?}"
    );
}

/// Vectors, scalars, and what has one row or one column go to the fallback, at a rate of its own.
#[test]
fn what_is_no_matrix_goes_to_the_fallback() {
    let settings = json!({
        "name": "muon", "fallback": {"name": "sgd"}, "fallback_rate": 0.25,
    });
    for shape in [&[6][..], &[1, 6], &[6, 1], &[6, 1, 1], &[3, 1, 2]] {
        let moved = way(&settings, shape, &[vec![1.0; 6]]);
        assert_eq!(moved, [-0.25; 6], "{shape:?}");
    }
    assert_ne!(way(&settings, &[2, 3], &[vec![1.0; 6]]), [-0.25; 6]);
}

/// What climbs climbs everywhere.
#[test]
fn the_fallback_climbs_where_the_whole_does() {
    let settings = json!({"name": "muon", "fallback": {"name": "sgd"}, "maximize": true});
    assert_eq!(way(&settings, &[3], &[vec![1.0; 3]]), [1.0; 3]);
    let moved = way(&settings, &[3, 2], &[noise(6, 1)]);
    let down = json!({"name": "muon", "fallback": {"name": "sgd"}});
    let down: Vec<f64> = way(&down, &[3, 2], &[noise(6, 1)])
        .iter()
        .map(|x| -x)
        .collect();
    assert_near("upwards", &moved, &down, 1e-14);
}

/// A mean and a sum are the same direction, and not the same state.
#[test]
fn a_momentum_is_a_mean_or_a_sum() {
    let of = |ema: bool| {
        let settings = json!({"name": "muon", "ema_momentum": ema});
        let mut trajectory = config(settings).try_trajectory(&[3, 2]).unwrap();
        let mut param = vec![0.0; 6];
        for step in 0..4 {
            trajectory.step(0.1, &mut param, &noise(6, step));
        }
        (param, trajectory.state("momentum_buffer").unwrap().to_vec())
    };
    let ((mean_way, mean), (sum_way, sum)) = (of(true), of(false));
    assert_near("the way", &mean_way, &sum_way, 1e-12);
    let larger: Vec<f64> = mean.iter().map(|x| x * 20.0).collect();
    assert_near("the sum", &sum, &larger, 1e-12);
}

/// In single precision the last digits of a basis are others.
#[test]
fn decompositions_can_be_computed_in_single_precision() {
    for name in ["soap", "shampoo", "splus"] {
        let of = |float64: bool| {
            let grads: Vec<_> = (0..4).map(|step| noise(20, step)).collect();
            let settings = json!({"name": name, "float64": float64, "precondition_frequency": 1});
            let mut settings = settings;
            if name == "shampoo" {
                settings["epsilon"] = json!(1e-2);
            }
            way(&settings, &[5, 4], &grads)
        };
        let (double, single) = (of(true), of(false));
        assert_near(name, &single, &double, 1e-4);
        assert_ne!(single, double, "{name}");
    }
}

/// The state is that of whoever steps the parameter, scalars too.
#[test]
fn the_fallback_has_its_state() {
    let settings = json!({"name": "muon", "fallback": {"name": "nadam"}});
    let mut trajectory = config(settings.clone()).try_trajectory(&[3]).unwrap();
    let alone = json!({"name": "nadam"});
    let mut nadam = config(alone).try_trajectory(&[3]).unwrap();
    let (mut one, mut other) = ([0.5; 3], [0.5; 3]);
    for step in 0..4 {
        trajectory.step(0.1, &mut one, &noise(3, step));
        nadam.step(0.1, &mut other, &noise(3, step));
    }
    assert_eq!(one, other);
    assert_eq!(trajectory.scalar("mu_product"), nadam.scalar("mu_product"));
    assert_eq!(trajectory.state("exp_avg"), nadam.state("exp_avg"));
}

#[test]
fn a_fallback_that_needs_more_than_a_parameter_is_refused() {
    let refused = |fallback: Value| {
        let settings = json!({"name": "muon", "fallback": fallback});
        let error = OptimizerConfig::from_json(&settings.to_string()).unwrap_err();
        error.to_string()
    };
    for name in ["prodigy", "momo"] {
        let error = refused(json!({"name": name}));
        assert!(error.starts_with("muon: the `fallback` looks"), "{error}");
    }
    let error = refused(json!({"name": "adamw", "grad_clipping": {"Norm": 1.0}}));
    assert!(error.contains("`grad_clipping`"), "{error}");
    let error = refused(json!({"name": "adamw", "maximize": true}));
    assert!(error.contains("`maximize`"), "{error}");
    let error = refused(json!({"name": "adamv"}));
    assert!(
        error.contains("did you mean `adamw`?") || error.contains("`adam`"),
        "{error}"
    );
}

/// Products come out the same on any number of threads.
#[test]
fn threads_do_not_change_the_numbers() {
    let grads = [noise(300 * 257, 1), noise(300 * 257, 2)];
    for name in ["muon", "soap", "shampoo"] {
        let settings = json!({"name": name, "epsilon": 1e-3});
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            pool.install(|| way(&settings, &[300, 257], &grads))
        };
        let alone = on(1);
        assert!(alone == on(2) && alone == on(5), "{name}");
    }
}
