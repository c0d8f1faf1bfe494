//! Trains a small neural network with several optimizers and compares them.
//!
//! ```text
//! cargo run --release --example mlp
//! cargo run --release --example mlp -- --optimizer sgd,adam --lr 0.01 --plot loss.svg
//! cargo run --release --example mlp -- --help
//! ```
#![forbid(unsafe_code)]

#[path = "mlp/device.rs"]
mod device;
#[path = "mlp/plot.rs"]
mod plot;
#[path = "mlp/save.rs"]
mod save;
#[path = "mlp/schedule.rs"]
mod schedule;

use std::{
    fmt::{self, Display},
    fs,
    io::{self, ErrorKind, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use burn::{module::Module, optim::GradientsParams, tensor::Device};
use clap::{CommandFactory, Parser, error::ErrorKind as UsageError};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use downhill::{
    optim::{OptimizerConfig, state_bytes},
    schedule::{PlateauScheduler, ReduceOnPlateauConfig, ScheduleConfig},
    train::{Averaging, Clipping, Driver, MicroBatch, NonFinite},
};
use downhill_plot::number;
use downhill_problems::{
    data::{DataSource, Split},
    mlp::{Mlp, MlpConfig},
    numpy::RandomState,
};
use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use device::{DeviceName, Unavailable};
use plot::{Curve, PlotFile, draw_losses};
use save::Saves;
use schedule::{Plan, Rates};

/// Trains a small neural network with several optimizers and compares them.
///
/// The network is a multi-layer perceptron with one hidden layer of tanh units. It learns to
/// classify handwritten digits, or data of your own. Every optimizer starts from the same
/// weights and sees the same batches, and the same seed gives the same numbers again.
#[derive(Parser)]
#[command(name = "mlp", allow_negative_numbers = true, after_help = after_help())]
struct Args {
    /// Optimizers to compare, separated by commas (listed below)
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "sgd,adam,nadam"
    )]
    #[arg(value_parser = OptimizerConfig::by_name)]
    optimizer: Vec<OptimizerConfig>,

    /// One optimizer with settings of your own, as JSON, e.g. {"name": "adam", "beta_1": 0.8}
    #[arg(long, value_name = "FILE.json", conflicts_with = "optimizer", value_parser = read_config)]
    config: Option<OptimizerConfig>,

    /// Learning rate of all optimizers [default: each one's own]
    #[arg(long, value_parser = learning_rate, allow_hyphen_values = true)]
    lr: Option<f64>,

    /// How the learning rate changes from step to step (listed below) [default: not at all]
    #[arg(long, value_name = "NAME", value_parser = Plan::by_name)]
    schedule: Option<Plan>,

    /// A schedule with settings of your own, as JSON, e.g. {"name": "step", "gamma": 0.5}. The first
    /// line of the output says how many steps an epoch has
    #[arg(long, value_name = "FILE.json", conflicts_with = "schedule", value_parser = Plan::read)]
    schedule_config: Option<Plan>,

    /// How often each training sample is seen
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,

    /// Training samples per step
    #[arg(long, value_name = "N", default_value_t = 32)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,

    /// Units of the hidden layer
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65536))]
    hidden: u32,

    /// Decides the initial weights and the order of the samples
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u32,

    /// What to learn: digits (handwritten, 8x8 pixels), deck (random numbers: nothing to learn),
    /// or csv:PATH (rows of numbers, the class 0, 1, ... in the last column)
    #[arg(long, value_name = "digits|deck|csv:PATH", default_value = "digits")]
    data: DataSource,

    /// What to compute on; all but flex need a cargo feature of the same name [default: the first
    /// of cuda, metal, rocm, vulkan, webgpu, wgpu, cpu, flex, ndarray that was compiled in]
    #[arg(long, value_name = "NAME")]
    device: Option<DeviceName>,

    /// Scale the gradients of a step down to this norm if theirs, all together, is larger
    #[arg(long, value_name = "NORM", value_parser = norm, allow_hyphen_values = true)]
    clip: Option<f64>,

    /// Test an exponential moving average of the weights with this decay per step, instead of the
    /// weights themselves
    #[arg(long, value_name = "DECAY", value_parser = decay, allow_hyphen_values = true)]
    ema: Option<f64>,

    /// Save a checkpoint after each epoch, in a folder of DIR for each optimizer; the last two stay,
    /// and the one with the lowest training loss
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,

    /// Go on from the last checkpoints in DIR: the results are those of a training that was not
    /// interrupted. An optimizer that has none starts from the beginning; it is an error if none has
    /// one
    #[arg(long, requires = "save")]
    resume: bool,

    /// Draw the training loss of each epoch into this file
    #[arg(long, value_name = "FILE.svg|FILE.png")]
    plot: Option<PlotFile>,

    /// Print one JSON object per optimizer instead of a table, and nothing else
    #[arg(long)]
    json: bool,
}

impl Args {
    fn plan(&self) -> Option<&Plan> {
        self.schedule.as_ref().or(self.schedule_config.as_ref())
    }
}

fn after_help() -> String {
    let mut help = String::from("Optimizers and their default learning rates:\n");
    for info in OptimizerConfig::all() {
        let name = format!("{:<16} {:<6}", info.name, info.default_learning_rate);
        help += &entry(&name, info.description);
    }

    help += "\nSchedules of the learning rate:\n";
    let (alone, others): (Vec<_>, Vec<_>) = ScheduleConfig::all()
        .into_iter()
        .partition(|info| Plan::by_name(info.name).is_ok());
    for info in alone {
        help += &entry(info.name, info.description);
    }
    help += &entry(
        ReduceOnPlateauConfig::NAME,
        "falls by a factor when the training loss has stopped to improve",
    );
    // A function cannot be written into a file.
    let others = others.iter().filter(|info| info.name != "custom");
    let others: Vec<&str> = others.map(|info| info.name).collect();
    help += &entry("in a file also", &others.join(", "));
    help += r#"
The names that PyTorch, optax and Transformers use are understood too, such as
StepLR. In a file, a length is a number of steps or, like "10%", a part of them
all; a rate is a number or a part of the learning rate; schedules can be nested:
  {"name": "warmup", "steps": "5%", "schedule": {"name": "cosine"}}
"#;

    help + "
JSON keys:
  optimizer, device, data, epochs
  schedule           the schedule's settings, with percentages worked out, or null
  train_loss         mean cross-entropy of the training samples at the end
  test_accuracy      share of the test samples that are classified right, 0 to 1
  seconds            time of all training steps
  optimizer_seconds  the part of it spent in the optimizer
  state_bytes        memory that the optimizer keeps between steps
  parameters         numbers that the network learns
  clip, ema          as they were given; with ema test_accuracy is that of the
                     averaged weights

A fifth of the data is set aside for the test.

Exit status:
  0  all went well
  1  a run failed, for example because its loss became infinite
  2  the command line, or a file that it names, is wrong"
}

/// A line of a list, continued below its second column.
fn entry(name: &str, description: &str) -> String {
    let mut lines = String::new();
    let mut line = format!("  {name:<23}");
    for word in description.split_whitespace() {
        if line.len() + 1 + word.len() > 80 {
            lines += &line;
            line = format!("\n{:25}", "");
        }
        line = line + " " + word;
    }
    lines + &line + "\n"
}

fn read_config(path: &str) -> Result<OptimizerConfig, String> {
    let json = fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}"))?;
    OptimizerConfig::from_json(&json).map_err(|error| error.to_string())
}

fn learning_rate(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(lr) if lr.is_finite() && lr > 0.0 => Ok(lr),
        _ => Err("a learning rate is a number above 0, for example 0.001"),
    }
}

fn norm(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(norm) if norm.is_finite() && norm > 0.0 => Ok(norm),
        _ => Err("a norm to clip to is a number above 0, for example 1"),
    }
}

fn decay(text: &str) -> Result<f64, &'static str> {
    match text.parse::<f64>() {
        Ok(decay) if (0.0..1.0).contains(&decay) => Ok(decay),
        _ => Err("a decay is a number from 0 to below 1, for example 0.99"),
    }
}

/// One of the optimizers that are compared.
struct Candidate<'a> {
    optimizer: &'a OptimizerConfig,
    lr: f64,
    rates: Rates,
}

/// What happened during a training, also if it failed.
#[derive(Serialize, Deserialize)]
struct History {
    /// The loss on the training data before the first epoch and after each.
    losses: Vec<f64>,
    lowest_rate: f64,
    highest_rate: f64,
    time: Duration,
    optimizer_time: Duration,
}

impl History {
    fn new(first_rate: f64) -> Self {
        Self {
            losses: Vec::new(),
            lowest_rate: first_rate,
            highest_rate: first_rate,
            time: Duration::ZERO,
            optimizer_time: Duration::ZERO,
        }
    }

    fn add_rate(&mut self, rate: f64) {
        self.lowest_rate = self.lowest_rate.min(rate);
        self.highest_rate = self.highest_rate.max(rate);
    }

    fn rates(&self) -> String {
        let [lowest, highest] = [self.lowest_rate, self.highest_rate].map(number);
        if lowest == highest {
            return highest;
        }
        // On a narrow terminal in two lines.
        format!("{lowest} to\u{a0}{highest}")
    }
}

/// What is reported about one optimizer.
#[derive(Serialize)]
struct Report {
    optimizer: &'static str,
    device: &'static str,
    data: String,
    epochs: u32,
    schedule: Rates,
    train_loss: f64,
    test_accuracy: f64,
    seconds: f64,
    optimizer_seconds: f64,
    state_bytes: usize,
    parameters: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    clip: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ema: Option<f64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Burn has to know before its first tensor.
    downhill::optim::launch_together();
    match run(&args) {
        Ok(code) => code,
        // Whoever read the output, `head` for one, has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(format!("cannot write the output: {error}")),
    }
}

/// Ends like clap does when it finds the mistake itself.
fn usage(message: impl Display) -> ! {
    Args::command()
        .error(UsageError::ValueValidation, message)
        .exit()
}

fn fail(message: impl Display) -> ExitCode {
    // `eprintln!` would panic if standard error is closed.
    let _ = writeln!(io::stderr(), "error: {message}");
    ExitCode::FAILURE
}

fn run(args: &Args) -> io::Result<ExitCode> {
    let optimizers = match &args.config {
        Some(config) => std::slice::from_ref(config),
        None => &args.optimizer,
    };
    let data = args.data.load().unwrap_or_else(|error| usage(error));
    let device_name = args.device.unwrap_or_default();
    let device = match device_name.open() {
        Ok(device) => device.autodiff(),
        Err(error @ Unavailable::NotCompiledIn(_)) => usage(error),
        Err(error) => return Ok(fail(error)),
    };
    let experiment = Experiment {
        args,
        device_name,
        device,
        model: MlpConfig::new(
            data.train.inputs(),
            args.hidden as usize,
            data.train.classes(),
        ),
        data,
    };
    // All of them before the first training, which may take long.
    let candidates: Vec<Candidate> = optimizers
        .iter()
        .map(|optimizer| {
            experiment
                .candidate(optimizer)
                .unwrap_or_else(|error| usage(error))
        })
        .collect();
    if let Some(saves) = Saves::of(args) {
        let names: Vec<&'static str> = optimizers.iter().map(OptimizerConfig::name).collect();
        saves.check(&names).unwrap_or_else(|error| usage(error));
    }

    let mut stdout = io::stdout();
    if !args.json {
        writeln!(stdout, "{experiment}")?;
    }
    let mut code = ExitCode::SUCCESS;
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "Optimizer",
            "Learning rate",
            "Training loss",
            match args.ema {
                None => "Test accuracy",
                Some(_) => "Test accuracy, averaged",
            },
            "Time",
            "Step time",
            "State",
        ]);
    // Some pseudo-terminals say that they have no width at all.
    if table.width().is_some_and(|columns| columns < 40) {
        table.set_width(80);
    }
    let mut curves = Vec::new();
    for candidate in candidates {
        let name = candidate.optimizer.name();
        let mut history = History::new(candidate.rates.first());
        let result = experiment.train(candidate, &mut history);

        let rates = history.rates();
        let failed = if result.is_err() { " (failed)" } else { "" };
        curves.push(Curve {
            name: format!("{name}{failed}"),
            losses: history.losses,
        });
        match result {
            Err(message) => {
                code = fail(format!("{name}: {message}"));
                table.add_row([name, &rates, "failed", "", "", "", ""]);
            }
            Ok(report) if args.json => writeln!(stdout, "{}", serde_json::to_string(&report)?)?,
            Ok(report) => {
                let cells = [
                    number(report.train_loss),
                    format!("{:.1} %", 100.0 * report.test_accuracy),
                    format!("{:.2} s", report.seconds),
                    format!("{:.2} s", report.optimizer_seconds),
                    DecimalBytes(report.state_bytes as u64).to_string(),
                ];
                // A narrow terminal must not part a number from its unit.
                let cells = cells.map(|cell| cell.replace(' ', "\u{a0}"));
                table.add_row([name.to_string(), rates].into_iter().chain(cells));
            }
        }
    }
    if !args.json {
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(stdout, "{table}")?;
    }
    if let Some(file) = &args.plot {
        let mut title = format!("Training loss on {} ({device_name})", args.data);
        if let Some(plan) = args.plan() {
            title += &format!(", schedule {}", plan.name());
        }
        if let Err(error) = draw_losses(file, &title, &curves) {
            code = fail(format!("cannot write {file}: {error}"));
        }
    }
    Ok(code)
}

fn counted(steps: u64) -> String {
    let s = if steps == 1 { "" } else { "s" };
    format!("{} step{s}", HumanCount(steps))
}

/// What all optimizers have in common.
struct Experiment<'a> {
    args: &'a Args,
    device_name: DeviceName,
    device: Device,
    data: Split,
    model: MlpConfig,
}

impl Display for Experiment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MlpConfig {
            inputs,
            hidden,
            classes,
        } = self.model;
        let parameters = self.model.init(0, &self.device).num_params();
        write!(
            f,
            "device {} | {}: {} train, {} test | model {inputs}-{hidden}-{classes}: {} parameters",
            self.device_name,
            self.args.data,
            HumanCount(self.data.train.samples() as u64),
            HumanCount(self.data.test.samples() as u64),
            HumanCount(parameters as u64),
        )?;
        if let Some(plan) = self.args.plan() {
            write!(
                f,
                " | schedule {}: {}, {} per epoch",
                plan.name(),
                counted(self.steps()),
                HumanCount(self.steps_per_epoch()),
            )?;
        }
        if let Some(norm) = self.args.clip {
            write!(f, " | gradients clipped to norm {norm}")?;
        }
        if let Some(decay) = self.args.ema {
            write!(f, " | tested are averaged weights, ema {decay}")?;
        }
        Ok(())
    }
}

impl Experiment<'_> {
    /// The last batch of an epoch may be smaller; it makes a step all the same.
    fn steps_per_epoch(&self) -> u64 {
        let samples = self.data.train.samples() as u64;
        samples.div_ceil(self.args.batch_size.into())
    }

    /// Updates of the optimizer in the whole training.
    fn steps(&self) -> u64 {
        u64::from(self.args.epochs) * self.steps_per_epoch()
    }

    fn candidate<'b>(&self, optimizer: &'b OptimizerConfig) -> Result<Candidate<'b>, String> {
        let lr = self.args.lr.unwrap_or(optimizer.default_learning_rate());
        let rates = match self.args.plan() {
            None => Rates::Constant(lr),
            Some(plan) => {
                let steps = self.steps();
                let rates = plan.rates(lr, steps).map_err(|error| {
                    let (name, steps) = (optimizer.name(), counted(steps));
                    let lr = number(lr);
                    format!(
                        "{}: {error} ({name}, learning rate {lr}, {steps})",
                        plan.option
                    )
                })?;
                if self.args.lr.is_some() && plan.ignores(lr, steps) {
                    return Err(format!(
                        "--lr has no effect on {}, which has rates of its own: {}",
                        plan.option,
                        plan.way_to_use_lr()
                    ));
                }
                rates
            }
        };
        Ok(Candidate {
            optimizer,
            lr,
            rates,
        })
    }

    fn driver(&self, candidate: &Candidate, model: &Mlp) -> Result<Training, String> {
        let optim = candidate.optimizer.try_init();
        let optim = optim.map_err(|error| error.to_string())?;
        let (rate, plateau) = candidate.rates.rate();
        // A loss that is not finite is found at the end of an epoch, with a hint.
        let mut builder = Driver::builder(optim, rate).with_non_finite(NonFinite::Ignore);
        if let Some(norm) = self.args.clip {
            builder = builder.with_clipping(Clipping::global_norm(norm));
        }
        if let Some(decay) = self.args.ema {
            builder = builder.with_averaging(Averaging::ema(decay));
        }
        let driver = builder.bind(model).map_err(|error| error.to_string())?;
        Ok(Training { driver, plateau })
    }

    fn train(&self, candidate: Candidate, history: &mut History) -> Result<Report, String> {
        let (args, data, optimizer) = (self.args, &self.data, candidate.optimizer);
        let mut model = self.model.init(args.seed, &self.device);
        let Training {
            mut driver,
            plateau,
        } = self.driver(&candidate, &model)?;
        let saves = Saves::of(args).map(|saves| saves.of_optimizer(optimizer.name()));
        let mut done = 0;
        if let Some(saves) = &saves {
            (model, done) = saves.resume(&mut driver, model, history)?;
        }
        // The order of an epoch's samples depends on the seed and on how many epochs came before.
        let mut random = RandomState::new(args.seed);
        let size = args.batch_size as usize;
        for _ in 0..done {
            drop(data.train.batches(size, &mut random, &self.device));
        }
        // A device may still be at work when a call returns; a time needs it to be done.
        let wait = || self.device.sync().map_err(|error| error.to_string());

        let progress = progress_bar(optimizer.name(), args.epochs).with_position(done.into());
        let mut train_loss = driver.evaluated(&model).evaluate(&data.train).loss;
        if done == 0 {
            history.losses.push(train_loss);
        }
        for epoch in done + 1..=args.epochs {
            let start = Instant::now();
            for batch in data.train.batches(size, &mut random, &self.device) {
                let loss = model.loss(&batch);
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                let mut batch = MicroBatch::new(gradients);
                // To read it is to wait for it.
                if driver.needs_loss() {
                    batch = batch.with_loss(loss.into_scalar());
                }
                wait()?;
                let step_start = Instant::now();
                let (stepped, report) = driver
                    .step(model, batch)
                    .map_err(|error| error.to_string())?;
                model = stepped;
                wait()?;
                history.optimizer_time += step_start.elapsed();
                history.add_rate(report.learning_rate);
            }
            history.time += start.elapsed();

            train_loss = driver.evaluated(&model).evaluate(&data.train).loss;
            if !train_loss.is_finite() {
                progress.abandon_with_message("failed");
                let hint = self.hint(candidate.lr, history);
                return Err(format!(
                    "the loss became {train_loss} in epoch {epoch}; {hint}"
                ));
            }
            history.losses.push(train_loss);
            if let Some(plateau) = &plateau {
                plateau.observe(train_loss);
            }
            if let Some(saves) = &saves {
                saves.save(&mut driver, &model, epoch, history)?;
            }
            progress.set_message(format!("loss {}", number(train_loss)));
            progress.inc(1);
        }
        progress.finish();

        let tested = match args.ema {
            Some(_) => driver.averaged(&model),
            None => driver.evaluated(&model),
        };
        let state_bytes = state_bytes(driver.optimizer()).map_err(|error| error.to_string())?;
        Ok(Report {
            optimizer: optimizer.name(),
            device: self.device_name.name(),
            data: args.data.to_string(),
            epochs: args.epochs,
            schedule: candidate.rates,
            train_loss,
            test_accuracy: tested.evaluate(&data.test).accuracy,
            seconds: history.time.as_secs_f64(),
            optimizer_seconds: history.optimizer_time.as_secs_f64(),
            state_bytes,
            parameters: model.num_params(),
            clip: args.clip,
            ema: args.ema,
        })
    }

    /// What may help against a loss that is not finite.
    fn hint(&self, lr: f64, history: &History) -> String {
        match self.args.plan() {
            Some(plan) if plan.ignores(lr, self.steps()) => {
                let highest = number(history.highest_rate);
                format!("rates below {highest} may help ({})", plan.option)
            }
            _ => format!("a learning rate below {} may help (--lr)", number(lr)),
        }
    }
}

/// A driver, and the part of it that has to be told the loss.
struct Training {
    driver: Driver,
    plateau: Option<PlateauScheduler>,
}

/// On standard error, and only if that is a terminal.
fn progress_bar(name: &'static str, epochs: u32) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{prefix:<16} {wide_bar} epoch {pos}/{len}  {msg:<14}");
    ProgressBar::new(epochs.into())
        .with_style(style.expect("the template is a constant"))
        .with_prefix(name)
}
