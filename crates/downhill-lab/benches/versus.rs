//! Step times of this library beside burn-optim's, in one interleaved run.
//!
//! Timed is `ModuleOptimizer::step` with a module that is moved in, including the release of the
//! gradients, which are fresh tensors at every step. Each round times both libraries in turn, so that
//! a machine that slows down slows both; the medians are reported.

use burn::optim::GradientsParams;
use burn::tensor::Device;
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use downhill_lab::bench::{BenchError, Pair, StepTime, Steps, pair, step_time, subject_time};
use downhill_lab::stepper::Stepper;
use downhill_problems::data;
use downhill_problems::mlp::MlpConfig;
use serde::Serialize;

/// Compare step times with burn-optim's.
#[derive(Parser)]
struct Args {
    /// Print one JSON object per row instead of a table.
    #[arg(long)]
    json: bool,
    /// Only these optimizers (comma-separated).
    #[arg(long, value_delimiter = ',')]
    optimizer: Vec<String>,
    /// Only these sizes (comma-separated); squares are timed best.
    #[arg(long, value_delimiter = ',')]
    parameters: Vec<usize>,
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Those that burn-optim or PyTorch has too.
const OPTIMIZERS: [&str; 8] = [
    "sgd",
    "momentum",
    "adagrad",
    "rmsprop",
    "adam",
    "adamw",
    "nadam",
    "adafactor",
];

const SIZES: [usize; 5] = [64, 1 << 16, 1 << 20, 1 << 22, 1 << 24];

/// Steps of the deck's MLP are a row of their own: four small tensors.
const MLP: [usize; 3] = [20, 64, 3];
const MLP_PARAMETERS: usize = 20 * 64 + 64 + 64 * 3 + 3;

#[derive(Serialize)]
struct Row {
    optimizer: String,
    /// "matrix", or "mlp" for the deck's model.
    model: &'static str,
    parameters: usize,
    /// Nanoseconds per parameter.
    downhill_ns: f64,
    /// Nanoseconds per parameter, if burn-optim has the optimizer.
    burn_ns: Option<f64>,
    /// How many times faster than burn-optim.
    ratio: Option<f64>,
    /// Minimum traffic over time, in GB/s.
    downhill_gb_per_s: f64,
}

impl Row {
    fn new(time: StepTime, model: &'static str) -> Self {
        Self {
            optimizer: time.optimizer,
            model,
            parameters: time.parameters,
            downhill_ns: time.downhill_ns,
            burn_ns: time.burn_ns,
            ratio: time.ratio,
            downhill_gb_per_s: time.gb_per_s,
        }
    }
}

fn mlp(pair: &Pair, rounds: usize) -> Result<StepTime, BenchError> {
    let device = Device::flex();
    let [inputs, hidden, classes] = MLP;
    let all = data::deck().batch(&device.clone().autodiff());
    let batch = data::Batch {
        inputs: all.inputs.narrow(0, 0, 32),
        targets: all.targets.narrow(0, 0, 32),
    };
    let subject = |optimizer: &Stepper| {
        let batch = batch.clone();
        Steps::new(
            optimizer.clone(),
            MlpConfig::new(inputs, hidden, classes).init(42, &device.clone().autodiff()),
            move |mlp| GradientsParams::from_grads(mlp.loss(&batch).backward(), mlp),
            50,
            &device,
        )
    };
    subject_time(pair, MLP_PARAMETERS, rounds, subject, &mut |_| ())
}

fn print(row: &Row, args: &Args, table: &mut Table) {
    if args.json {
        println!("{}", serde_json::to_string(row).expect("numbers serialise"));
        return;
    }
    let or_dash = |number: Option<f64>| number.map_or("-".to_string(), |x| format!("{x:.2}"));
    table.add_row([
        row.optimizer.to_string(),
        match row.model {
            "mlp" => format!("{} (mlp)", row.parameters),
            _ => row.parameters.to_string(),
        },
        format!("{:.2}", row.downhill_ns * row.parameters as f64 / 1e3),
        format!("{:.2}", row.downhill_ns),
        or_dash(row.burn_ns),
        or_dash(row.ratio),
        format!("{:.1}", row.downhill_gb_per_s),
    ]);
    eprintln!("{} {}: done", row.optimizer, row.parameters);
}

fn main() {
    let args = Args::parse();
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "optimizer",
        "parameters",
        "us/step",
        "ns/param",
        "burn ns/param",
        "times faster",
        "GB/s",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let chosen = |name: &&str| {
        args.optimizer.is_empty() || args.optimizer.iter().any(|chosen| chosen == name)
    };
    for name in OPTIMIZERS.into_iter().filter(chosen) {
        let pair = pair(name).expect("a name of the table");
        let sizes = match args.parameters.is_empty() {
            true => SIZES.to_vec(),
            false => args.parameters.clone(),
        };
        for parameters in sizes.into_iter().filter(|size| *size != MLP_PARAMETERS) {
            let time = step_time(&pair, parameters, args.rounds, &Device::flex(), &mut |_| ());
            let time = time.expect("the CPU does not fail");
            print(&Row::new(time, "matrix"), &args, &mut table);
        }
        if args.parameters.is_empty() || args.parameters.contains(&MLP_PARAMETERS) {
            let time = mlp(&pair, args.rounds).expect("the CPU does not fail");
            print(&Row::new(time, "mlp"), &args, &mut table);
        }
    }
    if !args.json {
        println!("{table}");
    }
}
