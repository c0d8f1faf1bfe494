use alloc::vec;

use serde::{Deserialize, Serialize};

use downhill_setting::Range;

use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Length, Value};
use crate::scope::{Node, Scope, half_cosine, mix};

/// How a [`OneCycleConfig`] goes from one value to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Anneal {
    /// Along half a cosine.
    #[serde(alias = "cos")]
    Cosine,
    /// In a straight line.
    Linear,
}

/// Where the phases of a [`OneCycleConfig`] end, for `steps` steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OneCycleBoundaries {
    /// At `pct_start·steps - 1`, `pct_final·steps - 2` and `steps - 1`, which need not be whole: the
    /// last of the `steps` updates has the lowest rate.
    Torch,
    /// At `floor(pct_start·steps)`, `floor(pct_final·steps)` and `steps`.
    Optax,
}

shape! {
    /// Up to the peak, down, and down to almost nothing.
    ///
    /// ```text
    /// peak/div_factor → peak → peak/(div_factor·final_div_factor)                     two phases
    /// peak/div_factor → peak → peak/div_factor → peak/(div_factor·final_div_factor)   three phases
    /// ```
    ///
    #[doc = include_str!("../../docs/one_cycle.svg")]
    ///
    /// PyTorch and optax mean the same and end the phases at other steps: for 100 steps the peak is
    /// at step 29 or 30, and the values differ by up to 3 % of the peak. PyTorch also cycles the
    /// momentum: a Burn optimizer's is fixed. Where a phase has no length (PyTorch divides by zero for
    /// 10 steps and `pct_start` = 0.1) it is left out.
    ///
    /// Source: Smith and Topin 2018, [arXiv 1708.07120](https://arxiv.org/abs/1708.07120); PyTorch's
    /// `OneCycleLR`, optax's `cosine_onecycle_schedule` and `linear_onecycle_schedule` (the latter has
    /// three phases and a `pct_final` of 0.85).
    ///
    /// ```
    /// use downhill_schedule::OneCycleConfig;
    ///
    /// let schedule = OneCycleConfig::new(0.5, 100).try_build()?;
    /// assert_eq!(schedule.value(0), 0.02);
    /// assert_eq!(schedule.value(29), 0.5);
    /// assert_eq!(schedule.value(99), 2e-6);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    OneCycleConfig, "one_cycle" {
        aliases: &[
            "OneCycleLR", "cosine_onecycle", "cosine_onecycle_schedule", "super_convergence",
        ],
        source: "Smith and Topin 2018, arXiv 1708.07120",
        description: "up to the peak, down, and down to almost nothing",
    }
    new(peak: impl Into<Value>, steps: impl Into<Length>);
    /// The highest value, at least 0. Default: the base rate.
    peak, with_peak(impl Into<Value>): Value = Value::WHOLE;
    /// Steps of the cycle, at least 1. Default: the whole.
    steps, with_steps(impl Into<Length>): Length = Length::WHOLE;
    /// Part of the steps that rises, from 0 to 1, and to 0.5 with three phases. Default: 0.3.
    pct_start, with_pct_start(f64): f64 = 0.3;
    /// Part of the steps before the third phase, from `pct_start` to 1. Default: twice `pct_start`
    /// with PyTorch's boundaries, 0.85 with optax's.
    pct_final, with_pct_final(Option<f64>): Option<f64> = None;
    /// What the peak is divided by for the first value, at least 1. Default: 25.
    div_factor, with_div_factor(f64): f64 = 25.0;
    /// What the first value is divided by for the last one, at least 1. Default: 1e4.
    final_div_factor, with_final_div_factor(f64): f64 = 1e4;
    /// How it goes from one value to the next. Default: [`Anneal::Cosine`].
    anneal, with_anneal(Anneal): Anneal = Anneal::Cosine;
    /// Whether it falls to the first value, and from there to the last one. Default: false.
    three_phase, with_three_phase(bool): bool = false;
    /// Where the phases end. Default: [`OneCycleBoundaries::Torch`].
    boundaries, with_boundaries(OneCycleBoundaries): OneCycleBoundaries = OneCycleBoundaries::Torch;
}

impl Shape for OneCycleConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let peak = at.value("peak", &mut self.peak)?;
        let steps = at.period("steps", &mut self.steps)? as f64;
        at.check("pct_start", self.pct_start, Range::SHARE)?;
        at.check("div_factor", self.div_factor, Range::AT_LEAST_ONE)?;
        at.check(
            "final_div_factor",
            self.final_div_factor,
            Range::AT_LEAST_ONE,
        )?;
        if self.pct_final.is_some() && !self.three_phase {
            return Err(at.conflict("`pct_final` has no effect without `three_phase`"));
        }
        let optax = self.boundaries == OneCycleBoundaries::Optax;
        let pct_final = match self.pct_final {
            Some(pct_final) => pct_final,
            None if optax => 0.85,
            None => 2.0 * self.pct_start,
        };
        if self.three_phase && !(self.pct_start..=1.0).contains(&pct_final) {
            return Err(match self.pct_final {
                Some(pct_final) => at.out_of_range("pct_final", pct_final, "from `pct_start` to 1"),
                None => at.conflict(alloc::format!(
                    "with three phases and a `pct_start` of {} it needs a `pct_final` up to 1",
                    self.pct_start
                )),
            });
        }
        let end = |part: f64, before: f64| match optax {
            true => libm::floor(part * steps),
            false => part * steps - before,
        };
        let initial = peak / self.div_factor;
        let last = initial / self.final_div_factor;
        let mut phases = vec![(end(self.pct_start, 1.0), initial, peak)];
        if self.three_phase {
            phases.push((end(pct_final, 2.0), peak, initial));
            phases.push((end(1.0, 1.0), initial, last));
        } else {
            phases.push((end(1.0, 1.0), peak, last));
        }
        let starts = phases
            .iter()
            .map(|(end, ..)| libm::ceil(end.max(0.0)) as u64);
        let mut starts: vec::Vec<u64> = starts.collect();
        // A phase without length may end before the one before it.
        starts.sort_unstable();
        let anneal = self.anneal;
        let node = Node::new(move |step| {
            let step = step as f64;
            let mut start = 0.0;
            let mut value = initial;
            for (end, from, to) in &phases {
                let x = if end <= &start {
                    1.0
                } else {
                    (step - start) / (end - start)
                };
                value = match anneal {
                    Anneal::Cosine => mix(*from, *to, half_cosine(x.min(1.0))),
                    Anneal::Linear => mix(*from, *to, x),
                };
                if step <= *end {
                    break;
                }
                start = *end;
            }
            value
        });
        Ok(node.with_phases(starts))
    }
}
