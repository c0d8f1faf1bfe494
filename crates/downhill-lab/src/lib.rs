//! Fair comparisons of optimizers.
//!
//! The command `downhill` compares optimizers on problems: every optimizer gets the same budget to find
//! its learning rate, the rate is chosen on samples that the result is not measured on, and the result
//! comes from several seeds. This library is what the command is made of, for programs that do the same
//! with problems of their own:
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use burn::tensor::Device;
//! use downhill_lab::{results::{Stage, Trial}, run::run};
//!
//! let problem = downhill_problems::by_name("rosenbrock")?;
//! let trial = Trial {
//!     problem: "rosenbrock".into(),
//!     optimizer: serde_json::json!({"name": "nadam", "beta_1": 0.8}),
//!     schedule: None,
//!     driver: None,
//!     lr: 0.1,
//!     stage: Stage::Final,
//!     seed: 1,
//!     steps: 200,
//!     device: "flex".into(),
//!     version: downhill_lab::source::version().into(),
//! };
//! let run = run(&problem, &trial, &Device::flex(), &AtomicBool::new(false), &mut |_| ())?;
//! assert!(run.outcome.test.loss < run.outcome.curve[0].train.loss);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | | |
//! |---|---|
//! | [`run`] | one run: a problem, an optimizer, a rate, a seed |
//! | [`protocol`] | which runs a comparison is made of |
//! | [`compare`](mod@compare) | a comparison from problems and optimizers to the report |
//! | [`leaderboard`] | all optimizers on all problems |
//! | [`store`] | runs in a file, that survive an interruption |
//! | [`results`], [`stats`] | what comes out, and what it comes to |
//! | [`score`] | how optimizers stand over several problems |
//! | [`report`] | the page about it |
//! | [`trace`] | paths over the contours of a test function |
//! | [`bench`](mod@bench) | times of steps, interleaved |
//! | [`figure`] | pictures as SVG |
//! | [`cli`] | the command line |
//!
//! # Feature flags
//!
//! `flex` (default), `ndarray` and `wgpu` switch on Burn's backends of those names.
#![forbid(unsafe_code)]

// The commands name this library as everybody else does.
extern crate self as downhill_lab;

pub mod bench;
pub mod cli;
pub mod compare;
pub mod explain;
pub mod figure;
mod flow;
pub mod leaderboard;
pub mod protocol;
pub mod report;
pub mod results;
pub mod run;
pub mod score;
pub mod source;
pub mod stats;
pub mod stepper;
pub mod store;
pub mod trace;

/// The version of Burn that this library is made for, for reports.
pub const BURN_VERSION: &str = "0.22.1";
