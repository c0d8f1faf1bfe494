use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope, mix, progress};

shape! {
    /// Reflected exponential: slow at first, and ever faster towards the end.
    ///
    /// ```text
    /// z = min(k/steps, 1)
    /// value(k) = floor + (peak - floor)·(1 - z)/(1 - z/2)
    /// ```
    ///
    #[doc = include_str!("../../docs/rex.svg")]
    ///
    /// Source: Chen et al. 2021, [arXiv 2107.04197](https://arxiv.org/abs/2107.04197), who recommend it
    /// for small budgets.
    ///
    /// ```
    /// use downhill_schedule::RexConfig;
    ///
    /// let schedule = RexConfig::new(0.3, 100).try_build()?;
    /// assert!((schedule.value(50) - 0.2).abs() < 1e-15);
    /// assert_eq!(schedule.value(100), 0.0);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    RexConfig, "rex" {
        aliases: &["reflected_exponential"],
        source: "Chen et al. 2021, arXiv 2107.04197",
        description: "slow at first, and ever faster towards the end",
    }
    new(peak: impl Into<Value>, steps: impl Into<Length>);
    /// Value at step 0, at least 0. Default: the base rate.
    peak, with_peak(impl Into<Value>): Value = Value::WHOLE;
    /// Value from step `steps` on, from 0 to the peak. Default: 0.
    floor, with_floor(impl Into<Value>): Value = Value::ZERO;
    /// Steps from the one to the other; without steps it is the floor at once. Default: the whole.
    steps, with_steps(impl Into<Length>): Length = Length::WHOLE;
}

impl Shape for RexConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let peak = at.value("peak", &mut self.peak)?;
        let floor = at.value("floor", &mut self.floor)?;
        at.floor_below_peak(floor, peak)?;
        let steps = at.length("steps", &mut self.steps)?;
        let node = Node::new(move |step| {
            let z = progress(step, steps);
            mix(floor, peak, (1.0 - z) / (1.0 - z / 2.0))
        });
        Ok(node.with_phases([steps]))
    }
}
