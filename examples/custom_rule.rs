//! An optimizer of your own: Lion in about twenty lines, made cautious and given decoupled weight
//! decay by two wrappers, then used on a Burn module like any other optimizer.
//!
//! ```text
//! cargo run --release --example custom_rule
//! ```
//!
//! On a GPU the same rule is a kernel, and with `--features inspect-fusion` its launches are counted:
//!
//! ```text
//! cargo run --release --example custom_rule --features inspect-fusion -- --device wgpu
//! ```
#![forbid(unsafe_code)]

#[path = "mlp/device.rs"]
mod device;

use std::process::ExitCode;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Tensor};
use clap::Parser;
use device::DeviceName;
use downhill::optim::{RuleOptimizer, launch_together};
use downhill::rule::{
    Adjusted, Cautious, Clock, Numbers, Rule, Slot, Step, Value, WeightDecay, ema,
};

/// Lion (Chen et al., arXiv 2302.06675): the sign of a short mean of the gradient that starts from
/// a long one.
#[derive(Clone)]
struct Lion {
    beta_1: f64,
    beta_2: f64,
}

// The numbers that a schedule may drive, by name.
impl Numbers for Lion {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        match name {
            "beta_1" => Some(&mut self.beta_1),
            "beta_2" => Some(&mut self.beta_2),
            _ => None,
        }
    }
}

impl Rule for Lion {
    // One state tensor of the parameter's shape. `V` is an `f32` or `f64` in the fused pass of a
    // CPU backend and a whole tensor elsewhere; the rule does not know which.
    type State<V: Value> = [V; 1];
    // What `direction` needs from the settings: plain numbers, computed once per step in f64.
    type Coefs = (f64, f64);

    // The name under which the state is saved, and the value it starts from.
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg")]
    }

    // The learning rate is given to the step, not to `direction`: the driver multiplies by it. That
    // is why wrappers can change the direction, and decay can be a setting of the step.
    fn prepare(&self, clock: &mut Clock) -> Step<(f64, f64)> {
        Step::new(clock.lr, (self.beta_1, self.beta_2))
    }

    // `inline(always)` puts this into the loop over memory, where it is vectorised.
    #[inline(always)]
    fn direction<V: Value>(
        &(beta_1, beta_2): &(f64, f64),
        _param: &V,
        grad: V,
        [mean]: [V; 1],
    ) -> (V, [V; 1]) {
        let direction = ema(mean.clone(), grad.clone(), beta_1).sign();
        (direction, [ema(mean, grad, beta_2)])
    }
}

/// Trains a network with an optimizer of your own
#[derive(Parser)]
struct Args {
    /// Where to compute [default: the first that was compiled in]
    #[arg(long, value_name = "NAME", value_enum)]
    device: Option<DeviceName>,
}

/// A network with one input, one output and a hidden layer between them.
#[derive(Module, Debug)]
struct Net {
    hidden: Linear,
    output: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        device.seed(0); // the same weights for every optimizer
        Self {
            hidden: LinearConfig::new(1, 32).init(device),
            output: LinearConfig::new(32, 1).init(device),
        }
    }

    /// Mean squared error on 64 points of `sin 3x`, x from -1 to 1.
    fn loss(&self, device: &Device) -> Tensor<1> {
        let x: [f32; 64] = core::array::from_fn(|i| i as f32 / 31.5 - 1.0);
        let y = x.map(|x| (3.0 * x).sin());
        let x = Tensor::<1>::from_floats(x, device).unsqueeze_dim(1);
        let y = Tensor::<1>::from_floats(y, device).unsqueeze_dim(1);
        let found: Tensor<2> = self.output.forward(tanh(self.hidden.forward(x)));
        (found - y).square().mean()
    }

    fn weights(&self) -> Vec<f32> {
        let tensors = [self.hidden.weight.val(), self.output.weight.val()];
        let values = tensors.map(|tensor| tensor.into_data().try_to_vec::<f32>());
        values
            .into_iter()
            .flat_map(|values| values.expect("f32 weights"))
            .collect()
    }
}

/// A training run: the losses before the first and after every step, the weights after the
/// first and the last, and what the last step launched on a device.
struct Run {
    losses: Vec<f32>,
    first: Vec<f32>,
    last: Vec<f32>,
    launches: usize,
}

fn train(rule: impl Rule, steps: usize, device: &Device) -> Run {
    // All that is Burn about an optimizer (state per parameter, groups, records, gradient clipping)
    // comes with `ModuleOptimizer`.
    let mut optim: ModuleOptimizer = RuleOptimizer::new(rule).into();
    let mut net = Net::new(device);
    let mut losses = Vec::new();
    let mut first = Vec::new();
    let mut launches = 0;
    for step in 0..steps {
        let loss = net.loss(device);
        losses.push(loss.clone().into_scalar());
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        (net, launches) = counted(device, || optim.step(3e-3, net, grads));
        if step == 0 {
            first = net.weights();
        }
    }
    losses.push(net.loss(device).into_scalar());
    Run {
        losses,
        first,
        last: net.weights(),
        launches,
    }
}

/// What `step` returns, and how many kernels it launched.
#[cfg(feature = "inspect-fusion")]
fn counted<T>(device: &Device, step: impl FnOnce() -> T) -> (T, usize) {
    use burn_cubecl::cubecl::logging::{LaunchObservation, LaunchObserver};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Launches(AtomicUsize);
    impl LaunchObserver for Launches {
        fn launched(&self, _kernel: &'static str) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let wait = || device.sync().expect("the device works");
    wait();
    let launches = Arc::new(Launches::default());
    let observation = LaunchObservation::new(launches.clone());
    let result = step();
    wait();
    drop(observation);
    (result, launches.0.load(Ordering::Relaxed))
}

#[cfg(not(feature = "inspect-fusion"))]
fn counted<T>(_device: &Device, step: impl FnOnce() -> T) -> (T, usize) {
    (step(), 0)
}

fn farthest(a: &[f32], b: &[f32]) -> f32 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

fn main() -> ExitCode {
    // The four parameters share a launch, if Burn is told so before its first tensor on the device.
    launch_together();
    let name = Args::parse().device.unwrap_or_default();
    let device = match name.open() {
        Ok(device) => device.autodiff(),
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::FAILURE;
        }
    };
    let steps = 300;
    let lion = Lion {
        beta_1: 0.9,
        beta_2: 0.99,
    };

    // A rule around a rule is a rule. The composite is resolved at compile time, so it is still one
    // pass over memory. Decoupled decay is beside the direction, so it is not masked, whichever of
    // the two wrappers is outside.
    let cautious = Cautious(lion.clone());
    let decayed = Adjusted::new(cautious.clone(), WeightDecay::Decoupled(0.1), false);

    let plain = train(lion, steps, &device);
    let cautious = train(cautious, steps, &device);
    let decayed = train(decayed, steps, &device);

    println!("{:<30} {:>8} {:>8}", "", "before", "after");
    for (name, run) in [
        ("Lion", &plain),
        ("cautious Lion", &cautious),
        ("cautious Lion, decoupled decay", &decayed),
    ] {
        println!(
            "{name:<30} {:>8.5} {:>8.5}",
            run.losses[0], run.losses[steps]
        );
    }

    // At the first step the mean is the gradient's own, so no element disagrees with it and nothing
    // is masked. Later the mean lags behind, and the paths part.
    let first = farthest(&plain.first, &cautious.first);
    let last = farthest(&plain.last, &cautious.last);
    println!("\nLargest difference between the weights of Lion and cautious Lion:");
    println!("{first:.5} after 1 step, {last:.5} after {steps} steps");
    assert!(first == 0.0 && last > 0.0, "caution should change the path");
    if plain.launches > 0 {
        let (launches, s) = (plain.launches, if plain.launches == 1 { "" } else { "s" });
        println!("\nA step of Lion on {name}, all 4 parameters: {launches} kernel{s} launched");
    }
    ExitCode::SUCCESS
}
