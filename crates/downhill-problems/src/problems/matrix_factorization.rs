use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData},
};

use crate::{
    numpy::RandomState,
    parts::Parts,
    problem::{Evaluation, Info, Measure, Metric, Part, Problem, ProblemError, Target},
    weights::Weights,
};

/// The standard deviation of the noise.
const NOISE: f64 = 0.1;

/// The completion of a matrix of low rank, of which some entries are known.
///
/// The matrix is `A B' / sqrt(rank) + 0.1 E` with standard normal `A [rows, rank]`, `B [columns, rank]`
/// and `E [rows, columns]`, so that its entries have about the variance 1. The model is two factors
/// `U [rows, rank]` and `V [columns, rank]`, which begin small, next to the saddle at 0; a sample is an entry
/// `(i, j, y)`, and the loss the mean squared error
///
/// ```text
/// mean (U[i] V[j]' - y)^2
/// ```
///
/// Half of the entries are trained on, a quarter are the validation part and a quarter the test part. A
/// batch moves only the rows that its entries lie in. The loss is not convex, and the factors are determined
/// up to an invertible `Q`: `U Q` and `V Q'^-1` give the same matrix.
///
/// The metric is the root of the loss.
///
/// ```
/// use downhill_problems::{MatrixFactorization, Problem};
///
/// let problem = MatrixFactorization::new(100, 80, 4)?;
/// assert_eq!(problem.info().name, "matrix-factorization");
/// assert_eq!(problem.info().samples, 4000);
/// # Ok::<(), downhill_problems::ProblemError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MatrixFactorization {
    name: String,
    rows: usize,
    columns: usize,
    rank: usize,
    parts: Parts<Vec<Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    row: usize,
    column: usize,
    value: f64,
}

/// Two factors of a matrix.
#[derive(Module, Debug)]
pub struct Factors {
    u: Param<Tensor<2>>,
    v: Param<Tensor<2>>,
}

/// Some entries of a matrix, each of shape `[entries]`.
#[derive(Clone, Debug)]
pub struct Entries {
    rows: Tensor<1, Int>,
    columns: Tensor<1, Int>,
    values: Tensor<1>,
}

impl MatrixFactorization {
    /// A matrix of `rows` and `columns` whose noise hides the given rank.
    ///
    /// # Errors
    /// [`ProblemError::Invalid`] if the rank is 0 or the factors have more than a quarter as many numbers as the
    /// matrix, which is half of what is trained on.
    pub fn new(rows: usize, columns: usize, rank: usize) -> Result<Self, ProblemError> {
        let name = match (rows, columns, rank) {
            (100, 80, 4) => "matrix-factorization".to_string(),
            _ => format!("matrix-factorization-{rows}-{columns}-{rank}"),
        };
        let unknowns = rows.saturating_add(columns).saturating_mul(rank);
        let entries = rows.saturating_mul(columns);
        if rank == 0 || unknowns > entries / 4 {
            return Err(ProblemError::Invalid {
                name,
                reason: "expected a rank of at least 1, and at most a quarter as many numbers in the factors as in the matrix",
            });
        }
        let mut random = RandomState::new(0);
        let [a, b] = true_factors(&mut random, [rows, columns], rank);
        let noise = random.randn(entries);
        let mut entries = random.permutation(entries).into_iter().map(|at| {
            let (row, column) = (at / columns, at % columns);
            let terms = a[row].iter().zip(&b[column]);
            let value = terms.map(|(a, b)| a * b).sum::<f64>() + NOISE * noise[at];
            Entry { row, column, value }
        });
        let quarter = rows * columns / 4;
        Ok(Self {
            parts: Parts {
                validation: entries.by_ref().take(quarter).collect(),
                test: entries.by_ref().take(quarter).collect(),
                train: entries.collect(),
            },
            name,
            rows,
            columns,
            rank,
        })
    }
}

/// The rows of two factors whose product has entries of variance 1.
fn true_factors(random: &mut RandomState, lengths: [usize; 2], rank: usize) -> [Vec<Vec<f64>>; 2] {
    let scale = (rank as f64).powf(-0.25);
    lengths.map(|length| {
        let rows = (0..length).map(|_| random.randn(rank).iter().map(|z| scale * z).collect());
        rows.collect()
    })
}

impl Entries {
    fn new(entries: &[Entry], device: &Device) -> Self {
        let n = entries.len();
        let indices = |index: fn(&Entry) -> usize| {
            let indices: Vec<i64> = entries.iter().map(|entry| index(entry) as i64).collect();
            Tensor::from_data(TensorData::new(indices, [n]), device)
        };
        let values: Vec<f64> = entries.iter().map(|entry| entry.value).collect();
        Self {
            rows: indices(|entry| entry.row),
            columns: indices(|entry| entry.column),
            values: Tensor::from_data(TensorData::new(values, [n]), device),
        }
    }
}

impl Problem for MatrixFactorization {
    type Model = Factors;
    type Batch = Entries;

    fn info(&self) -> Info {
        Info {
            name: self.name.clone(),
            about: "a matrix of low rank from half of its entries".into(),
            metric: Some(Metric {
                name: "root mean square error".into(),
                higher_is_better: false,
            }),
            samples: self.parts.train.len(),
            batch_size: 100,
            epochs: 25,
            target: Target {
                part: Part::Validation,
                measure: Measure::Metric,
                value: 1.2 * NOISE,
            },
        }
    }

    fn init(&self, seed: u32, device: &Device) -> Factors {
        let mut weights = Weights::new(seed, device);
        Factors {
            u: weights.normal(0.1, [self.rows, self.rank]),
            v: weights.normal(0.1, [self.columns, self.rank]),
        }
    }

    fn batch(&self, samples: &[usize], device: &Device) -> Entries {
        let entries: Vec<Entry> = samples.iter().map(|&i| self.parts.train[i]).collect();
        Entries::new(&entries, device)
    }

    fn loss(&self, model: &Factors, batch: &Entries) -> Tensor<1> {
        let u = model.u.val().select(0, batch.rows.clone());
        let v = model.v.val().select(0, batch.columns.clone());
        let predicted = (u * v).sum_dim(1).squeeze_dim::<1>(1);
        (predicted - batch.values.clone()).square().mean()
    }

    fn evaluate(&self, model: &Factors, part: Part) -> Evaluation {
        let model = model.valid();
        let batch = Entries::new(self.parts.of(part), &model.devices()[0]);
        let loss: f64 = self.loss(&model, &batch).into_scalar();
        Evaluation {
            loss,
            metric: Some(loss.sqrt()),
        }
    }

    fn evaluated_on(&self, part: Part) -> Option<usize> {
        Some(self.parts.of(part).len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_entry_is_in_one_part() {
        let problem = MatrixFactorization::new(30, 21, 2).unwrap();
        let parts = [Part::Train, Part::Validation, Part::Test];
        let parts = parts.map(|part| problem.parts.of(part).as_slice());
        assert_eq!(parts.map(<[Entry]>::len), [630 - 2 * 157, 157, 157]);
        let places: HashSet<_> = parts.concat().iter().map(|e| (e.row, e.column)).collect();
        assert_eq!(places.len(), 630);
        assert!(places.iter().all(|&(row, column)| row < 30 && column < 21));
    }

    #[test]
    fn the_true_factors_leave_the_noise() {
        let problem = MatrixFactorization::new(100, 80, 4).unwrap();
        let device = Device::flex();
        let [u, v] = true_factors(&mut RandomState::new(0), [100, 80], 4).map(|rows| {
            let data = TensorData::new(rows.concat(), [rows.len(), 4]);
            Tensor::<2>::from_data(data, &device)
        });
        let model = |u, v| Factors {
            u: Param::from_tensor(u),
            v: Param::from_tensor(v),
        };
        for part in [Part::Train, Part::Validation, Part::Test] {
            let Evaluation { loss, metric } = problem.evaluate(&model(u.clone(), v.clone()), part);
            // The mean of that many squares has a standard deviation of 3 % of it at most.
            assert!((loss / NOISE.powi(2) - 1.0).abs() < 0.1, "{loss}");
            assert!((metric.unwrap() - loss.sqrt()).abs() < 1e-12);
            let scaled = model(u.clone() * 2.0, v.clone() * 0.5);
            assert!((problem.evaluate(&scaled, part).loss / loss - 1.0).abs() < 1e-5);
        }
        let entries: Vec<f64> = problem
            .parts
            .train
            .iter()
            .map(|entry| entry.value)
            .collect();
        let square = entries.iter().map(|x| x * x).sum::<f64>() / entries.len() as f64;
        assert!((0.7..1.4).contains(&square), "{square}");
    }

    #[test]
    fn gradients_are_the_errors_times_the_other_factor() {
        let problem = MatrixFactorization::new(30, 21, 2).unwrap();
        let device = Device::flex().autodiff();
        let model = problem.init(1, &device);
        let samples = [3, 14, 15];
        let loss = problem.loss(&model, &problem.batch(&samples, &device));
        let gradients = loss.backward();
        let plain = |tensor: Tensor<2>| {
            let data = tensor.into_data_as::<f64>();
            data.try_into_vec::<f64>().unwrap()
        };
        let (u, v) = (plain(model.u.val()), plain(model.v.val()));
        let mut expected = vec![0.0; u.len()];
        for entry in samples.map(|i| problem.parts.train[i]) {
            let [u, v] = [(&u, entry.row), (&v, entry.column)].map(|(x, at)| &x[2 * at..][..2]);
            let error = u[0] * v[0] + u[1] * v[1] - entry.value;
            for (k, v) in v.iter().enumerate() {
                expected[2 * entry.row + k] += 2.0 * error * v / samples.len() as f64;
            }
        }
        for (found, expected) in plain(model.u.grad(&gradients).unwrap())
            .iter()
            .zip(expected)
        {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn sizes_have_to_leave_something_to_learn_from() {
        assert!(MatrixFactorization::new(16, 16, 2).is_ok());
        for (rows, columns, rank) in [(16, 16, 3), (16, 16, 0), (0, 16, 1), (usize::MAX, 2, 1)] {
            let error = MatrixFactorization::new(rows, columns, rank).unwrap_err();
            assert!(error.to_string().contains("expected a rank"), "{error}");
        }
    }
}
