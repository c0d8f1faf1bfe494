use downhill_setting::Range;

use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope};

shape! {
    /// The schedule of the first transformer: a linear warmup, then the inverse root of the step.
    ///
    /// ```text
    /// value(k) = factor·model_size^-0.5·min(t^-0.5, t·warmup^-1.5),   t = k + 1
    /// ```
    ///
    #[doc = include_str!("../../docs/noam.svg")]
    ///
    /// Its rate follows from the size of the model and not from the base rate: with the defaults the
    /// peak is 7e-4.
    ///
    /// Source: Vaswani et al. 2017, [arXiv 1706.03762](https://arxiv.org/abs/1706.03762), eq. 3, whose
    /// steps are counted from 1; Burn's `NoamLrScheduler` is the same.
    ///
    /// ```
    /// use downhill_schedule::NoamConfig;
    ///
    /// let schedule = NoamConfig::new(100, 25).try_build()?;
    /// assert!((schedule.value(24) - 0.02).abs() < 1e-15);
    /// assert!((schedule.value(99) - 0.01).abs() < 1e-15);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    NoamConfig, "noam" {
        aliases: &[],
        source: "Vaswani et al. 2017, arXiv 1706.03762",
        description: "a warmup and then the inverse root, scaled by the size of the model",
    }
    new(model_size: u64, warmup: impl Into<Length>);
    /// Factor of the whole. Default: 1.
    factor, with_factor(impl Into<Value>): Value = Value::Absolute(1.0);
    /// Width of the model (`d_model`), at least 1. Default: 512.
    model_size, with_model_size(u64): u64 = 512;
    /// Steps of the warmup, at least 1. Default: 4000.
    warmup, with_warmup(impl Into<Length>): Length = Length::Steps(4000);
}

impl Shape for NoamConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let factor = at.value("factor", &mut self.factor)?;
        let model_size = self.model_size as f64;
        at.check("model_size", model_size, Range::AT_LEAST_ONE)?;
        let warmup = at.period("warmup", &mut self.warmup)?;
        let scale = factor / libm::sqrt(model_size);
        let slope = libm::pow(warmup as f64, -1.5);
        let node = Node::new(move |step| {
            let t = step as f64 + 1.0;
            scale * (1.0 / libm::sqrt(t)).min(t * slope)
        });
        Ok(node.with_phases([warmup - 1]))
    }
}
