//! Random numbers that depend on a seed, the step and the size alone, so that nothing has to be kept of them.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The last part of SplitMix64 (Steele, Lea & Flood 2014).
fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A matrix of independent normal numbers of mean 0 and variance 1, by the method of Box and Muller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    pub seed: u64,
    pub step: u64,
    pub rows: usize,
    pub cols: usize,
}

impl Draw {
    /// The numbers, row by row.
    pub fn numbers(self) -> impl Iterator<Item = f64> {
        let of_step = mixed(mixed(self.seed.wrapping_add(GOLDEN)) ^ self.step);
        let size = ((self.rows as u64) << 32).wrapping_add(self.cols as u64);
        let stream = mixed(of_step.wrapping_add(size));
        let uniform = move |at: u64| {
            let bits = mixed(stream.wrapping_add(GOLDEN.wrapping_mul(at + 1)));
            ((bits >> 11) as f64 + 0.5) / 2f64.powi(53)
        };
        let pair = move |at: usize| {
            let at = 2 * at as u64;
            let length = (-2.0 * uniform(at).ln()).sqrt();
            let (sin, cos) = (core::f64::consts::TAU * uniform(at + 1)).sin_cos();
            [length * cos, length * sin]
        };
        let count = self.rows * self.cols;
        (0..count.div_ceil(2)).flat_map(pair).take(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_normal_and_their_own() {
        let draw = |seed, step| Draw {
            seed,
            step,
            rows: 100,
            cols: 101,
        };
        let numbers: Vec<f64> = draw(1, 1).numbers().collect();
        let count = numbers.len() as f64;
        assert_eq!(count, 10_100.0);
        let moment = |power: i32| numbers.iter().map(|x| x.powi(power)).sum::<f64>() / count;
        let expected = [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)];
        for (power, expected) in expected {
            assert!(
                (moment(power) - expected).abs() < 0.2,
                "{power}: {}",
                moment(power)
            );
        }
        let others = [draw(2, 1), draw(1, 2)];
        for other in others {
            let pairs = numbers.iter().zip(other.numbers());
            let product = pairs.map(|(a, b)| a * b).sum::<f64>() / count;
            assert!(product.abs() < 0.05, "{product}");
        }
    }
}
