#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub use downhill_optim as optim;
#[cfg(feature = "problems")]
pub use downhill_problems as problems;
pub use downhill_rule as rule;
pub use downhill_schedule as schedule;
pub use downhill_train as train;
