//! Everything that knows Burn's tensors: a program as an optimizer, its state, and what a driver needs.

mod algebra;
mod config;
#[cfg(feature = "cube")]
mod cube;
pub mod drive;
mod engine;
mod memory;
mod optimizer;
mod record;
mod state;
mod value;

pub(crate) use engine::{LooksAtTensors, OnTensors};
pub use optimizer::{Identity, RuleOptimizer};
pub use record::{canonical_bytes, state_bytes};
pub use state::RuleState;
