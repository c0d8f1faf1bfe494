//! The driver behind burn-train's `SupervisedTraining`.

mod fit;
mod metric;
mod rate;
mod state;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::Device;
use burn::train::{Learner, LearnerModel, TrainingStrategy};
use downhill_schedule::PlateauScheduler;

use crate::update::Core;
use crate::{BindError, DriverBuilder, StepCause, StepReport};
use metric::{Mailbox, Outlets, What};

pub use metric::ReportMetric;

impl DriverBuilder {
    /// The same around the steps of burn-train's `SupervisedTraining`: the learner to launch, and the
    /// strategy to launch it with.
    ///
    /// The learner has the model on its device, with autodiff where it had none; the optimizer, with those
    /// of the groups; and the learning rates as schedulers, so that burn-train's checkpoints hold them.
    /// Going on from a checkpoint under another schedule panics, as Burn has no other way to refuse it.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind), and if a group has a factor on a rate that comes from a scheduler, or the loss is to be
    /// scaled.
    pub fn learner<M: LearnerModel>(
        self,
        model: M,
    ) -> Result<(Learner<M>, DrivenStrategy<M>), BindError> {
        if self.settings.loss_scaling.is_some() {
            return Err(BindError::LearnerRate {
                what: "loss scaling".to_string(),
                reason: "its training step differentiates the loss itself".to_string(),
            });
        }
        let plain = |device: &Device| !device.is_autodiff();
        let model = match model.devices().iter().any(plain) {
            true => model.train(),
            false => model,
        };
        let (rate, groups) = (self.rate.clone(), self.groups.clone());
        let driver = self.bind(&model)?;
        driver.core.ties.none()?;
        let scheduler = rate::scheduler(&rate, &groups, &driver.core.bound)?;
        let learner = Learner::new(model, driver.optim, scheduler);
        Ok((learner, DrivenStrategy::new(driver.core)))
    }
}

/// Trains as burn-train does on one device, with what a [`Driver`](crate::Driver) does around every
/// update. A clone is the same strategy: give one to the training, and ask another.
///
/// ```
/// # #[cfg(feature = "flex")] {
/// # use std::sync::Arc;
/// # use burn::data::dataloader::{DataLoader, DataLoaderBuilder, batcher::Batcher};
/// # use burn::data::dataset::InMemDataset;
/// # use burn::module::Module;
/// # use burn::nn::{Linear, LinearConfig};
/// # use burn::tensor::{Device, Tensor};
/// use burn::train::metric::LossMetric;
/// use burn::train::{
///     InferenceStep, Learner, RegressionOutput, SupervisedTraining, TrainOutput, TrainStep,
/// };
/// use downhill_optim::AdamWConfig;
/// use downhill_schedule::CosineConfig;
/// use downhill_train::{Averaging, Clipping, Driver, NonFinite};
///
/// # #[derive(Module, Debug)]
/// # struct Net {
/// #     linear: Linear,
/// # }
/// # impl Net {
/// #     fn regress(&self, x: Tensor<2>) -> RegressionOutput {
/// #         let targets = x.clone().sum_dim(1);
/// #         let output = self.linear.forward(x);
/// #         let loss = (output.clone() - targets.clone()).square().mean();
/// #         RegressionOutput::new(loss, output, targets)
/// #     }
/// # }
/// # impl TrainStep for Net {
/// #     type Input = Tensor<2>;
/// #     type Output = RegressionOutput;
/// #     fn step(&self, x: Tensor<2>) -> TrainOutput<RegressionOutput> {
/// #         let output = self.regress(x);
/// #         TrainOutput::new(self, output.loss.backward(), output)
/// #     }
/// # }
/// # impl InferenceStep for Net {
/// #     type Input = Tensor<2>;
/// #     type Output = RegressionOutput;
/// #     fn step(&self, x: Tensor<2>) -> RegressionOutput {
/// #         self.regress(x)
/// #     }
/// # }
/// # struct Rows;
/// # impl Batcher<[f32; 2], Tensor<2>> for Rows {
/// #     fn batch(&self, rows: Vec<[f32; 2]>, device: &Device) -> Tensor<2> {
/// #         let rows = rows.into_iter().map(|row| Tensor::<1>::from_floats(row, device));
/// #         Tensor::stack(rows.collect(), 0)
/// #     }
/// # }
/// # fn loader() -> Arc<dyn DataLoader<Tensor<2>>> {
/// #     let rows = (0..8_u8).map(|i| [f32::from(i), 1.0]).collect();
/// #     DataLoaderBuilder::new(Rows).batch_size(4).build(InMemDataset::new(rows))
/// # }
/// # let device = Device::flex();
/// # let model = Net { linear: LinearConfig::new(2, 1).init(&device) };
/// # let (train, valid) = (loader(), loader());
/// # let folder = std::env::temp_dir().join(format!("downhill-learner-{}", std::process::id()));
/// let schedule = CosineConfig::new(1e-2, 4).try_build().unwrap();
/// let (learner, strategy) = Driver::builder(AdamWConfig::new().init(), schedule)
///     .with_clipping(Clipping::global_norm(1.0))
///     .with_non_finite(NonFinite::Skip { max_consecutive: 5 })
///     .with_averaging(Averaging::ema(0.99))
///     .learner(model)
///     .unwrap();
/// let strategy = strategy.with_state_folder(folder.join("checkpoint"));
/// let result = SupervisedTraining::new(&folder, train, valid)
///     .metrics((LossMetric::new(),))
///     .metric_train_numeric(strategy.grad_norm_metric())
///     .with_default_checkpointers()
///     .with_training_strategy(strategy.clone().into())
///     .num_epochs(2)
///     .launch(learner);
/// assert!(result.error.is_none());
/// let averaged = strategy.averaged().unwrap();
/// # assert_eq!(strategy.last_report().unwrap().step, 4);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # }
/// ```
///
/// # What holds
///
/// * Same batches, same updates: parameters are bit for bit those of a loop with the driver.
/// * What is skipped or accumulated does not move the schedule on.
/// * A step that fails stops the training. The result's error says why, [`cause`](Self::cause) has it as a
///   value, and the model is what it was before the step.
/// * The window of an [accumulation](crate::Accumulation) ends with the epoch, full or not. Without one of
///   the driver's, burn-train's `grads_accumulation` is taken, as a sum; both together are an error.
/// * The result has the model as it was trained, which is what burn-train's checkpoints have;
///   [`averaged`](Self::averaged) has the averages, and [`evaluated`](Self::evaluated) what the optimizer
///   evaluates in the place of what it trains.
///
/// A strategy has one training. It uses one device, the model's: burn-train's `gradient_checkpointing` is
/// for its own strategies, and here it is the model's device that says so.
pub struct DrivenStrategy<M> {
    shared: Arc<Shared<M>>,
    averages_validated: bool,
    plateau: Option<(PlateauScheduler, Arc<str>)>,
    folder: Option<PathBuf>,
    observer: Option<Observer>,
}

type Observer = Arc<dyn Fn(&StepReport)>;

/// What all clones of a strategy have in common.
struct Shared<M> {
    /// There until a training takes it.
    core: Mutex<Option<Core>>,
    last: Mutex<Option<Arc<StepReport>>>,
    cause: Mutex<Option<StepCause>>,
    averaged: Mutex<Option<M>>,
    evaluated: Mutex<Option<M>>,
    outlets: Arc<Outlets>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one of them is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M> Clone for DrivenStrategy<M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            averages_validated: self.averages_validated,
            plateau: self.plateau.clone(),
            folder: self.folder.clone(),
            observer: self.observer.clone(),
        }
    }
}

impl<M> core::fmt::Debug for DrivenStrategy<M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DrivenStrategy")
            .field("averages_validated", &self.averages_validated)
            .field("plateau", &self.plateau)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl<M: LearnerModel> From<DrivenStrategy<M>> for TrainingStrategy<M> {
    fn from(strategy: DrivenStrategy<M>) -> Self {
        // Burn asks for an `Arc`, and never sends it to another thread.
        #[allow(clippy::arc_with_non_send_sync)]
        Self::Custom(Arc::new(strategy))
    }
}

impl<M> DrivenStrategy<M> {
    fn new(core: Core) -> Self {
        let shared = Shared {
            core: Mutex::new(Some(core)),
            last: Mutex::new(None),
            cause: Mutex::new(None),
            averaged: Mutex::new(None),
            evaluated: Mutex::new(None),
            outlets: Arc::default(),
        };
        Self {
            // A model need not be one that several threads can have.
            #[allow(clippy::arc_with_non_send_sync)]
            shared: Arc::new(shared),
            averages_validated: true,
            plateau: None,
            folder: None,
            observer: None,
        }
    }

    /// Whether the model that is validated has the averages in the place of its parameters, where there
    /// are some. Early stopping, the best checkpoint and a plateau go by what is validated. Default: true,
    /// since the averages are what will be used.
    #[must_use]
    pub fn validate_averages(mut self, validated: bool) -> Self {
        self.averages_validated = validated;
        self
    }

    /// Tells a plateau after each epoch the mean of a numeric validation metric, as in `"Loss"`. Give a
    /// clone of it to the [builder](crate::Driver::builder) as the learning rate. An epoch without that
    /// metric is an error.
    #[must_use]
    pub fn with_plateau(mut self, plateau: PlateauScheduler, metric: impl Into<Arc<str>>) -> Self {
        self.plateau = Some((plateau, metric.into()));
        self
    }

    /// Where to keep what burn-train's own records do not hold: averages and counters. A training that has
    /// checkpointers needs it, and goes on from what is there.
    ///
    /// Best is burn-train's folder of checkpoints, `checkpoint` in the training's directory: there a file
    /// `driver-EPOCH.ckpt` goes when burn-train's records of the epoch are gone. In a folder without
    /// burn-train's files all are kept.
    #[must_use]
    pub fn with_state_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Calls a function with the report of each micro-batch, before burn-train's metrics have it.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(&StepReport) + 'static) -> Self {
        // It stays on the thread of the training.
        #[allow(clippy::arc_with_non_send_sync)]
        let observer = Arc::new(observer);
        self.observer = Some(observer);
        self
    }

    /// The norm of all gradients together before clipping, as a numeric metric of the training split. It
    /// needs a clipping by norm or a guard, and micro-batches of an update that is still to come have none.
    pub fn grad_norm_metric(&self) -> ReportMetric {
        self.metric(What::GradNorm)
    }

    /// Whether an update was left out, 1 or 0, as a numeric metric of the training split: over an epoch it
    /// is the share of those left out.
    pub fn skipped_metric(&self) -> ReportMetric {
        self.metric(What::Skipped)
    }

    /// The largest [update ratio](crate::UpdateRatio) over all parameters, as a numeric metric of the
    /// training split, at the updates where the driver
    /// [measures](DriverBuilder::with_update_ratios) it.
    pub fn update_ratio_metric(&self) -> ReportMetric {
        self.metric(What::UpdateRatio)
    }

    fn metric(&self, what: What) -> ReportMetric {
        ReportMetric::new(what, Mailbox::new(Arc::clone(&self.shared.outlets)))
    }

    /// The last report; none before the first.
    pub fn last_report(&self) -> Option<Arc<StepReport>> {
        lock(&self.shared.last).clone()
    }

    /// Why the training was stopped, if a step failed.
    pub fn cause(&self) -> Option<StepCause> {
        lock(&self.shared.cause).clone()
    }

    /// Keeps a report, and hands it to the observer.
    fn observe(&self, report: StepReport) -> Arc<StepReport> {
        if let Some(observer) = &self.observer {
            observer(&report);
        }
        let report = Arc::new(report);
        *lock(&self.shared.last) = Some(Arc::clone(&report));
        report
    }
}

impl<M: Clone> DrivenStrategy<M> {
    /// The model with the averages in the place of its parameters, for evaluation, once the training has
    /// ended; none without averaging, and before the first average is taken.
    pub fn averaged(&self) -> Option<M> {
        lock(&self.shared.averaged).clone()
    }

    /// The model for evaluation that the optimizer has beside the one that it trains, once the training has
    /// ended: see [`evaluated`](crate::evaluated()). Without averages it is the one that is validated.
    pub fn evaluated(&self) -> Option<M> {
        lock(&self.shared.evaluated).clone()
    }
}
