//! The published leaderboard, and the one that is part of the program.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use downhill_lab::leaderboard::{Contender, Leaderboard, Standings, published};
use downhill_lab::protocol::{Observer, Stopped, setups};
use downhill_lab::results::{Run, Trial};
use downhill_lab::run::run_among;
use downhill_lab::source::version;
use downhill_lab::store::{Runs, Store};
use downhill_optim::OptimizerConfig;
use downhill_problems::by_name;

/// Where it is in the repository.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/leaderboard")
}

fn runs() -> Runs {
    Runs::read(folder().join("runs.jsonl")).unwrap()
}

struct Silent;

impl Observer for Silent {
    fn planned(&mut self, _: usize, _: usize) {}
    fn begins(&mut self, trial: &Trial) {
        panic!("{trial:?} is missing");
    }
    fn ended(&mut self, _: &Run, _: bool) {}
}

#[test]
fn the_program_has_the_published_one() {
    let file = File::open(folder().join("leaderboard.json")).unwrap();
    let standings: Standings = serde_json::from_reader(BufReader::new(file)).unwrap();
    assert!(standings == published(), "the program has another one");
    assert!(!standings.source.changed && standings.source.profile == "release");
    assert!(standings.source.commit.is_some());
    assert!(standings.seeds.len() >= 5);
}

#[test]
fn every_optimizer_is_in_it_with_the_settings_that_are_searched() {
    let standings = published();
    let mut lines = standings.optimizers.iter();
    for info in OptimizerConfig::all() {
        let line = lines.next().expect("there is one more");
        assert_eq!(line.name, info.name);
        let config = OptimizerConfig::by_name(info.name).unwrap();
        assert_eq!(
            line.setups,
            setups(&config, standings.setups),
            "{}",
            info.name
        );
    }
    assert_eq!(lines.next(), None);
}

/// What is said of the runs is what they come to.
#[test]
fn the_standings_are_those_of_the_published_runs() {
    let published = published();
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("published");
    let _ = fs::remove_dir_all(&temporary);
    fs::create_dir_all(&temporary).unwrap();
    let file = temporary.join("runs.jsonl");
    let mut text = Vec::new();
    for run in runs().runs() {
        let mut run = run.clone();
        // Of the sources that are tested, which may have been changed since.
        run.trial.version = version().to_string();
        serde_json::to_writer(&mut text, &run).unwrap();
        text.push(b'\n');
    }
    File::create(&file).unwrap().write_all(&text).unwrap();
    let mut store = Store::open(&file).unwrap();
    let problems = published.problems.iter();
    let contender = |name: &str, setups: &[_]| Contender {
        name: name.to_string(),
        setups: setups.to_vec(),
    };
    let lines = published.optimizers.iter();
    let leaderboard = Leaderboard {
        problems: problems.map(|one| by_name(&one.name).unwrap()).collect(),
        contenders: lines
            .map(|line| contender(&line.name, &line.setups))
            .collect(),
        seeds: published.seeds.clone(),
        device: published.device.clone(),
    };
    let missing = |trial: &Trial| -> Result<Run, Stopped> { panic!("{trial:?} is missing") };
    let cells = leaderboard.carry_out((0, 1), 1, &mut store, &mut Silent, &missing);
    let standings = Standings::new(
        &leaderboard,
        cells.unwrap(),
        published.command.clone(),
        published.machine.clone(),
        published.jobs,
    );
    let standings = standings.unwrap();
    assert!(standings.problems == published.problems);
    assert!(standings.optimizers == published.optimizers);
    for (track, of_track) in &published.places {
        for (clock, places) in of_track {
            assert_eq!(
                &standings.places[track][clock], places,
                "{track:?}, {clock:?}"
            );
        }
    }
    fs::remove_dir_all(&temporary).unwrap();
}

/// Every two hundredth of the counted runs on problems that take no time gives the published numbers. Another processor
/// adds up in another order, and what learns goes its own way from there; so it is the beginning that is compared.
#[test]
fn a_sample_of_the_runs_gives_the_published_numbers() {
    const QUICK: [&str; 4] = [
        "least-squares",
        "matrix-factorization",
        "digits-logistic",
        "digits-mlp",
    ];
    let problems = QUICK.map(|name| by_name(name).unwrap());
    let published = runs();
    let quick = published.runs().iter();
    let quick = quick.filter(|run| QUICK.contains(&run.trial.problem.as_str()));
    let sample: Vec<&Run> = quick.step_by(200).collect();
    let mut optimizers = BTreeMap::new();
    let mut same = 0;
    for run in &sample {
        let name = run.trial.optimizer["name"].as_str().unwrap();
        *optimizers.entry(name).or_insert(0) += 1;
        let again = run_among(
            &problems,
            &run.trial,
            &Device::flex(),
            &AtomicBool::new(false),
        );
        let again = again.unwrap();
        assert_eq!(again.outcome.state_bytes, run.outcome.state_bytes, "{name}");
        let (curve, before) = (&again.outcome.curve, &run.outcome.curve);
        for (point, before) in curve.iter().zip(before).take(3) {
            assert_eq!(point.step, before.step);
            let (Some(loss), Some(was)) = (point.train.loss, before.train.loss) else {
                assert_eq!(point.train.loss, before.train.loss, "{name}");
                continue;
            };
            assert!(
                (loss - was).abs() <= 1e-3 * was.abs(),
                "{:?}: {loss}, and not {was}",
                run.trial
            );
        }
        same += usize::from(again.outcome == run.outcome);
    }
    println!(
        "{same} of {} runs are the same to the last digit",
        sample.len()
    );
    assert!(
        sample.len() >= 20 && optimizers.len() >= 15,
        "{optimizers:?}"
    );
}

#[test]
fn advice_is_from_the_published_one_unless_something_else_is_said() {
    let advise = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_downhill"));
        let output = command.arg("advise").args(args).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let said = advise(&["--problem-like", "transformer", "--memory", "low"]);
    let published = published();
    let header = format!(
        "({} settings for each, {} seeds, {}):",
        published.setups,
        published.seeds.len(),
        published.date
    );
    assert!(said.contains(&header), "{said}");
    assert!(said.contains("cannot be told apart"), "{said}");
    let advice: serde_json::Value = serde_json::from_str(&advise(&["--json"])).unwrap();
    assert_eq!(advice["considered"], published.optimizers.len());
}
