//! The golden numbers: what PyTorch, optax and the papers compute, made by
//! `tools/golden/generate.py`.

use std::collections::BTreeMap;

use burn::tensor::DType;
use downhill::optim::{OptimizerConfig, RuleOptimizer};
use serde::Deserialize;
use serde_json::Value;

use super::{Subject, TestDevice};

/// The names of the files of `tests/golden/`, without their ending.
pub fn files() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let names = std::fs::read_dir(folder).expect(folder).map(|entry| {
        let name = entry.expect(folder).file_name();
        let name = name.to_str().expect("a name of ours");
        name.strip_suffix(".json").expect("only JSON").to_string()
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
pub struct Case {
    #[serde(skip)]
    pub file: String,
    pub case: String,
    pub source: String,
    pub config: Value,
    pub learning_rate: f64,
    pub shape: Vec<usize>,
    pub grad_scale: f64,
    pub seed: u64,
    params: BTreeMap<u64, Vec<f64>>,
    state: BTreeMap<String, Vec<f64>>,
    /// How many times as far as usual single precision may be off: once if nothing is said, and it cannot follow
    /// at 0.
    single: Option<f64>,
    /// What to evaluate after the last step, where it is not the parameter.
    evaluated: Option<Vec<f64>>,
}

/// The cases of one file of `tests/golden/`.
pub fn cases(file: &str) -> Vec<Case> {
    let path = format!("{}/tests/golden/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let json = std::fs::read_to_string(&path).expect("the golden files are committed");
    let mut cases = serde_json::from_str::<File>(&json).expect(&path).cases;
    for case in &mut cases {
        case.file = file.to_string();
    }
    assert!(!cases.is_empty(), "{path} has no cases");
    cases
}

/// The generator that the golden scripts share with these tests.
struct SplitMix64(u64);

impl SplitMix64 {
    /// Uniform in `[-1, 1)`, times `scale`, as an f32.
    fn next(&mut self, scale: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let uniform = (z >> 11) as f64 / 2f64.powi(53) * 2.0 - 1.0;
        f64::from((uniform * scale) as f32)
    }
}

/// The largest magnitude that each tensor had on the way: what its rounding errors are relative to.
#[derive(Default)]
struct Largest(BTreeMap<String, f64>);

impl Largest {
    fn see(&mut self, name: &str, values: &[f64]) {
        let largest = self.0.entry(name.to_string()).or_default();
        *largest = values.iter().fold(*largest, |max, x| max.max(x.abs()));
    }

    fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

impl Case {
    pub fn label(&self) -> String {
        format!(
            "{} `{}` {:?} scale {} ({})",
            self.file, self.case, self.shape, self.grad_scale, self.source
        )
    }

    /// The optimizer's name.
    pub fn name(&self) -> String {
        let name = self.config["name"].as_str();
        name.expect("every configuration has one").to_string()
    }

    pub fn optimizer(&self) -> RuleOptimizer {
        let config = OptimizerConfig::from_json(&self.config.to_string());
        let built = config.and_then(|config| config.try_build());
        built.unwrap_or_else(|error| panic!("{}: {error}", self.label()))
    }

    /// Runs `optim` on the case's gradients and compares everything with the reference; the first
    /// difference is the error.
    pub fn check(
        &self,
        optim: RuleOptimizer,
        device: &TestDevice,
        dtype: DType,
    ) -> Result<(), String> {
        self.check_subject(device, dtype, |start| {
            Subject::new(optim, &device.device, dtype, &self.shape, start)
        })
    }

    /// [`check`](Self::check) in f32, through tensor operations.
    pub fn check_tensor_operations(
        &self,
        optim: RuleOptimizer,
        device: &TestDevice,
    ) -> Result<(), String> {
        self.check_subject(device, DType::F32, |start| {
            Subject::new(optim, &device.device, DType::F32, &self.shape, start)
                .with_tensor_operations()
        })
    }

    /// Whether a precision can follow.
    pub fn is_for(&self, dtype: DType) -> bool {
        dtype == DType::F64 || self.single != Some(0.0)
    }

    /// The configuration.
    pub fn parsed(&self) -> OptimizerConfig {
        OptimizerConfig::from_json(&self.config.to_string()).expect("it is one of this library's")
    }

    /// [`check`](Self::check) in f64, on plain numbers; `device` says how exact that is.
    pub fn check_numbers(
        &self,
        config: &OptimizerConfig,
        device: &TestDevice,
    ) -> Result<(), String> {
        let mut run = config.try_trajectory(&self.shape).expect("checked before");
        let len = self.shape.iter().product();
        let mut numbers = SplitMix64(self.seed);
        let mut draw = |scale| (0..len).map(|_| numbers.next(scale)).collect::<Vec<_>>();
        let mut param = draw(1.0);
        let mut largest = param.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
        let mut compare = |what: &str, found: &[f64], expected: &[f64]| {
            largest = found.iter().fold(largest, |max, x| max.max(x.abs()));
            self.compare(what, found, expected, largest, device, DType::F64)
        };
        for t in 1..=60 {
            let lr = self.learning_rate / (1.0 + 0.01 * (t - 1) as f64);
            let loss = (t as f64).recip();
            run.step_with_loss(lr, &mut param, &draw(self.grad_scale), loss);
            if let Some(expected) = self.params.get(&t) {
                compare(&format!("parameter after step {t}"), &param, expected)?;
            }
        }
        if let Some(expected) = &self.evaluated {
            compare("to evaluate", &run.evaluated(&param), expected)?;
        }
        for (name, expected) in &self.state {
            let scalar = run.scalar(name).map(|scalar| vec![scalar]);
            let found = scalar.or_else(|| run.state(name).map(<[f64]>::to_vec));
            let found = found.ok_or_else(|| format!("{}: no state `{name}`", self.label()))?;
            compare(name, &found, expected)?;
        }
        Ok(())
    }

    fn check_subject(
        &self,
        device: &TestDevice,
        dtype: DType,
        subject: impl FnOnce(&[f64]) -> Subject,
    ) -> Result<(), String> {
        let len = self.shape.iter().product();
        let mut numbers = SplitMix64(self.seed);
        let mut draw = |scale| (0..len).map(|_| numbers.next(scale)).collect::<Vec<_>>();
        let mut subject = subject(&draw(1.0));
        let mut largest = Largest::default();
        largest.see("param", &subject.param());
        for t in 1..=60 {
            let lr = self.learning_rate / (1.0 + 0.01 * (t - 1) as f64);
            subject.step(lr, &draw(self.grad_scale));
            largest.see("param", &subject.param());
            for (name, values) in subject.named_state() {
                largest.see(&name, &values);
            }
            let largest = largest.of("param");
            if let Some(expected) = self.params.get(&t) {
                let what = format!("parameter after step {t}");
                self.compare(&what, &subject.param(), expected, largest, device, dtype)?;
            }
        }
        if let Some(expected) = &self.evaluated {
            let (found, largest) = (subject.evaluated(), largest.of("param"));
            self.compare("to evaluate", &found, expected, largest, device, dtype)?;
        }
        let mut state: BTreeMap<_, _> = subject.named_state().into_iter().collect();
        for (name, expected) in &self.state {
            let found = state
                .remove(name)
                .ok_or_else(|| format!("{}: no state `{name}`", self.label()))?;
            self.compare(name, &found, expected, largest.of(name), device, dtype)?;
        }
        match state.keys().next() {
            Some(name) => Err(format!("{}: unexpected state `{name}`", self.label())),
            None => Ok(()),
        }
    }

    fn compare(
        &self,
        what: &str,
        found: &[f64],
        expected: &[f64],
        largest: f64,
        device: &TestDevice,
        dtype: DType,
    ) -> Result<(), String> {
        if found.len() != expected.len() {
            let (found, expected) = (found.len(), expected.len());
            return Err(format!(
                "{}: {what} has {found} numbers, not {expected}",
                self.label()
            ));
        }
        // A few units in the last place of the largest number on the way, for what has cancelled.
        let (relative, absolute) = match dtype {
            DType::F64 => (1e-10, 8.0 * f64::EPSILON * largest),
            DType::F32 => {
                let times = self.single.unwrap_or(1.0);
                let absolute = 8.0 * f64::from(f32::EPSILON) * largest;
                (times * device.f32_tolerance, times * absolute)
            }
            other => panic!("there are no golden numbers in {other:?}"),
        };
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let difference = (found - expected).abs();
            let within = difference <= relative * expected.abs() + absolute;
            if !within {
                return Err(format!(
                    "{} on {} in {dtype:?}: {what}[{i}] is {found:e}, the reference has {expected:e} \
                     (relative {:.1e}, largest {largest:.1e})",
                    self.label(),
                    device.name,
                    difference / expected.abs(),
                ));
            }
        }
        Ok(())
    }
}
