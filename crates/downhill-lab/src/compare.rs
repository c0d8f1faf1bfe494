//! A fair comparison, from problems and optimizers to the report.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use downhill_optim::OptimizerConfig;
use downhill_problems::{AnyProblem, Part};
use downhill_schedule::{ScheduleConfig, ScheduleError};
use serde_json::{Map, Value};

use crate::protocol::{Candidate, Observer, Plan, Stopped, Subject, rates_around, rates_between};
use crate::report::{self, ReportError};
use crate::results::{Comparison, ProblemSummary, Run, Trial};
use crate::run::{run_among, target_in_words};
use crate::source::{SOURCE, machine, today, version};
use crate::store::{Store, StoreError};

/// The runs in a folder of them.
pub const RUNS: &str = "runs.jsonl";

/// Which learning rates an optimizer is tuned with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rates {
    /// So many around its own one, in steps of half a power of ten.
    Around(usize),
    /// The same for all: in equal ratios.
    Between {
        /// The lowest.
        low: f64,
        /// The highest.
        high: f64,
        /// How many.
        count: usize,
    },
}

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// The problem's own.
    Own,
    /// Updates.
    Steps(u64),
    /// Passes over the training samples.
    Epochs(u64),
}

/// A fair comparison of optimizers on problems: [`protocol`](crate::protocol) says how.
///
/// ```
/// use burn::tensor::Device;
/// use downhill_lab::compare::{Compare, Length};
/// use downhill_optim::{AdamConfig, SgdConfig};
///
/// let comparison = Compare::new(vec![downhill_problems::by_name("beale")?])
///     .with_optimizer("plain", SgdConfig::new())
///     .with_optimizer("adam", AdamConfig::new().with_beta_1(0.8))
///     .with_seeds(2)
///     .with_length(Length::Steps(50))
///     .run("flex", &Device::flex(), std::env::temp_dir().join("downhill-beale"))?;
/// println!("{} is best", comparison.problems[0].entries[0].optimizer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Compare {
    problems: Vec<AnyProblem>,
    optimizers: Vec<(String, OptimizerConfig)>,
    rates: Rates,
    seeds: u32,
    length: Length,
    schedule: Option<ScheduleConfig>,
    driver: Option<Map<String, Value>>,
    jobs: usize,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// Two optimizers have one name.
    #[error("two optimizers are called {0}")]
    TwoOptimizers(String),
    /// A problem is there twice.
    #[error("the problem {0} is there twice")]
    TwoProblems(String),
    /// The settings of an optimizer or of the schedule cannot be written as JSON.
    #[error("the settings cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The schedule does not fit a run.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The folder cannot be made.
    #[error("cannot make the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file of runs cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// There is no report.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl Compare {
    /// On these problems: 7 rates around each optimizer's own, 6 seeds, one run at a time.
    pub fn new(problems: Vec<AnyProblem>) -> Self {
        Self {
            problems,
            optimizers: Vec::new(),
            rates: Rates::Around(7),
            seeds: 6,
            length: Length::Own,
            schedule: None,
            driver: None,
            jobs: 1,
        }
    }

    /// With one more optimizer, by the name that it has in the report.
    #[must_use]
    pub fn with_optimizer(
        mut self,
        name: impl Into<String>,
        config: impl Into<OptimizerConfig>,
    ) -> Self {
        self.optimizers.push((name.into(), config.into()));
        self
    }

    /// Which rates each is tuned with.
    #[must_use]
    pub fn with_rates(mut self, rates: Rates) -> Self {
        self.rates = rates;
        self
    }

    /// Counted runs of each, from the seeds 1 to this one.
    #[must_use]
    pub fn with_seeds(mut self, seeds: u32) -> Self {
        self.seeds = seeds;
        self
    }

    /// How long each run is.
    #[must_use]
    pub fn with_length(mut self, length: Length) -> Self {
        self.length = length;
        self
    }

    /// The rate from step to step; without one it is constant.
    #[must_use]
    pub fn with_schedule(mut self, schedule: ScheduleConfig) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// What else the [driver](downhill_train::DriverConfig) of every run is told, by the names of its settings.
    #[must_use]
    pub fn with_driver(mut self, settings: Map<String, Value>) -> Self {
        self.driver = Some(settings);
        self
    }

    /// Runs at once.
    #[must_use]
    pub fn with_jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// What is run, on a device of this name.
    ///
    /// # Errors
    ///
    /// If an optimizer or a problem is there twice, or the schedule does not fit.
    pub fn plan(&self, device: &str) -> Result<Plan, CompareError> {
        let mut names = BTreeSet::new();
        let mut candidates = Vec::new();
        for (name, config) in &self.optimizers {
            if !names.insert(name) {
                return Err(CompareError::TwoOptimizers(name.clone()));
            }
            candidates.push(Candidate {
                name: name.clone(),
                config: serde_json::to_value(config)?,
                rates: match self.rates {
                    Rates::Between { low, high, count } => rates_between(low, high, count),
                    Rates::Around(count) => rates_around(config.default_learning_rate(), count),
                },
            });
        }
        let mut names = BTreeSet::new();
        let mut subjects = Vec::new();
        for problem in &self.problems {
            let info = problem.info();
            if !names.insert(&info.name) {
                return Err(CompareError::TwoProblems(info.name.clone()));
            }
            let steps = match self.length {
                Length::Own => info.updates(),
                Length::Steps(steps) => steps,
                Length::Epochs(epochs) => epochs.saturating_mul(info.updates_per_epoch()),
            };
            // Said before the first run, not at it.
            if let Some(schedule) = &self.schedule {
                schedule.try_build_for(1.0, steps)?;
            }
            let metric = info.metric.as_ref();
            subjects.push(Subject {
                name: info.name.clone(),
                description: info.about.clone(),
                target: target_in_words(info),
                metric: metric.map(|metric| metric.name.clone()),
                higher_is_better: metric.is_none_or(|metric| metric.higher_is_better),
                steps,
                test_samples: problem.evaluated_on(Part::Test),
            });
        }
        Ok(Plan {
            subjects,
            candidates,
            schedule: self
                .schedule
                .as_ref()
                .map(serde_json::to_value)
                .transpose()?,
            driver: self.driver.clone(),
            seeds: (1..=self.seeds).collect(),
            widenings: 2,
            device: device.to_string(),
        })
    }

    /// Makes the runs of the plan that are not in the store yet, or of a share of it, of which nothing comes.
    ///
    /// # Errors
    ///
    /// [`Stopped`], with everything that was finished in the store.
    pub fn carry_out(
        &self,
        plan: &Plan,
        share: Option<(usize, usize)>,
        device: &Device,
        store: &mut Store,
        observer: &mut (dyn Observer + Send),
        interrupted: &AtomicBool,
    ) -> Result<Option<Vec<ProblemSummary>>, Stopped> {
        let make = |trial: &Trial| {
            let mut made = run_among(&self.problems, trial, device, interrupted)?;
            // The memory is that of the process.
            made.cost.peak_bytes = made.cost.peak_bytes.filter(|_| self.jobs == 1);
            Ok(made)
        };
        match share {
            None => plan
                .carry_out_at_once(self.jobs, store, observer, &make)
                .map(Some),
            Some(share) => plan
                .carry_out_share(share, self.jobs, store, observer, &make)
                .map(|()| None),
        }
    }

    /// What is reported, with the command that repeats it.
    pub fn comparison(
        &self,
        plan: Plan,
        problems: Vec<ProblemSummary>,
        command: String,
    ) -> Comparison {
        let budgets = plan.candidates.iter().map(|one| one.rates.len());
        Comparison {
            command,
            version: version().to_string(),
            source: SOURCE.clone(),
            date: today(),
            burn: crate::BURN_VERSION.to_string(),
            device: plan.device,
            machine: machine(self.jobs),
            tuning_budget: budgets.max().unwrap_or(0),
            seeds: plan.seeds,
            schedule: plan.schedule,
            driver: plan.driver,
            problems,
        }
    }

    /// Makes all runs that the folder does not have yet, and writes the [report] into it.
    ///
    /// # Errors
    ///
    /// [`CompareError`]. Finished runs stay in the folder, and the same call goes on from there.
    pub fn run(
        &self,
        name: &str,
        device: &Device,
        folder: impl AsRef<Path>,
    ) -> Result<Comparison, CompareError> {
        struct Silent;
        impl Observer for Silent {
            fn planned(&mut self, _: usize, _: usize) {}
            fn begins(&mut self, _: &Trial) {}
            fn ended(&mut self, _: &Run, _: bool) {}
        }
        let folder = folder.as_ref();
        let plan = self.plan(name)?;
        let mut store = open(folder)?;
        let never = AtomicBool::new(false);
        let made = self.carry_out(&plan, None, device, &mut store, &mut Silent, &never)?;
        let program = std::env::args().next().unwrap_or_default();
        let comparison = self.comparison(plan, made.unwrap_or_default(), program);
        report::write(&comparison, folder)?;
        Ok(comparison)
    }
}

/// The runs of a folder, which is made if there is none.
///
/// # Errors
///
/// If it cannot be made, or its file of runs cannot be read.
pub fn open(folder: &Path) -> Result<Store, CompareError> {
    fs::create_dir_all(folder).map_err(|source| CompareError::Folder {
        path: folder.to_path_buf(),
        source,
    })?;
    Ok(Store::open(folder.join(RUNS))?)
}
