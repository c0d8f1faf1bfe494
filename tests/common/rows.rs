//! The table that every shared test runs on: one row per optimizer, with the configurations that
//! between them use all of its code. It is made from the tables of the optimizers' settings, and from how they
//! [behave](super::behaviour).

use std::sync::LazyLock;

use burn::tensor::DType;
use downhill::optim::{OptimizerConfig, OptimizerInfo, RuleOptimizer, Scope, Setting, SettingKind};
use downhill::schedule::Schedule;
use downhill::train::Rate;
use serde_json::{Value, json};

use super::{TestDevice, behaviour};

pub struct Row {
    /// The optimizer's name.
    pub name: &'static str,
    /// Configurations as JSON, without the name; the first is the default.
    pub configs: Vec<String>,
    /// A learning rate at which it does something sensible.
    pub lr: f64,
    /// For each option, values other than its default of which one has to act, and other settings that it needs
    /// for it.
    pub options: Vec<(&'static str, Vec<Value>, Value)>,
    /// How many steps move nothing at first.
    pub waits: u64,
    /// Whether every step is of the same length, whatever the gradient.
    pub goes_by_sign: bool,
    /// Whether a gradient along the parameter moves nothing.
    pub goes_across: bool,
}

pub static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let mut infos = OptimizerConfig::all();
    infos.extend(OptimizerConfig::slides());
    infos.iter().map(Row::new).collect()
});

/// A schedule, or a constant rate for an optimizer that does nothing with one.
pub fn rate_for(config: &OptimizerConfig, constant: f64, schedule: Schedule) -> Rate {
    match config.try_build().is_ok_and(|optim| !optim.follows_rate()) {
        true => constant.into(),
        false => schedule.into(),
    }
}

/// Optimizers that between them have every operation of `Value`, every start of a state and every way to end a
/// step. Not Grokfast: how its operations are grouped into kernels depends on what else waits on the device, and
/// the last digit of its state with it, so that it does not go on bit for bit there.
const SAMPLE: &[&str] = &[
    "sgd",
    "adagrad",
    "rmsprop",
    "adam",
    "adamw",
    "nadam",
    "adafactor",
    "adamax",
    "asgd",
    "rprop",
    "adopt",
    "padam",
    "diffgrad",
    "madgrad",
    "ftrl",
    "schedule_free_adamw",
    "lookahead",
    "schedule_free",
    "sm3",
    "adamp",
    "prodigy",
    "slides_adafactor",
];

/// The rows to test on a device: on the CPU all; on a GPU's interface, where a step costs a hundred times as much
/// and is made of the tensor operations that the CPU's tests run too, a sample.
pub fn rows_on(device: &TestDevice) -> impl Iterator<Item = &'static Row> {
    let all = device.exact;
    ROWS.iter()
        .filter(move |row| all || SAMPLE.contains(&row.name))
}

/// Those of them that can be stepped without a driver.
pub fn rows_alone_on(device: &TestDevice) -> impl Iterator<Item = &'static Row> {
    rows_on(device).filter(|row| row.is_alone())
}

/// Of these the optimizer inside is given another gradient, for which a step needs a buffer.
const FILTERING: &[&str] = &["grokfast", "orthograd", "gradient_centralization"];

/// The value of a setting in `config`.
fn value_of(config: &OptimizerConfig, name: &str) -> Value {
    serde_json::to_value(config).unwrap()[name].clone()
}

/// Other values of a setting: of each inner list one has to act.
fn others(setting: &Setting, default: &Value) -> Vec<Vec<Value>> {
    let numbers = || {
        // A guard has to be large to be seen, a limit small, and a factor must not make things larger.
        let candidates = [0.5, 0.25, 1.01, 10.0, -0.5, 2.0];
        let fits = |x: &f64| setting.range.contains(*x) && default.as_f64() != Some(*x);
        let fitting: Vec<f64> = candidates.into_iter().filter(fits).collect();
        let is_large = |x: &&f64| **x == 10.0 && !setting.range.contains(0.0);
        let large = fitting[1..].iter().find(is_large);
        let found = large.into_iter().chain(fitting.iter().take(2));
        found.map(|x| json!(x)).collect()
    };
    match setting.kind {
        SettingKind::Number => vec![numbers()],
        SettingKind::OptionalNumber if default.is_null() => vec![numbers()],
        SettingKind::OptionalNumber => vec![vec![Value::Null]],
        SettingKind::Count => {
            let candidates = [default.as_u64().unwrap() + 127, 2];
            let fits = |count: &u64| setting.range.contains(*count as f64);
            let fitting = candidates.into_iter().filter(fits);
            vec![fitting.map(|count| json!(count)).collect()]
        }
        SettingKind::Flag => vec![vec![json!(!default.as_bool().unwrap())]],
        SettingKind::Choice(names) => {
            let names = names.iter().map(|name| json!(name));
            let others = names.filter(|name| name != default);
            others.map(|name| vec![name]).collect()
        }
        SettingKind::Optimizer => vec![vec![json!({"name": "rmsprop"})]],
        SettingKind::Object | SettingKind::Patterns => Vec::new(),
        other => panic!("nothing is known to try for {other:?}"),
    }
}

/// Settings that have a test of their own: the kinds of weight decay, what only acts where a direction can disagree
/// with its gradient, what is of several tensors or of certain shapes and paths, the precision and the unit of what
/// comes between, what shows in the state alone, clipping, which is Burn's, and the rate, which is the schedule's.
pub const APART: &[&str] = &[
    "cautious",
    "weight_decay_kind",
    "peak_learning_rate",
    "grad_clipping",
    "learning_rate",
    "layer_wise",
    "no_matrix",
    "layout",
    "parts",
    "float64",
    "ema_momentum",
    "head_radius",
    "balance_every",
];

/// What an optimizer that finds its rate begins with.
pub const BEGINS: &[&str] = &["d0", "reps_rel"];

/// Settings with which an optimizer that finds its rate has begun to: from its default it hardly moves at first.
fn begun(settings: &[&Setting]) -> Value {
    let begins = BEGINS
        .iter()
        .filter(|name| settings.iter().any(|has| has.name == **name));
    Value::Object(begins.map(|name| (name.to_string(), json!(0.1))).collect())
}

fn config_of(name: &str, settings: &str) -> OptimizerConfig {
    let mut json: Value = serde_json::from_str(settings).expect(settings);
    json["name"] = name.into();
    OptimizerConfig::from_json(&json.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

/// `base` with more settings.
fn with(base: &Value, more: &Value) -> Value {
    let mut all = base.clone();
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

impl Row {
    fn new(info: &OptimizerInfo) -> Self {
        let name = info.name;
        let default = OptimizerConfig::by_name(name).unwrap();
        let settings = default.settings();
        let begun = begun(&settings);
        let mut configs = vec![begun.to_string()];
        let mut options = Vec::new();
        for setting in &settings {
            if APART.contains(&setting.name) {
                continue;
            }
            let base: Value = serde_json::from_str(setting.shown_with).unwrap();
            let mut base = with(&begun, &base);
            // Without momentum, gradient descent has one kind of decay only.
            let decoupled = setting.name == "decoupled_weight_decay";
            let needed = setting.needs.or(decoupled.then_some("momentum"));
            let needed = settings.iter().find(|other| Some(other.name) == needed);
            if let Some(needed) = needed {
                let value = others(needed, &value_of(&default, needed.name))
                    .remove(0)
                    .remove(0);
                base = with(&base, &json!({needed.name: value}));
            }
            let found = value_of(&default, setting.name);
            let takes_other_code = match setting.kind {
                // A warmup's first steps are too small for 16 bits, and so are those in proportion.
                // In bfloat16 two precisions agree in no more digits than it has.
                SettingKind::Flag => {
                    !["maximize", "warmup_init", "refined", "bfloat16"].contains(&setting.name)
                }
                SettingKind::Choice(_) => true,
                // The steps are too small for 16 bits then.
                _ if ["base_learning_rate", "lower_bound"].contains(&setting.name) => false,
                _ => found == json!(0.0) || found.is_null(),
            };
            for values in others(setting, &found) {
                if takes_other_code {
                    configs.push(with(&base, &json!({setting.name: values[0]})).to_string());
                }
                options.push((setting.name, values, base.clone()));
            }
        }
        if settings
            .iter()
            .any(|setting| setting.name == "weight_decay_kind")
        {
            let cautious = json!({"weight_decay": 0.1, "weight_decay_kind": "cautious"});
            configs.push(with(&begun, &cautious).to_string());
        }
        let default = config_of(name, &begun.to_string());
        Self {
            name,
            configs,
            lr: behaviour::rate(&default),
            options,
            waits: behaviour::waits(&default),
            goes_by_sign: behaviour::goes_by_sign(&default),
            goes_across: behaviour::goes_across(&default),
        }
    }

    /// A configuration by its JSON without the name.
    pub fn config(&self, settings: &str) -> OptimizerConfig {
        config_of(self.name, settings)
    }

    /// Whether it can be stepped without a driver: it looks at no more than a parameter.
    pub fn is_alone(&self) -> bool {
        !self.config("{}").try_build().unwrap().looks_at_model()
    }

    /// Whether it treats a weight as a matrix.
    pub fn is_of_matrices(&self) -> bool {
        self.config("{}").info().scope == Scope::Matrix
    }

    /// Whether it goes by factors, eigenvectors or projections of matrices: where these leave directions out they are of
    /// what rounding makes of nothing, and two precisions have other ones.
    pub fn goes_by_factors(&self) -> bool {
        let [of_matrix, _] = self.state_names();
        let factors = [
            "gg_rows",
            "factor_rows",
            "factor_cols",
            "projection",
            "update_norm",
        ];
        of_matrix
            .iter()
            .any(|name| factors.contains(&name.as_str()))
    }

    /// Whether it needs the loss of each step.
    pub fn needs_loss(&self) -> bool {
        self.config("{}").try_build().unwrap().needs_loss()
    }

    /// Whether a step needs a buffer of the parameter's size.
    pub fn needs_a_buffer(&self) -> bool {
        FILTERING.contains(&self.name) || self.is_of_matrices()
    }

    /// Names of the state that it has of a matrix and of a vector, tensors and scalars.
    pub fn state_names(&self) -> [Vec<String>; 2] {
        [&[2, 2][..], &[4]].map(|shape| self.state_names_of(shape))
    }

    fn state_names_of(&self, shape: &[usize]) -> Vec<String> {
        let device = super::devices().remove(0).device;
        let optim = self.config("{}").try_build().unwrap();
        let mut subject = super::Subject::new(optim, &device, DType::F32, shape, &[1.0; 4]);
        subject.step(0.1, &[1.0; 4]);
        let state = subject.state();
        let scalars = state.scalars().into_iter().map(|(name, _)| name);
        let tensors = state.tensors().into_iter().map(|(name, _)| name);
        tensors.chain(scalars).collect()
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
