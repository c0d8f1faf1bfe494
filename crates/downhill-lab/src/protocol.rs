//! The protocol of a fair comparison.
//!
//! For each problem and each optimizer:
//!
//! 1. One run at each rate of a logarithmic grid, of the same size for every optimizer, all from one
//!    seed. The best is the one with the best validation score at the end.
//! 2. If that is the lowest or the highest rate, the grid is widened on that side, at most
//!    [`Plan::widenings`] times. If the best is still at the edge, the result says so.
//! 3. At the best rate one run for each seed; none of these seeds was used before. Only these are
//!    counted, on test samples that nothing was chosen by.

pub(crate) mod conduct;
mod halton;
mod space;

use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

use conduct::Found;
pub use halton::halton;
pub use space::{Setup, setups};

use crate::results::{
    Band, Counted, Edge, Entry, Interval, Point, ProblemSummary, Run, Score, Trial, Tried,
};
use crate::stats::{bootstrap, median};
use crate::store::{Store, StoreError};

/// The seed of the runs that find the learning rate.
pub const TUNING_SEED: u32 = 0;

/// The learning rates that a comparison begins with. Nothing is trained with any beyond them, and a grid
/// that is widened [twice](WIDENING) stays within what a number can be.
pub const RATES: RangeInclusive<f64> = 1e-30..=1e30;

/// Why a comparison does not begin with a rate, in words.
pub(crate) fn beyond_rates(lr: f64) -> String {
    let (low, high) = (RATES.start(), RATES.end());
    format!("a learning rate must be from {low:e} to {high:e}, got {lr:e}")
}

/// An optimizer with the rates that it is tuned with.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The name.
    pub name: String,
    /// The settings, with the name.
    pub config: Value,
    /// Ascending, in equal ratios, within [`RATES`].
    pub rates: Vec<f64>,
}

impl Candidate {
    /// Whether its rates are within [`RATES`].
    fn check(&self) -> Result<(), Stopped> {
        match self.rates.iter().find(|lr| !RATES.contains(lr)) {
            None => Ok(()),
            Some(lr) => Err(Stopped::Failed(format!(
                "{}: {}",
                self.name,
                beyond_rates(*lr)
            ))),
        }
    }
}

/// A problem, as far as the protocol is concerned.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The name.
    pub name: String,
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
    /// How many samples the test part is evaluated on, if it has any.
    pub test_samples: Option<usize>,
}

/// What is compared.
#[derive(Clone, Debug)]
pub struct Plan {
    /// On what.
    pub subjects: Vec<Subject>,
    /// Which optimizers.
    pub candidates: Vec<Candidate>,
    /// The schedule's settings; none is a constant rate.
    pub schedule: Option<Value>,
    /// What else the driver of every run is told: see [`Trial::driver`].
    pub driver: Option<Map<String, Value>>,
    /// Seeds of the counted runs; [`TUNING_SEED`] is not among them.
    pub seeds: Vec<u32>,
    /// How often a grid may be widened, by [`WIDENING`] rates each time.
    pub widenings: usize,
    /// The backend.
    pub device: String,
}

/// How many rates are added to a grid whose best rate is at its edge.
pub const WIDENING: usize = 2;

/// Why a comparison stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// It was interrupted. Every finished run is in the file.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
    /// The file of runs cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A run could not be made.
    #[error("{0}")]
    Failed(String),
}

/// What is told while a comparison runs.
pub trait Observer {
    /// So many runs are known to be needed now, and so many are done.
    fn planned(&mut self, done: usize, needed: usize);
    /// A run begins.
    fn begins(&mut self, trial: &Trial);
    /// A run has ended, now or, if it is `known`, earlier.
    fn ended(&mut self, run: &Run, known: bool);
}

impl Plan {
    /// How many runs there are, if no grid is widened.
    pub fn runs(&self) -> usize {
        let tuning = self
            .candidates
            .iter()
            .map(|candidate| candidate.rates.len());
        let each = tuning.sum::<usize>() + self.candidates.len() * self.seeds.len();
        self.subjects.len() * each
    }

    /// Makes every run that is not in `store` yet, one after the other, and sums them all up.
    ///
    /// # Errors
    ///
    /// [`Stopped`], with everything that was finished in the store; before anything is run if a rate is
    /// outside of [`RATES`].
    pub fn carry_out(
        &self,
        store: &mut Store,
        observer: &mut (dyn Observer + Send),
        run: &mut (dyn FnMut(&Trial) -> Result<Run, Stopped> + Send),
    ) -> Result<Vec<ProblemSummary>, Stopped> {
        let run = Mutex::new(run);
        let run = |trial: &Trial| run.lock().unwrap_or_else(PoisonError::into_inner)(trial);
        self.carry_out_at_once(1, store, observer, &run)
    }

    /// The same with so many runs at once, each of another problem or optimizer. What comes out is the same,
    /// whatever their number, but for times and for the order in the store.
    ///
    /// # Errors
    ///
    /// As [`carry_out`](Self::carry_out); runs that are under way when one fails are not begun again.
    pub fn carry_out_at_once(
        &self,
        jobs: usize,
        store: &mut Store,
        observer: &mut (dyn Observer + Send),
        run: &(dyn Fn(&Trial) -> Result<Run, Stopped> + Sync),
    ) -> Result<Vec<ProblemSummary>, Stopped> {
        let pairs = self.pairs();
        let needed = self.runs();
        let mut found = conduct::all(self, &pairs, needed, jobs, store, observer, run)?.into_iter();
        let of_subject = |subject| {
            let found = found.by_ref().take(self.candidates.len()).collect();
            summary(subject, found)
        };
        Ok(self.subjects.iter().map(of_subject).collect())
    }

    /// A share of the runs, for the store alone: every `of`-th pair of a problem and an optimizer, from the
    /// `share`-th, counted from 0. The shares of several machines [merged](Store::merge) are all of it.
    ///
    /// # Errors
    ///
    /// As [`carry_out`](Self::carry_out).
    pub fn carry_out_share(
        &self,
        (share, of): (usize, usize),
        jobs: usize,
        store: &mut Store,
        observer: &mut (dyn Observer + Send),
        run: &(dyn Fn(&Trial) -> Result<Run, Stopped> + Sync),
    ) -> Result<(), Stopped> {
        let pairs: Vec<_> = self.pairs().into_iter().skip(share).step_by(of).collect();
        let each =
            |(_, candidate): &(&Subject, &Candidate)| candidate.rates.len() + self.seeds.len();
        let needed = pairs.iter().map(each).sum();
        conduct::all(self, &pairs, needed, jobs, store, observer, run)?;
        Ok(())
    }

    fn pairs(&self) -> Vec<(&Subject, &Candidate)> {
        let of = |subject| {
            self.candidates
                .iter()
                .map(move |candidate| (subject, candidate))
        };
        self.subjects.iter().flat_map(of).collect()
    }
}

/// What the optimizers came to on a problem, the best first.
fn summary(subject: &Subject, found: Vec<Found>) -> ProblemSummary {
    let parameters = found
        .iter()
        .map(|found| found.parameters)
        .max()
        .unwrap_or(0);
    let mut entries: Vec<Entry> = found.into_iter().map(|found| found.entry).collect();
    let score = |entry: &Entry| Score {
        loss: entry.test_loss.map(|interval| interval.median),
        metric: entry.test_metric.map(|interval| interval.median),
    };
    entries.sort_by(|a, b| compare(score(a), score(b), subject.higher_is_better));
    ProblemSummary {
        problem: subject.name.clone(),
        description: subject.description.clone(),
        target: subject.target.clone(),
        metric: subject.metric.clone(),
        higher_is_better: subject.higher_is_better,
        steps: subject.steps,
        test_samples: subject.test_samples,
        parameters,
        entries,
    }
}

/// What a run came to at its end.
pub(crate) fn last(run: &Run) -> Point {
    let none = Score::default();
    let end = Point {
        step: 0,
        train: none,
        validation: none,
    };
    // What came before a divergence is no result.
    match run.outcome.diverged_at {
        Some(_) => end,
        None => run.outcome.curve.last().copied().unwrap_or(end),
    }
}

/// Better first: by the metric, then by the loss; what is unknown comes last.
pub fn compare(a: Score, b: Score, higher_is_better: bool) -> Ordering {
    let sign = if higher_is_better { -1.0 } else { 1.0 };
    let metric = |score: Score| score.metric.map_or(f64::INFINITY, |metric| sign * metric);
    let loss = |score: Score| score.loss.unwrap_or(f64::INFINITY);
    let by_metric = metric(a).total_cmp(&metric(b));
    by_metric.then(loss(a).total_cmp(&loss(b)))
}

fn best_of(tried: &[Tried], higher_is_better: bool) -> Option<usize> {
    let finished = (0..tried.len()).filter(|&i| tried[i].validation.loss.is_some());
    finished.min_by(|&a, &b| compare(tried[a].validation, tried[b].validation, higher_is_better))
}

fn edge(tried: &[Tried], best: Option<usize>) -> Edge {
    match best {
        None => Edge::None,
        // A single rate was asked for as such.
        Some(_) if tried.len() == 1 => Edge::Inside,
        Some(0) => Edge::Lowest,
        Some(best) if best + 1 == tried.len() => Edge::Highest,
        Some(_) => Edge::Inside,
    }
}

/// The rates that continue a grid on one side, in its ratio.
fn wider(grid: &[f64], edge: Edge) -> Vec<f64> {
    let (first, last) = (grid[0], grid[grid.len() - 1]);
    let ratio = (last / first).powf(1.0 / (grid.len() - 1) as f64);
    let steps = (1..=WIDENING).map(|n| ratio.powi(n as i32));
    match edge {
        Edge::Lowest => steps.map(|step| first / step).collect(),
        _ => steps.map(|step| last * step).collect(),
    }
}

fn entry(
    candidate: &Candidate,
    tried: Vec<Tried>,
    lr: Option<f64>,
    edge: Edge,
    runs: &[Run],
) -> Entry {
    let all = |value: &dyn Fn(&Run) -> Option<f64>| -> Vec<f64> {
        runs.iter().filter_map(value).collect()
    };
    // A median over fewer than half of the runs would speak of the lucky ones only.
    let of_most = |values: Vec<f64>| -> Option<Interval> {
        (2 * values.len() > runs.len())
            .then(|| bootstrap(&values))
            .flatten()
    };
    let each = |value: &dyn Fn(&Run) -> f64| median(&all(&|run| Some(value(run)))).unwrap_or(0.0);
    let per_step = |seconds: f64, run: &Run| {
        let steps = run.outcome.diverged_at.unwrap_or(run.trial.steps);
        seconds / steps.max(1) as f64
    };
    Entry {
        optimizer: candidate.name.clone(),
        config: candidate.config.clone(),
        tried,
        lr,
        edge,
        runs: runs.len(),
        counted: runs.iter().map(counted).collect(),
        diverged: runs
            .iter()
            .filter(|run| run.outcome.diverged_at.is_some())
            .count(),
        train_loss: of_most(all(&|run| last(run).train.loss)),
        test_loss: of_most(all(&|run| run.outcome.test.loss)),
        test_metric: of_most(all(&|run| run.outcome.test.metric)),
        reached: runs
            .iter()
            .filter(|run| run.outcome.steps_to_target.is_some())
            .count(),
        steps_to_target: of_most(all(&|run| {
            run.outcome.steps_to_target.map(|step| step as f64)
        })),
        seconds_to_target: of_most(all(&|run| run.cost.seconds_to_target)),
        seconds_per_step: each(&|run| per_step(run.cost.seconds, run)),
        optimizer_seconds_per_step: each(&|run| per_step(run.cost.optimizer_seconds, run)),
        state_bytes: runs
            .iter()
            .map(|run| run.outcome.state_bytes)
            .max()
            .unwrap_or(0),
        peak_bytes: runs.iter().filter_map(|run| run.cost.peak_bytes).max(),
        curve: bands(runs),
    }
}

fn counted(run: &Run) -> Counted {
    Counted {
        seed: run.trial.seed,
        diverged_at: run.outcome.diverged_at,
        train: last(run).train,
        test: run.outcome.test,
        steps_to_target: run.outcome.steps_to_target,
    }
}

/// The training losses at each step that all runs came to.
fn bands(runs: &[Run]) -> Vec<Band> {
    let points = runs
        .iter()
        .map(|run| run.outcome.curve.len())
        .min()
        .unwrap_or(0);
    let band = |i: usize| {
        let losses = runs.iter().map(|run| run.outcome.curve[i].train.loss);
        let losses: Vec<f64> = losses.collect::<Option<_>>()?;
        Some(Band {
            step: runs[0].outcome.curve[i].step,
            median: median(&losses)?,
            low: losses.iter().copied().fold(f64::INFINITY, f64::min),
            high: losses.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    };
    (0..points).map_while(band).collect()
}

/// `count` rates around `center`, in equal ratios of half a power of ten.
pub fn rates_around(center: f64, count: usize) -> Vec<f64> {
    let below = count.saturating_sub(1) / 2;
    let halves = (0..count).map(|i| i as f64 - below as f64);
    halves
        .map(|halves| center * 10f64.powf(halves / 2.0))
        .collect()
}

/// `count` rates from `low` to `high`, in equal ratios.
pub fn rates_between(low: f64, high: f64, count: usize) -> Vec<f64> {
    // Powers of the ends, since their quotient may be more than a number can be.
    let last = count.saturating_sub(1).max(1) as f64;
    let parts = (0..count).map(|i| i as f64 / last);
    parts
        .map(|part| low.powf(1.0 - part) * high.powf(part))
        .collect()
}

/// To four digits: rates are to be repeated by hand.
fn rounded(lr: f64) -> f64 {
    to_digits(lr, 4)
}

/// To so many digits, of which there is at least one.
pub(crate) fn to_digits(x: f64, digits: usize) -> f64 {
    format!("{x:.*e}", digits - 1).parse().unwrap_or(x)
}
