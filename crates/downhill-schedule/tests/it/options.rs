//! Every setting of every schedule does something, is read from JSON under its name, and is refused
//! outside its range.

use std::collections::BTreeSet;

use downhill_schedule::{ScheduleConfig, ScheduleError, percent};
use serde_json::{Value, json};

/// A setting, a schedule in which it is set, another value of it, and one that is refused.
struct Row {
    field: &'static str,
    config: Value,
    other: Value,
    refused: Option<Value>,
}

fn row(field: &'static str, config: Value, other: Value, refused: Value) -> Row {
    let refused = (!refused.is_null()).then_some(refused);
    Row {
        field,
        config,
        other,
        refused,
    }
}

fn rows() -> Vec<Row> {
    const NEGATIVE: f64 = -0.1;
    let linear = json!({"name": "linear", "initial": 0.1, "end": 0.01, "steps": 50});
    let step = json!({"name": "step", "initial": 0.1, "gamma": 0.5, "step_size": 10});
    let multi_step =
        json!({"name": "multi_step", "initial": 0.1, "gamma": 0.5, "milestones": [10, 20]});
    let piecewise = json!({
        "name": "piecewise", "points": [[0, 0.1], [50, 0.5]], "interpolation": "linear"
    });
    let exponential = json!({"name": "exponential", "initial": 0.1, "gamma": 0.5, "steps": 10});
    let polynomial =
        json!({"name": "polynomial", "initial": 0.1, "end": 0.01, "steps": 50, "power": 2.0});
    let cosine =
        json!({"name": "cosine", "peak": 0.1, "floor": 0.01, "steps": 50, "periodic": false});
    let restarts = json!({
        "name": "cosine_restarts", "peak": 0.1, "floor": 0.01, "period": 20, "t_mul": 2.0,
        "m_mul": 0.5
    });
    let one_cycle = json!({
        "name": "one_cycle", "peak": 0.1, "steps": 50, "pct_start": 0.3, "pct_final": 0.7,
        "div_factor": 10.0, "final_div_factor": 10.0, "anneal": "cosine", "three_phase": true,
        "boundaries": "torch"
    });
    let cyclic = json!({
        "name": "cyclic", "floor": 0.01, "peak": 0.1, "step_size_up": 10, "step_size_down": 20,
        "mode": "exp_range", "gamma": 0.9
    });
    let inverse_sqrt = json!({"name": "inverse_sqrt", "peak": 0.1, "timescale": 10});
    let noam = json!({"name": "noam", "factor": 1.0, "model_size": 64, "warmup": 10});
    let wsd = json!({
        "name": "wsd", "peak": 0.1, "floor": 0.01, "steps": 50, "warmup": 5, "decay": 20,
        "decay_shape": "linear"
    });
    let wsd_repeated = json!({
        "name": "wsd_repeated", "peak": 0.1, "floor": 0.01, "period": 30, "warmup": 5,
        "decay": 20, "decay_shape": "linear"
    });
    let rex = json!({"name": "rex", "peak": 0.1, "floor": 0.01, "steps": 50});
    let warmup = json!({
        "name": "warmup", "steps": 10, "from": 0.01, "shape": "linear", "schedule": linear
    });
    let sequence = json!({"name": "sequence", "schedules": [linear, cosine], "milestones": [20]});
    let product = json!({"name": "product", "schedule": linear, "multipliers": [step]});
    let scale = json!({"name": "scale", "schedule": linear, "factor": 0.5});
    let clamp = json!({"name": "clamp", "schedule": linear, "min": 0.02, "max": 0.05});
    let shift = json!({"name": "shift", "schedule": linear, "steps": 5});
    let repeat = json!({"name": "repeat", "schedule": linear, "period": 20});
    let per_epoch = json!({"name": "per_epoch", "schedule": linear, "steps_per_epoch": 4});
    let deck_step = json!({"name": "slides_step", "initial": 0.1, "drop": 0.5, "epochs_drop": 10});
    let deck_exponential = json!({"name": "slides_exponential", "initial": 0.1, "k": 0.1});
    let deck_cosine = json!({"name": "slides_cosine", "initial": 0.1, "total_epochs": 50});
    let deck_warmup = json!({"name": "slides_warmup", "initial": 0.1, "warmup_steps": 50});
    let deck_restarts = json!({
        "name": "slides_restarts", "initial": 0.1, "min": 0.01, "first_decay_steps": 20,
        "t_mul": 2.0, "m_mul": 0.5
    });
    vec![
        row(
            "value",
            json!({"name": "constant", "value": 0.1}),
            json!(30.0),
            json!(NEGATIVE),
        ),
        row("initial", linear.clone(), json!(0.2), json!(NEGATIVE)),
        row("end", linear.clone(), json!(0.2), json!(NEGATIVE)),
        row("steps", linear.clone(), json!(0), json!("101%")),
        row("initial", step.clone(), json!(0.2), json!(NEGATIVE)),
        row("gamma", step.clone(), json!(0.2), json!(NEGATIVE)),
        row("step_size", step.clone(), json!(5), json!(0)),
        row("initial", multi_step.clone(), json!(0.2), json!(NEGATIVE)),
        row("gamma", multi_step.clone(), json!(0.2), json!(NEGATIVE)),
        row(
            "milestones",
            multi_step.clone(),
            json!([10, 10]),
            json!([20, 10]),
        ),
        row(
            "points",
            piecewise.clone(),
            json!([[10, 0.1], [20, 0.2]]),
            json!([[9, 0.1], [9, 0.2]]),
        ),
        row(
            "interpolation",
            piecewise.clone(),
            json!("cosine"),
            json!("cubic"),
        ),
        row("initial", exponential.clone(), json!(0.2), json!(NEGATIVE)),
        row("gamma", exponential.clone(), json!(1.5), json!(NEGATIVE)),
        row("steps", exponential.clone(), json!(5), json!(0)),
        row("initial", polynomial.clone(), json!(0.2), json!(NEGATIVE)),
        row("end", polynomial.clone(), json!(0.2), json!(NEGATIVE)),
        row("steps", polynomial.clone(), json!(20), json!(-1)),
        row("power", polynomial.clone(), json!(1.0), json!(0.0)),
        row("peak", cosine.clone(), json!(0.2), json!(NEGATIVE)),
        row("floor", cosine.clone(), json!(0.02), json!(0.11)),
        row("steps", cosine.clone(), json!(20), json!(1.5)),
        row("periodic", cosine.clone(), json!(true), json!("yes")),
        row("peak", restarts.clone(), json!(0.2), json!(NEGATIVE)),
        row("floor", restarts.clone(), json!(0.02), json!(0.11)),
        row("period", restarts.clone(), json!(10), json!(0)),
        row("t_mul", restarts.clone(), json!(1.0), json!(0.99)),
        row("m_mul", restarts.clone(), json!(1.0), json!(1.01)),
        row("peak", one_cycle.clone(), json!(0.2), json!(NEGATIVE)),
        row("steps", one_cycle.clone(), json!(20), json!(0)),
        row("pct_start", one_cycle.clone(), json!(0.5), json!(0.71)),
        row("pct_final", one_cycle.clone(), json!(0.9), json!(0.2)),
        row("div_factor", one_cycle.clone(), json!(2.0), json!(0.5)),
        row(
            "final_div_factor",
            one_cycle.clone(),
            json!(2.0),
            json!(0.5),
        ),
        row("anneal", one_cycle.clone(), json!("linear"), json!("steep")),
        row("three_phase", one_cycle.clone(), json!(true), json!(false)),
        row(
            "boundaries",
            one_cycle.clone(),
            json!("optax"),
            json!("keras"),
        ),
        row("floor", cyclic.clone(), json!(0.02), json!(0.11)),
        row("peak", cyclic.clone(), json!(0.2), json!(NEGATIVE)),
        row("step_size_up", cyclic.clone(), json!(5), json!(0)),
        row("step_size_down", cyclic.clone(), json!(null), json!(0)),
        row(
            "mode",
            cyclic.clone(),
            json!("exp_range"),
            json!("triangular"),
        ),
        row("gamma", cyclic.clone(), json!(0.5), json!(1.01)),
        row("peak", inverse_sqrt.clone(), json!(0.2), json!(NEGATIVE)),
        row("timescale", inverse_sqrt.clone(), json!(20), json!(0)),
        row("factor", noam.clone(), json!(2.0), json!(NEGATIVE)),
        row("model_size", noam.clone(), json!(512), json!(0)),
        row("warmup", noam.clone(), json!(20), json!(0)),
        row("peak", wsd.clone(), json!(0.2), json!(NEGATIVE)),
        row("floor", wsd.clone(), json!(0.02), json!(0.11)),
        row("steps", wsd.clone(), json!(60), json!(24)),
        row("warmup", wsd.clone(), json!(10), json!(31)),
        row("decay", wsd.clone(), json!(10), json!(46)),
        row("decay_shape", wsd.clone(), json!("1-sqrt"), json!("sqrt")),
        row("peak", wsd_repeated.clone(), json!(0.2), json!(NEGATIVE)),
        row("floor", wsd_repeated.clone(), json!(0.02), json!(0.11)),
        row("period", wsd_repeated.clone(), json!(60), json!(0)),
        row("warmup", wsd_repeated.clone(), json!(10), json!("-1%")),
        row("decay", wsd_repeated.clone(), json!(10), json!(31)),
        row(
            "decay_shape",
            wsd_repeated.clone(),
            json!("exponential"),
            json!("sqrt"),
        ),
        row("peak", rex.clone(), json!(0.2), json!(NEGATIVE)),
        row("floor", rex.clone(), json!(0.02), json!(0.11)),
        row("steps", rex.clone(), json!(20), json!("half")),
        row(
            "schedule",
            warmup.clone(),
            cosine.clone(),
            json!({"name": "linaer"}),
        ),
        row("steps", warmup.clone(), json!(20), json!("200%")),
        row("from", warmup.clone(), json!(0.02), json!(NEGATIVE)),
        row(
            "shape",
            warmup.clone(),
            json!("exponential"),
            json!("quadratic"),
        ),
        row(
            "schedules",
            sequence.clone(),
            json!([linear, rex]),
            json!([linear]),
        ),
        row("milestones", sequence.clone(), json!([30]), json!([])),
        row("schedule", product.clone(), cosine.clone(), json!(null)),
        row(
            "multipliers",
            product.clone(),
            json!([step, step]),
            json!([]),
        ),
        row("schedule", scale.clone(), cosine.clone(), json!(null)),
        row("factor", scale.clone(), json!(2.0), json!(NEGATIVE)),
        row("schedule", clamp.clone(), cosine.clone(), json!(null)),
        row("min", clamp.clone(), json!(null), json!(0.06)),
        row("max", clamp.clone(), json!(null), json!(0.01)),
        row("schedule", shift.clone(), cosine.clone(), json!(null)),
        row("steps", shift.clone(), json!(-5), json!("5%")),
        row("schedule", repeat.clone(), cosine.clone(), json!(null)),
        row("period", repeat.clone(), json!(10), json!(0)),
        row("schedule", per_epoch.clone(), cosine.clone(), json!(null)),
        row("steps_per_epoch", per_epoch.clone(), json!(2), json!(0)),
        row("initial", deck_step.clone(), json!(0.2), json!(NEGATIVE)),
        row("drop", deck_step.clone(), json!(0.2), json!(NEGATIVE)),
        row("epochs_drop", deck_step.clone(), json!(5), json!(0)),
        row(
            "initial",
            deck_exponential.clone(),
            json!(0.2),
            json!(NEGATIVE),
        ),
        row("k", deck_exponential.clone(), json!(0.2), json!(NEGATIVE)),
        row("initial", deck_cosine.clone(), json!(0.2), json!(NEGATIVE)),
        row("total_epochs", deck_cosine.clone(), json!(40), json!(0)),
        row("initial", deck_warmup.clone(), json!(0.2), json!(NEGATIVE)),
        row("warmup_steps", deck_warmup.clone(), json!(40), json!("x%")),
        row("initial", deck_restarts.clone(), json!(0.2), json!(0.0)),
        row("min", deck_restarts.clone(), json!(0.02), json!(0.11)),
        row(
            "first_decay_steps",
            deck_restarts.clone(),
            json!(10),
            json!(-1),
        ),
        row("t_mul", deck_restarts.clone(), json!(3.0), json!(1.0)),
        row("m_mul", deck_restarts.clone(), json!(1.0), json!(1.01)),
    ]
}

fn values(config: &Value) -> Vec<f64> {
    let config = ScheduleConfig::from_json(&config.to_string()).unwrap();
    let schedule = config
        .try_build()
        .unwrap_or_else(|error| panic!("{config}: {error}"));
    (0..200).map(|step| schedule.value(step)).collect()
}

fn with(config: &Value, field: &str, value: &Value) -> Value {
    let mut config = config.clone();
    config[field] = value.clone();
    config
}

/// Two settings are at the other value already, because of what they need beside them.
fn default_of(row: &Row) -> Value {
    match row.field {
        "three_phase" => json!({"name": "one_cycle", "peak": 0.1, "steps": 50}),
        "mode" => json!({
            "name": "cyclic", "floor": 0.01, "peak": 0.1, "step_size_up": 10, "step_size_down": 20,
            "mode": "triangular2"
        }),
        _ => row.config.clone(),
    }
}

#[test]
fn each_setting_changes_the_values() {
    for row in rows() {
        let base = default_of(&row);
        let other = with(&base, row.field, &row.other);
        assert!(
            values(&base) != values(&other),
            "{}: {} changes nothing",
            base["name"],
            row.field
        );
    }
}

#[test]
fn each_setting_is_refused_outside_its_range() {
    for row in rows() {
        let Some(refused) = &row.refused else {
            continue;
        };
        let json = with(&row.config, row.field, refused).to_string();
        let result = ScheduleConfig::from_json(&json).and_then(|config| config.try_build());
        let Err(error) = result else {
            panic!("{json} is accepted")
        };
        let message = error.to_string();
        let name = row.config["name"].as_str().unwrap();
        assert!(message.starts_with(name), "{message}");
        // Settings that must fit together are reported under one of their names, and values of the
        // wrong type by themselves.
        let named = match row.field {
            "max" => "min",
            "pct_start" | "three_phase" => "pct_final",
            "mode" => "gamma",
            field => field,
        };
        let value = refused.as_str().map_or(refused.to_string(), str::to_owned);
        assert!(
            message.contains(named) || message.contains(&value),
            "{}: {message}",
            row.field
        );
    }
}

#[test]
fn every_setting_has_a_row() {
    let rows = rows();
    let tested: BTreeSet<(&str, &str)> = rows
        .iter()
        .map(|row| (row.config["name"].as_str().unwrap(), row.field))
        .collect();
    for info in ScheduleConfig::all()
        .iter()
        .filter(|info| info.name != "custom")
    {
        let config = ScheduleConfig::by_name(info.name).unwrap();
        let json: Value = serde_json::from_str(&config.to_string()).unwrap();
        for field in json
            .as_object()
            .unwrap()
            .keys()
            .filter(|field| *field != "name")
        {
            assert!(
                tested.contains(&(info.name, field)),
                "{}: {field} has no row",
                info.name
            );
        }
    }
}

/// What the defaults mean: each schedule that can be built by its name alone, over 1000 steps at a
/// base rate of 0.5.
#[test]
fn schedules_by_name() {
    let built = |name: &str| {
        ScheduleConfig::by_name(name).and_then(|config| config.try_build_for(0.5, 1000))
    };
    let expected: &[(&str, [(u64, f64); 4])] = &[
        ("constant", [(0, 0.5), (500, 0.5), (1000, 0.5), (9999, 0.5)]),
        ("linear", [(0, 0.5), (500, 0.25), (1000, 0.0), (9999, 0.0)]),
        ("step", [(0, 0.5), (299, 0.5), (300, 0.05), (600, 0.005)]),
        (
            "multi_step",
            [(0, 0.5), (499, 0.5), (500, 0.05), (750, 0.005)],
        ),
        (
            "exponential",
            [(0, 0.5), (500, 0.05), (1000, 0.005), (2000, 0.00005)],
        ),
        (
            "polynomial",
            [(0, 0.5), (500, 0.25), (1000, 0.0), (9999, 0.0)],
        ),
        ("cosine", [(0, 0.5), (500, 0.25), (1000, 0.0), (9999, 0.0)]),
        (
            "cosine_restarts",
            [(0, 0.5), (125, 0.25), (250, 0.5), (1000, 0.5)],
        ),
        (
            "one_cycle",
            [(0, 0.02), (299, 0.5), (999, 2e-6), (9999, 2e-6)],
        ),
        ("cyclic", [(0, 0.05), (100, 0.5), (150, 0.275), (200, 0.05)]),
        (
            "inverse_sqrt",
            [(0, 0.5), (300, 0.25), (9900, 0.05), (999_900, 0.005)],
        ),
        (
            "noam",
            [
                (0, 1.0 / (512f64.sqrt() * 4000f64.powf(1.5))),
                (3999, 1.0 / (512f64 * 4000.0).sqrt()),
                (15_999, 0.5 / (512f64 * 4000.0).sqrt()),
                (1999, 0.5 / (512f64 * 4000.0).sqrt()),
            ],
        ),
        ("wsd", [(25, 0.25), (50, 0.5), (800, 0.5), (850, 0.25)]),
        (
            "wsd_repeated",
            [(25, 0.25), (50, 0.5), (240, 0.5), (288, 0.5)],
        ),
        (
            "rex",
            [(0, 0.5), (500, 1.0 / 3.0), (1000, 0.0), (9999, 0.0)],
        ),
        ("warmup", [(0, 0.0), (25, 0.25), (50, 0.5), (9999, 0.5)]),
        ("slides_step", [(0, 0.5), (8, 0.5), (9, 0.25), (19, 0.125)]),
        (
            "slides_exponential",
            [
                (0, 0.5),
                (10, 0.5 * (-1f64).exp()),
                (20, 0.5 * (-2f64).exp()),
                (1, 0.5 * (-0.1f64).exp()),
            ],
        ),
        (
            "slides_cosine",
            [(0, 0.5), (500, 0.25), (1000, 0.0), (2000, 0.5)],
        ),
        (
            "slides_warmup",
            [(0, 0.0), (250, 0.125), (1000, 0.5), (9999, 0.5)],
        ),
        (
            "slides_restarts",
            [(0, 0.5), (2500, 1e-6), (5000, 0.25), (15_000, 0.125)],
        ),
    ];
    for (name, values) in expected {
        let schedule = built(name).unwrap();
        for (step, value) in values {
            let difference = (schedule.value(*step) - value).abs();
            assert!(
                difference < 1e-9,
                "{name} at {step}: {} and not {value}",
                schedule.value(*step)
            );
        }
    }
    for info in ScheduleConfig::all() {
        let listed = expected.iter().any(|(name, _)| *name == info.name);
        assert_eq!(built(info.name).is_ok(), listed, "{}", info.name);
    }
}

#[test]
fn names_of_other_libraries() {
    for (alias, name) in [
        ("StepLR", "step"),
        ("MultiStepLR", "multi_step"),
        ("LinearLR", "linear"),
        ("ExponentialLR", "exponential"),
        ("PolynomialLR", "polynomial"),
        ("CosineAnnealingLR", "cosine"),
        ("CosineAnnealingWarmRestarts", "cosine_restarts"),
        ("OneCycleLR", "one_cycle"),
        ("CyclicLR", "cyclic"),
        ("SequentialLR", "sequence"),
        ("ChainedScheduler", "product"),
        ("LambdaLR", "custom"),
        ("cosine_with_restarts", "cosine_restarts"),
        ("cosine_with_min_lr", "cosine"),
        ("inverse_sqrt", "inverse_sqrt"),
        ("warmup_stable_decay", "wsd"),
        ("constant_with_warmup", "warmup"),
        ("polynomial", "polynomial"),
        ("constant_schedule", "constant"),
        ("linear_schedule", "linear"),
        ("polynomial_schedule", "polynomial"),
        ("exponential_decay", "exponential"),
        ("cosine_decay_schedule", "cosine"),
        ("cosine_onecycle_schedule", "one_cycle"),
        ("piecewise_interpolate", "piecewise"),
        ("sgdr_schedule", "cosine_restarts"),
        ("join_schedules", "sequence"),
        ("get_constant_schedule_with_warmup", "warmup"),
        ("get_inverse_sqrt_schedule", "inverse_sqrt"),
        ("get_wsd_schedule", "wsd"),
        ("cosine_annealing_lr", "cosine"),
        ("Cosine-Annealing-LR", "cosine"),
    ] {
        assert_eq!(
            ScheduleConfig::by_name(alias).unwrap().name(),
            name,
            "{alias}"
        );
    }
}

/// A warmup and a schedule after it have one name, in this library and in others.
#[test]
fn a_warmup_belongs_to_some_names() {
    for (name, after) in [
        ("warmup_cosine", "cosine"),
        ("get_cosine_schedule_with_warmup", "cosine"),
        ("warmup_linear", "linear"),
        ("get_linear_schedule_with_warmup", "linear"),
    ] {
        let after = ScheduleConfig::by_name(after).unwrap();
        assert_eq!(
            ScheduleConfig::by_name(name).unwrap(),
            after.clone().warmup(percent(5.0))
        );
        for length in ["warmup", "warmup_steps", "num_warmup_steps"] {
            let json = format!(r#"{{"name": "{name}", "{length}": 30}}"#);
            assert_eq!(
                ScheduleConfig::from_json(&json).unwrap(),
                after.clone().warmup(30)
            );
        }
    }
    assert_eq!(
        message(r#"{"name": "warmup_cosine", "warmup": 3, "num_warmup_steps": 3}"#),
        "the length of a warmup is one of `warmup`, `warmup_steps`, `num_warmup_steps`"
    );
    assert_eq!(
        message(r#"{"name": "warmup_cosine", "flor": 3}"#),
        "warmup: cosine: there is no setting `flor`; did you mean `floor`?"
    );
    let near = ScheduleConfig::by_name("warmup_cosin").unwrap_err();
    assert!(
        near.to_string().ends_with("did you mean `warmup_cosine`?"),
        "{near}"
    );
}

/// No name, in any spelling, means two schedules.
#[test]
fn names_are_unique() {
    let plain = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    let mut seen = BTreeSet::new();
    for info in ScheduleConfig::all() {
        let own: BTreeSet<String> = info
            .aliases
            .iter()
            .copied()
            .chain([info.name])
            .map(plain)
            .collect();
        for name in own {
            assert!(seen.insert(name.clone()), "{name}");
        }
        assert!(!info.description.is_empty());
    }
}

fn message(json: &str) -> String {
    let result = ScheduleConfig::from_json(json).and_then(|config| config.try_build());
    result.expect_err(json).to_string()
}

#[test]
fn mistakes_are_explained() {
    for (json, expected) in [
        (
            r#"{"name": "cosin"}"#,
            "there is no schedule `cosin`; did you mean `cosine`?",
        ),
        (
            r#"{"name": "cosine", "flor": 1}"#,
            "cosine: there is no setting `flor`; did you mean `floor`?",
        ),
        (
            r#"{"name": "cosine"}"#,
            "cosine: `peak` is 100% of the base rate, which is not known here; \
             give a number, or tell `try_build_for` the whole",
        ),
        (
            r#"{"name": "cosine", "peak": 0.1}"#,
            "cosine: `steps` is 100% of the whole, which is not known here; \
             give a number, or tell `try_build_for` the whole",
        ),
        (
            r#"{"name": "cosine", "peak": -0.1}"#,
            "cosine: `peak` must be finite and at least 0, got -0.1",
        ),
        (
            r#"{"name": "warmup", "steps": 5, "schedule": {"name": "cosine", "peak": 1, "steps": 9,
                "floor": 2}}"#,
            "warmup > cosine: `floor` must be at most the peak of 1, got 2",
        ),
        (
            r#"{"name": "product", "schedule": {"name": "constant", "value": 1},
                "multipliers": [{"name": "step", "step_size": 0}]}"#,
            "product > multipliers[0] > step: `step_size` must be at least 1 step, got 0",
        ),
        (
            r#"{"name": "sequence", "milestones": [9], "schedules": [
                {"name": "constant", "value": 1}, {"name": "rex", "peak": 1, "steps": "1.5"}]}"#,
            "sequence: rex: \"1.5\" is not a whole number of steps, or a string like \"10%\"",
        ),
        (
            r#"{"name": "sequence", "milestones": [9], "schedules": [{"name": "constant"}]}"#,
            "sequence: 1 schedules have 0 milestones between them, not 1",
        ),
        (
            r#"{"name": "repeat"}"#,
            "repeat: `period` is 100% of the whole, which is not known here; \
             give a number, or tell `try_build_for` the whole",
        ),
        (
            r#"{"name": "scale"}"#,
            "scale: it needs a `schedule` to work on",
        ),
        (
            r#"{"name": "custom", "function": "f"}"#,
            "custom: a function cannot be read from JSON; make it with `ScheduleConfig::custom`",
        ),
        (
            r#"{"name": "ReduceLROnPlateau"}"#,
            "`ReduceLROnPlateau` follows a metric and not the step alone; see `ReduceOnPlateau`",
        ),
        (
            r#"{"peak": 1}"#,
            "a schedule needs a `name`, for example {\"name\": \"cosine\"}",
        ),
        (r#"{"name": 1}"#, "`name` must be a string"),
        ("[]", "a schedule is an object with a `name`"),
        ("{\n \"name\": }", "expected value at line 2 column 10"),
        (
            r#"{"name": "warmup", "steps": 5, "shape": "exponential",
                "schedule": {"name": "constant", "value": 1}}"#,
            "warmup: `from` must be above 0 for an exponential warmup, as is the value that it \
             rises to, got 0",
        ),
        (
            r#"{"name": "one_cycle", "peak": 1, "steps": 10, "three_phase": true, "pct_start": 0.6}"#,
            "one_cycle: with three phases and a `pct_start` of 0.6 it needs a `pct_final` up to 1",
        ),
        (
            r#"{"name": "wsd", "peak": 1, "steps": 10, "decay": 11}"#,
            "wsd: `warmup` (1) and `decay` (11) must fit into `steps` (10)",
        ),
    ] {
        assert_eq!(message(json), expected, "{json}");
    }
    let nan = ScheduleConfig::constant(f64::NAN).try_build();
    assert!(matches!(nan, Err(ScheduleError::OutOfRange { .. })));
    let infinite = ScheduleConfig::by_name("cosine")
        .unwrap()
        .try_build_for(f64::INFINITY, 10);
    assert!(matches!(infinite, Err(ScheduleError::OutOfRange { .. })));
    // There is no upper limit.
    assert_eq!(
        ScheduleConfig::constant(30.0).try_build().unwrap().value(0),
        30.0
    );
}
