use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope, half_cosine, mix, mix_by_factors, progress};

/// How a [`WsdConfig`] falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecayShape {
    /// `1 - x`
    Linear,
    /// `(1 + cos(π·x))/2`
    Cosine,
    /// `1 - sqrt(x)`: fast at first
    #[serde(rename = "1-sqrt")]
    OneMinusSqrt,
    /// `(floor/peak)^x`, which needs a floor above 0
    Exponential,
}

/// A decay over `steps` steps, which begins at its step 0 and stays at the floor after them.
fn decay(
    at: &Scope,
    shape: DecayShape,
    peak: f64,
    floor: f64,
    steps: u64,
) -> Result<Box<dyn Fn(u64) -> f64 + Send + Sync>, ScheduleError> {
    at.floor_below_peak(floor, peak)?;
    if shape == DecayShape::Exponential && floor == 0.0 {
        return Err(at.out_of_range("floor", floor, "above 0 for an exponential decay"));
    }
    Ok(Box::new(move |step| {
        let x = progress(step, steps);
        match shape {
            DecayShape::Linear => mix(peak, floor, x),
            DecayShape::Cosine => mix(peak, floor, half_cosine(x)),
            DecayShape::OneMinusSqrt => mix(peak, floor, libm::sqrt(x)),
            DecayShape::Exponential => mix_by_factors(peak, floor, x),
        }
    }))
}

shape! {
    /// Warmup, stable, decay: up in a straight line, long at the peak, and down at the end.
    ///
    /// ```text
    /// value(k) = peak·k/warmup                           k < warmup
    ///          = peak                                    k < steps - decay
    ///          = floor + (peak - floor)·d(x)             x = (k - (steps - decay))/decay
    /// d(x) = 1 - x,  (1 + cos(π·x))/2,  1 - sqrt(x);  exponential: value(k) = peak·(floor/peak)^x
    /// ```
    ///
    #[doc = include_str!("../../docs/wsd.svg")]
    ///
    /// The length of the training can be decided late, because all before the decay is the same for
    /// every length.
    ///
    /// Source: Hu et al. 2024 (MiniCPM), [arXiv 2404.06395](https://arxiv.org/abs/2404.06395); Hägele
    /// et al. 2024, [arXiv 2405.18392](https://arxiv.org/abs/2405.18392), who find 1-sqrt over the last
    /// fifth the best. Transformers' `warmup_stable_decay` has the same shapes but for the exponential
    /// one, and falls along a cosine by default.
    ///
    /// ```
    /// use downhill_schedule::WsdConfig;
    ///
    /// let config = WsdConfig::new(0.1, 1_000).with_warmup(100).with_decay(200);
    /// let schedule = config.try_build()?;
    /// assert_eq!([50, 100, 800, 850, 1_000].map(|k| schedule.value(k)), [0.05, 0.1, 0.1, 0.05, 0.0]);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    WsdConfig, "wsd" {
        aliases: &["warmup_stable_decay", "trapezoidal", "get_wsd_schedule"],
        source: "Hu et al. 2024, arXiv 2404.06395",
        description: "warmup, long at the peak, and a decay at the end",
    }
    new(peak: impl Into<Value>, steps: impl Into<Length>);
    /// Value after the warmup, at least 0. Default: the base rate.
    peak, with_peak(impl Into<Value>): Value = Value::WHOLE;
    /// Value after the decay, from 0 to the peak. Default: 0.
    floor, with_floor(impl Into<Value>): Value = Value::ZERO;
    /// Steps of all three phases. Default: the whole.
    steps, with_steps(impl Into<Length>): Length = Length::WHOLE;
    /// Steps of the warmup, from 0. Default: 5 % of the whole.
    warmup, with_warmup(impl Into<Length>): Length = Length::Percent(5.0);
    /// Steps of the decay. Default: 20 % of the whole.
    decay, with_decay(impl Into<Length>): Length = Length::Percent(20.0);
    /// How it falls. Default: [`DecayShape::OneMinusSqrt`].
    decay_shape, with_decay_shape(DecayShape): DecayShape = DecayShape::OneMinusSqrt;
}

impl Shape for WsdConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let peak = at.value("peak", &mut self.peak)?;
        let floor = at.value("floor", &mut self.floor)?;
        let steps = at.length("steps", &mut self.steps)?;
        let at = at.inner(Some(steps));
        let warmup = at.length("warmup", &mut self.warmup)?;
        let length = at.length("decay", &mut self.decay)?;
        if steps.checked_sub(warmup).is_none_or(|rest| rest < length) {
            return Err(at.conflict(alloc::format!(
                "`warmup` ({warmup}) and `decay` ({length}) must fit into `steps` ({steps})"
            )));
        }
        let decay = decay(&at, self.decay_shape, peak, floor, length)?;
        let start = steps - length;
        let node = Node::new(move |step| {
            if step < warmup {
                mix(0.0, peak, progress(step, warmup))
            } else if step < start {
                peak
            } else {
                decay(step - start)
            }
        });
        Ok(node.with_phases([warmup, start, steps]))
    }
}

shape! {
    /// Warmup, and then stable and decay again and again (WSD-S).
    ///
    /// ```text
    /// value(k) = peak·k/warmup                           k < warmup
    /// p = (k - warmup) mod period
    /// value(k) = peak                                    p < period - decay
    ///          = floor + (peak - floor)·d(x)             x = (p - (period - decay))/decay
    /// ```
    /// with `d` as in [`WsdConfig`].
    ///
    #[doc = include_str!("../../docs/wsd_repeated.svg")]
    ///
    /// Each period ends with a model that is ready for use, and the training goes on from it, at the
    /// peak.
    ///
    /// Source: Wen et al. 2024, [arXiv 2410.05192](https://arxiv.org/abs/2410.05192).
    ///
    /// ```
    /// use downhill_schedule::WsdRepeatedConfig;
    ///
    /// let config = WsdRepeatedConfig::new(0.1, 100).with_warmup(10).with_decay(20);
    /// let schedule = config.try_build()?;
    /// assert_eq!([10, 90, 95, 110].map(|k| schedule.value(k)), [0.1, 0.1, 0.05, 0.1]);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    WsdRepeatedConfig, "wsd_repeated" {
        aliases: &["wsd_s"],
        source: "Wen et al. 2024, arXiv 2410.05192",
        description: "a warmup, and then peak and decay again and again",
    }
    new(peak: impl Into<Value>, period: impl Into<Length>);
    /// Value after the warmup, at least 0. Default: the base rate.
    peak, with_peak(impl Into<Value>): Value = Value::WHOLE;
    /// Value that each decay goes to, from 0 to the peak. Default: 0.
    floor, with_floor(impl Into<Value>): Value = Value::ZERO;
    /// Steps of one period, at least 1. Default: a quarter of what the warmup leaves.
    period, with_period(impl Into<Length>): Length = Length::Percent(25.0);
    /// Steps of the warmup, from 0. Default: 5 % of the whole.
    warmup, with_warmup(impl Into<Length>): Length = Length::Percent(5.0);
    /// Steps of each decay, up to a period. Default: 20 % of a period.
    decay, with_decay(impl Into<Length>): Length = Length::Percent(20.0);
    /// How it falls. Default: [`DecayShape::OneMinusSqrt`].
    decay_shape, with_decay_shape(DecayShape): DecayShape = DecayShape::OneMinusSqrt;
}

impl Shape for WsdRepeatedConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let peak = at.value("peak", &mut self.peak)?;
        let floor = at.value("floor", &mut self.floor)?;
        let warmup = at.length("warmup", &mut self.warmup)?;
        let at = at.inner(at.whole.map(|whole| whole.saturating_sub(warmup)));
        let period = at.period("period", &mut self.period)?;
        let length = at.inner(Some(period)).length("decay", &mut self.decay)?;
        if length > period {
            let allowed = alloc::format!("at most the period of {period}");
            return Err(at.out_of_range("decay", length, allowed));
        }
        let decay = decay(&at, self.decay_shape, peak, floor, length)?;
        let start = period - length;
        let node = Node::new(move |step| match step.checked_sub(warmup) {
            None => mix(0.0, peak, progress(step, warmup)),
            Some(step) if step % period < start => peak,
            Some(step) => decay(step % period - start),
        });
        Ok(node.with_phases_by(move |range| {
            let first = u128::from(range.start.saturating_sub(warmup) / period);
            let (warmup, start) = (u128::from(warmup), u128::from(start));
            let periods = (first..).map(|n| warmup + n * u128::from(period));
            let steps = periods.flat_map(|begin| [begin, begin + start]);
            let steps = steps.take_while(|step| *step < u128::from(range.end));
            steps.map(|step| step as u64).collect()
        }))
    }
}
