//! The examples, run as a user runs them.

#[cfg(feature = "flex")]
mod deck;
#[cfg(all(feature = "flex", feature = "mpi"))]
mod distributed;
#[cfg(feature = "flex")]
mod mlp;
#[cfg(feature = "flex")]
mod resume;
mod runs;
mod schedules;
