//! Optimizer rules as optimizers of the Burn framework.
//!
//! A rule of [`downhill_rule`] becomes a [`burn::optim::Optimizer`] through [`RuleOptimizer`]: on
//! Burn's CPU backends (Flex, NdArray) it runs as one fused, in-place, multithreaded pass over
//! memory, on the devices of CubeCL (wgpu, CUDA and others) as one kernel, and on every other backend as tensor
//! operations.
//!
//! Three ways in:
//!
//! * a config, used like burn-optim's: [`AdamWConfig`], [`NAdamConfig`], ...;
//! * a name or a piece of JSON: [`OptimizerConfig`];
//! * a rule of your own: [`RuleOptimizer::new`].
#![cfg_attr(
    feature = "flex",
    doc = r##"
```
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use downhill_optim::NAdamConfig;

let device = Device::flex().autodiff();
let mut model: Linear = LinearConfig::new(4, 1).init(&device);
let mut optim = NAdamConfig::new().with_weight_decay(1e-2).init();

let x = Tensor::<2>::random([16, 4], Distribution::Default, &device);
let loss = model.forward(x).square().mean();
let grads = GradientsParams::from_grads(loss.backward(), &model);
model = optim.step(2e-3, model, grads);
```
"##
)]
//!
//! # State
//!
//! Every parameter has named state tensors (torch's names), a step counter and, where a rule needs
//! them, host scalars. They are part of [`burn::optim::ModuleOptimizer`]'s record, in the
//! parameter's precision; f16 and bf16 parameters are computed in f32 and have f32 state.
//!
//! # Feature flags
//!
//! `burn` (by default) has the optimizers of the Burn framework. Without it the crate builds in seconds, for
//! WebAssembly too, and has rules, configurations, JSON and the [`Trajectory`] of an optimizer in f64.
//!
//! `flex` and `ndarray` compile the fused passes of those backends (and switch the backend on in
//! Burn). `cube` does the same for the kernels, which Burn's backends of CubeCL run. Without them the crate compiles
//! too, and runs as tensor operations.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without a backend that has them, the passes over memory are checked but never called.
#![cfg_attr(
    not(any(feature = "flex", feature = "ndarray")),
    allow(dead_code, unused_imports, unused_variables)
)]

mod config;
mod decay;
mod declare;
mod matrix;
mod names;
mod optimizers;
mod pass;
mod patterns;
mod program;
mod recorded;
mod registry;
mod settings;
#[cfg(feature = "burn")]
mod tensors;
mod trajectory;
mod wrapped;

pub use config::Config;
#[cfg(not(feature = "burn"))]
pub use config::GradientClippingConfig;
pub use decay::{Decay, Shared, WeightDecayKind};
pub use declare::{About, OptimizerInfo, Preset, Programs, Scope};
pub use downhill_rule as rule;
pub use matrix::{MatrixLayout, NsCoefficients};
pub use optimizers::*;
pub use patterns::{Patterns, path_regex};
pub use program::Program;
pub use registry::OptimizerConfig;
pub use settings::{ConfigError, Range, Setting, SettingKind, SettingType, Settings};
#[cfg(feature = "burn")]
pub use tensors::{
    Identity, RuleOptimizer, RuleState, canonical_bytes, drive, launch_together, state_bytes,
};
pub use trajectory::Trajectory;
