//! Learning rates as pure functions of the step.
//!
//! A [`Schedule`] is a value: [`value(step)`](Curve::value) is defined for every step, so that going
//! on, looking ahead and resuming are the same thing. Schedules nest, compare, and are read and
//! written as JSON.
//!
//! ```
//! use downhill_schedule::CosineConfig;
//!
//! let config = CosineConfig::new(0.1, 900).with_floor(0.001).schedule().warmup(100);
//! let schedule = config.try_build()?;
//! assert_eq!([0, 50, 100, 1_000].map(|k| schedule.value(k)), [0.0, 0.05, 0.1, 0.001]);
//! # Ok::<(), downhill_schedule::ScheduleError>(())
//! ```
//!
//! # Steps
//!
//! A step is one update of the optimizer, counted from 0: `value(0)` is the rate of the first update.
//! With gradient accumulation several batches make one step. A schedule that counts epochs becomes
//! one that counts steps by [`per_epoch`](CurveConfig::per_epoch).
//!
//! Lengths and values may be parts of a whole that is known later: [`percent`].
//!
//! # Rates and multipliers
//!
//! A learning rate and a factor are different things. A [`ScheduleConfig`] builds a [`Schedule`] of
//! rates, a [`MultiplierConfig`] a [`Multiplier`] without unit, and only a multiplier can be
//! multiplied with:
//!
//! ```
//! use downhill_schedule::{CosineConfig, ScheduleConfig, StepConfig};
//!
//! let steps = StepConfig::new(1.0, 30).multiplier().per_epoch(45);
//! let schedule = (CosineConfig::new(0.1, 5_000).schedule() * steps).try_build()?;
//! # Ok::<(), downhill_schedule::ScheduleError>(())
//! ```
//!
//! # Shapes
//!
//! | | |
//! |---|---|
//! | [`ConstantConfig`], [`LinearConfig`], [`PolynomialConfig`], [`ExponentialConfig`], [`InverseSqrtConfig`], [`RexConfig`] | down to the end |
//! | [`StepConfig`], [`MultiStepConfig`], [`PiecewiseConfig`] | down in stages |
//! | [`CosineConfig`], [`CosineRestartsConfig`] | cosines |
//! | [`OneCycleConfig`], [`CyclicConfig`], [`NoamConfig`] | up and down |
//! | [`WsdConfig`], [`WsdRepeatedConfig`] | long at the peak |
//! | [`ScheduleConfig::custom`](CurveConfig::custom) | a function of your own |
//! | [`ReduceOnPlateau`] | follows a metric |
//! | [`slides`] | a slide deck's, to compare |
//!
//! All of them can be changed and combined: [`warmup`](CurveConfig::warmup),
//! [`then`](CurveConfig::then), [`scale`](CurveConfig::scale), [`clamp`](CurveConfig::clamp),
//! [`shift`](CurveConfig::shift), [`repeat`](CurveConfig::repeat),
//! [`per_epoch`](CurveConfig::per_epoch) and `*`.
//!
//! # Numbers
//!
//! Values are f64 and, computed by `libm`, the same to the last bit on every platform. They are
//! finite and never negative: what would make them otherwise is refused when a schedule is built.
//! There is no upper limit.
//!
//! # Feature flags
//!
//! * `std` (default): suggestions for misspelt names. Without it, the crate needs `alloc` only.
//! * `burn`: schedules as Burn's learning rate schedulers.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod combine;
mod config;
mod curve;
mod error;
mod plateau;
mod quantity;
mod registry;
#[cfg(feature = "burn")]
mod scheduler;
mod scope;
mod shapes;
pub mod slides;

pub use combine::Warmup;
pub use config::ScheduleInfo;
pub use curve::{
    Curve, CurveConfig, Multiplier, MultiplierConfig, Rate, Schedule, ScheduleConfig, Unitless,
};
pub use error::ScheduleError;
pub use plateau::{
    PlateauMode, PlateauState, ReduceOnPlateau, ReduceOnPlateauConfig, ThresholdMode,
};
pub use quantity::{Length, Lengths, Percent, Points, Value, percent};
#[cfg(feature = "burn")]
pub use scheduler::{PlateauScheduler, RecordError, Scheduler};
pub use shapes::*;
