//! The examples `linear_regression`, `quadratic` and `benchmark`, run as their users run them, against
//! the numbers of the deck's own classes; and `docs/deck.md`, whose commands must work.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::runs::{TempDir, text};
use downhill_problems::{data, numpy::RandomState};
use serde_json::Value;

fn example(name: &str, args: &[&str]) -> Command {
    let mut command = crate::runs::example(name);
    // In double precision, whatever else is compiled in.
    command.args(args).env("BURN_DEVICE", "flex");
    command
}

fn run(name: &str, args: &[&str]) -> Output {
    example(name, args).output().unwrap()
}

/// What a run prints, which must go well and say nothing else.
#[track_caller]
fn output(name: &str, args: &[&str]) -> String {
    crate::runs::printed(&run(name, args))
}

#[track_caller]
fn reports(name: &str, args: &[&str]) -> Vec<Value> {
    crate::runs::objects(&run(name, &[&["--json"], args].concat()))
}

fn golden(name: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden_experiments");
    let json = fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
    serde_json::from_str(&json).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap()).collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < 1e-5, "{what}, {i}: {a} instead of {b}");
    }
}

#[test]
fn the_points_of_slide_7_are_numpys_bit_for_bit() {
    let golden = golden("linear_regression");
    let points = data::deck_line(&mut RandomState::new(42));
    let checksum = |values: &[f64]| {
        let bits = values.iter().map(|value| value.to_bits());
        bits.fold(0u64, u64::wrapping_add)
    };
    assert_eq!(checksum(&points.x), golden["x_checksum"]);
    // The logarithm of the normal deviates is the platform's; other C libraries than glibc may
    // differ in the last bit.
    if cfg!(all(target_os = "linux", target_env = "gnu")) {
        assert_eq!(checksum(&points.y), golden["y_checksum"]);
    }

    let best = &golden["least_squares"];
    let (w, b) = points.least_squares();
    let found = [w, b, points.mean_squared_error(w, b)];
    let expected = ["w", "b", "loss"].map(|key| best[key].as_f64().unwrap());
    assert_close(&found, &expected, "least squares");
}

#[test]
fn linear_regression_is_the_decks() {
    let golden = golden("linear_regression");
    for (key, args) in [("deck", &[][..]), ("same_start", &["--same-start"])] {
        let reports = reports("linear_regression", args);
        assert_eq!(reports.len(), 3);
        for report in reports {
            let name = report["optimizer"].as_str().unwrap();
            let expected = &golden[key][name];
            let ends = |value: &Value| ["w", "b"].map(|key| value[key].as_f64().unwrap());
            assert_close(&ends(&report), &ends(expected), name);
            let start = numbers(&expected["start"]);
            assert_close(&ends(&report["start"]), &[start[1], start[0]], name);
            let losses = [&report, expected].map(|value| numbers(&value["losses"]));
            assert_eq!(losses[0].len(), 100);
            assert_close(&losses[0], &losses[1], name);
            let lowest = golden["least_squares"]["loss"].as_f64().unwrap();
            assert_close(&[report["lowest_loss"].as_f64().unwrap()], &[lowest], name);
        }
    }
}

#[test]
fn linear_regression_prints_what_slides_7_and_8_do() {
    let golden = golden("linear_regression");
    let table = output("linear_regression", &[]);
    for name in ["sgd", "momentum", "adam"] {
        let row = table.lines().find(|line| line.contains(name)).unwrap();
        let expected = &golden["deck"][name];
        let loss = expected["losses"].as_array().unwrap().last().unwrap();
        for value in [&expected["w"], &expected["b"], loss] {
            let cell = format!(" {:.4} ", value.as_f64().unwrap());
            assert!(row.contains(&cell), "{cell} is not in {row}");
        }
    }
    assert!(table.contains("Loss after each epoch"), "{table}");
}

#[test]
fn quadratic_is_the_decks() {
    let golden = golden("quadratic");
    let reports = reports("quadratic", &[]);
    let names: Vec<&str> = reports
        .iter()
        .map(|report| report["optimizer"].as_str().unwrap())
        .collect();
    let expected = ["adam", "slides_nadam", "nadam_optax", "nadam_torch"];
    assert_eq!(names, expected);
    for (name, report) in names.iter().zip(&reports) {
        let found = numbers(&report["trajectory"]);
        assert_eq!(found.len(), 11);
        for (a, b) in found.iter().zip(numbers(&golden[*name])) {
            assert!((a - b).abs() < 1e-9, "{name}: {a} instead of {b}");
        }
    }
    let table = output("quadratic", &[]);
    for part in ["slides nadam", "1.966743", "10.0000", "5.2612", "1.4737"] {
        assert!(table.contains(part), "{part} is not in {table}");
    }
}

#[test]
fn benchmark_is_the_decks_with_a_state_for_each_weight() {
    let golden = golden("benchmark");
    let all = reports("benchmark", &[]);
    assert_eq!(all.len(), 21);
    for report in all {
        let (size, name) = (&report["size"], report["optimizer"].as_str().unwrap());
        let expected = &golden["sizes"][size.to_string()][name];
        let losses = [&report, expected].map(|value| numbers(&value["losses"]));
        assert_eq!(losses[0].len(), 50);
        // RMSprop's large steps amplify the last bit of the sums.
        let compared = if name == "rmsprop" && size != 10 {
            20
        } else {
            50
        };
        let [found, golden] = losses.each_ref().map(|losses| &losses[..compared]);
        assert_close(found, golden, &format!("{name} at {size}"));
        if compared == 50 {
            assert_eq!(
                report["epochs_near_lowest"], expected["near_lowest"],
                "{name}"
            );
        }
        assert_eq!(report["final_loss"], report["losses"][49]);
        assert!(report["seconds"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn what_epochs_to_converge_are() {
    let args = ["--size", "50", "--optimizer", "rmsprop", "--epochs", "20"];
    let report = reports("benchmark", &args).remove(0);
    let losses = numbers(&report["losses"]);
    let lowest = losses.iter().copied().fold(f64::MAX, f64::min);
    let first = 1 + losses
        .iter()
        .position(|loss| *loss <= 1.1 * lowest)
        .unwrap();
    let near = losses.iter().filter(|loss| **loss <= 1.1 * lowest).count();
    assert_eq!(report["epochs_to_converge"], first);
    assert_eq!(report["epochs_near_lowest"], near);
    assert!(
        first > 10 && near < 10,
        "{first} {near}: nothing to tell apart"
    );
}

#[test]
fn the_decks_optimizers_can_be_compared() {
    let args = ["--size", "10", "--epochs", "3"];
    let names = ["--optimizer", "nadam,slides_nadam,slides_adafactor,adamw"];
    let reports = reports(
        "benchmark",
        &[args, [names[0], names[1], "--seed", "42"]].concat(),
    );
    let golden = golden("benchmark");
    let expected = numbers(&golden["sizes"]["10"]["slides_nadam"]["losses"]);
    assert_close(
        &numbers(&reports[1]["losses"]),
        &expected[..3],
        "slides_nadam",
    );
    assert!(reports[2]["final_loss"].as_f64().unwrap() > 100.0);
    assert_eq!(reports[3]["learning_rate"], 0.001);
}

/// All that is reported but the times.
fn timeless(mut reports: Vec<Value>) -> Vec<Value> {
    for report in &mut reports {
        report.as_object_mut().unwrap().remove("seconds");
    }
    reports
}

#[test]
fn every_option_has_an_effect() {
    let small = ["--epochs", "2", "--size", "10", "--optimizer", "adam"];
    type Args<'a> = &'a [&'a str];
    let cases: [(&str, Args, &[Args]); 3] = [
        (
            "linear_regression",
            &[],
            &[
                &["--optimizer", "adam"],
                &["--lr", "0.1"],
                &["--epochs", "10"],
                &["--seed", "7"],
                &["--same-start"],
            ],
        ),
        (
            "quadratic",
            &[],
            &[&["--steps", "5"], &["--lr", "0.1"], &["--start", "-3"]],
        ),
        (
            "benchmark",
            &small,
            &[
                &["--lr", "0.01"],
                &["--samples", "500"],
                &["--batch-size", "64"],
                &["--seed", "7"],
            ],
        ),
    ];
    for (name, common, options) in cases {
        let plain = timeless(reports(name, common));
        assert_eq!(plain, timeless(reports(name, common)), "{name}");
        for option in options {
            let changed = timeless(reports(name, &[common, option].concat()));
            assert_ne!(plain, changed, "{name} {option:?}");
        }
    }
    // The same data and weights, whatever else is computed.
    let plain = timeless(reports("benchmark", &small));
    let args = [
        "--epochs",
        "2",
        "--size",
        "20,10",
        "--optimizer",
        "sgd,adam",
    ];
    let more = timeless(reports("benchmark", &args));
    assert_eq!(more.len(), 4);
    assert_eq!(more[3], plain[0]);
    let args = ["--epochs", "3", "--size", "10", "--optimizer", "adam"];
    let longer = numbers(&reports("benchmark", &args)[0]["losses"]);
    assert_eq!(longer[..2], numbers(&plain[0]["losses"]));
}

#[test]
fn plots_are_written() {
    let folder = TempDir::new("plots");
    let short = [
        "--epochs",
        "2",
        "--size",
        "10,20",
        "--optimizer",
        "sgd,adagrad",
    ];
    for (name, args, parts) in [
        (
            "linear_regression",
            &[][..],
            &["momentum", "Mean squared error"][..],
        ),
        (
            "benchmark",
            &short,
            &["Size 10", "Size 20", "adagrad", "Epoch"],
        ),
    ] {
        let svg = folder.path(&format!("{name}.svg"));
        let shown = output(name, &[args, &["--plot", &svg]].concat());
        assert!(shown.contains("Final loss"), "{shown}");
        let svg = fs::read_to_string(svg).unwrap();
        for part in parts {
            assert!(svg.contains(part), "{part}");
        }
        let png = folder.path(&format!("{name}.png"));
        // Nothing else is printed.
        let json = output(name, &[args, &["--json", "--plot", &png]].concat());
        assert!(json.lines().all(|line| line.starts_with('{')), "{json}");
        assert!(fs::read(png).unwrap().starts_with(b"\x89PNG"));
    }
}

#[test]
fn a_plot_that_cannot_be_written_fails_after_the_results() {
    let folder = TempDir::new("unwritable");
    for name in ["linear_regression", "benchmark"] {
        let path = folder.path(&format!("{name}.png"));
        fs::create_dir(&path).unwrap();
        let mut args = vec!["--epochs", "1", "--optimizer", "sgd", "--plot", &path];
        if name == "benchmark" {
            args.extend(["--size", "10"]);
        }
        let output = run(name, &args);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stdout).contains("Final loss"));
        let message = text(&output.stderr);
        assert!(message.starts_with("error: cannot write "), "{message}");
    }
}

#[test]
fn wrong_arguments_are_explained() {
    for (name, args, part) in [
        (
            "linear_regression",
            &["--optimizer", "adm"][..],
            "did you mean `adam`?",
        ),
        ("linear_regression", &["--lr", "0"], "a number above 0"),
        ("linear_regression", &["--lr", "-1"], "a number above 0"),
        ("linear_regression", &["--epochs", "0"], "1..=1000000"),
        ("linear_regression", &["--plot", "a.pdf"], ".svg or .png"),
        (
            "linear_regression",
            &["--plot", "none/a.svg"],
            "no folder none",
        ),
        (
            "linear_regression",
            &["--size", "10"],
            "unexpected argument",
        ),
        ("quadratic", &["--steps", "0"], "1..=100000"),
        ("quadratic", &["--lr", "nan"], "a number above 0"),
        ("quadratic", &["--start", "inf"], "up to 1e100"),
        ("quadratic", &["--start", "x"], "up to 1e100"),
        (
            "benchmark",
            &["--optimizer", "nadm"],
            "did you mean `nadam`?",
        ),
        ("benchmark", &["--optimizer", ""], "optimizer"),
        ("benchmark", &["--size", "0"], "1..=10000"),
        ("benchmark", &["--size", "10,x"], "invalid digit"),
        ("benchmark", &["--samples", "2"], "3..=1000000"),
        ("benchmark", &["--batch-size", "0"], "1.."),
        ("benchmark", &["--plot", "plot"], ".svg or .png"),
    ] {
        let output = run(name, args);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name} {args:?}: {message}");
        assert_eq!(text(&output.stdout), "");
        assert!(message.starts_with("error: "), "{message}");
        assert!(message.contains(part), "'{part}' is not in: {message}");
        assert!(message.contains("--help"), "{message}");
        assert!(!message.contains("panicked"), "{message}");
    }
}

#[test]
fn a_loss_that_is_not_finite_fails_the_run_and_not_the_others() {
    for (name, args) in [
        ("linear_regression", &["--lr", "1e308"][..]),
        (
            "benchmark",
            &["--lr", "1e308", "--size", "10", "--epochs", "2"],
        ),
    ] {
        // A step of Adam is as long as the learning rate; signs stay what they are.
        let args = [args, &["--optimizer", "adam,adafactor"]].concat();
        let output = run(name, &args);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let message = text(&output.stderr);
        assert!(message.starts_with("error: "), "{message}");
        assert!(message.contains("adam: the loss became "), "{message}");
        assert!(
            message.contains(&format!("below {} may help (--lr)", args[1])),
            "{message}"
        );
        let table = text(&output.stdout);
        let row = |name: &str| table.lines().find(|line| line.contains(name)).unwrap();
        assert!(row(" adam ").contains(" failed "), "{table}");
        assert!(!row(" adafactor ").contains(" failed "), "{table}");
    }
}

#[test]
fn pipes_get_plain_text() {
    for (name, args) in [
        ("linear_regression", &[][..]),
        ("quadratic", &[]),
        ("benchmark", &["--epochs", "1", "--size", "10"]),
        ("benchmark", &["--help"]),
    ] {
        let output = run(name, args);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text(&output.stderr), "");
        let text = text(&output.stdout);
        assert!(!text.is_empty() && !text.contains('\u{1b}'), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let names = "sgd,".repeat(2_000) + "sgd";
    for (name, args) in [
        (
            "linear_regression",
            vec!["--epochs", "1", "--optimizer", &names],
        ),
        (
            "benchmark",
            vec![
                "--epochs",
                "1",
                "--size",
                "2",
                "--samples",
                "3",
                "--optimizer",
                &names,
            ],
        ),
    ] {
        let mut child = example(name, &args)
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with('{'), "{line}");
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(text(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
    }
}

fn page() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deck.md")).unwrap()
}

/// The commands of the page: example and arguments.
fn commands() -> BTreeSet<(String, Vec<String>)> {
    let page = page();
    let starts = page.split("cargo run --release --example ").skip(1);
    starts
        .map(|rest| {
            let command = rest.split(['`', '\n']).next().unwrap();
            let mut words = command.split_whitespace().map(str::to_string);
            let name = words.next().unwrap();
            let args: Vec<String> = words.collect();
            match args.split_first() {
                None => (name, args),
                Some((dashes, args)) => {
                    assert_eq!(dashes, "--", "{command}");
                    (name, args.to_vec())
                }
            }
        })
        .collect()
}

#[test]
fn the_pages_commands_work() {
    let commands = commands();
    let names: BTreeSet<&str> = commands.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "benchmark",
        "custom_rule",
        "linear_regression",
        "mlp",
        "quadratic",
        "schedules",
    ];
    assert!(names.into_iter().eq(expected), "{commands:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = TempDir::new("commands");
    for (name, args) in commands {
        let folders = ["examples", "crates/downhill-lab/examples"];
        let sources = folders.map(|folder| root.join(folder).join(format!("{name}.rs")));
        assert!(sources.iter().any(|source| source.is_file()), "{name}");
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        // They would take long without optimisation.
        match name.as_str() {
            "mlp" => args.extend(["--epochs", "1", "--device", "flex"]),
            "benchmark" => args.extend(["--epochs", "1"]),
            _ => (),
        }
        let output = example(&name, &args)
            .current_dir(&folder.0)
            .output()
            .unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{name} {args:?}: {message}");
        if let Some(plot) = args.iter().position(|arg| *arg == "--plot") {
            assert!(folder.0.join(args[plot + 1]).is_file(), "{name} {args:?}");
        }
    }
}

#[test]
fn the_page_maps_every_slide() {
    let page = page();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("example"));
    let slides: BTreeSet<u32> = rows
        .flat_map(|row| {
            let first = row.split('|').nth(1).unwrap();
            first.split(',').map(|slide| slide.trim().parse().unwrap())
        })
        .collect();
    assert_eq!(slides, (1..=14).collect());
    assert!(page.contains("| 15 |"));
}

#[test]
fn the_pages_numbers_are_numpys() {
    // Wherever its lines break.
    let page = page().replace('\n', " ");
    let contains = |part: &str| assert!(page.contains(part), "not on the page: {part}");

    let line = golden("linear_regression");
    let decimals = |value: &Value| format!("{:.4}", value.as_f64().unwrap());
    let last = |value: &Value| value["losses"].as_array().unwrap().last().unwrap().clone();
    for (title, name) in [("SGD", "sgd"), ("Momentum", "momentum"), ("Adam", "adam")] {
        let golden = &line["deck"][name];
        let [w0, b0] = [1, 0].map(|i| decimals(&golden["start"][i]));
        let [w, b] = ["w", "b"].map(|key| decimals(&golden[key]));
        let loss = decimals(&last(golden));
        contains(&format!("| {title} | {w0}, {b0} | {w} | {b} | {loss} |"));
        contains(&format!("{:.2}", golden["losses"][0].as_f64().unwrap()));
    }
    let [w, b, loss] = ["w", "b", "loss"].map(|key| decimals(&line["least_squares"][key]));
    contains(&format!("| least squares | | {w} | {b} | {loss} |"));
    contains(&decimals(&last(&line["same_start"]["adam"])));

    let paths = golden("quadratic");
    for (title, name) in [
        ("Adam", "adam"),
        ("the deck's NAdam", "slides_nadam"),
        ("NAdam as in optax", "nadam_optax"),
        ("NAdam as in PyTorch", "nadam_torch"),
    ] {
        let x = numbers(&paths[name]);
        let lengths = [1, 2, 3, 5, 10].map(|i| format!("{:.4}", (x[i - 1] - x[i]) / 0.001));
        contains(&format!(
            "| {title} | {} | {:.6} |",
            lengths.join(" | "),
            x[10]
        ));
    }

    let benchmark = golden("benchmark");
    let shared = &benchmark["shared"];
    for optimizer in ["sgd", "momentum", "adam", "nadam", "adafactor"] {
        let error = shared["as_printed"][optimizer]["error"].as_str().unwrap();
        contains(&format!("`{error}`"));
    }
    assert_eq!(
        shared["as_printed"]["adam"]["b1"],
        serde_json::json!([10, 20])
    );
    let moved = numbers(&shared["equal_shapes"]).into_iter();
    let moved: Vec<String> = moved.map(|step| format!("{step:.3}")).collect();
    assert_eq!(moved, ["1.000", "-0.053", "0.336", "-0.053"]);
    contains("1.000, -0.053, 0.336 and -0.053");

    let sizes = &benchmark["sizes"];
    let final_loss = |size: &str, name: &str| last(&sizes[size][name]).as_f64().unwrap();
    let adafactor = ["10", "50", "100"].map(|size| final_loss(size, "slides_adafactor"));
    let [a, b, c] = adafactor.map(|loss| format!("{loss:.2}"));
    contains(&format!("ends at a loss of {a}, {b} and {c}"));
    contains(&format!(
        "| SGD | {:.4} | 50 | 1 |",
        final_loss("50", "sgd")
    ));
    contains(&format!(
        "| RMSprop | {:.1e} | 1 | 50 |",
        final_loss("50", "rmsprop")
    ));
    assert_eq!(sizes["50"]["sgd"]["near_lowest"], 50);
    assert_eq!(sizes["50"]["rmsprop"]["near_lowest"], 1);
    assert_eq!(sizes["100"]["rmsprop"]["near_lowest"], 0);
    contains(&format!("{:.1e}", final_loss("100", "rmsprop")));
}
