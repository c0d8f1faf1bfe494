use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Tensor},
};

use crate::{
    data::{Batch, Classification, DataError, Split},
    mlp::{Mlp, MlpConfig},
    parts::Parts,
    problem::{Evaluation, Info, Metric, Part, Problem},
    slopes::cross_entropy,
    weights::Weights,
};

/// A model that tells classes apart: one logit per class from the features of a sample.
pub trait Architecture: Send + Sync + 'static {
    /// The model.
    type Model: Module + 'static;

    /// A model with initial weights: the same seed gives the same ones on every backend.
    fn init(&self, seed: u32, device: &Device) -> Self::Model;

    /// Logits of shape `[samples, classes]` from inputs of shape `[samples, inputs]`.
    fn logits(&self, model: &Self::Model, inputs: Tensor<2>) -> Tensor<2>;
}

impl Architecture for MlpConfig {
    type Model = Mlp;

    fn init(&self, seed: u32, device: &Device) -> Mlp {
        MlpConfig::init(self, seed, device)
    }

    fn logits(&self, model: &Mlp, inputs: Tensor<2>) -> Tensor<2> {
        model.forward(inputs)
    }
}

/// `logits = x W + b`: logistic regression for any number of classes. With the cross-entropy its
/// loss is convex.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use downhill_problems::{Architecture, SoftmaxRegression};
///
/// let regression = SoftmaxRegression { inputs: 4, classes: 3 };
/// let device = Device::flex();
/// let logits = regression.logits(&regression.init(0, &device), Tensor::zeros([5, 4], &device));
/// assert_eq!(logits.dims(), [5, 3]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftmaxRegression {
    /// Features per sample.
    pub inputs: usize,
    /// Classes to tell apart.
    pub classes: usize,
}

impl Architecture for SoftmaxRegression {
    type Model = Linear;

    fn init(&self, seed: u32, device: &Device) -> Linear {
        Weights::new(seed, device).linear(self.inputs, self.classes)
    }

    fn logits(&self, model: &Linear, inputs: Tensor<2>) -> Tensor<2> {
        model.forward(inputs)
    }
}

/// An [`Architecture`] that is trained to classify some data.
///
/// The loss is the mean cross-entropy in nats, the metric the accuracy. The test samples of the
/// [`Split`] are the test part; its training samples are [split](Classification::split) again, into
/// the validation part and what is trained on.
///
/// ```
/// use downhill_problems::{
///     AnyProblem, Classifier, Info, Measure, Part, Target, data, mlp::MlpConfig,
/// };
///
/// let info = Info {
///     name: "small".into(),
///     about: "digits with few hidden units".into(),
///     metric: None, // filled in
///     samples: 0,   // filled in
///     batch_size: 64,
///     epochs: 5,
///     target: Target { part: Part::Test, measure: Measure::Metric, value: 0.9 },
/// };
/// let classifier = Classifier::new(info, &data::digits(), MlpConfig::new(64, 8, 10))?;
/// let problem = AnyProblem::new(classifier)?;
/// assert_eq!(problem.info().samples, 1147);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Classifier<A> {
    info: Info,
    architecture: A,
    parts: Parts<Classification>,
}

impl<A: Architecture> Classifier<A> {
    /// A problem from data and a model for it. The samples and the metric of `info` are filled in.
    /// Whether the architecture has the inputs and classes of the data shows in training only, as Burn's
    /// panic about shapes.
    ///
    /// # Errors
    /// [`DataError::NothingToTest`] if no class has enough samples for a validation part.
    pub fn new(info: Info, split: &Split, architecture: A) -> Result<Self, DataError> {
        let Split {
            train,
            test: validation,
        } = split.train.split()?;
        Ok(Self {
            info: Info {
                samples: train.samples(),
                metric: Some(Metric {
                    name: "accuracy".into(),
                    higher_is_better: true,
                }),
                ..info
            },
            architecture,
            parts: Parts {
                train,
                validation,
                test: split.test.clone(),
            },
        })
    }

    /// Classes to tell apart.
    pub(super) fn classes(&self) -> usize {
        self.parts.train.classes()
    }

    pub(super) fn logits(&self, model: &A::Model, inputs: Tensor<2>) -> Tensor<2> {
        self.architecture.logits(model, inputs)
    }

    /// All samples of a part.
    pub(super) fn whole(&self, part: Part, device: &Device) -> Batch {
        self.parts.of(part).batch(device)
    }
}

impl<A: Architecture> Problem for Classifier<A> {
    type Model = A::Model;
    type Batch = Batch;

    fn info(&self) -> Info {
        self.info.clone()
    }

    fn init(&self, seed: u32, device: &Device) -> A::Model {
        self.architecture.init(seed, device)
    }

    fn batch(&self, samples: &[usize], device: &Device) -> Batch {
        self.parts.train.subset(samples).batch(device)
    }

    fn loss(&self, model: &A::Model, batch: &Batch) -> Tensor<1> {
        let logits = self.architecture.logits(model, batch.inputs.clone());
        cross_entropy(logits, batch.targets.clone())
    }

    fn evaluate(&self, model: &A::Model, part: Part) -> Evaluation {
        let model = model.valid();
        let Batch { inputs, targets } = self.whole(part, &model.devices()[0]);
        let samples = inputs.dims()[0];
        let logits = self.architecture.logits(&model, inputs);
        let guesses = logits.clone().argmax(1).squeeze_dim::<1>(1);
        let right: i64 = guesses.equal(targets.clone()).int().sum().into_scalar();
        Evaluation {
            loss: cross_entropy(logits, targets).into_scalar(),
            metric: Some(right as f64 / samples as f64),
        }
    }

    fn evaluated_on(&self, part: Part) -> Option<usize> {
        Some(self.parts.of(part).samples())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data,
        problem::{Measure, Target},
    };

    #[test]
    fn the_test_part_is_the_splits_and_the_others_share_its_training_samples() {
        let info = Info {
            name: "deck".into(),
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
        let split = data::deck().split().unwrap();
        let problem = Classifier::new(info, &split, MlpConfig::new(20, 4, 3)).unwrap();
        assert_eq!(problem.parts.test, split.test);
        assert_eq!(problem.info().samples, problem.parts.train.samples());
        let rows = |part: &Classification| {
            let rows = part.features().chunks(20).map(<[f64]>::to_vec);
            rows.collect::<Vec<_>>()
        };
        let mut parts = [rows(&problem.parts.train), rows(&problem.parts.validation)].concat();
        let mut train = rows(&split.train);
        parts.sort_by(|a, b| a[0].total_cmp(&b[0]));
        train.sort_by(|a, b| a[0].total_cmp(&b[0]));
        assert_eq!(parts, train);

        // The batch of some samples is those samples.
        let batch = problem.batch(&[3, 0], &Device::flex());
        let labels = problem.parts.train.labels();
        let targets = batch.targets.into_data_as::<i64>();
        let expected = [labels[3] as i64, labels[0] as i64];
        assert_eq!(targets.try_into_vec::<i64>().unwrap(), expected);
    }
}
