use downhill_setting::Range;

use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope, finite, half_cosine, mix};
use crate::shapes::step::multiples;

shape! {
    /// Half cosines from the peak to the floor, one after another (SGDR).
    ///
    /// ```text
    /// start_n = period·(t_mul^n - 1)/(t_mul - 1),  or n·period if t_mul is 1
    /// T_n     = period·t_mul^n
    /// value(k) = floor + (peak - floor)·m_mul^n·(1 + cos(π·(k - start_n)/T_n))/2
    ///            with n such that start_n ≤ k < start_{n+1}
    /// ```
    ///
    #[doc = include_str!("../../docs/cosine_restarts.svg")]
    ///
    /// At a restart it is at the peak; the floor itself is approached and never taken. `t_mul` may be
    /// any real number of at least 1, and where it is a whole one every restart is exact. (PyTorch's
    /// `CosineAnnealingWarmRestarts`, asked for an epoch, finds the cycle by a logarithm: with `T_0` =
    /// 10 and `T_mult` = 3 it is at the floor at epoch 1210, where it should restart.)
    ///
    /// Source: Loshchilov and Hutter 2017, [arXiv 1608.03983](https://arxiv.org/abs/1608.03983);
    /// `m_mul`, and what it acts on, from Keras' `CosineDecayRestarts`.
    ///
    /// ```
    /// use downhill_schedule::CosineRestartsConfig;
    ///
    /// let config = CosineRestartsConfig::new(0.1, 10).with_t_mul(2.0).with_m_mul(0.5);
    /// let schedule = config.try_build()?;
    /// assert_eq!(schedule.phases(100), [10, 30, 70]);
    /// assert_eq!([0, 10, 30].map(|k| schedule.value(k)), [0.1, 0.05, 0.025]);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    CosineRestartsConfig, "cosine_restarts" {
        aliases: &["CosineAnnealingWarmRestarts", "cosine_with_restarts", "sgdr", "sgdr_schedule"],
        source: "Loshchilov and Hutter 2017, arXiv 1608.03983",
        description: "half cosines one after another, each longer by `t_mul`",
    }
    new(peak: impl Into<Value>, period: impl Into<Length>);
    /// Value at step 0, at least 0. Default: the base rate.
    peak, with_peak(impl Into<Value>): Value = Value::WHOLE;
    /// What each cycle falls to, from 0 to the peak. Default: 0.
    floor, with_floor(impl Into<Value>): Value = Value::ZERO;
    /// Steps of the first cycle, at least 1. Default: a quarter of the whole.
    period, with_period(impl Into<Length>): Length = Length::Percent(25.0);
    /// How much longer each cycle is than the one before, at least 1. Default: 1.
    t_mul, with_t_mul(f64): f64 = 1.0;
    /// How much less each cycle rises above the floor than the one before, from 0 to 1. Default: 1.
    m_mul, with_m_mul(f64): f64 = 1.0;
}

impl Shape for CosineRestartsConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let peak = at.value("peak", &mut self.peak)?;
        let floor = at.value("floor", &mut self.floor)?;
        at.floor_below_peak(floor, peak)?;
        let period = at.period("period", &mut self.period)?;
        let (t_mul, m_mul) = (self.t_mul, self.m_mul);
        at.check("t_mul", t_mul, Range::AT_LEAST_ONE)?;
        at.check("m_mul", m_mul, Range::SHARE)?;
        let node = Node::new(move |step| {
            let (cycle, x) = cycle_of(step, period, t_mul);
            mix(
                floor,
                peak,
                libm::pow(m_mul, cycle) * (1.0 - half_cosine(x)),
            )
        });
        Ok(node.with_phases_by(move |range| {
            if t_mul == 1.0 {
                return multiples(period, range);
            }
            let (first, _) = cycle_of(range.start, period, t_mul);
            let cycles = (first as u64)..;
            let starts = cycles.map(|cycle| libm::ceil(start(cycle as f64, period, t_mul)) as u64);
            starts.take_while(|step| *step < range.end).collect()
        }))
    }
}

/// The cycle that `step` is in, counted from 0, and how much of it has passed.
fn cycle_of(step: u64, period: u64, t_mul: f64) -> (f64, f64) {
    if t_mul == 1.0 {
        return (
            (step / period) as f64,
            (step % period) as f64 / period as f64,
        );
    }
    if t_mul <= 4_294_967_296.0 && t_mul == libm::trunc(t_mul) {
        // In whole numbers, in which nothing is rounded. The cycles double at least: 64 turns.
        let (mut rest, mut length, mut cycle) = (u128::from(step), u128::from(period), 0.0);
        while rest >= length {
            rest -= length;
            length *= t_mul as u128;
            cycle += 1.0;
        }
        return (cycle, rest as f64 / length as f64);
    }
    // The logarithm may be off by one at a boundary; the boundaries decide. It is off by less where
    // the largest number stands for a product that is larger.
    let step = step as f64;
    let growth = finite(step / period as f64 * (t_mul - 1.0));
    let mut cycle = libm::floor(libm::log1p(growth) / libm::log1p(t_mul - 1.0));
    if start(cycle + 1.0, period, t_mul) <= step {
        cycle += 1.0;
    } else if start(cycle, period, t_mul) > step {
        cycle -= 1.0;
    }
    let length = period as f64 * libm::pow(t_mul, cycle);
    (
        cycle,
        ((step - start(cycle, period, t_mul)) / length).clamp(0.0, 1.0),
    )
}

/// Where a cycle begins. A beginning that is a whole step but for rounding is that step: with `t_mul`
/// = 1.1 and `period` = 10 the third cycle begins at 21 and not just after it.
fn start(cycle: f64, period: u64, t_mul: f64) -> f64 {
    let growth = libm::log1p(t_mul - 1.0);
    let cycles = if t_mul == 1.0 {
        cycle
    } else if cycle * growth < 0.1 {
        // The difference below would cancel.
        libm::expm1(cycle * growth) / (t_mul - 1.0)
    } else {
        (libm::pow(t_mul, cycle) - 1.0) / (t_mul - 1.0)
    };
    let start = period as f64 * cycles;
    let whole = libm::round(start);
    if (start - whole).abs() <= 1e-12 * start {
        whole
    } else {
        start
    }
}
