//! The driver around a step: every promise against plain formulas and steps made by hand.

// A step that fails hands the model back, and Burn takes one range in an array.
#![allow(clippy::result_large_err, clippy::single_range_in_vec_init)]

#[path = "../common/mod.rs"]
mod common;

mod accumulation;
mod averages;
mod binding;
mod changes;
mod clipping;
#[cfg(feature = "flex")]
mod concurrency;
mod config;
mod driven;
mod evaluated;
mod exchange;
mod groups;
#[cfg(feature = "logs")]
mod logging;
mod matrices;
mod model_scope;
mod non_finite;
mod parts;
mod properties;
#[cfg(feature = "flex")]
mod ranks;
mod reports;
mod scaling;
mod shapes;
mod states;
mod tied;
mod unfit;

use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::nn::{self, BatchNorm, BatchNormConfig};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use common::net::{ALL, Net, SHAPES, Values, grad_values, make, train, values, zeros};
use common::rows::{BEGINS, Row, rate_for, rows_alone_on, rows_on};
use common::{TestDevice, assert_close, devices, floats, rounding, tensor, values_of};
use downhill::optim::{self, Identity, OptimizerConfig, canonical_bytes};
use downhill::schedule::{LinearConfig, ScheduleConfig};
use downhill::train::{
    Accumulation, Averaging, BindError, Clipping, Driver, DriverBuilder, Group, GroupError,
    MicroBatch, ModuleError, NonFinite, Outcome, PolyakError, Rate, Select, StepCause, StepReport,
    polyak_update,
};

fn for_all(mut test: impl FnMut(&str, &TestDevice, DType)) {
    for device in devices() {
        for &dtype in device.dtypes {
            let label = format!("{} in {dtype:?}", device.name);
            test(&label, &device, dtype);
        }
    }
}

/// Every configuration of every row, but of those that want the loss: see model_scope.rs.
fn for_rows(device: &TestDevice, mut test: impl FnMut(&str, &Row, &OptimizerConfig)) {
    for row in rows_on(device).filter(|row| !row.needs_loss()) {
        for (label, config) in row.configs() {
            test(&label, row, &config);
        }
    }
}

/// A step in f32 with the gradients of `t`.
fn step(driver: &mut Driver, net: Net, t: usize, device: &Device) -> (Net, StepReport) {
    let grads = net.grads(t, &ALL, device, DType::F32);
    driver.step(net, grads).unwrap()
}

type Make = fn() -> ModuleOptimizer;

/// Plain gradient descent, whose gradients are scaled in its own pass or beforehand.
const PLAIN: [(&str, Make); 2] = [
    ("downhill", || optim::SgdConfig::new().init()),
    ("burn", || burn::optim::SgdConfig::new().init()),
];

/// burn-optim's optimizers.
const BURN: [(&str, Make); 3] = [
    ("burn's adam", || burn::optim::AdamConfig::new().init()),
    ("burn's sgd", || burn::optim::SgdConfig::new().init()),
    ("burn's rmsprop", || {
        burn::optim::RmsPropConfig::new().init()
    }),
];

/// The gradients that the optimizer sees: from 0, plain gradient descent at the rate 1 goes to their
/// negatives.
fn seen(
    optim: Make,
    with: impl Fn(DriverBuilder) -> DriverBuilder,
    grads: &Values,
    device: &Device,
    dtype: DType,
) -> (Values, StepReport) {
    let net = Net::from_values(&zeros(), device, dtype);
    let mut driver = with(Driver::builder(optim(), 1.0)).bind(&net).unwrap();
    let grads = net.grads_from(grads, &ALL, device, dtype);
    let (net, report) = driver.step(net, grads).unwrap();
    (negated(net.values()), report)
}

fn negated(values: Values) -> Values {
    values.map(|values| values.into_iter().map(|x| -x).collect())
}

fn scaled(values: &Values, factor: f64) -> Values {
    values
        .clone()
        .map(|values| values.into_iter().map(|x| x * factor).collect())
}

/// As a tensor of this precision holds them.
fn held(values: &Values, device: &Device, dtype: DType) -> Values {
    Net::from_values(values, device, dtype).values()
}

/// The norm in f64, without overflow.
fn norm<'a>(values: impl IntoIterator<Item = &'a Vec<f64>>) -> f64 {
    let all: Vec<f64> = values.into_iter().flatten().copied().collect();
    let largest = all.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    match largest {
        0.0 => 0.0,
        largest => {
            let squares: f64 = all.iter().map(|x| (x / largest) * (x / largest)).sum();
            largest * squares.sqrt()
        }
    }
}

fn cosine(a: &Values, b: &Values) -> f64 {
    let (norm_a, norm_b) = (norm(a), norm(b));
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| (a / norm_a) * (b / norm_b)).sum()
}

fn is_close(found: f64, expected: f64, relative: f64) -> bool {
    (found - expected).abs() <= relative * expected.abs()
}

fn bytes(driver: &Driver, net: &impl Module) -> Vec<u8> {
    driver.checkpoint(net).unwrap().to_bytes().unwrap()
}

/// The first device that keeps a NaN and has every precision that the tests take it for, if one is
/// compiled in.
fn exact_device() -> Option<Device> {
    let found = devices().into_iter().find(|device| device.exact);
    found.map(|device| device.device)
}

/// The same numbers; where another kernel may round in another way, up to a few roundings.
fn assert_same(label: &str, device: &TestDevice, found: &[f64], expected: &[f64]) {
    let tolerance = if device.exact {
        0.0
    } else {
        4.0 * device.f32_tolerance
    };
    assert_close(label, found, expected, tolerance, tolerance);
}

fn state(driver: &Driver) -> Vec<u8> {
    canonical_bytes(driver.optimizer()).unwrap().to_vec()
}

const BAD: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// One element of one parameter's gradient is `bad`.
fn spoilt(t: usize, bad: f64) -> Values {
    let mut grads = grad_values(t);
    grads[2][5] = bad;
    grads
}

/// Devices that are bound to keep a NaN: shader languages let a compiler assume that there is none.
fn for_nan(mut test: impl FnMut(&str, &TestDevice, DType)) {
    for_all(|label, device, dtype| {
        if device.exact {
            test(label, device, dtype);
        }
    });
}

/// A scheduler of Burn's kind that counts.
#[derive(Clone)]
struct Counting(f64);

impl LrScheduler for Counting {
    fn step(&mut self) -> f64 {
        self.0 += 1.0;
        self.0
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new()
    }

    fn load_record(&mut self, _: LrSchedulerRecord) {}
}

/// Gradients for every float tensor of a module, and the norm of them all.
fn grads_for(module: &impl Module, t: usize) -> (GradientsParams, f64) {
    struct Fill {
        grads: GradientsParams,
        all: Vec<f64>,
        seed: usize,
    }
    impl ModuleVisitor for Fill {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.seed += 1;
            let like = param.val().without_autodiff();
            let shape = like.shape();
            let grad = values(shape.num_elements(), self.seed);
            let data = TensorData::new(grad, shape);
            let grad: Tensor<D> = tensor(data, &like.device(), like.dtype());
            self.all.extend(floats(grad.clone().into_data()));
            self.grads.register(param.id, grad);
        }
    }
    let mut fill = Fill {
        grads: GradientsParams::new(),
        all: Vec::new(),
        seed: 100 * t,
    };
    module.visit(&mut fill);
    (fill.grads, norm([&fill.all]))
}

/// The formula of clipping by the norm of a tensor.
fn tensor_norm(_: &[f64], grad: &[f64], _: &[usize], threshold: f64) -> Vec<f64> {
    let factor = (threshold / norm([&grad.to_vec()])).min(1.0);
    grad.iter().map(|x| x * factor).collect()
}

#[derive(Module, Debug)]
struct Pair {
    first: Param<Tensor<1>>,
    second: Param<Tensor<1>>,
}
