//! NumPy's legacy random numbers, bit for bit.
//!
//! Published experiments are often seeded with `np.random.seed(42)`. [`RandomState`] draws the
//! same numbers, so that such an experiment can be repeated on the same data. NumPy has frozen
//! this stream since version 1.17: it will not change.

use rand_mt::Mt;
use thiserror::Error;

/// NumPy's `RandomState`: a Mersenne Twister (MT19937) and the legacy algorithms on top of it.
///
/// The algorithms, in terms of the generator's 32-bit outputs:
///
/// | method | algorithm |
/// |---|---|
/// | [`random_sample`](Self::random_sample) | `(a * 2^26 + b) / 2^53` from the top 27 and 26 bits of two outputs |
/// | [`standard_normal`](Self::standard_normal) | Marsaglia's polar method; the second number of a pair is kept for the next call |
/// | [`randint`](Self::randint), [`permutation`](Self::permutation) | the low bits of an output, drawn again until they are in range |
///
/// Normal deviates take one logarithm from the platform: NumPy's numbers exactly where both use
/// the same C library, and otherwise to the last bit or two.
///
/// ```
/// use downhill_problems::numpy::RandomState;
///
/// let mut random = RandomState::new(42); // np.random.seed(42)
/// assert_eq!(random.randn(2), [0.4967141530112327, -0.13826430117118466]); // np.random.randn(2)
/// assert_eq!(random.randint(0, 3, 5)?, [2, 0, 0, 2, 1]); // np.random.randint(0, 3, 5)
/// # Ok::<(), downhill_problems::numpy::EmptyRange>(())
/// ```
#[derive(Clone, Debug)]
pub struct RandomState {
    generator: Mt,
    /// The second deviate of the last pair that the polar method made.
    spare_normal: Option<f64>,
}

/// [`RandomState::randint`] was asked for integers from a range that holds none.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no integers to draw from: low is {low} and high is {high}, but low must be below high")]
pub struct EmptyRange {
    low: i64,
    high: i64,
}

impl RandomState {
    /// `np.random.RandomState(seed)`. NumPy, too, accepts seeds from 0 to 2^32 - 1 only.
    ///
    /// ```
    /// use downhill_problems::numpy::RandomState;
    ///
    /// assert_eq!(RandomState::new(7).rand(3), RandomState::new(7).rand(3));
    /// ```
    pub fn new(seed: u32) -> Self {
        Self {
            generator: Mt::new(seed),
            spare_normal: None,
        }
    }

    /// One number, uniform in `[0, 1)`, in steps of 2^-53.
    ///
    /// ```
    /// use downhill_problems::numpy::RandomState;
    ///
    /// assert_eq!(RandomState::new(42).random_sample(), 0.3745401188473625);
    /// ```
    pub fn random_sample(&mut self) -> f64 {
        let high = f64::from(self.generator.next_u32() >> 5);
        let low = f64::from(self.generator.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// One number from the normal distribution of mean 0 and variance 1.
    ///
    /// ```
    /// use downhill_problems::numpy::RandomState;
    ///
    /// assert_eq!(RandomState::new(42).standard_normal(), 0.4967141530112327);
    /// ```
    pub fn standard_normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let x = 2.0 * self.random_sample() - 1.0;
            let y = 2.0 * self.random_sample() - 1.0;
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = (-2.0 * square.ln() / square).sqrt();
                self.spare_normal = Some(scale * x);
                return scale * y;
            }
        }
    }

    /// `rand(n)`: `n` numbers uniform in `[0, 1)`. A NumPy array of any shape holds the same
    /// numbers in row-major order.
    ///
    /// ```
    /// use downhill_problems::numpy::RandomState;
    ///
    /// let x: Vec<f64> = RandomState::new(0).rand(100); // np.random.rand(100, 1)
    /// assert!(x.iter().all(|x| (0.0..1.0).contains(x)));
    /// ```
    pub fn rand(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.random_sample()).collect()
    }

    /// `randn(n)`: `n` standard normal numbers. A NumPy array of any shape holds the same numbers
    /// in row-major order.
    ///
    /// ```
    /// use downhill_problems::numpy::RandomState;
    ///
    /// let x = RandomState::new(0).randn(10_000);
    /// let variance = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    /// assert!((variance - 1.0).abs() < 0.05);
    /// ```
    pub fn randn(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.standard_normal()).collect()
    }

    /// `randint(low, high, n)`: `n` integers, uniform in `low..high` (`high` excluded).
    ///
    /// # Errors
    /// [`EmptyRange`] unless `low < high`.
    ///
    /// ```
    /// use downhill_problems::numpy::RandomState;
    ///
    /// let mut random = RandomState::new(0);
    /// assert!(random.randint(0, 3, 100)?.iter().all(|i| (0..3).contains(i)));
    /// assert_eq!(
    ///     random.randint(3, 3, 1).unwrap_err().to_string(),
    ///     "no integers to draw from: low is 3 and high is 3, but low must be below high"
    /// );
    /// # Ok::<(), downhill_problems::numpy::EmptyRange>(())
    /// ```
    pub fn randint(&mut self, low: i64, high: i64, n: usize) -> Result<Vec<i64>, EmptyRange> {
        if low >= high {
            return Err(EmptyRange { low, high });
        }
        // Two's complement makes this right for every range, also one wider than `i64::MAX`.
        let max = high.wrapping_sub(low) as u64 - 1;
        Ok((0..n)
            .map(|_| low.wrapping_add(self.bounded(max) as i64))
            .collect())
    }

    /// `permutation(n)`: the indices `0..n` in random order (Fisher-Yates, from the last down).
    ///
    /// ```
    /// use downhill_problems::numpy::RandomState;
    ///
    /// let mut order = RandomState::new(0).permutation(5);
    /// assert_eq!(order, [2, 0, 1, 3, 4]); // np.random.permutation(5)
    /// order.sort();
    /// assert_eq!(order, [0, 1, 2, 3, 4]);
    /// ```
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.bounded(i as u64) as usize);
        }
        order
    }

    /// Uniform in `0..=max`. Takes no output when there is nothing to choose, one per try when
    /// `max` fits 32 bits, and two otherwise, as NumPy does.
    fn bounded(&mut self, max: u64) -> u64 {
        if max == 0 {
            return 0;
        }
        let mask = u64::MAX >> max.leading_zeros();
        loop {
            let bits = if max <= u64::from(u32::MAX) {
                u64::from(self.generator.next_u32())
            } else {
                self.generator.next_u64()
            };
            let value = bits & mask;
            if value <= max {
                return value;
            }
        }
    }
}
