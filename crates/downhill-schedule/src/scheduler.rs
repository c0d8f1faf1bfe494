use alloc::string::{String, ToString};
use alloc::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};

use crate::plateau::{PlateauState, ReduceOnPlateau};
use crate::{Schedule, ScheduleError};

/// Why a scheduler does not go on from a record.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// No scheduler of this library wrote it.
    #[error(
        "the record has no `{key}`: it is not of {scheduler}; \
         load what its own `to_record` returned"
    )]
    Foreign {
        /// What is missing, or of another type.
        key: &'static str,
        /// Whose record was expected.
        scheduler: &'static str,
    },
    /// It was made under other settings.
    #[error(
        "the record was made by another schedule than {config} (fingerprint {found:016x}, not \
         {expected:016x}); build that schedule again, or set the step with `seek`{}",
        step.map_or_else(String::new, |step| alloc::format!(": it was at {step}"))
    )]
    OtherConfig {
        /// The settings here.
        config: String,
        /// Their fingerprint.
        expected: u64,
        /// The record's.
        found: u64,
        /// The step that the record was made at, if it has one.
        step: Option<u64>,
    },
    /// Its numbers are none that a scheduler can have.
    #[error("the record is damaged: {0}")]
    Damaged(#[from] ScheduleError),
}

/// A [`Schedule`] as Burn's [`LrScheduler`]: a schedule and the step that comes next.
///
/// It goes wherever Burn takes one: into a
/// [`ModuleLrScheduler`](burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler), one for each parameter group, or
/// into burn-train's `Learner`.
///
/// ```
/// use burn::lr_scheduler::{LrScheduler, module_lr_scheduler::ModuleLrScheduler};
/// use downhill_schedule::CosineConfig;
///
/// let schedule = CosineConfig::new(0.1, 1_000).try_build()?;
/// let mut scheduler = schedule.scheduler();
/// assert_eq!(scheduler.step(), schedule.value(0));
/// assert_eq!(scheduler.step(), schedule.value(1));
///
/// let record = scheduler.to_record();
/// let mut resumed = schedule.scheduler();
/// resumed.try_load_record(&record)?;
/// assert_eq!(resumed.step(), schedule.value(2));
///
/// let mut for_a_module = ModuleLrScheduler::new(resumed);
/// assert_eq!(for_a_module.step().base(), schedule.value(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Records
///
/// A record holds the absolute step and the schedule's [`fingerprint`](crate::Curve::fingerprint), so
/// that a run cannot go on under another schedule unnoticed.
/// [`try_load_record`](Self::try_load_record) returns what is wrong with a record; Burn's
/// `load_record`, which cannot, panics.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduler {
    schedule: Schedule,
    step: u64,
}

impl Schedule {
    /// This schedule from its beginning, as Burn's [`LrScheduler`].
    pub fn scheduler(&self) -> Scheduler {
        Scheduler {
            schedule: self.clone(),
            step: 0,
        }
    }
}

impl Scheduler {
    const NAME: &str = "a downhill `Scheduler`";

    /// The schedule.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The step that comes next, and the number of steps that have been taken.
    pub fn position(&self) -> u64 {
        self.step
    }

    /// The value that the next [`step`](LrScheduler::step) returns.
    pub fn peek(&self) -> f64 {
        self.schedule.value(self.step)
    }

    /// Goes on from `step`.
    pub fn seek(&mut self, step: u64) {
        self.step = step;
    }

    /// Goes on from a record.
    ///
    /// # Errors
    ///
    /// Returns an error, and stays where it is, if the record was made under other settings or by
    /// another scheduler, or is empty.
    pub fn try_load_record(&mut self, record: &LrSchedulerRecord) -> Result<(), RecordError> {
        let step = required(record, "step", Self::NAME)?;
        let found = required(record, "fingerprint", Self::NAME)?;
        let expected = self.schedule.fingerprint();
        if found != expected {
            return Err(RecordError::OtherConfig {
                config: self.schedule.config().to_string(),
                expected,
                found,
                step: Some(step),
            });
        }
        self.step = step;
        Ok(())
    }
}

fn required<T: TryFrom<burn_pack::Scalar>>(
    record: &LrSchedulerRecord,
    key: &'static str,
    scheduler: &'static str,
) -> Result<T, RecordError> {
    record
        .scalar(key)
        .ok_or(RecordError::Foreign { key, scheduler })
}

impl LrScheduler for Scheduler {
    fn step(&mut self) -> f64 {
        let value = self.peek();
        self.step = self.step.saturating_add(1);
        value
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new()
            .with_scalar("step", self.step)
            .with_scalar("fingerprint", self.schedule.fingerprint())
    }

    /// # Panics
    ///
    /// Panics where [`try_load_record`](Scheduler::try_load_record) returns an error: Burn has no
    /// other way to hear of it.
    fn load_record(&mut self, record: LrSchedulerRecord) {
        self.try_load_record(&record)
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

/// A [`ReduceOnPlateau`] as Burn's [`LrScheduler`].
///
/// Burn takes a scheduler away and never tells it a metric. So all clones of this one are the same:
/// give one to the training and [`observe`](Self::observe) through another.
///
/// ```
/// use burn::lr_scheduler::{LrScheduler, module_lr_scheduler::ModuleLrScheduler};
/// use downhill_schedule::{PlateauScheduler, ReduceOnPlateauConfig};
///
/// let config = ReduceOnPlateauConfig { patience: 0, ..ReduceOnPlateauConfig::new(0.1) };
/// let plateau = PlateauScheduler::from(config.try_build()?);
/// let mut scheduler = ModuleLrScheduler::new(plateau.clone());
///
/// assert_eq!(scheduler.step().base(), 0.1);
/// plateau.observe(1.0);
/// plateau.observe(2.0);
/// assert_eq!(scheduler.step().base(), 0.1 * 0.1);
/// # Ok::<(), downhill_schedule::ScheduleError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PlateauScheduler {
    plateau: Arc<Mutex<ReduceOnPlateau>>,
}

impl From<ReduceOnPlateau> for PlateauScheduler {
    fn from(plateau: ReduceOnPlateau) -> Self {
        let plateau = Arc::new(Mutex::new(plateau));
        Self { plateau }
    }
}

impl PlateauScheduler {
    const NAME: &str = "a downhill `PlateauScheduler`";

    fn lock(&self) -> MutexGuard<'_, ReduceOnPlateau> {
        // Nothing panics while it is held.
        self.plateau.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a metric, usually once an epoch, and returns the rate from now on.
    pub fn observe(&self, metric: f64) -> f64 {
        self.lock().observe(metric)
    }

    /// A copy of what it is now.
    pub fn plateau(&self) -> ReduceOnPlateau {
        self.lock().clone()
    }

    /// Goes on from a record.
    ///
    /// # Errors
    ///
    /// Returns an error, and stays where it is, if the record was made under other settings or by
    /// another scheduler, or is empty.
    pub fn try_load_record(&self, record: &LrSchedulerRecord) -> Result<(), RecordError> {
        let state = PlateauState {
            lr: required(record, "lr", Self::NAME)?,
            best: required(record, "best", Self::NAME)?,
            num_bad_epochs: required(record, "num_bad_epochs", Self::NAME)?,
            cooldown_counter: required(record, "cooldown_counter", Self::NAME)?,
        };
        let found = required(record, "fingerprint", Self::NAME)?;
        let mut plateau = self.lock();
        let expected = plateau.fingerprint();
        if found != expected {
            return Err(RecordError::OtherConfig {
                config: plateau.config().to_string(),
                expected,
                found,
                step: None,
            });
        }
        Ok(plateau.try_load_state(state)?)
    }
}

impl LrScheduler for PlateauScheduler {
    fn step(&mut self) -> f64 {
        self.lock().lr()
    }

    fn to_record(&self) -> LrSchedulerRecord {
        let plateau = self.lock();
        let state = plateau.state();
        LrSchedulerRecord::new()
            .with_scalar("lr", state.lr)
            .with_scalar("best", state.best)
            .with_scalar("num_bad_epochs", state.num_bad_epochs)
            .with_scalar("cooldown_counter", state.cooldown_counter)
            .with_scalar("fingerprint", plateau.fingerprint())
    }

    /// # Panics
    ///
    /// Panics where [`try_load_record`](PlateauScheduler::try_load_record) returns an error: Burn has
    /// no other way to hear of it.
    fn load_record(&mut self, record: LrSchedulerRecord) {
        self.try_load_record(&record)
            .unwrap_or_else(|error| panic!("{error}"));
    }
}
