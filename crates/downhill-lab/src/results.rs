//! What a comparison produces: runs, and what they come to.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::source::Source;

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It finds the learning rate.
    Tune,
    /// It is counted, at the learning rate that was found.
    Final,
}

/// Everything that decides what a run computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The problem's name.
    pub problem: String,
    /// The optimizer's settings, with its name.
    pub optimizer: Value,
    /// The schedule's settings; none is a constant rate.
    pub schedule: Option<Value>,
    /// What else the [driver](downhill_train::DriverConfig) is told, such as clipping or averages, by the names of its
    /// settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<Map<String, Value>>,
    /// The learning rate, or the base rate of the schedule.
    pub lr: f64,
    /// Tuning, or counted.
    pub stage: Stage,
    /// Decides the initial weights and the order of the samples.
    pub seed: u32,
    /// Updates in all.
    pub steps: u64,
    /// The backend that it runs on.
    pub device: String,
    /// The version of this library that makes it, [`version`](crate::source::version()). Empty in a file that does
    /// not say it, whose runs are therefore not taken for this version's.
    #[serde(default)]
    pub version: String,
}

/// A loss, and what else is measured. Nothing is known after a divergence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The mean loss.
    pub loss: Option<f64>,
    /// The problem's metric, if it has one: an accuracy, from 0 to 1, for example.
    pub metric: Option<f64>,
}

/// A moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Updates so far.
    pub step: u64,
    /// On the training samples.
    pub train: Score,
    /// On those that choose the learning rate.
    pub validation: Score,
}

/// What a run computed: the same at every repetition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Before the first update, at equal distances, and after the last one; ends at a divergence.
    pub curve: Vec<Point>,
    /// At the end, on samples that nothing was chosen by.
    pub test: Score,
    /// The update after which the loss was no number any more.
    pub diverged_at: Option<u64>,
    /// When the target was reached, on a straight line between the points of the curve around it.
    pub steps_to_target: Option<u64>,
    /// What the optimizer keeps between steps.
    pub state_bytes: u64,
    /// Numbers that are learned.
    pub parameters: u64,
}

/// What a run took: different at every repetition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// All updates, without the evaluations.
    pub seconds: f64,
    /// The part of it that was spent in the optimizer.
    pub optimizer_seconds: f64,
    /// Until the target was reached.
    pub seconds_to_target: Option<f64>,
    /// The most memory that the process had during the run, where the system tells.
    pub peak_bytes: Option<u64>,
}

/// A line of `runs.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What was computed.
    pub trial: Trial,
    /// What came out.
    pub outcome: Outcome,
    /// What it took.
    pub cost: Cost,
}

impl Run {
    /// What cannot be in a run, in words. A file may have been edited.
    pub(crate) fn fault(&self) -> Option<String> {
        let mut pairs = self.outcome.curve.windows(2);
        let fall = pairs.find(|pair| pair[0].step >= pair[1].step)?;
        Some(format!(
            "the steps of its curve must ascend, and {} comes after {}",
            fall[1].step, fall[0].step
        ))
    }
}

/// A median with a bootstrap interval of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The middle one.
    pub median: f64,
    /// 2.5 % of the medians of resamples are below.
    pub low: f64,
    /// 2.5 % of them are above.
    pub high: f64,
}

/// Where the best rate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// Worse rates were tried on both sides.
    Inside,
    /// It is the lowest that was tried: a lower one may be better.
    Lowest,
    /// It is the highest that was tried.
    Highest,
    /// Every rate diverged.
    None,
}

/// A rate that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The learning rate.
    pub lr: f64,
    /// At the end; what the rate is chosen by.
    pub validation: Score,
}

/// A moment of several runs: the median, and the lowest and highest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Updates so far.
    pub step: u64,
    /// Of the training losses.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

/// A counted run, as it came out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// Its seed.
    pub seed: u32,
    /// The update after which the loss was no number any more.
    pub diverged_at: Option<u64>,
    /// At the end, on the training samples.
    pub train: Score,
    /// At the end, on the test samples.
    pub test: Score,
    /// When the target was reached, on a straight line between the measurements around it.
    pub steps_to_target: Option<u64>,
}

/// How an optimizer did on a problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The optimizer's name.
    pub optimizer: String,
    /// Its settings, with its name.
    pub config: Value,
    /// Every rate that was tried, ascending.
    pub tried: Vec<Tried>,
    /// The best of them.
    pub lr: Option<f64>,
    /// Where it was found.
    pub edge: Edge,
    /// Counted runs.
    pub runs: usize,
    /// Each of them. Missing where this was not written yet.
    #[serde(default)]
    pub counted: Vec<Counted>,
    /// How many of them diverged.
    pub diverged: usize,
    /// Of the final training losses. Nothing if most runs diverged.
    pub train_loss: Option<Interval>,
    /// Of the test losses.
    pub test_loss: Option<Interval>,
    /// Of the test metrics.
    pub test_metric: Option<Interval>,
    /// How many runs reached the target.
    pub reached: usize,
    /// Of the steps that they took. Nothing if fewer than half did.
    pub steps_to_target: Option<Interval>,
    /// Of the seconds that they took.
    pub seconds_to_target: Option<Interval>,
    /// The median.
    pub seconds_per_step: f64,
    /// The median.
    pub optimizer_seconds_per_step: f64,
    /// Between steps.
    pub state_bytes: u64,
    /// The most of any run.
    pub peak_bytes: Option<u64>,
    /// The training losses on the way.
    pub curve: Vec<Band>,
}

/// How all optimizers did on a problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProblemSummary {
    /// The problem's name.
    pub problem: String,
    /// A line about it.
    pub description: String,
    /// What counts as reached, in words.
    pub target: String,
    /// What the metric is, if there is one.
    pub metric: Option<String>,
    /// Whether more of it is better.
    pub higher_is_better: bool,
    /// Updates of each run.
    pub steps: u64,
    /// How many samples the test part is evaluated on, if it has any. Missing where this was not written yet.
    #[serde(default)]
    pub test_samples: Option<usize>,
    /// Numbers that are learned.
    pub parameters: u64,
    /// From the best to the worst median on the test samples.
    pub entries: Vec<Entry>,
}

/// Everything that a report says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The command that repeats it.
    pub command: String,
    /// Version of this library.
    pub version: String,
    /// The sources that it was built from.
    #[serde(default)]
    pub source: Source,
    /// The day on which it was made, as 2026-01-31.
    #[serde(default)]
    pub date: String,
    /// Version of Burn.
    pub burn: String,
    /// The backend.
    pub device: String,
    /// The processor and the operating system, as far as they tell.
    pub machine: String,
    /// Seeds of the counted runs.
    pub seeds: Vec<u32>,
    /// Rates that each optimizer was tuned with, before the grid was widened.
    pub tuning_budget: usize,
    /// The schedule's settings; none is a constant rate.
    pub schedule: Option<Value>,
    /// What else the driver of every run was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<Map<String, Value>>,
    /// One for each problem.
    pub problems: Vec<ProblemSummary>,
}
