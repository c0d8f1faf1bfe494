use alloc::{boxed::Box, format, string::String, string::ToString, vec::Vec};
use core::{fmt, ops};

use downhill_setting::Range;

use crate::ScheduleError;
use crate::quantity::{Length, Value};

/// What a built schedule consists of.
pub(crate) struct Node {
    pub value: Box<dyn Fn(u64) -> f64 + Send + Sync>,
    /// The steps in the argument, except step 0, at which another phase begins; ascending. A range,
    /// because what is asked for as part of another schedule may be far from the beginning.
    pub phases: Box<dyn Fn(ops::Range<u64>) -> Vec<u64> + Send + Sync>,
}

impl Node {
    pub fn new(value: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self {
            value: Box::new(value),
            phases: Box::new(|_| Vec::new()),
        }
    }

    /// The phases begin at these steps, given in ascending order.
    pub fn with_phases(self, steps: impl Into<Vec<u64>>) -> Self {
        let steps = steps.into();
        self.with_phases_by(move |range| {
            let first = steps.partition_point(|step| *step < range.start);
            let end = steps.partition_point(|step| *step < range.end);
            steps[first..end].to_vec()
        })
    }

    /// `phases` may be off at both ends of the range, and may say a step more than once.
    pub fn with_phases_by(
        self,
        phases: impl Fn(ops::Range<u64>) -> Vec<u64> + Send + Sync + 'static,
    ) -> Self {
        let phases = move |range: ops::Range<u64>| {
            let range = range.start.max(1)..range.end;
            if range.is_empty() {
                return Vec::new();
            }
            let mut steps = phases(range.clone());
            steps.retain(|step| range.contains(step));
            steps.dedup();
            steps
        };
        Self {
            phases: Box::new(phases),
            ..self
        }
    }
}

const PERCENT: Range = Range::new("from 0% to 100%", |x| (0.0..=100.0).contains(&x));

/// Where a schedule is built: what its percentages refer to, and what its mistakes are reported as.
pub(crate) struct Scope {
    pub base: Option<f64>,
    pub whole: Option<u64>,
    /// The schedule's name after those around it.
    path: String,
}

impl Scope {
    pub fn new(base: Option<f64>, whole: Option<u64>) -> Self {
        let path = String::new();
        Self { base, whole, path }
    }

    /// The same place, in the words of the schedule that is built there.
    pub fn named(&self, name: &str) -> Self {
        let path = match self.path.as_str() {
            "" => name.to_string(),
            path => format!("{path} > {name}"),
        };
        Self { path, ..*self }
    }

    /// For a schedule inside this one, which has `whole` steps for itself.
    pub fn inner(&self, whole: Option<u64>) -> Self {
        let path = self.path.clone();
        Self {
            whole,
            path,
            ..*self
        }
    }

    /// For one of several schedules inside this one.
    pub fn item(&self, field: &str, index: usize) -> Self {
        let path = format!("{} > {field}[{index}]", self.path);
        Self { path, ..*self }
    }

    /// Where percentages of values refer to `base`.
    pub fn with_base(self, base: f64) -> Self {
        let base = Some(base);
        Self { base, ..self }
    }

    /// Resolves `value` and checks it.
    pub fn value(&self, field: &str, value: &mut Value) -> Result<f64, ScheduleError> {
        self.value_in(field, value, Range::NOT_NEGATIVE)
    }

    pub fn value_in(
        &self,
        field: &str,
        value: &mut Value,
        range: Range,
    ) -> Result<f64, ScheduleError> {
        let absolute = match *value {
            Value::Absolute(value) => value,
            Value::Percent(percent) => {
                self.check(field, percent, Range::NOT_NEGATIVE)?;
                let base = self
                    .base
                    .ok_or_else(|| self.unresolved(field, value, "the base rate"))?;
                // 100 % is the base itself, to the last bit.
                base * (percent / 100.0)
            }
        };
        self.check(field, absolute, range)?;
        *value = Value::Absolute(absolute);
        Ok(absolute)
    }

    /// Resolves `length` and checks it.
    pub fn length(&self, field: &str, length: &mut Length) -> Result<u64, ScheduleError> {
        let steps = match *length {
            Length::Steps(steps) => steps,
            Length::Percent(percent) => {
                self.check(field, percent, PERCENT)?;
                let whole = self.whole;
                let whole = whole.ok_or_else(|| self.unresolved(field, length, "the whole"))?;
                // In this order half a step is half a step, and is rounded up.
                libm::round(whole as f64 * percent / 100.0) as u64
            }
        };
        *length = Length::Steps(steps);
        Ok(steps)
    }

    /// A length that something is divided by.
    pub fn period(&self, field: &str, length: &mut Length) -> Result<u64, ScheduleError> {
        match self.length(field, length)? {
            0 => Err(self.out_of_range(field, 0, "at least 1 step")),
            steps => Ok(steps),
        }
    }

    pub fn check(&self, field: &str, number: f64, range: Range) -> Result<(), ScheduleError> {
        if range.contains(number) {
            Ok(())
        } else {
            Err(self.out_of_range(field, number, range.allowed))
        }
    }

    /// The floor must not be above the peak.
    pub fn floor_below_peak(&self, floor: f64, peak: f64) -> Result<(), ScheduleError> {
        if floor <= peak {
            return Ok(());
        }
        Err(self.out_of_range("floor", floor, format!("at most the peak of {peak}")))
    }

    pub fn out_of_range(
        &self,
        field: &str,
        value: impl fmt::Display,
        allowed: impl Into<String>,
    ) -> ScheduleError {
        ScheduleError::OutOfRange {
            schedule: self.path.clone(),
            field: field.to_string(),
            value: value.to_string(),
            allowed: allowed.into(),
        }
    }

    pub fn conflict(&self, reason: impl Into<String>) -> ScheduleError {
        ScheduleError::Conflict {
            schedule: self.path.clone(),
            reason: reason.into(),
        }
    }

    fn unresolved(
        &self,
        field: &str,
        value: &dyn fmt::Display,
        whole: &'static str,
    ) -> ScheduleError {
        ScheduleError::Unresolved {
            schedule: self.path.clone(),
            field: field.to_string(),
            value: value.to_string(),
            whole,
        }
    }
}

/// `weight` of the way from `a` to `b`: exactly `a` at 0, exactly `b` at 1, never outside them.
pub(crate) fn mix(a: f64, b: f64, weight: f64) -> f64 {
    if weight >= 1.0 {
        b
    } else {
        (a + (b - a) * weight).clamp(a.min(b), a.max(b))
    }
}

/// `weight` of the way from `a` to `b`, both above 0, by equal factors. No quotient of them is taken,
/// which might be too large for a number.
pub(crate) fn mix_by_factors(a: f64, b: f64, weight: f64) -> f64 {
    let product = libm::pow(a, 1.0 - weight) * libm::pow(b, weight);
    product.clamp(a.min(b), a.max(b))
}

/// The largest number instead of infinity.
pub(crate) fn finite(product: f64) -> f64 {
    product.min(f64::MAX)
}

/// `initial·gamma^exponent`, and the largest number instead of infinity.
pub(crate) fn scaled(initial: f64, gamma: f64, exponent: f64) -> f64 {
    if initial == 0.0 {
        return 0.0;
    }
    finite(initial * libm::pow(gamma, exponent))
}

/// From 0 to 1 along half a cosine.
pub(crate) fn half_cosine(x: f64) -> f64 {
    0.5 * (1.0 - libm::cos(core::f64::consts::PI * x))
}

/// The part of `steps` that has passed, at most 1. No steps have passed at once.
pub(crate) fn progress(step: u64, steps: u64) -> f64 {
    if step >= steps {
        1.0
    } else {
        step as f64 / steps as f64
    }
}
