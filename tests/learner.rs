//! A schedule in burn-train's `Learner`: training that was interrupted and resumed from its
//! checkpoint goes on as if nothing had happened.
#![cfg(feature = "flex")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::module::Module;
use burn::tensor::Device;
use burn::train::checkpoint::KeepLastNCheckpoints;
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::MetricDefinition;
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use burn::train::{
    ClassificationOutput, InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep,
};
use common::values_of;
use downhill::optim::NAdamConfig;
use downhill::problems::data::{self, Batch, Classification};
use downhill::problems::mlp::{Mlp, MlpConfig};
use downhill::problems::numpy::RandomState;
use downhill::schedule::{CosineConfig, Schedule, Scheduler, percent};

const EPOCHS: usize = 2;
const BATCH_SIZE: usize = 32;

#[derive(Module, Debug)]
struct Net {
    mlp: Mlp,
}

impl Net {
    fn classify(&self, batch: Batch) -> ClassificationOutput {
        let output = self.mlp.forward(batch.inputs.clone());
        ClassificationOutput::new(self.mlp.loss(&batch), output, batch.targets)
    }
}

impl TrainStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let output = self.classify(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl InferenceStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(batch)
    }
}

/// Whole batches, which are made once, in one order.
struct Ready;

impl Batcher<Batch, Batch> for Ready {
    fn batch(&self, batches: Vec<Batch>, device: &Device) -> Batch {
        let batch = batches.into_iter().next().expect("one at a time");
        Batch {
            inputs: batch.inputs.to_device(device),
            targets: batch.targets.to_device(device),
        }
    }
}

fn loader(data: &Classification, device: &Device) -> (Arc<dyn DataLoader<Batch>>, u64) {
    let batches: Vec<Batch> = data
        .batches(BATCH_SIZE, &mut RandomState::new(0), device)
        .collect();
    let count = batches.len() as u64;
    let loader = DataLoaderBuilder::new(Ready)
        .batch_size(1)
        .build(InMemDataset::new(batches));
    (loader, count)
}

/// A scheduler that keeps the rates which it was asked for.
#[derive(Clone)]
struct Observed {
    scheduler: Scheduler,
    rates: Arc<Mutex<Vec<f64>>>,
}

impl LrScheduler for Observed {
    fn step(&mut self) -> f64 {
        let rate = self.scheduler.step();
        self.rates.lock().unwrap().push(rate);
        rate
    }
    fn to_record(&self) -> LrSchedulerRecord {
        self.scheduler.to_record()
    }
    fn load_record(&mut self, record: LrSchedulerRecord) {
        self.scheduler.load_record(record);
    }
}

/// Burn's own prints a line for every batch.
struct Silent;

impl MetricsRendererTraining for Silent {
    fn update_train(&mut self, _: MetricState) {}
    fn update_valid(&mut self, _: MetricState) {}
}

impl MetricsRendererEvaluation for Silent {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl TrainingProgressLogger for Silent {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}
    fn update_epoch(&mut self, _: usize) {}
    fn start_split(&mut self, _: &str, _: usize) {}
    fn update_split(&mut self, _: usize) {}
    fn end_split(&mut self) {}
    fn end(&mut self) {}
    fn log_event_training(&mut self, _: String) {}
}

impl EvaluationProgressLogger for Silent {
    fn start_global_progress(&mut self, _: usize) {}
    fn start_test(&mut self, _: &str, _: usize) {}
    fn update_test_progress(&mut self, _: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRenderer for Silent {
    fn manual_close(&mut self) {}
    fn register_metric(&mut self, _: MetricDefinition) {}
}

struct Run<'a> {
    folder: &'a Path,
    schedule: &'a Schedule,
    epochs: usize,
    /// The epoch whose checkpoint it goes on from.
    resumed: Option<usize>,
}

impl Run<'_> {
    /// The trained model's parameters, its accuracy, and the rates on the way.
    fn train(&self) -> (Vec<f64>, f64, Vec<f64>) {
        let device = Device::flex();
        let data = data::digits();
        let config = MlpConfig::new(data.train.inputs(), 32, data.train.classes());
        let mlp = config.init(42, &device.clone().autodiff());
        let (train, _) = loader(&data.train, &device);
        let (test, _) = loader(&data.test, &device);
        let observed = Observed {
            scheduler: self.schedule.scheduler(),
            rates: Arc::default(),
        };
        let rates = Arc::clone(&observed.rates);
        let learner = Learner::new(Net { mlp }, NAdamConfig::new().init(), observed);
        let mut training = SupervisedTraining::new(self.folder, train, test)
            .with_application_logger(None)
            .renderer(Box::new(Silent))
            .with_checkpointing_strategy(KeepLastNCheckpoints::new(EPOCHS))
            .with_default_checkpointers()
            .num_epochs(self.epochs);
        if let Some(epoch) = self.resumed {
            training = training.checkpoint(epoch);
        }
        let result = training.launch(learner);
        assert!(result.error.is_none(), "{:?}", result.error);
        let accuracy = result.model.mlp.evaluate(&data.test).accuracy;
        let rates = rates.lock().unwrap().clone();
        (values_of(&result.model), accuracy, rates)
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("learner")
        .join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn steps_per_epoch() -> u64 {
    loader(&data::digits().train, &Device::flex()).1
}

/// Warmup over the first tenth, and then a cosine to the end.
fn schedule(steps: u64) -> Schedule {
    let cosine = CosineConfig::new(percent(100.0), percent(100.0)).with_floor(percent(1.0));
    cosine
        .schedule()
        .warmup(percent(10.0))
        .try_build_for(2e-2, steps)
        .unwrap()
}

#[test]
fn an_interrupted_training_ends_where_an_uninterrupted_one_does() {
    let steps = EPOCHS as u64 * steps_per_epoch();
    let schedule = schedule(steps);
    let run = |folder, epochs, resumed| {
        let schedule = &schedule;
        Run {
            folder,
            schedule,
            epochs,
            resumed,
        }
        .train()
    };
    let (uninterrupted, interrupted) = (folder("uninterrupted"), folder("interrupted"));
    let (whole, accuracy, rates) = run(&uninterrupted, EPOCHS, None);
    // One rate for each update: the schedule's.
    let expected: Vec<f64> = (0..steps).map(|step| schedule.value(step)).collect();
    assert_eq!(rates, expected);
    assert!(accuracy > 0.9, "{accuracy}");

    let (half, _, first) = run(&interrupted, 1, None);
    let (resumed, _, second) = run(&interrupted, EPOCHS, Some(1));
    assert_eq!([first, second].concat(), expected);
    assert_eq!(resumed, whole);
    assert_ne!(half, whole);
}

/// Burn's own schedulers go on at the wrong place without a word when the run has become longer.
#[test]
#[should_panic(expected = "the record was made by another schedule")]
fn a_checkpoint_of_another_schedule_is_refused() {
    let folder = folder("other");
    let steps = steps_per_epoch();
    let run = |schedule: &Schedule, resumed: Option<usize>| {
        let folder = &folder;
        Run {
            folder,
            schedule,
            epochs: resumed.map_or(1, |epoch| epoch + 1),
            resumed,
        }
        .train()
    };
    run(&schedule(steps), None);
    run(&schedule(2 * steps), Some(1));
}
