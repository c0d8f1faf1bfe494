//! Schedules of a popular slide deck, exactly as printed there, beside the right ones: to compare,
//! not to train with.
//!
//! The step that they are given is what the deck gives them: an epoch on slide 9, an update on
//! slide 14.
//!
//! | | what differs |
//! |---|---|
//! | [`StepConfig`] | the first stage is one epoch short; with `epochs_drop` = 1 the initial rate never occurs |
//! | [`ExponentialConfig`] | nothing: `exp(-k·epoch)` is [`ExponentialConfig`](crate::ExponentialConfig) with `gamma = exp(-k)` |
//! | [`CosineConfig`] | it rises again after the last epoch |
//! | [`WarmupConfig`] | nothing |
//! | [`RestartsConfig`] | the period is half of what it should be, so nothing restarts; wrong for any `t_mul` but 2, and not a number for 1; it falls below its own floor |

use downhill_setting::Range;

use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope, scaled};

/// Far above the upper end the deck's powers overflow before the steps do.
const T_MUL: Range = Range::new(
    "above 1 (at 1 the deck divides zero by zero) and at most 1000",
    |x| x > 1.0 && x <= 1000.0,
);

shape! {
    /// The deck's step decay (slide 9), whose first stage is one epoch short.
    ///
    /// ```text
    /// value(epoch) = initial·drop^floor((1 + epoch)/epochs_drop)
    /// ```
    ///
    #[doc = include_str!("../docs/slides_step.svg")]
    ///
    /// The formula counts epochs from 1 and the deck passes them from 0: with `epochs_drop` = 10 the
    /// first stage has 9 epochs, and with `epochs_drop` = 1 the rate is never the initial one. Right:
    /// [`StepConfig`](crate::StepConfig).
    ///
    /// ```
    /// use downhill_schedule::slides::StepConfig;
    ///
    /// let schedule = StepConfig::new(0.1, 10).try_build()?;
    /// assert_eq!([8, 9].map(|epoch| schedule.value(epoch)), [0.1, 0.05]);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    StepConfig, "slides_step" {
        aliases: &[],
        source: "slide 9",
        description: "the deck's step decay: the first stage is one epoch short",
    }
    new(initial: impl Into<Value>, epochs_drop: impl Into<Length>);
    /// Rate before the first drop. Default: the base rate (the deck: 0.1).
    initial, with_initial(impl Into<Value>): Value = Value::WHOLE;
    /// Factor, at least 0. Default: 0.5.
    drop, with_drop(f64): f64 = 0.5;
    /// Epochs between drops, at least 1. Default: 10.
    epochs_drop, with_epochs_drop(impl Into<Length>): Length = Length::Steps(10);
}

impl Shape for StepConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let initial = at.value("initial", &mut self.initial)?;
        let drop = self.drop;
        at.check("drop", drop, Range::NOT_NEGATIVE)?;
        let epochs_drop = at.period("epochs_drop", &mut self.epochs_drop)? as f64;
        Ok(Node::new(move |epoch| {
            let drops = libm::floor((1.0 + epoch as f64) / epochs_drop);
            scaled(initial, drop, drops)
        }))
    }
}

shape! {
    /// The deck's exponential decay (slide 9). It is right.
    ///
    /// ```text
    /// value(epoch) = initial·exp(-k·epoch)
    /// ```
    ///
    #[doc = include_str!("../docs/slides_exponential.svg")]
    ///
    /// The same as [`ExponentialConfig`](crate::ExponentialConfig) with `gamma = exp(-k)`.
    ///
    /// ```
    /// use downhill_schedule::slides::ExponentialConfig;
    ///
    /// let schedule = ExponentialConfig::new(0.1).try_build()?;
    /// assert!((schedule.value(10) - 0.1 * (-1f64).exp()).abs() < 1e-16);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    ExponentialConfig, "slides_exponential" {
        aliases: &[],
        source: "slide 9",
        description: "the deck's exponential decay, which is right",
    }
    new(initial: impl Into<Value>);
    /// Rate at epoch 0. Default: the base rate (the deck: 0.1).
    initial, with_initial(impl Into<Value>): Value = Value::WHOLE;
    /// Decay per epoch, at least 0. Default: 0.1.
    k, with_k(f64): f64 = 0.1;
}

impl Shape for ExponentialConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let initial = at.value("initial", &mut self.initial)?;
        let k = self.k;
        at.check("k", k, Range::NOT_NEGATIVE)?;
        Ok(Node::new(move |epoch| {
            initial * libm::exp(-k * epoch as f64)
        }))
    }
}

shape! {
    /// The deck's cosine decay (slide 9), which rises again after its last epoch.
    ///
    /// ```text
    /// value(epoch) = initial·0.5·(1 + cos(π·epoch/total_epochs))
    /// ```
    ///
    #[doc = include_str!("../docs/slides_cosine.svg")]
    ///
    /// Up to its end it is [`CosineConfig`](crate::CosineConfig); for 50 % more epochs than planned it
    /// trains at half the initial rate.
    ///
    /// ```
    /// use downhill_schedule::slides::CosineConfig;
    ///
    /// let schedule = CosineConfig::new(0.1, 100).try_build()?;
    /// assert_eq!(schedule.value(100), 0.0);
    /// assert!((schedule.value(150) - 0.05).abs() < 1e-15);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    CosineConfig, "slides_cosine" {
        aliases: &[],
        source: "slide 9",
        description: "the deck's cosine decay: it rises again after its end",
    }
    new(initial: impl Into<Value>, total_epochs: impl Into<Length>);
    /// Rate at epoch 0. Default: the base rate (the deck: 0.1).
    initial, with_initial(impl Into<Value>): Value = Value::WHOLE;
    /// Epochs until 0, at least 1. Default: the whole.
    total_epochs, with_total_epochs(impl Into<Length>): Length = Length::WHOLE;
}

impl Shape for CosineConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let initial = at.value("initial", &mut self.initial)?;
        let total = at.period("total_epochs", &mut self.total_epochs)? as f64;
        Ok(Node::new(move |epoch| {
            let angle = core::f64::consts::PI * epoch as f64 / total;
            initial * 0.5 * (1.0 + libm::cos(angle))
        }))
    }
}

shape! {
    /// The deck's linear warmup (slide 14). It is right.
    ///
    /// ```text
    /// value(step) = initial·(step/warmup_steps)   step < warmup_steps
    ///             = initial
    /// ```
    ///
    #[doc = include_str!("../docs/slides_warmup.svg")]
    ///
    /// The same as a [`warmup`](crate::ScheduleConfig::warmup) before a constant. (The deck's class
    /// takes `warmup_steps` and never calls it.)
    ///
    /// ```
    /// use downhill_schedule::slides::WarmupConfig;
    ///
    /// let schedule = WarmupConfig::new(0.1, 1_000).try_build()?;
    /// assert_eq!([500, 1_000].map(|step| schedule.value(step)), [0.05, 0.1]);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    WarmupConfig, "slides_warmup" {
        aliases: &[],
        source: "slide 14",
        description: "the deck's linear warmup, which is right",
    }
    new(initial: impl Into<Value>, warmup_steps: impl Into<Length>);
    /// Rate after the warmup. Default: the base rate (the deck: 0.1).
    initial, with_initial(impl Into<Value>): Value = Value::WHOLE;
    /// Steps of the warmup. Default: 1000.
    warmup_steps, with_warmup_steps(impl Into<Length>): Length = Length::Steps(1000);
}

impl Shape for WarmupConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let initial = at.value("initial", &mut self.initial)?;
        let steps = at.length("warmup_steps", &mut self.warmup_steps)?;
        Ok(Node::new(move |step| {
            if step < steps {
                initial * (step as f64 / steps as f64)
            } else {
                initial
            }
        }))
    }
}

shape! {
    /// The deck's cosine decay with restarts (slide 14), which does not restart.
    ///
    /// ```text
    /// alpha  = min/initial
    /// cycle  = floor(log2(step/first_decay_steps·(t_mul - 1) + 1))
    /// period = first_decay_steps·t_mul^(cycle - 1)
    /// pos    = step - first_decay_steps·(t_mul^cycle - 1)/(t_mul - 1)
    /// value(step) = initial·((1 - alpha)·(1 + cos(π·pos/period))/2 + alpha)·m_mul^cycle
    /// ```
    ///
    #[doc = include_str!("../docs/slides_restarts.svg")]
    ///
    /// * `cycle` and `pos` are counted from 0 and `period` from 1, so that each period is half as long
    ///   as the time between restarts: with `t_mul` = 2 the cosine is at its lowest in the middle of a
    ///   cycle and back at its peak at the end, where a restart would bring it.
    /// * The logarithm's base is 2 and not `t_mul`: with `t_mul` = 3 the second cycle begins at half
    ///   the first, at a negative position.
    /// * With `t_mul` = 1 it is 0/0; that is refused here.
    /// * `m_mul` acts on the floor too, so that it falls below `min`.
    ///
    /// Right: [`CosineRestartsConfig`](crate::CosineRestartsConfig).
    ///
    /// ```
    /// use downhill_schedule::slides::RestartsConfig;
    ///
    /// let schedule = RestartsConfig::new(0.1, 10).with_m_mul(1.0).try_build()?;
    /// assert!(schedule.value(5) < 2e-6);
    /// assert!(schedule.value(9) > 0.09);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    RestartsConfig, "slides_restarts" {
        aliases: &[],
        source: "slide 14",
        description: "the deck's cosine with restarts: it does not restart",
    }
    new(initial: impl Into<Value>, first_decay_steps: impl Into<Length>);
    /// Rate at step 0, above 0. Default: the base rate (the deck: 0.1).
    initial, with_initial(impl Into<Value>): Value = Value::WHOLE;
    /// What the rate is meant not to fall below, at least 0. Default: 1e-6.
    min, with_min(impl Into<Value>): Value = Value::Absolute(1e-6);
    /// Steps of the first cycle; 0 counts as 1. Default: 5000.
    first_decay_steps, with_first_decay_steps(impl Into<Length>): Length = Length::Steps(5000);
    /// Factor of the cycles' lengths, above 1 and at most 1000. Default: 2.
    t_mul, with_t_mul(f64): f64 = 2.0;
    /// Factor of the cycles' heights, from 0 to 1. Default: 0.5.
    m_mul, with_m_mul(f64): f64 = 0.5;
}

impl Shape for RestartsConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let initial = at.value_in("initial", &mut self.initial, Range::POSITIVE)?;
        let min = at.value("min", &mut self.min)?;
        if min > initial {
            return Err(at.out_of_range("min", min, "at most `initial`"));
        }
        let first = at
            .length("first_decay_steps", &mut self.first_decay_steps)?
            .max(1) as f64;
        let (t_mul, m_mul) = (self.t_mul, self.m_mul);
        at.check("t_mul", t_mul, T_MUL)?;
        at.check("m_mul", m_mul, Range::SHARE)?;
        let alpha = min / initial;
        Ok(Node::new(move |step| {
            let step = step as f64;
            let cycle = libm::floor(libm::log2(step / first * (t_mul - 1.0) + 1.0));
            let period = first * libm::pow(t_mul, cycle - 1.0);
            let position = step - first * (libm::pow(t_mul, cycle) - 1.0) / (t_mul - 1.0);
            let fraction = position / period;
            let cosine = 0.5 * (1.0 + libm::cos(core::f64::consts::PI * fraction));
            let decayed = (1.0 - alpha) * cosine + alpha;
            initial * decayed * libm::pow(m_mul, cycle)
        }))
    }
}
