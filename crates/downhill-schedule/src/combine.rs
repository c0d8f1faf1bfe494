//! Schedules made of others. Their users see the methods of [`CurveConfig`](crate::CurveConfig).

use alloc::{boxed::Box, format, string::String, string::ToString, sync::Arc, vec, vec::Vec};
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use downhill_setting::Range;

use crate::ScheduleError;
use crate::config::{Shape, settings};
use crate::quantity::{Length, Lengths, Value, list};
use crate::registry::Any;
use crate::scope::{Node, Scope, finite, half_cosine, mix, mix_by_factors, progress};
use crate::shapes::ConstantConfig;

/// A schedule inside another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Inner(Option<Box<Any>>);

impl Inner {
    const MISSING: Self = Self(None);

    fn new(any: Any) -> Self {
        Self(Some(Box::new(any)))
    }

    fn depth(&self) -> usize {
        self.0.as_ref().map_or(0, |any| any.depth())
    }

    /// `whole` is what the percentages of lengths refer to.
    fn build(&mut self, at: &Scope, whole: Option<u64>) -> Result<Node, ScheduleError> {
        match &mut self.0 {
            Some(any) => any.build(&at.inner(whole)),
            None => Err(at.conflict("it needs a `schedule` to work on")),
        }
    }
}

fn deepest(all: &[Any]) -> usize {
    all.iter().map(Any::depth).max().unwrap_or(0)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WarmupShape {
    Linear,
    Exponential,
    Cosine,
}

/// A rise to the first value of a schedule, for
/// [`CurveConfig::warmup`](crate::CurveConfig::warmup).
///
/// ```text
/// x = step/steps
/// value(step) = from + (to - from)·x                       linear
///             = from·(to/from)^x                           exponential
///             = from + (to - from)·(1 - cos(π·x))/2        cosine
/// ```
///
/// The value at step 0 is `from`, which is 0 unless it is set: a first update with a rate of 0 changes
/// nothing but the optimizer's state. That is how PyTorch, optax and Transformers count. Without steps
/// there is no warmup.
///
/// A number of steps, or a [`percent`](crate::percent) of them, is a linear warmup from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warmup {
    steps: Length,
    from: Value,
    shape: WarmupShape,
}

impl Warmup {
    /// Along a straight line, from 0.
    pub fn linear(steps: impl Into<Length>) -> Self {
        Self {
            steps: steps.into(),
            from: Value::ZERO,
            shape: WarmupShape::Linear,
        }
    }

    /// By the same factor at each step, from a value above 0.
    pub fn exponential(steps: impl Into<Length>, from: impl Into<Value>) -> Self {
        Self {
            steps: steps.into(),
            from: from.into(),
            shape: WarmupShape::Exponential,
        }
    }

    /// Along half a cosine, from 0: slow at both ends.
    pub fn cosine(steps: impl Into<Length>) -> Self {
        Self {
            steps: steps.into(),
            from: Value::ZERO,
            shape: WarmupShape::Cosine,
        }
    }

    /// Sets the value at step 0.
    #[must_use]
    pub fn with_from(self, from: impl Into<Value>) -> Self {
        let from = from.into();
        Self { from, ..self }
    }
}

impl<L: Into<Length>> From<L> for Warmup {
    fn from(steps: L) -> Self {
        Self::linear(steps)
    }
}

settings! {
    pub(crate) WarmupConfig, "warmup" {
        aliases: &["constant_with_warmup", "linear_warmup", "warmup_constant_schedule", "get_constant_schedule_with_warmup"],
        source: "Goyal et al. 2017, arXiv 1706.02677 (linear)",
        description: "rises to another schedule (constant, if left out), and goes on with it",
    }
    schedule: Inner = Inner::new(Any::Constant(ConstantConfig::default()));
    steps: Length = Length::Percent(5.0);
    from: Value = Value::ZERO;
    shape: WarmupShape = WarmupShape::Linear;
}

impl WarmupConfig {
    pub fn new(warmup: Warmup, any: Any) -> Self {
        let Warmup { steps, from, shape } = warmup;
        let schedule = Inner::new(any);
        Self {
            schedule,
            steps,
            from,
            shape,
        }
    }
}

impl Shape for WarmupConfig {
    fn depth(&self) -> usize {
        1 + self.schedule.depth()
    }

    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let steps = at.length("steps", &mut self.steps)?;
        let from = at.value("from", &mut self.from)?;
        let rest = at.whole.map(|whole| whole.saturating_sub(steps));
        let inner = self.schedule.build(at, rest)?;
        let to = (inner.value)(0);
        if self.shape == WarmupShape::Exponential && (from == 0.0) != (to == 0.0) {
            let allowed = "above 0 for an exponential warmup, as is the value that it rises to";
            return Err(at.out_of_range("from", from, allowed));
        }
        let shape = self.shape;
        let Node { value, phases } = inner;
        let node = Node::new(move |step| {
            if step >= steps {
                return value(step - steps);
            }
            let x = progress(step, steps);
            match shape {
                WarmupShape::Linear => mix(from, to, x),
                WarmupShape::Exponential if from == 0.0 => 0.0,
                WarmupShape::Exponential => mix_by_factors(from, to, x),
                WarmupShape::Cosine => mix(from, to, half_cosine(x)),
            }
        });
        Ok(node.with_phases_by(move |range| {
            let inner = range.start.saturating_sub(steps)..range.end.saturating_sub(steps);
            let inner = phases(inner).into_iter();
            [steps]
                .into_iter()
                .chain(inner.map(|step| step + steps))
                .collect()
        }))
    }
}

settings! {
    pub(crate) SequenceConfig, "sequence" {
        aliases: &["SequentialLR", "join_schedules"],
        source: "PyTorch, optax",
        description: "one schedule after another, each from its own beginning",
    }
    schedules: Vec<Any> = Vec::new();
    milestones: Lengths = Lengths(Vec::new());
}

impl SequenceConfig {
    /// Whether it is a sequence that another schedule can come behind.
    pub fn is_begun(any: &Any) -> bool {
        matches!(any, Any::Sequence(sequence) if !sequence.schedules.is_empty())
    }

    /// `next` after `any`, which may be a sequence already.
    pub fn appended(any: Any, milestone: Length, next: Any) -> Self {
        let is_begun = Self::is_begun(&any);
        let mut sequence = match any {
            Any::Sequence(sequence) if is_begun => sequence,
            any => Self {
                schedules: vec![any],
                ..Self::default()
            },
        };
        sequence.schedules.push(next);
        sequence.milestones.0.push(milestone);
        sequence
    }
}

impl Shape for SequenceConfig {
    fn depth(&self) -> usize {
        1 + deepest(&self.schedules)
    }

    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        if self.schedules.is_empty() {
            return Err(at.conflict("`schedules` is empty"));
        }
        if self.schedules.len() != self.milestones.0.len() + 1 {
            return Err(at.conflict(format!(
                "{} schedules have {} milestones between them, not {}",
                self.schedules.len(),
                self.schedules.len() - 1,
                self.milestones.0.len()
            )));
        }
        let milestones = ascending(at, &mut self.milestones, true)?;
        let mut starts = vec![0];
        starts.extend(milestones);
        let mut nodes = Vec::new();
        for (i, any) in self.schedules.iter_mut().enumerate() {
            let end = starts.get(i + 1).copied().or(at.whole);
            let span = end.map(|end| end.saturating_sub(starts[i]));
            nodes.push(any.build(&at.item("schedules", i).inner(span))?);
        }
        let parts: Arc<[(u64, Node)]> = starts.into_iter().zip(nodes).collect();
        let node = Node::new({
            let parts = Arc::clone(&parts);
            move |step| {
                let (start, node) = &parts[parts.partition_point(|(start, _)| *start <= step) - 1];
                (node.value)(step - start)
            }
        });
        Ok(node.with_phases_by(move |range| {
            let mut all = Vec::new();
            for (i, (start, node)) in parts.iter().enumerate() {
                let next = parts.get(i + 1).map_or(range.end, |next| next.0);
                let end = next.min(range.end).saturating_sub(*start);
                all.push(*start);
                let phases = (node.phases)(range.start.saturating_sub(*start)..end);
                all.extend(phases.into_iter().map(|step| step + start));
            }
            all
        }))
    }
}

/// Resolves `milestones`, which must ascend: strictly, or at least not fall.
pub(crate) fn ascending(
    at: &Scope,
    milestones: &mut Lengths,
    strictly: bool,
) -> Result<Vec<u64>, ScheduleError> {
    let mut steps = Vec::new();
    for (i, length) in milestones.0.iter_mut().enumerate() {
        steps.push(at.length(&format!("milestones[{i}]"), length)?);
    }
    let rises = |pair: &[u64]| pair[0] < pair[1] || (!strictly && pair[0] == pair[1]);
    if steps.windows(2).all(rises) {
        return Ok(steps);
    }
    let allowed = if strictly {
        "in ascending order"
    } else {
        "in order"
    };
    Err(at.out_of_range("milestones", list(steps), allowed))
}

settings! {
    pub(crate) ProductConfig, "product" {
        aliases: &["ChainedScheduler"],
        source: "PyTorch",
        description: "a schedule times one or more multipliers, all on the same clock",
    }
    schedule: Inner = Inner::MISSING;
    multipliers: Vec<Any> = Vec::new();
}

impl ProductConfig {
    /// Whether it is a product that has room for another multiplier.
    pub fn is_begun(any: &Any) -> bool {
        matches!(any, Any::Product(_))
    }

    /// `any`, which may be a product already, times `multiplier`.
    pub fn appended(any: Any, multiplier: Any) -> Self {
        let mut product = match any {
            Any::Product(product) => product,
            any => Self {
                schedule: Inner::new(any),
                multipliers: Vec::new(),
            },
        };
        product.multipliers.push(multiplier);
        product
    }
}

impl Shape for ProductConfig {
    fn depth(&self) -> usize {
        1 + self.schedule.depth().max(deepest(&self.multipliers))
    }

    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        if self.multipliers.is_empty() {
            return Err(at.conflict("`multipliers` is empty"));
        }
        let mut nodes = vec![self.schedule.build(at, at.whole)?];
        for (i, any) in self.multipliers.iter_mut().enumerate() {
            nodes.push(any.build(&at.item("multipliers", i).with_base(1.0))?);
        }
        let nodes: Arc<[Node]> = nodes.into();
        let node = Node::new({
            let nodes = Arc::clone(&nodes);
            move |step| {
                let values = nodes.iter().map(|node| (node.value)(step));
                values.fold(1.0, |product, value| finite(product * value))
            }
        });
        Ok(node.with_phases_by(move |range| {
            let each = nodes.iter().flat_map(|node| (node.phases)(range.clone()));
            let mut all: Vec<u64> = each.collect();
            all.sort_unstable();
            all
        }))
    }
}

settings! {
    pub(crate) ScaleConfig, "scale" {
        aliases: &[],
        source: "",
        description: "another schedule times a factor",
    }
    schedule: Inner = Inner::MISSING;
    factor: f64 = 1.0;
}

impl ScaleConfig {
    pub fn new(factor: f64, any: Any) -> Self {
        let schedule = Inner::new(any);
        Self { schedule, factor }
    }
}

impl Shape for ScaleConfig {
    fn depth(&self) -> usize {
        1 + self.schedule.depth()
    }

    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let factor = self.factor;
        at.check("factor", factor, Range::NOT_NEGATIVE)?;
        let Node { value, phases } = self.schedule.build(at, at.whole)?;
        let value = Box::new(move |step| finite(factor * value(step)));
        Ok(Node { value, phases })
    }
}

settings! {
    pub(crate) ClampConfig, "clamp" {
        aliases: &[],
        source: "optax (end_value)",
        description: "another schedule, but never below `min` nor above `max`",
    }
    schedule: Inner = Inner::MISSING;
    min: Option<Value> = None;
    max: Option<Value> = None;
}

impl ClampConfig {
    pub fn new(min: Option<Value>, max: Option<Value>, any: Any) -> Self {
        let schedule = Inner::new(any);
        Self { schedule, min, max }
    }
}

impl Shape for ClampConfig {
    fn depth(&self) -> usize {
        1 + self.schedule.depth()
    }

    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let (min, max) = (self.min.as_mut(), self.max.as_mut());
        if min.is_none() && max.is_none() {
            return Err(at.conflict("it needs a `min`, a `max`, or both"));
        }
        let min = min.map_or(Ok(0.0), |min| at.value("min", min))?;
        let max = max.map_or(Ok(f64::MAX), |max| at.value("max", max))?;
        if min > max {
            return Err(at.out_of_range("min", min, format!("at most the max of {max}")));
        }
        let Node { value, phases } = self.schedule.build(at, at.whole)?;
        let value = Box::new(move |step| value(step).clamp(min, max));
        Ok(Node { value, phases })
    }
}

settings! {
    pub(crate) ShiftConfig, "shift" {
        aliases: &[],
        source: "optax (transition_begin)",
        description: "another schedule later by `steps`, or earlier if that is negative",
    }
    schedule: Inner = Inner::MISSING;
    steps: i64 = 0;
}

impl ShiftConfig {
    pub fn new(steps: i64, any: Any) -> Self {
        let schedule = Inner::new(any);
        Self { schedule, steps }
    }
}

impl Shape for ShiftConfig {
    fn depth(&self) -> usize {
        1 + self.schedule.depth()
    }

    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let steps = self.steps;
        let later = u64::try_from(steps).unwrap_or(0);
        let earlier = if steps < 0 { steps.unsigned_abs() } else { 0 };
        let shifted = move |step: u64| step.saturating_sub(later).saturating_add(earlier);
        let whole = at.whole.map(shifted);
        let Node { value, phases } = self.schedule.build(at, whole)?;
        let node = Node::new(move |step| value(shifted(step)));
        Ok(node.with_phases_by(move |range| {
            let inner = phases(shifted(range.start)..shifted(range.end)).into_iter();
            let inner = inner.filter(|step| *step > earlier);
            inner
                .map(|step| (step - earlier).saturating_add(later))
                .collect()
        }))
    }
}

settings! {
    pub(crate) RepeatConfig, "repeat" {
        aliases: &[],
        source: "",
        description: "the beginning of another schedule, again and again",
    }
    schedule: Inner = Inner::MISSING;
    period: Length = Length::WHOLE;
}

impl RepeatConfig {
    pub fn new(period: Length, any: Any) -> Self {
        let schedule = Inner::new(any);
        Self { schedule, period }
    }
}

impl Shape for RepeatConfig {
    fn depth(&self) -> usize {
        1 + self.schedule.depth()
    }

    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let period = at.period("period", &mut self.period)?;
        let Node { value, phases } = self.schedule.build(at, Some(period))?;
        let node = Node::new(move |step| value(step % period));
        Ok(node.with_phases_by(move |range| {
            let times = range.start / period..range.end.div_ceil(period);
            let starts = times.map(|n| n * period);
            let all = starts.flat_map(|start| {
                let end = period.min(range.end - start);
                let inner = phases(range.start.saturating_sub(start)..end).into_iter();
                [start]
                    .into_iter()
                    .chain(inner.map(move |step| start + step))
            });
            all.collect()
        }))
    }
}

settings! {
    pub(crate) PerEpochConfig, "per_epoch" {
        aliases: &[],
        source: "PyTorch, where schedulers are stepped once an epoch",
        description: "another schedule, whose steps are epochs of `steps_per_epoch` steps",
    }
    schedule: Inner = Inner::MISSING;
    steps_per_epoch: u64 = 0;
}

impl PerEpochConfig {
    pub fn new(steps_per_epoch: u64, any: Any) -> Self {
        let schedule = Inner::new(any);
        Self {
            schedule,
            steps_per_epoch,
        }
    }
}

impl Shape for PerEpochConfig {
    fn depth(&self) -> usize {
        1 + self.schedule.depth()
    }

    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let steps = self.steps_per_epoch;
        at.check("steps_per_epoch", steps as f64, Range::AT_LEAST_ONE)?;
        let epochs = at.whole.map(|whole| whole.div_ceil(steps));
        let Node { value, phases } = self.schedule.build(at, epochs)?;
        let node = Node::new(move |step| value(step / steps));
        Ok(node.with_phases_by(move |range| {
            let epochs = phases(range.start.div_ceil(steps)..range.end.div_ceil(steps));
            epochs.into_iter().map(|epoch| epoch * steps).collect()
        }))
    }
}

/// A user's function.
#[derive(Clone, Serialize)]
pub(crate) struct CustomConfig {
    function: String,
    #[serde(skip)]
    value: Option<Arc<dyn Fn(u64) -> f64 + Send + Sync>>,
}

impl CustomConfig {
    pub const FIELDS: &'static [&'static str] = &["function"];

    pub const INFO: crate::ScheduleInfo = crate::ScheduleInfo {
        name: "custom",
        aliases: &["LambdaLR"],
        source: "PyTorch",
        description: "a function of the step, in Rust only: see `ScheduleConfig::custom`",
    };

    pub fn new(function: &str, value: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self {
            function: function.to_string(),
            value: Some(Arc::new(value)),
        }
    }
}

impl Default for CustomConfig {
    /// A name that has no function yet.
    fn default() -> Self {
        Self {
            function: String::new(),
            value: None,
        }
    }
}

impl Shape for CustomConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        match &self.value {
            Some(value) => {
                let value = Arc::clone(value);
                Ok(Node::new(move |step| value(step)))
            }
            None => Err(at.conflict(
                "a function cannot be read from JSON; make it with `ScheduleConfig::custom`",
            )),
        }
    }
}

impl PartialEq for CustomConfig {
    /// The same function, not merely the same name.
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.value, &other.value) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        same && self.function == other.function
    }
}

impl fmt::Debug for CustomConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomConfig")
            .field("function", &self.function)
            .finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for CustomConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Named {
            function: String,
        }
        let Named { function } = Named::deserialize(deserializer)?;
        Ok(Self {
            function,
            value: None,
        })
    }
}
