use core::fmt;

use burn::lr_scheduler::LrScheduler;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use downhill_schedule::{Multiplier, PlateauScheduler, Schedule, ScheduleConfig};
use downhill_setting::Range;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number that may follow a schedule: a learning rate, a weight decay, a momentum, a threshold.
///
/// ```
/// use downhill_schedule::LinearConfig;
/// use downhill_train::Setting;
///
/// let constant = Setting::from(1.0);
/// assert_eq!(constant.value(7), 1.0);
///
/// // Ten at first, and one from step 100 on.
/// let falling = Setting::from(LinearConfig::new(10.0, 1.0, 100).try_build()?);
/// assert_eq!(falling.value(50), 5.5);
/// # Ok::<(), downhill_schedule::ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Setting {
    /// The same at every step.
    Constant(f64),
    /// A schedule.
    Schedule(Schedule),
    /// A schedule without a unit.
    Multiplier(Multiplier),
}

impl Setting {
    /// The value for the update `step`, counted from 0.
    pub fn value(&self, step: u64) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Schedule(schedule) => schedule.value(step),
            Self::Multiplier(multiplier) => multiplier.value(step),
        }
    }

    /// Whether it never changes.
    pub(crate) fn is_constant(&self) -> bool {
        match self {
            Self::Constant(_) => true,
            Self::Schedule(schedule) => schedule.is_constant(),
            Self::Multiplier(multiplier) => multiplier.is_constant(),
        }
    }
}

impl From<f64> for Setting {
    fn from(value: f64) -> Self {
        Self::Constant(value)
    }
}

impl From<Schedule> for Setting {
    fn from(schedule: Schedule) -> Self {
        Self::Schedule(schedule)
    }
}

impl From<Multiplier> for Setting {
    fn from(multiplier: Multiplier) -> Self {
        Self::Multiplier(multiplier)
    }
}

/// The number, or the schedule as JSON.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => value.fmt(f),
            Self::Schedule(schedule) => schedule.config().fmt(f),
            Self::Multiplier(multiplier) => multiplier.config().fmt(f),
        }
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Constant(value) => value.serialize(serializer),
            Self::Schedule(schedule) => schedule.serialize(serializer),
            Self::Multiplier(multiplier) => multiplier.serialize(serializer),
        }
    }
}

/// A number, or a schedule whose lengths are in updates.
impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if let Some(number) = value.as_f64() {
            return Ok(Self::Constant(number));
        }
        if !value.is_object() {
            let found = format!("{value} is neither a number nor a schedule");
            return Err(D::Error::custom(found));
        }
        let config: ScheduleConfig = serde_json::from_value(value).map_err(D::Error::custom)?;
        let schedule = config.try_build().map_err(D::Error::custom)?;
        Ok(Self::Schedule(schedule))
    }
}

/// Where the learning rate comes from.
///
/// A [`Setting`] is a pure function of the update, and the driver keeps its position. A scheduler of
/// Burn keeps its own: it is stepped once for each update, and not for what is skipped or fails.
#[derive(Clone)]
#[non_exhaustive]
pub enum Rate {
    /// A number or a schedule.
    Setting(Setting),
    /// Burn's own schedulers, a user's, [`ReduceOnPlateau`](downhill_schedule::ReduceOnPlateau).
    Scheduler(ModuleLrScheduler),
}

impl Rate {
    /// The rate of a scheduler of a user's own. What Burn's configs make is taken as it is:
    ///
    /// ```
    /// use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
    /// use downhill_train::Rate;
    ///
    /// let rate = Rate::from(CosineAnnealingLrSchedulerConfig::new(0.1, 1_000).init()?);
    /// # Ok::<(), String>(())
    /// ```
    pub fn scheduler(scheduler: impl LrScheduler + 'static) -> Self {
        Self::Scheduler(ModuleLrScheduler::new(scheduler))
    }
}

impl<S: Into<Setting>> From<S> for Rate {
    fn from(setting: S) -> Self {
        Self::Setting(setting.into())
    }
}

impl From<ModuleLrScheduler> for Rate {
    fn from(scheduler: ModuleLrScheduler) -> Self {
        Self::Scheduler(scheduler)
    }
}

impl From<PlateauScheduler> for Rate {
    fn from(plateau: PlateauScheduler) -> Self {
        Self::scheduler(plateau)
    }
}

/// `value`, or what is wrong with it.
pub(crate) fn in_range(setting: &str, value: f64, range: Range) -> Result<f64, OutOfRange> {
    match range.contains(value) {
        true => Ok(value),
        false => Err(OutOfRange {
            setting: setting.to_string(),
            value,
            allowed: range.allowed,
        }),
    }
}

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{setting}` must be {allowed}, got {value}")]
pub struct OutOfRange {
    /// The setting's name.
    pub setting: String,
    /// Its value.
    pub value: f64,
    /// What it may be.
    pub allowed: &'static str,
}
