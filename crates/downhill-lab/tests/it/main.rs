//! The lab and its command.

#[cfg(feature = "flex")]
mod bench_cli;
#[cfg(feature = "flex")]
mod checkpoint_cli;
mod compare_cli;
mod damaged_runs;
mod explain_cli;
#[cfg(feature = "flex")]
mod find_lr;
mod formulas;
mod leaderboard;
mod protocol;
#[cfg(feature = "flex")]
mod published;
mod report;
mod stats;
#[cfg(feature = "flex")]
mod trace_cli;
