//! A leaderboard of optimizers whose times are known, and the command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use downhill_lab::leaderboard::{Clock, Contender, Leaderboard, Standings, Track};
use downhill_lab::protocol::{Observer, Setup, Stopped, TUNING_SEED};
use downhill_lab::results::{Cost, Outcome, Point, Run, Score, Stage, Trial};
use downhill_lab::store::Store;
use downhill_problems::by_name;
use serde_json::{Value, json};

/// Steps to the target of the optimizers `a` and `b` with the rates 1 and 2; where it is missed, how far they come.
fn time(trial: &Trial) -> Result<u64, f64> {
    let optimizer = trial.optimizer["name"].as_str().unwrap();
    match (optimizer, trial.problem.as_str(), trial.lr) {
        ("a", "rosenbrock", 1.0) => Ok(100),
        ("a", "rosenbrock", 2.0) => Ok(200),
        ("a", "beale", 1.0) => Ok(400),
        ("a", "beale", 2.0) => Ok(100),
        ("b", "rosenbrock", 1.0) => Err(0.4),
        ("b", "rosenbrock", 2.0) => Err(0.2),
        ("b", "beale", _) => Ok(200),
        other => panic!("{other:?}"),
    }
}

fn run(trial: &Trial) -> Run {
    let target = by_name(&trial.problem).unwrap().info().target.value;
    let time = time(trial);
    // From one above the target.
    let end = target + time.err().unwrap_or(0.0);
    let point = |step: u64, loss: f64| {
        let score = Score {
            loss: Some(loss),
            // The target is of the gap to the least value.
            metric: Some(loss),
        };
        Point {
            step,
            train: score,
            validation: score,
        }
    };
    let curve = vec![point(0, target + 1.0), point(trial.steps, end)];
    Run {
        trial: trial.clone(),
        outcome: Outcome {
            test: curve[1].train,
            curve,
            diverged_at: None,
            steps_to_target: time.ok(),
            state_bytes: 16,
            parameters: 2,
        },
        cost: Cost {
            // One is slower by the step, and some runs are held up.
            seconds: match (trial.optimizer["name"].as_str(), trial.seed) {
                (_, 1) => 7.0,
                (Some("a"), _) => trial.steps as f64 * 1e-2,
                _ => trial.steps as f64 * 1e-3,
            },
            optimizer_seconds: 0.25,
            seconds_to_target: None,
            peak_bytes: None,
        },
    }
}

fn leaderboard() -> Leaderboard {
    let setup = |name: &str, lr: f64| Setup {
        optimizer: json!({ "name": name }),
        schedule: json!({"name": "constant"}),
        lr,
    };
    let contender = |name: &str| Contender {
        name: name.to_string(),
        setups: vec![setup(name, 1.0), setup(name, 2.0)],
    };
    Leaderboard {
        problems: ["rosenbrock", "beale"]
            .map(|name| by_name(name).unwrap())
            .to_vec(),
        contenders: vec![contender("a"), contender("b")],
        seeds: vec![1, 2, 3],
        device: "none".to_string(),
    }
}

struct Silent;

impl Observer for Silent {
    fn planned(&mut self, done: usize, needed: usize) {
        assert!(done <= needed);
    }
    fn begins(&mut self, _: &Trial) {}
    fn ended(&mut self, _: &Run, _: bool) {}
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("leaderboard")
        .join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn made(
    board: &Leaderboard,
    store: &mut Store,
    share: (usize, usize),
    jobs: usize,
) -> (Standings, Vec<Trial>) {
    let trials = Mutex::new(Vec::new());
    let make = |trial: &Trial| -> Result<Run, Stopped> {
        trials.lock().unwrap().push(trial.clone());
        Ok(run(trial))
    };
    let cells = board
        .carry_out(share, jobs, store, &mut Silent, &make)
        .unwrap();
    let of_share = Leaderboard {
        contenders: board
            .contenders
            .iter()
            .skip(share.0)
            .step_by(share.1)
            .cloned()
            .collect(),
        ..board.clone()
    };
    let standings = Standings::new(&of_share, cells, "command".into(), "machine".into(), jobs);
    (standings.unwrap(), trials.into_inner().unwrap())
}

#[test]
fn the_setups_are_chosen_for_each_problem_and_for_all() {
    let mut store = Store::open(folder("chosen").join("runs.jsonl")).unwrap();
    let (standings, trials) = made(&leaderboard(), &mut store, (0, 1), 2);
    let chosen = |optimizer: usize, track| -> Vec<usize> {
        let cells = standings.optimizers[optimizer].cells.iter();
        cells.map(|cell| cell.tracks[&track].0).collect()
    };
    assert_eq!(chosen(0, Track::Tuned), [0, 1]);
    // At the second it is half as fast on one, at the first a quarter as fast on the other.
    assert_eq!(chosen(0, Track::OneSetting), [1, 1]);
    // Neither comes to the target; the second comes nearer, and on the other problem they are equal.
    assert_eq!(chosen(1, Track::Tuned), [1, 0]);
    assert_eq!(chosen(1, Track::OneSetting), [1, 1]);

    let scores = |track: Track, clock: Clock| -> Vec<(String, f64)> {
        let places = standings.places[&track][&clock].iter();
        places
            .map(|place| (place.optimizer.clone(), place.score))
            .collect()
    };
    let third = 1.0 / 3.0;
    let expected = [("a".to_string(), 1.0), ("b".to_string(), third)];
    assert_eq!(scores(Track::Tuned, Clock::Steps), expected);
    assert_eq!(scores(Track::OneSetting, Clock::Steps), expected);
    // In seconds `b` is five times as fast where it comes to the target.
    let expected = [("a".to_string(), 0.5), ("b".to_string(), 0.5)];
    assert_eq!(scores(Track::Tuned, Clock::Seconds), expected);

    let missed = &standings.optimizers[1].cells[0].tracks[&Track::Tuned].1;
    assert!(missed.iter().all(|finish| finish.steps.is_none()));
    assert!((missed[0].shortfall.unwrap() - 0.2).abs() < 1e-9);
    assert_eq!(standings.optimizers[0].state_bytes_per_parameter, 8.0);

    // Tuning is with a seed of its own, and a setup that is chosen on both tracks runs once.
    let (tuning, counted): (Vec<_>, Vec<_>) =
        trials.iter().partition(|trial| trial.stage == Stage::Tune);
    assert_eq!(tuning.len(), 2 * 2 * 2);
    assert!(tuning.iter().all(|trial| trial.seed == TUNING_SEED));
    assert_eq!(counted.len(), 3 * (3 + 3));
    assert!(counted.iter().all(|trial| trial.seed != TUNING_SEED));
}

#[test]
fn shares_that_are_merged_are_all_of_it() {
    let board = leaderboard();
    let folder = folder("shares");
    let open = |name: &str| Store::open(folder.join(name)).unwrap();
    let mut merged = open("merged.jsonl");
    for share in 0..2 {
        let mut store = open(&format!("{share}.jsonl"));
        made(&board, &mut store, (share, 2), 1);
        merged.merge(&store).unwrap();
    }
    let (of_shares, trials) = made(&board, &mut merged, (0, 1), 1);
    assert_eq!(trials, []);
    let (whole, _) = made(&board, &mut open("whole.jsonl"), (0, 1), 1);
    assert_eq!(of_shares, whole);
}

#[cfg(feature = "flex")]
#[test]
fn the_command_writes_what_it_says_and_goes_on_where_it_was() {
    let out = folder("command");
    let downhill = |more: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_downhill"));
        command.args([
            "leaderboard",
            "--problem",
            "quadratic,beale",
            "--optimizer",
            "sgd,yogi",
        ]);
        command.args(["--setups", "2", "--seeds", "2", "--device", "flex"]);
        command.arg("--out").arg(&out).args(more).output().unwrap()
    };
    let output = downhill(&[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("│ yogi"), "{said}");
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let runs = read("runs.jsonl");

    let json: Value = serde_json::from_str(&read("leaderboard.json")).unwrap();
    assert_eq!(json["optimizers"][1]["setups"].as_array().unwrap().len(), 2);
    let command = "downhill leaderboard --problem quadratic,beale --optimizer sgd,yogi --setups 2 --seeds 2 --device flex";
    assert_eq!(json["command"], command);
    let page = read("README.md");
    assert!(
        page.contains(command) && page.contains("| `yogi` |"),
        "{page}"
    );
    let html = read("index.html");
    assert!(
        html.starts_with("<!DOCTYPE html>") && html.contains(command),
        "{html}"
    );
    for name in ["quadratic", "beale", "sgd", "yogi"] {
        assert!(html.contains(name), "{name}");
    }
    assert!(
        !html.contains("http://") && !html.contains("src=\"http"),
        "it needs no network"
    );
    // Two optimizers, two problems, two tracks, two seeds, and a header.
    assert_eq!(read("runs.csv").lines().count(), 1 + 16);

    let output = downhill(&["--json"]);
    let again: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(again["places"], json["places"]);
    assert_eq!(read("runs.jsonl"), runs, "no run is made twice");

    let advise = |more: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_downhill"));
        command
            .arg("advise")
            .arg("--from")
            .arg(out.join("leaderboard.json"));
        command.args(more).output().unwrap()
    };
    let advice: Value = serde_json::from_slice(&advise(&["--json"]).stdout).unwrap();
    assert_eq!(advice["problems"], json!(["quadratic", "beale"]));
    assert_eq!(advice["considered"], 2);
    // Yogi keeps two numbers.
    let low = advise(&["--json", "--memory", "low", "--problem-like", "BEALE"]);
    let low: Value = serde_json::from_slice(&low.stdout).unwrap();
    assert_eq!(low["problems"], json!(["beale"]));
    assert_eq!(low["candidates"].as_array().unwrap().len(), 1);
    assert_eq!(low["candidates"][0]["optimizer"], "sgd");
    let said = String::from_utf8(advise(&[]).stdout).unwrap();
    assert!(said.contains("cannot be told apart"), "{said}");
    let none = advise(&["--problem-like", "poetry"]);
    assert_eq!(none.status.code(), Some(2));
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(
        said.contains("no problem is like `poetry`: there are quadratic, beale"),
        "{said}"
    );
}
