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

/// Fewer paired results than this cannot be told from chance at 5 %: of the `2^n` signs of `n` differences two are as
/// extreme as the ones that were found.
pub const FEWEST_PAIRS: usize = 6;

/// From this many pairs on not all signs are tried, but as many at random.
const ALL_SIGNS: usize = 12;

/// For each series but the first how often chance parts any two of them as far as it is from the first: a p-value that
/// holds for all of them together, and for which of them is the first.
///
/// The values of a place belong together, as those of one seed do. If two series differ by chance alone, each of their
/// differences could as well have the other sign (Fisher's permutation test of paired differences). The signs are the
/// same for all pairs of series, and for each choice of them the largest `|sum d| / sqrt(sum d^2)` of all pairs is what
/// the found ones are compared with (the max-T correction of Westfall and Young 1993, "Resampling-Based Multiple
/// Testing"). Signs come from a fixed seed where there are too many to try all.
///
/// # Panics
///
/// Panics if the series are of different lengths.
pub fn paired(series: &[Vec<f64>]) -> Vec<f64> {
    let Some(count) = series.first().map(Vec::len) else {
        return Vec::new();
    };
    assert!(series.iter().all(|values| values.len() == count));
    let mut pairs: Vec<Vec<f64>> = Vec::new();
    for (i, a) in series.iter().enumerate() {
        for b in &series[i + 1..] {
            let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
            let length = differences.iter().map(|d| d * d).sum::<f64>().sqrt();
            // Equal series differ by nothing under every sign.
            let unit = if length > 0.0 { length } else { 1.0 };
            pairs.push(differences.iter().map(|d| d / unit).collect());
        }
    }
    let size = |differences: &[f64], signs: u64| {
        let signed = differences.iter().enumerate();
        let signed = signed.map(|(at, d)| if signs >> at & 1 == 1 { -d } else { *d });
        signed.sum::<f64>().abs()
    };
    // All signs turned are the same again, so that the first can stay.
    let choices: Vec<u64> = match count {
        0..ALL_SIGNS => (0..1 << count.saturating_sub(1))
            .map(|signs| signs << 1)
            .collect(),
        _ => {
            let mut random = RandomState::new(0);
            let mut signs = || {
                let draws = random.rand(count.min(63));
                let bits = draws.iter().enumerate();
                bits.fold(0, |signs, (at, u)| signs | u64::from(*u < 0.5) << at)
            };
            // The signs as they were found count as well.
            core::iter::once(0)
                .chain((1..1 << (ALL_SIGNS - 1)).map(|_| signs()))
                .collect()
        }
    };
    let largest: Vec<f64> = choices
        .iter()
        .map(|signs| {
            pairs
                .iter()
                .map(|pair| size(pair, *signs))
                .fold(0.0, f64::max)
        })
        .collect();
    let of_first = &pairs[..series.len() - 1];
    let p = |pair: &Vec<f64>| {
        let found = size(pair, 0);
        let as_far = largest.iter().filter(|size| **size >= found - 1e-12);
        as_far.count() as f64 / largest.len() as f64
    };
    of_first.iter().map(p).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_few_as_six_pairs_can_tell_two_apart() {
        let ahead = |count: usize| {
            let a: Vec<f64> = (0..count).map(|i| i as f64).collect();
            // Always by about one, while the seeds differ by more.
            let b = a.iter().map(|x| x + 1.0 + 0.01 * x).collect();
            paired(&[a, b])[0]
        };
        assert_eq!(ahead(FEWEST_PAIRS), 1.0 / 32.0);
        assert_eq!(ahead(FEWEST_PAIRS - 1), 1.0 / 16.0);
        // With many the found signs are still one of them.
        assert!(ahead(20) <= 2.0 / 2048.0 + 1e-12);
    }

    #[test]
    fn the_signs_of_three_by_hand() {
        // Differences 1, 2, -1: sums under the four choices of signs 2, -2, 4, 0 beside a length of the root of 6.
        let a = vec![0.0, 0.0, 0.0];
        let b = vec![-1.0, -2.0, 1.0];
        assert_eq!(paired(&[a, b]), [3.0 / 4.0]);
    }

    #[test]
    fn more_that_are_compared_make_each_less_sure() {
        let noise = |seed: u32| RandomState::new(seed).randn(8);
        let best = noise(0);
        let behind: Vec<f64> = best
            .iter()
            .zip(noise(1))
            .map(|(x, e)| x + 1.0 + e)
            .collect();
        let alone = paired(&[best.clone(), behind.clone()])[0];
        let mut many = vec![best, behind];
        many.extend((2..30).map(noise));
        assert!(paired(&many)[0] > alone);
    }

    #[test]
    fn equal_series_are_not_apart() {
        let same = vec![1.0; 8];
        assert_eq!(paired(&[same.clone(), same.clone(), same]), [1.0, 1.0]);
        assert_eq!(paired(&[]), [0.0; 0]);
        assert_eq!(paired(&[vec![1.0; 8]]), [0.0; 0]);
    }
}
