//! `downhill bench step`, run as its users run it.
use std::process::{Command, Output};

use downhill_lab::bench::{BenchError, pair, pairs, step_time};
use downhill_optim::OptimizerConfig;
use serde_json::Value;

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downhill"));
    let command = command.args(["bench", "step"]).args(args);
    command.env("RUST_BACKTRACE", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn rows(args: &[&str]) -> Vec<Value> {
    let output = run(&[&["--json", "--rounds", "1"], args].concat());
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let lines = text(&output.stdout).lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What is timed beside burn-optim's.
const COUNTERPARTS: [&str; 10] = [
    "sgd",
    "momentum",
    "adagrad",
    "rmsprop",
    "adam",
    "adamw",
    "adafactor",
    "lamb",
    "lion",
    "adan",
];

#[test]
fn every_optimizer_has_a_row_and_some_a_counterpart() {
    let rows = rows(&["--optimizer", "all", "--parameters", "1024"]);
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row["optimizer"].as_str().unwrap())
        .collect();
    let mut expected: Vec<&str> = OptimizerConfig::all()
        .iter()
        .map(|info| info.name)
        .collect();
    expected.insert(1, "momentum");
    assert_eq!(names, expected);
    for row in &rows {
        let number = |key: &str| row[key].as_f64();
        let ours = number("downhill_ns").unwrap();
        assert!(ours > 0.0);
        let name = row["optimizer"].as_str().unwrap();
        assert_eq!(
            row["burn_ns"].is_number(),
            COUNTERPARTS.contains(&name),
            "{name}"
        );
        if let Some(theirs) = number("burn_ns") {
            assert!((number("ratio").unwrap() * ours / theirs - 1.0).abs() < 1e-12);
        }
        let bytes = number("bytes_per_parameter").unwrap();
        assert!((number("gb_per_s").unwrap() * ours / bytes - 1.0).abs() < 1e-12);
        let known = match name {
            "sgd" => 12.0,
            "momentum" | "adagrad" | "rmsprop" => 20.0,
            "adam" | "adamw" | "nadam" => 28.0,
            "adafactor" => 24.0,
            _ => continue,
        };
        assert_eq!(bytes, known, "{name}");
    }
}

#[test]
fn options_choose_what_is_timed() {
    let rows = rows(&["--optimizer", "adam,sgd", "--parameters", "64,1000,1"]);
    let rows: Vec<(&str, u64)> = rows
        .iter()
        .map(|row| {
            (
                row["optimizer"].as_str().unwrap(),
                row["parameters"].as_u64().unwrap(),
            )
        })
        .collect();
    // 1,000 are 31 rows of 32.
    let sizes = [64, 992, 1];
    let expected = ["adam", "sgd"]
        .into_iter()
        .flat_map(|name| sizes.map(|size| (name, size)));
    assert_eq!(rows, expected.collect::<Vec<_>>());

    let args = [
        "--json",
        "--optimizer",
        "sgd",
        "--parameters",
        "64",
        "--rounds",
        "4",
    ];
    let output = run(&[&args[..], &["--device", "flex"]].concat());
    let row: Value = serde_json::from_str(text(&output.stdout)).unwrap();
    assert_eq!(row["rounds"], 4);
}

#[test]
fn the_table_has_units_and_dashes() {
    let args = [
        "--optimizer",
        "nadam,adam",
        "--parameters",
        "4096",
        "--rounds",
        "2",
    ];
    let output = run(&args);
    assert_eq!(
        text(&output.stderr),
        "",
        "no progress bar unless on a terminal"
    );
    let table = text(&output.stdout);
    assert!(!table.contains('\u{1b}'));
    let row = |name: &str| table.lines().find(|line| line.contains(name)).unwrap();
    assert!(row(" nadam ").contains(" - ") && row(" nadam ").contains("4,096"));
    assert!(!row(" adam ").contains(" - ") && row(" adam ").contains("us"));
    assert!(table.contains("development build"));
}

#[test]
fn wrong_options_are_usage_errors() {
    for (args, part) in [
        (["--optimizer", "adamm"], "did you mean `adam`?"),
        (["--parameters", "0"], "0 is not in 1.."),
        (["--parameters", "many"], "many"),
        (["--rounds", "0"], "0 is not in 1.."),
        (["--device", "abacus"], "abacus"),
    ] {
        let output = run(&args);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

#[test]
fn the_functions_refuse_what_cannot_be_timed() {
    let device = burn::tensor::Device::flex();
    let sgd = pair("sgd").unwrap();
    for (parameters, rounds) in [(0, 1), (1, 0)] {
        let error = step_time(&sgd, parameters, rounds, &device, &mut |_| ()).unwrap_err();
        assert!(matches!(error, BenchError::Nothing));
    }
    assert!(pair("none").is_err());
    assert!(pairs().len() > 7);
}

/// Without a device of CubeCL there is nothing to count, and no other way beside burn-optim's.
#[test]
fn a_model_is_timed_by_all_ways() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downhill"));
    let args = [
        "bench",
        "model",
        "--json",
        "--rounds",
        "1",
        "--tensors",
        "5",
        "--elements",
        "16",
    ];
    let command = command
        .args(args)
        .args(["--optimizer", "adamw,nadam", "--sizes", "unequal"]);
    let output = command.args(["--device", "flex"]).output().unwrap();
    assert_eq!(text(&output.stderr), "");
    let rows: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found = rows
        .iter()
        .map(|row| (row["optimizer"].clone(), row["way"].clone()));
    let found: Vec<_> = found.collect();
    for expected in [
        ("adamw", "kernels"),
        ("adamw", "burn_optim"),
        ("nadam", "kernels"),
    ] {
        let expected = (expected.0.into(), expected.1.into());
        assert!(found.contains(&expected), "{found:?}");
    }
    for row in &rows {
        // 4 rows of 4 to 8 columns.
        assert_eq!(
            (&row["tensors"], &row["parameters"]),
            (&5.into(), &120.into())
        );
        assert!(row["step_ms"].as_f64().unwrap() > 0.0);
        assert!(row["kernels"].is_null() && row["operations"].is_null());
    }
}
