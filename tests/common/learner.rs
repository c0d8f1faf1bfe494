//! A training by burn-train: a model, its data, and a renderer.
#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::tensor::Device;
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, NumericEntry};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use downhill_problems::data::{self, Batch, Classification};
use downhill_problems::mlp::MlpConfig;
use downhill_problems::numpy::RandomState;

const BATCH_SIZE: usize = 32;

/// A perceptron for the digits, as the example gives it to burn-train.
#[path = "../../examples/learner/net.rs"]
mod net;
pub use net::Net;

impl Net {
    pub fn new(device: &Device) -> Self {
        let data = data::digits().train;
        let config = MlpConfig::new(data.inputs(), 32, data.classes());
        let mlp = config.init(42, device);
        Self { mlp }
    }
}

/// Whole batches, which are made once, in one order.
pub struct Ready;

impl Batcher<Batch, Batch> for Ready {
    fn batch(&self, batches: Vec<Batch>, device: &Device) -> Batch {
        let batch = batches.into_iter().next().expect("one at a time");
        Batch {
            inputs: batch.inputs.to_device(device),
            targets: batch.targets.to_device(device),
        }
    }
}

/// The batches of the data, in one order.
pub fn batches(data: &Classification, device: &Device) -> Vec<Batch> {
    data.batches(BATCH_SIZE, &mut RandomState::new(0), device)
        .collect()
}

/// A loader of ready batches.
pub fn loader_of(batches: Vec<Batch>) -> Arc<dyn DataLoader<Batch>> {
    DataLoaderBuilder::new(Ready)
        .batch_size(1)
        .build(InMemDataset::new(batches))
}

/// A loader of the data, and how many batches it has.
pub fn loader(data: &Classification, device: &Device) -> (Arc<dyn DataLoader<Batch>>, u64) {
    let batches = batches(data, device);
    let count = batches.len() as u64;
    (loader_of(batches), count)
}

/// Keeps the numeric metrics of the training split. Burn's own renderer prints a line for every batch.
#[derive(Clone, Default)]
pub struct Screen {
    pub shown: Arc<Mutex<Vec<Shown>>>,
}

/// A metric's id, and its value if it has one.
pub type Shown = (String, Option<NumericEntry>);

impl MetricsRendererTraining for Screen {
    fn update_train(&mut self, state: MetricState) {
        if let MetricState::Numeric(entry, value) = state {
            let name = format!("{:?}", entry.metric_id);
            self.shown.lock().unwrap().push((name, value));
        }
    }
    fn update_valid(&mut self, _: MetricState) {}
}

impl MetricsRendererEvaluation for Screen {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl TrainingProgressLogger for Screen {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}
    fn update_epoch(&mut self, _: usize) {}
    fn start_split(&mut self, _: &str, _: usize) {}
    fn update_split(&mut self, _: usize) {}
    fn end_split(&mut self) {}
    fn end(&mut self) {}
    fn log_event_training(&mut self, _: String) {}
}

impl EvaluationProgressLogger for Screen {
    fn start_global_progress(&mut self, _: usize) {}
    fn start_test(&mut self, _: &str, _: usize) {}
    fn update_test_progress(&mut self, _: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRenderer for Screen {
    fn manual_close(&mut self) {}
    fn register_metric(&mut self, _: MetricDefinition) {}
}

/// An empty folder for a test.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("learner")
        .join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}
