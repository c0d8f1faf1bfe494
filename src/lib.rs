//! Optimizers and learning-rate schedules for the [Burn](https://burn.dev) deep-learning framework.
//!
//! ```
//! use burn::nn::{Linear, LinearConfig};
//! use burn::optim::GradientsParams;
//! use burn::tensor::{Device, Tensor};
//! use downhill::optim::NAdamConfig;
//!
//! let device = Device::default().autodiff();
//! let mut model: Linear = LinearConfig::new(2, 1).init(&device);
//! let mut optim = NAdamConfig::new().with_weight_decay(1e-4).init();
//!
//! let x = Tensor::<2>::ones([8, 2], &device);
//! let loss = model.forward(x).square().mean();
//! let grads = GradientsParams::from_grads(loss.backward(), &model);
//! model = optim.step(2e-3, model, grads); // learning rate, model, gradients
//! ```
//!
//! | module | |
//! |---|---|
//! | [`optim`] | optimizers, from [`Sgd`](optim::SgdConfig) and [`AdamW`](optim::AdamWConfig) to [`Muon`](optim::MuonConfig) and [`Soap`](optim::SoapConfig); [by name](optim::OptimizerConfig) |
//! | [`schedule`] | learning rates as pure functions of the step: [`ScheduleConfig`](schedule::ScheduleConfig) |
//! | [`train`] | what surrounds a step: [`Driver`](train::Driver), [`DriverConfig`](train::DriverConfig), [checkpoints](train::checkpoint) |
//! | [`rule`] | the language that optimizers are written in, and [a rule of your own](rule::Rule) |
//! | `problems` | models and data to train on, with the feature of this name |
//!
//! The [book](https://github.com/downhill-rs/downhill/blob/main/docs/book/src/SUMMARY.md) has a longer beginning, what
//! changes for those who [come from burn-optim](https://github.com/downhill-rs/downhill/blob/main/docs/book/src/from-burn-optim.md)
//! or [from PyTorch](https://github.com/downhill-rs/downhill/blob/main/docs/book/src/from-pytorch.md), and what runs
//! how on which [backend](https://github.com/downhill-rs/downhill/blob/main/docs/book/src/backends.md).
//!
//! # Feature flags
//!
//! `flex` (default), `ndarray`, `wgpu`, `vulkan`, `webgpu`, `metal`, `cuda`, `rocm` and `cpu` are Burn's backends. `learner`
//! has the driver behind burn-train's `SupervisedTraining`, `tui` its terminal interface, `problems` models and data,
//! `pytorch` the files of PyTorch's optimizers, `logs` reports as JSON lines, CSV and for TensorBoard, `mpi` trainings over
//! several processes.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use downhill_optim as optim;
#[cfg(feature = "problems")]
pub use downhill_problems as problems;
pub use downhill_rule as rule;
pub use downhill_schedule as schedule;
pub use downhill_train as train;

/// The code on the pages of the repository runs with the tests.
#[cfg(doctest)]
mod pages {
    macro_rules! pages {
        ($($(#[$when:meta])? $name:ident: $path:literal;)*) => {
            $($(#[$when])? #[doc = include_str!($path)] mod $name {})*
        };
    }

    pages! {
        readme: "../README.md";
        getting_started: "../docs/book/src/getting-started.md";
        from_burn_optim: "../docs/book/src/from-burn-optim.md";
        #[cfg(feature = "pytorch")]
        from_pytorch: "../docs/book/src/from-pytorch.md";
        #[cfg(all(feature = "logs", feature = "pytorch"))]
        cookbook: "../docs/book/src/cookbook.md";
        optimizers: "../docs/book/src/optimizers.md";
        schedules: "../docs/book/src/schedules.md";
        #[cfg(feature = "logs")]
        driver: "../docs/book/src/driver.md";
        configuration: "../docs/book/src/configuration.md";
        #[cfg(feature = "mpi")]
        several_processes: "../docs/book/src/several-processes.md";
        #[cfg(feature = "learner")]
        burn_train: "../docs/book/src/burn-train.md";
        own_rule: "../docs/book/src/own-rule.md";
    }
}

/// What is shared between threads, sent to another one, or kept by whoever asks.
#[cfg(test)]
mod traits {
    use core::fmt::Debug;

    fn shared<T: Send + Sync + Debug + Clone + 'static>() {}
    fn sent<T: Send + Debug + 'static>() {}
    fn error<T: core::error::Error + Send + Sync + Clone + PartialEq + 'static>() {}

    #[test]
    fn types_are_what_is_expected_of_them() {
        shared::<crate::optim::OptimizerConfig>();
        shared::<crate::optim::AdamWConfig>();
        shared::<crate::optim::RuleOptimizer>();
        shared::<crate::optim::OptimizerInfo>();
        shared::<crate::schedule::ScheduleConfig>();
        shared::<crate::schedule::Schedule>();
        shared::<crate::train::DriverConfig>();
        shared::<crate::train::Group>();
        shared::<crate::train::LocalUpdates>();
        shared::<crate::train::StepReport>();
        shared::<crate::train::OptimizerStates>();
        shared::<crate::train::checkpoint::Checkpoint>();
        shared::<crate::train::checkpoint::Checkpoints>();
        sent::<crate::train::Driver>();
        error::<crate::optim::ConfigError>();
        error::<crate::schedule::ScheduleError>();
        error::<crate::train::BindError>();
        error::<crate::train::DriverConfigError>();
        error::<crate::train::ExchangeError>();
        error::<crate::train::StepCause>();
        error::<crate::train::checkpoint::CheckpointError>();
    }
}
