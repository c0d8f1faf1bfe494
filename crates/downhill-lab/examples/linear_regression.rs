//! Linear regression with several optimizers: slides 7 and 8 of the deck.
//!
//! ```text
//! cargo run --release --example linear_regression
//! cargo run --release --example linear_regression -- --same-start --plot line.svg
//! cargo run --release --example linear_regression -- --help
//! ```
#![forbid(unsafe_code)]

#[path = "deck/cli.rs"]
mod cli;
#[path = "deck/figure.rs"]
mod figure;
#[path = "deck/optimizers.rs"]
mod optimizers;

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use burn::{
    module::{Module, Param},
    optim::GradientsParams,
    tensor::{Device, Tensor, TensorData},
};
use clap::Parser;
use downhill_problems::{
    data::{self, Points},
    numpy::RandomState,
};
use serde::Serialize;

use cli::{fail, fit, learning_rate, number, table};
use downhill_plot::PlotFile;
use figure::{Losses, Panel};
use optimizers::Choice;

/// Linear regression with several optimizers: slides 7 and 8 of the deck.
///
/// 100 points of y = 4 + 3x with noise, the deck's bit for bit, and a line through them. The deck's
/// program does not run: its SGD has no method `update`, which the training calls. Here SGD's is the
/// one of slide 1. As in the deck, each optimizer starts from other random weights, so that their
/// losses tell little about them; --same-start is fair.
#[derive(Parser)]
#[command(name = "linear_regression", allow_negative_numbers = true, after_help = after_help())]
struct Args {
    /// Optimizers to compare, separated by commas (listed below)
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "sgd,momentum,adam"
    )]
    #[arg(value_parser = Choice::by_name)]
    optimizer: Vec<Choice>,

    /// Learning rate of all optimizers
    #[arg(long, default_value_t = 0.01)]
    #[arg(value_parser = learning_rate, allow_hyphen_values = true)]
    lr: f64,

    /// Steps; each uses all points
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    epochs: u32,

    /// Decides the points and the initial weights
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u32,

    /// Start all optimizers from the first one's weights
    #[arg(long)]
    same_start: bool,

    /// Draw the loss of each epoch into this file (slide 8)
    #[arg(long, value_name = "FILE.svg|FILE.png")]
    plot: Option<PlotFile>,

    /// Print one JSON object per optimizer instead of tables, and nothing else
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    Choice::help(false)
        + "
" + cli::device_help!()
        + "
JSON keys:
  optimizer, learning_rate, epochs, seed
  start        w and b before the first epoch
  w, b         slope and intercept after the last
  losses       mean squared error after each epoch
  lowest_loss  the least-squares line's

Exit status:
  0  all went well
  1  a run failed, for example because its loss became infinite
  2  the command line is wrong"
}

/// The line `b + w x`.
#[derive(Module, Debug)]
struct Line {
    /// `[b, w]`, of shape `[2, 1]`.
    weights: Param<Tensor<2>>,
}

impl Line {
    fn new(weights: &[f64; 2], device: &Device) -> Self {
        let weights = TensorData::new(weights.to_vec(), [2, 1]);
        Self {
            weights: Param::from_data(weights, device),
        }
    }

    /// Mean squared error of the predictions for the rows `[1, x]` of `inputs`.
    fn loss(&self, inputs: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
        (inputs.matmul(self.weights.val()) - targets)
            .square()
            .mean()
    }

    /// `w` and `b`.
    fn coefficients(&self) -> (f64, f64) {
        let weights = self.weights.val().into_data().convert::<f64>();
        let weights: Vec<f64> = weights.try_to_vec().expect("converted to f64");
        (weights[1], weights[0])
    }
}

/// The points as tensors.
struct Batch {
    inputs: Tensor<2>,
    targets: Tensor<2>,
}

impl Batch {
    fn new(points: &Points, device: &Device) -> Self {
        let rows: Vec<f64> = points.x.iter().flat_map(|x| [1.0, *x]).collect();
        let samples = points.x.len();
        Self {
            inputs: Tensor::from_data(TensorData::new(rows, [samples, 2]), device),
            targets: Tensor::from_data(TensorData::new(points.y.clone(), [samples, 1]), device),
        }
    }
}

#[derive(Serialize)]
struct Coefficients {
    w: f64,
    b: f64,
}

/// What is reported about one optimizer.
#[derive(Serialize)]
struct Report {
    optimizer: &'static str,
    learning_rate: f64,
    epochs: u32,
    seed: u32,
    start: Coefficients,
    w: f64,
    b: f64,
    losses: Vec<f64>,
    lowest_loss: f64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(code) => code,
        // Whoever read the output, `head` for one, has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(format!("cannot write the output: {error}")),
    }
}

fn run(args: &Args) -> io::Result<ExitCode> {
    let device = cli::device().autodiff();
    // The deck makes all its models, in this order, before it trains the first.
    let mut random = RandomState::new(args.seed);
    let points = data::deck_line(&mut random);
    let mut starts: Vec<[f64; 2]> = args
        .optimizer
        .iter()
        .map(|_| [random.standard_normal(), random.standard_normal()])
        .collect();
    if args.same_start {
        let first = starts[0];
        starts.fill(first);
    }

    let (w, b) = points.least_squares();
    let lowest_loss = points.mean_squared_error(w, b);
    let batch = Batch::new(&points, &device);
    let mut stdout = io::stdout();
    let mut code = ExitCode::SUCCESS;
    let mut rows = Vec::new();
    let mut reports = Vec::new();
    for (choice, start) in args.optimizer.iter().zip(&starts) {
        let name = choice.name;
        let line = Line::new(start, &device);
        let trained = train(args, choice, line, &batch, lowest_loss);
        let start = format!("{}, {}", number(start[1]), number(start[0]));
        match trained {
            Err(message) => {
                code = fail(format!("{name}: {message}"));
                rows.push([name, &start, "", "", "failed"].map(str::to_string));
            }
            Ok(report) => {
                let last = report.losses[report.losses.len() - 1];
                let [w, b, last] = [report.w, report.b, last].map(|x| format!("{x:.4}"));
                rows.push([name.to_string(), start, w, b, last]);
                if args.json {
                    writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
                }
                reports.push(report);
            }
        }
    }

    if !args.json {
        let epochs = args.epochs;
        let s = if epochs == 1 { "" } else { "s" };
        writeln!(
            stdout,
            "100 points of y = 4 + 3x with noise | {epochs} epoch{s} | learning rate {}",
            number(args.lr)
        )?;
        let [w, b, loss] = [w, b, lowest_loss].map(|x| format!("{x:.4}"));
        rows.push(["least squares".to_string(), String::new(), w, b, loss]);
        let header = ["Optimizer", "Start w, b", "w", "b", "Final loss"];
        writeln!(stdout, "{}", table(header, rows))?;
        // The picture shows it better.
        if args.plot.is_none() && !reports.is_empty() {
            writeln!(stdout, "\nLoss after each epoch:")?;
            writeln!(stdout, "{}", progress(&reports))?;
        }
    }
    if let Some(file) = &args.plot
        && let Err(error) = file.draw_figure(&figure(reports))
    {
        code = fail(format!("cannot write {file}: {error}"));
    }
    Ok(code)
}

fn train(
    args: &Args,
    choice: &Choice,
    mut line: Line,
    batch: &Batch,
    lowest_loss: f64,
) -> Result<Report, String> {
    let loss = |line: &Line| line.loss(batch.inputs.clone(), batch.targets.clone());
    let mut optim = choice
        .config
        .try_init()
        .map_err(|error| error.to_string())?;
    let (w, b) = line.coefficients();
    let start = Coefficients { w, b };
    let mut losses = Vec::new();
    for epoch in 1..=args.epochs {
        let grads = GradientsParams::from_grads(loss(&line).backward(), &line);
        line = optim.step(args.lr, line, grads);
        let loss: f64 = loss(&line).into_scalar();
        if !loss.is_finite() {
            return Err(format!(
                "the loss became {loss} in epoch {epoch}; a learning rate below {} may help (--lr)",
                number(args.lr)
            ));
        }
        losses.push(loss);
    }
    let (w, b) = line.coefficients();
    Ok(Report {
        optimizer: choice.name,
        learning_rate: args.lr,
        epochs: args.epochs,
        seed: args.seed,
        start,
        w,
        b,
        losses,
        lowest_loss,
    })
}

/// A table of the losses after epochs in steps as on a logarithmic scale.
fn progress(reports: &[Report]) -> comfy_table::Table {
    let last = reports[0].losses.len();
    let powers = (0..).map(|power| 10usize.pow(power));
    let epochs = powers.flat_map(|power| [1, 2, 5].map(|digit| digit * power));
    let mut epochs: Vec<usize> = epochs.take_while(|epoch| *epoch < last).collect();
    epochs.push(last);

    let mut table = table(["Epoch"], Vec::new());
    let names = reports.iter().map(|report| report.optimizer.to_string());
    table.set_header(["Epoch".to_string()].into_iter().chain(names));
    for epoch in epochs {
        let losses = reports
            .iter()
            .map(|report| number(report.losses[epoch - 1]));
        table.add_row([epoch.to_string()].into_iter().chain(losses));
    }
    fit(&mut table, 0);
    table
}

fn figure(reports: Vec<Report>) -> Losses {
    let names = reports.iter().map(|report| report.optimizer.to_string());
    Losses {
        title: "Convergence of different optimizers".to_string(),
        y: "Mean squared error (log scale)",
        names: names.collect(),
        panels: vec![Panel {
            title: String::new(),
            curves: reports.into_iter().map(|report| report.losses).collect(),
        }],
        size: (960, 480),
    }
}
