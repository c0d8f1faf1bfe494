use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope, mix, progress};

shape! {
    /// A straight line from one value to another, up or down.
    ///
    /// ```text
    /// value(k) = initial + (end - initial)·min(k/steps, 1)
    /// ```
    ///
    #[doc = include_str!("../../docs/linear.svg")]
    ///
    /// Source: PyTorch's `LinearLR` (whose factors are here values), optax's `linear_schedule`. Both
    /// reach `end` at step `steps`, as here, so that a training of `steps` steps stops just before it.
    /// Burn's `LinearLrScheduler` is the same.
    ///
    /// ```
    /// use downhill_schedule::LinearConfig;
    ///
    /// let schedule = LinearConfig::new(0.5, 0.0, 100).try_build()?;
    /// assert_eq!(schedule.value(25), 0.375);
    /// assert_eq!(schedule.value(1_000), 0.0);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    LinearConfig, "linear" {
        aliases: &["LinearLR", "linear_schedule"],
        source: "PyTorch, optax",
        description: "a straight line from one value to another",
    }
    new(initial: impl Into<Value>, end: impl Into<Value>, steps: impl Into<Length>);
    /// Value at step 0, at least 0. Default: the base rate.
    initial, with_initial(impl Into<Value>): Value = Value::WHOLE;
    /// Value from step `steps` on, at least 0. Default: 0.
    end, with_end(impl Into<Value>): Value = Value::ZERO;
    /// Steps from the one to the other; without steps it is `end` at once. Default: the whole.
    steps, with_steps(impl Into<Length>): Length = Length::WHOLE;
}

impl Shape for LinearConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let initial = at.value("initial", &mut self.initial)?;
        let end = at.value("end", &mut self.end)?;
        let steps = at.length("steps", &mut self.steps)?;
        let node = Node::new(move |step| mix(initial, end, progress(step, steps)));
        Ok(node.with_phases([steps]))
    }
}
