use std::collections::BTreeMap;

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer};
use downhill_optim::drive::ModelState;

use crate::batch::MicroBatch;
use crate::bound::Bound;
use crate::checkpoint;
use crate::error::{BindError, StepCause, StepError};
use crate::evaluated::asked;
use crate::gradients::Window;
use crate::once::Once;
use crate::params::{self, Found, ModuleError, ParamInfo};
use crate::rates::Rates;
use crate::report::Outcome;
use crate::report::StepReport;
use crate::settings::Settings;
use crate::update::Core;
use crate::{BoundParameter, DriverBuilder, Plan, Rate, probe};

/// What surrounds an optimizer's step: checks, clipping, guards, accumulation, groups, averages, and a
/// report; and [checkpoints](crate::checkpoint) of all of it. A report of what was skipped, or of decompositions that
/// failed, is a warning for the crate `log` too.
///
/// ```
/// # #[cfg(feature = "flex")] {
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Distribution, Tensor};
/// use downhill_optim::AdamWConfig;
/// use downhill_schedule::{CosineConfig, percent};
/// use downhill_train::{Averaging, Clipping, Driver, Group, NonFinite};
///
/// let device = Device::flex().autodiff();
/// let mut model: Linear = LinearConfig::new(4, 1).init(&device);
/// let cosine = CosineConfig::new(percent(100.0), percent(100.0)).schedule();
/// let mut driver = Driver::builder(AdamWConfig::new().init(), cosine.try_build_for(1e-3, 100).unwrap())
///     .with_clipping(Clipping::global_norm(1.0))
///     .with_non_finite(NonFinite::Skip { max_consecutive: 3 })
///     .with_averaging(Averaging::ema(0.99))
///     .with_group(Group::no_decay())
///     .bind(&model)
///     .unwrap();
///
/// for _ in 0..100 {
///     let x = Tensor::<2>::random([16, 4], Distribution::Default, &device);
///     let loss = model.forward(x).square().mean();
///     let grads = GradientsParams::from_grads(loss.backward(), &model);
///     let report;
///     (model, report) = driver.step(model, grads).unwrap();
///     println!("{report}");
/// }
/// let averaged = driver.averaged(&model); // for evaluation, and to be saved
/// # }
/// ```
///
/// # What holds
///
/// * Everything is checked before anything is written: an error hands model and gradients back, and
///   parameters, optimizer state, counters and averages are what they were.
/// * A gradient that is missing leaves its parameter, that one's state and its step count alone. The report
///   names it.
/// * Schedules are asked for the number of updates, so what is skipped or accumulated does not move
///   them on.
/// * For optimizers of this library the factor of a norm clipping, or of a mean, is applied inside their
///   own pass over memory. Burn's and others get gradients that were scaled beforehand, and so does an
///   optimizer with a `grad_clipping` of its own, which comes after the driver's.
///
/// An optimizer of a user's own that panics in its step loses the model, as in Burn: the model is moved
/// into it.
///
/// Where Burn has no other way to say no than a panic (an optimizer that refuses a parameter, a state or a
/// scheduler's record that cannot be loaded, a gradient of another rank), that is caught and becomes an error. Its
/// message is printed all the same, and a program that is built with `panic = "abort"` ends.
pub struct Driver {
    pub(crate) optim: ModuleOptimizer,
    pub(crate) rate: Rate,
    pub(crate) core: Core,
}

impl core::fmt::Debug for Driver {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Driver")
            .field("settings", &self.core.settings)
            .field("updates", &self.core.counters.updates)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// A driver for an optimizer (of this library, Burn's, or a user's own) and a learning rate: a number,
    /// a [`Schedule`](downhill_schedule::Schedule), or any scheduler of Burn's kind ([`Rate::scheduler`]).
    pub fn builder(optim: impl Into<ModuleOptimizer>, rate: impl Into<Rate>) -> DriverBuilder {
        DriverBuilder {
            optim: optim.into(),
            rate: rate.into(),
            settings: Settings::default(),
            groups: Vec::new(),
            averaging: None,
            identity: None,
            ranks: None,
        }
    }

    /// One update, or one micro-batch of one.
    ///
    /// # Errors
    ///
    /// Hands model and gradients back if the gradients do not fit the model, are not finite, or a
    /// schedule leaves the range of its setting. Nothing has changed then.
    pub fn step<M: Module>(
        &mut self,
        model: M,
        batch: impl Into<MicroBatch>,
    ) -> Result<(M, StepReport), StepError<M>> {
        let batch = batch.into();
        if self.core.settings.sam.is_some() {
            return Err(StepError {
                model,
                grads: batch.grads,
                cause: StepCause::OneGradient,
            });
        }
        self.advance(model, batch, false)
    }

    /// The update of a window that is not full: what was accumulated, as if it were all. Without anything
    /// accumulated there is nothing to update, and no report.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step); the window stays as it is.
    pub fn flush<M: Module>(&mut self, model: M) -> Result<(M, Option<StepReport>), StepError<M>> {
        if self.core.window.micro_batches == 0 {
            return Ok((model, None));
        }
        let batch = MicroBatch::new(GradientsParams::new());
        let (model, report) = self.advance(model, batch, true)?;
        Ok((model, Some(report)))
    }

    /// Drops what was accumulated, for example where its sum is no longer finite.
    pub fn discard_window(&mut self) {
        self.core.window = Window::default();
    }

    /// The rates of the next update.
    pub(crate) fn next_rates(&self) -> Rates {
        match &self.rate {
            Rate::Setting(setting) => Rates::Constant(setting.value(self.updates())),
            Rate::Scheduler(scheduler) => {
                // A copy, that takes its place when the update is made.
                let mut next = scheduler.clone();
                Rates::Scheduler(next.step(), Box::new(next))
            }
        }
    }

    /// A model with the ties of the one that the driver is bound to.
    pub(crate) fn once<M: Module>(&self, model: M) -> Once<M> {
        Once::new(model, &self.core.ties)
    }

    pub(crate) fn advance<M: Module>(
        &mut self,
        model: M,
        batch: MicroBatch,
        flush: bool,
    ) -> Result<(M, StepReport), StepError<M>> {
        let model = self.once(model);
        let advanced = match self.advance_once(model, batch, flush) {
            Ok((model, report)) => match self.core.meet(model, report.outcome) {
                Ok(model) => Ok((model, report)),
                Err((model, cause)) => Err(after_step(model, cause)),
            },
            Err(error) => Err(error),
        };
        match advanced {
            Ok((model, report)) => {
                if report.outcome == Outcome::Skipped || report.failed_decompositions > 0 {
                    ::log::warn!("{report}");
                }
                Ok((model.model, report))
            }
            Err(StepError {
                model,
                grads,
                cause,
            }) => Err(StepError {
                model: model.model,
                grads,
                cause,
            }),
        }
    }

    // Its error hands the model back.
    #[allow(clippy::result_large_err)]
    fn advance_once<M: Module>(
        &mut self,
        model: Once<M>,
        batch: MicroBatch,
        flush: bool,
    ) -> Result<(Once<M>, StepReport), StepError<Once<M>>> {
        let rates = self.next_rates();
        if let Err(error) = self.core.check_rates(&rates) {
            let step = self.core.counters.updates;
            return Err(StepError {
                model,
                grads: batch.grads,
                cause: StepCause::Setting { step, error },
            });
        }
        let mut report = self.core.report(rates.base());
        let go = match self.core.plan(&model, batch, flush, &mut report) {
            Ok(Some(go)) => go,
            Ok(None) => return Ok((model, report)),
            Err((grads, cause)) => {
                return Err(StepError {
                    model,
                    grads,
                    cause,
                });
            }
        };
        let rate = self.core.module_rate(&rates);
        if let Rates::Scheduler(_, next) = rates {
            self.rate = Rate::Scheduler(*next);
        }
        let mechanic = self.core.settings.mechanic.as_ref();
        let ahead = mechanic.map(|mechanic| {
            let tuned = &mut self.core.tuned;
            tuned.ahead(mechanic, &model, [&go.told.0, &go.others])
        });
        let shares = self.core.shares.as_ref();
        let (go, moved) = match shares {
            Some(shares) => go.only(&model, &shares.own()),
            None => (go, Vec::new()),
        };
        let optim = &mut self.optim;
        let (mut model, mut made) =
            go.make(model, |model, grads| optim.step(rate.clone(), model, grads));
        if let (Some(ranks), Some(shares)) = (&self.core.ranks, &self.core.shares) {
            match ranks.shared(shares, &moved, made.failures, model) {
                Ok((whole, failures)) => (model, made.failures) = (whole, failures),
                Err((model, error)) => return Err(after_step(model, error.into())),
            }
        }
        if let Some(ahead) = ahead {
            model = self.core.tuned.retuned(ahead, model);
        }
        self.core.finish(&model, &mut report, made);
        Ok((model, report))
    }

    /// The number of updates made.
    pub fn updates(&self) -> u64 {
        self.core.counters.updates
    }

    /// How many updates and micro-batches were left out because something was not finite.
    pub fn skipped(&self) -> u64 {
        self.core.counters.skipped
    }

    /// The learning rate of the next update, where it is a function of the step.
    pub fn learning_rate(&self) -> Option<f64> {
        match &self.rate {
            Rate::Setting(setting) => Some(setting.value(self.updates())),
            Rate::Scheduler(_) => None,
        }
    }

    /// The model for evaluation, with the averages in the place of the parameters: without autodiff, as
    /// [`Module::valid`] returns it. Before the first average is taken, and without averaging, it has the
    /// model's own parameters.
    ///
    /// Nothing is copied: the averages are shared, and the model stays as it is, so there is nothing to
    /// be put back afterwards. Drop it before the next update, or that will have to copy them. (Parameters
    /// of 16 bits are converted, since their averages are in f32.)
    pub fn averaged<M: Module>(&self, model: &M) -> M {
        match &self.core.averages {
            Some(averages) if averages.count > 0 => {
                let model = self.once(model.clone());
                averages.model(&model, &self.core.bound).model
            }
            _ => model.valid(),
        }
    }

    /// The model with the averages in the place of its parameters, to go on training from there: what Switch-EMA
    /// does at the end of each epoch (Li et al., arXiv 2402.09240). The optimizer's state and the averages stay as
    /// they are. Before the first average is taken, and without averaging, it is the model itself.
    ///
    /// ```
    /// # #[cfg(feature = "flex")] {
    /// use burn::nn::{Linear, LinearConfig};
    /// use burn::optim::GradientsParams;
    /// use burn::tensor::{Device, Distribution, Tensor};
    /// use downhill_optim::SgdConfig;
    /// use downhill_train::{Averaging, Driver};
    ///
    /// let device = Device::flex().autodiff();
    /// let mut model: Linear = LinearConfig::new(4, 1).init(&device);
    /// let builder = Driver::builder(SgdConfig::new().init(), 0.1);
    /// let mut driver = builder.with_averaging(Averaging::ema(0.9)).bind(&model).unwrap();
    /// for _epoch in 0..3 {
    ///     for _ in 0..10 {
    ///         let x = Tensor::<2>::random([16, 4], Distribution::Default, &device);
    ///         let loss = model.forward(x).square().mean();
    ///         let grads = GradientsParams::from_grads(loss.backward(), &model);
    ///         (model, _) = driver.step(model, grads).unwrap();
    ///     }
    ///     model = driver.switch_to_average(model);
    /// }
    /// # }
    /// ```
    #[must_use = "it returns the model with the averages"]
    pub fn switch_to_average<M: Module>(&self, model: M) -> M {
        match &self.core.averages {
            Some(averages) if averages.count > 0 => {
                let model = self.once(model);
                averages.model(&model, &self.core.bound).train().model
            }
            _ => model,
        }
    }

    /// The model for evaluation that the optimizer has beside the one that it trains: see
    /// [`evaluated`](crate::evaluated()). [Averages](Self::averaged) that the driver keeps have nothing to do with
    /// it.
    ///
    /// It is the same after a checkpoint was [resumed](Self::resume).
    ///
    /// # Panics
    ///
    /// Where ranks have [states of their own](DriverBuilder::with_sharded_state) all of them make this call; it panics if
    /// they do not.
    pub fn evaluated<M: Module>(&self, model: &M) -> M {
        let model = self.once(model.clone());
        let step = |model, grads| self.optim.clone().step(0.0, model, grads);
        let evaluated = asked(&model, &self.core.own(), step);
        match (&self.core.ranks, &self.core.shares) {
            (Some(ranks), Some(shares)) => {
                let all = vec![true; self.core.bound.len()];
                let shared = ranks.shared(shares, &all, 0, evaluated);
                let (whole, _) = shared.unwrap_or_else(|(_, error)| panic!("{error}"));
                whole.model
            }
            _ => evaluated.model,
        }
    }

    /// This driver's rank among [several](DriverBuilder::with_exchange); 0 if it is alone.
    pub fn rank(&self) -> usize {
        let ranks = self.core.ranks.as_ref();
        ranks.map_or(0, |ranks| ranks.with(|exchange| exchange.rank()))
    }

    /// The bytes that this rank has handed to others so far.
    pub fn sent(&self) -> u64 {
        let ranks = self.core.ranks.as_ref();
        ranks.map_or(0, |ranks| ranks.with(|exchange| exchange.sent()))
    }

    /// Whether an optimizer needs the loss of each micro-batch.
    pub fn needs_loss(&self) -> bool {
        self.core.needs_loss
    }

    /// What optimizers keep of the whole model that look at it: one entry for each such optimizer.
    pub fn model_state(&self) -> &[ModelState] {
        &self.core.of_model
    }

    /// The optimizer, with its state.
    pub fn optimizer(&self) -> &ModuleOptimizer {
        &self.optim
    }

    /// The optimizer, with its state, for a loop of another kind.
    pub fn into_optimizer(self) -> ModuleOptimizer {
        self.optim
    }

    /// Values of the user's own that are saved with the driver: the epoch, a seed, a position in the
    /// data.
    pub fn notes(&self) -> &BTreeMap<String, String> {
        &self.core.notes
    }

    /// The same, to be changed.
    pub fn notes_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.core.notes
    }

    /// What is said about each parameter: its path, its groups, and its optimizer's name where that is
    /// known.
    pub fn parameters(&self) -> impl Iterator<Item = BoundParameter<'_>> {
        self.core.bound.iter().map(BoundParameter::from)
    }

    /// The same as a table: who steps which parameter.
    pub fn plan(&self) -> Plan<'_> {
        self.parameters().collect()
    }

    /// Goes over to another model of the same structure, for example one whose parameters have got other
    /// ids by loading a record: states and averages are carried over by path.
    ///
    /// # Errors
    ///
    /// If the model differs in more than its ids, or Burn's groups choose a learning rate or an optimizer by an
    /// id; the driver is as it was then.
    pub fn rebind<M: Module>(&mut self, model: &M) -> Result<(), BindError> {
        let model = &Once::of(model.clone());
        let found = params::floats(model);
        params::check(model, &found)?;
        model.check()?;
        let same = |own: &Bound, other: &Found| {
            let (own, other) = (own.info(), &other.info);
            own.path == other.path && own.shape == other.shape && own.dtype == other.dtype
        };
        let odd = self
            .core
            .bound
            .iter()
            .enumerate()
            .find(|(at, own)| found.get(*at).is_none_or(|other| !same(own, other)));
        if let Some((_, own)) = odd {
            let ParamInfo {
                path, shape, dtype, ..
            } = own.info().clone();
            let there = found.iter().find(|other| other.info.path == path);
            return Err(match there {
                None => BindError::Lost { path },
                Some(other) if other.info.shape == shape && other.info.dtype == dtype => {
                    BindError::Module(ModuleError::Order)
                }
                Some(other) => BindError::Changed {
                    path,
                    expected: format!("{shape:?} in {dtype:?}"),
                    found: format!("{:?} in {:?}", other.info.shape, other.info.dtype),
                },
            });
        }
        if let Some(more) = found.get(self.core.bound.len()) {
            let path = more.info.path.clone();
            return Err(BindError::Unknown { path });
        }
        let ids: Vec<ParamId> = found.iter().map(|found| found.id).collect();
        let bound = &self.core.bound;
        if let Rate::Scheduler(scheduler) = &self.rate {
            check_rates_by_path(scheduler, bound, &ids)?;
        }
        let optim = checkpoint::renamed(&self.optim, bound, &ids)?;
        probe::check_by_path(model, &optim, bound)?;
        self.optim = optim;
        self.core.ties = model.ties.clone();
        self.core.move_to(&ids);
        Ok(())
    }
}

/// Ranks that do not come together when each has made its own step.
fn after_step<M>(model: M, cause: StepCause) -> StepError<M> {
    StepError {
        model,
        grads: GradientsParams::new(),
        cause,
    }
}

/// Whether the learning rates are the same under other ids, as far as the next updates show.
fn check_rates_by_path(
    scheduler: &ModuleLrScheduler,
    bound: &[Bound],
    ids: &[ParamId],
) -> Result<(), BindError> {
    const UPDATES: usize = 64;
    let mut scheduler = scheduler.clone();
    for _ in 0..UPDATES {
        let rates = scheduler.step();
        for (bound, id) in bound.iter().zip(ids) {
            let path = &bound.info().path;
            let rate = |id| rates.lr_from_param(id, Some(path));
            if rate(bound.id()) != rate(*id) {
                let (path, what) = (path.clone(), "learning rate");
                return Err(BindError::ChosenById { path, what });
            }
        }
    }
    Ok(())
}
