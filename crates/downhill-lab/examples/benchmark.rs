//! Optimizers compared on networks of several sizes: slide 13 of the deck.
//!
//! ```text
//! cargo run --release --example benchmark
//! cargo run --release --example benchmark -- --size 50 --optimizer nadam,slides_nadam --plot b.svg
//! cargo run --release --example benchmark -- --help
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
    time::{Duration, Instant},
};

use burn::{optim::GradientsParams, tensor::Device};
use clap::Parser;
use downhill_problems::{
    data::{Batch, Classification},
    mlp::{Mlp, MlpConfig},
    numpy::RandomState,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use cli::{fail, learning_rate, number, table};
use downhill_plot::PlotFile;
use figure::{Losses, Panel};
use optimizers::Choice;

/// Optimizers compared on networks of several sizes: slide 13 of the deck.
///
/// For each size n a network with n inputs, 2n hidden units of tanh and 3 classes is trained on 1000
/// samples of random numbers with random labels: there is nothing to learn but the samples by heart,
/// and a network that has not learnt has the loss ln 3 = 1.0986. Every optimizer starts from the same
/// weights and sees the same batches, and the same seed gives the same losses again.
#[derive(Parser)]
#[command(name = "benchmark", allow_negative_numbers = true, after_help = after_help())]
struct Args {
    /// Optimizers to compare, separated by commas (listed below)
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "sgd,momentum,adam,nadam,adafactor,rmsprop,adagrad"
    )]
    #[arg(value_parser = Choice::by_name)]
    optimizer: Vec<Choice>,

    /// Learning rate of all optimizers [default: each one's own]
    #[arg(long, value_parser = learning_rate, allow_hyphen_values = true)]
    lr: Option<f64>,

    /// Inputs of the networks, separated by commas
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "10,50,100"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    size: Vec<u32>,

    /// How often each sample is seen
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    epochs: u32,

    /// Samples to learn
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
    samples: u32,

    /// Samples per step
    #[arg(long, value_name = "N", default_value_t = 32)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,

    /// Decides the samples and the initial weights
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u32,

    /// Draw the loss of each epoch into this file
    #[arg(long, value_name = "FILE.svg|FILE.png")]
    plot: Option<PlotFile>,

    /// Print one JSON object per size and optimizer instead of tables, and nothing else
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    Choice::help(true)
        + "
The deck's program does not run. Its SGD has no method `update`; and it has one
optimizer object, with one state, for all four weights of a network. After the
first weight, of shape (10, 20), the bias (1, 20) silently becomes (10, 20) by
broadcasting, and the third weight, (20, 3), is an error (\"operands could not be
broadcast together with shapes (10,20) (20,3)\"). Were all shapes the same, nothing
would fail, and the weights would share a mean: two weights whose gradients are
always 1 and -1, under one Adam, move by 1, -0.053, 0.336 and -0.053 learning
rates in turn instead of by 1 and -1. Here each weight has a state of its own.

Columns:
  Final loss          mean cross-entropy of all samples at the end
  Time                of the training steps
  Epochs to converge  the first epoch whose loss is at most 1.1 times the lowest
  On the slide        the deck's \"epochs to converge\": the number of such epochs,
                      which is largest for an optimizer that gets nowhere

" + cli::device_help!()
        + "
JSON keys:
  size, optimizer, learning_rate, epochs, seed
  final_loss, seconds, epochs_to_converge
  epochs_near_lowest  the column \"On the slide\"
  losses              after each epoch

Exit status:
  0  all went well
  1  a run failed, for example because its loss became infinite
  2  the command line is wrong"
}

/// The data and the network of one size.
struct Problem {
    data: Classification,
    batches: Vec<Batch>,
    model: Mlp,
}

impl Problem {
    fn new(args: &Args, size: u32, device: &Device) -> Self {
        let (inputs, samples) = (size as usize, args.samples as usize);
        let mut random = RandomState::new(args.seed);
        let features = random.randn(samples * inputs);
        let labels = random.randint(0, CLASSES, samples);
        let labels = labels.expect("three classes are not an empty range");
        let labels: Vec<usize> = labels.into_iter().map(|label| label as usize).collect();
        let config = MlpConfig::new(inputs, 2 * inputs, CLASSES as usize);
        let model = config.init_normal(0.01, &mut random, device);

        let data = |features: &[f64], labels: &[usize]| {
            let data = Classification::new(inputs, features.to_vec(), labels.to_vec());
            data.expect("as many features as the labels ask for")
        };
        // Always the same batches, in the samples' order: the deck does not shuffle.
        let batch_size = args.batch_size as usize;
        let batches = features
            .chunks(batch_size.saturating_mul(inputs))
            .zip(labels.chunks(batch_size))
            .map(|(features, labels)| data(features, labels).batch(device))
            .collect();
        Self {
            data: data(&features, &labels),
            batches,
            model,
        }
    }
}

const CLASSES: i64 = 3;

/// What is reported about one optimizer at one size.
#[derive(Serialize)]
struct Report {
    size: u32,
    optimizer: &'static str,
    learning_rate: f64,
    epochs: u32,
    seed: u32,
    final_loss: f64,
    seconds: f64,
    epochs_to_converge: usize,
    epochs_near_lowest: usize,
    losses: Vec<f64>,
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
    let mut stdout = io::stdout();
    let mut code = ExitCode::SUCCESS;
    let progress = progress_bar(args);
    let mut panels = Vec::new();
    for (i, &size) in args.size.iter().enumerate() {
        let problem = Problem::new(args, size, &device);
        let mut rows = Vec::new();
        let mut curves = Vec::new();
        for choice in &args.optimizer {
            let name = choice.name;
            progress.set_message(format!("size {size}, {name}"));
            let mut losses = Vec::new();
            let result = train(args, &problem, choice, &mut losses, &progress);
            match result {
                Err(message) => {
                    let message = format!("size {size}, {name}: {message}");
                    code = progress.suspend(|| fail(message));
                    let lr = number(args.lr.unwrap_or(choice.lr));
                    rows.push([name, &lr, "failed", "", "", ""].map(str::to_string));
                }
                Ok(time) => {
                    let report = Report::new(args, size, choice, &losses, time);
                    if args.json {
                        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
                    }
                    rows.push(report.row());
                }
            }
            curves.push(losses);
        }
        if !args.json {
            let text = format!(
                "{}Size {size}: network {size}-{}-{CLASSES}, {} epoch{} of {} samples\n{}",
                if i > 0 { "\n" } else { "" },
                2 * size,
                args.epochs,
                if args.epochs == 1 { "" } else { "s" },
                args.samples,
                table(HEADER, rows)
            );
            progress.suspend(|| writeln!(stdout, "{text}"))?;
        }
        panels.push(Panel {
            title: format!("Size {size}"),
            curves,
        });
    }
    progress.finish_and_clear();

    if let Some(file) = &args.plot {
        let names = args.optimizer.iter().map(|choice| choice.name.to_string());
        let figure = Losses {
            title: "Training loss on random labels".to_string(),
            y: "Mean cross-entropy (log scale)",
            names: names.collect(),
            size: (160 + 400 * panels.len() as u32, 480),
            panels,
        };
        if let Err(error) = file.draw_figure(&figure) {
            code = fail(format!("cannot write {file}: {error}"));
        }
    }
    Ok(code)
}

/// Trains a copy of the problem's network and returns how long the steps took. `losses` has the loss
/// of each epoch, also if the training fails.
fn train(
    args: &Args,
    problem: &Problem,
    choice: &Choice,
    losses: &mut Vec<f64>,
    progress: &ProgressBar,
) -> Result<Duration, String> {
    let lr = args.lr.unwrap_or(choice.lr);
    let mut optim = choice
        .config
        .try_init()
        .map_err(|error| error.to_string())?;
    let mut model = problem.model.clone();
    let mut time = Duration::ZERO;
    for epoch in 1..=args.epochs {
        let start = Instant::now();
        for batch in &problem.batches {
            let grads = GradientsParams::from_grads(model.loss(batch).backward(), &model);
            model = optim.step(lr, model, grads);
        }
        time += start.elapsed();
        let loss = model.evaluate(&problem.data).loss;
        if !loss.is_finite() {
            progress.inc(u64::from(args.epochs - epoch + 1));
            return Err(format!(
                "the loss became {loss} in epoch {epoch}; a learning rate below {} may help (--lr)",
                number(lr)
            ));
        }
        losses.push(loss);
        progress.inc(1);
    }
    Ok(time)
}

const HEADER: [&str; 6] = [
    "Optimizer",
    "Learning rate",
    "Final loss",
    "Time",
    "Epochs to converge",
    "On the slide",
];

impl Report {
    fn new(args: &Args, size: u32, choice: &Choice, losses: &[f64], time: Duration) -> Self {
        let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
        let near = |loss: &&f64| **loss <= 1.1 * lowest;
        Self {
            size,
            optimizer: choice.name,
            learning_rate: args.lr.unwrap_or(choice.lr),
            epochs: args.epochs,
            seed: args.seed,
            final_loss: losses[losses.len() - 1],
            seconds: time.as_secs_f64(),
            epochs_to_converge: 1 + losses.iter().take_while(|loss| !near(loss)).count(),
            epochs_near_lowest: losses.iter().filter(near).count(),
            losses: losses.to_vec(),
        }
    }

    fn row(&self) -> [String; 6] {
        [
            self.optimizer.to_string(),
            number(self.learning_rate),
            match self.final_loss {
                loss if (1e-3..1e3).contains(&loss) => format!("{loss:.4}"),
                loss => number(loss),
            },
            // A narrow terminal must not part a number from its unit.
            format!("{:.2}\u{a0}s", self.seconds),
            self.epochs_to_converge.to_string(),
            self.epochs_near_lowest.to_string(),
        ]
    }
}

/// On standard error, and only if that is a terminal.
fn progress_bar(args: &Args) -> ProgressBar {
    let runs = args.size.len() as u64 * args.optimizer.len() as u64;
    let style = ProgressStyle::with_template("{msg:<26} {wide_bar} {percent:>3} %  {eta} left");
    ProgressBar::new(runs * u64::from(args.epochs))
        .with_style(style.expect("the template is a constant"))
}
