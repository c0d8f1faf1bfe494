//! A multi-layer perceptron with one hidden layer, as a classifier.

use burn::{
    config::Config,
    module::{Module, Param},
    nn::Linear,
    tensor::{Device, Tensor, TensorData},
};

use crate::{
    data::{Batch, Classification},
    numpy::RandomState,
    slopes::{cross_entropy, tanh},
    weights::Weights,
};

/// The sizes of an [`Mlp`].
///
/// ```
/// use burn::{module::Module, tensor::Device};
/// use downhill_problems::mlp::MlpConfig;
///
/// let model = MlpConfig::new(20, 64, 3).init(42, &Device::flex());
/// assert_eq!(model.num_params(), 20 * 64 + 64 + 64 * 3 + 3);
/// ```
#[derive(Config, Debug)]
pub struct MlpConfig {
    /// Features per sample.
    pub inputs: usize,
    /// Units of the hidden layer.
    pub hidden: usize,
    /// Classes to tell apart.
    pub classes: usize,
}

impl MlpConfig {
    /// A model with random weights: the same seed gives the same weights on every backend.
    ///
    /// Weights and biases of a layer of `n` inputs are uniform in `[-1/sqrt(n), 1/sqrt(n)]`, as in
    /// Burn's and PyTorch's linear layer. (The deck draws its weights from a normal distribution
    /// of deviation 0.01 instead, which makes the hidden units start almost alike.)
    pub fn init(&self, seed: u32, device: &Device) -> Mlp {
        let mut weights = Weights::new(seed, device);
        Mlp {
            hidden: weights.linear(self.inputs, self.hidden),
            output: weights.linear(self.hidden, self.classes),
        }
    }

    /// A model with weights from a normal distribution of mean 0 and the given deviation, and biases
    /// of 0, as on slide 12 of the deck (there the deviation is 0.01).
    ///
    /// ```
    /// use burn::{module::Module, tensor::Device};
    /// use downhill_problems::{mlp::MlpConfig, numpy::RandomState};
    ///
    /// let mut random = RandomState::new(42);
    /// let model = MlpConfig::new(20, 64, 3).init_normal(0.01, &mut random, &Device::flex());
    /// assert_eq!(model.num_params(), 20 * 64 + 64 + 64 * 3 + 3);
    /// ```
    pub fn init_normal(&self, deviation: f64, random: &mut RandomState, device: &Device) -> Mlp {
        let mut linear = |inputs: usize, outputs: usize| {
            let weights = random.randn(inputs * outputs);
            let weights: Vec<f64> = weights.iter().map(|z| deviation * z).collect();
            let bias = TensorData::new(vec![0.0; outputs], [outputs]);
            Linear {
                weight: Param::from_data(TensorData::new(weights, [inputs, outputs]), device),
                bias: Some(Param::from_data(bias, device)),
            }
        };
        Mlp {
            hidden: linear(self.inputs, self.hidden),
            output: linear(self.hidden, self.classes),
        }
    }
}

/// `logits = tanh(x W1 + b1) W2 + b2`, the model of slide 12 of the deck.
///
/// The softmax of the deck's last layer is part of [`loss`](Self::loss), where it cannot overflow.
/// Parameters: `hidden.weight [inputs, hidden]`, `hidden.bias [hidden]`,
/// `output.weight [hidden, classes]`, `output.bias [classes]`.
#[derive(Module, Debug)]
pub struct Mlp {
    hidden: Linear,
    output: Linear,
}

/// How well a model does on some data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Share of the samples that got their own class, from 0 to 1.
    pub accuracy: f64,
}

impl Mlp {
    /// Logits of shape `[samples, classes]` from inputs of shape `[samples, inputs]`.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use downhill_problems::mlp::MlpConfig;
    ///
    /// let device = Device::flex();
    /// let model = MlpConfig::new(20, 64, 3).init(42, &device);
    /// let logits = model.forward(Tensor::zeros([5, 20], &device));
    /// assert_eq!(logits.dims(), [5, 3]);
    /// ```
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.output.forward(tanh(self.hidden.forward(inputs)))
    }

    /// Mean cross-entropy of a batch in nats, shape `[1]`: minus the logarithm of the probability
    /// that the softmax of a sample's logits gives its own class, averaged over the samples.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use downhill_problems::{data, mlp::MlpConfig};
    ///
    /// let device = Device::flex();
    /// let model = MlpConfig::new(20, 64, 3).init(42, &device);
    /// let loss: f64 = model.loss(&data::deck().batch(&device)).into_scalar();
    /// assert!((loss - 3f64.ln()).abs() < 0.1); // an untrained model guesses one of three
    /// ```
    pub fn loss(&self, batch: &Batch) -> Tensor<1> {
        cross_entropy(self.forward(batch.inputs.clone()), batch.targets.clone())
    }

    /// Loss and accuracy on all samples of `data`, computed at once and without gradients.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use downhill_problems::{data, mlp::MlpConfig};
    ///
    /// let model = MlpConfig::new(64, 64, 10).init(0, &Device::flex().autodiff());
    /// let untrained = model.evaluate(&data::digits().test);
    /// assert!(untrained.accuracy < 0.3);
    /// ```
    pub fn evaluate(&self, data: &Classification) -> Evaluation {
        let model = self.valid();
        let Batch { inputs, targets } = data.batch(&model.hidden.weight.device());
        let logits = model.forward(inputs);
        let guesses = logits.clone().argmax(1).squeeze_dim::<1>(1);
        let right: i64 = guesses.equal(targets.clone()).int().sum().into_scalar();
        Evaluation {
            loss: cross_entropy(logits, targets).into_scalar(),
            accuracy: right as f64 / data.samples() as f64,
        }
    }
}
