//! Draws learning rate schedules, in the terminal or into a file; `downhill schedule` is the same.
//!
//! ```text
//! cargo run --release --example schedules
//! cargo run --release --example schedules -- cosine wsd one_cycle --steps 1000 --plot rates.svg
//! cargo run --release --example schedules -- --help
//! ```
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    downhill_lab::cli::schedule::main()
}
