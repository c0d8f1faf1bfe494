//! Which optimizer: all of them on all problems, with settings searched and with one setting for everything.
//!
//! After AlgoPerf (Dahl et al. 2023, arXiv 2306.07179), at a size that two cores repeat in hours. Each optimizer is
//! tried with the same number of [`setups`](crate::protocol::setups), its own settings first, in one run each on every problem. Then
//!
//! - on the *tuned* track the setup that came to a problem's target first on that problem,
//! - on the *one setting* track the setup that did best on all problems together
//!
//! is run again from each of the seeds, none of which was used before, and only these runs are counted. What counts is
//! how many steps, or seconds, they take to the target: see [`score`](crate::score).

mod published;
mod standings;
mod write;

use std::collections::{BTreeMap, HashSet};

use downhill_problems::{AnyProblem, Info, Measure, Part};
use serde::{Deserialize, Serialize};

use crate::protocol::conduct::{Conduct, at_once};
use crate::protocol::{Observer, Setup, Stopped, TUNING_SEED, last};
use crate::results::{Point, Run, Score, Stage, Trial};
use crate::score::{LIMIT, shortfall};
use crate::source::version;
use crate::store::{Store, key};

pub use published::published;
pub use standings::{Clock, Line, Place, RESAMPLES, Standings, Task};
pub use write::write;

/// An optimizer, and what it is tried with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contender {
    /// The name.
    pub name: String,
    /// The same number for each; the first are its own settings.
    pub setups: Vec<Setup>,
}

/// Everything that a leaderboard is made of.
#[derive(Clone, Debug)]
pub struct Leaderboard {
    /// On what, with a problem's own number of steps.
    pub problems: Vec<AnyProblem>,
    /// Which optimizers.
    pub contenders: Vec<Contender>,
    /// Seeds of the counted runs; [`TUNING_SEED`] is not among them.
    pub seeds: Vec<u32>,
    /// The backend.
    pub device: String,
}

/// How settings were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Track {
    /// For each problem by itself.
    Tuned,
    /// Once for all problems.
    OneSetting,
}

/// A run of a leaderboard, as it came out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// Its seed.
    pub seed: u32,
    /// Updates to the target.
    pub steps: Option<u64>,
    /// How far from the target it ended: [`shortfall`]. Nothing where that is no number.
    pub shortfall: Option<f64>,
    /// At the end, on those that choose settings.
    pub validation: Score,
    /// At the end, on samples that nothing was chosen by.
    pub test: Score,
    /// The update after which the loss was no number any more.
    pub diverged_at: Option<u64>,
}

/// What an optimizer came to on a problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What each setup came to, in their order.
    pub tried: Vec<Finish>,
    /// By the track: the setup, by its place, and its counted runs.
    pub tracks: BTreeMap<Track, (usize, Vec<Finish>)>,
    /// Seconds of an update, and those of them in the optimizer: of the run in which that took least, as the others were
    /// held up by what else the machine did.
    pub seconds_per_step: [f64; 2],
    /// What the optimizer keeps between steps.
    pub state_bytes: u64,
    /// Numbers that are learned.
    pub parameters: u64,
}

impl Leaderboard {
    /// How many runs there are, at most: a setup that is chosen on both tracks runs once.
    pub fn runs(&self) -> usize {
        self.contenders.iter().map(|one| self.runs_of(one)).sum()
    }

    fn runs_of(&self, contender: &Contender) -> usize {
        self.problems.len() * (contender.setups.len() + 2 * self.seeds.len())
    }

    /// Makes every run that is not in `store` yet, of every `of`-th optimizer from the `share`-th, counted from 0, so
    /// many at once. Results are by the optimizer, and then by the problem.
    ///
    /// # Errors
    ///
    /// [`Stopped`], with everything that was finished in the store.
    pub fn carry_out(
        &self,
        (share, of): (usize, usize),
        jobs: usize,
        store: &mut Store,
        observer: &mut (dyn Observer + Send),
        run: &(dyn Fn(&Trial) -> Result<Run, Stopped> + Sync),
    ) -> Result<Vec<Vec<Cell>>, Stopped> {
        let contenders = self.contenders.iter().skip(share).step_by(of);
        let contenders: Vec<&Contender> = contenders.collect();
        let needed = contenders.iter().map(|one| self.runs_of(one)).sum();
        let conduct = Conduct::new(needed, store, observer, run);
        let each = self.problems.len();

        let tried = self.all(
            &conduct,
            jobs,
            &contenders,
            |one| {
                let setups = 0..one.setups.len();
                (0..each)
                    .flat_map(|problem| setups.clone().map(move |setup| (problem, setup)))
                    .collect()
            },
            &[TUNING_SEED],
            Stage::Tune,
        )?;
        let of_each = contenders.iter().zip(&tried);
        let chosen: Vec<Chosen> = of_each.map(|(one, runs)| self.choose(one, runs)).collect();
        let mut choices = chosen.iter();
        let counted = self.all(
            &conduct,
            jobs,
            &contenders,
            |_| {
                let Chosen { tuned, one, .. } = choices.next().expect("one for each");
                let tuned = tuned.iter().copied().enumerate();
                tuned
                    .chain((0..each).map(|problem| (problem, *one)))
                    .collect()
            },
            &self.seeds,
            Stage::Final,
        )?;
        let of_each = chosen.into_iter().zip(tried.iter().zip(&counted));
        Ok(of_each
            .map(|(chosen, (tried, counted))| self.cells(chosen, tried, counted))
            .collect())
    }

    /// The setups for the counted runs, by what all of them came to on each problem.
    fn choose(&self, contender: &Contender, runs: &[Run]) -> Chosen {
        let of_problems = runs.chunks(contender.setups.len()).zip(&self.problems);
        let tried: Vec<Vec<Finish>> = of_problems
            .map(|(runs, problem)| runs.iter().map(|run| finish(problem.info(), run)).collect())
            .collect();
        Chosen {
            tuned: tried.iter().map(|tried| first(tried)).collect(),
            one: on_all(&tried),
            tried,
        }
    }

    /// What an optimizer came to on each problem, by its runs with every setup, and by those that are counted: of the
    /// tuned track, and then of the other.
    fn cells(&self, chosen: Chosen, tried: &[Run], counted: &[Run]) -> Vec<Cell> {
        let (tuned, one) = counted.split_at(counted.len() / 2);
        let seeds = self.seeds.len();
        let by_problem = tuned.chunks(seeds).zip(one.chunks(seeds));
        let of_problems = self.problems.iter().zip(chosen.tuned).zip(chosen.tried);
        let mut tried = tried;
        of_problems
            .zip(by_problem)
            .map(|(((problem, setup), finishes), (tuned, one))| {
                let of_setups;
                (of_setups, tried) = tried.split_at(finishes.len());
                let finished = |runs: &[Run]| -> Vec<Finish> {
                    runs.iter().map(|run| finish(problem.info(), run)).collect()
                };
                let tracks = [
                    (Track::Tuned, (setup, finished(tuned))),
                    (Track::OneSetting, (chosen.one, finished(one))),
                ];
                let bytes = tuned.iter().map(|run| run.outcome.state_bytes);
                Cell {
                    tried: finishes,
                    tracks: tracks.into(),
                    seconds_per_step: seconds_per_step(of_setups.iter().chain(tuned).chain(one)),
                    state_bytes: bytes.max().unwrap_or(0),
                    parameters: of_setups[0].outcome.parameters,
                }
            })
            .collect()
    }

    /// The runs of these problems and setups of every contender, each from every seed.
    fn all(
        &self,
        conduct: &Conduct<'_>,
        jobs: usize,
        contenders: &[&Contender],
        mut wanted: impl FnMut(&Contender) -> Vec<(usize, usize)>,
        seeds: &[u32],
        stage: Stage,
    ) -> Result<Vec<Vec<Run>>, Stopped> {
        let mut trials = Vec::new();
        let mut counts = Vec::new();
        for one in contenders {
            let before = trials.len();
            for (problem, setup) in wanted(one) {
                let info = self.problems[problem].info();
                let setup = &one.setups[setup];
                trials.extend(seeds.iter().map(|seed| Trial {
                    problem: info.name.clone(),
                    optimizer: setup.optimizer.clone(),
                    schedule: Some(setup.schedule.clone()),
                    driver: None,
                    lr: setup.lr,
                    stage,
                    seed: *seed,
                    steps: info.updates(),
                    device: self.device.clone(),
                    version: version().to_string(),
                }));
            }
            counts.push(trials.len() - before);
        }
        // The same trial is made once, wherever it is wanted.
        let mut seen = HashSet::new();
        let mut order: Vec<usize> = (0..trials.len()).collect();
        order.retain(|&at| seen.insert(key(&trials[at])));
        at_once(jobs, order.len(), &conduct.stop, |at| {
            conduct.trial(&trials[order[at]])
        })?;
        let mut runs = trials.iter().map(|trial| conduct.known(trial));
        let of = |count| runs.by_ref().take(count).collect();
        counts.into_iter().map(of).collect()
    }
}

/// Which setups an optimizer is counted with.
struct Chosen {
    /// On each problem.
    tuned: Vec<usize>,
    /// On all of them.
    one: usize,
    /// What every setup came to, by the problem.
    tried: Vec<Vec<Finish>>,
}

/// What a run came to.
fn finish(info: &Info, run: &Run) -> Finish {
    let target = info.target;
    let of = |score: Score| match target.measure {
        Measure::Loss => score.loss,
        Measure::Metric => score.metric,
    };
    let curve = &run.outcome.curve;
    let at = |point: &Point| match target.part {
        Part::Train => of(point.train),
        Part::Validation | Part::Test => of(point.validation),
    };
    let begun = curve.first().and_then(at).unwrap_or(f64::NAN);
    let ended = match target.part {
        _ if run.outcome.diverged_at.is_some() => None,
        Part::Test => of(run.outcome.test),
        Part::Train | Part::Validation => curve.last().and_then(at),
    };
    let short = match run.outcome.steps_to_target {
        Some(_) => 0.0,
        None => shortfall(
            begun,
            ended,
            target.value,
            info.lower_is_better(target.measure),
        ),
    };
    Finish {
        seed: run.trial.seed,
        steps: run.outcome.steps_to_target,
        shortfall: short.is_finite().then_some(short),
        validation: last(run).validation,
        test: run.outcome.test,
        diverged_at: run.outcome.diverged_at,
    }
}

/// Seconds of an update, and those of them in the optimizer, of the quickest of some runs.
fn seconds_per_step<'a>(runs: impl Iterator<Item = &'a Run>) -> [f64; 2] {
    let each = runs.map(|run| {
        let steps = run.outcome.diverged_at.unwrap_or(run.trial.steps).max(1) as f64;
        [run.cost.seconds, run.cost.optimizer_seconds].map(|seconds| seconds / steps)
    });
    each.reduce(|a, b| if a[0] <= b[0] { a } else { b })
        .unwrap_or([0.0; 2])
}

/// The setup that came to the target first, or else the nearest to it.
fn first(tried: &[Finish]) -> usize {
    let key = |finish: &Finish| {
        let steps = finish.steps.map_or(f64::INFINITY, |steps| steps as f64);
        (steps, finish.shortfall.unwrap_or(f64::INFINITY))
    };
    let best = (0..tried.len()).min_by(|&a, &b| {
        let (a, b) = (key(&tried[a]), key(&tried[b]));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    best.unwrap_or(0)
}

/// The setup that does best on all problems: with the highest score among the setups, and of several with the same
/// the one that misses least.
fn on_all(by_problem: &[Vec<Finish>]) -> usize {
    /// A run that gets worse misses no more than one that stands still twice over.
    const MOST: f64 = 2.0;
    let setups = by_problem.first().map_or(0, Vec::len);
    let merit = |setup: usize| {
        let mut area = 0.0;
        let mut missed = 0.0;
        for tried in by_problem {
            let fastest = tried.iter().filter_map(|finish| finish.steps).min();
            if let (Some(steps), Some(fastest)) = (tried[setup].steps, fastest) {
                area += (LIMIT - steps as f64 / fastest as f64).max(0.0);
            }
            missed += tried[setup].shortfall.unwrap_or(MOST).min(MOST);
        }
        (area, -missed)
    };
    let best = (0..setups).rev().max_by(|&a, &b| {
        let (a, b) = (merit(a), merit(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    best.unwrap_or(0)
}
