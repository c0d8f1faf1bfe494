//! Around the step.
#![forbid(unsafe_code)]

mod average;
pub mod checkpoint;
mod clipping;
mod driver;
mod error;
mod gradients;
mod groups;
mod params;
mod path;
mod probe;
mod report;
mod setting;

pub use average::{Averaging, PolyakError, polyak_update};
pub use clipping::{Clipping, NonFinite};
pub use driver::{Accumulation, BoundParameter, Driver, DriverBuilder, MicroBatch};
pub use error::{BindError, Rejected, StepCause, StepError};
pub use groups::{Group, GroupError, Select};
pub use params::{ModuleError, ParamInfo};
pub use path::ParamPath;
pub use report::{NonFiniteGradient, Norm, Outcome, StepReport, UpdateRatio};
pub use setting::{OutOfRange, Rate, Setting};
