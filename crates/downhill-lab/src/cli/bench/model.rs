//! `downhill bench model`: how long the step of a model of many parameters takes, and what it asks of a device.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::CellAlignment;
use downhill_lab::bench::{Pair, Shapes, WARM_UP, model_times};
use indicatif::HumanCount;

use super::Chosen;
use crate::cli::device::{self, DeviceName};
use crate::cli::{Failure, failed, json, table};

/// Time a step of a model of many parameters, and count what it asks of a GPU
///
/// Kernels, the tensor operations that compute the same, and burn-optim's optimizer are timed in turns; medians are
/// shown. Nothing passes or fails.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Optimizers, separated by commas (`downhill list optimizers`); momentum is sgd with 0.9
    #[arg(
        long,
        value_name = "NAME|all",
        value_delimiter = ',',
        default_value = "adamw"
    )]
    #[arg(value_parser = Chosen::parse)]
    optimizer: Vec<Chosen>,

    /// Tensors of the model
    #[arg(long, value_name = "N", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tensors: u32,

    /// Elements of the smallest matrix
    #[arg(long, value_name = "N", default_value_t = 4096)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1 << 28))]
    elements: u32,

    /// How the tensors differ
    #[arg(long, value_enum, default_value_t = Sizes::Equal)]
    sizes: Sizes,

    /// Steps of each measurement
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

#[derive(Clone, Copy, ValueEnum)]
enum Sizes {
    /// All alike
    Equal,
    /// Each has a column more than the one before
    Unequal,
    /// Matrices and vectors of a transformer
    Transformer,
}

impl From<Sizes> for downhill_lab::bench::Sizes {
    fn from(sizes: Sizes) -> Self {
        match sizes {
            Sizes::Equal => Self::Equal,
            Sizes::Unequal => Self::Unequal,
            Sizes::Transformer => Self::Transformer,
        }
    }
}

const AFTER_HELP: &str = "\
JSON keys:
  optimizer, tensors, parameters, rounds
  way                 kernels, tensor_operations or burn_optim; on a CPU \"kernels\" are passes over memory
  first_ms            milliseconds of the first step, in which kernels are compiled
  step_ms             milliseconds of a step until the device is done
  us_per_tensor       the same in microseconds for each tensor
  host_us_per_tensor  until the step returns, with the device still at work
  operations          that a step registers with Burn, or null where Burn has no queue of them
  kernels             that it launches, or null where there are none
  gb_per_s            what a step must read and write at least, over its time";

pub fn run(args: &Args) -> Result<(), Failure> {
    let (_, device) = device::open(args.device)?;
    let rounds = args.rounds as usize;
    let shapes = Shapes {
        tensors: args.tensors as usize,
        elements: args.elements as usize,
        sizes: args.sizes.into(),
    };
    let pairs: Vec<&Pair> = args.optimizer.iter().flat_map(|chosen| &chosen.0).collect();
    let total = (pairs.len() * (rounds + WARM_UP)) as u64;
    let bar = super::bar(total)?;
    let mut stdout = io::stdout();
    let mut rows = table([
        "Optimizer",
        "By",
        "First step",
        "Step",
        "us per tensor",
        "of them host",
        "Operations",
        "Kernels",
        "GB/s",
    ]);
    let mut parameters = 0;
    for pair in pairs {
        bar.set_message(pair.name);
        let times = model_times(pair, shapes, rounds, &device, &mut || bar.inc(1));
        let times = times.map_err(|error| {
            bar.finish_and_clear();
            failed(format!("{}: {error}", pair.name))
        })?;
        for time in times {
            parameters = time.parameters;
            if args.json {
                let json = json(&time)?;
                bar.suspend(|| writeln!(stdout, "{json}"))?;
                continue;
            }
            let or_dash = |x: Option<usize>| x.map_or("-".to_string(), |x| x.to_string());
            rows.add_row([
                time.optimizer,
                time.way.to_string(),
                format!("{:.1}\u{a0}ms", time.first_ms),
                format!("{:.2}\u{a0}ms", time.step_ms),
                format!("{:.1}", time.us_per_tensor),
                format!("{:.1}", time.host_us_per_tensor),
                or_dash(time.operations),
                or_dash(time.kernels),
                format!("{:.2}", time.gb_per_s),
            ]);
        }
    }
    bar.finish_and_clear();
    if !args.json {
        for column in rows.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let (tensors, parameters) = (
            HumanCount(args.tensors.into()),
            HumanCount(parameters as u64),
        );
        writeln!(
            stdout,
            "{tensors} tensors with {parameters} parameters\n{rows}"
        )?;
        super::warn_of_development(&mut stdout)?;
    }
    Ok(())
}
