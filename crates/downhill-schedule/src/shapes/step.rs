use alloc::vec::Vec;
use core::ops;

use downhill_setting::Range;

use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope, scaled};

shape! {
    /// Falls by the same factor after each `step_size` steps.
    ///
    /// ```text
    /// value(k) = initial·gamma^floor(k/step_size)
    /// ```
    ///
    #[doc = include_str!("../../docs/step.svg")]
    ///
    /// Source: PyTorch's `StepLR`, which is usually stepped once an epoch; for that, combine it with
    /// [`per_epoch`](crate::ScheduleConfig::per_epoch). optax calls it a staircase. Burn's
    /// `StepLrScheduler` counts steps too, in an `i32`.
    ///
    /// ```
    /// use downhill_schedule::StepConfig;
    ///
    /// let schedule = StepConfig::new(0.8, 30).with_gamma(0.5).try_build()?;
    /// assert_eq!([0, 29, 30, 60].map(|k| schedule.value(k)), [0.8, 0.8, 0.4, 0.2]);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    StepConfig, "step" {
        aliases: &["StepLR", "staircase"],
        source: "PyTorch",
        description: "falls by a factor after each `step_size` steps",
    }
    new(initial: impl Into<Value>, step_size: impl Into<Length>);
    /// Value at step 0, at least 0. Default: the base rate.
    initial, with_initial(impl Into<Value>): Value = Value::WHOLE;
    /// Factor, at least 0 and usually below 1. Default: 0.1.
    gamma, with_gamma(f64): f64 = 0.1;
    /// Steps between falls, at least 1. Default: 30 % of the whole.
    step_size, with_step_size(impl Into<Length>): Length = Length::Percent(30.0);
}

impl Shape for StepConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let initial = at.value("initial", &mut self.initial)?;
        let gamma = self.gamma;
        at.check("gamma", gamma, Range::NOT_NEGATIVE)?;
        let step_size = at.period("step_size", &mut self.step_size)?;
        let node = Node::new(move |step| scaled(initial, gamma, (step / step_size) as f64));
        Ok(node.with_phases_by(move |range| multiples(step_size, range)))
    }
}

/// The multiples of `period` in a range.
pub(super) fn multiples(period: u64, range: ops::Range<u64>) -> Vec<u64> {
    let numbers = range.start.div_ceil(period)..range.end.div_ceil(period);
    numbers.map(|n| n * period).collect()
}
