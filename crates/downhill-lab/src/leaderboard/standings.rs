//! What the runs of a leaderboard come to.

use std::collections::BTreeMap;

use downhill_optim::OptimizerConfig;
use downhill_problems::numpy::RandomState;
use serde::{Deserialize, Serialize};

use super::{Cell, Finish, Leaderboard, Track};
use crate::protocol::Setup;
use crate::run::target_in_words;
use crate::score::{Times, TimesError, robustness};
use crate::source::{SOURCE, Source, today, version};

/// Resamples of the bootstrap behind intervals and differences.
pub const RESAMPLES: usize = 2_000;

/// A setting is as good as the best if its validation loss is within this share of the best one's.
const AS_GOOD: f64 = 0.1;

/// What time is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Updates.
    Steps,
    /// Updates, by the [seconds of one](Cell::seconds_per_step). Evaluations take none.
    Seconds,
}

/// Everything that a leaderboard says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standings {
    /// The command that repeats it.
    pub command: String,
    /// Version of this library.
    pub version: String,
    /// The sources that it was built from.
    pub source: Source,
    /// The day on which it was made.
    pub date: String,
    /// Version of Burn.
    pub burn: String,
    /// The backend.
    pub device: String,
    /// The processor and the operating system, as far as they tell.
    pub machine: String,
    /// Runs that were made at once, which share the processor.
    pub jobs: usize,
    /// Seeds of the counted runs.
    pub seeds: Vec<u32>,
    /// Settings that each optimizer was tried with.
    pub setups: usize,
    /// Of the bootstrap.
    pub resamples: usize,
    /// On what.
    pub problems: Vec<Task>,
    /// In the order of the library's list.
    pub optimizers: Vec<Line>,
    /// The places, the best first, by the track and by the clock.
    pub places: BTreeMap<Track, BTreeMap<Clock, Vec<Place>>>,
}

/// A problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The name.
    pub name: String,
    /// A line about it.
    pub description: String,
    /// What counts as reached, in words.
    pub target: String,
    /// What the metric is, if there is one.
    pub metric: Option<String>,
    /// Updates of each run.
    pub steps: u64,
    /// Numbers that are learned.
    pub parameters: u64,
}

/// An optimizer, with all that it came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Where it was published.
    pub paper: String,
    /// What it was tried with.
    pub setups: Vec<Setup>,
    /// By the problem.
    pub cells: Vec<Cell>,
    /// The share of tried settings that are as good as the best within a tenth of its validation loss, in the mean over
    /// the problems.
    pub robustness: Option<f64>,
    /// What the optimizer keeps between steps for each number that is learned, in bytes, in the mean over the problems.
    pub state_bytes_per_parameter: f64,
}

/// Where an optimizer stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Its name.
    pub optimizer: String,
    /// AlgoPerf's score, from 0 to 1, and the interval that chance moves it in.
    pub score: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Its rank, and those that chance moves it between.
    pub rank: usize,
    /// The best of them.
    pub rank_low: usize,
    /// The worst of them.
    pub rank_high: usize,
    /// How often chance alone parts any two as far as it is from the best; none of the best itself.
    pub p: Option<f64>,
    /// Whether it cannot be told apart from the best.
    pub tied: bool,
    /// On how many problems more than half of its runs reached the target.
    pub reached: usize,
    /// The share of problems on which it takes at most so many times as long as the fastest, as corners.
    pub profile: Vec<(f64, f64)>,
}

impl Standings {
    /// What the cells come to, which are by the contender and then by the problem.
    ///
    /// # Errors
    ///
    /// If there is no contender, no problem or no seed.
    pub fn new(
        leaderboard: &Leaderboard,
        cells: Vec<Vec<Cell>>,
        command: String,
        machine: String,
        jobs: usize,
    ) -> Result<Self, TimesError> {
        let names: Vec<&str> = leaderboard
            .contenders
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        let mut places = BTreeMap::new();
        for track in [Track::Tuned, Track::OneSetting] {
            let mut of_track = BTreeMap::new();
            for clock in [Clock::Steps, Clock::Seconds] {
                of_track.insert(clock, placed(&names, &times(&cells, track, clock)?));
            }
            places.insert(track, of_track);
        }
        let tasks = leaderboard
            .problems
            .iter()
            .enumerate()
            .map(|(at, problem)| {
                let info = problem.info();
                Task {
                    name: info.name.clone(),
                    description: info.about.clone(),
                    target: target_in_words(info),
                    metric: info.metric.as_ref().map(|metric| metric.name.clone()),
                    steps: info.updates(),
                    parameters: cells[0][at].parameters,
                }
            });
        let problems = tasks.collect();
        let lines = leaderboard
            .contenders
            .iter()
            .zip(cells)
            .map(|(one, cells)| {
                let config = OptimizerConfig::deserialize(&one.setups[0].optimizer);
                let about = config.ok().map(|config| config.info());
                let mean = |of: &dyn Fn(&Cell) -> Option<f64>| {
                    let values: Vec<f64> = cells.iter().filter_map(of).collect();
                    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
                };
                let losses = |cell: &Cell| -> Vec<Option<f64>> {
                    let tried = cell.tried.iter();
                    tried.map(|finish| finish.validation.loss).collect()
                };
                let per_parameter =
                    |cell: &Cell| Some(cell.state_bytes as f64 / cell.parameters.max(1) as f64);
                Line {
                    name: one.name.clone(),
                    description: about
                        .as_ref()
                        .map_or("", |about| about.description)
                        .to_string(),
                    paper: about.as_ref().map_or("", |about| about.paper).to_string(),
                    setups: one.setups.clone(),
                    robustness: mean(&|cell| robustness(&losses(cell), true, AS_GOOD)),
                    state_bytes_per_parameter: mean(&per_parameter).unwrap_or(0.0),
                    cells,
                }
            });
        Ok(Self {
            command,
            version: version().to_string(),
            source: SOURCE.clone(),
            date: today(),
            burn: crate::BURN_VERSION.to_string(),
            device: leaderboard.device.clone(),
            machine,
            jobs,
            seeds: leaderboard.seeds.clone(),
            setups: leaderboard
                .contenders
                .iter()
                .map(|one| one.setups.len())
                .max()
                .unwrap_or(0),
            resamples: RESAMPLES,
            problems,
            optimizers: lines.collect(),
            places,
        })
    }
}

impl Standings {
    /// Each optimizer with its places on both tracks, by steps, in the order of the tuned one.
    pub fn by_steps(&self) -> impl Iterator<Item = (&Place, &Place, &Line)> {
        let of = |track| &self.places[&track][&Clock::Steps];
        of(Track::Tuned).iter().filter_map(move |tuned| {
            let mut ones = of(Track::OneSetting).iter();
            let mut lines = self.optimizers.iter();
            Some((
                tuned,
                ones.find(|one| one.optimizer == tuned.optimizer)?,
                lines.find(|line| line.name == tuned.optimizer)?,
            ))
        })
    }

    /// The places on some of the problems and among some of the optimizers, both by their numbers. A score is among those
    /// that are compared, and not the one among all.
    ///
    /// # Errors
    ///
    /// If there is nothing to compare.
    pub fn among(
        &self,
        problems: &[usize],
        optimizers: &[usize],
        track: Track,
        clock: Clock,
    ) -> Result<Vec<Place>, TimesError> {
        let lines: Vec<&Line> = optimizers.iter().map(|at| &self.optimizers[*at]).collect();
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        let of = |line: &&Line| problems.iter().map(|at| line.cells[*at].clone()).collect();
        let cells: Vec<Vec<Cell>> = lines.iter().map(of).collect();
        Ok(placed(&names, &times(&cells, track, clock)?))
    }
}

/// The times to the targets, by the contender, the problem and the seed.
fn times(cells: &[Vec<Cell>], track: Track, clock: Clock) -> Result<Times, TimesError> {
    let of_cell = |cell: &Cell| {
        let unit = match clock {
            Clock::Steps => 1.0,
            Clock::Seconds => cell.seconds_per_step[0],
        };
        let time = |finish: &Finish| finish.steps.map(|steps| unit * steps as f64);
        let finishes = cell
            .tracks
            .get(&track)
            .map(|(_, finishes)| finishes.iter().map(time));
        finishes.into_iter().flatten().collect()
    };
    let rows = cells.iter();
    Times::new(rows.map(|row| row.iter().map(of_cell).collect()).collect())
}

/// The places, the best first.
fn placed(names: &[&str], times: &Times) -> Vec<Place> {
    let mut random = RandomState::new(0);
    let chance = times.chance(RESAMPLES, &mut || random.rand(1)[0]);
    let (intervals, differences) = (chance.intervals(), chance.against_best());
    let (medians, profiles) = (times.medians(), times.profiles());
    let mut places: Vec<Place> = intervals
        .into_iter()
        .enumerate()
        .map(|(at, interval)| {
            let difference = differences
                .iter()
                .find(|difference| difference.optimizer == at);
            Place {
                optimizer: names[at].to_string(),
                score: interval.score,
                low: interval.low,
                high: interval.high,
                rank: interval.rank,
                rank_low: interval.rank_low,
                rank_high: interval.rank_high,
                p: difference.map(|difference| difference.p),
                tied: difference.is_none_or(|difference| difference.tied),
                reached: medians[at].iter().filter(|time| time.is_finite()).count(),
                profile: profiles[at].clone(),
            }
        })
        .collect();
    places.sort_by(|a, b| b.score.total_cmp(&a.score));
    places
}
