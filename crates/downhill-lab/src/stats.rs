//! Medians and their uncertainty.

use downhill_problems::numpy::RandomState;

use crate::results::Interval;

/// How often [`bootstrap`] resamples.
pub const RESAMPLES: usize = 10_000;

/// The value that a share of `q` of the sorted `values` lies below, interpolated linearly between two
/// of them: NumPy's and SciPy's default (Hyndman and Fan's seventh).
///
/// # Panics
///
/// Panics if there are no values.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * position.fract()
}

/// The median of `values`, in any order; none if there are no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    (!sorted.is_empty()).then(|| quantile(&sorted, 0.5))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// The median with the central 95 % of the medians of resamples drawn with replacement (the percentile
/// bootstrap, Efron 1979); none if there are no values. Resamples come from a fixed seed, so that equal
/// values have equal intervals.
///
/// With three values the interval is their range at nearly all draws: it says little more than that.
pub fn bootstrap(values: &[f64]) -> Option<Interval> {
    let median = median(values)?;
    let mut random = RandomState::new(0);
    let count = values.len();
    let mut medians = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let draws = random.rand(count);
        let resample: Vec<f64> = draws
            .iter()
            .map(|u| values[(u * count as f64) as usize])
            .collect();
        medians.push(quantile(&sorted(&resample), 0.5));
    }
    let medians = sorted(&medians);
    Some(Interval {
        median,
        low: quantile(&medians, 0.025),
        high: quantile(&medians, 0.975),
    })
}
