//! A training of several processes, each with a share of the samples.
//!
//! ```text
//! cargo build --release --features mpi --example distributed
//! mpirun -n 2 target/release/examples/distributed
//! mpirun -n 2 target/release/examples/distributed --shard-state
//! mpirun -n 2 target/release/examples/distributed --local-updates 20
//! mpirun -n 2 target/release/examples/distributed --problem transformer --folder checkpoints
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use clap::{Parser, ValueEnum};
use downhill::optim::AdamWConfig;
use downhill::schedule::{CosineConfig, percent};
use downhill::train::checkpoint::Checkpoints;
use downhill::train::{Clipping, Driver, Exchange, LocalUpdates, MicroBatch, Mpi};
use downhill_problems::mlp::MlpConfig;
use downhill_problems::numpy::RandomState;
use downhill_problems::{CharTransformer, Classifier, Part, Problem, by_name, data};
use indicatif::{ProgressBar, ProgressStyle};

/// Trains a model on several processes, each with a share of every batch.
///
/// Run it under mpirun or srun; alone it is a training of one process. Each update is made by all of them with the mean
/// of their gradients, unless they train by themselves between two meetings (--local-updates).
#[derive(Clone, Parser)]
#[command(name = "distributed", allow_negative_numbers = true, after_help = AFTER_HELP)]
struct Args {
    /// What is learned
    #[arg(long, value_enum, default_value_t = Task::Digits)]
    problem: Task,

    /// Updates in all
    #[arg(long, value_name = "N", default_value_t = 600)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    updates: u64,

    /// Samples of an update, of all processes together
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,

    /// The highest learning rate
    #[arg(long, default_value_t = 3e-3)]
    lr: f64,

    /// Each process trains by itself, and they meet after so many updates (DiLoCo)
    #[arg(long, value_name = "H")]
    local_updates: Option<u32>,

    /// With --local-updates: what they exchange travels in 16 bits
    #[arg(long, requires = "local_updates")]
    bf16: bool,

    /// Each process keeps the optimizer's state of a share of the parameters
    #[arg(long, conflicts_with = "local_updates")]
    shard_state: bool,

    /// Saves checkpoints here, and goes on from the last one
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,

    /// Updates between two checkpoints
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    save_every: u64,

    /// How long a process waits for the others, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    #[arg(value_parser = seconds)]
    timeout: f64,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Task {
    /// A perceptron reads handwritten digits
    Digits,
    /// A transformer predicts the next character of a book
    Transformer,
}

const AFTER_HELP: &str = "\
Exit status:
  0  all went well
  1  this process failed, or another one did not come
  2  the command line is wrong";

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=1e6).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number from 0.1 to 1000000".to_owned()),
    }
}

/// Where one process is.
struct Place {
    rank: usize,
    size: usize,
}

impl Place {
    /// Its share of a batch; shares differ by at most one sample.
    fn share<'a>(&self, batch: &'a [usize]) -> &'a [usize] {
        let at = |rank| batch.len() * rank / self.size;
        &batch[at(self.rank)..at(self.rank + 1)]
    }

    fn is_first(&self) -> bool {
        self.rank == 0
    }
}

/// A driver for the model, beside the other processes.
fn bind(args: &Args, model: &impl Module, exchange: Mpi) -> Result<Driver, Box<dyn Error>> {
    let cosine = CosineConfig::new(percent(100.0), percent(100.0)).with_floor(percent(1.0));
    let warm = cosine.schedule().warmup(percent(5.0));
    let schedule = warm.try_build_for(args.lr, args.updates)?;
    let mut builder = Driver::builder(AdamWConfig::new().init(), schedule)
        .with_clipping(Clipping::global_norm(1.0))
        .with_exchange(exchange);
    if args.shard_state {
        builder = builder.with_sharded_state();
    }
    if let Some(every) = args.local_updates {
        let local = LocalUpdates::new(every);
        builder = builder.with_local_updates(if args.bf16 { local.with_bf16() } else { local });
    }
    Ok(builder.bind(model)?)
}

/// Trains, and tells of it on the first process.
fn train<P: Problem>(
    problem: &P,
    args: &Args,
    place: &Place,
    mut model: P::Model,
    driver: &mut Driver,
) -> Result<(), Box<dyn Error>> {
    let device = Device::default().autodiff();
    let samples = problem.info().samples;
    let batch_size = args.batch_size as usize;
    let updates_per_epoch = (samples / batch_size) as u64;
    if batch_size < place.size || updates_per_epoch == 0 {
        return Err(format!(
            "a batch of {batch_size} has to have a sample for each of {} processes, and there are {samples} samples",
            place.size
        )
        .into());
    }
    let folder = args.folder.as_ref();
    let folder = folder.map(|folder| Checkpoints::new(folder).keep_last(2));
    if let Some(folder) = &folder
        && let Some(file) = folder.latest()?
    {
        model = driver.load(model, file).map_err(|error| error.cause)?;
    }
    let begun = driver.updates();
    let bar = progress_bar(args.updates, place);
    let (sent, start) = (driver.sent(), Instant::now());
    let mut batches = None;
    for update in begun..args.updates {
        // From the number of the update follows the place in the data.
        let (epoch, at) = (update / updates_per_epoch, update % updates_per_epoch);
        let (_, order) = batches
            .take_if(|(of, _)| *of == epoch)
            .unwrap_or_else(|| (epoch, RandomState::new(epoch as u32).permutation(samples)));
        let whole = &order[at as usize * batch_size..][..batch_size];
        let share = place.share(whole);
        let loss = problem.loss(&model, &problem.batch(share, &device));
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let batch = MicroBatch::new(grads)
            .with_samples(share.len() as u64)
            .with_loss(loss.into_scalar());
        batches = Some((epoch, order));
        (model, _) = driver.step(model, batch)?;
        let done = update + 1;
        bar.set_position(done);
        if let Some(folder) = &folder
            && (done.is_multiple_of(args.save_every) || done == args.updates)
        {
            folder.save(driver, &model, None)?;
        }
    }
    bar.finish_and_clear();
    let (time, sent) = (start.elapsed(), driver.sent() - sent);
    report(
        problem,
        &model,
        driver,
        place,
        (args.updates.saturating_sub(begun), time, sent),
    )
}

/// A line of each process, and the model's quality from the first.
fn report<P: Problem>(
    problem: &P,
    model: &P::Model,
    driver: &Driver,
    place: &Place,
    (updates, time, sent): (u64, Duration, u64),
) -> Result<(), Box<dyn Error>> {
    let Place { rank, size } = place;
    let states = driver.states()?;
    let bytes: usize = (states.iter())
        .flat_map(|(_, state)| state.tensors.values())
        .map(|data| data.as_bytes().len())
        .sum();
    let count = states.iter().count();
    let s = if count == 1 { "" } else { "s" };
    println!(
        "rank {rank} of {size}: states of {count} parameter{s} ({:.1} KiB), sent {:.1} KiB per update",
        bytes as f64 / 1024.0,
        sent as f64 / 1024.0 / updates.max(1) as f64,
    );
    if place.is_first() {
        let evaluation = problem.evaluate(&model.valid(), Part::Test);
        let info = problem.info();
        let metric = info.metric.map_or("loss".to_owned(), |metric| metric.name);
        let value = evaluation.metric.unwrap_or(evaluation.loss);
        let each = 1e3 * time.as_secs_f64() / updates.max(1) as f64;
        println!("{updates} updates of {each:.2} ms, test {metric} {value:.4}");
    }
    Ok(())
}

/// On the first process, and only if its standard error is a terminal.
fn progress_bar(updates: u64, place: &Place) -> ProgressBar {
    if !place.is_first() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} update {pos}/{len}");
    ProgressBar::new(updates).with_style(style.expect("the template is a constant"))
}

fn run<P: Problem>(problem: P, args: &Args, exchange: Mpi) -> ExitCode {
    let place = Place {
        rank: exchange.rank(),
        size: exchange.size(),
    };
    let Place { rank, size } = place;
    println!("rank {rank} of {size}: process {}", process::id());
    let failed = |error: &dyn Error| {
        eprintln!("error: rank {rank}: {error}");
        ExitCode::FAILURE
    };
    // The same in every process, which the driver makes sure of.
    let model = problem.init(42, &Device::default().autodiff());
    let mut driver = match bind(args, &model, exchange) {
        Ok(driver) => driver,
        Err(error) => return failed(&*error),
    };
    // It is printed before the others hear that this one has left.
    match train(&problem, args, &place, model, &mut driver) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let exchange = match Mpi::init() {
        Ok(exchange) => exchange.with_timeout(Duration::from_secs_f64(args.timeout)),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match args.problem {
        Task::Digits => {
            let info = by_name("digits-mlp")
                .expect("it is one of all")
                .info()
                .clone();
            let mlp = MlpConfig::new(64, 64, 10);
            let digits = Classifier::new(info, &data::digits(), mlp);
            run(
                digits.expect("digits have 64 pixels and 10 classes"),
                &args,
                exchange,
            )
        }
        Task::Transformer => run(CharTransformer::alice(), &args, exchange),
    }
}
