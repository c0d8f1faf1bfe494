//! Every schedule against PyTorch, optax, Transformers and the papers: each step of each case in
//! `tests/golden/`, which `tools/golden/schedules.py` writes.

use downhill_schedule::{ReduceOnPlateauConfig, ScheduleConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Deserialize)]
struct File<C> {
    cases: Vec<C>,
}

#[derive(Deserialize)]
struct Case {
    case: String,
    source: String,
    config: Value,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct PlateauCase {
    case: String,
    source: String,
    config: ReduceOnPlateauConfig,
    metrics: Vec<f64>,
    values: Vec<f64>,
}

fn cases<C: DeserializeOwned>(file: &str) -> Vec<C> {
    let path = format!("{}/tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    let json = std::fs::read_to_string(&path).expect("the golden files are committed");
    let File { cases } = serde_json::from_str(&json).expect(&path);
    assert!(!cases.is_empty());
    cases
}

/// The functions that the generator gives to PyTorch's LambdaLR and MultiplicativeLR.
fn config(case: &Case) -> ScheduleConfig {
    let Some(function) = case.config.get("function") else {
        let config = ScheduleConfig::from_json(&case.config.to_string());
        return config.unwrap_or_else(|error| panic!("{}: {error}", case.case));
    };
    let value: fn(u64) -> f64 = match function.as_str().unwrap() {
        "inverse_time" => |step| 0.1 / (1.0 + 0.05 * step as f64),
        "harmonic" => |step| 0.1 / (1.0 + step as f64),
        "sawtooth" => |step| 0.1 * 0.5f64.powi((step % 7) as i32),
        function => panic!("there is no function {function}"),
    };
    ScheduleConfig::custom("golden", value)
}

/// The first step at which `ours` is farther than 1e-12 of the largest value from `reference`.
fn difference(ours: impl Iterator<Item = f64>, reference: &[f64]) -> Option<String> {
    let largest = reference.iter().fold(0.0, |max: f64, x| max.max(*x));
    let mut pairs = ours.zip(reference).enumerate();
    let (step, (ours, reference)) = pairs.find(|(_, (ours, reference))| {
        let difference = (ours - **reference).abs();
        difference.is_nan() || difference > 1e-12 * largest
    })?;
    Some(format!("step {step}: {ours} instead of {reference}"))
}

fn report(failures: Vec<String>, cases: usize) {
    let count = failures.len();
    assert!(
        failures.is_empty(),
        "{count} of {cases} cases differ:\n{}",
        failures.join("\n")
    );
}

#[test]
fn schedules() {
    let cases = cases::<Case>("schedules.json");
    let failures = cases.iter().filter_map(|case| {
        let schedule = match config(case).try_build() {
            Ok(schedule) => schedule,
            Err(error) => return Some(format!("{} ({}): {error}", case.case, case.source)),
        };
        let values = (0..).map(|step| schedule.value(step));
        let difference = difference(values, &case.values)?;
        Some(format!("{} ({}): {difference}", case.case, case.source))
    });
    report(failures.collect(), cases.len());
}

#[test]
fn plateaus() {
    let cases = cases::<PlateauCase>("plateau.json");
    let failures = cases.iter().filter_map(|case| {
        let mut plateau = case.config.try_build().unwrap();
        let rates = case.metrics.iter().map(|metric| plateau.observe(*metric));
        assert_eq!(case.metrics.len(), case.values.len());
        let difference = difference(rates, &case.values)?;
        Some(format!("{} ({}): {difference}", case.case, case.source))
    });
    report(failures.collect(), cases.len());
}

/// A schedule that no reference computes would be tested by its own opinion only.
#[test]
fn every_schedule_has_a_golden_case() {
    fn names(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(
                    fields
                        .get("name")
                        .and_then(|name| name.as_str())
                        .map(str::to_owned),
                );
                fields.values().for_each(|value| names(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for case in cases::<Case>("schedules.json") {
        names(&case.config, &mut found);
    }
    for info in ScheduleConfig::all() {
        assert!(
            found.iter().any(|name| name == info.name),
            "{} has none",
            info.name
        );
    }
}
