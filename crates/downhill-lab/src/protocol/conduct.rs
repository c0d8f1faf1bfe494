//! The runs of a plan, several at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    Candidate, Observer, Plan, Stopped, Subject, TUNING_SEED, best_of, edge, entry, last, rounded,
    wider,
};
use crate::results::{Edge, Entry, Run, Stage, Trial, Tried};
use crate::source::version;
use crate::store::Store;

/// What an optimizer came to on a problem.
pub(super) struct Found {
    pub entry: Entry,
    /// Numbers that were learned.
    pub parameters: u64,
}

/// Makes the runs of these pairs, at most `jobs` at once, of which `needed` are needed at the least.
pub(super) fn all(
    plan: &Plan,
    pairs: &[(&Subject, &Candidate)],
    needed: usize,
    jobs: usize,
    store: &mut Store,
    observer: &mut (dyn Observer + Send),
    run: &(dyn Fn(&Trial) -> Result<Run, Stopped> + Sync),
) -> Result<Vec<Found>, Stopped> {
    for candidate in &plan.candidates {
        candidate.check()?;
    }
    let conduct = Conduct::new(needed, store, observer, run);
    let grids = Grids { plan, conduct };
    at_once(jobs, pairs.len(), &grids.conduct.stop, |at| {
        let (subject, candidate) = pairs[at];
        grids.candidate(subject, candidate)
    })
}

/// Does `work` for as many places, at most `jobs` at once; the results are in the order of the places. `stop` is set
/// where one fails, and the others are not begun.
pub(crate) fn at_once<T: Send>(
    jobs: usize,
    count: usize,
    stop: &AtomicBool,
    work: impl Fn(usize) -> Result<T, Stopped> + Sync,
) -> Result<Vec<T>, Stopped> {
    let next = AtomicUsize::new(0);
    let found: Vec<Mutex<Option<Result<T, Stopped>>>> =
        (0..count).map(|_| Mutex::default()).collect();
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(found) = found.get(at) else {
                return;
            };
            let result = work(at);
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            *locked(found) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs.min(count) {
            scope.spawn(work);
        }
        work();
    });
    let results = found
        .into_iter()
        .filter_map(|found| found.into_inner().unwrap_or_else(PoisonError::into_inner));
    // The others were interrupted because of the first that failed.
    let mut failed = None;
    let mut all = Vec::new();
    for result in results {
        match result {
            Ok(found) => all.push(found),
            Err(stopped) if matches!(failed, None | Some(Stopped::Interrupted)) => {
                failed = Some(stopped)
            }
            Err(_) => {}
        }
    }
    match failed {
        None => Ok(all),
        Some(stopped) => Err(stopped),
    }
}

/// Runs that are made, taken from a store or put into it, and told of.
pub(crate) struct Conduct<'a> {
    run: &'a (dyn Fn(&Trial) -> Result<Run, Stopped> + Sync),
    shared: Mutex<Shared<'a>>,
    /// Whether one of them has failed.
    pub stop: AtomicBool,
}

struct Shared<'a> {
    store: &'a mut Store,
    observer: &'a mut (dyn Observer + Send),
    done: usize,
    needed: usize,
}

impl Shared<'_> {
    fn planned(&mut self) {
        self.observer.planned(self.done, self.needed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Conduct<'a> {
    /// With as many runs to make at the least.
    pub fn new(
        needed: usize,
        store: &'a mut Store,
        observer: &'a mut (dyn Observer + Send),
        run: &'a (dyn Fn(&Trial) -> Result<Run, Stopped> + Sync),
    ) -> Self {
        let done = 0;
        Self {
            run,
            shared: Mutex::new(Shared {
                store,
                observer,
                done,
                needed,
            }),
            stop: AtomicBool::new(false),
        }
    }

    /// There are so many runs more to make, or fewer.
    pub fn need(&self, more: isize) {
        let mut shared = locked(&self.shared);
        shared.needed = shared.needed.saturating_add_signed(more);
        shared.planned();
    }

    /// The run of a trial that was made before.
    pub fn known(&self, trial: &Trial) -> Result<Run, Stopped> {
        let run = locked(&self.shared).store.find(trial).cloned();
        run.ok_or_else(|| Stopped::Failed("a run that was made is not in the store".to_string()))
    }

    /// The run of a trial, which is made if it is not there.
    pub fn trial(&self, trial: &Trial) -> Result<Run, Stopped> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Stopped::Interrupted);
        }
        let mut shared = locked(&self.shared);
        let known = shared.store.find(trial).cloned();
        let is_known = known.is_some();
        let run = match known {
            Some(run) => run,
            None => {
                shared.observer.begins(trial);
                drop(shared);
                let run = (self.run)(trial)?;
                shared = locked(&self.shared);
                shared.store.add(run)?.clone()
            }
        };
        shared.done += 1;
        shared.planned();
        shared.observer.ended(&run, is_known);
        Ok(run)
    }
}

/// The grids of a plan.
struct Grids<'a> {
    plan: &'a Plan,
    conduct: Conduct<'a>,
}

impl Grids<'_> {
    fn trial(
        &self,
        subject: &Subject,
        candidate: &Candidate,
        lr: f64,
        stage: Stage,
        seed: u32,
    ) -> Result<Run, Stopped> {
        self.conduct.trial(&Trial {
            problem: subject.name.clone(),
            optimizer: candidate.config.clone(),
            schedule: self.plan.schedule.clone(),
            driver: self.plan.driver.clone(),
            lr,
            stage,
            seed,
            steps: subject.steps,
            device: self.plan.device.clone(),
            version: version().to_string(),
        })
    }

    fn candidate(&self, subject: &Subject, candidate: &Candidate) -> Result<Found, Stopped> {
        let mut tried: Vec<Tried> = Vec::new();
        // As they were meant, so that a widened grid goes on in the same ratio.
        let mut grid = candidate.rates.clone();
        let mut waiting = grid.clone();
        let mut widenings = 0;
        let mut parameters = 0;
        let best = loop {
            for lr in waiting.drain(..).map(rounded) {
                let run = self.trial(subject, candidate, lr, Stage::Tune, TUNING_SEED)?;
                // A run that diverges has a model too.
                parameters = run.outcome.parameters;
                let validation = last(&run).validation;
                tried.push(Tried { lr, validation });
            }
            tried.sort_by(|a, b| a.lr.total_cmp(&b.lr));
            let best = best_of(&tried, subject.higher_is_better);
            match edge(&tried, best) {
                Edge::Lowest | Edge::Highest if widenings < self.plan.widenings => {
                    widenings += 1;
                    waiting = wider(&grid, edge(&tried, best));
                    self.conduct.need(waiting.len() as isize);
                    grid.extend(&waiting);
                    grid.sort_by(f64::total_cmp);
                }
                _ => break best,
            }
        };
        let edge = edge(&tried, best);
        let mut runs = Vec::new();
        match best {
            Some(best) => {
                for seed in &self.plan.seeds {
                    let lr = tried[best].lr;
                    runs.push(self.trial(subject, candidate, lr, Stage::Final, *seed)?);
                }
            }
            // There is no rate to repeat.
            None => self.conduct.need(-(self.plan.seeds.len() as isize)),
        }
        let lr = best.map(|best| tried[best].lr);
        Ok(Found {
            entry: entry(candidate, tried, lr, edge, &runs),
            parameters,
        })
    }
}
