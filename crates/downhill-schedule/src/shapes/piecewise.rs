use alloc::{format, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::ScheduleError;
use crate::config::{Shape, shape};
use crate::quantity::{Points, list};
use crate::scope::{Node, Scope, half_cosine, mix};

/// What a [`PiecewiseConfig`] does between two points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Interpolation {
    /// Stays at the earlier point's value.
    Constant,
    /// Goes to the later one's in a straight line.
    Linear,
    /// Goes there along half a cosine.
    Cosine,
}

shape! {
    /// Through given points: from each value to the next in a jump, a straight line or half a cosine.
    ///
    /// ```text
    /// x = (k - step_i)/(step_{i+1} - step_i)
    /// constant: value(k) = v_i
    /// linear:   value(k) = v_i + (v_{i+1} - v_i)·x
    /// cosine:   value(k) = v_i + (v_{i+1} - v_i)·(1 - cos(π·x))/2
    /// ```
    ///
    #[doc = include_str!("../../docs/piecewise.svg")]
    ///
    /// Before the first point it has that point's value, after the last one the last one's.
    ///
    /// Source: optax's `piecewise_constant_schedule` and `piecewise_interpolate_schedule`, which take
    /// factors between the points instead of values.
    ///
    /// ```
    /// use downhill_schedule::{Interpolation, PiecewiseConfig};
    ///
    /// let config = PiecewiseConfig::new([(0, 0.0), (10, 0.5), (50, 0.25)]);
    /// assert_eq!(config.try_build()?.value(30), 0.375);
    ///
    /// let config = config.with_interpolation(Interpolation::Constant);
    /// assert_eq!(config.try_build()?.value(30), 0.5);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    PiecewiseConfig, "piecewise" {
        aliases: &["piecewise_interpolate"],
        source: "optax",
        description: "through given points, in jumps, lines or half cosines",
    }
    new(points: impl Into<Points>);
    /// Pairs of step and value, the steps in ascending order and the values at least 0; at least one.
    points, with_points(impl Into<Points>): Points = Points::default();
    /// What happens between them. Default: [`Interpolation::Linear`].
    interpolation, with_interpolation(Interpolation): Interpolation = Interpolation::Linear;
}

impl Shape for PiecewiseConfig {
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
        let mut points = Vec::new();
        for (i, (step, value)) in self.points.0.iter_mut().enumerate() {
            let field = format!("points[{i}]");
            points.push((at.length(&field, step)?, at.value(&field, value)?));
        }
        let steps: Vec<u64> = points.iter().map(|(step, _)| *step).collect();
        if points.is_empty() {
            return Err(at.conflict("`points` is empty; it needs pairs of a step and a value"));
        }
        if !steps.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(at.out_of_range("points", list(steps), "at steps in ascending order"));
        }
        let interpolation = self.interpolation;
        let node = Node::new(move |step| {
            let next = points.partition_point(|(start, _)| *start <= step);
            let (start, from) = points[next.saturating_sub(1)];
            match points.get(next) {
                Some((end, to)) if next > 0 => {
                    let x = (step - start) as f64 / (end - start) as f64;
                    match interpolation {
                        Interpolation::Constant => from,
                        Interpolation::Linear => mix(from, *to, x),
                        Interpolation::Cosine => mix(from, *to, half_cosine(x)),
                    }
                }
                _ => from,
            }
        });
        Ok(node.with_phases(steps))
    }
}
