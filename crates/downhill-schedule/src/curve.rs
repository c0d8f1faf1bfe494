use alloc::{string::ToString, sync::Arc, vec::Vec};
use core::{fmt, marker::PhantomData, ops::Mul};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::combine::*;
use crate::quantity::{Length, Value};
use crate::registry::Any;
use crate::scope::{Node, Scope};
use crate::{ConstantConfig, CosineConfig, ScheduleError, ScheduleInfo, Warmup};

/// The unit of a [`Schedule`]: a learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {}

/// The unit of a [`Multiplier`]: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unitless {}

/// A learning rate as a function of the step.
///
/// ```
/// use downhill_schedule::CosineConfig;
///
/// let schedule = CosineConfig::new(0.1, 1_000).schedule().warmup(100).try_build()?;
/// assert_eq!(schedule.value(0), 0.0);
/// assert_eq!(schedule.value(100), 0.1);
/// assert_eq!(schedule.value(1_100), 0.0);
/// assert_eq!(schedule.value(u64::MAX), 0.0);
/// # Ok::<(), downhill_schedule::ScheduleError>(())
/// ```
pub type Schedule = Curve<Rate>;

/// A factor without unit as a function of the step.
pub type Multiplier = Curve<Unitless>;

/// The settings of a [`Schedule`]: see [`CurveConfig`].
pub type ScheduleConfig = CurveConfig<Rate>;

/// The settings of a [`Multiplier`]: see [`CurveConfig`].
pub type MultiplierConfig = CurveConfig<Unitless>;

/// A built [`Schedule`] or [`Multiplier`]: a pure function of the step.
///
/// Two are equal if their settings are, and cloning one is cheap. In JSON it is its
/// [`config`](Self::config).
pub struct Curve<U> {
    config: CurveConfig<U>,
    node: Arc<Node>,
}

impl<U> Curve<U> {
    /// The value for the update `step`, counted from 0. Defined for every step: what has an end stays
    /// at its last value.
    pub fn value(&self, step: u64) -> f64 {
        (self.node.value)(step)
    }

    /// The steps after 0 and below `until` at which another phase begins: the end of a warmup, a
    /// restart, a milestone, the end of a decay. Ascending.
    pub fn phases(&self, until: u64) -> Vec<u64> {
        (self.node.phases)(1..until)
    }

    /// Whether it is [`ConstantConfig`]'s, the same at every step.
    pub fn is_constant(&self) -> bool {
        matches!(self.config.any, Any::Constant(_))
    }

    /// The settings, with every percentage replaced by what it came to.
    pub fn config(&self) -> &CurveConfig<U> {
        &self.config
    }

    /// A hash of the settings, the same on every machine.
    pub fn fingerprint(&self) -> u64 {
        hash(&self.config)
    }
}

/// A hash of what is written as JSON, the same on every machine (FNV-1a).
pub(crate) fn hash(settings: &impl ToString) -> u64 {
    settings
        .to_string()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// The settings of a schedule (`U` is [`Rate`]) or of a multiplier ([`Unitless`]), and the ways to
/// combine them. Both have the same shapes and cannot be taken for one another: a schedule can be
/// multiplied by a multiplier, but not by a schedule.
///
/// It comes from a shape's [`schedule()`](crate::CosineConfig::schedule) or
/// [`multiplier()`](crate::CosineConfig::multiplier), or from JSON.
///
/// # JSON
///
/// An object with the schedule's `name`. Settings that are left out have their default, and an
/// unknown name or setting is an error that suggests the nearest one. Schedules that change another
/// one have it as their `schedule`:
///
/// ```
/// use downhill_schedule::ScheduleConfig;
///
/// let config = ScheduleConfig::from_json(r#"{
///     "name": "warmup", "steps": "5%", "schedule": {"name": "cosine", "peak": 0.2, "floor": "1%"}
/// }"#)?;
/// let schedule = config.try_build_for(0.1, 1_000)?;
/// assert_eq!(schedule.value(50), 0.2);
/// assert_eq!(schedule.value(1_000), 0.001);
///
/// let error = ScheduleConfig::by_name("cosin").unwrap_err();
/// assert!(error.to_string().ends_with("did you mean `cosine`?"));
/// # Ok::<(), downhill_schedule::ScheduleError>(())
/// ```
///
/// Names of PyTorch, optax and Transformers are understood too: `StepLR`, `cosine_with_restarts`. `warmup_cosine` and
/// `warmup_linear` (or `get_cosine_schedule_with_warmup`) are a warmup with such a schedule after it, and `warmup`
/// its length:
///
/// ```
/// # use downhill_schedule::{CosineConfig, ScheduleConfig, percent};
/// let short = ScheduleConfig::from_json(r#"{"name": "warmup_cosine", "warmup": 100, "floor": "1%"}"#)?;
/// let long = CosineConfig::default().with_floor(percent(1.0)).schedule().warmup(100);
/// assert_eq!(short, long);
/// # Ok::<(), downhill_schedule::ScheduleError>(())
/// ```
///
/// # Depth
///
/// At most [`MAX_DEPTH`](Self::MAX_DEPTH) schedules may be inside one another; more are an error when
/// they are built. Settings that are too deep already are not made any deeper: what is put around them
/// is left out.
pub struct CurveConfig<U> {
    any: Any,
    /// How many schedules are inside one another, the outermost counted.
    depth: usize,
    unit: PhantomData<fn() -> U>,
}

impl<U> From<Any> for CurveConfig<U> {
    fn from(any: Any) -> Self {
        let depth = any.depth();
        Self::of_depth(any, depth)
    }
}

impl<U> CurveConfig<U> {
    /// The most schedules that may be inside one another: 32. `cosine` is one, and with a warmup it is
    /// two; schedules [after](Self::then) one another, or multiplied with one another, are one more
    /// than the deepest of them.
    pub const MAX_DEPTH: usize = 32;

    fn of_depth(any: Any, depth: usize) -> Self {
        let unit = PhantomData;
        Self { any, depth, unit }
    }

    /// Everything that is done with settings (they are built, written, compared, dropped) goes through
    /// them by recursion, for which a thread has only so much room. So nothing is made that is more
    /// than one too deep, which is what building refuses.
    fn is_too_deep(&self) -> bool {
        self.depth > Self::MAX_DEPTH
    }

    /// Inside another schedule.
    fn inside<C: Into<Any>>(self, around: impl FnOnce(Any) -> C) -> Self {
        if self.is_too_deep() {
            return self;
        }
        Self::of_depth(around(self.any).into(), self.depth + 1)
    }

    /// Inside another schedule together with `other`, which comes behind those that are there if it is
    /// such a schedule already.
    fn together<V, C: Into<Any>>(
        self,
        other: CurveConfig<V>,
        is_list: fn(&Any) -> bool,
        join: impl FnOnce(Any, Any) -> C,
    ) -> Self {
        if self.is_too_deep() {
            return self;
        }
        if other.is_too_deep() {
            return Self::of_depth(other.any, other.depth);
        }
        let own = self.depth + usize::from(!is_list(&self.any));
        Self::of_depth(join(self.any, other.any).into(), own.max(other.depth + 1))
    }

    /// Every schedule, with a line about it.
    pub fn all() -> Vec<ScheduleInfo> {
        Any::all()
    }

    /// The schedule of this name, with its default settings.
    ///
    /// # Errors
    ///
    /// Suggests the nearest name if there is none.
    pub fn by_name(name: &str) -> Result<Self, ScheduleError> {
        Any::by_name(name).map(Self::from)
    }

    /// Reads a JSON object with a `name`. Numbers are checked when it is built, where the percentages
    /// are known.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the JSON, a name or a field.
    pub fn from_json(json: &str) -> Result<Self, ScheduleError> {
        let value =
            serde_json::from_str(json).map_err(|error| ScheduleError::Json(error.to_string()))?;
        Any::from_value(value).map(Self::from)
    }

    /// The name, as in JSON.
    pub fn name(&self) -> &'static str {
        self.any.info().name
    }

    fn build_in(&self, scope: &Scope) -> Result<Curve<U>, ScheduleError> {
        if self.is_too_deep() {
            return Err(ScheduleError::TooDeep);
        }
        let mut config = self.clone();
        let node = config.any.build(scope)?;
        let node = Arc::new(node);
        Ok(Curve { config, node })
    }

    /// The same value at every step.
    pub fn constant(value: impl Into<Value>) -> Self {
        ConstantConfig::new(value).into()
    }

    /// A warmup from 0 to `peak`, and half a cosine from there to 0: `steps` are those of both together.
    ///
    /// ```
    /// use downhill_schedule::ScheduleConfig;
    ///
    /// let schedule = ScheduleConfig::warmup_cosine(1e-3, 100, 1_000).try_build()?;
    /// assert_eq!([0, 100, 1_000].map(|step| schedule.value(step)), [0.0, 1e-3, 0.0]);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    pub fn warmup_cosine(peak: impl Into<Value>, warmup: u64, steps: u64) -> Self {
        let after = CosineConfig::new(peak, steps.saturating_sub(warmup));
        Self::from(after).warmup(warmup)
    }

    /// A function of the step that is not in this library; `name` stands for it in messages, in
    /// comparisons and in fingerprints. It is not checked: what it returns should be finite and not
    /// negative.
    ///
    /// ```
    /// use downhill_schedule::ScheduleConfig;
    ///
    /// let config = ScheduleConfig::custom("inverse", |step| 0.1 / (1.0 + step as f64));
    /// assert_eq!(config.try_build()?.value(4), 0.02);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    pub fn custom(name: &str, value: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        CustomConfig::new(name, value).into()
    }

    /// Rises to the schedule's first value, and then begins with it: see [`Warmup`]. The schedule is
    /// later by the length of the warmup.
    ///
    #[doc = include_str!("../docs/warmup.svg")]
    ///
    /// ```
    /// use downhill_schedule::{CosineConfig, Warmup};
    ///
    /// let config = CosineConfig::new(0.1, 90).schedule();
    /// let linear = config.clone().warmup(10).try_build()?;
    /// assert_eq!(linear.value(5), 0.05);
    /// assert_eq!(linear.value(10), 0.1);
    ///
    /// let exponential = config.warmup(Warmup::exponential(10, 0.001)).try_build()?;
    /// assert!((exponential.value(5) - 0.01).abs() < 1e-15);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    #[must_use]
    pub fn warmup(self, warmup: impl Into<Warmup>) -> Self {
        self.inside(|any| WarmupConfig::new(warmup.into(), any))
    }

    /// Goes over to `next` at the step `milestone`, counted from the beginning of the whole. `next`
    /// begins with its own step 0 there.
    ///
    #[doc = include_str!("../docs/then.svg")]
    ///
    /// ```
    /// use downhill_schedule::{LinearConfig, ScheduleConfig};
    ///
    /// let config = ScheduleConfig::constant(1.0)
    ///     .then(100, LinearConfig::new(0.5, 0.25, 50).schedule())
    ///     .then(200, ScheduleConfig::constant(0.125));
    /// let schedule = config.try_build()?;
    /// assert_eq!([99, 125, 150, 199, 200].map(|k| schedule.value(k)), [1.0, 0.375, 0.25, 0.25, 0.125]);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    #[must_use]
    pub fn then(self, milestone: impl Into<Length>, next: Self) -> Self {
        self.together(next, SequenceConfig::is_begun, |any, next| {
            SequenceConfig::appended(any, milestone.into(), next)
        })
    }

    /// The values times `factor`, at least 0.
    ///
    #[doc = include_str!("../docs/scale.svg")]
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        self.inside(|any| ScaleConfig::new(factor, any))
    }

    /// The values, but never below `min` nor above `max`.
    ///
    #[doc = include_str!("../docs/clamp.svg")]
    #[must_use]
    pub fn clamp(self, min: impl Into<Value>, max: impl Into<Value>) -> Self {
        self.inside(|any| ClampConfig::new(Some(min.into()), Some(max.into()), any))
    }

    /// The values, but never below `min`.
    #[must_use]
    pub fn at_least(self, min: impl Into<Value>) -> Self {
        self.inside(|any| ClampConfig::new(Some(min.into()), None, any))
    }

    /// The values, but never above `max`.
    #[must_use]
    pub fn at_most(self, max: impl Into<Value>) -> Self {
        self.inside(|any| ClampConfig::new(None, Some(max.into()), any))
    }

    /// Begins `steps` later, with the first value until then; or, where `steps` is negative, so many
    /// steps into the schedule.
    ///
    #[doc = include_str!("../docs/shift.svg")]
    #[must_use]
    pub fn shift(self, steps: i64) -> Self {
        self.inside(|any| ShiftConfig::new(steps, any))
    }

    /// Begins anew after each `period` of steps.
    ///
    #[doc = include_str!("../docs/repeat.svg")]
    #[must_use]
    pub fn repeat(self, period: impl Into<Length>) -> Self {
        self.inside(|any| RepeatConfig::new(period.into(), any))
    }

    /// Counts epochs of so many steps instead of steps: the value changes where an epoch begins.
    ///
    #[doc = include_str!("../docs/per_epoch.svg")]
    ///
    /// ```
    /// use downhill_schedule::StepConfig;
    ///
    /// // A tenth of the rate after each 30 epochs of 45 steps.
    /// let config = StepConfig::new(0.1, 30).schedule().per_epoch(45);
    /// let schedule = config.try_build()?;
    /// assert_eq!(schedule.value(30 * 45 - 1), 0.1);
    /// assert_eq!(schedule.value(30 * 45), 0.1 * 0.1);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    #[must_use]
    pub fn per_epoch(self, steps_per_epoch: u64) -> Self {
        self.inside(|any| PerEpochConfig::new(steps_per_epoch, any))
    }
}

impl ScheduleConfig {
    /// The schedule.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is wrong, or a percentage: see
    /// [`try_build_for`](Self::try_build_for).
    pub fn try_build(&self) -> Result<Schedule, ScheduleError> {
        self.build_in(&Scope::new(None, None))
    }

    /// The schedule in which percentages of values refer to the rate `lr`.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is wrong, or a percentage of a length: see
    /// [`try_build_for`](Self::try_build_for).
    pub fn try_build_at(&self, lr: f64) -> Result<Schedule, ScheduleError> {
        self.build_in(&Scope::new(Some(lr), None))
    }

    /// The schedule of a training of `steps` steps, in which percentages of values refer to the rate
    /// `lr` and percentages of lengths to `steps`.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is wrong.
    pub fn try_build_for(&self, lr: f64, steps: u64) -> Result<Schedule, ScheduleError> {
        self.build_in(&Scope::new(Some(lr), Some(steps)))
    }
}

impl MultiplierConfig {
    /// The multiplier. Percentages of values refer to 1.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is wrong, or a percentage of a length: see
    /// [`try_build_for`](Self::try_build_for).
    pub fn try_build(&self) -> Result<Multiplier, ScheduleError> {
        self.build_in(&Scope::new(Some(1.0), None))
    }

    /// The multiplier of a training of `steps` steps, in which percentages of lengths refer to
    /// `steps`, and percentages of values to 1.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is wrong.
    pub fn try_build_for(&self, steps: u64) -> Result<Multiplier, ScheduleError> {
        self.build_in(&Scope::new(Some(1.0), Some(steps)))
    }
}

/// The product. A rate times a multiplier is a rate.
///
#[doc = include_str!("../docs/product.svg")]
///
/// Two rates cannot be multiplied:
///
/// ```compile_fail
/// use downhill_schedule::ScheduleConfig;
///
/// let product = ScheduleConfig::constant(0.1) * ScheduleConfig::constant(0.1);
/// ```
///
/// ```
/// use downhill_schedule::{CosineConfig, LinearConfig};
///
/// let ramp = LinearConfig::new(0.0, 1.0, 10).multiplier();
/// let schedule = (CosineConfig::new(0.5, 100).schedule() * ramp).try_build()?;
/// assert_eq!(schedule.value(0), 0.0);
/// assert!((schedule.value(50) - 0.25).abs() < 1e-15);
/// # Ok::<(), downhill_schedule::ScheduleError>(())
/// ```
impl<U> Mul<MultiplierConfig> for CurveConfig<U> {
    type Output = Self;

    fn mul(self, multiplier: MultiplierConfig) -> Self {
        self.together(multiplier, ProductConfig::is_begun, ProductConfig::appended)
    }
}

// By hand, because derived ones would ask the same of the unit.

impl<U> Clone for Curve<U> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            node: Arc::clone(&self.node),
        }
    }
}

impl<U> PartialEq for Curve<U> {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config
    }
}

impl<U> fmt::Debug for Curve<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

impl<U> Clone for CurveConfig<U> {
    fn clone(&self) -> Self {
        self.any.clone().into()
    }
}

impl<U> PartialEq for CurveConfig<U> {
    fn eq(&self, other: &Self) -> bool {
        self.any == other.any
    }
}

impl<U> fmt::Debug for CurveConfig<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.any.fmt(f)
    }
}

/// The settings as JSON, as [`from_json`](CurveConfig::from_json) reads them.
impl<U> fmt::Display for CurveConfig<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl<U> Serialize for CurveConfig<U> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.any.serialize(serializer)
    }
}

impl<'de, U> Deserialize<'de> for CurveConfig<U> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Any::deserialize(deserializer).map(Self::from)
    }
}

impl<U> Serialize for Curve<U> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.config.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let config = ScheduleConfig::deserialize(deserializer)?;
        config.try_build().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Multiplier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let config = MultiplierConfig::deserialize(deserializer)?;
        config.try_build().map_err(D::Error::custom)
    }
}
