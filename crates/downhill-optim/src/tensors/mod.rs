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

/// Lets the steps of several small parameters share a launch on the devices of CubeCL (wgpu, CUDA and others), and says
/// whether they do.
///
/// Burn can be told so only before its first tensor on such a device. Making an optimizer does it, so this is for
/// programs that make their model first: call it at their start. Without it each parameter has a launch of its own. False
/// too where no such device is compiled in.
///
/// ```
/// // The first line of `main`.
/// downhill_optim::launch_together();
/// ```
pub fn launch_together() -> bool {
    #[cfg(feature = "cube")]
    let together = cube::enable();
    #[cfg(not(feature = "cube"))]
    let together = false;
    together
}
