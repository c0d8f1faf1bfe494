use downhill_rule::Real;

use super::{Element, dispatch, parts, share};

/// A pass over part of the values, with the widest instructions of the machine: what is only called from
/// there, and not written there, is compiled without them.
macro_rules! vectorised {
    (|$part:ident| $work:expr) => {
        |$part: &[E]| {
            dispatch(
                #[inline(always)]
                || $work,
            )
        }
    };
}

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

/// Sums side by side, so that none waits for the one before.
const LANES: usize = 32;

/// Numbers that are added up in single precision before the sum goes on in f64: few enough for the sum to
/// be as exact as the numbers are.
const STRETCH: usize = 2048;

/// Sums of squares outside this range may have lost small elements, or overflowed.
const SINGLE: core::ops::Range<f32> = 1e-20..f32::INFINITY;
const DOUBLE: core::ops::Range<f64> = 1e-280..f64::INFINITY;

/// The sum of squares of a slice.
pub(crate) fn squares<E: Element>(values: &[E]) -> Squares {
    let add = |a, b| a + b;
    let single = size_of::<E::Compute>() < size_of::<f64>();
    if single {
        // Squares of f32 are far inside the range of f64.
        let sum = over_parts(values, vectorised!(|part| single_squares(part)), add);
        return Squares { unit: 1.0, sum };
    }
    let sum = over_parts(values, vectorised!(|part| lanes(part, |x| x * x, add)), add);
    if DOUBLE.contains(&sum) {
        return Squares { unit: 1.0, sum };
    }
    // `max` passes over a NaN, but the division keeps it.
    let largest = over_parts(
        values,
        vectorised!(|part| lanes(part, f64::abs, f64::max)),
        f64::max,
    );
    let unit = largest.max(f64::MIN_POSITIVE);
    let term = |x: f64| (x / unit) * (x / unit);
    let sum = over_parts(values, vectorised!(|part| lanes(part, term, add)), add);
    Squares { unit, sum }
}

/// What `work` comes to over all values, put together by `join`, which 0 changes nothing in.
fn over_parts<E: Element>(
    values: &[E],
    work: impl Fn(&[E]) -> f64 + Sync,
    join: impl Fn(f64, f64) -> f64,
) -> f64 {
    match parts(values.len()) {
        1 => work(values),
        parts => {
            let size = values.len().div_ceil(parts);
            let results = share(values.chunks(size).collect(), work);
            results.into_iter().fold(0.0, join)
        }
    }
}

/// Squares in single precision, stretch by stretch; again in f64 where that is not enough.
#[inline(always)]
fn single_squares<E: Element>(values: &[E]) -> f64 {
    let mut sum = 0.0;
    for stretch in values.chunks(STRETCH) {
        let mut lanes = [0.0_f32; LANES];
        let (whole, rest) = stretch.as_chunks::<LANES>();
        for values in whole {
            for lane in 0..LANES {
                let value = values[lane].load().to_f64() as f32;
                lanes[lane] += value * value;
            }
        }
        for (lane, value) in lanes.iter_mut().zip(rest) {
            let value = value.load().to_f64() as f32;
            *lane += value * value;
        }
        let stretch_sum = in_pairs(&lanes);
        sum += match SINGLE.contains(&stretch_sum) {
            true => f64::from(stretch_sum),
            false => self::lanes(stretch, |x| x * x, |a, b| a + b),
        };
    }
    sum
}

/// The sum of all lanes, each half added to the other.
///
/// Not inlined: where the compiler sees this tree together with the loop before it, it cuts the lanes into
/// vectors that suit the tree, and the loop takes half as long again.
#[inline(never)]
fn in_pairs(lanes: &[f32; LANES]) -> f32 {
    let mut lanes = *lanes;
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

#[inline(always)]
fn lanes<E: Element>(
    values: &[E],
    term: impl Fn(f64) -> f64,
    join: impl Fn(f64, f64) -> f64,
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

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    /// Of f64 numbers, without overflow.
    fn exact(values: impl Iterator<Item = f64> + Clone) -> f64 {
        let largest = values.clone().fold(0.0_f64, |max, x| max.max(x.abs()));
        let unit = if largest == 0.0 { 1.0 } else { largest };
        unit * values.map(|x| (x / unit).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn no_finite_number_overflows_or_is_lost() {
        for len in [1, 7, 16, 33, 511, 512, 513, 4097, 100_003] {
            for size in [1e-45_f32, 1e-38, 1e-20, 1e-3, 1.0, 1e19, 1e30, 3e38] {
                let values: Vec<f32> = (0..len).map(|i| size * ((i % 7) as f32 / 7.0)).collect();
                let expected = exact(values.iter().map(|x| f64::from(*x)));
                let found = squares(&values).norm();
                assert!(
                    (found - expected).abs() <= 2e-7 * expected,
                    "{len} of {size}: {found}"
                );
            }
            for size in [1e-308_f64, 1e-200, 1.0, 1e200, 1e308] {
                let values: Vec<f64> = (0..len).map(|i| size * ((i % 7) as f64 / 7.0)).collect();
                let expected = exact(values.iter().copied());
                let found = squares(&values);
                // The norm itself may be more than an f64 can be.
                assert!(found.is_finite());
                let close = (found.norm() - expected).abs() <= 1e-13 * expected;
                assert!(close || found.norm() == expected, "{len} of {size}");
            }
            let values = vec![f16::MAX; len];
            let expected = 65504.0 * (len as f64).sqrt();
            assert!((squares(&values).norm() / expected - 1.0).abs() < 2e-7);
            let values = vec![bf16::MAX; len];
            let expected = bf16::MAX.to_f64() * (len as f64).sqrt();
            assert!((squares(&values).norm() / expected - 1.0).abs() < 2e-7);
        }
        assert_eq!(squares::<f32>(&[]).norm(), 0.0);
        assert_eq!(squares(&[0.0_f64; 5]).norm(), 0.0);
    }

    #[test]
    fn one_number_that_is_not_finite_shows() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for at in [0, 600, 1023] {
                let mut values = vec![1.0_f64; 1024];
                values[at] = bad;
                assert!(!squares(&values).is_finite(), "{bad} at {at}");
                let values: Vec<f32> = values.iter().map(|x| *x as f32).collect();
                assert!(!squares(&values).is_finite(), "{bad} at {at}");
            }
        }
    }

    #[test]
    fn sums_go_together_in_the_larger_unit() {
        let large = squares(&[3e200_f64, 0.0]);
        let sum = large.plus(squares(&[4e200_f64])).plus(squares(&[1.0_f64]));
        assert!((sum.norm() / 5e200 - 1.0).abs() < 1e-14);
        assert!((sum.times(-1e-200).norm() - 5.0).abs() < 1e-13);
    }
}
