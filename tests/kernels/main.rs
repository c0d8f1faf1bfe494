//! Steps as kernels on a CubeCL device: how many there are, and that they compute what the pass over memory does.
#![cfg(feature = "inspect-fusion")]

#[path = "../common/mod.rs"]
mod common;
mod norm;

use std::sync::{Arc, Mutex};

use burn::optim::Optimizer;
use burn::tensor::{DType, Device, DeviceKind, StreamId, Tensor, TensorData};
use burn_cubecl::cubecl::logging::{LaunchObservation, LaunchObserver};
use burn_fusion::inspect::{BlockKind, FusionInspector};
use common::Subject;
use common::rows::{ROWS, Row};
use downhill::optim::{Adam, OptimizerConfig, RuleOptimizer};
use downhill::rule::{Adjusted, Cautious, HeavyBall, WeightDecay};

/// What is counted is counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> impl Drop {
    ALONE.lock().unwrap_or_else(|error| error.into_inner())
}

fn gpu() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice)
}

/// Numbers between -1 and 1.
fn noise(len: usize, seed: u32) -> Vec<f64> {
    let mut seed = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(seed >> 8) / 8_388_608.0 - 1.0
    };
    core::iter::repeat_with(next).take(len).collect()
}

fn tensor<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
    common::tensor(TensorData::new(values.to_vec(), shape), device, DType::F32)
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn optimizer(name: &str) -> RuleOptimizer {
    let config = OptimizerConfig::by_name(name).unwrap();
    config.try_build().unwrap()
}

/// The names of what runs in one step after the first, which also makes the state.
fn kernels(optim: &RuleOptimizer) -> Vec<String> {
    let device = gpu();
    let inspector = FusionInspector::install(StreamId::current());
    let mut param: Tensor<2> = tensor(&[1.0; 12], [4, 3], &device);
    let mut state = None;
    let mut kernels = Vec::new();
    for _ in 0..3 {
        let grad = tensor(&[0.5; 12], [4, 3], &device);
        device.sync().unwrap();
        inspector.drain();
        (param, state) = optim.step(0.01, param, grad, state);
        device.sync().unwrap();
        let blocks = inspector
            .drain()
            .into_iter()
            .flat_map(|report| report.blocks);
        kernels = blocks
            .flat_map(|block| match block.kind {
                BlockKind::Fused { name, .. } => {
                    vec![format!("{name} of {} operations", block.operations.len())]
                }
                BlockKind::Unfused => block
                    .operations
                    .iter()
                    .map(|operation| format!("{operation:?}").chars().take(60).collect())
                    .collect(),
            })
            .collect();
    }
    drop((param, state));
    kernels
}

fn composites() -> [(&'static str, RuleOptimizer); 2] {
    let adamw = Adjusted::new(Adam::default(), WeightDecay::Decoupled(1e-2), false);
    [
        ("cautious AdamW", RuleOptimizer::new(Cautious(adamw))),
        (
            "a second momentum around cautious AdamW",
            RuleOptimizer::new(HeavyBall {
                rule: Cautious(adamw),
                momentum: 0.9,
            }),
        ),
    ]
}

/// Whether its step is one that is written down.
fn is_one_rule(row: &Row) -> bool {
    row.config("{}")
        .try_record(0.1, 1, &[4, 3])
        .unwrap()
        .is_some()
}

/// Run with `--nocapture` to see the table.
#[test]
fn an_elementwise_step_is_one_kernel() {
    let _alone = alone();
    // What looks at the whole model is told by a driver what it knows.
    for row in ROWS.iter().filter(|row| row.is_alone()) {
        for (label, optim) in row.optimizers() {
            let (own, operations) = (kernels(&optim), kernels(&optim.clone().with_kernels(false)));
            println!(
                "{label}: {}, as tensor operations {}",
                own.len(),
                operations.len()
            );
            if is_one_rule(row) {
                assert_eq!(own, ["downhill.step of 1 operations"], "{label}");
            }
            if common::behaviour::is_elementwise(&row.config("{}")) {
                assert_eq!(operations.len(), 1, "{label}: {operations:#?}");
            }
        }
    }
    for (label, optim) in composites() {
        assert_eq!(
            kernels(&optim),
            ["downhill.step of 1 operations"],
            "{label}"
        );
        let operations = kernels(&optim.with_kernels(false));
        assert_eq!(operations.len(), 1, "{label}: {operations:#?}");
    }
}

/// How far two numbers are apart, in units of the last place of the larger, or of `least` if that is larger still;
/// nothing between two that are no numbers.
fn apart(a: f32, b: f32, least: f32) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => 0.0,
        (false, false) if a == b => 0.0,
        (false, false) => {
            let unit = f64::from(a.abs().max(b.abs()).max(least)) * f64::from(f32::EPSILON);
            (f64::from(a) - f64::from(b)).abs() / unit
        }
        _ => f64::INFINITY,
    }
}

/// The farthest of two tensors' elements: beside a hundredth of the largest, what is smaller is a difference of
/// larger ones.
fn farthest(found: &[f32], expected: &[f32]) -> f64 {
    let largest = expected
        .iter()
        .fold(0.0, |largest: f32, x| largest.max(x.abs()));
    let pairs = found.iter().zip(expected);
    pairs
        .map(|(a, b)| apart(*a, *b, largest / 100.0))
        .fold(0.0, f64::max)
}

/// Shapes that are treated otherwise: a vector, one with four elements at a time, a matrix, one that takes several
/// launches with its looks, and a convolution's weights.
const SHAPES: [&[usize]; 6] = [&[1003], &[1], &[6000], &[37, 50], &[130, 70], &[6, 5, 3, 3]];

/// Of every optimizer that is one rule.
#[test]
fn a_kernel_computes_what_the_pass_over_memory_does() {
    let _alone = alone();
    let mut compared = 0;
    let mut far = Vec::new();
    for row in ROWS.iter().filter(|row| row.is_alone()) {
        for (label, config) in row.configs() {
            for shape in SHAPES {
                let Some(recorded) = config.try_record(row.lr, 1, shape).unwrap() else {
                    continue;
                };
                let optim = config.try_build().unwrap();
                let len = shape.iter().product();
                let subject = |device: &Device| {
                    let param = noise(len, 1);
                    let mut subject =
                        Subject::new(optim.clone(), device, DType::F32, shape, &param);
                    (2..5).for_each(|seed| subject.step(row.lr, &noise(len, seed)));
                    subject
                };
                let (found, expected) = (subject(&gpu()), subject(&Device::flex()));
                let mut pairs =
                    vec![("the parameter".to_string(), found.param(), expected.param())];
                let states = found.named_state().into_iter().zip(expected.named_state());
                pairs.extend(states.map(|((name, found), (_, expected))| (name, found, expected)));
                // A driver may round a division, a root or a power otherwise, and sums have another order.
                let units = if recorded.looks.is_empty() {
                    256.0
                } else {
                    512.0
                };
                for (name, found, expected) in pairs {
                    let single = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect();
                    let (found, expected): (Vec<f32>, Vec<f32>) = (single(found), single(expected));
                    let apart = farthest(&found, &expected);
                    if apart > units {
                        far.push(format!("{label} of {shape:?}: {apart} units in {name}"));
                    }
                }
                compared += 1;
            }
        }
    }
    println!("{compared} compared");
    assert!(compared > 500, "{compared}");
    assert!(far.is_empty(), "{far:#?}");
}

#[test]
fn what_is_not_a_number_stays_so() {
    let _alone = alone();
    let special = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
        1e-40,
        3e38,
        1.0,
    ];
    for name in ["sgd", "adamw", "nadam", "lion", "rmsprop", "adamax"] {
        let optim = optimizer(name);
        let stepped = |device: &Device| {
            let grad = Tensor::<1>::from_data(TensorData::new(special.to_vec(), [8]), device);
            let param = tensor(&[0.5; 8], [8], device);
            read(optim.step(0.1, param, grad, None).0)
        };
        let (found, expected) = (stepped(&gpu()), stepped(&Device::flex()));
        for ((special, found), expected) in special.iter().zip(found).zip(expected) {
            // A driver may take a number below the smallest normal one for zero.
            let same = match special.is_finite() {
                true => apart(found, expected, 1e-3) < 64.0 || special.abs() < 1e-38,
                false => found.is_finite() == expected.is_finite(),
            };
            assert!(same, "{name} at {special}: {found} instead of {expected}");
        }
    }
}

#[test]
fn a_shared_parameter_keeps_its_value() {
    let _alone = alone();
    let device = gpu();
    let optim = optimizer("sgd");
    let param: Tensor<1> = tensor(&[1.0, 2.0], [2], &device);
    // A reader that is only registered sees the value from before the step too.
    let twice = param.clone().mul_scalar(2.0);
    let grad = || tensor(&[1.0, 1.0], [2], &device);
    let (moved, _) = optim.step(0.5, param.clone(), grad(), None);
    assert_eq!(read(param), [1.0, 2.0]);
    assert_eq!(read(moved.clone()), [0.5, 1.5]);
    assert_eq!(read(twice), [2.0, 4.0]);
    // One that waits for another, with nothing between them.
    let (again, _) = optim.step(0.5, moved, grad(), None);
    let (again, _) = optim.step(0.5, again, grad(), None);
    assert_eq!(read(again), [-0.5, 0.5]);
}

#[test]
fn views_are_stepped_as_what_they_show() {
    let _alone = alone();
    let device = gpu();
    let optim = optimizer("sgd");
    let all: Tensor<2> = tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [4, 2], &device);
    let param = all.clone().slice([1..3, 0..2]);
    let grad = all.clone().slice([0..2, 0..2]).transpose();
    let (moved, _) = optim.step(1.0, param, grad, None);
    assert_eq!(read(moved), [2.0, 1.0, 3.0, 2.0]);
    let (moved, _) = optim.step(1.0, all.clone().transpose(), all.clone().transpose(), None);
    assert_eq!(read(moved), [0.0; 8]);
    assert_eq!(read(all), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
}

#[derive(Default)]
struct Launches(Mutex<Vec<&'static str>>);

impl LaunchObserver for Launches {
    fn launched(&self, kernel: &'static str) {
        self.0.lock().unwrap().push(kernel);
    }
}

/// How many kernels `work` launches, and what it returns.
fn counted<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let launches = Arc::new(Launches::default());
    let observation = LaunchObservation::new(launches.clone());
    let result = work();
    drop(observation);
    let launches = launches.0.lock().unwrap();
    (launches.len(), result)
}

/// Kernels of a step of parameters of these lengths, after the first steps; and the parameters.
fn launches(optim: &RuleOptimizer, lens: &[usize]) -> (usize, Vec<Vec<f32>>) {
    let device = gpu();
    let mut params: Vec<(Tensor<1>, Option<_>)> = lens
        .iter()
        .map(|&len| (tensor(&noise(len, len as u32), [len], &device), None))
        .collect();
    let mut count = 0;
    for _ in 0..4 {
        let grads: Vec<Tensor<1>> = lens
            .iter()
            .map(|&len| tensor(&noise(len, 7 + len as u32), [len], &device))
            .collect();
        device.sync().unwrap();
        (count, params) = counted(|| {
            let stepped = params
                .into_iter()
                .zip(grads)
                .map(|((param, state), grad)| optim.step(0.01, param, grad, state))
                .collect();
            device.sync().unwrap();
            stepped
        });
    }
    (
        count,
        params.into_iter().map(|(param, _)| read(param)).collect(),
    )
}

/// Burn merges by itself what is of one length, some parameters at a time.
#[test]
fn small_parameters_share_a_launch() {
    let _alone = alone();
    let equal = vec![64; 200];
    let unequal: Vec<usize> = (0..200).map(|at| 64 + at).collect();
    for name in ["sgd", "adamw", "nadam"] {
        let optim = optimizer(name);
        // Of a device that takes 31 buffers: Mesa's driver in software.
        let most = if name == "sgd" { 14 } else { 29 } + 2;
        for (label, lens) in [("equal", &equal), ("unequal", &unequal)] {
            let (own, found) = launches(&optim, lens);
            let (operations, expected) = launches(&optim.clone().with_kernels(false), lens);
            println!("{name}, 200 of {label} length: {own}, as tensor operations {operations}");
            assert!(own <= most, "{name}, {label}: {own}");
            for (found, expected) in found.iter().zip(&expected) {
                let apart = farthest(found, expected);
                assert!(apart <= 64.0, "{name}, {label}: {apart} units");
            }
        }
    }
}
