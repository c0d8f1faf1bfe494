//! Fair comparisons of optimizers.
//!
//! The command `downhill` compares optimizers on problems: every optimizer gets the same budget to find
//! its learning rate, the rate is chosen on samples that the result is not measured on, and the result
//! comes from several seeds. This library is what the command is made of.
#![forbid(unsafe_code)]

// The commands name this library as everybody else does.
extern crate self as downhill_lab;

pub mod bench;
pub mod cli;
pub mod figure;
pub mod find_lr;
pub mod plot;
pub mod protocol;
pub mod report;
pub mod results;
pub mod run;
pub mod stats;
pub mod store;
pub mod trace;

/// The version of Burn that this library is made for, for reports.
pub const BURN_VERSION: &str = "0.22.1";
