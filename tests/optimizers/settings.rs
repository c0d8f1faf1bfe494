//! Bad settings, names and JSON: refused before anything is built, in words that name the optimizer,
//! the field, the value and what it may be.

use crate::common::rows::ROWS;
use burn::tensor::DType;
use downhill::optim::{AdamConfig, ConfigError, OptimizerConfig, Range, SettingKind, SgdConfig};
use serde_json::{Value, json};
use std::path::Path;

/// Numbers on both sides of every range's ends.
const NUMBERS: [f64; 8] = [-1e300, -0.5, -1e-300, 0.0, 1e-300, 0.5, 1.0, 1e300];

#[test]
fn every_numeric_setting_refuses_what_it_must() {
    for row in ROWS.iter() {
        for setting in row.config("{}").settings() {
            let bad: Vec<Value> = match setting.kind {
                SettingKind::Number | SettingKind::OptionalNumber => {
                    // JSON has no number that is none.
                    if setting.range.allowed == Range::FINITE.allowed {
                        continue;
                    }
                    let bad = NUMBERS.iter().filter(|x| !setting.range.contains(**x));
                    bad.map(|x| json!(x)).collect()
                }
                SettingKind::Count if !setting.range.contains(0.0) => vec![json!(0)],
                _ => continue,
            };
            assert!(
                !bad.is_empty(),
                "{}: `{}` refuses nothing",
                row.name,
                setting.name
            );
            for value in bad {
                let mut json = json!({"name": row.name});
                json[setting.name] = value.clone();
                let message = OptimizerConfig::from_json(&json.to_string());
                let message = message.unwrap_err().to_string();
                let expected = format!("{}: `{}` must be", row.name, setting.name);
                assert!(message.starts_with(&expected), "{message}");
                assert!(message.contains(setting.range.allowed), "{message}");
                let got = message.rsplit("got ").next().unwrap().parse::<f64>();
                assert_eq!(got.ok(), value.as_f64(), "{message}");
            }
        }
    }
}

/// Each kind gives another trajectory, and is refused where there is nothing to choose.
#[test]
fn every_kind_of_weight_decay_of_every_optimizer_acts() {
    let kinds = [
        "coupled",
        "decoupled",
        "corrected",
        "independent",
        "proximal",
        "cautious",
    ];
    let device = crate::common::devices().remove(0);
    for row in ROWS.iter() {
        let settings = row.config("{}").settings();
        let has = |name: &str| settings.iter().any(|setting| setting.name == name);
        if !has("weight_decay_kind") {
            let error = OptimizerConfig::from_json(
                &json!({"name": row.name, "weight_decay_kind": "cautious"}).to_string(),
            );
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains("there is no setting `weight_decay_kind`"),
                "{error}"
            );
            continue;
        }
        let moved = kinds.map(|kind| {
            let mut json = json!({"weight_decay": 0.1, "weight_decay_kind": kind});
            if kind == "corrected" {
                json["peak_learning_rate"] = json!(1.0);
            }
            // Without momentum, gradient descent has one kind of decay only.
            if has("momentum") {
                json["momentum"] = json!(0.5);
            }
            let optim = row.config(&json.to_string()).try_build().unwrap();
            let start = [0.5, -1.0, 2.0, -0.25];
            let shape: &[usize] = if row.is_of_matrices() { &[2, 2] } else { &[4] };
            let mut subject =
                crate::common::Subject::new(optim, &device.device, DType::F32, shape, &start);
            for t in 0..5 {
                subject.step(0.05, &[0.1, -0.2, -0.3, 0.4].map(|g| g * f64::from(t - 1)));
            }
            subject.param()
        });
        for (i, a) in moved.iter().enumerate() {
            for (j, b) in moved.iter().enumerate().skip(i + 1) {
                assert_ne!(a, b, "{}: {} and {}", row.name, kinds[i], kinds[j]);
            }
        }
        for (json, part) in [
            (
                json!({"weight_decay_kind": "corrected"}),
                "needs a `peak_learning_rate`",
            ),
            (
                json!({"peak_learning_rate": 0.1}),
                "is for a corrected weight decay",
            ),
        ] {
            let json = {
                let mut named = json.clone();
                named["name"] = json!(row.name);
                named
            };
            let error = OptimizerConfig::from_json(&json.to_string()).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

#[test]
fn a_bare_optimizer_does_not_drop_clipping_in_silence() {
    let config = OptimizerConfig::from_json(r#"{"name": "adam", "grad_clipping": {"Norm": 1.0}}"#);
    let config = config.unwrap();
    let error = config.try_build().expect_err("refused");
    assert!(error.to_string().contains("`grad_clipping`"), "{error}");
    assert!(config.try_init().is_ok());
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
            "needs a `momentum`",
        ),
        (
            json!({"name": "sgd", "dampening": 0.5}),
            "needs a `momentum`",
        ),
        (
            json!({"name": "sgd", "velocity": true}),
            "needs a `momentum`",
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
            "a `clip_threshold` of at least 1",
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
            json!({"name": "NAdamm"}),
            "there is no optimizer `NAdamm`; did you mean `nadam`?",
        ),
        (json!({"name": "zzz"}), "there is no optimizer `zzz`"),
        (
            json!({"name": "adam", "bet_1": 0.9}),
            "adam: there is no setting `bet_1`; did you mean `beta_1`?",
        ),
        (
            json!({"name": "sgd", "weight_decey": 0.1}),
            "sgd: there is no setting `weight_decey`; did you mean `weight_decay`?",
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

/// Made anew with `DOWNHILL_WRITE_GOLDEN=1`.
#[test]
fn this_page_has_every_optimizer_in_its_table() {
    let mut table = String::from(
        "| name | config | state per parameter | learning rate | what it is | source |\n\
         |---|---|---|---|---|---|\n",
    );
    for info in OptimizerConfig::all() {
        // arXiv's number is its address.
        let mut paper = info.paper.to_string();
        if let Some((authors, number)) = info.paper.split_once("arXiv ") {
            paper = format!("{authors}[arXiv {number}](https://arxiv.org/abs/{number})");
        }
        table += &format!(
            "| `{}` | `{}` | {} | {:e} | {} | {paper} |\n",
            info.name, info.config, info.state, info.default_learning_rate, info.description
        );
    }
    crate::generated("docs/book/src/optimizers.md", "optimizers", &table);
}

/// A block of a language in a page.
fn block<'a>(page: &'a str, language: &str) -> &'a str {
    let start = format!("```{language}\n");
    let (_, rest) = page.split_once(&start).expect("the page has such a block");
    rest.split_once("\n```\n").expect("the block has an end").0
}

/// The guide shows the whole of an optimizer: its files as they are, and one line.
#[test]
fn the_guide_shows_all_that_an_optimizer_is_made_of() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let guide = read("docs/adding-an-optimizer.md");
    let rule = "crates/downhill-optim/src/optimizers/adamax.rs";
    let reference = "tools/golden/optimizers/adamax.py";
    assert_eq!(block(&guide, "rust"), read(rule).trim_end());
    assert_eq!(block(&guide, "python"), read(reference).trim_end());
    let list = read("crates/downhill-optim/src/optimizers/mod.rs");
    assert_eq!(list.matches("AdaMax").count(), 1);
}

#[test]
fn what_treats_every_element_alone_can_be_cautious_and_nothing_else() {
    let device = crate::common::devices().remove(0);
    let mut cautious = 0;
    for row in ROWS.iter() {
        let json = json!({"name": row.name, "cautious": true}).to_string();
        let takes = row
            .config("{}")
            .settings()
            .iter()
            .any(|setting| setting.name == "cautious");
        let config = match OptimizerConfig::from_json(&json) {
            Ok(config) => config,
            Err(error) => {
                let error = error.to_string();
                assert!(!takes && error.contains("no setting `cautious`"), "{error}");
                continue;
            }
        };
        assert!(takes, "{}", row.name);
        cautious += 1;
        let moved = |config: &OptimizerConfig| {
            let optim = config.try_build().unwrap();
            let start = [0.5, -1.0, 2.0, -0.25];
            let shape: &[usize] = if row.is_of_matrices() { &[2, 2] } else { &[4] };
            let mut subject =
                crate::common::Subject::new(optim, &device.device, DType::F32, shape, &start);
            for t in 0..8 {
                subject.step(0.05, &[0.1, -0.2, -0.3, 0.4].map(|g| g * f64::from(t - 3)));
            }
            subject.param()
        };
        // Whatever remembers gradients goes another way when they turn.
        if ["adam", "lion", "nadam", "radam", "adabelief"].contains(&row.name) {
            assert_ne!(moved(&config), moved(&row.config("{}")), "{}", row.name);
        }
    }
    assert!(cautious > 40, "{cautious}");
}
