use downhill_rule::Real;

use super::{Element, dispatch, parts, share};

/// A sum of squares, `unit² · sum`: the unit keeps it from overflowing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Squares {
    /// What the elements were divided by before they were squared.
    pub unit: f64,
    /// The sum.
    pub sum: f64,
}

impl Default for Squares {
    /// The sum over nothing.
    fn default() -> Self {
        Self {
            unit: 1.0,
            sum: 0.0,
        }
    }
}

impl Squares {
    /// The root of the sum; infinite only if it is larger than any f64.
    pub fn norm(&self) -> f64 {
        self.unit * self.sum.sqrt()
    }

    /// Whether every element was finite.
    pub fn is_finite(&self) -> bool {
        self.sum.is_finite() && self.unit.is_finite()
    }

    /// The sum over the elements of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        // In the unit of a sum over nothing a small one would be lost.
        if other.sum == 0.0 {
            return self;
        }
        if self.sum == 0.0 {
            return other;
        }
        if self.unit == other.unit {
            let sum = self.sum + other.sum;
            return Self { sum, ..self };
        }
        let unit = self.unit.max(other.unit);
        let in_unit = |part: Self| (part.unit / unit) * (part.unit / unit) * part.sum;
        Self {
            unit,
            sum: in_unit(self) + in_unit(other),
        }
    }

    /// The sum over the elements times `factor`.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self {
            unit: self.unit * factor.abs(),
            ..self
        }
    }
}

const LANES: usize = 16;

/// Squares of f64 below which the sum may have lost small elements.
const SMALL: f64 = 1e-280;

/// The sum of squares of a slice.
pub(super) fn squares<E: Element>(values: &[E]) -> Squares {
    let sum = total(values, |x| x * x, |a, b| a + b);
    let single = size_of::<E::Compute>() < size_of::<f64>();
    // Squares of f32 are far inside the range of f64.
    if single || (SMALL..f64::INFINITY).contains(&sum) {
        return Squares { unit: 1.0, sum };
    }
    // `max` passes over a NaN, but the division keeps it.
    let largest = total(values, f64::abs, f64::max).max(f64::MIN_POSITIVE);
    Squares {
        unit: largest,
        sum: total(values, |x| (x / largest) * (x / largest), |a, b| a + b),
    }
}

/// `term` over all values, put together by `join`, which 0 changes nothing in.
fn total<E: Element>(
    values: &[E],
    term: impl Fn(f64) -> f64 + Sync,
    join: impl Fn(f64, f64) -> f64 + Sync,
) -> f64 {
    let run = |part: &[E]| {
        dispatch(
            #[inline(always)]
            || lanes(part, &term, &join),
        )
    };
    match parts(values.len()) {
        1 => run(values),
        parts => {
            let size = values.len().div_ceil(parts);
            share(values.chunks(size).collect(), run)
                .into_iter()
                .fold(0.0, &join)
        }
    }
}

#[inline(always)]
fn lanes<E: Element>(
    values: &[E],
    term: &impl Fn(f64) -> f64,
    join: &impl Fn(f64, f64) -> f64,
) -> f64 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for values in whole {
        for lane in 0..LANES {
            lanes[lane] = join(lanes[lane], term(values[lane].load().to_f64()));
        }
    }
    let rest = rest.iter().map(|value| term(value.load().to_f64()));
    lanes.into_iter().chain(rest).fold(0.0, join)
}
