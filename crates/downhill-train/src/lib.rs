//! Around an optimizer's step in Burn: what needs the whole model, and what must not be lost.
//!
//! * [`Driver`] makes an update, or says why not: it checks gradients against the model, guards against what
//!   is not finite ([`NonFinite`]), clips ([`Clipping`]), accumulates ([`Accumulation`]), treats groups of
//!   parameters differently ([`Group`]), averages ([`Averaging`]) and reports ([`StepReport`]). It works with
//!   any `ModuleOptimizer`, and with any learning rate ([`Rate`]).
//! * [`checkpoint`] saves all of it in one file, and goes on from it bit for bit.
//! * [`evaluated`] is the model to evaluate where an optimizer trains another one; [`polyak_update`] moves a
//!   target network.
//! * [`exchange`] lets several ranks train one model: [`DriverBuilder::with_exchange`].
//! * [`find_lr`] is the learning rate range test.
//!
//! See [`Driver`] for an example.
//!
//! # Feature flags
//!
//! `flex` and `ndarray` compile the passes over memory of these backends. `learner` has the driver behind
//! burn-train's `SupervisedTraining`, `logs` writes reports into files, `pytorch` reads and writes the states of PyTorch's
//! optimizers.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod average;
mod batch;
mod bind;
mod bound;
mod builder;
mod change;
pub mod checkpoint;
mod clipping;
mod config;
mod driven;
mod driver;
mod error;
mod evaluated;
pub mod exchange;
pub mod find_lr;
mod go;
mod gradients;
mod groups;
mod guard;
#[cfg(feature = "learner")]
mod learner;
#[cfg(feature = "logs")]
mod log;
mod mechanic;
mod once;
mod params;
mod path;
mod plan;
mod probe;
#[cfg(feature = "pytorch")]
mod pytorch;
mod ranks;
mod rates;
mod ratios;
mod report;
mod sam;
mod scaling;
mod setting;
mod settings;
mod states;
mod update;

pub use average::{Averaging, PolyakError, polyak_update};
pub use batch::{Accumulation, MicroBatch};
pub use builder::DriverBuilder;
pub use clipping::{Clipping, NonFinite};
pub use config::{CheckpointsConfig, DriverConfig, DriverConfigError, GroupConfig, SelectConfig};
pub use driver::Driver;
pub use error::{BindError, Rejected, StepCause, StepError};
pub use evaluated::evaluated;
#[cfg(feature = "mpi")]
pub use exchange::Mpi;
pub use exchange::{Exchange, ExchangeError, Threads};
pub use groups::{Group, GroupError, Select};
#[cfg(feature = "learner")]
pub use learner::{DrivenStrategy, ReportMetric};
#[cfg(feature = "logs")]
pub use log::ReportLog;
pub use mechanic::Mechanic;
pub use once::tie;
pub use params::{ModuleError, ParamInfo};
pub use path::ParamPath;
pub use plan::{BoundParameter, Plan};
#[cfg(feature = "pytorch")]
pub use pytorch::{PyTorchError, PyTorchReport, PyTorchStates};
pub use ranks::LocalUpdates;
pub use report::{NonFiniteGradient, Norm, Outcome, StepReport, UpdateRatio};
pub use sam::Sam;
pub use scaling::LossScaling;
pub use setting::{OutOfRange, Rate, Setting};
pub use states::{OptimizerStates, ParameterState, Statistics};
