//! The optimizers on every backend that is compiled in.

#[path = "../common/mod.rs"]
mod common;

mod conformance;
mod golden;
mod module;
mod mutants;
mod nan;
mod promises;
mod settings;
mod values;
