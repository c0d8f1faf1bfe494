use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};

use crate::{
    functions::Function,
    numpy::RandomState,
    parts::Parts,
    problem::{Evaluation, Info, Measure, Metric, Part, Problem, ProblemError, Target},
    weights::Weights,
};

/// The mean square of the noise, which is also the least loss on the training samples.
const NOISE: f64 = 0.01;

/// Linear regression `y = x w` on synthetic data, of a given condition number and with a known
/// solution.
///
/// The loss is the mean squared error `mean (x w - y)^2`; the parameter `w` has shape `[inputs]`, a
/// batch the inputs `[samples, inputs]` and the values `[samples]`. On the training samples the second moment
/// `X'X / samples` is `H D H` with the eigenvalues and the reflection of [`Function::quadratic`], so the
/// Hessian `2 H D H` has exactly that condition number; and their noise is orthogonal to the
/// columns of `X`, so that [`solution`](Self::solution) is exactly where the training loss is least: 0.01.
/// Validation and test samples, half as many each, are drawn from the normal distribution of that second
/// moment.
///
/// The metric is the distance of `w` from the solution, as a share of the solution's length.
///
/// ```
/// use downhill_problems::{LinearRegression, Problem};
///
/// let problem = LinearRegression::new(256, 20, 100.0)?;
/// assert_eq!(problem.solution().len(), 20);
/// assert_eq!(problem.info().samples, 256);
/// # Ok::<(), downhill_problems::ProblemError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LinearRegression {
    name: String,
    about: &'static str,
    batch_size: usize,
    epochs: usize,
    /// How far the training loss may stay above the least, as a share of it.
    excess: f64,
    solution: Vec<f64>,
    parts: Parts<Samples>,
}

#[derive(Clone, Debug)]
struct Samples {
    inputs: Vec<Vec<f64>>,
    values: Vec<f64>,
}

/// The weights of a linear regression.
#[derive(Module, Debug)]
pub struct LinearWeights {
    w: Param<Tensor<1>>,
}

impl LinearRegression {
    /// `samples` training samples of `inputs` numbers.
    ///
    /// # Errors
    /// [`ProblemError`] unless there are more samples than inputs, and both and the condition number are
    /// in the ranges of [`Function::quadratic`].
    pub fn new(samples: usize, inputs: usize, condition: f64) -> Result<Self, ProblemError> {
        let name = match (samples, inputs, condition) {
            (256, 20, 100.0) => "linear-regression".to_string(),
            _ => format!("linear-regression-{samples}-{inputs}-{condition}"),
        };
        let quadratic = Function::quadratic(inputs, condition)?;
        if samples <= inputs {
            return Err(ProblemError::Invalid {
                name,
                reason: "expected more samples than inputs",
            });
        }
        let mut random = RandomState::new(0);
        let solution = random.randn(inputs);

        // Orthogonal columns, of which the last is the noise.
        let columns = orthogonal_columns(&mut random, samples, inputs + 1);
        let rows = (0..samples).map(|i| columns.iter().map(|c| c[i]).collect::<Vec<f64>>());
        let train = Samples::new(rows.collect(), &quadratic, &solution);
        let mut drawn = || {
            let rows = (0..samples / 2 + 1).map(|_| random.randn(inputs + 1));
            Samples::new(rows.collect(), &quadratic, &solution)
        };
        Ok(Self {
            name,
            about: "least squares with a known solution",
            batch_size: 32,
            epochs: 50,
            excess: 0.05,
            parts: Parts {
                train,
                validation: drawn(),
                test: drawn(),
            },
            solution,
        })
    }

    /// The problem `least-squares`: 50 weights with a condition number of 10,000, and all of 256 samples in
    /// every batch, so that the gradients have no noise and only the shape of the valley is hard.
    ///
    /// ```
    /// use downhill_problems::{LinearRegression, Problem};
    ///
    /// let info = LinearRegression::ill_conditioned().info();
    /// assert_eq!(info.name, "least-squares");
    /// assert_eq!((info.samples, info.updates_per_epoch()), (256, 1));
    /// ```
    pub fn ill_conditioned() -> Self {
        let problem = Self::new(256, 50, 1e4).expect("the sizes are in their ranges");
        Self {
            name: "least-squares".into(),
            about: "least squares, badly conditioned, in whole batches",
            batch_size: 256,
            epochs: 1500,
            excess: 0.01,
            ..problem
        }
    }

    /// The weights whose training loss is least.
    pub fn solution(&self) -> &[f64] {
        &self.solution
    }
}

impl Samples {
    /// From rows of numbers with mean square 1, the last of which is the noise.
    fn new(rows: Vec<Vec<f64>>, quadratic: &Function, solution: &[f64]) -> Self {
        let (inputs, values) = rows
            .into_iter()
            .map(|mut row| {
                let noise = row.pop().unwrap_or_default() * NOISE.sqrt();
                let input = quadratic.color(&row);
                let value = input.iter().zip(solution).map(|(x, w)| x * w).sum::<f64>();
                (input, value + noise)
            })
            .unzip();
        Self { inputs, values }
    }

    fn batch(&self, samples: impl Iterator<Item = usize>, device: &Device) -> [Tensor<2>; 2] {
        let (inputs, values): (Vec<_>, Vec<_>) = samples
            .map(|i| (self.inputs[i].as_slice(), self.values[i]))
            .unzip();
        let (n, width) = (inputs.len(), self.inputs[0].len());
        [
            Tensor::from_data(TensorData::new(inputs.concat(), [n, width]), device),
            Tensor::from_data(TensorData::new(values, [n, 1]), device),
        ]
    }
}

/// Columns with mean square 1 and orthogonal to each other, by the modified Gram-Schmidt process.
fn orthogonal_columns(random: &mut RandomState, rows: usize, columns: usize) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / rows as f64;
    let mut done: Vec<Vec<f64>> = Vec::with_capacity(columns);
    for _ in 0..columns {
        let mut column = random.randn(rows);
        for other in &done {
            let along = dot(&column, other);
            let parts = column.iter_mut().zip(other);
            parts.for_each(|(x, other)| *x -= along * other);
        }
        let length = dot(&column, &column).sqrt();
        column.iter_mut().for_each(|x| *x /= length);
        done.push(column);
    }
    done
}

impl Problem for LinearRegression {
    type Model = LinearWeights;
    type Batch = [Tensor<2>; 2];

    fn info(&self) -> Info {
        Info {
            name: self.name.clone(),
            about: self.about.into(),
            metric: Some(Metric {
                name: "distance".into(),
                higher_is_better: false,
            }),
            samples: self.parts.train.values.len(),
            batch_size: self.batch_size,
            epochs: self.epochs,
            target: Target {
                part: Part::Train,
                measure: Measure::Loss,
                value: (1.0 + self.excess) * NOISE,
            },
        }
    }

    fn init(&self, seed: u32, device: &Device) -> LinearWeights {
        let inputs = self.solution.len();
        LinearWeights {
            w: Weights::new(seed, device).uniform(inputs, [inputs]),
        }
    }

    fn batch(&self, samples: &[usize], device: &Device) -> Self::Batch {
        self.parts.train.batch(samples.iter().copied(), device)
    }

    fn loss(&self, model: &LinearWeights, [inputs, values]: &Self::Batch) -> Tensor<1> {
        let predicted = inputs.clone().matmul(model.w.val().unsqueeze_dim(1));
        (predicted - values.clone()).square().mean()
    }

    fn evaluate(&self, model: &LinearWeights, part: Part) -> Evaluation {
        let samples = self.parts.of(part);
        let data = model.w.val().into_data_as::<f64>();
        let w = data.try_into_vec::<f64>().expect("the data was converted");
        let square = |x: f64| x * x;
        let errors = samples
            .inputs
            .iter()
            .zip(&samples.values)
            .map(|(x, value)| {
                let predicted: f64 = x.iter().zip(&w).map(|(x, w)| x * w).sum();
                square(predicted - value)
            });
        let length: f64 = self.solution.iter().copied().map(square).sum();
        let distance: f64 = w
            .iter()
            .zip(&self.solution)
            .map(|(a, b)| square(a - b))
            .sum();
        Evaluation {
            loss: errors.sum::<f64>() / samples.values.len() as f64,
            metric: Some((distance / length).sqrt()),
        }
    }

    fn evaluated_on(&self, part: Part) -> Option<usize> {
        Some(self.parts.of(part).values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solution_and_the_second_moment_are_as_promised() {
        let small = LinearRegression::new(256, 20, 100.0).unwrap();
        check(&small, 20, 100.0);
        check(&LinearRegression::ill_conditioned(), 50, 1e4);
    }

    fn check(problem: &LinearRegression, inputs: usize, condition: f64) {
        let n = problem.parts.train.values.len() as f64;
        let quadratic = Function::quadratic(inputs, condition).unwrap();
        let Samples { inputs: x, values } = &problem.parts.train;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let residuals: Vec<f64> = x
            .iter()
            .zip(values)
            .map(|(x, y)| dot(x, &problem.solution) - y)
            .collect();
        assert!((dot(&residuals, &residuals) / n - NOISE).abs() < 1e-14);
        for i in 0..inputs {
            let column = |i: usize| x.iter().map(|row| row[i]).collect::<Vec<f64>>();
            let gradient = dot(&column(i), &residuals) / n;
            assert!(gradient.abs() < 1e-14, "{gradient}");
            let unit: Vec<f64> = (0..inputs).map(|j| f64::from(u8::from(i == j))).collect();
            for (j, hessian) in quadratic.gradient(&unit).into_iter().enumerate() {
                let moment = dot(&column(i), &column(j)) / n;
                assert!((moment - hessian).abs() < 1e-13, "{moment} {hessian}");
            }
        }
    }

    #[test]
    fn the_loss_is_the_mean_square() {
        let problem = LinearRegression::new(6, 2, 4.0).unwrap();
        let device = Device::flex();
        let solved = LinearWeights {
            w: Param::from_data(problem.solution(), &device),
        };
        let loss = problem.loss(&solved, &problem.batch(&[0, 1, 2, 3, 4, 5], &device));
        assert!((loss.into_scalar::<f64>() - NOISE).abs() < 1e-7);
        let evaluation = problem.evaluate(&solved, Part::Train);
        assert!((evaluation.loss - NOISE).abs() < 1e-7);
        assert!(evaluation.metric.unwrap() < 1e-7);
    }
}
