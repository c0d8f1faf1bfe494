//! `downhill trace`, run as its users run it.
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use downhill_problems::functions::Function;
use serde_json::Value;

fn downhill(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downhill"));
    command.arg("trace").args(args).env("RUST_BACKTRACE", "1");
    command
}

fn run(args: &[&str]) -> Output {
    downhill(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// With `--json`, which must go well and print nothing else.
#[track_caller]
fn reports(args: &[&str]) -> Vec<Value> {
    let output = run(&[&["--json"], args].concat());
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let lines = text(&output.stdout).lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[track_caller]
fn assert_complains(code: i32, args: &[&str], expected: &[&str]) {
    let output = run(args);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.starts_with("error: "), "{message}");
    for noise in ["panicked", "backtrace", "\u{1b}["] {
        assert!(!message.contains(noise), "{message}");
    }
    for part in expected {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

/// A folder that is removed again.
struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> Self {
        let name = format!("downhill-trace-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pair(value: &Value) -> [f64; 2] {
    [value[0].as_f64().unwrap(), value[1].as_f64().unwrap()]
}

const QUADRATIC: [&str; 8] = [
    "--function",
    "quadratic-2-10",
    "--optimizer",
    "sgd",
    "--start",
    "-1,0.5",
    "--lr",
    "0.5",
];

/// Along each eigenvector of the Hessian, gradient descent multiplies by `1 - lr·eigenvalue`.
#[test]
fn gradient_descent_on_a_quadratic_follows_the_closed_form() {
    let report = reports(&[&QUADRATIC[..], &["--steps", "25"]].concat()).remove(0);
    assert_eq!(report["function"], "quadratic-2-10");
    assert_eq!(report["lr"], 0.5);
    assert_eq!(report["start"], serde_json::json!([-1.0, 0.5]));
    assert_eq!(report["steps"], 25);
    let points = report["points"].as_array().unwrap();
    assert_eq!(points.len(), 26);

    // The reflection with v = (1, 2) / sqrt(5) has these columns.
    let eigen = [([0.6, -0.8], 1.0_f64), ([-0.8, -0.6], 0.1)];
    let start = [-1.0, 0.5];
    for (k, point) in points.iter().enumerate() {
        let mut expected = [0.0, 0.0];
        for (vector, eigenvalue) in eigen {
            let along = vector[0] * start[0] + vector[1] * start[1];
            let factor = along * (1.0 - 0.5 * eigenvalue).powi(k as i32);
            expected = [
                expected[0] + factor * vector[0],
                expected[1] + factor * vector[1],
            ];
        }
        let [x, y] = pair(point);
        assert!((x - expected[0]).abs() < 1e-6, "{k}: {x} {expected:?}");
        assert!((y - expected[1]).abs() < 1e-6, "{k}: {y} {expected:?}");
    }
    let end = pair(&report["end"]);
    assert_eq!(end, pair(&points[25]));
    let value = Function::quadratic(2, 10.0).unwrap().value(&end);
    assert_eq!(report["value"].as_f64(), Some(value));
    assert_eq!(report["values"][25].as_f64(), Some(value));
    assert_eq!(report["distance"].as_f64(), Some(end[0].hypot(end[1])));
    assert_eq!(report["left_at"], Value::Null);
}

#[test]
fn each_option_changes_the_path() {
    let base = reports(&[&QUADRATIC[..], &["--steps", "5"]].concat()).remove(0);
    let changed = |change: &[&str]| {
        let mut args: Vec<&str> = QUADRATIC.to_vec();
        args.extend(["--steps", "5"]);
        let at = args.iter().position(|arg| *arg == change[0]).unwrap();
        args[at + 1] = change[1];
        reports(&args).remove(0)
    };
    for change in [
        ["--function", "quadratic-2-20"],
        ["--optimizer", "adam"],
        ["--start", "1,1"],
        ["--lr", "0.4"],
        ["--steps", "4"],
    ] {
        let report = changed(&change);
        assert_ne!(report["points"], base["points"], "{change:?}");
    }
    assert_eq!(
        changed(&["--start", " 1, 1"])["start"],
        serde_json::json!([1.0, 1.0])
    );
}

#[test]
fn without_a_rate_the_best_of_the_grid_is_taken() {
    let args = ["--function", "himmelblau", "--optimizer", "sgd,adam"];
    let args = [&args[..], &["--steps", "60"]].concat();
    for best in reports(&args) {
        let name = best["optimizer"].as_str().unwrap();
        let value = best["value"].as_f64().unwrap();
        assert!(value < 0.1, "{name}: {value}");
        assert!(best["distance"].as_f64().unwrap() < 0.1);
        for lr in ["0.001", "0.01", "0.1", "1"] {
            let args = [
                "--function",
                "himmelblau",
                "--optimizer",
                name,
                "--steps",
                "60",
                "--lr",
                lr,
            ];
            let other = reports(&args).remove(0);
            let is_worse = other["value"].as_f64().unwrap() >= value;
            assert!(is_worse || other["left_at"] != Value::Null, "{name} {lr}");
        }
    }
    let output = run(&args);
    let table = text(&output.stdout);
    assert!(table.contains("best of 0.0001 to 10"), "{table}");
    assert!(!table.contains('\u{1b}'));
    let output = run(&[&args[..], &["--lr", "0.01"]].concat());
    assert!(!text(&output.stdout).contains("best of"));
}

#[test]
fn a_divergence_is_told_and_marked() {
    let folder = TempDir::new("divergence");
    let file = folder.path("path.svg");
    let args = [
        "--function",
        "quadratic-2",
        "--optimizer",
        "sgd",
        "--lr",
        "2.5",
    ];
    let report = reports(&args).remove(0);
    let step = report["left_at"].as_u64().unwrap() as usize;
    let points = report["points"].as_array().unwrap();
    let is_inside = |point: &Value| pair(point).iter().all(|x| x.abs() <= 2.0);
    assert!(is_inside(&points[step - 1]));
    assert!(points[step..].iter().all(|point| !is_inside(point)));

    let output = run(&[&args[..], &["--out", &file]].concat());
    assert_eq!(output.status.code(), Some(0));
    let message = format!("left the domain at step {step}");
    assert!(text(&output.stdout).contains(&message));
    let svg = fs::read_to_string(&file).unwrap();
    assert!(svg.contains("leaves the domain"));
    assert!(svg.contains(&format!("rate 2.5, left at step {step}")));

    let stays = [
        "--function",
        "quadratic-2",
        "--optimizer",
        "sgd",
        "--lr",
        "1",
    ];
    run(&[&stays[..], &["--out", &file]].concat());
    assert!(
        !fs::read_to_string(&file)
            .unwrap()
            .contains("leaves the domain")
    );

    // Rosenbrock's function grows with the fourth power: soon there is no number any more.
    let args = [
        "--function",
        "rosenbrock",
        "--optimizer",
        "sgd",
        "--lr",
        "1",
    ];
    let report = reports(&args).remove(0);
    assert!(report["steps"].as_u64().unwrap() < 200);
    assert!(report["left_at"].as_u64().unwrap() >= 1);
}

/// A step beyond all coordinates is drawn as far as the picture goes.
#[test]
fn a_step_far_out_of_the_picture_is_drawn_to_its_edge() {
    let folder = TempDir::new("far");
    for (lr, name) in [
        ("1e10", "1e10.svg"),
        ("1e30", "1e30.svg"),
        ("1e38", "1e38.svg"),
        ("1e300", "1e300.svg"),
        ("1e30", "1e30.png"),
        ("1e30", "1e30.gif"),
    ] {
        let file = folder.path(name);
        let args = ["--function", "rosenbrock", "--optimizer", "sgd,adam"];
        let more = ["--steps", "20", "--lr", lr, "--out", &file];
        let output = run(&[&args[..], &more].concat());
        assert_eq!(text(&output.stderr), "", "{name}");
        assert_eq!(output.status.code(), Some(0), "{name}");
        assert!(text(&output.stdout).contains("left the domain at step 1"));
        if !name.ends_with("svg") {
            continue;
        }
        let svg = fs::read_to_string(&file).unwrap();
        assert!(svg.contains("left at step 1"), "{name}");
        let points = svg.split("points=\"").skip(1);
        let points = points.flat_map(|rest| rest.split('"').next().unwrap().split([' ', ',']));
        for x in points.filter(|x| !x.is_empty()) {
            let x: f64 = x.parse().unwrap();
            assert!((0.0..=8160.0).contains(&x), "{name}: {x}");
        }
    }
}

#[test]
fn the_svg_has_contours_paths_and_a_legend() {
    let folder = TempDir::new("svg");
    let file = folder.path("path.svg");
    let args = ["--function", "himmelblau", "--optimizer", "sgd,nadam"];
    let output = run(&[&args[..], &["--steps", "40", "--out", &file]].concat());
    assert_eq!(text(&output.stderr), "");
    let svg = fs::read_to_string(file).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for part in [
        "himmelblau from (-1, -1), 40 steps",
        "sgd",
        "nadam",
        "rate 0.0",
        "start",
        "minimum",
        // Levels of a range of three decades.
        "10",
        "100",
    ] {
        let text = svg.split("<text").any(|text| text.contains(part));
        assert!(text, "'{part}' is not in the picture");
    }
    // Four minima and one in the legend, each of a white and a black star of ten corners.
    let corners = |polygon: &str| {
        let points = polygon.split("points=\"").nth(1)?.split('"').next()?;
        Some(points.split_whitespace().count())
    };
    let stars = svg
        .split("<polygon")
        .filter(|polygon| polygon.contains("#000000") && corners(polygon) == Some(10))
        .count();
    assert_eq!(stars, 5);
    for color in ["#0072B2", "#D55E00"] {
        assert!(svg.contains(color), "{color}");
    }
    assert!(svg.len() < 500_000, "{}", svg.len());
}

#[test]
fn the_png_is_twice_as_dense() {
    let folder = TempDir::new("png");
    let file = folder.path("path.png");
    let args = [
        "--function",
        "saddle",
        "--optimizer",
        "adam",
        "--steps",
        "20",
    ];
    run(&[&args[..], &["--out", &file]].concat());
    let png = fs::read(file).unwrap();
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    let size = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!((size(16), size(20)), (1632, 1180));
    assert!(png.len() > 50_000, "a drawing, not an empty page");
}

/// The number of images in a GIF, whose blocks are walked through.
fn frames(gif: &[u8]) -> usize {
    assert_eq!(gif[..6], *b"GIF89a");
    let palette = |flags: u8| match flags >> 7 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    };
    let skip_blocks = |mut at: usize| {
        while gif[at] != 0 {
            at += 1 + usize::from(gif[at]);
        }
        at + 1
    };
    let mut at = 13 + palette(gif[10]);
    let mut frames = 0;
    loop {
        match gif[at] {
            0x21 => at = skip_blocks(at + 2),
            0x2c => {
                frames += 1;
                at = skip_blocks(at + 10 + palette(gif[at + 9]) + 1);
            }
            0x3b => return frames,
            other => panic!("{other:#x} is no block"),
        }
    }
}

#[test]
fn the_gif_moves_and_is_small() {
    let folder = TempDir::new("gif");
    let file = folder.path("path.gif");
    let args = [
        "--function",
        "rosenbrock",
        "--optimizer",
        "sgd,adam",
        "--out",
    ];
    let output = run(&[&args[..], &[&file]].concat());
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let gif = fs::read(&file).unwrap();
    assert_eq!(frames(&gif), 40);
    assert!(gif.len() < 2_000_000, "{}", gif.len());

    run(&[&args[..], &[&file, "--steps", "3"]].concat());
    assert_eq!(frames(&fs::read(&file).unwrap()), 4 + 6);
}

#[test]
fn wrong_options_are_usage_errors() {
    let sgd = ["--optimizer", "sgd"];
    let with = |args: &[&'static str]| [&sgd[..], args].concat();
    assert_complains(
        2,
        &with(&["--function", "rosenbrok"]),
        &["rosenbrok", "did you mean `rosenbrock`?"],
    );
    assert_complains(
        2,
        &with(&["--function", "rosenbrock-10"]),
        &["rosenbrock-10 has 10 variables", "rosenbrock-2"],
    );
    let on = ["--function", "saddle"];
    assert_complains(
        2,
        &[&on[..], &["--optimizer", "sgd,adams"]].concat(),
        &["'adams'", "did you mean `adam`?"],
    );
    assert_complains(2, &on, &["--optimizer"]);
    assert_complains(2, &sgd, &["--function"]);
    let with = |args: &[&'static str]| [&sgd[..], &on[..], args].concat();
    for start in ["1", "1,2,3", "one,two", "nan,0", ""] {
        assert_complains(2, &with(&["--start"]), &["--start"]);
        let args = [&sgd[..], &on[..], &["--start", start]].concat();
        assert_complains(2, &args, &["two numbers with a comma"]);
    }
    assert_complains(
        2,
        &with(&["--start", "3,0"]),
        &["(3, 0) is not in the domain of saddle, -2 to 2"],
    );
    for lr in ["-1", "0", "nan", "fast"] {
        let args = [&sgd[..], &on[..], &["--lr", lr]].concat();
        assert_complains(2, &args, &["a learning rate is a number above 0"]);
    }
    assert_complains(2, &with(&["--steps", "0"]), &["0 is not in 1.."]);
    assert_complains(
        2,
        &with(&["--out", "path.pdf"]),
        &["ends in .svg, .png or .gif"],
    );
    assert_complains(
        2,
        &with(&["--out", "no/such/folder/path.gif"]),
        &["there is no folder no/such/folder"],
    );
    let many = ["--optimizer", "sgd,sgd,sgd,sgd,sgd,sgd,sgd"];
    assert_complains(2, &[&on[..], &many[..]].concat(), &["7 optimizers"]);
}

#[test]
fn a_picture_that_cannot_be_written_fails_after_the_results() {
    let folder = TempDir::new("unwritable");
    for name in ["path.svg", "path.png", "path.gif"] {
        let path = folder.path(name);
        fs::create_dir(&path).unwrap();
        let args = ["--function", "saddle", "--optimizer", "sgd", "--json"];
        let output = run(&[&args[..], &["--out", &path]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stdout).lines().count(), 1);
        let message = text(&output.stderr);
        assert!(message.starts_with("error: cannot write "), "{message}");
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let args = [
        "--function",
        "beale",
        "--json",
        "--optimizer",
        "sgd,sgd,sgd",
    ];
    let mut child = downhill(&[&args[..], &["--steps", "5000", "--lr", "0.01"]].concat())
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
fn help_lists_functions_keys_and_how_the_rate_is_chosen() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for part in [
        "--function",
        "--optimizer",
        "--lr",
        "--steps",
        "--start",
        "--out",
        "--json",
        "himmelblau",
        "styblinski-tang",
        "left_at",
        "lowest value at the last step",
    ] {
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(part), "'{part}' is not in: {help}");
    }
}
