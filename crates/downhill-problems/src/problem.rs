//! What a problem is, and how to train one without knowing its model's type.

use std::{fmt, sync::Arc, vec};

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor},
};
use downhill_setting::suggestion;
use thiserror::Error;

use crate::{any_model::AnyModel, functions::FunctionError, numpy::RandomState};

/// Something to train: a model, the data for it, and what is to be reached.
///
/// An implementation says what a batch is and what the loss is; everything else, from the order of the
/// samples to the updates, is [`Training`]'s. All randomness comes from seeds on the host, so that
/// the same seed gives the same weights and batches on every backend.
///
/// Data comes in three [parts](Part): the parameters are fitted to the first, settings such as the
/// learning rate are chosen by the second, and results are reported on the third.
///
/// The mean of three numbers, as the minimum of `(w - x)^2` over all `x`:
///
/// ```
/// use burn::{
///     module::{Module, Param},
///     optim::SgdConfig,
///     tensor::{Device, Tensor},
/// };
/// use downhill_problems::{AnyProblem, Evaluation, Info, Measure, Part, Problem, Target};
///
/// #[derive(Module, Debug)]
/// struct Mean {
///     w: Param<Tensor<1>>,
/// }
///
/// struct Numbers([f64; 3]);
///
/// impl Problem for Numbers {
///     type Model = Mean;
///     type Batch = Tensor<1>;
///
///     fn info(&self) -> Info {
///         Info {
///             name: "mean".into(),
///             about: "the mean of three numbers".into(),
///             metric: None,
///             samples: 3,
///             batch_size: 3,
///             epochs: 20,
///             target: Target { part: Part::Train, measure: Measure::Loss, value: 0.67 },
///         }
///     }
///     fn init(&self, _seed: u32, device: &Device) -> Mean {
///         Mean { w: Param::from_data([0.0], device) }
///     }
///     fn batch(&self, samples: &[usize], device: &Device) -> Tensor<1> {
///         let numbers: Vec<f64> = samples.iter().map(|&i| self.0[i]).collect();
///         Tensor::from_data(numbers.as_slice(), device)
///     }
///     fn loss(&self, model: &Mean, batch: &Tensor<1>) -> Tensor<1> {
///         (model.w.val() - batch.clone()).square().mean()
///     }
///     fn evaluate(&self, model: &Mean, _part: Part) -> Evaluation {
///         let batch = self.batch(&[0, 1, 2], &model.devices()[0]);
///         Evaluation { loss: self.loss(model, &batch).into_scalar(), metric: None }
///     }
/// }
///
/// let mut problems = downhill_problems::all();
/// problems.push(AnyProblem::new(Numbers([1.0, 2.0, 3.0]))?);
///
/// let problem = problems.last().unwrap();
/// let mut training = problem.start(0, &Device::flex());
/// let mut optimizer = SgdConfig::new().init();
/// for _ in 0..problem.info().updates() {
///     training.step(&mut optimizer, 0.2);
/// }
/// assert!((training.parameters()[0] - 2.0).abs() < 1e-3);
/// assert!(problem.info().is_target_met(&training.evaluate(Part::Train)));
/// # Ok::<(), downhill_problems::ProblemError>(())
/// ```
pub trait Problem: Send + Sync + 'static {
    /// The model.
    type Model: Module + 'static;
    /// Some samples as tensors.
    type Batch;

    /// What the problem is. The same at every call.
    fn info(&self) -> Info;

    /// A model with initial weights: the same seed gives the same ones on every backend, which
    /// [`RandomState`] helps with.
    fn init(&self, seed: u32, device: &Device) -> Self::Model;

    /// These training samples, each given by its number below [`Info::samples`].
    fn batch(&self, samples: &[usize], device: &Device) -> Self::Batch;

    /// The mean loss over the samples of a batch, shape `[1]`.
    fn loss(&self, model: &Self::Model, batch: &Self::Batch) -> Tensor<1>;

    /// The loss, and the [metric](Info::metric) if there is one, over all samples of a part.
    ///
    /// The model that [`Training`] passes is on a device without autodiff.
    fn evaluate(&self, model: &Self::Model, part: Part) -> Evaluation;

    /// How many samples a part is evaluated on, if it has any and says so: what one of them is worth.
    fn evaluated_on(&self, _part: Part) -> Option<usize> {
        None
    }
}

/// What a [`Problem`] is, in words and numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// A short name.
    pub name: String,
    /// One line about it.
    pub about: String,
    /// What [`Evaluation::metric`] is, if there is one.
    pub metric: Option<Metric>,
    /// The number of training samples. A problem without data has one.
    pub samples: usize,
    /// Samples per update. The last update of an epoch has what is left.
    pub batch_size: usize,
    /// A sensible length of a training: passes over the samples.
    pub epochs: usize,
    /// When the problem counts as solved.
    pub target: Target,
}

/// A number besides the loss that says how good a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// What it is called.
    pub name: String,
    /// Whether more of it is better.
    pub higher_is_better: bool,
}

/// A part of a problem's data. A problem without data is the same in all parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// What the parameters are fitted to.
    Train,
    /// What settings are chosen by.
    Validation,
    /// What results are reported on, once everything is chosen.
    Test,
}

/// How good a model is on a [`Part`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// The mean loss.
    pub loss: f64,
    /// The problem's [metric](Info::metric).
    pub metric: Option<f64>,
}

/// One of the numbers of an [`Evaluation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// The loss, where less is better.
    Loss,
    /// The metric, whose direction [`Metric`] says.
    Metric,
}

/// The value of a measure from which on a problem counts as solved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Where it is measured.
    pub part: Part,
    /// What is measured.
    pub measure: Measure,
    /// What it has to be at most, or at least if higher is better.
    pub value: f64,
}

/// Why there is no such problem.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ProblemError {
    /// No problem has the name.
    #[error("unknown problem `{name}`{}", suggestion(nearest))]
    UnknownName {
        /// The name as given.
        name: String,
        /// The most similar one, if any is similar.
        nearest: Option<String>,
    },
    /// The name is a test function's, and its numbers are wrong.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// The problem cannot be trained as it describes itself.
    #[error("problem '{name}': {reason}")]
    Invalid {
        /// The problem's name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Info {
    /// Updates per epoch: the samples over the batch size, rounded up.
    pub fn updates_per_epoch(&self) -> u64 {
        self.samples.div_ceil(self.batch_size) as u64
    }

    /// Updates of a training of [`epochs`](Self::epochs).
    ///
    /// ```
    /// let info = downhill_problems::by_name("digits-mlp")?.info().clone();
    /// assert_eq!((info.samples, info.batch_size, info.epochs), (1147, 32, 20));
    /// assert_eq!(info.updates(), 20 * 36);
    /// # Ok::<(), downhill_problems::ProblemError>(())
    /// ```
    pub fn updates(&self) -> u64 {
        self.updates_per_epoch().saturating_mul(self.epochs as u64)
    }

    /// Whether less of a measure is better.
    pub fn lower_is_better(&self, measure: Measure) -> bool {
        match (measure, &self.metric) {
            (Measure::Metric, Some(metric)) => !metric.higher_is_better,
            _ => true,
        }
    }

    /// Whether an evaluation of the target's part reaches the target. A measure that is not a
    /// number does not.
    ///
    /// ```
    /// use downhill_problems::{Evaluation, by_name};
    ///
    /// let info = by_name("digits-mlp")?.info().clone(); // 96.5 % accuracy
    /// assert!(info.is_target_met(&Evaluation { loss: 0.2, metric: Some(0.97) }));
    /// assert!(!info.is_target_met(&Evaluation { loss: 0.1, metric: Some(0.96) }));
    /// # Ok::<(), downhill_problems::ProblemError>(())
    /// ```
    pub fn is_target_met(&self, evaluation: &Evaluation) -> bool {
        let Target { measure, value, .. } = self.target;
        evaluation.get(measure).is_some_and(|reached| {
            if self.lower_is_better(measure) {
                reached <= value
            } else {
                reached >= value
            }
        })
    }

    fn check(&self) -> Result<(), ProblemError> {
        let reason = if self.name.is_empty() {
            "the name is empty"
        } else if self.samples == 0 {
            "there are no training samples; a problem without data has one"
        } else if self.batch_size == 0 {
            "a batch needs at least one sample"
        } else if self.epochs == 0 {
            "a training needs at least one epoch"
        } else if !self.target.value.is_finite() {
            "the target is not a finite number"
        } else if self.target.measure == Measure::Metric && self.metric.is_none() {
            "the target is a metric, but there is no metric"
        } else {
            return Ok(());
        };
        Err(ProblemError::Invalid {
            name: self.name.clone(),
            reason,
        })
    }
}

impl Evaluation {
    /// One of the numbers.
    pub fn get(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Loss => Some(self.loss),
            Measure::Metric => self.metric,
        }
    }
}

/// Any [`Problem`], whatever its model is: what a list of problems holds.
#[derive(Clone)]
pub struct AnyProblem {
    problem: Arc<dyn Erased>,
    info: Info,
}

impl fmt::Debug for AnyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyProblem").field(&self.info).finish()
    }
}

impl AnyProblem {
    /// A problem of your own, for a list with others: see [`Problem`].
    ///
    /// # Errors
    /// [`ProblemError::Invalid`] if its [`Info`] has no name, samples or epochs, or a target that
    /// cannot be measured.
    pub fn new(problem: impl Problem) -> Result<Self, ProblemError> {
        let info = problem.info();
        info.check()?;
        Ok(Self {
            problem: Arc::new(problem),
            info,
        })
    }

    /// What it is.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// How many samples a part is evaluated on, if it has any and says so.
    ///
    /// ```
    /// use downhill_problems::{Part, by_name};
    ///
    /// let problem = by_name("digits-mlp")?;
    /// let samples = problem.evaluated_on(Part::Test).unwrap();
    /// println!("one sample is worth {:.2} points of accuracy", 100.0 / samples as f64);
    /// assert_eq!(by_name("beale")?.evaluated_on(Part::Test), None);
    /// # Ok::<(), downhill_problems::ProblemError>(())
    /// ```
    pub fn evaluated_on(&self, part: Part) -> Option<usize> {
        self.problem.evaluated_on(part)
    }

    /// The same problem with other batches. A size of 0 is taken as 1.
    ///
    /// ```
    /// let full = downhill_problems::by_name("digits-logistic")?.with_batch_size(2000);
    /// assert_eq!(full.info().updates_per_epoch(), 1);
    /// # Ok::<(), downhill_problems::ProblemError>(())
    /// ```
    pub fn with_batch_size(mut self, batch_size: usize) -> Self {
        self.info.batch_size = batch_size.max(1);
        self
    }

    /// A training that begins: initial weights and the order of the samples come from the seed.
    /// `device` need not be one with autodiff.
    pub fn start(&self, seed: u32, device: &Device) -> Training {
        let device = device.clone().autodiff();
        Training {
            problem: self.problem.clone(),
            model: Some(self.problem.init(seed, &device)),
            device,
            random: RandomState::new(seed),
            samples: self.info.samples,
            batch_size: self.info.batch_size,
            epoch: Vec::new().into_iter(),
            updates: 0,
        }
    }
}

/// A model on its way: updated batch by batch with any of Burn's optimizers.
///
/// ```
/// use burn::{optim::AdamConfig, tensor::Device};
/// use downhill_problems::Part;
///
/// let problem = downhill_problems::by_name("rosenbrock")?;
/// let mut training = problem.start(0, &Device::flex());
/// let mut optimizer = AdamConfig::new().init();
/// let before = training.evaluate(Part::Test);
/// while training.updates() < 100 {
///     let loss = training.step(&mut optimizer, 1e-2);
///     assert!(loss.is_finite());
/// }
/// assert!(training.evaluate(Part::Test).loss < before.loss / 4.0);
/// # Ok::<(), downhill_problems::ProblemError>(())
/// ```
pub struct Training {
    problem: Arc<dyn Erased>,
    /// Absent only while it is stepped, which moves it so that it is updated in place.
    model: Option<AnyModel>,
    device: Device,
    random: RandomState,
    samples: usize,
    batch_size: usize,
    /// The samples that are left of this epoch.
    epoch: vec::IntoIter<usize>,
    updates: u64,
}

impl fmt::Debug for Training {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Training")
            .field("updates", &self.updates)
            .finish_non_exhaustive()
    }
}

impl Training {
    /// One update with the next batch; returns the batch's loss before it.
    pub fn step(&mut self, optimizer: &mut ModuleOptimizer, learning_rate: f64) -> f64 {
        let batch = self.next_batch();
        let (loss, gradients) = batch.gradients(self.model());
        self.update(|model| optimizer.step(learning_rate, model, gradients));
        loss
    }

    /// The next batch, of which gradients can be asked. When an epoch is over the samples are put into a new
    /// order.
    ///
    /// ```
    /// use std::time::Instant;
    /// use burn::{optim::SgdConfig, tensor::Device};
    ///
    /// let mut training = downhill_problems::by_name("digits-mlp")?.start(0, &Device::flex());
    /// let mut optimizer = SgdConfig::new().init();
    /// let (loss, gradients) = training.next_batch().gradients(training.model());
    /// let start = Instant::now();
    /// training.update(|model| optimizer.step(0.1, model, gradients));
    /// println!("a loss of {loss}, and {:?} in the optimizer", start.elapsed());
    /// # assert_eq!(training.updates(), 1);
    /// # Ok::<(), downhill_problems::ProblemError>(())
    /// ```
    pub fn next_batch(&mut self) -> NextBatch {
        if self.epoch.len() == 0 {
            self.epoch = self.random.permutation(self.samples).into_iter();
        }
        NextBatch {
            problem: self.problem.clone(),
            samples: self.epoch.by_ref().take(self.batch_size).collect(),
            device: self.device.clone(),
        }
    }

    /// An update by whatever steps a module: an optimizer, or what stands around one.
    ///
    /// # Panics
    ///
    /// If a panic of an earlier `step` was caught, for the model is gone with it.
    pub fn update(&mut self, step: impl FnOnce(AnyModel) -> AnyModel) {
        self.model = Some(step(self.model.take().expect(GONE)));
        self.updates += 1;
    }

    /// The model as it is now.
    ///
    /// # Panics
    ///
    /// As [`update`](Self::update).
    pub fn model(&self) -> &AnyModel {
        self.model.as_ref().expect(GONE)
    }

    /// How good the model is now, computed without gradients.
    pub fn evaluate(&self, part: Part) -> Evaluation {
        self.evaluate_model(self.model(), part)
    }

    /// How good another model of this type is, such as an average of this one.
    ///
    /// # Panics
    ///
    /// If it is of another type.
    pub fn evaluate_model(&self, model: &AnyModel, part: Part) -> Evaluation {
        self.problem.evaluate(model, part)
    }

    /// Updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// All parameters, one after the other in the module's order. A test function has its point
    /// here.
    pub fn parameters(&self) -> Vec<f64> {
        struct Values(Vec<f64>);
        impl ModuleVisitor for Values {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let data = param.val().into_data_as::<f64>();
                let values = data.try_into_vec::<f64>();
                self.0.extend(values.expect("the data was converted"));
            }
        }
        let mut values = Values(Vec::new());
        self.model().visit(&mut values);
        values.0
    }
}

const GONE: &str = "a panic in the optimizer was caught";

/// Some samples of a [`Training`], of which gradients can be asked as often as one likes.
pub struct NextBatch {
    problem: Arc<dyn Erased>,
    samples: Vec<usize>,
    device: Device,
}

impl fmt::Debug for NextBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NextBatch").field(&self.samples).finish()
    }
}

impl NextBatch {
    /// The loss of a model, and the gradients.
    ///
    /// # Panics
    ///
    /// If the model is not of the training's type.
    pub fn gradients(&self, model: &AnyModel) -> (f64, GradientsParams) {
        self.problem.gradients(model, &self.samples, &self.device)
    }
}

/// A [`Problem`] without its types.
trait Erased: Send + Sync {
    fn init(&self, seed: u32, device: &Device) -> AnyModel;
    fn gradients(&self, model: &AnyModel, samples: &[usize], on: &Device)
    -> (f64, GradientsParams);
    fn evaluate(&self, model: &AnyModel, part: Part) -> Evaluation;
    fn evaluated_on(&self, part: Part) -> Option<usize>;
}

impl<P: Problem> Erased for P {
    fn init(&self, seed: u32, device: &Device) -> AnyModel {
        AnyModel::new(Problem::init(self, seed, device))
    }

    fn gradients(
        &self,
        model: &AnyModel,
        samples: &[usize],
        on: &Device,
    ) -> (f64, GradientsParams) {
        let model: &P::Model = typed(model);
        let loss = self.loss(model, &self.batch(samples, on));
        let gradients = GradientsParams::from_grads(loss.backward(), model);
        (loss.into_scalar(), gradients)
    }

    fn evaluate(&self, model: &AnyModel, part: Part) -> Evaluation {
        Problem::evaluate(self, &typed::<P::Model>(model).valid(), part)
    }

    fn evaluated_on(&self, part: Part) -> Option<usize> {
        Problem::evaluated_on(self, part)
    }
}

fn typed<M: Module + 'static>(model: &AnyModel) -> &M {
    model.get().expect("a problem's models are of one type")
}
