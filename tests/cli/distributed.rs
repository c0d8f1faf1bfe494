//! The example `distributed`, run as its users run it: under `mpirun`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use downhill::train::checkpoint::Checkpoints;

use crate::runs::{TempDir, example, text};

/// One job at a time: more processes than cores wait for each other long enough.
static JOB: Mutex<()> = Mutex::new(());

/// Processes of the example, each `of` so many with these arguments.
fn job(of: &[(usize, &[&str])]) -> Command {
    let mut command = Command::new("mpirun");
    command
        .args(["--allow-run-as-root", "--oversubscribe", "--timeout", "200"])
        .env("BURN_DEVICE", "flex");
    for (at, (count, args)) in of.iter().enumerate() {
        if at > 0 {
            command.arg(":");
        }
        command.args(["-n", &count.to_string()]);
        command
            .arg(example("distributed").get_program())
            .args(*args);
    }
    command
}

fn output(command: &mut Command) -> Output {
    let _job = JOB.lock().unwrap_or_else(PoisonError::into_inner);
    command.output().expect("Open MPI is installed")
}

/// What it printed, which must have gone well.
#[track_caller]
fn good(of: &[(usize, &[&str])]) -> String {
    let output = output(&mut job(of));
    let said = [&output.stdout[..], &output.stderr].map(text).concat();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

/// The number that is said of the model, after its name.
#[track_caller]
fn quality(said: &str, metric: &str) -> f64 {
    let value = said.split(&format!("test {metric} ")).nth(1);
    let value = value.and_then(|value| value.split_whitespace().next());
    value.unwrap().parse().unwrap()
}

/// The bytes of the last checkpoint, and its update.
fn last(folder: &str) -> (u64, Vec<u8>) {
    let (step, path) = Checkpoints::new(folder).list().unwrap().pop().unwrap();
    (step, fs::read(path).unwrap())
}

#[test]
fn two_processes_with_and_without_shares_end_with_the_same_bits() {
    let folder = TempDir::new("distributed");
    let run = |count, name: &str, more: &[&str]| {
        let path = folder.path(name);
        let args = [&["--updates", "150", "--folder", &path], more].concat();
        let said = good(&[(count, &args)]);
        for rank in 0..count {
            assert!(said.contains(&format!("rank {rank} of {count}: states of ")));
        }
        (quality(&said, "accuracy"), last(&path))
    };
    let (alone, _) = run(1, "alone", &[]);
    for count in [2, 4] {
        let whole = run(count, &format!("whole-{count}"), &[]);
        let shared = run(count, &format!("shared-{count}"), &["--shard-state"]);
        assert!(whole == shared, "{count} processes");
        assert!((whole.0 - alone).abs() < 0.01, "{}, {alone}", whole.0);
    }
    let (local, (step, _)) = run(2, "local", &["--local-updates", "10"]);
    assert_eq!(step, 150);
    assert!((local - alone).abs() < 0.02, "{local}, {alone}");
}

/// Whether a folder has a checkpoint of this update or a later one.
fn is_at(folder: &str, step: u64) -> bool {
    let saved = Checkpoints::new(folder).list().unwrap();
    saved.last().is_some_and(|(last, _)| *last >= step)
}

/// Kills one of two processes when there is a checkpoint of this update: all end, and it is said which.
fn kill(args: &[&str], folder: &str, step: u64, victim: usize) {
    let _job = JOB.lock().unwrap_or_else(PoisonError::into_inner);
    let mut job = job(&[(2, args)]);
    let job = job.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut job = job.spawn().expect("Open MPI is installed");
    let of_victim = format!("rank {victim} of 2: process ");
    let mut lines = BufReader::new(job.stdout.take().unwrap()).lines();
    let process = lines
        .find_map(|line| Some(line.unwrap().strip_prefix(&of_victim)?.to_owned()))
        .unwrap();
    while !is_at(folder, step) {
        assert_eq!(job.try_wait().unwrap(), None, "it came to its end before");
        thread::sleep(Duration::from_millis(2));
    }
    let killed = Command::new("kill").args(["-KILL", &process]).status();
    assert!(killed.unwrap().success());
    let begun = Instant::now();
    let output = job.wait_with_output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30));
    let said = text(&output.stderr);
    let named = said.contains("signal 9") || said.contains(&format!("rank {victim} has left"));
    assert!(named, "{said}");
    assert_ne!(output.status.code(), Some(0), "{said}");
}

#[test]
fn a_killed_job_goes_on_to_the_same_bits() {
    let folder = TempDir::new("killed-ranks");
    for (name, more) in [
        ("together", &[][..]),
        ("shares", &["--shard-state"]),
        ("local", &["--local-updates", "5", "--bf16"]),
    ] {
        let [whole, killed] =
            ["whole", "killed"].map(|kind| folder.path(&format!("{name}-{kind}")));
        // Long enough that both kills come before the end on a machine that is busy.
        let args = |path| {
            let length = ["--updates", "3000", "--save-every", "50"];
            [&length, &["--folder", path][..], more].concat()
        };
        good(&[(2, &args(&whole))]);
        kill(&args(&killed), &killed, 100, 1);
        let reached = last(&killed).0;
        kill(&args(&killed), &killed, reached + 100, 0);
        assert!(last(&killed).0 < 3000, "{name}");
        good(&[(2, &args(&killed))]);
        assert!(last(&killed) == last(&whole), "{name}");
        let left: Vec<_> = fs::read_dir(Path::new(&killed)).unwrap().collect();
        assert_eq!(left.len(), 3, "two checkpoints and the lock: {left:?}");
    }
}

/// Of which a part comes from each process that says it.
#[track_caller]
fn refused(of: &[(usize, &[&str])], parts: &[&str]) {
    let output = output(&mut job(of));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(parts.iter().any(|part| said.contains(part)), "{said}");
}

#[test]
fn processes_that_differ_or_cannot_go_on_say_why() {
    refused(
        &[(1, &["--lr", "0.1"]), (1, &["--lr", "0.2"])],
        &[
            "error: rank 0: rank 1 differs in the learning rate: it has ",
            "error: rank 1: rank 0 differs in the learning rate: it has ",
        ],
    );
    let folder = TempDir::new("refused-ranks");
    let path = folder.path("checkpoints");
    refused(
        &[(2, &["--local-updates", "7", "--folder", &path])],
        &[
            "ranks that train by themselves can save what they have when they have met, after every 7 updates",
        ],
    );
    refused(
        &[(3, &["--batch-size", "2"])],
        &["a batch of 2 has to have a sample for each of 3 processes"],
    );
    fs::write(folder.path("file"), "").unwrap();
    let path = folder.path("file");
    refused(
        &[(2, &["--updates", "3", "--folder", &path])],
        &[&format!("{path} cannot be ")],
    );
    let output = example("distributed")
        .args(["--shard-state", "--local-updates", "2"])
        .output();
    assert_eq!(output.unwrap().status.code(), Some(2));
}

#[test]
fn a_transformer_learns_on_two_processes() {
    let args = [
        "--problem",
        "transformer",
        "--updates",
        "12",
        "--batch-size",
        "16",
    ];
    let bits = |more: &[&str]| {
        let said = good(&[(2, &[&args, more].concat())]);
        quality(&said, "bits per character")
    };
    let (whole, shared) = (bits(&[]), bits(&["--shard-state"]));
    assert_eq!(whole, shared);
    assert!(whole < 5.5, "{whole} of log2(70) = 6.13");
}
