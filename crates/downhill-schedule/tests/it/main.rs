//! Schedules.

mod deck;
mod depth;
mod golden;
mod options;
mod properties;
#[cfg(feature = "burn")]
mod scheduler;
