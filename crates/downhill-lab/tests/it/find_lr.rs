//! The range test, as a function and as `downhill find-lr`.
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use downhill_optim::OptimizerConfig;
use downhill_train::find_lr::{
    RangeEnd, RangeTest, RangeTestConfig, RangeTestError, range_test, sweep,
};
use serde_json::Value;

#[derive(Module, Debug)]
struct Net {
    first: Linear,
    norm: BatchNorm,
    second: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        Self {
            first: LinearConfig::new(4, 8).init(device),
            norm: BatchNormConfig::new(8).init(device),
            second: LinearConfig::new(8, 1).init(device),
        }
    }

    fn loss(&self, x: &Tensor<2>, y: &Tensor<2>) -> Tensor<1> {
        let hidden = self.norm.forward(self.first.forward(x.clone())).tanh();
        (self.second.forward(hidden) - y.clone()).square().mean()
    }
}

fn data(device: &Device) -> (Tensor<2>, Tensor<2>) {
    let numbers: Vec<f32> = (0..128)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 30.0)
        .collect();
    let x = Tensor::<2>::from_data(TensorData::new(numbers, [32, 4]), device);
    let y = x.clone().sum_dim(1) + 1.0;
    (x, y)
}

/// All numbers of a module, parameters and running statistics, as they are in memory.
fn bits(module: &impl Module) -> Vec<u8> {
    struct Bits(Vec<u8>);
    impl ModuleVisitor for Bits {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().as_bytes());
        }
    }
    let mut bits = Bits(Vec::new());
    module.visit(&mut bits);
    bits.0
}

fn train(model: Net, optimizer: &mut ModuleOptimizer, x: &Tensor<2>, y: &Tensor<2>) -> Net {
    let gradients = GradientsParams::from_grads(model.loss(x, y).backward(), &model);
    optimizer.step(0.01, model, gradients)
}

#[test]
fn the_model_and_the_optimizer_stay_as_they_are() {
    let device = Device::flex().autodiff();
    let (x, y) = data(&device);
    let mut optimizer = OptimizerConfig::by_name("adam")
        .unwrap()
        .try_init()
        .unwrap();
    // A state that is not empty.
    let model = train(Net::new(&device), &mut optimizer, &x, &y);
    // Running statistics are one update behind until somebody looks.
    model.valid();
    let before = bits(&model);
    assert_eq!(before.len(), 4 * (4 * 8 + 8 + 4 * 8 + 8 + 1));
    let state = optimizer.into_bytes().unwrap().to_vec();
    let again = model.clone();

    let config = RangeTestConfig::new().with_steps(60);
    let mut counted = Vec::new();
    let test = range_test(&config, &model, &optimizer, |model: &Net, step| {
        counted.push(step);
        model.loss(&x, &y)
    });
    let test = test.unwrap();
    let made = test.points.len() as u64;
    assert_eq!(counted, (0..made).collect::<Vec<_>>());
    assert!(test.minimum().unwrap().smoothed < 0.8 * test.points[0].smoothed);

    assert_eq!(bits(&model), before);
    assert_eq!(bits(&again), before);
    assert_eq!(optimizer.into_bytes().unwrap().to_vec(), state);
    // And what is computed from them is the same as without the test.
    let second = range_test(&config, &model, &optimizer, |model: &Net, _| {
        model.loss(&x, &y)
    });
    assert_eq!(second.unwrap(), test);
    let trained = train(model, &mut optimizer.clone(), &x, &y);
    assert_ne!(bits(&trained), before);
}

#[test]
fn frozen_parameters_stay_frozen() {
    let device = Device::flex().autodiff();
    let (x, y) = data(&device);
    let mut model = Net::new(&device);
    model.first = model.first.freeze();
    let weights = bits(&model.first);
    let optimizer = OptimizerConfig::by_name("sgd").unwrap().try_init().unwrap();
    let mut seen = Vec::new();
    range_test(
        &RangeTestConfig::new(),
        &model,
        &optimizer,
        |model: &Net, _| {
            seen.push((bits(&model.first), bits(&model.second)));
            model.loss(&x, &y)
        },
    )
    .unwrap();
    assert!(seen.iter().all(|(first, _)| *first == weights));
    assert_ne!(seen[0].1, seen[seen.len() - 1].1);
}

/// Gradient descent on `curvature·x^2 / 2`, stable below `2 / curvature`.
fn descent(config: &RangeTestConfig, curvature: f64) -> RangeTest {
    let mut x = 1.0;
    let update = |lr: f64| {
        let loss = curvature * x * x / 2.0;
        x -= lr * curvature * x;
        loss
    };
    sweep(config, update).unwrap()
}

#[test]
fn the_suggestion_is_below_the_limit_of_stability() {
    let config = RangeTestConfig::new()
        .with_from(1e-9)
        .with_to(1e9)
        .with_steps(300);
    for curvature in [1e-4, 1.0, 1e4] {
        let test = descent(&config, curvature);
        let limit = 2.0 / curvature;
        assert_eq!(test.end, RangeEnd::Diverged);
        let suggested = test.steepest().unwrap().lr;
        assert!(
            suggested < limit / 2.0 && suggested > limit / 500.0,
            "{suggested}"
        );
        let last = test.points[test.points.len() - 1].lr;
        assert!(last > limit && last < 100.0 * limit, "{last}");
        let lowest = test.minimum().unwrap();
        assert!(suggested < lowest.lr && lowest.lr < 2.0 * limit);
        assert_eq!(test.tenth_of_minimum(), Some(lowest.lr / 10.0));
        assert!(!test.ended_too_early());
    }
}

#[test]
fn the_smoothed_loss_is_the_weighted_mean() {
    let losses = [5.0, 3.0, 4.0, 1.0, 2.0, 3.0, 2.5, 2.0, 4.0, 3.5];
    let config = RangeTestConfig::new().with_steps(10).with_smoothing(0.2);
    let mut next = losses.into_iter();
    let test = sweep(&config, |_| next.next().unwrap()).unwrap();
    assert_eq!(test.end, RangeEnd::Finished);
    for (i, point) in test.points.iter().enumerate() {
        let weight = |j: usize| (-(i.abs_diff(j) as f64) / (0.2 * 10.0)).exp();
        let sum: f64 = (0..10).map(|j| weight(j) * losses[j]).sum();
        let weights: f64 = (0..10).map(weight).sum();
        assert_eq!(point.loss, losses[i]);
        assert!((point.smoothed - sum / weights).abs() < 1e-14);
    }
    let mut next = losses.into_iter();
    let test = sweep(&config.with_smoothing(0.0), |_| next.next().unwrap()).unwrap();
    assert!(test.points.iter().all(|point| point.smoothed == point.loss));
    assert_eq!(test.minimum().unwrap().loss, 1.0);
    assert_eq!(
        test.steepest().unwrap().loss,
        4.0,
        "from 3 to 1 is the steepest"
    );
}

#[test]
fn a_test_ends_where_the_loss_does() {
    let config = RangeTestConfig::new();
    let mut step = 0;
    let mut until = |end: f64| {
        step = 0;
        sweep(&config, |_| {
            step += 1;
            if step == 30 {
                end
            } else {
                1.0 - 0.01 * f64::from(step)
            }
        })
        .unwrap()
    };
    for end in [f64::NAN, f64::INFINITY] {
        let test = until(end);
        assert_eq!(test.end, RangeEnd::NotFinite);
        assert_eq!(test.points.len(), 29);
    }
    let test = until(1e30);
    assert_eq!(test.end, RangeEnd::Diverged);
    assert_eq!(test.points.len(), 30);
    let highest = test
        .points
        .iter()
        .map(|point| point.smoothed)
        .fold(0.0, f64::max);
    assert!(
        highest < 4.0,
        "the divergence does not drown the rest: {highest}"
    );

    // Nothing falls, so there is nothing to suggest.
    let rising = sweep(&config, |lr| 1.0 + lr).unwrap();
    assert_eq!((rising.steepest(), rising.minimum()), (None, None));
    let falling = sweep(&config, |lr| -lr).unwrap();
    assert!(falling.ended_too_early());
    assert_eq!(falling.end, RangeEnd::Finished, "a loss below 0 may fall");
}

#[test]
fn settings_outside_their_range_are_refused() {
    let config = RangeTestConfig::new();
    let error = |config: RangeTestConfig| sweep(&config, |_| panic!("no update")).unwrap_err();
    for (from, to) in [
        (0.0, 1.0),
        (-1.0, 1.0),
        (1.0, 1.0),
        (2.0, 1.0),
        (f64::NAN, 1.0),
    ] {
        let error = error(config.with_from(from).with_to(to));
        assert!(matches!(error, RangeTestError::Range { .. }), "{error}");
    }
    assert_eq!(error(config.with_steps(9)), RangeTestError::Steps(9));
    assert_eq!(
        error(config.with_smoothing(-1.0)),
        RangeTestError::Smoothing(-1.0)
    );
    assert_eq!(
        error(config.with_divergence(1.0)),
        RangeTestError::Divergence(1.0)
    );
    let read: RangeTestConfig = serde_json::from_str(r#"{"to": 1.0}"#).unwrap();
    assert_eq!(read, config.with_to(1.0));
    assert!(serde_json::from_str::<RangeTestConfig>(r#"{"too": 1.0}"#).is_err());
}

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downhill"));
    let command = command.arg("find-lr").args(args);
    command.env("RUST_BACKTRACE", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn report(args: &[&str]) -> Value {
    let output = run(&[&["--json"], args].concat());
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    serde_json::from_str(text(&output.stdout)).unwrap()
}

const LINEAR: [&str; 4] = ["--problem", "linear-regression", "--optimizer", "sgd"];

#[test]
fn a_linear_regression_gets_a_stable_rate() {
    let report = report(&LINEAR);
    assert_eq!(report["problem"], "linear-regression");
    assert_eq!(report["optimizer"]["name"], "sgd");
    assert_eq!(report["end"], "diverged");
    // The Hessian is twice a matrix whose largest eigenvalue is 1.
    let suggested = report["suggested"].as_f64().unwrap();
    assert!(0.01 < suggested && suggested < 1.0, "{suggested}");
    let minimum = report["minimum"].as_f64().unwrap();
    assert_eq!(report["tenth_of_minimum"].as_f64(), Some(minimum / 10.0));
    let points = report["points"].as_array().unwrap();
    let rates: Vec<f64> = points.iter().map(|p| p["lr"].as_f64().unwrap()).collect();
    let ratio = 10f64.powf(8.0 / 99.0);
    assert_eq!(rates[0], 1e-7);
    assert!(
        rates
            .windows(2)
            .all(|pair| (pair[1] / pair[0] / ratio - 1.0).abs() < 1e-9)
    );
}

#[test]
fn each_option_changes_something() {
    let base = report(&LINEAR);
    for change in [
        ["--from", "1e-5"],
        ["--to", "5"],
        ["--steps", "80"],
        ["--smoothing", "0.1"],
        ["--seed", "1"],
    ] {
        let changed = report(&[&LINEAR[..], &change].concat());
        assert_ne!(changed["points"], base["points"], "{change:?}");
    }
    assert_eq!(report(&[&LINEAR[..], &["--device", "flex"]].concat()), base);
    let adam = report(&["--problem", "linear-regression", "--optimizer", "adam"]);
    assert_ne!(adam["suggested"], base["suggested"]);
}

#[test]
fn the_table_suggests_a_rate_or_says_why_not() {
    let output = run(&LINEAR);
    assert_eq!(
        text(&output.stderr),
        "",
        "no progress bar unless on a terminal"
    );
    let stdout = text(&output.stdout);
    assert!(!stdout.contains('\u{1b}'));
    for part in [
        "falls fastest",
        "lowest",
        "diverges",
        "Suggested learning rate: 0.",
    ] {
        assert!(stdout.contains(part), "'{part}' is not in: {stdout}");
    }
    let early = run(&[&LINEAR[..], &["--to", "0.1"]].concat());
    assert!(text(&early.stdout).contains("a higher --to shows more"));
    let late = [
        "--problem",
        "quadratic",
        "--optimizer",
        "sgd",
        "--from",
        "100",
        "--to",
        "1000",
    ];
    let late = run(&late);
    assert_eq!(late.status.code(), Some(0));
    assert!(
        text(&late.stdout).contains("No suggestion"),
        "{}",
        text(&late.stdout)
    );
}

#[test]
fn the_plot_marks_the_suggestion() {
    let name = format!("downhill-find-lr-{}", std::process::id());
    let folder: PathBuf = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let output = run(&[&LINEAR[..], &["--plot", &path("lr.svg")]].concat());
    assert_eq!(text(&output.stderr), "");
    let svg = fs::read_to_string(path("lr.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    let stdout = text(&output.stdout);
    let suggested = stdout
        .split("rate: ")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    for part in [
        "Range test of sgd on linear-regression",
        "log scale",
        "smoothed",
        "1e-7",
        "0.001",
        &format!("falls fastest: {suggested}"),
        "lowest / 10: ",
    ] {
        assert!(svg.contains(part), "'{part}' is not in the picture");
    }
    run(&[&LINEAR[..], &["--plot", &path("lr.PNG")]].concat());
    let png = fs::read(path("lr.PNG")).unwrap();
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    let size = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!((size(16), size(20)), (1640, 960));
    fs::remove_dir_all(folder).unwrap();
}

#[track_caller]
fn assert_complains(args: &[&str], expected: &[&str]) {
    let output = run(args);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(text(&output.stdout), "");
    assert!(message.starts_with("error: "), "{message}");
    assert!(!message.contains("panicked") && !message.contains('\u{1b}'));
    for part in expected {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

#[test]
fn a_number_of_steps_that_nobody_waits_for_is_refused() {
    let rates = |steps| RangeTestConfig::new().with_steps(steps).rates();
    for steps in [0, 9, 1_000_001, u64::MAX] {
        let error = rates(steps).unwrap_err();
        assert_eq!(error, RangeTestError::Steps(steps));
        let (least, most) = RangeTestConfig::STEPS.into_inner();
        let expected = format!("expected {least} to {most} steps, got {steps}");
        assert_eq!(error.to_string(), expected);
        let test = sweep(&RangeTestConfig::new().with_steps(steps), |_| 1.0);
        assert_eq!(test, Err(RangeTestError::Steps(steps)));
    }
    assert_eq!(rates(1_000_000).unwrap().len(), 1_000_000);
}

#[test]
fn wrong_options_are_usage_errors() {
    let with = |args: &[&'static str]| [&LINEAR[..], args].concat();
    assert_complains(&with(&["--from", "2", "--to", "1"]), &["from 2 to 1"]);
    assert_complains(&with(&["--from", "0"]), &["0 < from < to"]);
    assert_complains(&with(&["--from", "-1"]), &["0 < from < to"]);
    assert_complains(&with(&["--steps", "3"]), &["3 is not in 10.."]);
    let most = "18446744073709551615";
    assert_complains(&with(&["--steps", most]), &["is not in 10..=1000000"]);
    assert_complains(&with(&["--smoothing", "-1"]), &["smoothing"]);
    assert_complains(&with(&["--plot", "lr.gif"]), &[".svg or .png"]);
    assert_complains(
        &["--problem", "digit-mlp", "--optimizer", "sgd"],
        &["did you mean `digits-mlp`?"],
    );
    assert_complains(
        &["--problem", "quadratic", "--optimizer", "sgdd"],
        &["did you mean `sgd`?"],
    );
}
