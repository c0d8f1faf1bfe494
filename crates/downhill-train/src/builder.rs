use std::sync::Arc;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use downhill_optim::Identity;

use crate::average::Averaging;
use crate::batch::Accumulation;
use crate::checkpoint;
use crate::clipping::{Clipping, NonFinite};
use crate::driven::{MOMENTUM, WEIGHT_DECAY};
use crate::error::BindError;
use crate::exchange::Exchange;
use crate::groups::Group;
use crate::once::Once;
use crate::ranks::Ranks;
use crate::settings::Settings;
use crate::update::Core;
use crate::{Driver, LocalUpdates, LossScaling, Mechanic, Rate, Sam, Setting};

/// What a driver does, until it is bound to a model: see [`Driver::builder`].
#[derive(Clone)]
#[must_use = "it does nothing until it is bound to a model"]
pub struct DriverBuilder {
    pub(crate) optim: ModuleOptimizer,
    pub(crate) rate: Rate,
    pub(crate) settings: Settings,
    pub(crate) groups: Vec<Group>,
    pub(crate) averaging: Option<Averaging>,
    pub(crate) identity: Option<Identity>,
    pub(crate) ranks: Option<Ranks>,
}

impl DriverBuilder {
    /// Clips gradients. Default: not.
    pub fn with_clipping(mut self, clipping: Clipping) -> Self {
        self.settings.clipping = Some(clipping);
        self
    }

    /// What happens where gradients or loss are not finite. Default: [`NonFinite::Error`].
    pub fn with_non_finite(mut self, non_finite: NonFinite) -> Self {
        self.settings.non_finite = non_finite;
        self
    }

    /// Makes one update of several micro-batches. Default: of one.
    pub fn with_accumulation(mut self, accumulation: Accumulation) -> Self {
        self.settings.accumulation = Some(accumulation);
        self
    }

    /// Keeps an average of the parameters. Default: none.
    pub fn with_averaging(mut self, averaging: Averaging) -> Self {
        self.averaging = Some(averaging);
        self
    }

    /// Looks for gradients beside the parameters, which [`Driver::step_sam`] then takes. Default: not.
    pub fn with_sam(mut self, sam: Sam) -> Self {
        self.settings.sam = Some(sam);
        self
    }

    /// Puts a factor on the loss, which [`Driver::scaled`] applies, and divides it out of the gradients. Default: none.
    pub fn with_loss_scaling(mut self, scaling: LossScaling) -> Self {
        self.settings.loss_scaling = Some(scaling);
        self
    }

    /// Puts a factor on the whole way, that [`Mechanic`] finds. Default: not.
    pub fn with_mechanic(mut self, mechanic: Mechanic) -> Self {
        self.settings.mechanic = Some(mechanic);
        self
    }

    /// Trains with other ranks: each has a driver, a model of the same values and a share of the data, and each
    /// [step](Driver::step) of theirs is one update of all by the mean of their gradients, weighted by the
    /// [samples](crate::MicroBatch::with_samples) where these are given. All ranks end it with the same bits.
    ///
    /// Gradients come together after accumulation and before they are judged and clipped, so that norms, sums over the
    /// model, skipped updates and the report are those of the whole. Ranks make the same calls in the same order; what one
    /// refuses, or has no gradient for, is an error on each. Default: alone.
    ///
    /// All of them [save](Driver::save) checkpoints, between two updates (of a window that is not full there is rank 0's
    /// alone), and rank 0 writes; all of them resume from its file. [`step_sam`](Driver::step_sam) is not for several ranks.
    ///
    /// ```
    /// # #[cfg(feature = "flex")] {
    /// use burn::nn::{Linear, LinearConfig};
    /// use burn::optim::GradientsParams;
    /// use burn::tensor::{Device, Tensor};
    /// use downhill_optim::SgdConfig;
    /// use downhill_train::{Driver, Exchange, MicroBatch, Threads};
    ///
    /// let device = Device::flex().autodiff();
    /// let model: Linear = LinearConfig::new(1, 1).with_bias(false).init(&device);
    /// let train = |exchange: Threads, model: Linear| {
    ///     let x = 1.0 + 2.0 * exchange.rank() as f32;
    ///     let mut driver = Driver::builder(SgdConfig::new().init(), 0.1)
    ///         .with_exchange(exchange)
    ///         .bind(&model)
    ///         .unwrap();
    ///     let x = Tensor::<2>::full([1, 1], x, &model.weight.device());
    ///     let loss = model.forward(x).sum();
    ///     let grads = GradientsParams::from_grads(loss.backward(), &model);
    ///     let (model, report) = driver.step(model, MicroBatch::new(grads).with_samples(1)).unwrap();
    ///     assert_eq!(report.grad_norm.unwrap().value(), 2.0); // of 1 and 3
    ///     model.weight.val().into_scalar::<f32>()
    /// };
    /// let weights = std::thread::scope(|scope| {
    ///     let ranks: Vec<_> = (Threads::of(2).into_iter())
    ///         .map(|exchange| (exchange, model.clone()))
    ///         .map(|(exchange, model)| scope.spawn(move || train(exchange, model)))
    ///         .collect();
    ///     ranks.into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<f32>>()
    /// });
    /// assert_eq!(weights[0], weights[1]);
    /// # }
    /// ```
    pub fn with_exchange(mut self, exchange: impl Exchange + 'static) -> Self {
        self.ranks = Some(Ranks::new(exchange));
        self
    }

    /// Lets each rank keep the optimizer's state of a share of the parameters (ZeRO's first stage), step these, and tell
    /// the others where they are: the same bits as without, for a part of the memory. Default: all keep all.
    ///
    /// Shares are of whole parameters, as even as these allow: the largest first, each to the rank that has least. A step
    /// sends the bytes of the parameters besides those of the gradients, half as much again.
    /// [`states`](Driver::states) has those of this rank alone, and what is put into a driver the same on all ranks keeps
    /// of its own. Not for optimizers that look at the whole model.
    ///
    /// If the ranks do not come together after each has stepped its own ([`StepCause::Exchange`](crate::StepCause)), this
    /// rank has only its share of the step: go on from a checkpoint.
    ///
    /// Source: Rajbhandari et al., arXiv 1910.02054.
    pub fn with_sharded_state(mut self) -> Self {
        self.settings.sharded_state = true;
        self
    }

    /// Lets ranks train by themselves, and meet after some updates: see [`LocalUpdates`]. Default: each step is one update
    /// of all.
    ///
    /// If they do not come together when they are to meet, the step's error comes with the model after this rank's own
    /// update, and they meet after its next one.
    pub fn with_local_updates(mut self, local: LocalUpdates) -> Self {
        self.settings.local_updates = Some(local);
        self
    }

    /// Adds a group of parameters that are treated differently.
    pub fn with_group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// Adds groups.
    pub fn with_groups(mut self, groups: impl IntoIterator<Item = Group>) -> Self {
        self.groups.extend(groups);
        self
    }

    /// A weight decay in the place of the optimizer's, at least 0. Every optimizer must be of this
    /// library, and have one.
    pub fn with_weight_decay(self, weight_decay: impl Into<Setting>) -> Self {
        self.with_driven(WEIGHT_DECAY, weight_decay)
    }

    /// A momentum (for Adam and its relatives: `beta_1`) in the place of the optimizer's, in `[0, 1)`:
    /// [one-cycle](downhill_schedule::OneCycleConfig) lets it fall while the rate rises. Every optimizer must be
    /// of this library, and have one.
    pub fn with_momentum(self, momentum: impl Into<Setting>) -> Self {
        self.with_driven(MOMENTUM, momentum)
    }

    /// A number in the place of a setting of the optimizer, by its name: any that acts at every step and does not
    /// decide about the state. Its range is the optimizer's. Every optimizer must be of this library, and
    /// have it.
    ///
    /// ```
    /// use downhill_optim::AdamConfig;
    /// use downhill_schedule::LinearConfig;
    /// use downhill_train::Driver;
    ///
    /// let beta_2 = LinearConfig::new(0.95, 0.999, 1_000).try_build()?;
    /// let builder = Driver::builder(AdamConfig::new().init(), 1e-3).with_driven("beta_2", beta_2);
    /// # Ok::<(), downhill_schedule::ScheduleError>(())
    /// ```
    pub fn with_driven(mut self, name: impl Into<Arc<str>>, setting: impl Into<Setting>) -> Self {
        self.settings.driven.set(name.into(), setting.into());
        self
    }

    /// Measures after each `every`th update how far each parameter moved, for the report. At these
    /// updates the parameters before the step are kept, which costs their memory. Default: never.
    pub fn with_update_ratios(mut self, every: u64) -> Self {
        self.settings.update_ratios_every = Some(every);
        self
    }

    /// Name and settings of an optimizer that is not of this library, for checkpoints: one of another name
    /// or with other settings will not go on from them.
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Looks at the model, and resolves the groups. What is to be trained at some time has to require
    /// gradients now; it can be frozen afterwards, and thawed again.
    ///
    /// # Errors
    ///
    /// If a tied parameter is several tensors (see [`tie`](crate::tie)), a group is empty or two contradict each
    /// other, a setting is outside its range, an optimizer refuses a parameter (Muon those that are no matrices) or has not the
    /// setting that is to be driven, or does nothing with a learning rate that changes. With
    /// [other ranks](Self::with_exchange), if one of them has another model, other values in it or other settings.
    pub fn bind<M: Module>(self, model: &M) -> Result<Driver, BindError> {
        let (optim, core) = Core::bind(
            self.optim,
            self.settings,
            &self.groups,
            self.averaging,
            self.identity,
            self.ranks,
            &Once::of(model.clone()),
        )?;
        core.check_rate(&self.rate)?;
        if let Some(ranks) = &core.ranks {
            ranks.compare(&checkpoint::fingerprint(&core, &self.rate, model))?;
        }
        Ok(Driver {
            optim,
            rate: self.rate,
            core,
        })
    }
}
