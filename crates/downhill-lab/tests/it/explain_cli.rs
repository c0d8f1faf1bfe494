//! `downhill explain`, run as its users run it.

use std::process::{Command, Output};

use downhill_optim::OptimizerConfig;
use serde_json::Value;

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downhill"));
    command.arg("explain").args(args).output().unwrap()
}

#[track_caller]
fn text(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn adamw_is_its_formula() {
    let text = text(&["adamw"]);
    let expected = "\
State: exp_avg, exp_avg_sq
Memory: 28 bytes read and written for each parameter in f32
Step 10 at a learning rate of 0.001

Of every element
";
    assert!(text.contains(expected), "{text}");
    for line in [
        "exp_avg · beta_1",
        "· (1 - beta_1)",
        "exp_avg_sq · beta_2",
        "· (1 - beta_2)",
        "param · (1 - lr·weight_decay)",
        "+ epsilon",
        "· lr",
        "sqrt(",
        "exp_avg_sq ← ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

/// A look is of every element too, and what is kept of rows and columns has its names.
#[test]
fn adafactor_shows_its_looks() {
    let text = text(&["adafactor"]);
    for line in [
        "Look 1",
        "What that comes to",
        "mean(",
        "sum over the row",
        "row_var ← ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn every_optimizer_is_explained_or_says_why_not() {
    let mut pieces = 0;
    for info in OptimizerConfig::all() {
        let output = run(&[info.name, "--json"]);
        if output.status.success() {
            let json: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(json["optimizer"], info.name);
            let parts = json["parts"].as_array().unwrap();
            assert!(!parts.is_empty(), "{}", info.name);
            assert!(
                json["bytes_per_parameter"].as_u64().unwrap() >= 12,
                "{}",
                info.name
            );
        } else {
            assert_eq!(output.status.code(), Some(1), "{}", info.name);
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(error.contains("made of several pieces"), "{error}");
            pieces += 1;
        }
    }
    assert!((1..40).contains(&pieces), "{pieces}");
}

#[test]
fn the_picture_shows_every_operation() {
    let file = std::env::temp_dir().join(format!("downhill-flow-{}.svg", std::process::id()));
    let path = file.to_str().unwrap();
    let json = text(&["nadam", "--json", "--svg", path]);
    let picture = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    let lines = json["parts"][0]["lines"].as_array().unwrap().len();
    assert_eq!(picture.matches(r#"class="operation""#).count(), lines);
    assert!(picture.starts_with("<svg") && picture.contains("exp_avg"));
}

#[test]
fn mistakes_are_answered() {
    let output = run(&["adamv"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("did you mean"), "{error}");
    assert_eq!(run(&["adam", "--lr=-1"]).status.code(), Some(2));
    assert_eq!(
        run(&["adam", "--svg", "/nowhere/at/all.svg"]).status.code(),
        Some(1)
    );
}
