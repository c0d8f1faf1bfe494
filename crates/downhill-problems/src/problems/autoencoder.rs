use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Tensor, TensorData},
};

use crate::{
    data::{Classification, DataError, Split},
    parts::Parts,
    problem::{Evaluation, Info, Metric, Part, Problem},
    slopes::tanh,
    weights::Weights,
};

/// A deep autoencoder: a net that gives back its input through a layer of few units.
///
/// Its layers have the given [widths](Self::new), and after them the same back to the first: 64, 48, 24, 8,
/// 24, 48, 64. All but the last are `tanh(x W + b)`, the last is linear, and weights and biases of a layer of
/// `n` inputs are uniform in `[-1/sqrt(n), 1/sqrt(n)]`. So many layers that begin so small give small
/// gradients: a training first stays where every image is answered with the mean one.
///
/// The loss is the mean squared error of the features. The metric is the share of the variance that is
/// lost: the squared error over that of the mean of the training samples. Parts are those of a
/// [`Classifier`](crate::Classifier), whose labels are not used.
///
/// ```
/// use burn::{module::Module, tensor::Device};
/// use downhill_problems::{Autoencoder, Info, Measure, Part, Problem, Target, data};
///
/// let info = Info {
///     name: "linear-code".into(),
///     about: "digits as eight numbers".into(),
///     metric: None, // filled in
///     samples: 0,   // filled in
///     batch_size: 64,
///     epochs: 5,
///     target: Target { part: Part::Test, measure: Measure::Metric, value: 0.5 },
/// };
/// let problem = Autoencoder::new(info, &data::digits(), &[32, 8])?;
/// let model = problem.init(0, &Device::flex());
/// assert_eq!(model.num_params(), 65 * 32 + 33 * 8 + 9 * 32 + 33 * 64);
/// # Ok::<(), downhill_problems::data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Autoencoder {
    info: Info,
    widths: Vec<usize>,
    parts: Parts<Classification>,
    /// The mean of the training samples.
    mean: Vec<f64>,
}

/// The layers of an [`Autoencoder`].
#[derive(Module, Debug)]
pub struct AutoencoderLayers {
    layers: Vec<Linear>,
}

impl Autoencoder {
    /// Trained on the features of some data, with these widths of the layers from the first hidden one to the
    /// code. The samples and the metric of `info` are filled in.
    ///
    /// # Errors
    /// [`DataError::NothingToTest`] if no class has enough samples for a validation part.
    pub fn new(info: Info, split: &Split, widths: &[usize]) -> Result<Self, DataError> {
        let Split {
            train,
            test: validation,
        } = split.train.split()?;
        let inputs = train.inputs();
        let mut mean = vec![0.0; inputs];
        for sample in train.features().chunks(inputs) {
            let sums = mean.iter_mut().zip(sample);
            sums.for_each(|(mean, x)| *mean += x / train.samples() as f64);
        }
        let down = [inputs].into_iter().chain(widths.iter().copied());
        let up = down.clone().rev().skip(1);
        Ok(Self {
            info: Info {
                samples: train.samples(),
                metric: Some(Metric {
                    name: "lost variance".into(),
                    higher_is_better: false,
                }),
                ..info
            },
            widths: down.chain(up).collect(),
            parts: Parts {
                train,
                validation,
                test: split.test.clone(),
            },
            mean,
        })
    }
}

impl AutoencoderLayers {
    /// The answer to inputs of shape `[samples, inputs]`, of the same shape.
    fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 {
                x = tanh(x);
            }
            x = layer.forward(x);
        }
        x
    }
}

impl Problem for Autoencoder {
    type Model = AutoencoderLayers;
    type Batch = Tensor<2>;

    fn info(&self) -> Info {
        self.info.clone()
    }

    fn init(&self, seed: u32, device: &Device) -> AutoencoderLayers {
        let mut weights = Weights::new(seed, device);
        let layers = self.widths.windows(2);
        AutoencoderLayers {
            layers: layers
                .map(|widths| weights.linear(widths[0], widths[1]))
                .collect(),
        }
    }

    fn batch(&self, samples: &[usize], device: &Device) -> Tensor<2> {
        self.parts.train.subset(samples).batch(device).inputs
    }

    fn loss(&self, model: &AutoencoderLayers, batch: &Tensor<2>) -> Tensor<1> {
        (model.forward(batch.clone()) - batch.clone())
            .square()
            .mean()
    }

    fn evaluate(&self, model: &AutoencoderLayers, part: Part) -> Evaluation {
        let model = model.valid();
        let device = &model.devices()[0];
        let inputs = self.parts.of(part).batch(device).inputs;
        let mean = TensorData::new(self.mean.clone(), [1, self.mean.len()]);
        let mean = Tensor::<2>::from_data(mean, device);
        let variance: f64 = (inputs.clone() - mean).square().mean().into_scalar();
        let loss: f64 = self.loss(&model, &inputs).into_scalar();
        Evaluation {
            loss,
            metric: Some(loss / variance),
        }
    }

    fn evaluated_on(&self, part: Part) -> Option<usize> {
        Some(self.parts.of(part).samples())
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Param;

    use super::*;
    use crate::{
        data,
        problem::{Measure, Target},
    };

    fn problem(widths: &[usize]) -> Autoencoder {
        let info = Info {
            name: "autoencoder".into(),
            about: String::new(),
            metric: None,
            samples: 0,
            batch_size: 1,
            epochs: 1,
            target: Target {
                part: Part::Test,
                measure: Measure::Loss,
                value: 1.0,
            },
        };
        Autoencoder::new(info, &data::digits(), widths).unwrap()
    }

    #[test]
    fn the_mean_image_loses_all_variance() {
        let problem = problem(&[4]);
        let device = Device::flex();
        let mut model = problem.init(0, &device);
        let last = &mut model.layers[1];
        last.weight = Param::from_tensor(last.weight.val().zeros_like());
        last.bias = Some(Param::from_data(problem.mean.as_slice(), &device));
        let on = |part| problem.evaluate(&model, part);
        for part in [Part::Train, Part::Validation, Part::Test] {
            assert!((on(part).metric.unwrap() - 1.0).abs() < 1e-6);
        }
        let (pixels, n) = (
            problem.parts.train.features(),
            problem.parts.train.samples() as f64,
        );
        let errors = pixels.iter().zip(problem.mean.iter().cycle());
        let square: f64 = errors.map(|(x, mean)| (x - mean).powi(2)).sum();
        assert!((on(Part::Train).loss / (square / (64.0 * n)) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn the_code_is_all_that_gets_through() {
        let problem = problem(&[48, 24, 8]);
        let device = Device::flex();
        let mut model = problem.init(0, &device);
        let widths: Vec<[usize; 2]> = model.layers.iter().map(|l| l.weight.dims()).collect();
        assert_eq!(
            widths,
            [[64, 48], [48, 24], [24, 8], [8, 24], [24, 48], [48, 64]]
        );
        let batch = problem.batch(&[0, 1], &device);
        let differ = |model: &AutoencoderLayers| {
            let [one, other] = model.forward(batch.clone()).chunk(2, 0).try_into().unwrap();
            one.into_data() != other.into_data()
        };
        assert!(differ(&model));
        let code = &mut model.layers[2];
        code.weight = Param::from_tensor(code.weight.val().zeros_like());
        assert!(!differ(&model));
    }
}
