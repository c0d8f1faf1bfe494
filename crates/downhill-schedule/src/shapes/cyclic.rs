use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use downhill_setting::Range;

use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope, mix};

/// How the height of a [`CyclicConfig`]'s triangles changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CyclicMode {
    /// Not at all.
    Triangular,
    /// It is halved after each.
    Triangular2,
    /// By the factor `gamma` at every step.
    ExpRange,
}

shape! {
    /// Triangles between the floor and the peak.
    ///
    /// ```text
    /// period = step_size_up + step_size_down,   p = k mod period
    /// x = p/step_size_up  up to the peak,  1 - (p - step_size_up)/step_size_down  after it
    /// value(k) = floor + (peak - floor)·x·h
    /// h = 1 (triangular),  1/2^floor(k/period) (triangular2),  gamma^k (exp_range)
    /// ```
    ///
    #[doc = include_str!("../../docs/cyclic.svg")]
    ///
    /// Source: Smith 2017, [arXiv 1506.01186](https://arxiv.org/abs/1506.01186); PyTorch's `CyclicLR`,
    /// which also cycles the momentum: a Burn optimizer's is fixed.
    ///
    /// ```
    /// use downhill_schedule::CyclicConfig;
    ///
    /// let schedule = CyclicConfig::new(0.0, 0.4, 100).with_step_size_down(Some(300.into()));
    /// let schedule = schedule.try_build()?;
    /// assert_eq!([0, 50, 100, 250].map(|k| schedule.value(k)), [0.0, 0.2, 0.4, 0.2]);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    CyclicConfig, "cyclic" {
        aliases: &["CyclicLR", "triangular"],
        source: "Smith 2017, arXiv 1506.01186",
        description: "triangles between the floor and the peak",
    }
    new(floor: impl Into<Value>, peak: impl Into<Value>, step_size_up: impl Into<Length>);
    /// Value at step 0, from 0 to the peak. Default: a tenth of the base rate.
    floor, with_floor(impl Into<Value>): Value = Value::Percent(10.0);
    /// Value at the first top. Default: the base rate.
    peak, with_peak(impl Into<Value>): Value = Value::WHOLE;
    /// Steps from the floor to the peak, at least 1. Default: 10 % of the whole (PyTorch: 2000).
    step_size_up, with_step_size_up(impl Into<Length>): Length = Length::Percent(10.0);
    /// Steps back to the floor. Default: as many.
    step_size_down, with_step_size_down(Option<Length>): Option<Length> = None;
    /// How the height changes. Default: [`CyclicMode::Triangular`].
    mode, with_mode(CyclicMode): CyclicMode = CyclicMode::Triangular;
    /// Factor of [`CyclicMode::ExpRange`], from 0 to 1. Default: 1.
    gamma, with_gamma(f64): f64 = 1.0;
}

impl Shape for CyclicConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let floor = at.value("floor", &mut self.floor)?;
        let peak = at.value("peak", &mut self.peak)?;
        at.floor_below_peak(floor, peak)?;
        let up = at.period("step_size_up", &mut self.step_size_up)?;
        let down = match &mut self.step_size_down {
            Some(down) => at.period("step_size_down", down)?,
            None => up,
        };
        let (mode, gamma) = (self.mode, self.gamma);
        at.check("gamma", gamma, Range::SHARE)?;
        if gamma != 1.0 && mode != CyclicMode::ExpRange {
            return Err(at.conflict("`gamma` has no effect without the mode exp_range"));
        }
        let period = u128::from(up) + u128::from(down);
        let node = Node::new(move |step| {
            let (cycle, position) = (u128::from(step) / period, u128::from(step) % period);
            let x = if position <= u128::from(up) {
                position as f64 / up as f64
            } else {
                (period - position) as f64 / down as f64
            };
            let height = match mode {
                CyclicMode::Triangular => 1.0,
                CyclicMode::Triangular2 => libm::exp2(-(cycle as f64)),
                CyclicMode::ExpRange => libm::pow(gamma, step as f64),
            };
            mix(floor, peak, x * height)
        });
        Ok(node.with_phases_by(move |range| {
            let first = u128::from(range.start) / period;
            let floors = (first..).map(move |cycle| cycle * period);
            let turns = floors.flat_map(|start| [start, start + u128::from(up)]);
            let steps = turns.take_while(|step| *step < u128::from(range.end));
            steps.map(|step| step as u64).collect::<Vec<u64>>()
        }))
    }
}
