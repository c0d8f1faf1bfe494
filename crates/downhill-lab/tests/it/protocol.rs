//! The protocol on a landscape whose best optimizer and rate are known.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use downhill_lab::protocol::{
    Candidate, Observer, Plan, Stopped, Subject, TUNING_SEED, compare, rates_around, rates_between,
};
use downhill_lab::results::{Cost, Edge, Outcome, Point, ProblemSummary, Run, Score, Stage, Trial};
use downhill_lab::source::version;
use downhill_lab::store::{Runs, Store};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

const STEPS: u64 = 100;

/// The loss at the end is a parabola in the logarithm of the rate, `height` at `best`; ten times the
/// best rate diverges. Seeds shift it a little.
fn landscape(optimizer: &str) -> (f64, f64) {
    match optimizer {
        "good" => (1e-2, 0.1),
        "fair" => (1e-3, 0.2),
        "far" => (10.0, 0.3),
        "beyond" => (1e9, 0.4),
        _ => (f64::NAN, f64::NAN),
    }
}

fn run(trial: &Trial) -> Run {
    let (best, height) = landscape(trial.optimizer["name"].as_str().unwrap());
    let distance = (trial.lr / best).log10();
    let end = height + distance * distance + 0.001 * f64::from(trial.seed);
    let diverges = distance >= 0.999 || best.is_nan();
    let point = |step: u64| {
        let part = step as f64 / STEPS as f64;
        let loss = Some(end + (1.0 - part));
        let score = Score { loss, metric: None };
        Point {
            step,
            train: score,
            validation: score,
        }
    };
    let curve: Vec<Point> = [0, 50, 100].map(point).into();
    let target = curve
        .iter()
        .find(|point| point.validation.loss.unwrap() < 0.25);
    Run {
        trial: trial.clone(),
        outcome: Outcome {
            test: if diverges {
                Score::default()
            } else {
                point(STEPS).train
            },
            diverged_at: diverges.then_some(50),
            steps_to_target: target.filter(|_| !diverges).map(|point| point.step),
            curve: if diverges { curve[..1].to_vec() } else { curve },
            state_bytes: 8,
            parameters: 2,
        },
        cost: Cost {
            seconds: 1.0,
            optimizer_seconds: 0.25,
            ..Cost::default()
        },
    }
}

fn plan(optimizers: &[&str]) -> Plan {
    let subject = Subject {
        name: "parabola".to_string(),
        description: "a parabola".to_string(),
        target: "loss below 0.25".to_string(),
        metric: None,
        higher_is_better: true,
        steps: STEPS,
        test_samples: None,
    };
    let candidate = |name: &&str| Candidate {
        name: name.to_string(),
        config: json!({ "name": name }),
        rates: rates_around(1e-3, 5),
    };
    Plan {
        subjects: vec![subject],
        candidates: optimizers.iter().map(candidate).collect(),
        schedule: None,
        driver: None,
        seeds: vec![1, 2, 3],
        widenings: 3,
        device: "none".to_string(),
    }
}

#[derive(Default)]
struct Count {
    made: usize,
    known: usize,
    last: (usize, usize),
}

impl Observer for Count {
    fn planned(&mut self, done: usize, needed: usize) {
        self.last = (done, needed);
    }
    fn begins(&mut self, _: &Trial) {}
    fn ended(&mut self, _: &Run, known: bool) {
        *(if known {
            &mut self.known
        } else {
            &mut self.made
        }) += 1;
    }
}

fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("protocol");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    let _ = std::fs::remove_file(&path);
    path
}

fn carry_out(plan: &Plan, store: &mut Store, count: &mut Count) -> ProblemSummary {
    let summaries = plan
        .carry_out(store, count, &mut |trial| Ok(run(trial)))
        .unwrap();
    summaries.into_iter().next().unwrap()
}

#[test]
fn the_best_optimizer_and_its_rate_are_found() {
    let mut store = Store::open(file("best.jsonl")).unwrap();
    let mut count = Count::default();
    let plan = plan(&["fair", "far", "good", "beyond", "never"]);
    let summary = carry_out(&plan, &mut store, &mut count);

    let names: Vec<&str> = summary
        .entries
        .iter()
        .map(|entry| entry.optimizer.as_str())
        .collect();
    assert_eq!(names, ["good", "fair", "far", "beyond", "never"]);
    let [good, fair, far, beyond, never] = &summary.entries[..] else {
        unreachable!()
    };

    // The grid is 1e-4 to 1e-2; its upper end is the best, so that it is widened to look beyond.
    assert_eq!((good.lr, good.edge), (Some(1e-2), Edge::Inside));
    assert_eq!(good.tried.len(), 7);
    assert_eq!((fair.lr, fair.edge), (Some(1e-3), Edge::Inside));
    assert_eq!(fair.tried.len(), 5);
    // Three times wider reaches 10, where it is still the highest of those tried.
    assert_eq!((far.lr, far.edge), (Some(10.0), Edge::Highest));
    assert_eq!(far.tried.len(), 11);
    assert_eq!(beyond.edge, Edge::Highest);
    assert_eq!((never.lr, never.edge, never.runs), (None, Edge::None, 0));

    // Only the counted seeds are in the result, and their median is seed 2's.
    let test = good.test_loss.unwrap();
    assert!((test.median - 0.102).abs() < 1e-12);
    assert!((test.low - 0.101).abs() < 1e-12 && (test.high - 0.103).abs() < 1e-12);
    assert_eq!((good.reached, fair.reached, far.reached), (3, 3, 0));
    assert_eq!(good.steps_to_target.unwrap().median, 100.0);
    assert_eq!(far.steps_to_target, None);
    assert_eq!(good.seconds_per_step, 0.01);
    assert_eq!(good.optimizer_seconds_per_step, 0.0025);
    assert_eq!(good.curve.len(), 3);
    assert!((good.curve[0].median - 1.102).abs() < 1e-12);

    // 5 grids of 5, widened by 2 + 6 + 6 for good, far and beyond, and 3 seeds for all but never.
    assert_eq!(count.made, 25 + 14 + 12);
    assert_eq!(count.last, (count.made, count.made));
    let counted = store
        .runs()
        .iter()
        .filter(|run| run.trial.stage == Stage::Final);
    assert!(counted.clone().all(|run| run.trial.seed != TUNING_SEED));
    assert_eq!(counted.count(), 12);
}

#[test]
fn every_interruption_ends_in_the_same_file() {
    let plan = plan(&["good", "far"]);
    let whole_file = file("whole.jsonl");
    let mut count = Count::default();
    let whole = carry_out(&plan, &mut Store::open(&whole_file).unwrap(), &mut count);
    let bytes = std::fs::read(&whole_file).unwrap();

    for interruption in 0..count.made {
        let path = file("interrupted.jsonl");
        let mut left = interruption;
        let stopped = plan.carry_out(
            &mut Store::open(&path).unwrap(),
            &mut Count::default(),
            &mut |trial| {
                left = left.checked_sub(1).ok_or(Stopped::Interrupted)?;
                Ok(run(trial))
            },
        );
        assert!(matches!(stopped, Err(Stopped::Interrupted)));
        // And a crash in the middle of a line.
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(&bytes[text.len()..text.len() + 7]);
        std::fs::write(&path, text).unwrap();

        let mut store = Store::open(&path).unwrap();
        assert!(store.dropped_a_line());
        let mut resumed_count = Count::default();
        let resumed = carry_out(&plan, &mut store, &mut resumed_count);
        assert_eq!(resumed, whole);
        assert_eq!(
            (resumed_count.known, resumed_count.made),
            (interruption, count.made - interruption)
        );
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

/// The runs of a store, in an order of their own.
fn sorted(store: &Store) -> Vec<String> {
    let runs = store
        .runs()
        .iter()
        .map(|run| serde_json::to_string(run).unwrap());
    let mut runs: Vec<String> = runs.collect();
    runs.sort();
    runs
}

/// Two problems and five optimizers.
fn wide() -> Plan {
    let mut plan = plan(&["fair", "far", "good", "beyond", "never"]);
    let mut other = plan.subjects[0].clone();
    other.name = "another".to_string();
    plan.subjects.push(other);
    plan
}

#[test]
fn any_number_of_jobs_comes_to_the_same() {
    let plan = wide();
    let mut whole = Store::open(file("one-job.jsonl")).unwrap();
    let mut count = Count::default();
    let expected = plan
        .carry_out(&mut whole, &mut count, &mut |trial| Ok(run(trial)))
        .unwrap();
    for jobs in [1, 2, 3, 64] {
        let mut store = Store::open(file("jobs.jsonl")).unwrap();
        let mut found = Count::default();
        let running = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let make = |trial: &Trial| {
            let now = 1 + running.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(now, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(2));
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(run(trial))
        };
        let summaries = plan.carry_out_at_once(jobs, &mut store, &mut found, &make);
        assert_eq!(summaries.unwrap(), expected);
        assert_eq!(sorted(&store), sorted(&whole));
        assert_eq!((found.made, found.last), (count.made, count.last));
        let most = most.into_inner();
        assert!(
            most <= jobs.min(10) && (most > 1 || jobs == 1),
            "{most} of {jobs}"
        );
    }
}

/// Whoever fails first is heard, the others end, and nothing that was finished is lost.
#[test]
fn a_failure_among_several_jobs_is_heard() {
    let plan = wide();
    let mut store = Store::open(file("failing.jsonl")).unwrap();
    let make = |trial: &Trial| match trial.optimizer["name"] == "good" {
        true => Err(Stopped::Failed("no".to_string())),
        false => Ok(run(trial)),
    };
    let stopped = plan.carry_out_at_once(3, &mut store, &mut Count::default(), &make);
    assert_eq!(stopped.unwrap_err().to_string(), "no");
    let mut count = Count::default();
    let finished = store.runs().len();
    plan.carry_out(&mut store, &mut count, &mut |trial| Ok(run(trial)))
        .unwrap();
    assert_eq!(count.known, finished);
}

#[test]
fn shares_are_all_of_it() {
    let plan = wide();
    let mut whole = Store::open(file("whole-of-shares.jsonl")).unwrap();
    let expected = plan
        .carry_out(&mut whole, &mut Count::default(), &mut |trial| {
            Ok(run(trial))
        })
        .unwrap();
    let mut merged = Store::open(file("merged.jsonl")).unwrap();
    for share in 0..3 {
        let mut store = Store::open(file(&format!("share-{share}.jsonl"))).unwrap();
        let make = |trial: &Trial| Ok(run(trial));
        plan.carry_out_share((share, 3), 2, &mut store, &mut Count::default(), &make)
            .unwrap();
        assert!(store.runs().len() < whole.runs().len());
        assert_eq!(merged.merge(&store).unwrap(), store.runs().len());
        assert_eq!(merged.merge(&store).unwrap(), 0);
    }
    assert_eq!(sorted(&merged), sorted(&whole));
    let mut count = Count::default();
    let found = plan
        .carry_out(&mut merged, &mut count, &mut |_| {
            panic!("all runs are there")
        })
        .unwrap();
    assert_eq!(found, expected);

    let mut other = Store::open(file("other-outcome.jsonl")).unwrap();
    let mut changed = whole.runs()[3].clone();
    changed.outcome.parameters += 1;
    other.add(changed).unwrap();
    let error = merged.merge(&other).unwrap_err().to_string();
    assert!(
        error.contains("other-outcome.jsonl has another outcome"),
        "{error}"
    );
    assert_eq!(sorted(&merged), sorted(&whole));
}

#[test]
fn published_runs_are_found_and_never_written() {
    let (plan, path) = (plan(&["fair", "good"]), file("published.jsonl"));
    let mut store = Store::open(file("to-publish.jsonl")).unwrap();
    carry_out(&plan, &mut store, &mut Count::default());
    let runs = std::fs::read(path.with_file_name("to-publish.jsonl")).unwrap();
    let packed = path.with_added_extension("gz");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&runs).unwrap();
    let bytes = encoder.finish().unwrap();
    std::fs::write(&packed, &bytes).unwrap();

    assert_eq!(Runs::read(&path).unwrap().runs(), store.runs());
    assert!(!path.exists(), "nothing is written by who reads");
    let (mut published, mut count) = (Store::open(&path).unwrap(), Count::default());
    carry_out(&plan, &mut published, &mut count);
    assert_eq!((count.made, count.known), (0, store.runs().len()));
    let mut more = store.runs()[0].clone();
    more.trial.seed += 100;
    published.add(more.clone()).unwrap();
    assert_eq!(std::fs::read(&packed).unwrap(), bytes);
    let again = Runs::read(&path).unwrap();
    assert_eq!(again.find(&more.trial), Some(&more));
    assert_eq!(again.runs().len(), store.runs().len() + 1);

    std::fs::write(&packed, &bytes[..bytes.len() / 2]).unwrap();
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("cannot read") && error.contains("published.jsonl.gz"),
        "{error}"
    );
    std::fs::remove_file(&packed).unwrap();
}

#[test]
fn a_bad_line_is_reported_and_nothing_is_lost() {
    let path = file("bad.jsonl");
    let plan = plan(&["good"]);
    carry_out(
        &plan,
        &mut Store::open(&path).unwrap(),
        &mut Count::default(),
    );
    let mut text = std::fs::read_to_string(&path).unwrap();
    let second = text.find('\n').unwrap() + 1;
    text.insert_str(second, "{\"trial\": 3}\n");
    std::fs::write(&path, &text).unwrap();

    let error = Store::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("bad.jsonl, line 2: this is not a run"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

/// The model is the same for all, also for one whose every run diverges.
#[test]
fn parameters_are_counted_whoever_diverges() {
    for (i, optimizers) in [&["good", "never"][..], &["never", "good"], &["never"]]
        .into_iter()
        .enumerate()
    {
        let mut store = Store::open(file(&format!("parameters-{i}.jsonl"))).unwrap();
        let summary = carry_out(&plan(optimizers), &mut store, &mut Count::default());
        assert_eq!(summary.parameters, 2, "{optimizers:?}");
    }
}

/// A crash may end a line within a character.
#[test]
fn a_last_line_is_dropped_wherever_it_ends() {
    let path = file("torn.jsonl");
    let mut plan = plan(&["good"]);
    plan.device = "größte Maschine".to_string();
    carry_out(
        &plan,
        &mut Store::open(&path).unwrap(),
        &mut Count::default(),
    );
    let whole = std::fs::read(&path).unwrap();
    let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap()
        + 1;
    for end in last..=whole.len() {
        std::fs::write(&path, &whole[..end]).unwrap();
        let store = Store::open(&path).unwrap_or_else(|error| panic!("at {end}: {error}"));
        assert_eq!(store.runs().len(), lines(&whole[..end]));
        assert_eq!(store.dropped_a_line(), ![last, whole.len()].contains(&end));
        let kept = if end == whole.len() { end } else { last };
        assert_eq!(std::fs::read(&path).unwrap(), whole[..kept]);
    }
    // Whole lines must be text.
    let mut bytes = whole.clone();
    bytes[last + 5] = 0xc3;
    std::fs::write(&path, &bytes).unwrap();
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains("this is not a run"), "{error}");
}

#[test]
fn a_run_whose_curve_goes_back_is_reported() {
    let path = file("back.jsonl");
    let plan = plan(&["good"]);
    carry_out(
        &plan,
        &mut Store::open(&path).unwrap(),
        &mut Count::default(),
    );
    let text = std::fs::read_to_string(&path).unwrap();
    for (step, words) in [("20000", "100 comes after 20000"), ("0", "0 comes after 0")] {
        let edited = text.replacen("\"step\":50", &format!("\"step\":{step}"), 1);
        assert_ne!(edited, text);
        std::fs::write(&path, &edited).unwrap();
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("back.jsonl, line 1: this is not a run"),
            "{error}"
        );
        assert!(error.contains(words), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), edited);
    }
}

/// Numbers may change from version to version.
#[test]
fn runs_of_another_version_are_made_anew() {
    let path = file("version.jsonl");
    let plan = plan(&["good"]);
    let whole = carry_out(
        &plan,
        &mut Store::open(&path).unwrap(),
        &mut Count::default(),
    );
    let text = std::fs::read_to_string(&path).unwrap();
    let said = format!(",\"version\":\"{}\"", version());
    assert!(text.contains(&said), "{text}");
    // Files of the first version do not say it.
    for other in ["", ",\"version\":\"0.0.1\""] {
        let old = text.replace(&said, other);
        std::fs::write(&path, &old).unwrap();
        let mut store = Store::open(&path).unwrap();
        let runs = store.runs().len();
        assert_eq!(store.of_other_versions(), runs);
        let mut count = Count::default();
        assert_eq!(carry_out(&plan, &mut store, &mut count), whole);
        assert_eq!((count.known, count.made), (0, runs));
        assert_eq!(store.of_other_versions(), runs);
        // They stay, and what was made now is known from now on.
        assert_eq!(std::fs::read_to_string(&path).unwrap(), old + &text);
        let mut count = Count::default();
        carry_out(&plan, &mut Store::open(&path).unwrap(), &mut count);
        assert_eq!((count.known, count.made), (runs, 0));
    }
}

#[test]
fn rates_that_nothing_is_trained_with_are_refused_before_anything_runs() {
    for lr in [1e308, f64::INFINITY, f64::NAN, 0.0, -1e-3, 1e-320] {
        let mut plan = plan(&["good", "fair"]);
        plan.candidates[1].rates.push(lr);
        let mut store = Store::open(file("rates-refused.jsonl")).unwrap();
        let mut made = 0;
        let stopped = plan.carry_out(&mut store, &mut Count::default(), &mut |trial| {
            made += 1;
            Ok(run(trial))
        });
        let message = stopped.unwrap_err().to_string();
        let expected = format!("fair: a learning rate must be from 1e-30 to 1e30, got {lr:e}");
        assert_eq!(message, expected);
        assert_eq!(made, 0);
    }
    // The widest grid there is stays within numbers when it is widened.
    let mut plan = plan(&["beyond"]);
    plan.candidates[0].rates = rates_between(1e-30, 1e30, 2);
    let mut store = Store::open(file("widest.jsonl")).unwrap();
    let summary = carry_out(&plan, &mut store, &mut Count::default());
    let tried = &summary.entries[0].tried;
    assert!(
        tried
            .iter()
            .all(|tried| tried.lr.is_finite() && tried.lr > 0.0),
        "{tried:?}"
    );
}

/// Another setting is another trial: it is run, not looked up.
#[test]
fn runs_of_other_settings_are_not_taken() {
    let path = file("other.jsonl");
    let mut first = plan(&["good"]);
    carry_out(
        &first,
        &mut Store::open(&path).unwrap(),
        &mut Count::default(),
    );
    first.schedule = Some(json!({"name": "cosine"}));
    let mut count = Count::default();
    carry_out(&first, &mut Store::open(&path).unwrap(), &mut count);
    assert_eq!(count.known, 0);
    first.seeds.push(4);
    let mut count = Count::default();
    carry_out(&first, &mut Store::open(&path).unwrap(), &mut count);
    assert_eq!(count.made, 1);
}

#[test]
fn better_is_first() {
    let score = |loss, metric| Score { loss, metric };
    let unknown = Score::default();
    let (low, high) = (score(Some(2.0), Some(0.1)), score(Some(1.0), Some(0.9)));
    assert!(compare(high, low, true).is_lt());
    assert!(compare(low, high, false).is_lt());
    let tie = score(Some(0.5), Some(0.1));
    assert!(compare(tie, low, true).is_lt());
    assert!(compare(low, unknown, true).is_lt() && compare(low, unknown, false).is_lt());
}

#[test]
fn grids() {
    let close = |rates: &[f64], expected: &[f64]| {
        let pairs = rates.iter().zip(expected);
        rates.len() == expected.len() && pairs.into_iter().all(|(a, b)| (a / b - 1.0).abs() < 1e-12)
    };
    let root = 10f64.sqrt();
    assert!(close(
        &rates_around(1e-3, 5),
        &[1e-4, 1e-4 * root, 1e-3, 1e-3 * root, 1e-2]
    ));
    assert!(close(&rates_around(2e-3, 1), &[2e-3]));
    assert!(close(&rates_around(1e-3, 2), &[1e-3, 1e-3 * root]));
    assert!(close(
        &rates_between(1e-4, 1.0, 5),
        &[1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    ));
    assert!(close(&rates_between(0.3, 0.3, 1), &[0.3]));
    let wide = rates_between(1e-300, 1e300, 3);
    assert!(wide.iter().all(|lr| lr.is_finite()), "{wide:?}");
    assert!((wide[1].ln()).abs() < 1e-9, "{wide:?}");
}

/// A grid is widened in its own ratio, and rates have four digits at most.
#[test]
fn rates_can_be_repeated_by_hand() {
    let mut store = Store::open(file("rates.jsonl")).unwrap();
    let summary = carry_out(&plan(&["far"]), &mut store, &mut Count::default());
    let rates: Vec<f64> = summary.entries[0]
        .tried
        .iter()
        .map(|tried| tried.lr)
        .collect();
    let expected = [
        1e-4, 3.162e-4, 1e-3, 3.162e-3, 1e-2, 3.162e-2, 1e-1, 3.162e-1, 1.0, 3.162, 10.0,
    ];
    assert_eq!(rates, expected);
}
