//! Adam and NAdam on a parabola: slide 11 of the deck, and what is wrong with its NAdam.
//!
//! ```text
//! cargo run --release --example quadratic
//! cargo run --release --example quadratic -- --steps 100
//! cargo run --release --example quadratic -- --help
//! ```
#![forbid(unsafe_code)]

#[path = "deck/cli.rs"]
mod cli;

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use burn::{
    module::{Module, Param},
    optim::GradientsParams,
    tensor::{Device, Tensor},
};
use clap::Parser;
use downhill_optim::{AdamConfig, NAdamConfig, OptimizerConfig, slides};
use serde::Serialize;

use cli::{fail, learning_rate, number, table};

/// Adam and NAdam on the parabola x²: slide 11 of the deck.
///
/// The deck's NAdam corrects the bias of its first moment twice, which makes its first step ten
/// learning rates long. Beside it are the two published forms that are closest: optax's, which is the
/// deck's with each term corrected once, and PyTorch's, whose momentum begins low and grows.
#[derive(Parser)]
#[command(name = "quadratic", allow_negative_numbers = true, after_help = AFTER_HELP)]
struct Args {
    /// Steps to take
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: u32,

    /// Learning rate
    #[arg(long, default_value_t = 0.001)]
    #[arg(value_parser = learning_rate, allow_hyphen_values = true)]
    lr: f64,

    /// Where to start
    #[arg(long, value_name = "X", default_value_t = 2.0)]
    #[arg(value_parser = finite, allow_hyphen_values = true)]
    start: f64,

    /// Print one JSON object per optimizer instead of tables, and nothing else
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = concat!(
    cli::device_help!(),
    "
JSON keys:
  optimizer      adam, slides_nadam (the deck's), nadam_optax or nadam_torch
  learning_rate
  trajectory     x before the first step and after each

Exit status:
  0  all went well
  1  the output could not be written
  2  the command line is wrong"
);

fn finite(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        // Its square is finite, too.
        Ok(x) if x.abs() <= 1e100 => Ok(x),
        _ => Err("a start is a number up to 1e100, for example 2.0"),
    }
}

/// One number to optimize.
#[derive(Module, Debug)]
struct Point {
    x: Param<Tensor<1>>,
}

impl Point {
    fn new(x: f64, device: &Device) -> Self {
        Self {
            x: Param::from_data([x], device),
        }
    }

    fn loss(&self) -> Tensor<1> {
        self.x.val().square().sum()
    }

    fn value(&self) -> f64 {
        self.x.val().into_scalar()
    }
}

#[derive(Serialize)]
struct Report {
    optimizer: &'static str,
    learning_rate: f64,
    trajectory: Vec<f64>,
}

impl Report {
    fn new(args: &Args, optimizer: &'static str, config: OptimizerConfig, device: &Device) -> Self {
        let mut optim = config.try_init().expect("the defaults are valid");
        let mut point = Point::new(args.start, device);
        let mut trajectory = vec![point.value()];
        for _ in 0..args.steps {
            let grads = GradientsParams::from_grads(point.loss().backward(), &point);
            point = optim.step(args.lr, point, grads);
            trajectory.push(point.value());
        }
        Self {
            optimizer,
            learning_rate: args.lr,
            trajectory,
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output, `head` for one, has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(format!("cannot write the output: {error}")),
    }
}

fn run(args: &Args) -> io::Result<()> {
    let optimizers: [(_, OptimizerConfig); 4] = [
        ("adam", AdamConfig::new().into()),
        ("slides_nadam", slides::NAdamConfig::new().into()),
        ("nadam_optax", NAdamConfig::optax().into()),
        ("nadam_torch", NAdamConfig::new().into()),
    ];
    let device = cli::device().autodiff();
    let reports = optimizers.map(|(name, config)| Report::new(args, name, config, &device));
    let mut stdout = io::stdout();
    if args.json {
        for report in &reports {
            writeln!(stdout, "{}", serde_json::to_string(report)?)?;
        }
        return Ok(());
    }

    // With spaces a narrow terminal parts them there.
    let names = reports
        .each_ref()
        .map(|report| report.optimizer.replace('_', " "));
    let [a, b, c, d] = names.each_ref();
    let header = ["Step", a, b, c, d];
    let rows = |first: usize, cell: &dyn Fn(&[f64], usize) -> String| {
        let rows = shown(args.steps as usize, first).into_iter().map(|step| {
            let [a, b, c, d] = reports.each_ref().map(|r| cell(&r.trajectory, step));
            [step.to_string(), a, b, c, d]
        });
        rows.collect::<Vec<_>>()
    };
    writeln!(
        stdout,
        "x on the way down x², learning rate {}:",
        number(args.lr)
    )?;
    let x = rows(0, &|x, step| format!("{:.6}", x[step]));
    writeln!(stdout, "{}", table(header, x))?;
    writeln!(stdout, "\nLength of each step in learning rates:")?;
    let lengths = rows(1, &|x, step| {
        format!("{:.4}", (x[step - 1] - x[step]) / args.lr)
    });
    writeln!(stdout, "{}", table(header, lengths))
}

/// All steps if they are few, else the first ten and then fewer and fewer.
fn shown(last: usize, first: usize) -> Vec<usize> {
    let powers = (1..).map(|power| 10usize.pow(power));
    let later = powers.flat_map(|power| [2, 5, 10].map(|digit| digit * power));
    let mut steps: Vec<usize> = (first..=last.min(10)).collect();
    if last <= 20 {
        steps = (first..=last).collect();
    } else {
        steps.extend(later.take_while(|step| *step < last));
        steps.push(last);
    }
    steps
}
