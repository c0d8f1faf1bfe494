//! Bad settings, names and JSON: refused before anything is built, in words that name the optimizer,
//! the field, the value and what it may be.

mod common;

use common::rows::ROWS;
use downhill::optim::{AdamConfig, ConfigError, OptimizerConfig, SgdConfig};
use serde_json::{Value, json};

/// What a number may be, by its name; every numeric setting of every optimizer is here.
fn bad_values(field: &str) -> Option<&'static [f64]> {
    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;
    Some(match field {
        "beta_1" | "beta_2" | "alpha" | "momentum" | "dampening" => &[1.0, 1.5, -0.1, NAN, INF],
        "epsilon" | "epsilon_1" | "epsilon_2" | "clip_threshold" => &[0.0, -1e-8, NAN, INF],
        "weight_decay" | "lr_decay" | "initial_accumulator_value" | "momentum_decay" => {
            &[-0.1, NAN, INF]
        }
        "decay_rate" => &[0.0, 0.8, NAN, -INF],
        "min_dim_size_to_factor" => &[0.0],
        _ => return None,
    })
}

#[test]
fn every_numeric_setting_refuses_what_it_must() {
    for row in ROWS {
        let defaults = serde_json::to_value(row.config("{}")).unwrap();
        for (field, default) in defaults.as_object().unwrap() {
            let numeric = default.is_number() || bad_values(field).is_some();
            if !numeric {
                continue;
            }
            let bad = bad_values(field)
                .unwrap_or_else(|| panic!("{}: `{field}` has no bad values here", row.name));
            for value in bad.iter().filter(|value| value.is_finite()) {
                let mut json = json!({"name": row.name});
                json[field] = match field.as_str() {
                    "min_dim_size_to_factor" => json!(*value as u64),
                    _ => json!(value),
                };
                let error = OptimizerConfig::from_json(&json.to_string()).unwrap_err();
                let message = error.to_string();
                assert!(
                    message.starts_with(row.name)
                        && message.contains(&format!("`{field}` must be"))
                        && message.ends_with(&format!("got {value}")),
                    "{message}"
                );
            }
        }
    }
}

/// JSON has no NaN and no infinity; code has.
#[test]
fn settings_that_are_not_finite_are_refused() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for config in [
            AdamConfig::new().with_beta_1(value),
            AdamConfig::new().with_beta_2(value),
            AdamConfig::new().with_epsilon(value),
            AdamConfig::new().with_weight_decay(value),
        ] {
            let error = config.try_init().err().expect("refused");
            assert!(matches!(error, ConfigError::OutOfRange { .. }), "{error}");
            assert!(
                error.to_string().ends_with(&format!("got {value}")),
                "{error}"
            );
        }
    }
}

#[test]
fn init_panics_in_words() {
    let panic = std::panic::catch_unwind(|| {
        AdamConfig::new().with_beta_1(1.0).init();
    });
    let message = *panic.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(
        message,
        "adam: `beta_1` must be at least 0 and below 1, got 1"
    );
}

#[test]
fn a_clipping_threshold_is_checked() {
    for bad in [json!({"Norm": 0.0}), json!({"Value": -1.0})] {
        let json = json!({"name": "adam", "grad_clipping": bad});
        let error = OptimizerConfig::from_json(&json.to_string()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`grad_clipping` must be finite and above 0"),
            "{error}"
        );
    }
}

#[test]
fn settings_that_exclude_each_other_are_refused() {
    for (json, part) in [
        (
            json!({"name": "sgd", "nesterov": true}),
            "need a `momentum`",
        ),
        (
            json!({"name": "sgd", "dampening": 0.5}),
            "need a `momentum`",
        ),
        (
            json!({"name": "sgd", "velocity": true}),
            "need a `momentum`",
        ),
        (
            json!({"name": "sgd", "momentum": 0.9, "nesterov": true, "dampening": 0.1}),
            "`nesterov` needs a `dampening` of 0",
        ),
        (
            json!({"name": "sgd", "momentum": 0.9, "velocity": true, "dampening": 0.5}),
            "no `dampening`",
        ),
        (
            json!({"name": "adafactor", "warmup_init": true}),
            "`warmup_init` needs",
        ),
        (
            json!({"name": "adafactor", "clip_threshold": 0.5}),
            "`clip_threshold` must be",
        ),
    ] {
        let error = OptimizerConfig::from_json(&json.to_string()).unwrap_err();
        assert!(error.to_string().contains(part), "{json}: {error}");
    }
    assert!(SgdConfig::burn().with_nesterov(false).try_init().is_ok());
}

#[test]
fn unknown_names_and_fields_suggest_the_nearest() {
    for (json, message) in [
        (
            json!({"name": "adamm"}),
            "there is no optimizer `adamm`; did you mean `adam`?",
        ),
        (
            json!({"name": "NAdam"}),
            "there is no optimizer `NAdam`; did you mean `nadam`?",
        ),
        (json!({"name": "zzz"}), "there is no optimizer `zzz`"),
        (
            json!({"name": "adam", "beta1": 0.9}),
            "adam: there is no setting `beta1`; did you mean `beta_1`?",
        ),
        (
            json!({"name": "sgd", "weightdecay": 0.1}),
            "sgd: there is no setting `weightdecay`; did you mean `weight_decay`?",
        ),
        (
            json!({"name": "adam", "beta_1": "high"}),
            "adam: invalid type: string \"high\", expected f64",
        ),
        (
            json!({"beta_1": 0.9}),
            "an optimizer needs a `name`, for example {\"name\": \"adam\"}",
        ),
        (json!({"name": 3}), "`name` must be a string"),
        (json!([]), "an optimizer is an object with a `name`"),
    ] {
        let error = OptimizerConfig::from_json(&json.to_string()).unwrap_err();
        assert_eq!(error.to_string(), message);
        let error = serde_json::from_value::<OptimizerConfig>(json).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let error = OptimizerConfig::from_json("{").unwrap_err();
    assert!(error.to_string().contains("line 1 column 1"), "{error}");
}

/// The published table of defaults: PyTorch 2.15's, field by field, and burn-optim's presets.
#[test]
fn the_defaults_are_the_documented_ones() {
    let common = json!({"weight_decay": 0.0, "maximize": false, "grad_clipping": null});
    let with = |fields: Value| {
        let mut all = common.clone();
        for (key, value) in fields.as_object().unwrap() {
            all[key] = value.clone();
        }
        all
    };
    for expected in [
        with(
            json!({"name": "sgd", "momentum": 0.0, "dampening": 0.0, "nesterov": false,
            "decoupled_weight_decay": false, "velocity": false}),
        ),
        with(
            json!({"name": "adagrad", "lr_decay": 0.0, "initial_accumulator_value": 0.0,
            "epsilon": 1e-10, "epsilon_inside_root": false}),
        ),
        with(json!({"name": "rmsprop", "alpha": 0.99, "epsilon": 1e-8,
            "epsilon_inside_root": false, "centered": false, "momentum": 0.0})),
        with(
            json!({"name": "adam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8,
            "amsgrad": false}),
        ),
        with(
            json!({"name": "adamw", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8,
            "amsgrad": false, "weight_decay": 1e-2}),
        ),
        with(
            json!({"name": "nadam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8,
            "momentum_decay": 4e-3, "variant": "torch", "decoupled_weight_decay": false}),
        ),
        with(
            json!({"name": "adafactor", "variant": "torch", "epsilon_1": null, "epsilon_2": 1e-3,
            "clip_threshold": 1.0, "decay_rate": -0.8, "relative_step": true,
            "scale_parameter": true, "warmup_init": false, "beta_1": null,
            "min_dim_size_to_factor": 1}),
        ),
    ] {
        let config = OptimizerConfig::by_name(expected["name"].as_str().unwrap()).unwrap();
        assert_eq!(serde_json::to_value(&config).unwrap(), expected);
    }
    for (name, lr) in [
        ("sgd", 1e-2),
        ("adagrad", 1e-2),
        ("rmsprop", 1e-2),
        ("adam", 1e-3),
        ("adamw", 1e-3),
        ("nadam", 2e-3),
        ("adafactor", 1e-2),
    ] {
        let config = OptimizerConfig::by_name(name).unwrap();
        assert_eq!(config.default_learning_rate(), lr, "{name}");
    }
}
