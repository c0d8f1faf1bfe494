use downhill_setting::Range;

use crate::ScheduleError;
use crate::combine::ascending;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Lengths, Value};
use crate::scope::{Node, Scope, scaled};

shape! {
    /// Falls by the same factor at each milestone.
    ///
    /// ```text
    /// value(k) = initial·gamma^(number of milestones ≤ k)
    /// ```
    ///
    #[doc = include_str!("../../docs/multi_step.svg")]
    ///
    /// Source: PyTorch's `MultiStepLR`. A milestone that is given twice counts twice, as there. For
    /// factors that differ, take a [`PiecewiseConfig`](crate::PiecewiseConfig) with
    /// [`Interpolation::Constant`](crate::Interpolation::Constant).
    ///
    /// ```
    /// use downhill_schedule::MultiStepConfig;
    ///
    /// let schedule = MultiStepConfig::new(0.8, [100, 150]).with_gamma(0.5).try_build()?;
    /// assert_eq!([99, 100, 150].map(|k| schedule.value(k)), [0.8, 0.4, 0.2]);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    MultiStepConfig, "multi_step" {
        aliases: &["MultiStepLR"],
        source: "PyTorch; He et al. 2015, arXiv 1512.03385",
        description: "falls by a factor at each milestone",
    }
    new(initial: impl Into<Value>, milestones: impl Into<Lengths>);
    /// Value at step 0, at least 0. Default: the base rate.
    initial, with_initial(impl Into<Value>): Value = Value::WHOLE;
    /// Factor, at least 0 and usually below 1. Default: 0.1.
    gamma, with_gamma(f64): f64 = 0.1;
    /// Steps at which it falls, in order. Default: half and three quarters of the whole.
    milestones, with_milestones(impl Into<Lengths>): Lengths = [Length::Percent(50.0), Length::Percent(75.0)].into();
}

impl Shape for MultiStepConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let initial = at.value("initial", &mut self.initial)?;
        let gamma = self.gamma;
        at.check("gamma", gamma, Range::NOT_NEGATIVE)?;
        let milestones = ascending(at, &mut self.milestones, false)?;
        let steps = milestones.clone();
        let node = Node::new(move |step| {
            let passed = milestones.partition_point(|milestone| *milestone <= step);
            scaled(initial, gamma, passed as f64)
        });
        Ok(node.with_phases(steps))
    }
}
