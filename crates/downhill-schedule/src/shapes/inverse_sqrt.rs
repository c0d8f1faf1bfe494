use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope};

shape! {
    /// Falls with the root of the time, without an end.
    ///
    /// ```text
    /// value(k) = peak/sqrt(1 + k/timescale)
    /// ```
    ///
    #[doc = include_str!("../../docs/inverse_sqrt.svg")]
    ///
    /// Usually after a [`warmup`](crate::ScheduleConfig::warmup) of `timescale` steps: that is
    /// Transformers' `inverse_sqrt`, and the schedule of T5. With the warmup, and a peak that follows
    /// from the size of the model, it is [`NoamConfig`](crate::NoamConfig), but for one step.
    ///
    /// Source: Vaswani et al. 2017, [arXiv 1706.03762](https://arxiv.org/abs/1706.03762); Zhai et al.
    /// 2022, [arXiv 2106.04560](https://arxiv.org/abs/2106.04560) (`timescale`).
    ///
    /// ```
    /// use downhill_schedule::InverseSqrtConfig;
    ///
    /// let config = InverseSqrtConfig::new(0.1, 1_000).schedule().warmup(1_000);
    /// let schedule = config.try_build()?;
    /// assert_eq!([500, 1_000, 4_000].map(|k| schedule.value(k)), [0.05, 0.1, 0.05]);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    InverseSqrtConfig, "inverse_sqrt" {
        aliases: &["rsqrt", "inverse_square_root", "get_inverse_sqrt_schedule"],
        source: "Zhai et al. 2022, arXiv 2106.04560",
        description: "falls with the root of the time, without an end",
    }
    new(peak: impl Into<Value>, timescale: impl Into<Length>);
    /// Value at step 0, at least 0. Default: the base rate.
    peak, with_peak(impl Into<Value>): Value = Value::WHOLE;
    /// Steps until `peak/sqrt(2)`, at least 1. Default: a tenth of the whole (Transformers: 10 000).
    timescale, with_timescale(impl Into<Length>): Length = Length::Percent(10.0);
}

impl Shape for InverseSqrtConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let peak = at.value("peak", &mut self.peak)?;
        let timescale = at.period("timescale", &mut self.timescale)? as f64;
        Ok(Node::new(move |step| {
            peak / libm::sqrt(1.0 + step as f64 / timescale)
        }))
    }
}
