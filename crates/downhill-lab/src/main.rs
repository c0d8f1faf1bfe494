//! The command `downhill`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    downhill_lab::cli::main()
}
