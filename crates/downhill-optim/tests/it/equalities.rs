//! Settings under which two optimizers are one.

use downhill_optim::OptimizerConfig;
use proptest::prelude::*;

/// Where an optimizer comes to from `start`, and what it would evaluate there.
fn path(json: &str, lr: f64, start: f64, grads: &[f64]) -> (f64, f64) {
    let config = OptimizerConfig::from_json(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    let mut run = config.try_trajectory(&[1]).unwrap();
    let mut param = [start];
    for (t, grad) in grads.iter().enumerate() {
        run.step(lr / (1.0 + 0.1 * t as f64), &mut param, &[*grad]);
    }
    (param[0], run.evaluated(&param)[0])
}

const EQUAL: &[(&str, &str)] = &[
    // Wrappers that do nothing.
    (
        r#"{"name": "lookahead", "k": 3, "alpha": 1.0, "optimizer": {"name": "adam"}}"#,
        r#"{"name": "adam"}"#,
    ),
    (
        r#"{"name": "grokfast", "lamb": 0.0, "optimizer": {"name": "nadam"}}"#,
        r#"{"name": "nadam"}"#,
    ),
    // The wrapper around what it was made from.
    (
        r#"{"name": "schedule_free", "optimizer": {"name": "sgd"}}"#,
        r#"{"name": "schedule_free_sgd"}"#,
    ),
    (
        r#"{"name": "schedule_free", "optimizer": {"name": "adam", "beta_1": 0.0}}"#,
        r#"{"name": "schedule_free_adamw"}"#,
    ),
    (
        r#"{"name": "schedule_free_sgd", "decoupling_c": 10.0, "momentum": 0.9}"#,
        r#"{"name": "schedule_free_sgd"}"#,
    ),
    // One of a family is another with one number at its end.
    (
        r#"{"name": "gpa_adamw", "mu_x": 0.0}"#,
        r#"{"name": "adam"}"#,
    ),
    (
        r#"{"name": "padam", "partial": 0.5, "epsilon": 1e-300}"#,
        r#"{"name": "adam", "epsilon": 1e-300}"#,
    ),
    (r#"{"name": "qhm", "nu": 0.0}"#, r#"{"name": "sgd"}"#),
    (
        r#"{"name": "pnm", "beta_1": 0.0, "beta_2": 0.0}"#,
        r#"{"name": "sgd"}"#,
    ),
    (
        r#"{"name": "optimistic_gd", "beta": 0.0}"#,
        r#"{"name": "sgd"}"#,
    ),
    (
        r#"{"name": "optimistic_adam", "beta": 0.0, "nesterov": false}"#,
        r#"{"name": "adam"}"#,
    ),
    (
        r#"{"name": "pid", "integral": 0.0, "derivative": 0.0}"#,
        r#"{"name": "sgd"}"#,
    ),
    (
        r#"{"name": "ademamix", "alpha": 0.0}"#,
        r#"{"name": "adam"}"#,
    ),
    (
        r#"{"name": "signsgd"}"#,
        r#"{"name": "signum", "momentum": 0.0}"#,
    ),
    (
        r#"{"name": "adapnm", "amsgrad": false, "beta_1": 0.0, "beta_3": 0.0}"#,
        r#"{"name": "adam", "beta_1": 0.0}"#,
    ),
];

proptest! {
    #[test]
    fn one_is_the_other(
        start in -2.0..2.0_f64,
        grads in prop::collection::vec(prop_oneof![-3.0..-0.1_f64, 0.1..3.0_f64], 1..24),
    ) {
        for (one, other) in EQUAL {
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + b.abs());
            let (one_at, other_at) = (path(one, 0.1, start, &grads), path(other, 0.1, start, &grads));
            // Of one without a view it is the parameter.
            let views = one.contains("schedule_free");
            prop_assert!(close(one_at.0, other_at.0), "{one}: {one_at:?}, {other}: {other_at:?}");
            prop_assert!(!views || close(one_at.1, other_at.1), "{one}: {one_at:?}, {other_at:?}");
        }
    }

    /// Where momentum goes to 1 the average is what is trained.
    #[test]
    fn the_average_meets_what_is_trained(grads in prop::collection::vec(-3.0..3.0_f64, 1..24)) {
        let json = r#"{"name": "schedule_free_sgd", "momentum": 0.999999999}"#;
        let (trained, average) = path(json, 0.1, 1.0, &grads);
        prop_assert!((trained - average).abs() <= 1e-7);
    }

    /// The step of a method that takes the gradient's sign is as long as the rate.
    #[test]
    fn a_sign_moves_by_the_rate(start in -2.0..2.0_f64, size in -20.0..20.0_f64) {
        for name in ["signsgd", "signum", "lion", "tiger"] {
            let json = format!(r#"{{"name": "{name}"}}"#);
            for grad in [10f64.powf(size), -10f64.powf(size)] {
                let (end, _) = path(&json, 0.1, start, &[grad]);
                let decayed = if name == "tiger" { start * (1.0 - 0.1 * 0.01) } else { start };
                prop_assert!((end - (decayed - 0.1 * grad.signum())).abs() < 1e-12, "{name}");
            }
        }
    }

    /// COCOB bets the same whatever the unit of the loss.
    #[test]
    fn cocob_does_not_see_the_unit_of_the_loss(
        grads in prop::collection::vec(prop_oneof![-3.0..-0.1_f64, 0.1..3.0_f64], 1..24),
        unit in 1.0..1e6_f64,
    ) {
        let json = r#"{"name": "cocob"}"#;
        let scaled: Vec<f64> = grads.iter().map(|grad| grad * unit).collect();
        let (one, other) = (path(json, 1.0, 0.5, &grads).0, path(json, 1.0, 0.5, &scaled).0);
        prop_assert!((one - other).abs() <= 1e-6, "{one}, {other}");
    }
}
