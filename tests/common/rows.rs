//! The table that every shared test runs on: one row per optimizer, with the configurations that
//! between them use all of its code.

use downhill::optim::{OptimizerConfig, RuleOptimizer};

pub struct Row {
    /// The optimizer's name.
    pub name: &'static str,
    /// Configurations as JSON, without the name.
    pub configs: &'static [&'static str],
    /// A learning rate at which it does something sensible.
    pub lr: f64,
    /// For each option, a value other than its default, and other settings that it needs to act.
    pub options: &'static [(&'static str, &'static str, &'static str)],
    /// How the first direction answers to a gradient `c` times as large: it grows as `c^scaling`.
    pub scaling: f64,
    /// Settings under which the guard against division by zero is out of the way of that.
    pub scaling_config: &'static str,
}

pub const ROWS: &[Row] = &[
    Row {
        name: "sgd",
        configs: &[
            "{}",
            r#"{"momentum": 0.9}"#,
            r#"{"momentum": 0.9, "nesterov": true, "weight_decay": 0.1}"#,
            r#"{"momentum": 0.9, "velocity": true, "weight_decay": 0.1, "decoupled_weight_decay": true}"#,
        ],
        lr: 0.1,
        options: &[
            ("momentum", "0.5", "{}"),
            ("dampening", "0.5", r#"{"momentum": 0.9}"#),
            ("nesterov", "true", r#"{"momentum": 0.9}"#),
            ("weight_decay", "0.1", "{}"),
            (
                "decoupled_weight_decay",
                "true",
                r#"{"momentum": 0.9, "weight_decay": 0.1}"#,
            ),
            ("maximize", "true", "{}"),
            ("velocity", "true", r#"{"momentum": 0.9}"#),
        ],
        scaling: 1.0,
        scaling_config: "{}",
    },
    Row {
        name: "adagrad",
        configs: &[
            "{}",
            r#"{"initial_accumulator_value": 0.1, "epsilon_inside_root": true, "epsilon": 1e-7}"#,
            r#"{"lr_decay": 0.1, "weight_decay": 0.1}"#,
        ],
        lr: 0.1,
        options: &[
            ("lr_decay", "0.1", "{}"),
            ("initial_accumulator_value", "0.5", "{}"),
            ("epsilon", "0.1", "{}"),
            ("epsilon_inside_root", "true", r#"{"epsilon": 0.1}"#),
            ("weight_decay", "0.1", "{}"),
            ("maximize", "true", "{}"),
        ],
        scaling: 0.0,
        scaling_config: r#"{"epsilon": 1e-30}"#,
    },
    Row {
        name: "rmsprop",
        configs: &[
            "{}",
            r#"{"centered": true}"#,
            r#"{"momentum": 0.9}"#,
            r#"{"centered": true, "momentum": 0.9, "weight_decay": 0.1}"#,
        ],
        lr: 0.01,
        options: &[
            ("alpha", "0.9", "{}"),
            ("epsilon", "0.1", "{}"),
            ("epsilon_inside_root", "true", r#"{"epsilon": 0.1}"#),
            ("centered", "true", "{}"),
            ("momentum", "0.9", "{}"),
            ("weight_decay", "0.1", "{}"),
            ("maximize", "true", "{}"),
        ],
        scaling: 0.0,
        scaling_config: r#"{"epsilon": 1e-30}"#,
    },
    Row {
        name: "adam",
        configs: &["{}", r#"{"amsgrad": true, "weight_decay": 0.1}"#],
        lr: 0.01,
        options: &[
            ("beta_1", "0.5", "{}"),
            ("beta_2", "0.9", "{}"),
            ("epsilon", "0.1", "{}"),
            ("weight_decay", "0.1", "{}"),
            ("amsgrad", "true", r#"{"beta_2": 0.5}"#),
            ("maximize", "true", "{}"),
        ],
        scaling: 0.0,
        scaling_config: r#"{"epsilon": 1e-30}"#,
    },
    Row {
        name: "adamw",
        configs: &["{}", r#"{"amsgrad": true}"#],
        lr: 0.01,
        options: &[
            ("beta_1", "0.5", "{}"),
            ("beta_2", "0.9", "{}"),
            ("epsilon", "0.1", "{}"),
            ("weight_decay", "0.5", "{}"),
            ("amsgrad", "true", r#"{"beta_2": 0.5}"#),
            ("maximize", "true", "{}"),
        ],
        scaling: 0.0,
        scaling_config: r#"{"epsilon": 1e-30, "weight_decay": 0}"#,
    },
    Row {
        name: "nadam",
        configs: &[
            "{}",
            r#"{"variant": "dozat", "weight_decay": 0.1}"#,
            r#"{"variant": "optax", "weight_decay": 0.1, "decoupled_weight_decay": true}"#,
        ],
        lr: 0.01,
        options: &[
            ("beta_1", "0.5", "{}"),
            ("beta_2", "0.9", "{}"),
            ("epsilon", "0.1", "{}"),
            ("momentum_decay", "1.0", "{}"),
            ("variant", r#""dozat""#, "{}"),
            ("variant", r#""optax""#, "{}"),
            ("weight_decay", "0.1", "{}"),
            ("decoupled_weight_decay", "true", r#"{"weight_decay": 0.1}"#),
            ("maximize", "true", "{}"),
        ],
        scaling: 0.0,
        scaling_config: r#"{"epsilon": 1e-30}"#,
    },
    Row {
        name: "adafactor",
        configs: &[
            "{}",
            r#"{"variant": "paper"}"#,
            r#"{"variant": "hf", "relative_step": false, "beta_1": 0.9, "weight_decay": 0.1}"#,
            r#"{"variant": "optax", "relative_step": false, "clip_threshold": null}"#,
        ],
        lr: 0.01,
        options: &[
            ("variant", r#""paper""#, r#"{"epsilon_1": 0.1}"#),
            ("variant", r#""hf""#, r#"{"epsilon_1": 0.1}"#),
            ("variant", r#""optax""#, r#"{"epsilon_1": 0.1}"#),
            ("variant", r#""burn""#, r#"{"epsilon_1": 0.1}"#),
            ("epsilon_1", "0.1", "{}"),
            ("epsilon_2", "10.0", "{}"),
            ("clip_threshold", "null", "{}"),
            ("decay_rate", "-0.5", "{}"),
            ("relative_step", "false", r#"{"variant": "paper"}"#),
            ("scale_parameter", "false", "{}"),
            ("warmup_init", "true", r#"{"variant": "hf"}"#),
            ("beta_1", "0.9", "{}"),
            ("weight_decay", "0.1", "{}"),
            ("maximize", "true", "{}"),
            ("min_dim_size_to_factor", "128", "{}"),
        ],
        scaling: 0.0,
        scaling_config: r#"{"epsilon_1": 1e-30}"#,
    },
    Row {
        name: "slides_momentum",
        configs: &["{}"],
        lr: 0.1,
        options: &[("momentum", "0.5", "{}")],
        scaling: 1.0,
        scaling_config: "{}",
    },
    Row {
        name: "slides_nadam",
        configs: &["{}"],
        lr: 0.01,
        options: &[
            ("beta_1", "0.5", "{}"),
            ("beta_2", "0.9", "{}"),
            ("epsilon", "0.1", "{}"),
        ],
        scaling: 0.0,
        scaling_config: r#"{"epsilon": 1e-30}"#,
    },
    Row {
        name: "slides_adafactor",
        configs: &["{}"],
        lr: 1e-4,
        options: &[
            ("beta_2", "0.9", "{}"),
            ("epsilon_1", "0.1", "{}"),
            ("epsilon_2", "0.1", "{}"),
        ],
        // The deck's mistake, which the table records and nothing hides.
        scaling: -1.0,
        scaling_config: "{}",
    },
];

impl Row {
    /// A configuration by its JSON without the name.
    pub fn config(&self, settings: &str) -> OptimizerConfig {
        let mut json: serde_json::Value = serde_json::from_str(settings).expect(settings);
        json["name"] = self.name.into();
        OptimizerConfig::from_json(&json.to_string()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Each configuration of the row, with a label.
    pub fn configs(&self) -> impl Iterator<Item = (String, OptimizerConfig)> {
        self.configs
            .iter()
            .map(|settings| (format!("{} {settings}", self.name), self.config(settings)))
    }

    /// Each configuration's bare optimizer.
    pub fn optimizers(&self) -> impl Iterator<Item = (String, RuleOptimizer)> {
        self.configs()
            .map(|(label, config)| (label, config.try_build().expect("checked by from_json")))
    }
}
