//! The example `mlp`, run as its users run it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::runs::{TempDir, example, message, objects, text};
use burn::{optim::GradientsParams, tensor::Device};
use downhill::{optim::OptimizerConfig, schedule::ScheduleConfig, train::Driver};
use downhill_problems::{data, mlp::MlpConfig, numpy::RandomState};
use serde_json::{Value, json};

fn mlp(args: &[&str]) -> Command {
    let mut command = example("mlp");
    command.args(args);
    command
}

fn run(args: &[&str]) -> Output {
    mlp(args).output().unwrap()
}

/// Runs with `--device flex --json`, which must go well and print nothing else.
#[track_caller]
fn reports(args: &[&str]) -> Vec<Value> {
    reports_on("flex", args)
}

#[track_caller]
fn reports_on(device: &str, args: &[&str]) -> Vec<Value> {
    objects(&run(&[&["--device", device, "--json"], args].concat()))
}

/// The error message of a run that must end with this exit code, in words and without a report. A GPU is opened only
/// where it is asked for: the first time takes seconds.
#[track_caller]
fn complaint(code: i32, args: &[&str]) -> String {
    let device: &[&str] = match args.contains(&"--device") {
        true => &[],
        false => &["--device", "flex"],
    };
    message(code, &run(&[device, args].concat()))
}

#[track_caller]
fn assert_complains(code: i32, args: &[&str], expected: &[&str]) {
    let message = complaint(code, args);
    for part in expected {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

#[test]
fn the_defaults_learn_the_digits_and_report_it_as_json() {
    let reports = reports(&[]);
    let names: Vec<&str> = reports
        .iter()
        .map(|report| report["optimizer"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["sgd", "adam", "nadam"]);
    for report in &reports {
        let mut keys: Vec<&str> = report
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        keys.sort();
        assert_eq!(
            keys,
            [
                "data",
                "device",
                "epochs",
                "optimizer",
                "optimizer_seconds",
                "parameters",
                "schedule",
                "seconds",
                "state_bytes",
                "test_accuracy",
                "train_loss"
            ]
        );
        assert_eq!(report["device"], "flex");
        assert_eq!(report["data"], "digits");
        assert_eq!(report["epochs"], 50);
        assert_eq!(report["schedule"], Value::Null);
        assert_eq!(report["parameters"], 64 * 64 + 64 + 64 * 10 + 10);
        let seconds = report["seconds"].as_f64().unwrap();
        let optimizer_seconds = report["optimizer_seconds"].as_f64().unwrap();
        assert!(0.0 < optimizer_seconds && optimizer_seconds < seconds);
    }
    for report in &reports[1..] {
        assert!(
            report["test_accuracy"].as_f64().unwrap() >= 0.95,
            "{report}"
        );
        assert!(report["train_loss"].as_f64().unwrap() < 0.1, "{report}");
        // Two moments in single precision.
        assert_eq!(
            report["state_bytes"],
            2 * 4 * report["parameters"].as_u64().unwrap()
        );
    }
    let sgd = &reports[0];
    assert!(sgd["train_loss"].as_f64().unwrap() < 10f64.ln(), "{sgd}");
}

/// All of a report but the times.
fn numbers(mut report: Value) -> Value {
    let object = report.as_object_mut().unwrap();
    object.remove("seconds").unwrap();
    object.remove("optimizer_seconds").unwrap();
    report
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let train = |seed: &str| -> Vec<Value> {
        let args = ["--optimizer", "adam,sgd", "--epochs", "3", "--seed", seed];
        reports(&args).into_iter().map(numbers).collect()
    };
    let first = train("1");
    assert_eq!(first, train("1"));
    let other = train("2");
    assert_ne!(first[0]["train_loss"], other[0]["train_loss"]);
}

#[test]
fn every_option_has_an_effect() {
    let loss = |args: &[&str]| -> f64 {
        let common = ["--optimizer", "adam", "--epochs", "2"];
        let reports = reports(&[&common, args].concat());
        reports[0]["train_loss"].as_f64().unwrap()
    };
    let plain = loss(&[]);
    for args in [
        ["--lr", "0.01"],
        ["--batch-size", "64"],
        ["--hidden", "16"],
        ["--seed", "7"],
        ["--data", "deck"],
    ] {
        assert_ne!(loss(&args), plain, "{args:?}");
    }
}

#[test]
fn a_config_file_sets_the_optimizer() {
    let folder = TempDir::new("config");
    let train = |json: &str| {
        let file = folder.file("optimizer.json", json);
        numbers(reports(&["--epochs", "2", "--config", &file]).remove(0))
    };
    let adam = train(r#"{"name": "adam"}"#);
    let by_name = reports(&["--epochs", "2", "--optimizer", "adam"]).remove(0);
    assert_eq!(adam, numbers(by_name));
    let other = train(r#"{"name": "adam", "beta_1": 0.5}"#);
    assert_eq!(other["optimizer"], "adam");
    assert_ne!(other["train_loss"], adam["train_loss"]);
}

/// The numbers of Adam's training with these options.
#[track_caller]
fn adam(args: &[&str]) -> Value {
    numbers(reports(&[&["--optimizer", "adam"], args].concat()).remove(0))
}

/// The same with this schedule in a file.
#[track_caller]
fn adam_with(schedule: Value, args: &[&str]) -> Value {
    // Tests run at the same time.
    let test = std::thread::current().name().unwrap().to_string();
    let folder = TempDir::new(&test);
    let file = folder.file("schedule.json", &schedule.to_string());
    adam(&[&["--schedule-config", &file], args].concat())
}

fn loss(report: &Value) -> f64 {
    report["train_loss"].as_f64().unwrap()
}

/// All but what says which schedule it was.
fn result(mut report: Value) -> Value {
    report.as_object_mut().unwrap().remove("schedule").unwrap();
    report
}

#[test]
fn a_schedule_by_name_changes_the_training_and_is_reported() {
    let plain = adam(&["--epochs", "2"]);
    let mut losses = vec![loss(&plain)];
    for name in ["linear", "cosine", "one_cycle", "wsd", "warmup", "noam"] {
        let args = ["--epochs", "2", "--schedule", name];
        let report = adam(&args);
        assert_eq!(report, adam(&args), "{name}");
        assert_eq!(report["schedule"]["name"], name);
        assert!(!losses.contains(&loss(&report)), "{name}: {report}");
        losses.push(loss(&report));
    }
}

#[test]
fn constant_is_what_no_schedule_is() {
    let [plain, constant] = [&[][..], &["--schedule", "constant"]].map(|schedule| {
        let common = ["--epochs", "3", "--optimizer", "sgd,adam,slides_nadam"];
        reports(&[&common, schedule].concat())
    });
    let rates: Vec<&Value> = constant.iter().map(|r| &r["schedule"]["value"]).collect();
    assert_eq!(rates, [0.01, 0.001, 0.001], "each optimizer's own");
    let results = |reports: Vec<Value>| -> Vec<Value> {
        reports.into_iter().map(numbers).map(result).collect()
    };
    assert_eq!(results(plain), results(constant));
}

#[test]
fn a_schedule_starts_from_lr_and_lasts_for_all_steps() {
    let samples = data::digits().train.samples();
    assert_eq!(
        samples % 7,
        0,
        "one of the epochs below has no smaller batch at its end"
    );
    for (batch, epochs) in [(32, 3), (7, 1), (1434, 2), (1435, 2), (5000, 3)] {
        let (size, number) = (batch.to_string(), epochs.to_string());
        let args = ["--batch-size", &size, "--epochs", &number, "--lr", "0.02"];
        let report = adam(&[&args[..], &["--schedule", "linear"]].concat());
        let steps = epochs * samples.div_ceil(batch);
        let expected = json!({"name": "linear", "initial": 0.02, "end": 0.0, "steps": steps});
        assert_eq!(report["schedule"], expected, "{batch}");

        // Those are the updates that there are: one that comes after them changes nothing, but
        // the last of them does.
        let stop_at = |step: usize| {
            let off = json!({"name": "constant", "value": 0});
            let sequence = json!({
                "name": "sequence", "schedules": [{"name": "constant"}, off], "milestones": [step],
            });
            loss(&adam_with(sequence, &args))
        };
        let plain = loss(&adam(&args));
        assert_eq!(stop_at(steps), plain, "{batch}");
        assert_ne!(stop_at(steps - 1), plain, "{batch}");
    }
}

#[test]
fn the_first_update_has_the_value_at_zero() {
    // All samples at once: an epoch is a step.
    let batch = ["--batch-size", "5000", "--optimizer", "sgd", "--lr", "0.5"];
    let folder = TempDir::new("first");
    let late = r#"{"name": "sequence", "schedules": [{"name": "constant", "value": 0},
        {"name": "constant"}], "milestones": [1]}"#;
    let late = folder.file("late.json", late);
    let train = |args: &[&str]| loss(&reports(&[&batch, args].concat())[0]);
    let untrained = train(&["--epochs", "1", "--schedule-config", &late]);
    assert!((untrained - 10f64.ln()).abs() < 0.05, "{untrained}");
    // The samples come in another order in the second epoch.
    let late = train(&["--epochs", "2", "--schedule-config", &late]);
    let plain = train(&["--epochs", "1"]);
    assert!((late - plain).abs() < 1e-5, "{late} {plain}");
    assert!(plain < untrained - 0.05, "{plain} {untrained}");
}

#[test]
fn a_schedule_file_is_what_its_settings_are() {
    let train = |schedule: Value| adam_with(schedule, &["--epochs", "2"]);
    let plain = adam(&["--epochs", "2"]);
    let same = train(json!({"name": "warmup", "steps": "0%"}));
    assert_eq!(result(same), result(plain.clone()));
    // 2 % of 90 steps.
    let warmup = train(json!({"name": "warmup", "steps": "2 %", "from": "50%"}));
    assert_eq!(warmup["schedule"]["steps"], 2);
    assert_eq!(warmup["schedule"]["from"], 0.0005);
    assert_ne!(loss(&warmup), loss(&plain));

    let still = train(json!({"name": "constant", "value": "0 %"}));
    assert_eq!(still["schedule"], json!({"name": "constant", "value": 0.0}));
    assert!((loss(&still) - 10f64.ln()).abs() < 0.05, "{still}");

    let step = json!({"name": "StepLR", "initial": 0.01, "step_size": 1});
    let epochs = json!({"name": "per_epoch", "steps_per_epoch": 45, "schedule": step});
    let steps = json!({"name": "step", "initial": 0.01, "step_size": 45});
    let (epochs, steps) = (train(epochs), train(steps));
    assert_eq!(epochs["schedule"]["schedule"]["name"], "step");
    assert_eq!(result(epochs), result(steps));

    let alias = adam(&["--epochs", "2", "--schedule", "CosineAnnealingLR"]);
    assert_eq!(alias, train(json!({"name": "cosine"})));
}

#[test]
fn warmup_and_cosine_learn_the_digits_quickly() {
    let cosine = json!({"name": "cosine", "floor": "1%"});
    let schedule = json!({"name": "warmup", "steps": "10%", "schedule": cosine});
    let report = adam_with(schedule, &["--epochs", "8", "--lr", "0.01"]);
    assert_eq!(report["schedule"]["steps"], 36);
    let expected = json!({
        "name": "cosine", "peak": 0.01, "floor": 0.0001, "steps": 324, "periodic": false,
    });
    assert_eq!(report["schedule"]["schedule"], expected);
    let accuracy = report["test_accuracy"].as_f64().unwrap();
    assert!(accuracy >= 0.96, "{report}");
    assert!(loss(&report) < 0.1, "{report}");
}

#[test]
fn reduce_on_plateau_follows_the_training_loss() {
    for name in ["reduce_on_plateau", "ReduceLROnPlateau"] {
        let report = adam(&["--epochs", "2", "--lr", "0.002", "--schedule", name]);
        assert_eq!(report["schedule"]["name"], "reduce_on_plateau");
        assert_eq!(report["schedule"]["lr"], 0.002);
        assert_eq!(report["schedule"]["patience"], 10);
        let plain = adam(&["--epochs", "2", "--lr", "0.002"]);
        assert_eq!(result(report), result(plain), "it is patient");
    }

    // The second epoch does not halve the loss of the first: from then on nothing moves.
    let impatient = json!({
        "name": "reduce_on_plateau", "patience": 0, "threshold": 0.5, "factor": 0,
    });
    let [one, two, three, five] = ["1", "2", "3", "5"]
        .map(|epochs| loss(&adam_with(impatient.clone(), &["--epochs", epochs])));
    let plain = ["1", "2", "3"].map(|epochs| loss(&adam(&["--epochs", epochs])));
    assert!(plain[1] > 0.5 * plain[0], "{plain:?}");
    assert_eq!([one, two], plain[..2]);
    assert_eq!([three, five], [two, two]);
    assert!(plain[2] < two);

    let own = json!({"name": "ReduceLROnPlateau", "lr": 0.005});
    let own = adam_with(own, &["--epochs", "2"]);
    assert_eq!(own["schedule"]["lr"], 0.005);
    assert_eq!(loss(&own), loss(&adam(&["--epochs", "2", "--lr", "0.005"])));
}

#[test]
fn every_schedule_of_the_help_can_be_chosen_and_no_other() {
    let output = run(&["--help"]);
    let help = text(&output.stdout);
    let (_, list) = help
        .split_once("Schedules of the learning rate:\n")
        .unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let (alone, others) = list.split_once("  in a file also").unwrap();
    let alone: Vec<&str> = alone
        .lines()
        .filter(|line| !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    let others: Vec<&str> = others
        .split([',', ' ', '\n'])
        .filter(|word| !word.is_empty())
        .collect();
    assert!(help.lines().all(|line| line.len() <= 100));
    assert!(list.lines().all(|line| line.len() <= 80), "{list}");

    let mut all: Vec<&str> = [&alone[..], &others, &["custom"]].concat();
    let mut known: Vec<&str> = ScheduleConfig::all().iter().map(|info| info.name).collect();
    known.push("reduce_on_plateau");
    all.sort();
    known.sort();
    assert_eq!(all, known);

    for name in alone {
        let args = ["--epochs", "1", "--batch-size", "100", "--schedule", name];
        assert_eq!(adam(&args)["schedule"]["name"], name);
    }
    for name in others {
        let hint = "give its settings in a file (--schedule-config)";
        assert_complains(2, &["--schedule", name], &[name, "--schedule <NAME>", hint]);
    }
}

#[test]
fn schedules_that_cannot_be_used_are_usage_errors() {
    let wrong_name = |name: &str, expected: &str| {
        assert_complains(
            2,
            &["--schedule", name],
            &[name, "--schedule <NAME>", expected],
        );
    };
    wrong_name(
        "cosin",
        "there is no schedule `cosin`; did you mean `cosine`?",
    );
    wrong_name("reduce_on_platau", "did you mean `reduce_on_plateau`?");
    wrong_name("LambdaLR", "custom: a function cannot be read from JSON");
    wrong_name("", "--schedule");
    // 30 % of a single step are none.
    assert_complains(
        2,
        &[
            "--schedule",
            "step",
            "--epochs",
            "1",
            "--batch-size",
            "5000",
        ],
        &[
            "--schedule step",
            "`step_size` must be at least 1 step",
            "1 step)",
        ],
    );
    assert_complains(
        2,
        &["--schedule-config", "none.json"],
        &["none.json", "cannot read it"],
    );

    let folder = TempDir::new("schedules");
    let wrong_file = |json: &str, expected: &[&str]| {
        let file = folder.file("s.json", json);
        let expected = [&["--schedule-config", "s.json"], expected].concat();
        assert_complains(2, &["--schedule-config", &file], &expected);
    };
    let file = folder.file("good.json", r#"{"name": "cosine"}"#);
    assert_complains(
        2,
        &["--schedule", "cosine", "--schedule-config", &file],
        &["cannot be used with"],
    );
    wrong_file("{\"name\": \"cosine\",\n", &["line 2"]);
    wrong_file("[]", &["a schedule is an object with a `name`"]);
    wrong_file(r#"{"peak": 1}"#, &["a schedule needs a `name`"]);
    wrong_file(r#"{"name": "cosin"}"#, &["did you mean `cosine`?"]);
    wrong_file(
        r#"{"name": "cosine", "flor": 0}"#,
        &["cosine: there is no setting `flor`; did you mean `floor`?"],
    );
    wrong_file(
        r#"{"name": "warmup", "steps": 5, "schedule": {"name": "linear", "end": -0.1}}"#,
        &["warmup > linear: `end` must be finite and at least 0, got -0.1"],
    );
    wrong_file(
        r#"{"name": "linear", "steps": -5}"#,
        &["-5", "whole number of steps"],
    );
    wrong_file(
        r#"{"name": "linear", "steps": "110%"}"#,
        &["linear: `steps`", "110"],
    );
    wrong_file(
        r#"{"name": "reduce_on_plateau", "patients": 1}"#,
        &["reduce_on_plateau", "`patients`", "`patience`"],
    );
    wrong_file(
        r#"{"name": "reduce_on_plateau", "factor": 1}"#,
        &["reduce_on_plateau: `factor`", "below 1", "got 1"],
    );
    // It would do for gradient descent, which comes first and is not trained in vain.
    wrong_file(
        r#"{"name": "cosine", "floor": 0.005}"#,
        &[
            "`floor` must be at most the peak of 0.001, got 0.005",
            "adam, learning rate 0.001",
        ],
    );
}

#[test]
fn lr_and_a_schedule_with_rates_of_its_own_exclude_each_other() {
    let folder = TempDir::new("own-rates");
    let with_lr = |json: &str| {
        let file = folder.file("s.json", json);
        let args = ["--optimizer", "adam", "--epochs", "1", "--lr", "0.1"];
        ([&args[..], &["--schedule-config"]].concat(), file)
    };
    for (json, way_out) in [
        (r#"{"name": "cosine", "peak": 0.1}"#, "in percent"),
        (r#"{"name": "constant", "value": 0}"#, "in percent"),
        (
            r#"{"name": "reduce_on_plateau", "lr": 0.1}"#,
            "`lr` in the file",
        ),
    ] {
        let (args, file) = with_lr(json);
        assert_complains(
            2,
            &[&args[..], &[&file]].concat(),
            &[
                "--lr has no effect on --schedule-config",
                "s.json",
                "drop --lr, or",
                way_out,
            ],
        );
        let alone = adam(&["--epochs", "1", "--schedule-config", &file]);
        assert!(loss(&alone).is_finite());
    }
    assert_complains(
        2,
        &["--schedule", "noam", "--lr", "0.1"],
        &["--lr has no effect on --schedule noam"],
    );
    for json in [
        r#"{"name": "cosine", "floor": 0.001}"#,
        r#"{"name": "reduce_on_plateau", "min_lr": 0.001}"#,
    ] {
        let (args, file) = with_lr(json);
        reports(&[&args[..], &[&file]].concat());
    }
}

#[test]
fn a_schedule_is_shown_with_the_rates_that_it_came_to() {
    let folder = TempDir::new("shown");
    let plot = folder.path("loss.svg");
    let args = [
        "--device",
        "flex",
        "--epochs",
        "2",
        "--optimizer",
        "adam,sgd",
    ];
    let with = ["--schedule", "warmup", "--plot", &plot];
    let output = run(&[&args[..], &with].concat());
    assert_eq!(output.status.code(), Some(0));
    let table = text(&output.stdout).replace('\u{a0}', " ");
    let first = table.lines().next().unwrap();
    assert!(
        first.ends_with(" | schedule warmup: 90 steps, 45 per epoch"),
        "{first}"
    );
    let row = |name: &str| table.lines().find(|line| line.contains(name)).unwrap();
    assert!(row(" adam ").contains(" 0 to 0.001 "), "{table}");
    assert!(row(" sgd ").contains(" 0 to 0.01 "), "{table}");
    let svg = fs::read_to_string(&plot).unwrap();
    assert!(svg.contains("Training loss on digits (flex), schedule warmup"));

    let output = run(&args);
    assert!(!text(&output.stdout).contains("schedule"));
    assert!(!text(&output.stdout).contains(" to "));
}

#[test]
fn the_table_shows_device_data_model_and_every_optimizer() {
    let output = run(&[
        "--device",
        "flex",
        "--epochs",
        "1",
        "--optimizer",
        "adam,nadam",
    ]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stderr),
        "",
        "no progress bar unless on a terminal"
    );
    let stdout = text(&output.stdout);
    assert!(
        !stdout.contains('\u{1b}'),
        "no control sequences unless on a terminal"
    );
    let first = stdout.lines().next().unwrap();
    for part in ["flex", "digits", "1,435", "362", "64-64-10", "4,810"] {
        assert!(first.contains(part), "'{part}' is not in: {first}");
    }
    for part in ["Test accuracy", "Training loss", " adam ", " nadam ", "%"] {
        assert!(stdout.contains(part), "'{part}' is not in: {stdout}");
    }
}

#[test]
fn a_csv_file_is_learned_from_end_to_end() {
    // Two classes, told apart by the sum of two features whose scales differ a thousandfold.
    let mut csv = String::from("small,large,class\n");
    for i in 0..200 {
        let (x, y) = (f64::from(i % 20) - 9.5, f64::from(i / 20 % 10) - 4.5);
        csv += &format!("{x},{},{}\n", 1000.0 * y, u8::from(x + 2.0 * y > 0.0));
    }
    let folder = TempDir::new("csv");
    let file = folder.file("train.csv", &csv);
    let source = format!("csv:{file}");
    let args = [
        "--data",
        &source,
        "--optimizer",
        "adam",
        "--lr",
        "0.02",
        "--batch-size",
        "16",
    ];
    let report = reports(&args).remove(0);
    assert_eq!(report["data"], source.as_str());
    assert_eq!(report["parameters"], 2 * 64 + 64 + 64 * 2 + 2);
    assert!(
        report["test_accuracy"].as_f64().unwrap() >= 0.95,
        "{report}"
    );
}

#[test]
fn the_plot_is_an_svg_with_a_line_and_a_label_for_each_optimizer() {
    let folder = TempDir::new("svg");
    let file = folder.path("loss.svg");
    reports(&[
        "--epochs",
        "7",
        "--optimizer",
        "adam,nadam,sgd",
        "--plot",
        &file,
    ]);
    let svg = fs::read_to_string(file).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));

    // A curve has a point before the first epoch and one after each.
    let curves: Vec<Vec<(i32, i32)>> = svg
        .split("<polyline")
        .skip(1)
        .map(|line| {
            let points = line
                .split("points=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap();
            let points = points.split_whitespace();
            points
                .map(|point| {
                    let (x, y) = point.split_once(',').unwrap();
                    (x.parse().unwrap(), y.parse().unwrap())
                })
                .collect()
        })
        .filter(|points: &Vec<_>| points.len() == 8)
        .collect();
    assert_eq!(curves.len(), 3);
    for curve in &curves {
        assert_eq!(curve[0], curves[0][0], "all start from the same weights");
        assert!(curve.windows(2).all(|pair| pair[0].0 < pair[1].0));
        // Downwards on the page is towards a smaller loss.
        assert!(curve[7].1 > curve[0].1, "{curve:?}");
    }
    // Adam leaves plain gradient descent behind.
    assert!(curves[0][7].1 > curves[2][7].1 + 50);

    let labels: Vec<&str> = svg
        .split("<text")
        .skip(1)
        .map(|text| text.split(['>', '<']).nth(1).unwrap().trim())
        .collect();
    for label in [
        "adam",
        "nadam",
        "sgd",
        "Epoch",
        "0",
        "7",
        "Training loss on digits (flex)",
    ] {
        assert!(labels.contains(&label), "'{label}' is not in {labels:?}");
    }
    assert!(labels.iter().any(|label| label.contains("log scale")));
}

#[test]
fn the_plot_is_a_png_if_its_name_says_so() {
    let folder = TempDir::new("png");
    let file = folder.path("loss.PNG");
    reports(&["--epochs", "2", "--optimizer", "adam", "--plot", &file]);
    let png = fs::read(file).unwrap();
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    let size = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!((size(16), size(20)), (960, 540));
    assert!(png.len() > 10_000, "a drawing, not an empty page");
}

#[test]
fn help_lists_options_optimizers_and_exit_status() {
    for flag in ["-h", "--help"] {
        let output = run(&[flag]);
        assert_eq!(output.status.code(), Some(0));
        let help = text(&output.stdout);
        for part in [
            "--optimizer",
            "--config",
            "--lr",
            "--schedule",
            "--schedule-config",
            "--epochs",
            "--batch-size",
            "--hidden",
            "--seed",
            "--data",
            "--device",
            "--clip",
            "--ema",
            "--save",
            "--resume",
            "--plot",
            "--json",
            "nadam",
            "adafactor",
            "reduce_on_plateau",
            "StepLR",
            "\"10%\"",
            "optimizer_seconds",
            "Exit status",
        ] {
            assert!(help.contains(part), "'{part}' is not in: {help}");
        }
    }
}

#[test]
fn wrong_options_are_usage_errors() {
    assert_complains(
        2,
        &["--optimizer", "adams"],
        &["adams", "did you mean `adam`?"],
    );
    assert_complains(
        2,
        &["--optimizer", "adam,nadm"],
        &["'nadm'", "did you mean `nadam`?"],
    );
    assert_complains(2, &["--optimizer", ""], &["--optimizer"]);
    for lr in ["-0.1", "-1e-3", "0", "nan", "inf", "fast"] {
        assert_complains(
            2,
            &["--lr", lr],
            &[lr, "--lr", "a learning rate is a number above 0"],
        );
    }
    assert_complains(2, &["--epochs", "0"], &["--epochs", "0 is not in 1.."]);
    assert_complains(2, &["--epochs", "-3"], &["--epochs", "-3 is not in 1.."]);
    assert_complains(
        2,
        &["--batch-size", "0"],
        &["--batch-size", "0 is not in 1.."],
    );
    assert_complains(2, &["--hidden", "0"], &["--hidden", "0 is not in 1.."]);
    assert_complains(2, &["--seed", "4294967296"], &["--seed"]);
    assert_complains(2, &["--frobnicate"], &["--frobnicate"]);
    assert_complains(2, &["digits"], &["unexpected argument 'digits'"]);
    assert_complains(
        2,
        &["--data", "mnist"],
        &["unknown data 'mnist'", "csv:PATH"],
    );
    assert_complains(2, &["--data", "csv:"], &["csv:train.csv"]);
    assert_complains(2, &["--plot", "loss.pdf"], &["ends in .svg or .png"]);
    assert_complains(
        2,
        &["--plot", "no/such/folder/loss.svg"],
        &["there is no folder no/such/folder"],
    );
}

#[test]
fn a_device_is_unknown_or_names_the_feature_that_it_needs() {
    assert_complains(
        2,
        &["--device", "gpu"],
        &["'gpu'", "possible values", "flex", "wgpu", "cuda"],
    );
    let absent = [
        ("ndarray", cfg!(feature = "ndarray")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("webgpu", cfg!(feature = "webgpu")),
        ("metal", cfg!(feature = "metal")),
        ("cuda", cfg!(feature = "cuda")),
        ("rocm", cfg!(feature = "rocm")),
        ("cpu", cfg!(feature = "cpu")),
    ];
    for (name, _) in absent.iter().filter(|(_, compiled_in)| !compiled_in) {
        let command = format!("--features {name} -- --device {name}");
        assert_complains(2, &["--device", name], &["is not compiled in", &command]);
    }
}

#[test]
#[cfg(feature = "ndarray")]
fn ndarray_computes_what_flex_computes() {
    let args = ["--epochs", "2", "--optimizer", "adam"];
    let flex = reports(&args).remove(0);
    let ndarray = reports_on("ndarray", &args).remove(0);
    assert_eq!(ndarray["device"], "ndarray");
    let loss = |report: &Value| report["train_loss"].as_f64().unwrap();
    assert!((loss(&flex) - loss(&ndarray)).abs() < 1e-4);
}

/// Without an adapter there is a message; with one, the numbers of the CPU.
#[test]
#[cfg(feature = "wgpu")]
fn wgpu_works_or_says_why_not() {
    let args = ["--json", "--epochs", "1", "--optimizer", "adam", "--device"];
    let output = run(&[&args[..], &["wgpu"]].concat());
    let message = text(&output.stderr);
    if output.status.success() {
        let report: Value = serde_json::from_str(text(&output.stdout)).unwrap();
        assert_eq!(report["device"], "wgpu");
        let flex = reports(&args[1..5]).remove(0);
        let loss = |report: &Value| report["train_loss"].as_f64().unwrap();
        assert!((loss(&flex) - loss(&report)).abs() < 1e-3);
    } else {
        assert_eq!(output.status.code(), Some(1));
        assert!(
            message.starts_with("error: device wgpu does not work"),
            "{message}"
        );
        assert!(!message.contains("panicked"), "{message}");
    }
}

/// Vulkan's and EGL's loaders are told of drivers that do not exist.
#[test]
#[cfg(all(feature = "wgpu", target_os = "linux"))]
fn without_an_adapter_wgpu_says_so() {
    let nowhere = "/nonexistent";
    let output = mlp(&["--device", "wgpu", "--json"])
        .env("VK_DRIVER_FILES", nowhere)
        .env("VK_ICD_FILENAMES", nowhere)
        .env("__EGL_VENDOR_LIBRARY_FILENAMES", nowhere)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let message = text(&output.stderr);
    assert!(
        message.contains("error: device wgpu does not work on this machine"),
        "{message}"
    );
    assert!(message.contains("no adapter"), "{message}");
    assert!(message.contains("--device flex"), "{message}");
    assert!(!message.contains("panicked"), "{message}");
}

#[test]
fn files_that_cannot_be_used_are_usage_errors() {
    assert_complains(
        2,
        &["--config", "none.json"],
        &["none.json", "cannot read it"],
    );
    assert_complains(2, &["--data", "csv:none.csv"], &["cannot read none.csv"]);

    let folder = TempDir::new("files");
    let config = folder.file("bad.json", r#"{"name": "adam", "beta_2": 1.5}"#);
    assert_complains(
        2,
        &["--config", &config],
        &["bad.json", "adam", "beta_2", "1.5"],
    );
    let config = folder.file("typo.json", r#"{"name": "adam", "bet_1": 0.5}"#);
    assert_complains(
        2,
        &["--config", &config],
        &["bet_1", "did you mean `beta_1`?"],
    );
    let config = folder.file("broken.json", "{");
    assert_complains(2, &["--config", &config], &["broken.json", "line 1"]);
    let config = folder.file("good.json", r#"{"name": "adam"}"#);
    assert_complains(
        2,
        &["--config", &config, "--optimizer", "sgd"],
        &["cannot be used with"],
    );

    let csv = format!("csv:{}", folder.file("ragged.csv", "1,2,0\n1,2,3,1\n"));
    assert_complains(
        2,
        &["--data", &csv],
        &["ragged.csv, line 2: expected 3 fields as in the first row, found 4"],
    );
    let csv = format!("csv:{}", folder.file("text.csv", "1,2,0\n1,x,1\n"));
    assert_complains(
        2,
        &["--data", &csv],
        &["text.csv, line 2, column 2: expected a number, found 'x'"],
    );
}

#[test]
fn a_loss_that_is_not_finite_fails_the_run_and_not_the_others() {
    let folder = TempDir::new("failed");
    let plot = folder.path("loss.svg");
    // Adam's steps are about this long, those of gradient descent are a hundred times shorter: only
    // Adam's sums are beyond single precision.
    let args = ["--device", "flex", "--epochs", "1", "--lr", "1e35"];
    let args = [&args[..], &["--optimizer", "adam,sgd", "--plot", &plot]].concat();
    let output = run(&[&args[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert_eq!(
        message,
        "error: adam: the loss became inf in epoch 1; a learning rate below 1e35 may help (--lr)\n"
    );
    let report: Value = serde_json::from_str(text(&output.stdout)).unwrap();
    assert_eq!(report["optimizer"], "sgd");
    let svg = fs::read_to_string(&plot).unwrap();
    assert!(svg.contains("adam (failed)") && !svg.contains("sgd (failed)"));

    // A rate of its own is not --lr's fault.
    let schedule = folder.file("s.json", r#"{"name": "constant", "value": 1e35}"#);
    let message = complaint(
        1,
        &[
            &args[..4],
            &["--optimizer", "adam", "--schedule-config", &schedule],
        ]
        .concat(),
    );
    assert_eq!(
        message,
        format!(
            "error: adam: the loss became inf in epoch 1; rates below 1e35 may help \
             (--schedule-config {schedule})\n"
        )
    );
    let args_of_linear = [&args[..6], &["--optimizer", "adam", "--schedule", "linear"]].concat();
    assert_complains(
        1,
        &args_of_linear,
        &["a learning rate below 1e35 may help (--lr)"],
    );

    let output = run(&args);
    assert_eq!(output.status.code(), Some(1));
    let table = text(&output.stdout);
    let row = |name: &str| table.lines().find(|line| line.contains(name)).unwrap();
    assert!(row(" adam ").contains(" failed "), "{table}");
    assert!(!row(" sgd ").contains(" failed "), "{table}");
}

#[test]
fn a_plot_that_cannot_be_written_fails_after_the_results() {
    let folder = TempDir::new("unwritable");
    let path = folder.path("loss.png");
    fs::create_dir(Path::new(&path)).unwrap();
    let output = run(&[
        "--device", "flex", "--epochs", "1", "--json", "--plot", &path,
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout).lines().count(), 3);
    let message = text(&output.stderr);
    assert!(message.starts_with("error: cannot write "), "{message}");
    assert!(message.contains("loss.png"), "{message}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let args = ["--device", "flex", "--epochs", "1", "--json"];
    let mut child = mlp(&args)
        .args(["--optimizer", "sgd,sgd,sgd,sgd,sgd,sgd"])
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

#[test]
fn clip_bounds_the_gradients_and_is_said() {
    // Plain gradient descent: what is scaled down moves less.
    let sgd = |args: &[&str]| {
        let common = ["--optimizer", "sgd", "--epochs", "2"];
        numbers(reports(&[&common, args].concat()).remove(0))
    };
    let plain = sgd(&[]);
    let tight = sgd(&["--clip", "0.001"]);
    assert_eq!(tight["clip"], 0.001);
    assert!(plain.get("clip").is_none());
    assert!(loss(&tight) > loss(&plain) + 0.1, "{tight} {plain}");
    assert_eq!(loss(&sgd(&["--clip", "1e6"])), loss(&plain));

    let args = ["--epochs", "1", "--optimizer", "sgd", "--clip", "0.5"];
    let output = run(&[&["--device", "flex"], &args[..]].concat());
    let first = text(&output.stdout).lines().next().unwrap();
    assert!(
        first.ends_with(" | gradients clipped to norm 0.5"),
        "{first}"
    );
}

#[test]
fn ema_is_what_is_tested_and_is_said() {
    let plain = adam(&["--epochs", "3"]);
    let averaged = adam(&["--epochs", "3", "--ema", "0.99"]);
    assert_eq!(averaged["ema"], 0.99);
    assert!(plain.get("ema").is_none());
    assert_eq!(loss(&averaged), loss(&plain), "the training is the same");
    assert_ne!(averaged["test_accuracy"], plain["test_accuracy"]);
    // An average of the last alone is the model.
    let last = adam(&["--epochs", "3", "--ema", "0"]);
    assert_eq!(last["test_accuracy"], plain["test_accuracy"]);

    let args = ["--epochs", "1", "--optimizer", "adam", "--ema", "0.9"];
    let output = run(&[&["--device", "flex"], &args[..]].concat());
    let printed = text(&output.stdout);
    let first = printed.lines().next().unwrap();
    assert!(
        first.ends_with(" | tested are averaged weights, ema 0.9"),
        "{first}"
    );
    assert!(printed.contains("Test accuracy, averaged"), "{printed}");
}

#[test]
fn what_an_optimizer_evaluates_is_what_is_tested() {
    let optimizer = ["--optimizer", "schedule_free_adamw", "--lr", "0.01"];
    let report = reports(&[&optimizer[..], &["--epochs", "1"]].concat()).remove(0);

    let device = Device::flex().autodiff();
    let digits = data::digits();
    let mut model = MlpConfig::new(64, 64, 10).init(42, &device);
    let optim = OptimizerConfig::by_name("schedule_free_adamw").unwrap();
    let builder = Driver::builder(optim.try_init().unwrap(), 0.01);
    let mut driver = builder.bind(&model).unwrap();
    for batch in digits.train.batches(32, &mut RandomState::new(42), &device) {
        let grads = GradientsParams::from_grads(model.loss(&batch).backward(), &model);
        (model, _) = driver.step(model, grads).unwrap();
    }
    let evaluated = driver.evaluated(&model);
    assert_eq!(loss(&report), evaluated.evaluate(&digits.train).loss);
    assert_ne!(loss(&report), model.evaluate(&digits.train).loss);
    let accuracy = evaluated.evaluate(&digits.test).accuracy;
    assert_eq!(report["test_accuracy"], accuracy);
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn save_keeps_the_last_two_checkpoints_and_the_best_of_each_optimizer() {
    let folder = TempDir::new("save");
    let saved = folder.path("checkpoints");
    // After the first epoch such steps only lead away.
    let schedule = r#"{"name": "sequence", "schedules": [{"name": "constant"},
        {"name": "constant", "value": 10}], "milestones": [90]}"#;
    let schedule = folder.file("worse.json", schedule);
    let args = ["--optimizer", "sgd,adam", "--epochs", "5", "--save", &saved];
    let with_saves = reports(&[&args[..], &["--schedule-config", &schedule]].concat());
    let without = reports(&[&args[..4], &["--schedule-config", &schedule]].concat());
    for (with, without) in with_saves.into_iter().zip(without) {
        assert_eq!(numbers(with), numbers(without), "to save changes nothing");
    }
    assert_eq!(files(Path::new(&saved)), ["adam", "sgd"]);
    let last = ["step-000000000180.ckpt", "step-000000000225.ckpt"];
    assert_eq!(
        files(&Path::new(&saved).join("adam")),
        [&[".lock", "step-000000000090.ckpt"], &last[..]].concat()
    );
}

#[test]
fn a_training_in_two_parts_is_one_training() {
    let folder = TempDir::new("parts");
    let options = [
        &["--optimizer", "nadam,sgd", "--clip", "0.5", "--ema", "0.9"][..],
        &["--schedule", "reduce_on_plateau"],
    ];
    let options = options.concat();
    let whole = reports(&[&options[..], &["--epochs", "4"]].concat());
    let saved = folder.path("saved");
    let save = [&options[..], &["--save", &saved]].concat();
    reports(&[&save[..], &["--epochs", "2"]].concat());
    for _ in ["go on", "all is done already"] {
        let resumed = reports(&[&save[..], &["--epochs", "4", "--resume"]].concat());
        for (resumed, whole) in resumed.into_iter().zip(&whole) {
            assert_eq!(numbers(resumed), numbers(whole.clone()));
        }
    }

    // The plot has all epochs, and the times are those of both parts.
    let plot = folder.path("loss.svg");
    let again = [&save[..], &["--epochs", "4", "--resume", "--plot", &plot]].concat();
    let seconds = reports(&again)[0]["seconds"].as_f64().unwrap();
    assert!(seconds > 0.0);
    let svg = fs::read_to_string(&plot).unwrap();
    let whole_plot = folder.path("whole.svg");
    reports(&[&options[..], &["--epochs", "4", "--plot", &whole_plot]].concat());
    assert_eq!(svg, fs::read_to_string(&whole_plot).unwrap());
}

#[test]
fn a_training_that_was_killed_is_gone_on_from_exactly() {
    let folder = TempDir::new("killed");
    let saved = folder.path("saved");
    let options = [
        &[
            "--device",
            "flex",
            "--json",
            "--optimizer",
            "adam",
            "--hidden",
            "256",
        ][..],
        &["--epochs", "12", "--schedule", "cosine", "--clip", "1"],
    ];
    let options = options.concat();
    let whole = objects(&run(&options)).remove(0);
    let mut child = mlp(&[&options[..], &["--save", &saved]].concat())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let checkpoints = Path::new(&saved).join("adam");
    let started = std::time::Instant::now();
    let is_saved = |name: &String| name.ends_with(".ckpt");
    while !checkpoints.is_dir() || !files(&checkpoints).iter().any(is_saved) {
        assert!(started.elapsed().as_secs() < 60, "no checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // In the middle of an epoch, or of writing.
    std::thread::sleep(std::time::Duration::from_millis(7));
    child.kill().unwrap();
    assert!(
        !child.wait().unwrap().success(),
        "it was too quick to be killed"
    );
    let resumed = objects(&run(
        &[&options[..], &["--save", &saved, "--resume"]].concat()
    ));
    assert_eq!(numbers(resumed[0].clone()), numbers(whole));
}

#[test]
fn resume_says_what_it_cannot_go_on_from() {
    let folder = TempDir::new("resume");
    let saved = folder.path("saved");
    let args = [
        "--device", "flex", "--json", "--epochs", "2", "--save", &saved,
    ];
    let with = |options: &[&'static str]| [&args[..], options].concat();
    assert_complains(2, &["--resume"], &["--save <DIR>"]);
    assert_complains(
        2,
        &with(&["--optimizer", "adam,sgd", "--resume"]),
        &[
            "there is no checkpoint of adam or sgd in",
            "saved",
            "without --resume",
        ],
    );
    let adam = objects(&run(&with(&["--optimizer", "adam"]))).remove(0);
    assert_complains(
        2,
        &with(&["--optimizer", "adam"]),
        &["adam has checkpoints already", "--resume"],
    );

    // Whoever has no checkpoint starts from the beginning, and it is said.
    let output = run(&with(&["--optimizer", "adam,sgd", "--resume"]));
    assert_eq!(output.status.code(), Some(0));
    let note = text(&output.stderr);
    assert!(
        note.starts_with("note: sgd starts from the beginning"),
        "{note}"
    );
    assert_eq!(note.lines().count(), 1);
    let first = text(&output.stdout).lines().next().unwrap();
    assert_eq!(numbers(serde_json::from_str(first).unwrap()), numbers(adam));

    for (options, expected) in [
        (
            ["--seed", "7"],
            "it was made with --seed 42, and here it is 7",
        ),
        (
            ["--batch-size", "16"],
            "it was made with --batch-size 32, and here it is 16",
        ),
        (["--data", "deck"], "hidden.weight"),
        (["--lr", "0.5"], "another learning rate"),
        (["--clip", "0.5"], "another clipping"),
        (["--ema", "0.5"], "another averaging"),
        (["--epochs", "1"], "it has 2 epochs, more than --epochs 1"),
    ] {
        let args: Vec<&str> = match options[0] {
            "--epochs" => ["--device", "flex", "--save", &saved].to_vec(),
            _ => args.to_vec(),
        };
        let options = [&options[..], &["--optimizer", "adam", "--resume"]].concat();
        assert_complains(
            1,
            &[&args[..], &options].concat(),
            &["adam: ", ".ckpt: ", expected],
        );
    }
    let last = Path::new(&saved).join("adam/step-000000000090.ckpt");
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() / 2]).unwrap();
    assert_complains(
        2,
        &with(&["--optimizer", "adam", "--resume"]),
        &["step-000000000090.ckpt may be the last", "cut off"],
    );
}

#[test]
fn settings_of_the_training_are_checked() {
    for norm in ["0", "-1", "nan", "inf", "much"] {
        assert_complains(2, &["--clip", norm], &["--clip", norm, "a number above 0"]);
    }
    for decay in ["1", "-0.1", "nan", "slow"] {
        assert_complains(2, &["--ema", decay], &["--ema", decay, "from 0 to below 1"]);
    }
}
