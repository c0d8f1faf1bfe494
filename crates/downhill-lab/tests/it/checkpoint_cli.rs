//! `downhill checkpoint`, run as its users run it.
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Bytes, Device, Tensor};
use downhill_optim::{AdamConfig, OptimizerConfig, SgdConfig};
use downhill_schedule::CosineConfig;
use downhill_train::checkpoint::{Checkpoints, Goal};
use downhill_train::{Accumulation, Averaging, Clipping, Driver, Group, Select};
use serde_json::{Value, json};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downhill"));
    command.arg("checkpoint").args(args);
    command.env("RUST_BACKTRACE", "1");
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn printed(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    text(&output.stdout).to_string()
}

#[track_caller]
fn json(file: &str) -> Value {
    let printed = printed(&["inspect", file, "--json"]);
    assert_eq!(printed.lines().count(), 1);
    serde_json::from_str(&printed).unwrap()
}

#[track_caller]
fn assert_complains(code: i32, args: &[&str], expected: &[&str]) {
    let output = run(args);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert_eq!(text(&output.stdout), "");
    assert!(message.starts_with("error: "), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    for part in expected {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("downhill-checkpoint-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Module, Debug)]
struct Net {
    hidden: Linear,
    output: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(3, 8).init(device),
            output: LinearConfig::new(8, 1).init(device),
        }
    }

    fn grads(&self, device: &Device) -> GradientsParams {
        let x = Tensor::<2>::from_floats([[1.0, 0.5, -1.0], [0.0, 2.0, 1.0]], device);
        let y = self.output.forward(self.hidden.forward(x).tanh());
        GradientsParams::from_grads((y - 1.0).square().mean().backward(), self)
    }
}

fn device() -> Device {
    Device::flex().autodiff()
}

/// A checkpoint of a driver that uses what there is, after five micro-batches.
fn checkpoint(folder: &Folder) -> String {
    let device = device();
    let mut net = Net::new(&device);
    let schedule = CosineConfig::new(0.01, 1000).schedule().warmup(20);
    let mut driver = Driver::builder(AdamConfig::new().init(), schedule.try_build().unwrap())
        .with_clipping(Clipping::global_norm(0.75))
        .with_accumulation(Accumulation::mean(2))
        .with_averaging(Averaging::ema(0.9))
        .with_group(
            Group::new("head", Select::path("output.**"))
                .with_optimizer(SgdConfig::new().with_momentum(0.5).build()),
        )
        .bind(&net)
        .unwrap();
    for _ in 0..5 {
        let grads = net.grads(&device);
        (net, _) = driver.step(net, grads).unwrap();
    }
    let notes = driver.notes_mut();
    notes.insert("epoch".to_string(), "17".to_string());
    let folder = Checkpoints::new(&folder.0).keep_best(1, Goal::Lowest);
    let file = folder.save(&driver, &net, Some(0.125)).unwrap();
    file.to_str().unwrap().to_string()
}

#[test]
fn inspect_says_what_a_checkpoint_has() {
    let folder = Folder::new("inspect");
    let file = checkpoint(&folder);
    let printed = printed(&["inspect", &file]);
    let row = |what: &str| -> String {
        let mut rows = printed
            .lines()
            .filter(|line| line.starts_with(&format!("│ {what} ")));
        let row = rows
            .next()
            .unwrap_or_else(|| panic!("no {what} in\n{printed}"));
        row.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(row("format").contains("1, written by downhill-train 0."));
    assert_eq!(row("updates"), "│ updates ┆ 2 │");
    assert_eq!(row("skipped"), "│ skipped ┆ 0 │");
    assert_eq!(row("metric"), "│ metric ┆ 0.125 │");
    assert!(row("learning rate").contains("warmup"));
    assert!(
        row("clipping").contains("global_norm (threshold 0.75)"),
        "{printed}"
    );
    assert!(row("accumulation").contains("micro_batches 2"));
    assert!(row("averaging").contains("decay 0.9"));
    assert!(row("optimizer 1").contains("adam: "));
    assert!(row("optimizer 2").contains("sgd: "));
    assert!(row("optimizer 2").contains("momentum 0.5"));
    assert!(row("averages").contains("of 2 updates, 164 B"));
    assert!(row("window").contains("1 micro-batch, 164 B"));
    assert_eq!(row("note epoch"), "│ note epoch ┆ 17 │");
    assert_eq!(
        row("hidden.weight"),
        "│ hidden.weight ┆ 3×8 ┆ f32 ┆ 24 ┆ 1 ┆ - ┆ 192 B │"
    );
    assert_eq!(
        row("output.bias"),
        "│ output.bias ┆ 1 ┆ f32 ┆ 1 ┆ 2 ┆ head ┆ 4 B │"
    );
    assert_eq!(row("total"), "│ total ┆ ┆ ┆ 41 ┆ ┆ ┆ 292 B │");
    assert!(!printed.contains('\u{1b}'), "a pipe gets no colours");
}

#[test]
fn inspect_prints_json_for_machines() {
    let folder = Folder::new("json");
    let file = checkpoint(&folder);
    let json = json(&file);
    assert_eq!(json["file"], file);
    assert_eq!(json["bytes"], fs::metadata(&file).unwrap().len());
    assert_eq!(json["format"], 1);
    assert_eq!(json["updates"], 2);
    assert_eq!(json["metric"], 0.125);
    assert_eq!(json["micro_batches"], 1);
    assert_eq!(json["averaged"], 2);
    assert_eq!(json["notes"]["epoch"], "17");
    assert_eq!(json["learning_rate"]["name"], "warmup");
    assert_eq!(json["parameters"][0]["path"], "hidden.weight");
    let tensors = json["tensors"].as_array().unwrap();
    let named = |name: &str| {
        tensors
            .iter()
            .find(|tensor| tensor["name"] == name)
            .unwrap()
    };
    let moment = named("optimizer/hidden.weight/state.exp_avg");
    assert_eq!(moment["shape"], json!([3, 8]));
    assert_eq!(moment["dtype"], "f32");
    assert_eq!(moment["bytes"], 96);
    let checksums = json["checksums"].as_object().unwrap();
    assert_eq!(checksums.len(), tensors.len());
}

#[test]
fn what_is_not_an_intact_checkpoint_is_named() {
    let folder = Folder::new("damaged");
    let file = checkpoint(&folder);
    let bytes = fs::read(&file).unwrap();
    let bad = folder.path("bad.ckpt");
    let write = |bytes: &[u8]| fs::write(&bad, bytes).unwrap();

    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    write(&flipped);
    assert_complains(1, &["inspect", &bad], &["bad.ckpt: it is damaged"]);
    write(&bytes[..bytes.len() - 1]);
    assert_complains(
        1,
        &["inspect", &bad, "--json"],
        &["bad.ckpt: it ends after", "cut off"],
    );
    write(b"a letter");
    assert_complains(1, &["inspect", &bad], &["bad.ckpt: it is not a checkpoint"]);

    let none = folder.path("none.ckpt");
    assert_complains(2, &["inspect", &none], &["none.ckpt: cannot be read"]);
    assert_complains(2, &["inspect"], &["FILE", "Usage"]);
}

/// A checkpoint whose header says what no driver would have written, under checksums that fit.
fn forged(folder: &Folder, name: &str, forge: impl FnOnce(&mut Value)) -> String {
    const TRAILER: usize = 20;
    let bytes = fs::read(checkpoint(folder)).unwrap();
    let packed = Bytes::from_bytes_vec(bytes[..bytes.len() - TRAILER].to_vec());
    let reader = burn_pack::Reader::from_bytes(packed).unwrap();
    let mut header: Value = serde_json::from_str(&reader.metadata()["downhill"]).unwrap();
    forge(&mut header);
    let scalars = reader.scalars().clone();
    let mut writer = burn_pack::Writer::new(reader.into_tensors().unwrap())
        .with_metadata("downhill", &header.to_string());
    for (name, value) in &scalars {
        writer = writer.with_scalar(name, *value);
    }
    let mut bytes = writer.into_bytes().unwrap().to_vec();
    let (checksum, length) = (crc32fast::hash(&bytes), bytes.len() as u64);
    bytes.extend(b"DOWNHILL");
    bytes.extend(length.to_le_bytes());
    bytes.extend(checksum.to_le_bytes());
    let file = folder.path(name);
    fs::write(&file, bytes).unwrap();
    file
}

/// Shown, or refused in words: a shape that no tensor has may be either.
#[test]
fn a_shape_beyond_all_numbers_is_no_panic() {
    let folder = Folder::new("shape");
    let mut shown = 0;
    for (i, shape) in [
        json!([u64::MAX, 3]),
        json!([u64::MAX]),
        json!([u64::MAX, 0]),
    ]
    .into_iter()
    .enumerate()
    {
        let file = forged(&folder, &format!("{i}.ckpt"), |header| {
            header["parameters"][0]["shape"] = shape.clone();
            header["parameters"][0]["optimizer"] = json!(u64::MAX);
        });
        for args in [&["inspect", &file][..], &["inspect", &file, "--json"]] {
            let output = run(args);
            let message = text(&output.stderr);
            match output.status.code() {
                Some(0) => shown += 1,
                code => assert_eq!(code, Some(1), "{message}"),
            }
            assert!(!message.contains("panicked"), "{message}");
        }
    }
    println!("{shown} shown");
}

/// What a file says cannot act on the terminal.
#[test]
fn control_characters_of_a_checkpoint_are_escaped() {
    let folder = Folder::new("escapes");
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J\u{7f}\r\u{202e}hello";
    let acts = |text: &str| {
        text.chars()
            .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}')
    };
    type Forge<'a> = &'a dyn Fn(&mut Value);
    let places: [(&str, Forge); 7] = [
        ("note", &|header| header["notes"]["epoch"] = json!(evil)),
        ("key of a note", &|header| {
            header["notes"][evil] = json!("1")
        }),
        ("version", &|header| header["version"] = json!(evil)),
        ("optimizer", &|header| {
            header["optimizers"][0]["name"] = json!(evil)
        }),
        ("settings", &|header| {
            header["optimizers"][0]["settings"] = json!(evil)
        }),
        ("setting", &|header| {
            header["settings"][evil] = json!({ evil: evil })
        }),
        ("group", &|header| {
            header["parameters"][0]["groups"] = json!([evil])
        }),
    ];
    for (i, (place, forge)) in places.into_iter().enumerate() {
        let file = forged(&folder, &format!("{i}.ckpt"), forge);
        let output = run(&["inspect", &file]);
        let (printed, message) = (text(&output.stdout), text(&output.stderr));
        assert!(!acts(printed), "{place}: {printed:?}");
        assert!(!acts(message), "{place}: {message:?}");
        let words = [printed, message].concat();
        assert!(words.contains("1b}"), "{place}: {words}");
        let output = run(&["inspect", &file, "--json"]);
        let printed = text(&output.stdout);
        assert!(!acts(printed), "{place}: {printed:?}");
        if output.status.success() {
            let json: Value = serde_json::from_str(printed).unwrap();
            assert!(json.to_string().contains('\u{202e}'), "{place}");
        }
    }
}

/// A record would be gone for a checkpoint of it.
#[test]
fn convert_does_not_write_over_its_records() {
    let folder = Folder::new("over");
    records(&folder, burn::optim::AdamConfig::new().init(), 2);
    let [model, optimizer, _] = paths(&folder);
    let around = folder.path("./model.bpk");
    let mut outs = vec![model.clone(), optimizer.clone(), around];
    #[cfg(unix)]
    {
        let (soft, hard) = (folder.path("soft.bpk"), folder.path("hard.bpk"));
        std::os::unix::fs::symlink(&model, &soft).unwrap();
        fs::hard_link(&optimizer, &hard).unwrap();
        outs.extend([soft, hard]);
    }
    let before = [&model, &optimizer].map(|file| fs::read(file).unwrap());
    for out in outs {
        let paths = [model.clone(), optimizer.clone(), out.clone()];
        assert_complains(2, &convert(&paths, &[]), &[&out, "which it would replace"]);
        let after = [&model, &optimizer].map(|file| fs::read(file).unwrap());
        assert!(after == before, "{out}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = Folder::new("pipe");
    let file = checkpoint(&folder);
    let mut child = command(&["inspect", &file])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    let mut errors = String::new();
    child.stderr.unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "");
}

/// A network that burn-optim's optimizer trained, and the files of both.
fn records(folder: &Folder, mut optim: ModuleOptimizer, steps: usize) -> (Net, ModuleOptimizer) {
    let device = device();
    let mut net = Net::new(&device);
    for _ in 0..steps {
        let grads = net.grads(&device);
        net = optim.step(0.01, net, grads);
    }
    net.clone().save_file(folder.path("model.bpk")).unwrap();
    optim.save(folder.path("optimizer.bpk")).unwrap();
    (net, optim)
}

/// The command with these options, and the file that it writes.
fn convert<'a>(paths: &'a [String; 3], options: &[&'a str]) -> Vec<&'a str> {
    let [model, optimizer, out] = paths;
    let files = [
        "convert",
        "--model",
        model,
        "--optimizer",
        optimizer,
        "--out",
        out,
    ];
    [&files, options].concat()
}

fn paths(folder: &Folder) -> [String; 3] {
    ["model.bpk", "optimizer.bpk", "converted.ckpt"].map(|name| folder.path(name))
}

#[test]
fn a_converted_checkpoint_is_gone_on_from() {
    let folder = Folder::new("convert");
    let (mut net, mut optim) = records(&folder, burn::optim::AdamConfig::new().init(), 4);
    let paths = paths(&folder);
    let config = r#"{"name": "adam", "epsilon": 1e-5}"#;
    let said = printed(&convert(&paths, &["--config", config]));
    let expected = format!(
        "{}: 4 updates, 4 tensors, 328 B of optimizer state\n",
        paths[2]
    );
    assert_eq!(said, expected);

    let device = device();
    let mut other = Net::new(&device);
    let adam = OptimizerConfig::from_json(config)
        .unwrap()
        .try_init()
        .unwrap();
    let mut driver = Driver::builder(adam, 0.01).bind(&other).unwrap();
    other = driver.load(other, &paths[2]).unwrap();
    for _ in 0..3 {
        let grads = net.grads(&device);
        net = optim.step(0.01, net, grads);
        let grads = other.grads(&device);
        (other, _) = driver.step(other, grads).unwrap();
    }
    let values = |net: &Net| {
        net.hidden
            .weight
            .val()
            .into_data()
            .try_to_vec::<f32>()
            .unwrap()
    };
    for (theirs, ours) in values(&net).iter().zip(values(&other)) {
        assert!((theirs - ours).abs() <= 1e-6, "{theirs} {ours}");
    }
    let shown = printed(&["inspect", &paths[2]]);
    assert!(shown.contains("made of Burn's records"), "{shown}");
    assert!(shown.contains("not known"), "{shown}");
}

#[test]
fn convert_takes_the_number_of_updates_and_keeps_foreign_states() {
    let folder = Folder::new("updates");
    records(&folder, burn::optim::AdamConfig::new().init(), 4);
    let paths = paths(&folder);
    printed(&convert(&paths, &["--updates", "1000"]));
    let converted = json(&paths[2]);
    assert_eq!(converted["updates"], 1000);
    assert_eq!(converted["optimizers"], json!([]));
    let tensors = converted["tensors"].as_array().unwrap();
    let name = "optimizer/hidden.bias/momentum.moment_1";
    assert!(tensors.iter().any(|tensor| tensor["name"] == name));
}

#[test]
fn records_that_cannot_be_converted_are_named() {
    let folder = Folder::new("refused");
    let momentum = burn::optim::momentum::MomentumConfig::new();
    let sgd = burn::optim::SgdConfig::new().with_momentum(Some(momentum));
    records(&folder, sgd.init(), 2);
    let paths = paths(&folder);
    let sgd = r#"{"name": "sgd", "momentum": 0.9, "dampening": 0.1}"#;
    assert_complains(
        1,
        &convert(&paths, &["--config", sgd]),
        &["does not say how many updates were made", "(--updates)"],
    );
    printed(&convert(&paths, &["--config", sgd, "--updates", "2"]));
    assert_complains(
        1,
        &convert(
            &paths,
            &["--config", r#"{"name": "nadam"}"#, "--updates", "2"],
        ),
        &[
            "for nadam it cannot be translated",
            "adam, adamw, adagrad, rmsprop, sgd",
        ],
    );
    assert_complains(
        2,
        &convert(&paths, &["--config", r#"{"name": "adm"}"#]),
        &["--config <JSON>", "did you mean `adam`?"],
    );
    let [model, optimizer, out] = paths.clone();
    let swapped = [optimizer, model.clone(), out.clone()];
    assert_complains(1, &convert(&swapped, &[]), &["are the two files swapped?"]);
    let missing = [model, folder.path("none.bpk"), out];
    assert_complains(2, &convert(&missing, &[]), &["none.bpk: cannot be read"]);
}
