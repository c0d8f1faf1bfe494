//! The example `resume`, run as its users run it.

use crate::runs::{TempDir, example, message, printed};
use downhill::train::checkpoint::{Checkpoint, Checkpoints};

/// The example, on a device that prints nothing of its own.
fn resume() -> std::process::Command {
    let mut command = example("resume");
    command.env("BURN_DEVICE", "flex");
    command
}

/// How often a training was killed, by the table.
fn kills(printed: &str) -> usize {
    let rows = printed.lines().filter(|line| line.starts_with('│'));
    rows.count() - 1
}

#[test]
fn a_killed_training_ends_as_one_that_was_not() {
    for count in [1, 4] {
        let output = resume()
            .args(["--kills", &count.to_string()])
            .output()
            .unwrap();
        let printed = printed(&output);
        let last = printed.lines().last().unwrap();
        assert_eq!(
            last,
            "Weights, averages and optimizer state are equal bit for bit."
        );
        // On a machine that is busy it may have come to its end before it was killed.
        let killed = kills(&printed);
        assert!((1..=count).contains(&killed), "{printed}");
        let s = if killed == 1 { "" } else { "s" };
        assert!(
            printed.contains(&format!("After {killed} kill{s}, ")),
            "{printed}"
        );
    }
}

#[test]
fn a_folder_is_trained_to_the_end_and_not_twice() {
    let folder = TempDir::new("train");
    let path = folder.path("checkpoints");
    let train = || {
        let output = resume().args(["--train", &path]).output().unwrap();
        printed(&output)
    };
    let steps: Vec<u64> = train().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(steps, (1..=1800).collect::<Vec<u64>>());
    assert_eq!(train(), "", "all is done");

    let saved = Checkpoints::new(&path).list().unwrap();
    let updates: Vec<u64> = saved.iter().map(|(step, _)| *step).collect();
    assert_eq!(updates, [1775, 1800]);
    let checkpoint = Checkpoint::open(&saved[1].1).unwrap();
    assert_eq!(checkpoint.header().averaged, Some(1800));
}

#[test]
fn wrong_options_are_usage_errors() {
    for args in [&["--kills", "0"][..], &["--kills", "2", "--train", "x"]] {
        let message = message(2, &resume().args(args).output().unwrap());
        assert!(message.contains("--kills"), "{message}");
    }
}
