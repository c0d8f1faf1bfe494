use burn::{
    module::Module,
    tensor::{Device, IndexingUpdateOp, Tensor, TensorData, activation::softmax},
};

use super::{Architecture, Classifier};
use crate::{
    data::{Batch, DataError, Split},
    numpy::RandomState,
    problem::{Evaluation, Info, Part, Problem},
    slopes::with_slope,
};

/// Classification where the model is told only whether its guess is right: a contextual bandit, trained with
/// REINFORCE.
///
/// The softmax of the logits is a policy `p`, and for each sample of a batch a guess `a` is drawn from it,
/// whose reward `r` is 1 if `a` is the sample's class and otherwise 0. The loss of a batch is the share of wrong
/// guesses, `1 - mean r`; its gradient, which has a large variance, is estimated from these guesses as that of
///
/// ```text
/// -mean (r - b) log p(a)
/// ```
///
/// where `b` is the mean reward of the batch's other samples, so that the mean of the estimate is the gradient
/// of the expected loss.
///
/// The draws depend on the samples of the batch and their order, and hence on the seed of the training and its
/// epoch. Only batches of one sample are drawn alike in every epoch.
///
/// Evaluated is the expected loss, `1 - mean p(class)`, and as metric the accuracy of the likeliest guess.
/// Parts are those of a [`Classifier`].
///
/// ```
/// use burn::tensor::Device;
/// use downhill_problems::{Bandit, Info, Part, Problem, data, mlp::MlpConfig};
///
/// let info = downhill_problems::by_name("digits-bandit")?.info().clone();
/// let info = Info { name: "small".into(), ..info };
/// let problem = Bandit::new(info, &data::digits(), MlpConfig::new(64, 8, 10))?;
/// let untrained = problem.evaluate(&problem.init(0, &Device::flex()), Part::Test);
/// assert!((untrained.loss - 0.9).abs() < 0.02); // one guess in ten is right
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bandit<A> {
    classifier: Classifier<A>,
}

/// Some samples, and what their guesses are drawn with.
#[derive(Clone, Debug)]
pub struct BanditBatch {
    samples: Batch,
    /// Gumbel's noise, shape `[samples, classes]`: the largest of logits plus noise is a draw from their
    /// softmax.
    noise: Tensor<2>,
}

impl<A: Architecture> Bandit<A> {
    /// A problem from data and a model for it. The samples and the metric of `info` are filled in.
    ///
    /// # Errors
    /// [`DataError::NothingToTest`] if no class has enough samples for a validation part.
    pub fn new(info: Info, split: &Split, architecture: A) -> Result<Self, DataError> {
        let classifier = Classifier::new(info, split, architecture)?;
        Ok(Self { classifier })
    }
}

/// Gumbel's noise from uniform numbers in `[0, 1)`.
fn gumbel(uniform: Vec<f64>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    // Finite also for the 0.
    let noise = uniform.iter().map(|u| -(-(u + 1e-20).ln()).ln());
    Tensor::from_data(TensorData::new(noise.collect::<Vec<_>>(), shape), device)
}

/// The share of wrong guesses, shape `[1]`, with the estimated gradient.
fn reinforce(logits: Tensor<2>, batch: &BanditBatch) -> Tensor<1> {
    let plain = logits.clone().without_autodiff();
    let guesses = (plain.clone() + batch.noise.clone().without_autodiff()).argmax(1);
    let classes = batch.samples.targets.clone().without_autodiff();
    let rewards = guesses.clone().equal(classes.unsqueeze_dim(1)).float();
    let value = -rewards.clone().mean() + 1;
    if !logits.is_autodiff() {
        return value;
    }
    let samples = plain.dims()[0];
    let others = (samples - 1).max(1) as f64;
    let baseline = (rewards.clone().sum_dim(0) - rewards.clone()) / others;
    let advantage = (rewards - baseline) / samples as f64;
    let minus_one = Tensor::full([samples, 1], -1, &plain.device());
    let scores = softmax(plain, 1).scatter(1, guesses, minus_one, IndexingUpdateOp::Add);
    with_slope(value, logits, scores * advantage)
}

impl<A: Architecture> Problem for Bandit<A> {
    type Model = A::Model;
    type Batch = BanditBatch;

    fn info(&self) -> Info {
        self.classifier.info()
    }

    fn init(&self, seed: u32, device: &Device) -> A::Model {
        self.classifier.init(seed, device)
    }

    fn batch(&self, samples: &[usize], device: &Device) -> BanditBatch {
        let shape = [samples.len(), self.classifier.classes()];
        let seed = samples.iter().fold(0u32, |seed, &sample| {
            seed.wrapping_mul(0x9E37_79B1)
                .wrapping_add(sample as u32 + 1)
        });
        let uniform = RandomState::new(seed).rand(shape[0] * shape[1]);
        BanditBatch {
            samples: self.classifier.batch(samples, device),
            noise: gumbel(uniform, shape, device),
        }
    }

    fn loss(&self, model: &A::Model, batch: &BanditBatch) -> Tensor<1> {
        let inputs = batch.samples.inputs.clone();
        reinforce(self.classifier.logits(model, inputs), batch)
    }

    fn evaluate(&self, model: &A::Model, part: Part) -> Evaluation {
        let model = model.valid();
        let Batch { inputs, targets } = self.classifier.whole(part, &model.devices()[0]);
        let policy = softmax(self.classifier.logits(&model, inputs), 1);
        let right = policy.gather(1, targets.unsqueeze_dim(1)).mean();
        Evaluation {
            loss: 1.0 - right.into_scalar::<f64>(),
            ..self.classifier.evaluate(&model, part)
        }
    }

    fn evaluated_on(&self, part: Part) -> Option<usize> {
        self.classifier.evaluated_on(part)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Int, Tolerance};

    use super::*;
    use crate::{data, mlp::MlpConfig, problem::AnyProblem};

    fn problem() -> Bandit<MlpConfig> {
        let info = crate::by_name("digits-bandit").unwrap().info().clone();
        Bandit::new(info, &data::digits(), MlpConfig::new(64, 8, 10)).unwrap()
    }

    #[test]
    fn the_mean_of_the_estimates_is_the_gradient_of_the_expected_loss() {
        let device = Device::flex().autodiff();
        let rows = [[0.5f32, -1.0, 0.2], [1.5, 0.0, -0.7]];
        let targets = Tensor::<1, Int>::from_ints([2, 0], &device);
        let repeats = 20_000;
        let mut random = RandomState::new(1);
        // Pairs of samples in one batch would share a baseline; the batches here are pairs of their own.
        let mut sum = Tensor::<2>::zeros([2, 3], &Device::flex());
        let mut wrong = 0.0;
        for _ in 0..repeats {
            let logits = Tensor::<2>::from_floats(rows, &device).require_grad();
            let batch = BanditBatch {
                samples: Batch {
                    inputs: logits.clone(),
                    targets: targets.clone(),
                },
                noise: gumbel(random.rand(6), [2, 3], &device),
            };
            let loss = reinforce(logits.clone(), &batch);
            sum = sum + logits.grad(&loss.backward()).unwrap();
            wrong += loss.into_scalar::<f64>() / f64::from(repeats);
        }
        let logits = Tensor::<2>::from_floats(rows, &device).require_grad();
        let policy = softmax(logits.clone(), 1);
        let expected = -policy.gather(1, targets.unsqueeze_dim(1)).mean() + 1;
        let gradient = logits.grad(&expected.backward()).unwrap();
        let mean = sum / repeats;
        let near = Tolerance::<f32>::absolute(0.01);
        mean.into_data()
            .assert_approx_eq(&gradient.into_data(), near);
        assert!((wrong - expected.into_scalar::<f64>()).abs() < 0.01);
    }

    #[test]
    fn draws_depend_on_the_samples_and_their_order() {
        let problem = problem();
        let noise = |samples: &[usize]| problem.batch(samples, &Device::flex()).noise.into_data();
        assert_eq!(noise(&[1, 2, 3]), noise(&[1, 2, 3]));
        assert_ne!(noise(&[1, 2, 3]), noise(&[1, 3, 2]));
        assert_ne!(noise(&[1]), noise(&[2]));
        let extremes = gumbel(vec![0.0, 1.0 - f64::EPSILON], [1, 2], &Device::flex());
        let extremes = extremes.into_data().try_into_vec::<f32>().unwrap();
        assert!(extremes.iter().all(|x| x.is_finite()), "{extremes:?}");
    }

    #[test]
    fn a_batch_of_one_has_a_gradient() {
        let problem = AnyProblem::new(problem()).unwrap().with_batch_size(1);
        let mut training = problem.start(0, &Device::flex());
        for _ in 0..20 {
            let (loss, _) = training.next_batch().gradients(training.model());
            assert!(loss == 0.0 || loss == 1.0);
        }
    }
}
