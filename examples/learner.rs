//! Trains a perceptron on handwritten digits with burn-train, and the driver around every update.
//!
//! ```text
//! cargo run --release --features learner --example learner
//! cargo run --release --features learner --example learner -- --epochs 20 --resume 10
//! cargo run --release --features tui --example learner
//! cargo run --release --features learner --example learner -- --help
//! ```
#![forbid(unsafe_code)]

#[path = "learner/net.rs"]
mod net;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::SupervisedTraining;
use burn::train::checkpoint::KeepLastNCheckpoints;
use burn::train::metric::{AccuracyMetric, LearningRateMetric, LossMetric};
use clap::Parser;
use downhill::optim::AdamWConfig;
use downhill::schedule::{CosineConfig, Schedule, ScheduleError, percent};
use downhill::train::{Averaging, Clipping, Driver, Group, NonFinite};
use downhill_problems::data::{self, Batch, Classification};
use downhill_problems::mlp::MlpConfig;

use net::Net;

/// Trains a perceptron on handwritten digits with burn-train, and the driver around every update.
///
/// AdamW with warmup and cosine, gradients clipped to a norm, a guard against what is not finite, and an
/// exponential moving average, which is what is validated. Metrics and checkpoints are burn-train's.
#[derive(Parser)]
#[command(name = "learner", allow_negative_numbers = true, after_help = AFTER_HELP)]
struct Args {
    /// How often each training sample is seen
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    epochs: u32,

    /// How many epochs the schedule is made for; going on from a checkpoint needs that of before
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    planned: u32,

    /// Training samples per step
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,

    /// The highest learning rate
    #[arg(long, default_value_t = 5e-3)]
    lr: f64,

    /// The norm that gradients are clipped to
    #[arg(long, value_name = "NORM", default_value_t = 1.0)]
    clip: f64,

    /// The decay of the moving average
    #[arg(long, value_name = "DECAY", default_value_t = 0.98)]
    ema: f64,

    /// Goes on from the checkpoint of this epoch
    #[arg(long, value_name = "EPOCH")]
    resume: Option<usize>,

    /// Where checkpoints and logs go
    #[arg(long, value_name = "FOLDER", default_value = "target/learner")]
    folder: PathBuf,
}

const AFTER_HELP: &str = "\
In a terminal, the cargo feature `tui` shows the metrics while it trains.

Exit status:
  0  all went well
  1  the training failed
  2  the command line is wrong";

type Sample = (Vec<f64>, i64);

struct Samples;

impl Batcher<Sample, Batch> for Samples {
    fn batch(&self, samples: Vec<Sample>, device: &Device) -> Batch {
        let count = samples.len();
        let (features, labels): (Vec<Vec<f64>>, Vec<i64>) = samples.into_iter().unzip();
        let features = features.concat();
        let inputs = features.len() / count;
        Batch {
            inputs: Tensor::from_data(TensorData::new(features, [count, inputs]), device),
            targets: Tensor::from_data(TensorData::new(labels, [count]), device),
        }
    }
}

fn loader(data: &Classification, args: &Args) -> Arc<dyn DataLoader<Batch>> {
    let features = data.features().chunks(data.inputs()).map(<[f64]>::to_vec);
    let labels = data.labels().iter().map(|&label| label as i64);
    DataLoaderBuilder::new(Samples)
        .batch_size(args.batch_size as usize)
        .shuffle(42)
        .build(InMemDataset::new(features.zip(labels).collect()))
}

/// Up in the first twentieth, and then down to a hundredth.
fn schedule(args: &Args, samples: usize) -> Result<Schedule, ScheduleError> {
    let steps = samples.div_ceil(args.batch_size as usize) as u64 * u64::from(args.planned);
    let cosine = CosineConfig::new(percent(100.0), percent(100.0)).with_floor(percent(1.0));
    let warm = cosine.schedule().warmup(percent(5.0));
    warm.try_build_for(args.lr, steps)
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let data = data::digits();
    let config = MlpConfig::new(data.train.inputs(), 64, data.train.classes());
    let mlp = config.init(42, &Device::default());
    let schedule = schedule(args, data.train.samples())?;
    let (learner, strategy) = Driver::builder(AdamWConfig::new().init(), schedule)
        .with_clipping(Clipping::global_norm(args.clip))
        .with_non_finite(NonFinite::Skip { max_consecutive: 5 })
        .with_averaging(Averaging::ema(args.ema))
        .with_group(Group::no_decay())
        .learner(Net { mlp })?;
    let strategy = strategy.with_state_folder(args.folder.join("checkpoint"));

    let train = loader(&data.train, args);
    let valid = loader(&data.test, args);
    let mut training = SupervisedTraining::new(&args.folder, train, valid)
        .metrics((LossMetric::new(), AccuracyMetric::new()))
        .metric_train_numeric(LearningRateMetric::new())
        .metric_train_numeric(strategy.grad_norm_metric())
        .metric_train_numeric(strategy.skipped_metric())
        .with_checkpointing_strategy(KeepLastNCheckpoints::new(3))
        .with_default_checkpointers()
        .with_training_strategy(strategy.clone().into())
        .num_epochs(args.epochs as usize)
        .summary();
    if let Some(epoch) = args.resume {
        // burn-train panics where there is none.
        let model = args.folder.join(format!("checkpoint/model-{epoch}.bpk"));
        if !model.exists() {
            return Err(format!(
                "no checkpoint of epoch {epoch}: {} is missing",
                model.display()
            )
            .into());
        }
        training = training.checkpoint(epoch);
    }
    let result = training.launch(learner);
    // The renderer shows the summary when it is dropped.
    drop(result.renderer);
    if let Some(error) = result.error {
        return Err(error.to_string().into());
    }
    if let Some(report) = strategy.last_report() {
        println!("{report}");
    }
    let accuracy = |net: &Net| 100.0 * net.mlp.evaluate(&data.test).accuracy;
    println!("accuracy      {:.2} %", accuracy(&result.model));
    if let Some(averaged) = strategy.averaged() {
        println!("  of the mean {:.2} %", accuracy(&averaged));
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
