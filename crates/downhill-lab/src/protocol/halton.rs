//! Points that fill a space more evenly than random ones.

/// Coordinate `dimension`, from 0 on, of point `index`, from 0 on, of the Halton sequence; from 0 to 1,
/// without both.
///
/// It is the radical inverse of `index + 1` in a prime base: `sum d_k b^-(k + 1)` with the digits
/// `index + 1 = sum d_k b^k`, and 2, 3, 5, 7, ... as the bases of the dimensions (van der Corput 1935;
/// Halton 1960, "On the efficiency of certain quasi-random sequences of points in evaluating
/// multi-dimensional integrals"). One is added because the inverse of 0 is the corner of the space, which
/// for a logarithmic setting is an extreme one. Bousquet et al. 2017, arXiv 1706.03200, tune with such
/// points.
///
/// The digits are not scrambled, so that points depend on nothing but their index. A dimension ascends
/// in equal steps for as many points as its base, and several such dimensions lie on a line: take more
/// points than the last base, or begin at a higher index. With four dimensions, 16 points or more have no
/// correlation above 0.25 between two of them.
///
/// The index must be below 2^50: above, digits are lost, and a coordinate may be rounded to 1.
pub fn halton(index: u64, dimension: usize) -> f64 {
    let base = prime(dimension);
    let (mut rest, mut place, mut value) = (index + 1, 1.0, 0.0);
    while rest > 0 {
        place /= base as f64;
        value += (rest % base) as f64 * place;
        rest /= base;
    }
    value
}

fn prime(index: usize) -> u64 {
    let is_prime = |n: &u64| {
        (2..*n)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    };
    let mut primes = (2..).filter(is_prime);
    primes.nth(index).expect("there is always another prime")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tools/golden/scores.py`: SciPy's `qmc.Halton(d=4, scramble=False)` without its first point, the origin.
    const SCIPY: [[f64; 4]; 8] = [
        [0.5, 0.3333333333333333, 0.2, 0.14285714285714285],
        [0.25, 0.6666666666666666, 0.4, 0.2857142857142857],
        [
            0.75,
            0.1111111111111111,
            0.6000000000000001,
            0.42857142857142855,
        ],
        [0.125, 0.4444444444444444, 0.8, 0.5714285714285714],
        [0.625, 0.7777777777777777, 0.04, 0.7142857142857142],
        [
            0.375,
            0.2222222222222222,
            0.24000000000000002,
            0.8571428571428571,
        ],
        [0.875, 0.5555555555555556, 0.44, 0.02040816326530612],
        [
            0.0625,
            0.8888888888888888,
            0.6400000000000001,
            0.16326530612244897,
        ],
    ];

    #[test]
    fn the_points_are_those_of_scipy() {
        for (index, point) in SCIPY.iter().enumerate() {
            for (dimension, expected) in point.iter().enumerate() {
                let found = halton(index as u64, dimension);
                assert!(
                    (found - expected).abs() < 1e-15,
                    "{index}, {dimension}: {found}"
                );
            }
        }
    }

    #[test]
    fn the_bases_are_the_primes() {
        let primes: Vec<u64> = (0..12).map(prime).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]);
    }

    /// A run of as many points as a power of the base has one in each of as many equal parts.
    #[test]
    fn every_part_has_a_point() {
        for (dimension, parts) in [(0, 64), (1, 81), (2, 125), (3, 49)] {
            let part = |index| (halton(index, dimension) * parts as f64 + 1e-9) as u64;
            let mut found: Vec<u64> = (100..100 + parts).map(part).collect();
            found.sort_unstable();
            assert_eq!(
                found,
                (0..parts).collect::<Vec<u64>>(),
                "dimension {dimension}"
            );
        }
    }

    #[test]
    fn no_coordinate_is_at_a_border() {
        for index in [0, 1, 12, 1 << 20, (1 << 50) - 2, (1 << 50) - 1] {
            for dimension in 0..8 {
                let x = halton(index, dimension);
                assert!(x > 0.0 && x < 1.0, "{index}, {dimension}: {x}");
            }
        }
    }

    #[test]
    fn four_dimensions_are_hardly_correlated() {
        for count in 16..=256 {
            let column = |d| (0..count).map(|i| halton(i, d)).collect::<Vec<f64>>();
            let columns: Vec<Vec<f64>> = (0..4).map(column).collect();
            for a in 0..4 {
                for b in 0..a {
                    let r = correlation(&columns[a], &columns[b]);
                    assert!(r.abs() < 0.25, "{count} points, {a} and {b}: {r}");
                }
            }
        }
    }

    fn correlation(a: &[f64], b: &[f64]) -> f64 {
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let (mean_a, mean_b) = (mean(a), mean(b));
        let products = a.iter().zip(b).map(|(x, y)| (x - mean_a) * (y - mean_b));
        let square = |x: &[f64], mean: f64| x.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        products.sum::<f64>() / (square(a, mean_a) * square(b, mean_b)).sqrt()
    }
}
