use downhill_setting::Range;

use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope, scaled};

shape! {
    /// Falls by the same factor at every step.
    ///
    /// ```text
    /// value(k) = initial·gamma^(k/steps)
    /// ```
    ///
    #[doc = include_str!("../../docs/exponential.svg")]
    ///
    /// It has no end; [`at_least`](crate::ScheduleConfig::at_least) gives it a floor. With a `gamma`
    /// above 1 it rises, which is how a learning rate's upper limit is searched.
    ///
    /// Source: PyTorch's `ExponentialLR` (`steps` = 1), optax's `exponential_decay`; the latter's
    /// staircase is [`StepConfig`](crate::StepConfig).
    ///
    /// ```
    /// use downhill_schedule::ExponentialConfig;
    ///
    /// let schedule = ExponentialConfig::new(0.8, 0.5, 100).try_build()?;
    /// assert_eq!(schedule.value(300), 0.1);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    ExponentialConfig, "exponential" {
        aliases: &["ExponentialLR", "exponential_decay"],
        source: "PyTorch, optax",
        description: "falls by the same factor at every step",
    }
    new(initial: impl Into<Value>, gamma: f64, steps: impl Into<Length>);
    /// Value at step 0, at least 0. Default: the base rate.
    initial, with_initial(impl Into<Value>): Value = Value::WHOLE;
    /// Factor for each `steps` steps, at least 0. Default: 0.01.
    gamma, with_gamma(f64): f64 = 0.01;
    /// Steps for one factor of `gamma`, at least 1. Default: the whole.
    steps, with_steps(impl Into<Length>): Length = Length::WHOLE;
}

impl Shape for ExponentialConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let initial = at.value("initial", &mut self.initial)?;
        let gamma = self.gamma;
        at.check("gamma", gamma, Range::NOT_NEGATIVE)?;
        let steps = at.period("steps", &mut self.steps)?;
        Ok(Node::new(move |step| {
            scaled(initial, gamma, step as f64 / steps as f64)
        }))
    }
}
