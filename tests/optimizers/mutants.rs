//! The golden tests see what they should: rules that are wrong in one place fail them.

use std::collections::BTreeMap;

use crate::common::golden::{Case, cases, files};
use crate::common::rows::APART;
use crate::common::{devices, devices_with};
use burn::tensor::DType;
use downhill::optim::{
    AdaGrad, Adam, NAdam, OptimizerConfig, RmsProp, RuleOptimizer, SettingKind, Sgd,
};
use downhill::rule::{Adjusted, Clock, Numbers, Rule, Scalar, Slot, Step, Value, WeightDecay, ema};
use serde_json::{Value as Json, json};

/// Asserts that no case lets its mutant pass. `mutate` gives none where there is nothing to mutate.
fn always_fails(file: &str, mutate: impl Fn(&Case) -> Option<RuleOptimizer>) {
    let Some(device) = devices_with(DType::F64).next() else {
        return; // no golden test in f64 either
    };
    let mut tried = 0;
    for case in cases(file) {
        if let Some(mutant) = mutate(&case) {
            assert_eq!(case.check(case.optimizer(), &device, DType::F64), Ok(()));
            let verdict = case.check(mutant, &device, DType::F64);
            assert!(verdict.is_err(), "a mutant passes {}", case.label());
            tried += 1;
        }
    }
    assert!(tried > 0, "no case of {file} has the mutation's place");
}

/// The case's settings with some replaced.
fn with(case: &Case, changes: &[(&str, Json)]) -> RuleOptimizer {
    let mut config = case.config.clone();
    for (field, value) in changes {
        config[*field] = value.clone();
    }
    OptimizerConfig::from_json(&config.to_string())
        .and_then(|config| config.try_build())
        .unwrap()
}

fn setting(case: &Case, field: &str, default: f64) -> f64 {
    case.config
        .get(field)
        .map_or(default, |value| value.as_f64().unwrap())
}

fn is_default(case: &Case) -> bool {
    case.case == "default"
}

/// A rule that is wrong in what the host computes.
#[derive(Clone)]
struct Mutant<R> {
    rule: R,
    /// What the rule is told of the step count.
    clock: fn(u64) -> u64,
    /// What becomes of the rate.
    rate: fn(f64) -> f64,
}

/// Climbs.
fn wrong_sign<R>(rule: R) -> Mutant<R> {
    Mutant {
        rule,
        clock: |step| step,
        rate: |rate| -rate,
    }
}

/// Thinks that it has been running for ever, so that no bias is left to correct.
fn no_bias_correction<R>(rule: R) -> Mutant<R> {
    Mutant {
        rule,
        clock: |step| step + (1 << 40),
        rate: |rate| rate,
    }
}

impl<R> Numbers for Mutant<R> {}

impl<R: Rule> Rule for Mutant<R> {
    type State<V: Value> = R::State<V>;
    type Coefs = R::Coefs;
    fn slots(&self) -> Vec<Slot> {
        self.rule.slots()
    }
    fn memory(&self) -> Vec<Scalar> {
        self.rule.memory()
    }
    fn prepare(&self, clock: &mut Clock) -> Step<R::Coefs> {
        clock.step = (self.clock)(clock.step);
        let mut step = self.rule.prepare(clock);
        step.rate = (self.rate)(step.rate);
        step
    }
    fn direction<V: Value>(
        coefs: &R::Coefs,
        param: &V,
        grad: V,
        state: R::State<V>,
    ) -> (V, R::State<V>) {
        R::direction(coefs, param, grad, state)
    }
}

/// Adam with epsilon under the root: `m / sqrt(v + epsilon²)`, the same at v = 0.
#[derive(Clone)]
struct AdamEpsilonInside(f64);

impl Numbers for AdamEpsilonInside {}

impl Rule for AdamEpsilonInside {
    type State<V: Value> = [V; 2];
    type Coefs = (f64, f64, f64);
    fn slots(&self) -> Vec<Slot> {
        Adam::default().slots()
    }
    fn prepare(&self, clock: &mut Clock) -> Step<Self::Coefs> {
        let debias = |beta: f64| 1.0 / (1.0 - beta.powi(clock.step as i32));
        Step::new(clock.lr, (debias(0.9), debias(0.999), self.0 * self.0))
    }
    fn direction<V: Value>(
        &(debias_1, debias_2, epsilon): &Self::Coefs,
        _: &V,
        grad: V,
        [m, v]: [V; 2],
    ) -> (V, [V; 2]) {
        let m = ema(m, grad.clone(), 0.9);
        let v = ema(v, grad.square(), 0.999);
        let root = v.clone().scale(debias_2).offset(epsilon).sqrt();
        (m.clone().scale(debias_1) / root, [m, v])
    }
}

const DECOUPLED: WeightDecay = WeightDecay::Decoupled(1e-2);

#[test]
fn a_wrong_sign_fails() {
    let none = WeightDecay::Coupled(0.0);
    always_fails("sgd", |case| {
        let momentum = Sgd {
            momentum: 0.9,
            ..Sgd::default()
        };
        (case.case == "momentum").then(|| RuleOptimizer::new(wrong_sign(momentum)))
    });
    always_fails("adagrad", |case| {
        is_default(case).then(|| RuleOptimizer::new(wrong_sign(AdaGrad::default())))
    });
    always_fails("rmsprop", |case| {
        is_default(case).then(|| RuleOptimizer::new(wrong_sign(RmsProp::default())))
    });
    always_fails("adam", |case| {
        is_default(case)
            .then(|| RuleOptimizer::new(Adjusted::new(wrong_sign(Adam::default()), none, false)))
    });
    always_fails("adamw", |case| {
        is_default(case).then(|| {
            RuleOptimizer::new(Adjusted::new(wrong_sign(Adam::default()), DECOUPLED, false))
        })
    });
    always_fails("nadam", |case| {
        is_default(case).then(|| RuleOptimizer::new(wrong_sign(NAdam::default())))
    });
    always_fails("adafactor", |case| {
        Some(with(case, &[("maximize", flipped(case))]))
    });
}

fn flipped(case: &Case) -> Json {
    let set = case
        .config
        .get("maximize")
        .is_some_and(|value| value.as_bool().unwrap());
    Json::Bool(!set)
}

#[test]
fn swapped_betas_fail() {
    for file in ["adam", "adamw", "nadam"] {
        always_fails(file, |case| {
            let beta_1 = setting(case, "beta_1", 0.9);
            let beta_2 = setting(case, "beta_2", 0.999);
            (beta_1 != beta_2).then(|| {
                with(
                    case,
                    &[("beta_1", beta_2.into()), ("beta_2", beta_1.into())],
                )
            })
        });
    }
}

#[test]
fn missing_bias_corrections_fail() {
    always_fails("adam", |case| {
        is_default(case).then(|| RuleOptimizer::new(no_bias_correction(Adam::default())))
    });
    always_fails("adamw", |case| {
        is_default(case).then(|| {
            let rule = no_bias_correction(Adam::default());
            RuleOptimizer::new(Adjusted::new(rule, DECOUPLED, false))
        })
    });
    always_fails("nadam", |case| {
        is_default(case).then(|| RuleOptimizer::new(no_bias_correction(NAdam::default())))
    });
}

/// Whether epsilon is large enough beside the root for its place to matter in the first ten digits.
fn epsilon_matters(case: &Case, default: f64) -> bool {
    let root = setting(case, "initial_accumulator_value", 0.0).sqrt();
    setting(case, "epsilon", default) >= 1e-6 * case.grad_scale.max(root)
}

#[test]
fn a_misplaced_epsilon_fails() {
    for (file, default) in [("adagrad", 1e-10), ("rmsprop", 1e-8)] {
        always_fails(file, |case| {
            let inside = case.config.get("epsilon_inside_root");
            let inside = inside.is_some_and(|value| value.as_bool().unwrap());
            epsilon_matters(case, default)
                .then(|| with(case, &[("epsilon_inside_root", Json::Bool(!inside))]))
        });
    }
    always_fails("adam", |case| {
        let settings = case.config.as_object().unwrap();
        let plain = settings.keys().all(|key| key == "name" || key == "epsilon");
        let epsilon = setting(case, "epsilon", 1e-8);
        (plain && epsilon_matters(case, 1e-8))
            .then(|| RuleOptimizer::new(AdamEpsilonInside(epsilon)))
    });
}

#[test]
fn dropped_decay_fails() {
    for file in ["sgd", "adagrad", "rmsprop", "adam", "nadam", "adafactor"] {
        always_fails(file, |case| {
            (setting(case, "weight_decay", 0.0) > 0.0)
                .then(|| with(case, &[("weight_decay", 0.0.into())]))
        });
    }
    always_fails("adamw", |case| {
        (setting(case, "weight_decay", 1e-2) > 0.0)
            .then(|| with(case, &[("weight_decay", 0.0.into())]))
    });
}

#[test]
fn decay_of_the_other_kind_fails() {
    // Adam's decay in AdamW, and the other way round.
    for (file, other, default) in [("adam", "adamw", 0.0), ("adamw", "adam", 1e-2)] {
        always_fails(file, |case| {
            let decay = setting(case, "weight_decay", default);
            (decay > 0.0).then(|| {
                with(
                    case,
                    &[("name", other.into()), ("weight_decay", decay.into())],
                )
            })
        });
    }
    for file in ["sgd", "nadam"] {
        always_fails(file, |case| {
            let decoupled = case.config.get("decoupled_weight_decay");
            let decoupled = decoupled.is_some_and(|value| value.as_bool().unwrap());
            // Without momentum, gradient descent has one kind of decay only.
            let told = file != "sgd" || setting(case, "momentum", 0.0) > 0.0;
            (setting(case, "weight_decay", 0.0) > 0.0 && told)
                .then(|| with(case, &[("decoupled_weight_decay", Json::Bool(!decoupled))]))
        });
    }
}

/// Another value of a setting, a little or wholly.
fn another(kind: SettingKind, value: &Json) -> Vec<Json> {
    match kind {
        SettingKind::Number | SettingKind::OptionalNumber => match value.as_f64() {
            Some(number) => vec![json!(0.999 * number), json!(1.001 * number), json!(0.5)],
            None => vec![json!(0.5), json!(2.0)],
        },
        SettingKind::Count => [1, 127]
            .map(|more| json!(value.as_u64().unwrap_or(0) + more))
            .to_vec(),
        SettingKind::Flag => vec![json!(!value.as_bool().unwrap_or(false))],
        SettingKind::Choice(names) => names.iter().map(|name| json!(name)).collect(),
        SettingKind::Optimizer => vec![json!({"name": "rprop"})],
        SettingKind::Object | SettingKind::Patterns => Vec::new(),
        other => panic!("nothing is known to try for {other:?}"),
    }
}

/// Every setting of every optimizer, changed a little, makes a case fail; and so does a step the other way.
#[test]
fn a_change_of_any_setting_is_noticed() {
    let device = devices_with(DType::F64)
        .next()
        .or(devices().into_iter().next());
    let device = device.expect("a backend is compiled in");
    let mut of_names: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in files().iter().flat_map(|file| cases(file)) {
        if case.grad_scale == 1.0 && case.shape.len() < 3 {
            of_names.entry(case.name()).or_default().push(case);
        }
    }
    let mut unnoticed = Vec::new();
    for (name, cases) in &of_names {
        let default = OptimizerConfig::by_name(name).unwrap();
        for setting in default.settings() {
            if APART.contains(&setting.name) {
                continue;
            }
            let fails = |case: &Case| {
                let json = serde_json::to_value(case.parsed()).unwrap();
                another(setting.kind, &json[setting.name])
                    .into_iter()
                    .any(|value| {
                        let mut changed = json.clone();
                        changed[setting.name] = value;
                        // Some go with one value of another setting only.
                        let changed = OptimizerConfig::from_json(&changed.to_string());
                        changed.is_ok_and(|changed| case.check_numbers(&changed, &device).is_err())
                    })
            };
            if !cases.iter().any(fails) {
                unnoticed.push(format!("{name}: {}", setting.name));
            }
        }
        let sign = |case: &Case| {
            let mut json = serde_json::to_value(case.parsed()).unwrap();
            let Some(maximize) = json.get("maximize").and_then(Json::as_bool) else {
                return true;
            };
            json["maximize"] = json!(!maximize);
            let turned = OptimizerConfig::from_json(&json.to_string()).unwrap();
            // Nothing moves at all in one case.
            case.check_numbers(&turned, &device).is_err() || case.case == "never_rectified"
        };
        assert!(cases.iter().all(sign), "{name} goes the other way");
    }
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}
