//! `downhill compare` and `downhill list`, run as a user runs them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use downhill_lab::source::version;
use serde_json::Value;

const DOWNHILL: &str = env!("CARGO_BIN_EXE_downhill");

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("compare")
        .join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    folder
}

fn downhill(args: &[&str]) -> Output {
    Command::new(DOWNHILL).args(args).output().unwrap()
}

/// A quick comparison: two optimizers on a function of two numbers.
fn compare(out: &Path, more: &[&str]) -> Output {
    let mut args = vec![
        "compare",
        "--problem",
        "rosenbrock",
        "--optimizer",
        "sgd,adam",
        "--out",
        out.to_str().unwrap(),
    ];
    let defaults = [
        ["--tune", "3"],
        ["--seeds", "2"],
        ["--steps", "40"],
        ["--jobs", "1"],
    ];
    for [option, value] in defaults {
        let replaced = match option {
            "--tune" => more.contains(&"--lr-grid") || more.contains(&"--tune"),
            "--steps" => more.contains(&"--epochs") || more.contains(&"--steps"),
            _ => more.contains(&option),
        };
        if !replaced {
            args.extend([option, value]);
        }
    }
    args.extend(more);
    downhill(&args)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn success(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output)
}

/// The runs, without what differs between repetitions.
fn runs(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("runs.jsonl")).unwrap();
    let parse = |line: &str| {
        let mut run: Value = serde_json::from_str(line).unwrap();
        run.as_object_mut()
            .unwrap()
            .remove("cost")
            .expect("a run has a cost");
        run
    };
    text.lines().map(parse).collect()
}

/// The same, whatever order several jobs wrote them in.
fn sorted_runs(out: &Path) -> Vec<Value> {
    let mut runs = runs(out);
    runs.sort_by_key(Value::to_string);
    runs
}

#[test]
fn a_comparison_writes_runs_and_a_report() {
    let out = folder("whole");
    let text = success(&compare(&out, &[]));
    for part in ["rosenbrock: 40 updates", "│ sgd", "│ adam", "report.html"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "colours in a pipe");
    for file in ["runs.jsonl", "report.html", "comparison.json"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let runs = runs(&out);
    let finals = runs.iter().filter(|run| run["trial"]["stage"] == "final");
    let seeds: Vec<&Value> = finals.map(|run| &run["trial"]["seed"]).collect();
    assert_eq!(seeds, [1, 2, 1, 2]);

    // Every counted run is told, in the page and for machines.
    let html = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.contains("Every run that is counted"));
    let told: Value =
        serde_json::from_str(&fs::read_to_string(out.join("comparison.json")).unwrap()).unwrap();
    let entries = told["problems"][0]["entries"].as_array().unwrap();
    let tried = |entry: &Value| entry["tried"].as_array().unwrap().len();
    let tried: Vec<usize> = entries.iter().map(tried).collect();
    let tried = match (tried.iter().min().unwrap(), tried.iter().max().unwrap()) {
        (least, most) if least < most => {
            format!("each tuned with {least} to {most} learning rates")
        }
        (_, most) => format!("each tuned with {most} learning rates"),
    };
    assert!(html.contains(&tried), "{tried}");
    for entry in entries {
        let counted = entry["counted"].as_array().unwrap();
        let of = |run: &&Value| run["trial"]["optimizer"] == entry["config"];
        let made: Vec<&Value> = runs
            .iter()
            .filter(|run| run["trial"]["stage"] == "final")
            .filter(of)
            .collect();
        assert_eq!(counted.len(), 2);
        for (told, made) in counted.iter().zip(made) {
            assert_eq!(told["seed"], made["trial"]["seed"]);
            assert_eq!(told["test"], made["outcome"]["test"]);
        }
    }

    // The same command again has nothing to do.
    let before = fs::read(out.join("runs.jsonl")).unwrap();
    let json = success(&compare(&out, &["--json"]));
    assert_eq!(fs::read(out.join("runs.jsonl")).unwrap(), before);
    let comparison: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        comparison["problems"][0]["entries"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let command = "downhill compare --problem rosenbrock --optimizer sgd,adam --seeds 2 --tune 3 \
        --steps 40 --device flex";
    assert_eq!(comparison["command"], command);
    let file: Value =
        serde_json::from_str(&fs::read_to_string(out.join("comparison.json")).unwrap()).unwrap();
    assert_eq!(file, comparison);
}

#[test]
fn each_option_changes_the_runs() {
    let base = folder("base");
    success(&compare(&base, &[]));
    let base = runs(&base);
    for (name, more) in [
        ("seeds", ["--seeds", "3"]),
        ("tune", ["--tune", "4"]),
        ("grid", ["--lr-grid", "1e-4:1e-2:3"]),
        ("steps", ["--steps", "50"]),
        ("epochs", ["--epochs", "30"]),
        ("schedule", ["--schedule", "cosine"]),
    ] {
        let out = folder(name);
        success(&compare(&out, &more));
        assert_ne!(runs(&out), base, "{name}");
    }
    let out = folder("grid");
    success(&compare(&out, &["--lr-grid", "1e-4:1e-2:3"]));
    let rates: Vec<f64> = runs(&out)[..3]
        .iter()
        .map(|run| run["trial"]["lr"].as_f64().unwrap())
        .collect();
    assert_eq!(rates, [1e-4, 1e-3, 1e-2]);
    // An epoch of a function is one update.
    let out = folder("epochs");
    success(&compare(&out, &["--epochs", "30"]));
    assert!(runs(&out).iter().all(|run| run["trial"]["steps"] == 30));
}

#[test]
fn settings_of_your_own() {
    let out = folder("own");
    fs::create_dir_all(&out).unwrap();
    let optimizer = out.join("fast-adam.json");
    fs::write(&optimizer, r#"{"name": "adam", "beta_1": 0.5}"#).unwrap();
    let schedule = out.join("schedule.json");
    fs::write(
        &schedule,
        r#"{"name": "warmup", "steps": "10%", "schedule": {"name": "rex"}}"#,
    )
    .unwrap();
    let optimizers = format!("adam,{}", optimizer.display());
    let args = [
        "compare",
        "--problem",
        "beale",
        "--optimizer",
        &optimizers,
        "--seeds",
        "1",
    ];
    let more = [
        "--tune",
        "1",
        "--steps",
        "20",
        "--json",
        "--out",
        out.to_str().unwrap(),
    ];
    let more_still = ["--schedule", schedule.to_str().unwrap()];
    let output = downhill(&[&args[..], &more, &more_still].concat());
    let comparison: Value = serde_json::from_str(&success(&output)).unwrap();
    let entries = comparison["problems"][0]["entries"].as_array().unwrap();
    let names: Vec<&str> = entries
        .iter()
        .map(|entry| entry["optimizer"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"adam") && names.contains(&"fast-adam"),
        "{names:?}"
    );
    assert_eq!(comparison["schedule"]["name"], "warmup");
    let command = comparison["command"].as_str().unwrap();
    assert!(
        command.contains(&format!("--schedule {}", schedule.display())),
        "{command}"
    );
    let losses: Vec<&Value> = entries.iter().map(|entry| &entry["train_loss"]).collect();
    assert_ne!(losses[0], losses[1]);
    // The report can be repeated from its folder.
    for (file, copy) in [(&optimizer, "fast-adam.json"), (&schedule, "schedule.json")] {
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(file), read(&out.join("settings").join(copy)));
    }
}

#[test]
fn the_driver_of_every_run_is_told_more() {
    let out = folder("driver");
    fs::create_dir_all(&out).unwrap();
    let file = |name: &str, text: &str| {
        let path = out.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let loss = |folder: &str, driver: Option<&str>| -> (Value, Value) {
        let more = driver.map(|driver| ["--driver", driver]);
        let more: Vec<&str> = more.into_iter().flatten().chain(["--json"]).collect();
        let output = compare(&out.join(folder), &more);
        let comparison: Value = serde_json::from_str(&success(&output)).unwrap();
        let entries = comparison["problems"][0]["entries"].as_array().unwrap();
        let mut losses = entries
            .iter()
            .map(|entry| entry["train_loss"]["median"].clone());
        let report = fs::read_to_string(out.join(folder).join("report.html")).unwrap();
        assert_eq!(
            report.contains("<summary>Driver</summary>"),
            driver.is_some()
        );
        (losses.next().unwrap(), comparison["driver"].clone())
    };
    let clipping = file(
        "clipping.toml",
        "clipping = { global_norm = { threshold = 1e-3 } }\n",
    );
    let averages = file(
        "averages.json",
        r#"{"averaging": {"kind": {"ema": {"decay": 0.9, "bias_correction": true, "warmup": false}},
            "every": 1, "start": 0, "average_buffers": true}}"#,
    );
    let (plain, none) = loss("plain", None);
    assert_eq!(none, Value::Null);
    let (clipped, told) = loss("clipped", Some(&clipping));
    assert_eq!(told["clipping"]["global_norm"]["threshold"], 1e-3);
    let (averaged, _) = loss("averaged", Some(&averages));
    assert!(plain != clipped && plain != averaged && clipped != averaged);

    let steps = file("steps.toml", "steps = 5\n");
    let output = compare(&out.join("steps"), &["--driver", &steps]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("`steps` is the comparison's own"), "{said}");
}

#[test]
fn interrupted_and_resumed_it_ends_in_the_same_runs() {
    let more = ["--problem", "digits-mlp", "--steps", "400", "--tune", "5"];
    let args = |out: &Path| -> Vec<String> {
        let fixed = [
            "compare",
            "--optimizer",
            "sgd,adam",
            "--seeds",
            "2",
            "--device",
            "flex",
        ];
        let words = fixed.iter().chain(&more).map(|word| word.to_string());
        words
            .chain(["--out".to_string(), out.display().to_string()])
            .collect()
    };
    let whole = folder("uninterrupted");
    let output = Command::new(DOWNHILL).args(args(&whole)).output().unwrap();
    success(&output);

    let out = folder("interrupted");
    let child = Command::new(DOWNHILL)
        .args(args(&out))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // As soon as there is a run, and long before the last one.
    while !fs::read_to_string(out.join("runs.jsonl")).is_ok_and(|text| text.contains('\n')) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let message = stderr(&output);
    assert!(
        message.contains("the same command goes on from there"),
        "{message}"
    );
    let finished = runs(&out).len();
    assert!((1..runs(&whole).len()).contains(&finished));

    success(&Command::new(DOWNHILL).args(args(&out)).output().unwrap());
    assert_eq!(sorted_runs(&out), sorted_runs(&whole));
}

#[test]
fn a_bad_line_is_an_error_and_stays() {
    let out = folder("bad-line");
    success(&compare(&out, &[]));
    let file = out.join("runs.jsonl");
    let text = format!("not a run\n{}", fs::read_to_string(&file).unwrap());
    fs::write(&file, &text).unwrap();
    let output = compare(&out, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("runs.jsonl, line 1: this is not a run"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn runs_of_another_version_are_left_alone_and_told() {
    let out = folder("version");
    let first = compare(&out, &[]);
    success(&first);
    assert_eq!(stderr(&first), "");
    let made = runs(&out).len();
    let file = out.join("runs.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let version = format!("\"version\":\"{}\"", version());
    fs::write(&file, text.replace(&version, "\"version\":\"0.0.1\"")).unwrap();
    let again = compare(&out, &[]);
    success(&again);
    let note = format!("note: {made} runs in ");
    assert!(stderr(&again).starts_with(&note), "{}", stderr(&again));
    assert!(
        stderr(&again).contains("are left alone"),
        "{}",
        stderr(&again)
    );
    assert_eq!(runs(&out).len(), 2 * made);
}

/// What a file says cannot act on the terminal.
#[test]
fn control_characters_of_files_are_escaped() {
    let out = folder("escapes");
    fs::create_dir_all(&out).unwrap();
    let escape = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
    let acts = |text: &str| {
        text.chars()
            .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}')
    };
    let settings = out.join("settings.json");
    let json = serde_json::json!({"name": "adam", escape: 1});
    fs::write(&settings, json.to_string()).unwrap();
    let schedule = out.join(format!("schedule{escape}.json"));
    fs::write(&schedule, r#"{"name": "cosine"}"#).unwrap();
    let bad = out.join("bad.json");
    fs::write(&bad, serde_json::json!({"name": escape}).to_string()).unwrap();
    let lines = out.join("lines");
    fs::create_dir(&lines).unwrap();
    let line = serde_json::json!({"trial": escape}).to_string();
    fs::write(lines.join("runs.jsonl"), line + "\n").unwrap();

    let path = |path: &Path| path.to_str().unwrap().to_string();
    let (settings, schedule, bad) = (path(&settings), path(&schedule), path(&bad));
    let compared = compare(&lines, &["--optimizer", &settings]);
    for output in [
        compared,
        compare(&lines, &[]),
        downhill(&["schedule", &schedule, "--steps", "9"]),
        downhill(&["schedule", &schedule, "--steps", "9", "--json"]),
        downhill(&["schedule", &bad]),
    ] {
        let text = stdout(&output) + &stderr(&output);
        assert!(text.contains("1b"), "{text:?}");
        assert!(!acts(&text), "{text:?}");
    }
}

/// A limit on the size of files is as good as a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing() {
    let out = folder("full");
    let command = format!(
        "ulimit -f 16; trap '' XFSZ; exec {DOWNHILL} compare --problem rosenbrock --optimizer \
         sgd,adam --tune 5 --seeds 5 --steps 40 --device flex --out {}",
        out.display()
    );
    let output = Command::new("bash")
        .args(["-c", &command])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let message = stderr(&output);
    assert!(
        message.contains("cannot write to") && message.contains("runs.jsonl"),
        "{message}"
    );
    let finished = runs(&out);
    assert!(!finished.is_empty());

    let more = ["--tune", "5", "--seeds", "5"];
    success(&compare(&out, &more));
    assert_eq!(runs(&out)[..finished.len()], finished);
}

#[test]
fn what_is_wrong_is_said_before_anything_runs() {
    let out = folder("wrong");
    let file = out.with_extension("json");
    fs::write(&file, r#"{"name": "cosine", "floor": -1}"#).unwrap();
    for (more, message) in [
        (vec!["--problem", "rosenbrok"], "did you mean `rosenbrock`"),
        (vec!["--optimizer", "adma"], "did you mean `adam`?"),
        (
            vec!["--optimizer", "adam"],
            "two optimizers are called adam",
        ),
        (
            vec!["--problem", "rosenbrock"],
            "the problem rosenbrock is there twice",
        ),
        (
            vec!["--lr-grid", "1:2"],
            "a grid is two rates above 0 and a count",
        ),
        (vec!["--lr-grid", "2:1:3"], "begins at its lowest rate"),
        (vec!["--lr-grid", "1e-3:1:0"], "1 to 99 rates"),
        (
            vec!["--lr-grid", "1e-3:1e308:3"],
            "a learning rate must be from 1e-30 to 1e30, got 1e308",
        ),
        (vec!["--lr-grid", "1e-300:1:3"], "got 1e-300"),
        (vec!["--schedule", "cosin"], "did you mean `cosine`?"),
        (
            vec!["--schedule", file.to_str().unwrap()],
            "`floor` must be finite and at least 0",
        ),
        (vec!["--schedule", "nowhere.json"], "cannot read it"),
        (vec!["--seeds", "0"], "0 is not in 1..=1000"),
        (vec!["--steps", "5", "--epochs", "5"], "cannot be used with"),
    ] {
        let output = compare(&out, &more);
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        assert!(
            stderr(&output).contains(message),
            "{more:?}: {}",
            stderr(&output)
        );
        assert!(!out.exists(), "{more:?}");
    }
    #[cfg(not(feature = "wgpu"))]
    {
        let output = compare(&out, &["--device", "wgpu"]);
        let message = "device wgpu is not compiled in; add its feature";
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
    }
    let output = compare(Path::new("/proc/nowhere"), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot make the folder /proc/nowhere"));
}

/// What does not depend on the machine, the time or the folder.
fn result(json: &str) -> Value {
    let mut comparison: Value = serde_json::from_str(json).unwrap();
    let all = comparison.as_object_mut().unwrap();
    all.remove("machine");
    for problem in all["problems"].as_array_mut().unwrap() {
        for entry in problem["entries"].as_array_mut().unwrap() {
            let entry = entry.as_object_mut().unwrap();
            entry.retain(|name, _| !name.contains("seconds") && name != "peak_bytes");
        }
    }
    comparison
}

/// Several jobs, and shares that are put together, come to what one job does.
#[test]
fn jobs_and_shares_come_to_the_same() {
    let more = ["--json", "--optimizer", "lion,adamw"];
    let whole = folder("one-job");
    let expected = result(&success(&compare(&whole, &more)));
    let sorted = sorted_runs(&whole);

    let jobs = folder("jobs");
    let found = success(&compare(&jobs, &[&more[..], &["--jobs", "3"]].concat()));
    assert!(found.contains("3 runs at once"), "{found}");
    assert_eq!(result(&found), expected);
    assert_eq!(sorted_runs(&jobs), sorted);

    let shares = ["1/3", "2/3", "3/3"].map(|share| {
        let out = folder(&format!("share-{}", &share[..1]));
        let text = success(&compare(&out, &[&more[..], &["--shard", share]].concat()));
        assert!(text.contains("for `downhill merge`"), "{text}");
        assert!(!out.join("report.html").exists());
        out.to_str().unwrap().to_string()
    });
    let merged = folder("merged");
    let mut args = vec!["merge"];
    args.extend(shares.iter().map(String::as_str));
    args.extend(["--out", merged.to_str().unwrap()]);
    let text = success(&downhill(&args));
    assert!(
        text.contains(&format!("{0} runs are in", sorted.len())),
        "{text}"
    );
    let found = success(&compare(&merged, &more));
    assert_eq!(result(&found), expected);
    assert!(merged.join("report.html").is_file());

    for wrong in ["0/3", "4/3", "1", "a/b"] {
        let output = compare(&whole, &["--shard", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(
            stderr(&output).contains("for example 2/8"),
            "{}",
            stderr(&output)
        );
    }
    let nothing = downhill(&["merge", folder("nothing").to_str().unwrap()]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(
        stderr(&nothing).contains("there are no runs in"),
        "{}",
        stderr(&nothing)
    );
}

#[test]
fn lists() {
    let all = success(&downhill(&["list"]));
    for part in ["nadam", "cosine_restarts", "digits-mlp"] {
        assert!(all.contains(part), "{part}");
    }
    let some = success(&downhill(&["list", "optimizers", "nesterov", "--json"]));
    let names: Vec<Value> = some
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].clone())
        .collect();
    assert!(!names.is_empty() && names.len() < 10, "{names:?}");
    // The names of other libraries are found too.
    let schedule = success(&downhill(&["list", "schedules", "StepLR"]));
    assert!(
        schedule.contains("│ step") && !schedule.contains("cosine"),
        "{schedule}"
    );
    let optimizer = success(&downhill(&["list", "adamw_torch"]));
    assert!(
        optimizer.contains("│ adamw") && !optimizer.contains("nadam"),
        "{optimizer}"
    );
    let kind = downhill(&["list", "optimisers", "adam"]);
    assert_eq!(kind.status.code(), Some(2));
    let nothing = downhill(&["list", "problems", "nothing-like-that"]);
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn schedules_are_drawn() {
    let text = success(&downhill(&["schedule", "cosine", "rex", "--steps", "100"]));
    assert!(
        text.contains("a cosine   b rex") && text.contains("│  100 ┆"),
        "{text}"
    );
    let json = success(&downhill(&[
        "schedule", "rex", "--steps", "4", "--lr", "3", "--json",
    ]));
    let rex: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(rex["values"][2], 2.0);
    let wrong = downhill(&["schedule", "cosin"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        stderr(&wrong).contains("did you mean `cosine`?"),
        "{}",
        stderr(&wrong)
    );
}

/// `downhill list | head -1`
#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = Command::new(DOWNHILL)
        .args(["list", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        stderr(&output)
    );
}

#[test]
fn completions_and_a_manual_page() {
    let script = success(&downhill(&["completions", "bash"]));
    assert!(script.contains("--lr-grid"), "{script}");
    let page = success(&downhill(&["man"]));
    for part in [
        ".TH downhill 1",
        "lr\\-grid",
        "interrupted with Ctrl",
        "rounds",
    ] {
        assert!(page.contains(part), "{part}");
    }
}
