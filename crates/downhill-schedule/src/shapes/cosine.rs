use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope, half_cosine, mix, progress};
use crate::shapes::step::multiples;

shape! {
    /// Half a cosine from the peak to the floor.
    ///
    /// ```text
    /// value(k) = floor + (peak - floor)·(1 + cos(π·min(k/steps, 1)))/2
    /// ```
    ///
    #[doc = include_str!("../../docs/cosine.svg")]
    ///
    /// Source: Loshchilov and Hutter 2017, [arXiv 1608.03983](https://arxiv.org/abs/1608.03983),
    /// without its restarts ([`CosineRestartsConfig`](crate::CosineRestartsConfig)). It stays at the
    /// floor, as optax's `cosine_decay_schedule` does. PyTorch's `CosineAnnealingLR` and Burn's
    /// `CosineAnnealingLrScheduler` rise again after it: that is `periodic`.
    ///
    /// ```
    /// use downhill_schedule::CosineConfig;
    ///
    /// let config = CosineConfig::new(0.1, 100).with_floor(0.01);
    /// let schedule = config.try_build()?;
    /// assert_eq!([0, 100, 150].map(|k| schedule.value(k)), [0.1, 0.01, 0.01]);
    ///
    /// let rising = config.with_periodic(true).try_build()?;
    /// assert!((rising.value(150) - 0.055).abs() < 1e-15);
    /// assert_eq!(rising.value(200), 0.1);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    CosineConfig, "cosine" {
        aliases: &[
            "CosineAnnealingLR", "cosine_annealing", "cosine_decay_schedule", "cosine_with_min_lr",
        ],
        source: "Loshchilov and Hutter 2017, arXiv 1608.03983",
        description: "half a cosine from the peak to the floor",
    }
    new(peak: impl Into<Value>, steps: impl Into<Length>);
    /// Value at step 0, at least 0. Default: the base rate.
    peak, with_peak(impl Into<Value>): Value = Value::WHOLE;
    /// Value at step `steps`, from 0 to the peak. Default: 0.
    floor, with_floor(impl Into<Value>): Value = Value::ZERO;
    /// Steps from the one to the other; without steps it is the floor at once. Default: the whole.
    steps, with_steps(impl Into<Length>): Length = Length::WHOLE;
    /// Whether it rises to the peak again after `steps`, and so on. Default: false.
    periodic, with_periodic(bool): bool = false;
}

impl Shape for CosineConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let peak = at.value("peak", &mut self.peak)?;
        let floor = at.value("floor", &mut self.floor)?;
        at.floor_below_peak(floor, peak)?;
        if self.periodic {
            let steps = at.period("steps", &mut self.steps)?;
            let node = Node::new(move |step| {
                let position = step % steps;
                let falls = (step / steps).is_multiple_of(2);
                let left = if falls { position } else { steps - position };
                mix(peak, floor, half_cosine(progress(left, steps)))
            });
            return Ok(node.with_phases_by(move |range| multiples(steps, range)));
        }
        let steps = at.length("steps", &mut self.steps)?;
        let node = Node::new(move |step| mix(peak, floor, half_cosine(progress(step, steps))));
        Ok(node.with_phases([steps]))
    }
}
