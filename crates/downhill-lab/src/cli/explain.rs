//! `downhill explain`: what an optimizer computes.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use downhill_lab::explain::Explanation;
use downhill_optim::OptimizerConfig;

use super::{Failure, failed, json, printable_path, usage};

/// Show what an optimizer computes, operation by operation
///
/// It is the formula that runs as one pass over memory on the CPU and as a kernel on a GPU. Numbers are named by the
/// settings that they are made of.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The optimizer's name, or its settings as JSON
    #[arg(value_name = "NAME|JSON")]
    optimizer: String,

    /// The learning rate [default: the one that the optimizer begins with]
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,

    /// The number of the step
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=10_000))]
    step: u64,

    /// Write the data flow as a picture (SVG) into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Print one JSON object instead, and nothing else
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
JSON keys:
  optimizer, description, source, learning_rate, step
  state                names of what is kept beside the parameter
  bytes_per_parameter  that a step in f32 reads and writes at least
  parts                pieces of the step: title, inputs, lines (result, operation, operands), outputs";

pub fn run(args: &Args) -> Result<(), Failure> {
    let config = match args.optimizer.trim_start().starts_with('{') {
        true => OptimizerConfig::from_json(&args.optimizer),
        false => OptimizerConfig::by_name(&args.optimizer),
    };
    let config = config.map_err(usage)?;
    let lr = args.lr.unwrap_or(config.default_learning_rate());
    if !lr.is_finite() || lr < 0.0 {
        return Err(usage(format!(
            "the learning rate must be at least 0, not {lr}"
        )));
    }
    let explanation = Explanation::new(&config, lr, args.step).map_err(usage)?;
    let Some(explanation) = explanation else {
        let name = config.name();
        return Err(failed(format!(
            "{name} is made of several pieces (a wrapper, or a method of matrices), and not of one rule: \
             its formula is in the documentation of the library"
        )));
    };
    if let Some(path) = &args.svg {
        let written = fs::write(path, explanation.svg());
        written
            .map_err(|error| failed(format!("cannot write {}: {error}", printable_path(path))))?;
    }
    let mut stdout = io::stdout();
    if args.json {
        writeln!(stdout, "{}", json(&explanation)?)?;
        return Ok(());
    }
    write!(stdout, "{explanation}")?;
    Ok(())
}
