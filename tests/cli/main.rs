//! The examples, run as a user runs them.

#[cfg(feature = "flex")]
mod deck;
#[cfg(feature = "flex")]
mod mlp;
#[cfg(feature = "flex")]
mod resume;
mod runs;
mod schedules;
