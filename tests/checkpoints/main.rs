//! Checkpoints: what is saved is what goes on, bit for bit, or nothing is.

#[path = "../common/mod.rs"]
mod common;
mod convert;
mod folders;
mod forged;
mod layouts;
mod old_files;
#[cfg(feature = "pytorch")]
mod pytorch;
mod settings;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Int, Tensor};
use common::devices;
use common::net::{ALL, Net, make, train};
use common::rows::{rate_for, rows_on};
use downhill::optim::{AdamConfig, NAdamConfig, OptimizerConfig, SgdConfig};
use downhill::schedule::{CosineConfig, PlateauScheduler, ReduceOnPlateauConfig};
use downhill::train::checkpoint::{Checkpoint, CheckpointError, Checkpoints, Goal};
use downhill::train::{
    Accumulation, Averaging, Clipping, Driver, DriverBuilder, Group, MicroBatch, NonFinite,
    Rejected, Select,
};

fn device() -> Device {
    devices().remove(0).device
}

fn cosine(lr: f64, steps: u64) -> downhill::schedule::Schedule {
    let cosine = CosineConfig::new(lr, steps).schedule().warmup(3);
    cosine.try_build().unwrap()
}

/// A driver that uses everything which has a state.
fn driver(config: &OptimizerConfig, lr: f64, net: &Net) -> Driver {
    let rate = rate_for(config, lr, cosine(lr, 20));
    Driver::builder(config.try_init().unwrap(), rate)
        .with_clipping(Clipping::global_norm(1.0))
        .with_averaging(Averaging::ema(0.9))
        .with_group(Group::new("kernel", Select::name("kernel")).with_learning_rate_factor(0.5))
        .bind(net)
        .unwrap()
}

fn bytes<M: Module>(driver: &Driver, model: &M) -> Vec<u8> {
    driver.checkpoint(model).unwrap().to_bytes().unwrap()
}

/// A file of a test's own.
fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("checkpoints");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

#[test]
fn going_on_from_a_checkpoint_is_not_having_stopped() {
    for device in devices() {
        for &dtype in device.dtypes {
            for row in rows_on(&device) {
                for (label, config) in row.configs() {
                    let label = format!("{label} on {} in {dtype:?}", device.name);
                    let device = &device.device;
                    let net = Net::new(1, device, dtype);
                    let mut whole = driver(&config, row.lr, &net);
                    let net = train(&mut whole, net, 0..3, device, dtype);
                    let saved = bytes(&whole, &net);
                    let net = train(&mut whole, net, 3..6, device, dtype);

                    // Other values, and other ids.
                    let other = Net::new(5, device, dtype);
                    let mut resumed = driver(&config, row.lr, &other);
                    let checkpoint = Checkpoint::from_bytes(saved.clone()).unwrap();
                    let other = resumed.resume(other, &checkpoint).unwrap();
                    let again = bytes(&resumed, &other);
                    assert!(saved == again, "{label}: saved again, it is other bytes");
                    let other = train(&mut resumed, other, 3..6, device, dtype);
                    assert_eq!(net.values(), other.values(), "{label}");
                    let same = bytes(&whole, &net) == bytes(&resumed, &other);
                    assert!(same, "{label}: the states differ");
                }
            }
        }
    }
}

/// Trains with what `build` makes, once in one go and once with a stop after each step, and compares.
fn resumes_at_every_step(
    label: &str,
    steps: usize,
    build: impl Fn(&Net) -> Driver,
    step: impl Fn(&mut Driver, Net, usize) -> Net,
) {
    let device = device();
    let mut net = Net::new(1, &device, DType::F32);
    let mut whole = build(&net);
    let mut resumed_net = Net::new(1, &device, DType::F32);
    let mut resumed = build(&resumed_net);
    for t in 0..steps {
        net = step(&mut whole, net, t);
        let saved = bytes(&resumed, &resumed_net);
        resumed_net = Net::new(7 + t, &device, DType::F32);
        resumed = build(&resumed_net);
        let checkpoint = Checkpoint::from_bytes(saved).unwrap();
        resumed_net = resumed.resume(resumed_net, &checkpoint).unwrap();
        resumed_net = step(&mut resumed, resumed_net, t);
        assert_eq!(net.values(), resumed_net.values(), "{label}: step {t}");
        let same = bytes(&whole, &net) == bytes(&resumed, &resumed_net);
        assert!(same, "{label}: the states differ after step {t}");
    }
}

fn plain_step(driver: &mut Driver, net: Net, t: usize) -> Net {
    let grads = net.grads(t, &ALL, &device(), DType::F32);
    driver.step(net, grads).unwrap().0
}

#[test]
fn a_window_that_is_not_full_goes_on() {
    let build = |net: &Net| {
        Driver::builder(AdamConfig::new().init(), 0.1)
            .with_accumulation(Accumulation::mean(3))
            .bind(net)
            .unwrap()
    };
    let step = |driver: &mut Driver, net: Net, t: usize| {
        let grads = net.grads(t, &ALL, &device(), DType::F32);
        let batch = MicroBatch::new(grads)
            .with_loss(0.1 * t as f64)
            .with_samples(1 + t as u64);
        driver.step(net, batch).unwrap().0
    };
    resumes_at_every_step("accumulation", 7, build, step);
}

#[test]
fn counters_of_skips_and_averages_go_on() {
    let build = |net: &Net| {
        Driver::builder(NAdamConfig::new().init(), cosine(0.1, 10))
            .with_non_finite(NonFinite::Skip { max_consecutive: 2 })
            .with_averaging(
                Averaging::ema(0.9)
                    .with_warmup()
                    .with_every(2)
                    .with_start(1),
            )
            .bind(net)
            .unwrap()
    };
    let step = |driver: &mut Driver, net: Net, t: usize| {
        let mut grads = net.grads(t, &ALL, &device(), DType::F32);
        if t % 3 == 1 {
            let nan = Tensor::<1>::full([3], f32::NAN, &device());
            grads.register(net.bias.id, nan);
        }
        driver.step(net, grads).unwrap().0
    };
    resumes_at_every_step("skips", 8, build, step);
}

#[test]
fn schedulers_of_burn_and_plateaus_go_on() {
    let build = |net: &Net| {
        let scheduler = CosineAnnealingLrSchedulerConfig::new(0.1, 9);
        Driver::builder(
            SgdConfig::new().with_momentum(0.9).init(),
            scheduler.init().unwrap(),
        )
        .bind(net)
        .unwrap()
    };
    resumes_at_every_step("burn's cosine", 6, build, plain_step);

    let plateau = || {
        let config = ReduceOnPlateauConfig {
            patience: 0,
            ..ReduceOnPlateauConfig::new(0.1)
        };
        PlateauScheduler::from(config.try_build().unwrap())
    };
    let build = |plateau: &PlateauScheduler, net: &Net| {
        Driver::builder(SgdConfig::new().init(), plateau.clone())
            .bind(net)
            .unwrap()
    };
    let (first, second) = (plateau(), plateau());
    let net = Net::new(1, &device(), DType::F32);
    let driver = build(&first, &net);
    first.observe(1.0);
    first.observe(2.0);
    let saved = driver.checkpoint(&net).unwrap();
    let mut resumed = build(&second, &net);
    let net = resumed.resume(net, &saved).unwrap();
    let grads = net.grads(0, &ALL, &device(), DType::F32);
    let (_, report) = resumed.step(net, grads).unwrap();
    assert_eq!(report.learning_rate, 0.1 * 0.1);
}

#[test]
fn optimizers_of_burn_go_on() {
    let identity = downhill::optim::Identity::new("burn adam", "{}");
    let build = |net: &Net| {
        Driver::builder(burn::optim::AdamConfig::new().init(), 0.1)
            .with_identity(identity.clone())
            .bind(net)
            .unwrap()
    };
    resumes_at_every_step("burn's adam", 4, build, plain_step);

    // Burn loads every state in the precision of its default device: better refused than rounded.
    let net = Net::new(1, &device(), DType::F64);
    let mut driver = build(&net);
    let net = train(&mut driver, net, 0..2, &device(), DType::F64);
    let saved = driver.checkpoint(&net).unwrap();
    let before = bytes(&driver, &net);
    let Rejected { model, cause } = driver.resume(net, &saved).unwrap_err();
    assert!(matches!(cause, CheckpointError::State { .. }), "{cause}");
    assert_eq!(bytes(&driver, &model), before);
}

/// With buffers: running statistics, integers and booleans.
#[derive(Module, Debug)]
struct Buffered {
    linear: Linear,
    norm: BatchNorm,
    counts: Param<Tensor<1, Int>>,
    flags: Param<Tensor<1, burn::tensor::Bool>>,
}

impl Buffered {
    fn new(count: i64, device: &Device) -> Self {
        let device = &device.clone().autodiff();
        let counts = Tensor::from_data([count, 2 * count], device);
        let flags = Tensor::from_data([count > 1, true], device);
        Self {
            linear: LinearConfig::new(3, 4).init(device),
            norm: BatchNormConfig::new(4).init(device),
            counts: Param::initialized(burn::module::ParamId::new(), counts),
            flags: Param::initialized(burn::module::ParamId::new(), flags),
        }
    }

    fn step(self, driver: &mut Driver, t: usize, device: &Device) -> Self {
        let input = make::<2>(t, &[5, 3], &device.clone().autodiff(), DType::F32);
        let output = self.norm.forward(self.linear.forward(input));
        let grads = output.powf_scalar(3.0).mean().backward();
        let grads = GradientsParams::from_grads(grads, &self);
        driver.step(self, grads).unwrap().0
    }
}

#[test]
fn buffers_go_on() {
    let device = device();
    let build = |model: &Buffered| {
        Driver::builder(AdamConfig::new().init(), 0.1)
            .with_averaging(Averaging::ema(0.5))
            .bind(model)
            .unwrap()
    };
    let mut model = Buffered::new(3, &device);
    let mut driver = build(&model);
    for t in 0..3 {
        model = model.step(&mut driver, t, &device);
    }
    let saved = driver.checkpoint(&model).unwrap();
    let mut other = Buffered::new(1, &device);
    // It has seen other data, whose statistics have not been taken in yet.
    let mut resumed = build(&other);
    other = other.step(&mut resumed, 9, &device);
    other = resumed.resume(other, &saved).unwrap();
    assert_eq!(
        other.counts.val().into_data(),
        model.counts.val().into_data()
    );
    assert_eq!(other.flags.val().into_data(), model.flags.val().into_data());
    for t in 3..6 {
        model = model.step(&mut driver, t, &device);
        other = other.step(&mut resumed, t, &device);
        assert!(
            bytes(&driver, &model) == bytes(&resumed, &other),
            "step {t}"
        );
    }
    let loaded = saved.model(Buffered::new(1, &device)).unwrap();
    let ours = loaded.norm.running_mean.value().into_data();
    let input = make::<2>(1, &[5, 3], &device, DType::F32);
    assert_ne!(
        ours,
        BatchNormConfig::new(4)
            .init(&device)
            .running_mean
            .value()
            .into_data()
    );
    assert_ne!(
        saved
            .averaged(loaded.clone())
            .unwrap()
            .linear
            .forward(input.clone().autodiff())
            .into_data(),
        loaded.linear.forward(input.autodiff()).into_data(),
    );
}

const CHILD: &str = "DOWNHILL_CHECKPOINT_TEST";

/// What the test below runs in a process of its own.
#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let (task, path) = task.split_once('=').unwrap();
    let config = OptimizerConfig::by_name("nadam").unwrap();
    let net = Net::new(3, &device(), DType::F32);
    let mut driver = driver(&config, 0.1, &net);
    match task {
        "resume" => {
            let net = driver.load(net, path).unwrap();
            let net = train(&mut driver, net, 3..6, &device(), DType::F32);
            driver.save(&net, path).unwrap();
        }
        "folder" => {
            let folder = Checkpoints::new(path).keep_last(1);
            loop {
                folder.save(&driver, &net, None).unwrap();
            }
        }
        _ => {
            // Large enough for a kill to meet it in the middle.
            driver
                .notes_mut()
                .insert("ballast".into(), "x".repeat(4 << 20));
            for t in 0.. {
                driver.notes_mut().insert("t".into(), t.to_string());
                driver.save(&net, path).unwrap();
            }
        }
    }
}

fn child_process(task: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child"])
        .env(CHILD, format!("{task}={}", path.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn another_process_goes_on_with_a_model_of_its_own() {
    let config = OptimizerConfig::by_name("nadam").unwrap();
    let net = Net::new(1, &device(), DType::F32);
    let mut driver = driver(&config, 0.1, &net);
    let net = train(&mut driver, net, 0..3, &device(), DType::F32);
    let path = file("process.ckpt");
    driver.save(&net, &path).unwrap();
    assert!(child_process("resume", &path).status().unwrap().success());
    let net = train(&mut driver, net, 3..6, &device(), DType::F32);
    assert!(std::fs::read(&path).unwrap() == bytes(&driver, &net));
}

#[test]
fn a_kill_in_the_middle_of_a_save_leaves_the_last_checkpoint() {
    let folder = file("killed");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("step-000000000001.ckpt");
    let mut cut_off = 0;
    let mut last = 0;
    for round in 0..20 {
        let mut child = child_process("save", &path).spawn().unwrap();
        // Not before there is something to lose.
        while !path.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(40 + 17 * round));
        // Every other time as soon as a save is seen to be under way.
        let begun = Instant::now();
        let files = || std::fs::read_dir(&folder).unwrap().count();
        let before = cut_off + 1;
        while round % 2 == 0 && files() <= before && begun.elapsed() < Duration::from_secs(1) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let checkpoint = Checkpoint::open(&path).expect("the last save is whole");
        last += checkpoint.header().notes["t"].parse::<u64>().unwrap();
        cut_off = files() - 1;
    }
    assert!(last > 0, "no process saved twice");
    assert!(cut_off > 0, "no process was killed in the middle of a save");
    // The next save of the folder clears what they left.
    let net = Net::new(3, &device(), DType::F32);
    let driver = driver(&OptimizerConfig::by_name("nadam").unwrap(), 0.1, &net);
    Checkpoints::new(&folder).save(&driver, &net, None).unwrap();
    let names = std::fs::read_dir(&folder).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [".lock", "step-000000000000.ckpt", "step-000000000001.ckpt"]
    );
}

#[test]
fn a_checkpoint_of_one_device_goes_on_on_another() {
    let config = OptimizerConfig::by_name("adamw").unwrap();
    for from in devices() {
        let net = Net::new(1, &from.device, DType::F32);
        let mut own = driver(&config, 0.1, &net);
        let net = train(&mut own, net, 0..3, &from.device, DType::F32);
        let saved = own.checkpoint(&net).unwrap();
        let net = train(&mut own, net, 3..6, &from.device, DType::F32);
        for to in devices() {
            let other = Net::new(2, &to.device, DType::F32);
            let mut resumed = driver(&config, 0.1, &other);
            let other = resumed.resume(other, &saved).unwrap();
            assert_eq!(other.weight.val().device(), to.device.clone().autodiff());
            assert!(bytes(&resumed, &other) == saved.to_bytes().unwrap());
            let other = train(&mut resumed, other, 3..6, &to.device, DType::F32);
            let tolerance = 10.0 * from.f32_tolerance.max(to.f32_tolerance);
            for (a, b) in net.values().concat().iter().zip(other.values().concat()) {
                assert!(
                    (a - b).abs() <= tolerance,
                    "{} to {}: {a}, {b}",
                    from.name,
                    to.name
                );
            }
        }
    }
}

/// A small checkpoint.
fn small() -> (Driver, Net, Vec<u8>) {
    let net = Net::new(1, &device(), DType::F32);
    let config = OptimizerConfig::by_name("adam").unwrap();
    let mut driver = driver(&config, 0.1, &net);
    let net = train(&mut driver, net, 0..2, &device(), DType::F32);
    let saved = bytes(&driver, &net);
    (driver, net, saved)
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let (.., saved) = small();
    for len in 0..saved.len() {
        let error = Checkpoint::from_bytes(saved[..len].to_vec()).unwrap_err();
        let known = matches!(
            error,
            CheckpointError::Truncated { .. } | CheckpointError::NotACheckpoint { .. }
        );
        assert!(known, "{len} bytes: {error}");
    }
    let mut longer = saved.clone();
    longer.push(0);
    Checkpoint::from_bytes(longer).unwrap_err();
    let twice = [saved.clone(), saved].concat();
    Checkpoint::from_bytes(twice).unwrap_err();
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let (.., saved) = small();
    let mut state = 1_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    // One in each byte, and a thousand more.
    let mut flips: Vec<usize> = (0..saved.len())
        .map(|byte| 8 * byte + random() % 8)
        .collect();
    flips.extend((0..1000).map(|_| random() % (8 * saved.len())));
    for flip in flips {
        let mut damaged = saved.clone();
        damaged[flip / 8] ^= 1 << (flip % 8);
        assert!(Checkpoint::from_bytes(damaged).is_err(), "bit {flip}");
    }
}

#[test]
fn a_damaged_tensor_is_named() {
    let (.., saved) = small();
    let checkpoint = Checkpoint::from_bytes(saved.clone()).unwrap();
    let mut tensors = checkpoint.tensors();
    let (name, shape, ..) = tensors
        .find(|(name, ..)| name.ends_with("exp_avg_sq"))
        .unwrap();
    let expected = format!("it is damaged: the tensor `{name}`");
    let named = (0..saved.len()).filter(|at| {
        let mut damaged = saved.clone();
        damaged[*at] ^= 1;
        Checkpoint::from_bytes(damaged).unwrap_err().to_string() == expected
    });
    // Each byte of its elements, and the digits of its checksum.
    assert!(named.count() >= 4 * shape.iter().product::<usize>());
}

#[test]
fn files_of_other_kinds_are_refused_in_words() {
    let (driver, net, _) = small();
    let text = |bytes: Vec<u8>| Checkpoint::from_bytes(bytes).unwrap_err().to_string();
    assert_eq!(text(Vec::new()), "it is not a checkpoint: it is empty");
    let other = "it is not a checkpoint: it does not begin as a burnpack file does";
    assert_eq!(text(b"step,loss\n1,0.5\n2,0.25\n".repeat(9)), other);
    assert_eq!(text(b"\x89PNG\r\n\x1a\n".repeat(20)), other);
    assert_eq!(text(b"PK\x03\x04".repeat(20)), other);
    let of_another_kind = "it is not a checkpoint: it is a burnpack file of another kind";
    let model = net.into_record().into_bytes().unwrap().to_vec();
    assert!(text(model).starts_with(of_another_kind));
    let optimizer = driver.optimizer().into_bytes().unwrap().to_vec();
    assert!(text(optimizer).starts_with(of_another_kind));

    let missing = file("none.ckpt");
    let error = Checkpoint::open(&missing).unwrap_err().to_string();
    assert!(error.contains("none.ckpt cannot be read"), "{error}");
}

/// CRC-32 as in gzip, by its definition.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// A container with the right mark at its end.
fn marked(writer: burn_pack::Writer) -> Vec<u8> {
    let mut bytes = writer.into_bytes().unwrap().to_vec();
    let (length, checksum) = (bytes.len() as u64, crc32(&bytes));
    bytes.extend(b"DOWNHILL");
    bytes.extend(length.to_le_bytes());
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// One with a header of choice.
fn sealed(header: &str) -> Vec<u8> {
    marked(burn_pack::Writer::new(Vec::new()).with_metadata("downhill", header))
}

#[test]
fn another_format_is_named() {
    let error = Checkpoint::from_bytes(sealed(r#"{"format": 2, "more": [1]}"#)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "it has the format 2, and this version reads 1"
    );
    let error = Checkpoint::from_bytes(sealed(r#"{"format": 1}"#)).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("it is damaged: the header (missing field")
    );
    let error = Checkpoint::from_bytes(sealed("no JSON")).unwrap_err();
    assert!(error.to_string().starts_with("it is damaged: the header ("));
}

/// Resumes with another driver, which must be refused, and must change nothing.
fn refused<M: Module>(driver: &mut Driver, model: M, saved: &Checkpoint) -> String {
    let before = bytes(driver, &model);
    let Rejected { model, cause } = driver.resume(model, saved).unwrap_err();
    assert_eq!(bytes(driver, &model), before, "{cause}");
    cause.to_string()
}

#[test]
fn other_settings_are_refused_and_named() {
    let net = || Net::new(1, &device(), DType::F32);
    type With = fn(DriverBuilder) -> DriverBuilder;
    let base: With = |driver| driver.with_clipping(Clipping::global_norm(1.0));
    let build = |config: &str, lr: f64, with: With| {
        let config = OptimizerConfig::from_json(config).unwrap();
        let model = net();
        let driver = Driver::builder(config.try_init().unwrap(), cosine(lr, 20));
        let driver = with(driver).bind(&model).unwrap();
        (driver, model)
    };
    let adam = r#"{"name": "adam"}"#;
    let (mut own, model) = build(adam, 0.1, base);
    let model = train(&mut own, model, 0..2, &device(), DType::F32);
    let saved = own.checkpoint(&model).unwrap();
    let check = |config, lr, with, parts: &[&str]| {
        let (mut driver, model) = build(config, lr, with);
        let text = refused(&mut driver, model, &saved);
        for part in parts {
            assert!(text.contains(part), "{text}");
        }
    };
    let optimizer = "another optimizer of `weight`: adam {";
    check(
        r#"{"name": "adamw"}"#,
        0.1,
        base,
        &[optimizer, "here it is adamw {"],
    );
    check(
        r#"{"name": "sgd"}"#,
        0.1,
        base,
        &[optimizer, "here it is sgd {"],
    );
    check(
        r#"{"name": "adam", "beta_1": 0.5}"#,
        0.1,
        base,
        &[optimizer, "\"beta_1\":0.9", "\"beta_1\":0.5"],
    );
    check(adam, 0.2, base, &["another learning rate: ", "0.1", "0.2"]);
    check(
        adam,
        0.1,
        |driver| driver.with_clipping(Clipping::global_norm(2.0)),
        &["another clipping: ", "1.0", "2.0"],
    );
    check(
        adam,
        0.1,
        |driver| driver,
        &["another clipping: ", "here it is null"],
    );
    let skip: With =
        |driver| base_of(driver).with_non_finite(NonFinite::Skip { max_consecutive: 1 });
    check(adam, 0.1, skip, &["another non_finite: \"error\"", "skip"]);
    let window: With = |driver| base_of(driver).with_accumulation(Accumulation::mean(2));
    check(adam, 0.1, window, &["another accumulation: null", "mean"]);
    let decay: With = |driver| base_of(driver).with_weight_decay(0.1);
    check(adam, 0.1, decay, &["another weight_decay: null", "0.1"]);
    let momentum: With = |driver| base_of(driver).with_momentum(0.5);
    check(adam, 0.1, momentum, &["another momentum: null", "0.5"]);
    let average: With = |driver| base_of(driver).with_averaging(Averaging::mean());
    check(adam, 0.1, average, &["another averaging: null", "mean"]);
    let group: With = |driver| base_of(driver).with_group(Group::no_decay());
    check(
        adam,
        0.1,
        group,
        &["another group of `bias`: none", "no_decay"],
    );

    fn base_of(driver: DriverBuilder) -> DriverBuilder {
        driver.with_clipping(Clipping::global_norm(1.0))
    }
}

#[derive(Module, Debug)]
struct Wider {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    head: Param<Tensor<1>>,
}

impl Wider {
    fn new(columns: usize, dtype: DType) -> Self {
        let device = &device().autodiff();
        Self {
            weight: Param::from_tensor(make(1, &[4, columns], device, dtype)),
            bias: Param::from_tensor(make(2, &[3], device, DType::F32)),
            head: Param::from_tensor(make(3, &[2], device, DType::F32)),
        }
    }
}

fn plain<M: Module>(model: &M) -> Driver {
    let driver = Driver::builder(AdamConfig::new().init(), 0.1);
    driver
        .with_averaging(Averaging::ema(0.9))
        .bind(model)
        .unwrap()
}

#[test]
fn other_tensors_are_refused_and_named_or_taken_in_part() {
    let net = Net::new(1, &device(), DType::F32);
    let mut own = plain(&net);
    let net = train(&mut own, net, 0..2, &device(), DType::F32);
    let saved = own.checkpoint(&net).unwrap();

    let model = Wider::new(5, DType::F32);
    assert_eq!(
        refused(&mut plain(&model), model, &saved),
        "`model/weight` has the shape [4, 3] in F32, and here it is [4, 5] in F32"
    );
    let model = Wider::new(3, DType::F64);
    assert_eq!(
        refused(&mut plain(&model), model, &saved),
        "`model/weight` has the shape [4, 3] in F32, and here it is [4, 3] in F64"
    );
    let model = Wider::new(3, DType::F32);
    assert_eq!(
        refused(&mut plain(&model), model, &saved),
        "it has nothing for head"
    );

    let path = file("partial.ckpt");
    saved.write(&path).unwrap();
    let model = Wider::new(5, DType::F32);
    let mut driver = plain(&model);
    let head = model.head.val().into_data();
    let (model, report) = driver.load_partial(model, &path).unwrap();
    assert!(!report.is_complete());
    assert_eq!(report.restored, ["bias"]);
    assert_eq!(report.states, ["bias"]);
    assert_eq!(report.missing, ["head"]);
    assert_eq!(report.mismatched.len(), 1);
    assert!(report.unexpected.contains(&"model/kernel".to_string()));
    assert!(
        report
            .unexpected
            .iter()
            .any(|name| name.starts_with("optimizer/weight/"))
    );
    assert_eq!(model.bias.val().into_data(), net.bias.val().into_data());
    assert_eq!(model.head.val().into_data(), head);
    assert_eq!(driver.updates(), 2);
    let text = report.to_string();
    assert!(
        text.starts_with("1 tensors and 1 optimizer states restored; missing: head; not used: ")
    );

    // With everything in place, nothing is left out.
    let other = Net::new(2, &device(), DType::F32);
    let mut driver = plain(&other);
    let (other, report) = driver.load_partial(other, &path).unwrap();
    assert!(report.is_complete(), "{report}");
    assert!(bytes(&driver, &other) == saved.to_bytes().unwrap());

    // Under another optimizer the parameters are taken, and its state begins anew.
    let other = Net::new(2, &device(), DType::F32);
    let mut driver = Driver::builder(SgdConfig::new().init(), 0.1)
        .bind(&other)
        .unwrap();
    let (other, report) = driver.load_partial(other, &path).unwrap();
    assert_eq!(report.restored.len(), 3);
    assert!(report.states.is_empty());
    assert!(
        report
            .differences
            .iter()
            .any(|text| text.starts_with("another optimizer of"))
    );
    assert_eq!(other.values(), net.values());
}

#[test]
fn a_model_that_the_driver_is_not_bound_to_is_refused() {
    let (driver, ..) = small();
    let other = Net::new(1, &device(), DType::F32);
    let error = driver.checkpoint(&other).unwrap_err().to_string();
    assert!(error.contains("another model"), "{error}");
}

#[test]
fn a_folder_keeps_the_last_and_the_best() {
    let folder = file("folder");
    let _ = std::fs::remove_dir_all(&folder);
    let all = Checkpoints::new(&folder);
    assert_eq!(all.latest().unwrap(), None);
    let kept = Checkpoints::new(&folder)
        .keep_last(2)
        .keep_best(1, Goal::Lowest);
    let mut net = Net::new(1, &device(), DType::F32);
    let mut driver = plain(&net);
    let losses = [0.9, 0.1, f64::NAN, 0.5, 0.7, 0.3];
    for (t, loss) in losses.into_iter().enumerate() {
        net = train(&mut driver, net, t..t + 1, &device(), DType::F32);
        kept.save(&driver, &net, Some(loss)).unwrap();
        std::fs::write(folder.join("notes.txt"), "the user's").unwrap();
    }
    let steps = |folder: &Checkpoints| -> Vec<u64> {
        folder
            .list()
            .unwrap()
            .into_iter()
            .map(|(step, _)| step)
            .collect()
    };
    assert_eq!(steps(&kept), [2, 5, 6]);
    assert!(folder.join("notes.txt").exists());
    assert!(
        kept.best()
            .unwrap()
            .unwrap()
            .ends_with("step-000000000002.ckpt")
    );
    assert!(
        kept.latest()
            .unwrap()
            .unwrap()
            .ends_with("step-000000000006.ckpt")
    );
    let highest = Checkpoints::new(&folder).keep_best(1, Goal::Highest);
    assert!(
        highest
            .best()
            .unwrap()
            .unwrap()
            .ends_with("step-000000000005.ckpt")
    );
    assert_eq!(
        Checkpoint::open(highest.best().unwrap().unwrap())
            .unwrap()
            .header()
            .metric,
        Some(0.7)
    );
    // Without a limit nothing goes.
    drop(kept);
    net = train(&mut driver, net, 6..7, &device(), DType::F32);
    all.save(&driver, &net, None).unwrap();
    assert_eq!(steps(&all), [2, 5, 6, 7]);
}

#[test]
fn a_save_that_fails_changes_nothing() {
    let (driver, net, saved) = small();
    let error = driver
        .save(&net, file("no/such/folder/x.ckpt"))
        .unwrap_err();
    assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
    let path = file("kept.ckpt");
    driver.save(&net, &path).unwrap();
    assert!(std::fs::read(&path).unwrap() == saved);
    // A folder is in the way.
    let blocked = file("blocked.ckpt");
    std::fs::create_dir_all(&blocked).unwrap();
    driver.save(&net, &blocked).unwrap_err();
    let left = std::fs::read_dir(file("")).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("blocked.ckpt.")
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn a_checkpoint_that_could_not_be_read_back_is_not_written() {
    let (mut driver, net, _) = small();
    let ballast = "x".repeat(101 << 20);
    driver.notes_mut().insert("ballast".into(), ballast);
    let path = file("large.ckpt");
    let error = driver.save(&net, &path).unwrap_err();
    assert!(matches!(error, CheckpointError::TooLarge { .. }), "{error}");
    assert!(!path.exists());
}

#[test]
fn notes_are_the_users() {
    let (mut driver, net, _) = small();
    driver.notes_mut().insert("epoch".into(), "3".into());
    let saved = driver.checkpoint(&net).unwrap();
    assert_eq!(saved.header().notes["epoch"], "3");
    driver.notes_mut().clear();
    driver.resume(net, &saved).unwrap();
    assert_eq!(driver.notes()["epoch"], "3");
}

/// The file was written by version 0.1.0, and later versions have to go on from it.
#[test]
fn an_old_file_goes_on() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checkpoint_files/format_1.ckpt");
    let build = || {
        let net = Net::new(1, &device(), DType::F32);
        let config = OptimizerConfig::by_name("nadam").unwrap();
        (driver(&config, 0.1, &net), net)
    };
    let (mut own, net) = build();
    let net = train(&mut own, net, 0..3, &device(), DType::F32);
    if std::env::var_os("DOWNHILL_WRITE_GOLDEN").is_some() {
        own.save(&net, &path).unwrap();
    }
    let (mut driver, other) = build();
    let other = driver.load(other, &path).unwrap();
    assert_eq!(other.values(), net.values());
    let other = train(&mut driver, other, 3..5, &device(), DType::F32);
    let net = train(&mut own, net, 3..5, &device(), DType::F32);
    assert_eq!(other.values(), net.values());
}
