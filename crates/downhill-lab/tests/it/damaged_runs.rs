//! A file of runs that was cut off or edited is an error in words, or goes on; a report of it is written.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use downhill_lab::protocol::{Candidate, Observer, Plan, Subject, rates_around};
use downhill_lab::results::{Comparison, Cost, Outcome, Point, ProblemSummary, Run, Score, Trial};
use downhill_lab::source::{Source, version};
use downhill_lab::store::Store;
use downhill_lab::{BURN_VERSION, report};
use proptest::prelude::*;
use serde_json::json;

const STEPS: u64 = 40;

/// A run that falls to a loss that depends on its rate.
fn run(trial: &Trial) -> Run {
    let point = |step: u64| {
        let loss = 2.0 - step as f64 / STEPS as f64 + trial.lr + 0.01 * f64::from(trial.seed);
        let metric = Some(1.0 / (1.0 + loss));
        let score = Score {
            loss: Some(loss),
            metric,
        };
        Point {
            step,
            train: score,
            validation: score,
        }
    };
    Run {
        trial: trial.clone(),
        outcome: Outcome {
            curve: [0, 20, 40].map(point).into(),
            test: point(STEPS).train,
            diverged_at: None,
            steps_to_target: Some(20),
            state_bytes: 8,
            parameters: 2,
        },
        cost: Cost {
            seconds: 1.0,
            optimizer_seconds: 0.25,
            seconds_to_target: Some(0.5),
            peak_bytes: Some(1000),
        },
    }
}

fn plan() -> Plan {
    let candidate = |name: &str| Candidate {
        name: name.to_string(),
        config: json!({ "name": name }),
        rates: rates_around(1e-2, 3),
    };
    Plan {
        subjects: vec![Subject {
            name: "line".to_string(),
            description: "a line".to_string(),
            target: "loss below 1.5".to_string(),
            metric: Some("share".to_string()),
            higher_is_better: true,
            steps: STEPS,
            test_samples: None,
        }],
        candidates: vec![candidate("sgd"), candidate("adam")],
        schedule: None,
        driver: None,
        seeds: vec![1, 2, 3],
        widenings: 1,
        device: "größte".to_string(),
    }
}

struct Silent;

impl Observer for Silent {
    fn planned(&mut self, _: usize, _: usize) {}
    fn begins(&mut self, _: &Trial) {}
    fn ended(&mut self, _: &Run, _: bool) {}
}

fn carry_out(store: &mut Store) -> Vec<ProblemSummary> {
    let summaries = plan().carry_out(store, &mut Silent, &mut |trial| Ok(run(trial)));
    summaries.unwrap_or_else(|stopped| panic!("{stopped}"))
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("damaged")
        .join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

static INTACT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = folder("intact").join("runs.jsonl");
    carry_out(&mut Store::open(&path).unwrap());
    fs::read(path).unwrap()
});

/// The numbers of a text, but for those in strings, as ranges of bytes.
fn numbers(text: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut numbers = Vec::new();
    let (mut at, mut quoted) = (0, false);
    while at < text.len() {
        let is_digit = |byte: &u8| byte.is_ascii_digit() || b"-+.eE".contains(byte);
        match text[at] {
            b'"' => quoted = !quoted,
            byte if !quoted && byte.is_ascii_digit() => {
                let length = text[at..].iter().take_while(|byte| is_digit(byte)).count();
                numbers.push(at..at + length);
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    numbers
}

const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "-1",
    "2",
    "0.5",
    "39",
    "41",
    "1e-320",
    "1e300",
    "-1e300",
    "1.7976931348623157e308",
    "4294967295",
    "18446744073709551615",
    "null",
];

/// So many cases, or as many as the environment variable `PROPTEST_CASES` says.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if is_set { default.cases } else { cases },
        failure_persistence: None,
        ..default
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_loses_its_last_line() {
    let (intact, folder) = (&*INTACT, folder("cut"));
    let path = folder.join("runs.jsonl");
    for end in (0..intact.len()).step_by(7).chain([intact.len()]) {
        fs::write(&path, &intact[..end]).unwrap();
        let store = Store::open(&path).unwrap_or_else(|error| panic!("at {end}: {error}"));
        let whole = intact[..end].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(store.runs().len(), whole, "at {end}");
    }
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn a_file_with_other_numbers_is_refused_or_reported(
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&NUMBERS[..])), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = INTACT.clone();
        for (place, number) in edits {
            let numbers = numbers(&bytes);
            let range = numbers[place.index(numbers.len())].clone();
            bytes.splice(range, number.bytes());
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = folder("edited");
        let path = folder.join("runs.jsonl");
        fs::write(&path, &bytes).unwrap();
        let problems = match Store::open(&path) {
            Ok(mut store) => carry_out(&mut store),
            Err(error) => {
                let message = error.to_string();
                prop_assert!(message.contains("this is not a run"), "{}", message);
                return Ok(());
            }
        };
        let comparison = Comparison {
            command: "downhill compare".to_string(),
            version: version().to_string(),
            source: Source::default(),
            date: String::new(),
            burn: BURN_VERSION.to_string(),
            device: "none".to_string(),
            machine: "none".to_string(),
            seeds: vec![1, 2, 3],
            tuning_budget: 3,
            schedule: None,
            driver: None,
            problems,
        };
        let written = report::write(&comparison, &folder);
        prop_assert!(written.is_ok(), "{:?}", written);
    }
}
