//! Rules whose second moment is factored over the last two dimensions: a mean per row and a mean
//! per column instead of one number per element.
//!
//! One step of a matrix is at most three passes over memory, none of which needs a temporary of
//! the parameter's size:
//!
//! 1. the gradient (and the parameter, when its scale matters): row and column means of `g²`;
//! 2. the gradient: the root mean square of the direction `u`, when updates are clipped;
//! 3. gradient and parameter: the move.
//!
//! This module holds what the passes do to one row, and the host's numbers between them. The
//! formulas are those of Adafactor and its relatives:
//!
//! ```text
//! row_i ← beta_2·row_i + (1 - beta_2)·mean_j(g_ij² + statistic)
//! col_j ← beta_2·col_j + (1 - beta_2)·mean_i(g_ij² + statistic)
//! u_ij  = g_ij · min(r_i·c_j, cap)
//! r_i   = sqrt(max(mean(row), mean_floor)) / sqrt(row_i + factor),   c_j = 1/sqrt(col_j + factor)
//! v     ← beta_2·v + (1 - beta_2)·(g² + statistic)                      vectors
//! u     = g · min(1/(sqrt(v) + vector), cap)
//! ```

use crate::{Clock, Numbers, Real, Slot};

/// A rule with a factored second moment: it says what the host computes, the passes do the rest.
pub trait FactoredRule: Numbers + Clone + Send + Sync + 'static {
    /// The dimensions `(rows, columns)` over which a parameter of this shape is factored, or none
    /// if it keeps a full second moment.
    fn factored_dims(&self, shape: &[usize]) -> Option<(usize, usize)>;

    /// Names of the state.
    fn names(&self) -> FactoredNames;

    /// What the host computes for one step.
    fn prepare(&self, clock: &mut Clock) -> FactoredStep;
}

/// Names of the state tensors of a factored rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactoredNames {
    /// The means over the columns, one per row.
    pub row: &'static str,
    /// The means over the rows, one per column.
    pub col: &'static str,
    /// The full second moment of what is not factored.
    pub full: &'static str,
    /// The first moment, if there is one.
    pub first_moment: Option<&'static str>,
}

/// The host's part of a step of a factored rule; the [module](self) says where each number goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FactoredStep {
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to every squared gradient.
    pub statistic: f64,
    /// Whether rows are scaled by the mean of all rows, with this floor under the mean.
    pub mean_floor: Option<f64>,
    /// Added to the factors before their root.
    pub factor: f64,
    /// Added to the root of a full second moment.
    pub vector: f64,
    /// Largest multiple of the gradient.
    pub cap: f64,
    /// Largest root mean square of the direction.
    pub clip: Option<f64>,
    /// The rate before the parameter's scale.
    pub rate: f64,
    /// Floor under the parameter's root mean square, by which the rate is multiplied.
    pub parameter_scale: Option<f64>,
    /// Decay of the first moment, an average of the scaled direction.
    pub beta_1: Option<f64>,
    /// What decay takes from the parameter before the move.
    pub decay: Decay,
    /// 1 to minimise, -1 to maximise.
    pub sign: f64,
    /// Multiplies the gradient wherever it is read: the clock's.
    pub grad_scale: f64,
}

/// What weight decay takes from the parameter, as a share of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// This share.
    Share(f64),
    /// This share, times the rate after the parameter's scale.
    TimesRate(f64),
}

/// The numbers of the last pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    /// Multiplies the parameter.
    pub retain: f64,
    /// Multiplies the direction.
    pub rate: f64,
    /// Decay of the first moment.
    pub beta_1: f64,
}

impl FactoredStep {
    /// Whether the second pass is needed.
    pub fn needs_direction_rms(&self) -> bool {
        self.clip.is_some()
    }

    /// The numbers of the last pass, from the mean squares of the parameter and of the direction
    /// (each used only if the step asks for it).
    pub fn resolve(&self, param_mean_square: f64, direction_mean_square: f64) -> Move {
        let scale = match self.parameter_scale {
            // Written so that a NaN stays one.
            Some(floor) => match param_mean_square.sqrt() {
                rms if rms < floor => floor,
                rms => rms,
            },
            None => 1.0,
        };
        let clip = match self.clip {
            Some(limit) => match direction_mean_square.sqrt() / limit {
                excess if excess < 1.0 => 1.0,
                excess => excess,
            },
            None => 1.0,
        };
        let rate = self.rate * scale;
        Move {
            retain: match self.decay {
                Decay::Share(share) => 1.0 - share,
                Decay::TimesRate(share) => 1.0 - share * rate,
            },
            rate: self.sign * rate / clip,
            beta_1: self.beta_1.unwrap_or(0.0),
        }
    }

    /// Turns the new row means into row factors `r`.
    pub fn row_factors<V: Real>(&self, rows: &[V], factors: &mut Vec<V>) {
        let lift = self.mean_floor.map_or(1.0, |floor| {
            let mean = rows.iter().map(|row| row.to_f64()).sum::<f64>() / rows.len() as f64;
            if mean < floor { floor } else { mean }.sqrt()
        });
        factors.clear();
        factors.extend(
            rows.iter()
                .map(|row| V::from_f64(lift / (row.to_f64() + self.factor).sqrt())),
        );
    }

    /// Turns the new column means into column factors `c`.
    pub fn col_factors<V: Real>(&self, cols: &[V], factors: &mut Vec<V>) {
        factors.clear();
        factors.extend(
            cols.iter()
                .map(|col| V::from_f64(1.0 / (col.to_f64() + self.factor).sqrt())),
        );
    }

    /// The new mean from the old one and this step's sum of `count` squares.
    pub fn blend<V: Real>(&self, old: V, sum_of_squares: f64, count: usize) -> V {
        let statistic = sum_of_squares / count as f64 + self.statistic;
        V::from_f64(self.beta_2 * old.to_f64() + (1.0 - self.beta_2) * statistic)
    }
}

/// The slots of a factored rule for a parameter of this shape, with their shapes.
pub fn slots<R: FactoredRule>(rule: &R, shape: &[usize]) -> Vec<(Slot, Vec<usize>)> {
    let names = rule.names();
    let mut slots = match rule.factored_dims(shape) {
        Some((rows, cols)) => {
            let without = |dim: usize| {
                let mut shape = shape.to_vec();
                shape[dim] = 1;
                shape
            };
            vec![
                (Slot::zeros(names.row), without(cols)),
                (Slot::zeros(names.col), without(rows)),
            ]
        }
        None => vec![(Slot::zeros(names.full), shape.to_vec())],
    };
    slots.extend(
        names
            .first_moment
            .map(|name| (Slot::zeros(name), shape.to_vec())),
    );
    slots
}

/// Lanes of a sum, so that the compiler can add them side by side.
const LANES: usize = 16;

/// Numbers after which a sum goes on in f64: few enough for f32 lanes to stay accurate.
const STRETCH: usize = 4096;

/// The sum of `f` over pairs of numbers.
#[inline(always)]
fn lane_sum<V: Real>(a: &[V], b: &[V], f: impl Fn(V, V) -> V) -> f64 {
    let stretches = a.chunks(STRETCH).zip(b.chunks(STRETCH));
    stretches.map(|(a, b)| stretch_sum(a, b, &f)).sum()
}

/// The sum of `f` over pairs of numbers, in independent lanes.
#[inline(always)]
fn stretch_sum<V: Real>(a: &[V], b: &[V], f: &impl Fn(V, V) -> V) -> f64 {
    let mut lanes = [V::default(); LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane] + f(a[lane], b[lane]);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| f(*a, *b).to_f64());
    lanes.iter().map(|lane| lane.to_f64()).sum::<f64>() + rest.sum::<f64>()
}

/// First pass over one row: adds its squares to the column sums and returns their sum.
#[inline(always)]
pub fn accumulate_row<V: Real>(scale: V, grad: &[V], cols: &mut [V]) -> f64 {
    for (col, grad) in cols.iter_mut().zip(grad) {
        *col = *col + (*grad * scale).square();
    }
    lane_sum(grad, grad, |a, _| (a * scale).square())
}

/// The sum of squares.
#[inline(always)]
pub fn square_sum<V: Real>(values: &[V]) -> f64 {
    lane_sum(values, values, |a, b| a * b)
}

/// Second pass over one row: the sum of squares of the direction.
#[inline(always)]
pub fn direction_row<V: Real>(scale: V, grad: &[V], row: V, cols: &[V], cap: V) -> f64 {
    lane_sum(grad, cols, |grad, col| {
        (multiple(row * col, cap) * (grad * scale)).square()
    })
}

#[inline(always)]
fn multiple<V: Real>(multiple: V, cap: V) -> V {
    if multiple > cap { cap } else { multiple }
}

/// Last pass over one row: moves the parameter.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub fn move_row<V: Real>(
    scale: V,
    param: &mut [V],
    grad: &[V],
    row: V,
    cols: &[V],
    cap: V,
    by: &Move,
    first_moment: Option<&mut [V]>,
) {
    let cols = &cols[..grad.len()];
    let u = |i: usize| (multiple(row * cols[i], cap) * (grad[i] * scale)).scale(by.rate);
    move_by(param, grad.len(), by, first_moment, u);
}

// `scaled` reads its own slices at the same index.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
fn move_by<V: Real>(
    param: &mut [V],
    len: usize,
    by: &Move,
    first_moment: Option<&mut [V]>,
    scaled: impl Fn(usize) -> V,
) {
    let param = &mut param[..len];
    match first_moment {
        Some(moment) => {
            let moment = &mut moment[..len];
            for i in 0..len {
                moment[i] = crate::ema(moment[i], scaled(i), by.beta_1);
                param[i] = param[i].scale(by.retain) - moment[i];
            }
        }
        None => {
            for i in 0..len {
                param[i] = param[i].scale(by.retain) - scaled(i);
            }
        }
    }
}

/// First pass over a stretch that keeps its full second moment: updates it and returns the sum of
/// squares of the direction.
#[inline(always)]
pub fn accumulate_full<V: Real>(step: &FactoredStep, grad: &[V], second: &mut [V]) -> f64 {
    let second = &mut second[..grad.len()];
    let scale = V::from_f64(step.grad_scale);
    for (second, grad) in second.iter_mut().zip(grad) {
        let square = (*grad * scale).square();
        *second = crate::ema(*second, square.offset(step.statistic), step.beta_2);
    }
    let second = &*second;
    let cap = V::from_f64(step.cap);
    let one = V::from_f64(1.0);
    lane_sum(grad, second, |grad, second| {
        (multiple(one / second.sqrt().offset(step.vector), cap) * (grad * scale)).square()
    })
}

/// Last pass over such a stretch: moves the parameter.
#[inline(always)]
pub fn move_full<V: Real>(
    step: &FactoredStep,
    param: &mut [V],
    grad: &[V],
    second: &[V],
    by: &Move,
    first_moment: Option<&mut [V]>,
) {
    let second = &second[..grad.len()];
    let cap = V::from_f64(step.cap);
    let one = V::from_f64(1.0);
    let scale = V::from_f64(step.grad_scale);
    let u = |i: usize| {
        let multiple = multiple(one / second[i].sqrt().offset(step.vector), cap);
        (multiple * (grad[i] * scale)).scale(by.rate)
    };
    move_by(param, grad.len(), by, first_moment, u);
}
