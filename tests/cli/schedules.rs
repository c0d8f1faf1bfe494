//! The examples `schedules` and `schedule_pictures`, run as their users run them.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::runs::{TempDir, example, message, objects, text};
use downhill::schedule::{CosineConfig, CosineRestartsConfig, ScheduleConfig, slides};
use serde_json::Value;

fn run(args: &[&str]) -> Output {
    example("schedules").args(args).output().unwrap()
}

/// What a run prints that must go well.
#[track_caller]
fn printed(args: &[&str]) -> String {
    crate::runs::printed(&run(args))
}

#[track_caller]
fn reports(args: &[&str]) -> Vec<Value> {
    objects(&run(&[&["--json"], args].concat()))
}

/// The error message of a run that must end with this exit code, in words and without output.
#[track_caller]
fn complaint(code: i32, args: &[&str]) -> String {
    message(code, &run(args))
}

#[track_caller]
fn assert_complains(args: &[&str], expected: &[&str]) {
    let message = complaint(2, args);
    for part in expected {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

/// The cells of the tables' rows that begin with this step, from left to right.
#[track_caller]
fn row<'a>(stdout: &'a str, step: &str) -> Vec<&'a str> {
    let cells = |line: &'a str| {
        let line = line.trim_matches('│');
        line.split('┆').map(str::trim).collect::<Vec<_>>()
    };
    let rows = stdout.lines().filter(|line| line.starts_with('│'));
    let rows: Vec<_> = rows.map(cells).filter(|cells| cells[0] == step).collect();
    assert!(!rows.is_empty(), "there is no row {step} in: {stdout}");
    rows.into_iter()
        .flat_map(|cells| cells[1..].to_vec())
        .collect()
}

#[test]
fn without_arguments_there_are_both_figures_of_the_deck_with_their_tables() {
    let stdout = printed(&[]);
    assert!(
        !stdout.contains('\u{1b}'),
        "no control sequences unless on a terminal"
    );
    let (decays, restarts) = stdout.split_once("Slide 14").unwrap();
    assert!(decays.starts_with("Slide 9"), "{decays}");

    // Slide 9: the deck's step decay is one epoch early, its cosine rises again after the end.
    assert!(decays.contains("a slides_step   b slides_exponential   c slides_cosine"));
    let same = ["0.1"; 6];
    assert_eq!(row(decays, "0"), same);
    let early = [
        "0.05", "0.1", "0.040657", "0.040657", "0.098015", "0.098015",
    ];
    assert_eq!(row(decays, "9"), early);
    assert_eq!(row(decays, "10")[..2], ["0.05", "0.05"]);
    assert_eq!(row(decays, "100")[4..], ["0", "0"]);
    assert_eq!(row(decays, "1000")[4..], ["0.1", "0"]);

    // Slide 14: the deck's curve is back at its peak where it should be at its floor.
    assert!(restarts.contains("a slides_restarts   b cosine_restarts   ┊ restart"));
    assert_eq!(row(restarts, "2500"), ["1e-6", "0.050001"]);
    assert_eq!(row(restarts, "4999"), ["0.1", "1.0099e-6"]);
    assert_eq!(row(restarts, "5000"), ["0.05", "0.050001"]);
    assert_eq!(row(restarts, "15000"), ["0.025", "0.025001"]);
    assert_eq!(row(restarts, "20000").len(), 2);
    assert_eq!(row(restarts, "200000").len(), 2);

    for figure in [decays, restarts] {
        let dots = figure
            .chars()
            .filter(|c| ('\u{2801}'..='\u{28ff}').contains(c));
        assert!(dots.count() > 100, "{figure}");
    }
    for line in stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn schedules_are_drawn_by_their_names_and_those_of_others() {
    let stdout = printed(&["--steps", "200", "--lr", "0.5", "CosineAnnealingLR", "wsd"]);
    assert!(
        stdout.starts_with("Learning rates over 200 steps\na cosine   b wsd\n"),
        "{stdout}"
    );
    assert_eq!(row(&stdout, "0"), ["0.5", "0"]);
    assert_eq!(row(&stdout, "160"), ["0.047746", "0.5"]);
    assert_eq!(row(&stdout, "200"), ["0", "0"]);
    assert_eq!(row(&stdout, "2000"), ["0", "0"]);

    let stdout = printed(&["cosine_restarts"]);
    assert!(
        stdout.starts_with("cosine_restarts over 1000 steps\n┊ restart\n"),
        "{stdout}"
    );
    assert_eq!(row(&stdout, "250"), ["0.1"]);
}

#[test]
fn a_single_step_is_a_training_too() {
    let stdout = printed(&["--steps", "1", "cosine"]);
    assert_eq!([row(&stdout, "0"), row(&stdout, "1")], [["0.1"], ["0"]]);
}

#[test]
fn the_curve_goes_where_the_values_are() {
    let stdout = printed(&["linear", "--lr", "1"]);
    let rows: Vec<&str> = stdout
        .lines()
        .filter(|line| line.contains('│'))
        .take(17)
        .collect();
    // The last dot of each row of text is further right than that of the row above.
    let ends: Vec<usize> = rows
        .iter()
        .map(|row| row.trim_end().chars().count())
        .collect();
    assert!(ends.windows(2).all(|pair| pair[0] < pair[1]), "{stdout}");
    assert_eq!(ends[16], 80);
    for (i, label) in [
        (0, "1 "),
        (4, "0.75"),
        (8, "0.5 "),
        (12, "0.25"),
        (16, "0 "),
    ] {
        assert!(rows[i].starts_with(label), "{stdout}");
    }
}

#[test]
fn json_has_the_values_of_the_library() {
    let all = reports(&[
        "--steps",
        "300",
        "--lr",
        "0.2",
        "cosine",
        "one_cycle",
        "noam",
    ]);
    assert_eq!(all.len(), 3);
    for (report, name) in all.iter().zip(["cosine", "one_cycle", "noam"]) {
        let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 4, "{keys:?}");
        assert_eq!(report["name"], name);
        let schedule = ScheduleConfig::by_name(name).unwrap();
        let schedule = schedule.try_build_for(0.2, 300).unwrap();
        let values: Vec<f64> = (0..=300).map(|step| schedule.value(step)).collect();
        assert_eq!(report["values"], serde_json::to_value(values).unwrap());
        let phases = serde_json::to_value(schedule.phases(301)).unwrap();
        assert_eq!(report["phases"], phases);
        // Without percentages, and as it can be read again.
        let config = ScheduleConfig::from_json(&report["config"].to_string()).unwrap();
        assert_eq!(config.try_build().unwrap(), schedule);
    }

    let deck = reports(&[]);
    let names: Vec<&str> = deck
        .iter()
        .map(|report| report["name"].as_str().unwrap())
        .collect();
    let expected = [
        "slides_step",
        "step",
        "slides_exponential",
        "exponential",
        "slides_cosine",
        "cosine",
        "slides_restarts",
        "cosine_restarts",
    ];
    assert_eq!(names, expected);
    let values = |i: usize| deck[i]["values"].as_array().unwrap();
    let cosine = CosineConfig::new(0.1, 100).try_build().unwrap();
    assert_eq!(values(5).len(), 101);
    assert_eq!(values(5)[37], cosine.value(37));
    let restarts = slides::RestartsConfig::new(0.1, 5_000).try_build().unwrap();
    assert_eq!(values(6).len(), 20_001);
    assert_eq!(values(6)[12_345], restarts.value(12_345));
    let right = CosineRestartsConfig::new(0.1, 5_000).with_floor(1e-6);
    let right = right.with_t_mul(2.0).with_m_mul(0.5).try_build().unwrap();
    assert_eq!(values(7)[12_345], right.value(12_345));
    assert_eq!(deck[7]["phases"], serde_json::json!([5_000, 15_000]));
}

#[test]
fn a_file_has_settings_of_its_own() {
    let folder = TempDir::new("file");
    let json =
        r#"{"name": "warmup", "steps": "10%", "schedule": {"name": "linear", "end": "10%"}}"#;
    let file = folder.file("mine.json", json);
    let report = reports(&["--steps", "100", &file]).remove(0);
    assert_eq!(report["name"], "mine.json");
    assert_eq!(report["phases"], serde_json::json!([10, 100]));
    assert_eq!(report["config"]["steps"], 10);
    assert_eq!(report["values"][10], 0.1);
    assert_eq!(report["values"][100], 0.1 * 0.1);

    let stdout = printed(&["--steps", "100", &file, "cosine"]);
    assert!(stdout.contains("a mine.json   b cosine"), "{stdout}");
}

/// Either a name is enough, or the message shows a file that is.
#[test]
fn every_schedule_can_be_drawn() {
    let folder = TempDir::new("every");
    let mut by_file = Vec::new();
    for info in ScheduleConfig::all() {
        let output = run(&[info.name]);
        let message = text(&output.stderr);
        if output.status.success() {
            assert_eq!(message, "");
            continue;
        }
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(info.name), "{message}");
        if info.name == "custom" {
            assert!(message.contains("ScheduleConfig::custom"), "{message}");
            continue;
        }
        let json = message.lines().find(|line| line.starts_with("  {"));
        let json = json.unwrap_or_else(|| panic!("there is no example in: {message}"));
        let file = folder.file(&format!("{}.json", info.name), json);
        let report = reports(&[&file]).remove(0);
        assert_eq!(report["config"]["name"], info.name);
        by_file.push(info.name);
    }
    let combinations = [
        "piecewise",
        "sequence",
        "product",
        "scale",
        "clamp",
        "shift",
        "repeat",
        "per_epoch",
    ];
    assert_eq!(by_file, combinations);
}

#[test]
fn the_plot_of_the_deck_has_both_figures() {
    let folder = TempDir::new("deck");
    let file = folder.path("deck.svg");
    let stdout = printed(&["--plot", &file]);
    assert!(!stdout.contains('⠤'), "the chart is in the file: {stdout}");
    assert_eq!(row(&stdout, "5000"), ["0.05", "0.050001"]);

    let svg = fs::read_to_string(file).unwrap();
    assert!(svg.starts_with("<svg width=\"960\" height=\"880\""));
    assert!(svg.trim_end().ends_with("</svg>"));
    let labels: Vec<&str> = svg
        .split("<text")
        .skip(1)
        .map(|text| text.split(['>', '<']).nth(1).unwrap().trim())
        .collect();
    for label in [
        "Slide 9: step, exponential and cosine decay",
        "slides_step",
        "slides_exponential",
        "slides_cosine",
        "slides_restarts",
        "cosine_restarts",
        "Epoch",
        "Step",
        "Learning rate",
        "20000",
    ] {
        assert!(labels.contains(&label), "'{label}' is not in {labels:?}");
    }
    let restarts = labels.iter().filter(|label| **label == "restart");
    assert_eq!(restarts.count(), 2);
}

#[test]
fn the_plot_is_a_png_if_its_name_says_so() {
    let folder = TempDir::new("png");
    let file = folder.path("rates.PNG");
    let reports = reports(&["cosine", "--plot", &file]);
    assert_eq!(reports.len(), 1);
    let png = fs::read(file).unwrap();
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    let size = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!((size(16), size(20)), (1920, 880));
    assert!(png.len() > 10_000, "a drawing, not an empty page");
}

#[test]
fn help_lists_options_schedules_and_exit_status() {
    for flag in ["-h", "--help"] {
        let help = printed(&[flag]);
        for info in ScheduleConfig::all() {
            assert!(
                help.contains(info.name),
                "'{}' is not in: {help}",
                info.name
            );
        }
        for part in [
            "--steps",
            "--lr",
            "--plot",
            "--json",
            "StepLR",
            "polynomial_schedule",
            "phases",
            "Exit status",
        ] {
            assert!(help.contains(part), "'{part}' is not in: {help}");
        }
    }
}

#[test]
fn wrong_arguments_are_usage_errors() {
    assert_complains(&["cosin"], &["'cosin'", "did you mean `cosine`?"]);
    assert_complains(&["reduce_on_plateau"], &["follows a metric"]);
    assert_complains(&["--steps", "5"], &["NAME|FILE.json"]);
    assert_complains(&["--lr", "5"], &["NAME|FILE.json"]);
    assert_complains(&["cosine", "--steps", "0"], &["--steps", "0 is not in 1.."]);
    for lr in ["-0.1", "0", "nan", "inf", "fast"] {
        let expected = [lr, "--lr", "a learning rate is a number above 0"];
        assert_complains(&["cosine", "--lr", lr], &expected);
    }
    assert_complains(
        &["cosine_restarts", "--steps", "1"],
        &["cosine_restarts: `period` must be at least 1 step, got 0 (of 1 step)"],
    );
    assert_complains(&["--plot", "rates.pdf"], &["ends in .svg or .png"]);
    let nowhere = "there is no folder no/such/folder";
    assert_complains(&["--plot", "no/such/folder/rates.svg"], &[nowhere]);
}

#[test]
fn files_that_cannot_be_used_are_usage_errors() {
    assert_complains(&["none.json"], &["none.json", "cannot read it"]);
    let folder = TempDir::new("files");
    for (json, expected) in [
        ("{", "EOF while parsing"),
        ("{}", "a schedule needs a `name`"),
        (r#"{"name": "cosne"}"#, "did you mean `cosine`?"),
        (r#"{"name": "cosine", "flor": 0}"#, "did you mean `floor`?"),
        (
            r#"{"name": "cosine", "floor": -1}"#,
            "cosine: `floor` must be finite and at least 0",
        ),
    ] {
        let file = folder.file("wrong.json", json);
        assert_complains(&[&file], &["wrong.json", expected]);
    }
}

#[test]
fn a_plot_that_cannot_be_written_fails_after_the_results() {
    let folder = TempDir::new("unwritable");
    for name in ["rates.svg", "rates.png"] {
        let path = folder.path(name);
        fs::create_dir(&path).unwrap();
        let output = run(&["cosine", "--json", "--plot", &path]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stdout).lines().count(), 1);
        let message = text(&output.stderr);
        assert!(message.starts_with("error: cannot write "), "{message}");
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn without_a_terminal_nothing_depends_on_its_settings() {
    let plain = printed(&["cosine", "wsd"]);
    assert!(!plain.contains('\u{1b}'));
    for (variable, value) in [
        ("NO_COLOR", "1"),
        ("COLUMNS", "200"),
        ("CLICOLOR_FORCE", "1"),
    ] {
        let mut command = example("schedules");
        let output = command
            .args(["cosine", "wsd"])
            .env(variable, value)
            .output()
            .unwrap();
        assert_eq!(text(&output.stdout), plain, "{variable}");
    }
}

/// `script` gives the program a terminal.
#[test]
#[cfg(target_os = "linux")]
fn on_a_terminal_there_are_colours_unless_they_are_not_wanted() {
    let program = example("schedules")
        .get_program()
        .to_str()
        .unwrap()
        .to_string();
    let on_terminal = |no_color: &str| {
        let mut script = Command::new("script");
        let command = format!("stty cols 100; '{program}' cosine wsd");
        script
            .args(["-qec", &command, "/dev/null"])
            .env("NO_COLOR", no_color);
        script.stdin(Stdio::null()).output()
    };
    let Ok(output) = on_terminal("") else {
        return;
    };
    let stdout = text(&output.stdout);
    assert!(stdout.contains("\u{1b}[38;5;6ma cosine"), "{stdout}");
    let longest = stdout
        .lines()
        .filter(|line| line.contains('└'))
        .map(|line| {
            let line = line.trim_end();
            line.chars().count()
        });
    assert!(longest.max() >= Some(100), "{stdout}");

    let output = on_terminal("1").unwrap();
    let stdout = text(&output.stdout);
    assert!(stdout.contains("a cosine   b wsd"), "{stdout}");
    assert!(!stdout.contains('\u{1b}'), "{stdout}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut child = example("schedules")
        .args(["--json", "--steps", "1000000", "cosine", "linear"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.starts_with('{'));
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

fn svgs(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let svgs = files.filter(|path| path.extension().is_some_and(|end| end == "svg"));
    svgs.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        (name, fs::read_to_string(path).unwrap())
    })
    .collect()
}

#[test]
fn the_picture_of_speeds_is_of_its_table() {
    let folder = TempDir::new("speed");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/book/src");
    let drawn = folder.0.join("speed.svg");
    let mut command = example("speed_picture");
    command.arg(root.join("speed.csv")).arg(&drawn);
    assert!(command.status().unwrap().success());
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    assert!(
        read(&drawn) == read(&root.join("speed.svg")),
        "draw it again: cargo run --example speed_picture -- docs/book/src/speed.csv docs/book/src/speed.svg"
    );
}

#[test]
fn the_pictures_of_the_documentation_are_what_is_drawn_now() {
    let folder = TempDir::new("pictures");
    let output = example("schedule_pictures")
        .arg(&folder.0)
        .output()
        .unwrap();
    assert_eq!(text(&output.stderr), "");
    assert!(output.status.success());
    let drawn = svgs(&folder.0);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/downhill-schedule/docs");
    let committed = svgs(&docs);

    let names: Vec<&String> = drawn.keys().collect();
    assert_eq!(committed.keys().collect::<Vec<_>>(), names);
    for (name, svg) in &drawn {
        assert!(
            committed[name] == *svg,
            "{name}.svg is of another schedule; draw the pictures again: \
             cargo run --example schedule_pictures -- crates/downhill-schedule/docs"
        );
        // As Markdown wants HTML.
        assert!(svg.starts_with("<svg "), "{name}");
        assert!(svg.lines().all(|line| !line.trim().is_empty()), "{name}");
        assert!(svg.len() < 9_000, "{name}: {}", svg.len());
    }
    for info in ScheduleConfig::all() {
        let name = match info.name {
            "custom" => continue,
            "sequence" => "then",
            name => name,
        };
        assert!(drawn.contains_key(name), "{name} has no picture");
    }
}
