//! `downhill bench step`: how long the step of one matrix takes.

use std::io::{self, Write};

use comfy_table::CellAlignment;
use downhill_lab::bench::{Pair, WARM_UP, step_time};
use indicatif::HumanCount;

use super::Chosen;
use crate::cli::device::{self, DeviceName};
use crate::cli::{Failure, failed, json, table};

/// Time an optimizer's step beside burn-optim's
///
/// Both are timed in turns with fresh gradients, so that a machine that slows down slows both; the medians
/// are shown. Nothing passes or fails.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Optimizers, separated by commas (`downhill list optimizers`); momentum is sgd with 0.9
    #[arg(
        long,
        value_name = "NAME|all",
        value_delimiter = ',',
        default_value = "all"
    )]
    #[arg(value_parser = Chosen::parse)]
    optimizer: Vec<Chosen>,

    /// Parameters of the matrix that is updated, separated by commas
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "65536,1048576"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1 << 28))]
    parameters: Vec<u32>,

    /// Rounds of each measurement
    #[arg(long, value_name = "N", default_value_t = 21)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,

    /// What to compute on [default: the first that was compiled in]
    #[arg(long, value_name = "NAME", value_enum)]
    device: Option<DeviceName>,

    /// Print one JSON object per row instead of a table, and nothing else
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
The matrix is nearly square, so that it may have a few parameters less.

JSON keys:
  optimizer, parameters, rounds
  downhill_ns          nanoseconds per parameter
  burn_ns              of burn-optim's, or null if it does not have the optimizer
  ratio                how many times faster than burn-optim's, or null
  bytes_per_parameter  that a step must read and write at least
  gb_per_s             the same over the time";

pub fn run(args: &Args) -> Result<(), Failure> {
    let (_, device) = device::open(args.device)?;
    let rounds = args.rounds as usize;
    let pairs: Vec<&Pair> = args.optimizer.iter().flat_map(|chosen| &chosen.0).collect();

    let total = (pairs.len() * args.parameters.len() * (rounds + WARM_UP)) as u64;
    let bar = super::bar(total)?;

    let mut stdout = io::stdout();
    let mut rows = table([
        "Optimizer",
        "Parameters",
        "Step",
        "ns per parameter",
        "burn-optim",
        "Times faster",
        "GB/s",
    ]);
    for pair in pairs {
        for &parameters in &args.parameters {
            bar.set_message(format!("{} {}", pair.name, HumanCount(parameters.into())));
            let time = step_time(pair, parameters as usize, rounds, &device, &mut |_| {
                bar.inc(1)
            });
            let time = time.map_err(|error| {
                bar.finish_and_clear();
                failed(format!("{}: {error}", pair.name))
            })?;
            if args.json {
                let json = json(&time)?;
                bar.suspend(|| writeln!(stdout, "{json}"))?;
                continue;
            }
            let or_dash = |x: Option<f64>| x.map_or("-".to_string(), |x| format!("{x:.2}"));
            rows.add_row([
                time.optimizer.clone(),
                HumanCount(time.parameters as u64).to_string(),
                duration(time.downhill_ns * time.parameters as f64),
                format!("{:.2}", time.downhill_ns),
                or_dash(time.burn_ns),
                or_dash(time.ratio),
                format!("{:.1}", time.gb_per_s),
            ]);
        }
    }
    bar.finish_and_clear();
    if !args.json {
        for column in rows.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(stdout, "{rows}")?;
        super::warn_of_development(&mut stdout)?;
    }
    Ok(())
}

fn duration(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 1e6 => (ns / 1e3, "us"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    format!("{value:.2}\u{a0}{unit}")
}
