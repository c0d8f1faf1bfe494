//! The training loop: burn-train's own on one device, with the driver around every update.

use std::io;
use std::sync::Arc;

use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Device;
use burn::train::checkpoint::CheckpointerError;
use burn::train::metric::store::{Aggregate, EventStoreClient, Split};
use burn::train::train::WorkerFailure;
use burn::train::{
    EventProcessorError, EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent,
    LearnerModel, LearningCheckpointer, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingError, TrainingItem,
    ValidLoader,
};

use super::{DrivenStrategy, lock, state};
use crate::batch::Accumulation;
use crate::evaluated::asked;
use crate::update::Core;
use crate::{MicroBatch, StepCause, StepReport, params};

impl<M: LearnerModel> SupervisedLearningStrategy<M> for DrivenStrategy<M> {
    fn fit(
        &self,
        components: TrainingComponents<M>,
        mut learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        starting_epoch: usize,
    ) -> (M, SupervisedTrainingEventProcessor<M>) {
        let (mut train, mut valid) = (train, valid);
        if let Some(device) = device_of(&learner.model()) {
            train = train.to_device(&device);
            valid = valid.to_device(&device.clone().inner());
            learner.fork(&device);
        }
        let core = match self.prepare(&learner, &components) {
            Ok(core) => core,
            Err(error) => {
                components.interrupter.fail(error);
                return (learner.model(), components.event_processor);
            }
        };
        let mut early_stopping = components.early_stopping;
        let mut fit = Fit {
            strategy: self,
            core,
            learner,
            processor: components.event_processor,
            interrupter: components.interrupter,
            store: components.event_store,
            checkpointer: components.checkpointer,
        };
        for epoch in starting_epoch..=components.num_epochs {
            fit.train(&train, epoch);
            if fit.interrupter.should_stop() {
                break;
            }
            fit.validate(&valid, epoch);
            if fit.interrupter.should_stop() {
                break;
            }
            fit.conclude(epoch);
            if fit.interrupter.should_stop() {
                break;
            }
            if let Some(strategy) = &mut early_stopping
                && strategy.should_stop(epoch, &fit.store)
            {
                break;
            }
        }
        *lock(&self.shared.averaged) = fit.averaged();
        *lock(&self.shared.evaluated) = Some(fit.evaluated());
        (fit.learner.model(), fit.processor)
    }
}

impl<M: LearnerModel> DrivenStrategy<M> {
    /// The driver for this training, bound to the model as burn-train hands it over.
    fn prepare(
        &self,
        learner: &Learner<M>,
        components: &TrainingComponents<M>,
    ) -> Result<Core, TrainingError> {
        let taken = lock(&self.shared.core).take();
        let mut core = taken.ok_or_else(|| {
            failure("a strategy has one training: make another one with `learner`")
        })?;
        if core.settings.sam.is_some() {
            return Err(failure(
                "burn-train hands its model each batch once, and SAM needs gradients at two places: leave out \
                 `with_sam`",
            ));
        }
        if core.settings.mechanic.is_some() {
            return Err(failure(
                "a learner's parameters cannot be put elsewhere after its step: leave out `with_mechanic`",
            ));
        }
        if core.shares.is_some() || core.local.is_some() {
            return Err(failure(
                "a learner's parameters cannot be put elsewhere after its step: leave out `with_sharded_state` and \
                 `with_local_updates`",
            ));
        }
        if core.needs_loss {
            return Err(failure(
                "burn-train does not say the loss of a batch, which the optimizer needs",
            ));
        }
        move_to(&mut core, &learner.model())?;
        if let Some(micro_batches) = components.grad_accumulation {
            accumulate(&mut core, micro_batches)?;
        }
        if components.checkpointer.is_some() {
            let folder = self.folder.as_ref().ok_or_else(|| {
                failure(
                    "burn-train's checkpoints do not hold the driver's averages and counters: say with \
                     `with_state_folder` where these are to be kept",
                )
            })?;
            if let Some(epoch) = components.checkpoint {
                state::load(folder, &mut core, learner, epoch).map_err(of_checkpoint)?;
            }
        }
        Ok(core)
    }
}

/// The model's device, with autodiff.
fn device_of<M: Module>(model: &M) -> Option<Device> {
    let device = model.devices().into_iter().next()?;
    Some(match device.is_autodiff() {
        true => device,
        false => device.autodiff(),
    })
}

/// Goes over to the ids that the parameters have got by loading a record.
fn move_to<M: Module>(core: &mut Core, model: &M) -> Result<(), TrainingError> {
    let found = params::floats(model);
    let own = core.bound.iter().map(|bound| bound.info());
    if !own.map(|info| (&info.path, &info.shape)).eq(found
        .iter()
        .map(|found| (&found.info.path, &found.info.shape)))
    {
        return Err(failure(
            "the learner has another model than the strategy was made with",
        ));
    }
    let ids: Vec<ParamId> = found.iter().map(|found| found.id).collect();
    core.move_to(&ids);
    Ok(())
}

/// burn-train's own setting, which means a sum.
fn accumulate(core: &mut Core, micro_batches: usize) -> Result<(), TrainingError> {
    if core.settings.accumulation.is_some() {
        return Err(failure(
            "both the driver and burn-train are to accumulate: leave out `grads_accumulation`, or \
             `with_accumulation`",
        ));
    }
    let micro_batches = u32::try_from(micro_batches).unwrap_or(u32::MAX);
    core.settings.accumulation = Some(Accumulation::sum(micro_batches));
    Ok(())
}

// Of burn-train's errors only that of a worker has room for a text.
fn failure(message: impl ToString) -> TrainingError {
    TrainingError::Workers(vec![WorkerFailure {
        device_id: 0,
        message: message.to_string(),
    }])
}

fn of_checkpoint(error: impl core::error::Error + Send + Sync + 'static) -> TrainingError {
    CheckpointerError::IOError(io::Error::other(error)).into()
}

/// A training on its way.
struct Fit<'a, M: LearnerModel> {
    strategy: &'a DrivenStrategy<M>,
    core: Core,
    learner: Learner<M>,
    processor: SupervisedTrainingEventProcessor<M>,
    interrupter: Interrupter,
    store: Arc<EventStoreClient>,
    checkpointer: Option<LearningCheckpointer<M>>,
}

impl<M: LearnerModel> Fit<'_, M> {
    fn check(&self, result: Result<(), EventProcessorError>) {
        self.interrupter.fail_on_error(result);
    }

    fn train(&mut self, loader: &TrainLoader<M>, epoch: usize) {
        let start = LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: loader.num_items(),
        };
        let started = self.processor.process_train(start);
        self.check(started);
        if let Err(cause) = self.train_all(loader) {
            self.interrupter.fail(failure(&cause));
            *lock(&self.strategy.shared.cause) = Some(cause);
        }
        let ended = self.processor.process_train(LearnerEvent::EndSplit(epoch));
        self.check(ended);
    }

    fn train_all(&mut self, loader: &TrainLoader<M>) -> Result<(), StepCause> {
        let mut iterator = loader.iter();
        let mut iteration = 0;
        while let Some(item) = iterator.next() {
            let item = match item {
                Ok(item) => item,
                Err(error) => {
                    self.interrupter.fail(error);
                    return Ok(());
                }
            };
            iteration += 1;
            let progress = iterator.progress();
            let output = self.learner.train_step(item);
            let mut report = self.advance(output.grads, false)?;
            // With the item that it belongs to, where the loader knows its last.
            if progress.is_completed() {
                report = self.flush()?.unwrap_or(report);
            }
            self.strategy.shared.outlets.send(&report);
            let rate = Some(self.learner.lr_current());
            let item = TrainingItem::new(output.item, progress, Some(iteration), rate);
            let processed = (self.processor).process_train(LearnerEvent::ProcessedItem(item));
            self.check(processed);
            if self.interrupter.should_stop() {
                return Ok(());
            }
        }
        self.flush()?;
        Ok(())
    }

    /// The update of a window that is not full.
    fn flush(&mut self) -> Result<Option<Arc<StepReport>>, StepCause> {
        match self.core.window.micro_batches {
            0 => Ok(None),
            _ => self.advance(GradientsParams::new(), true).map(Some),
        }
    }

    fn advance(
        &mut self,
        grads: GradientsParams,
        flush: bool,
    ) -> Result<Arc<StepReport>, StepCause> {
        // The plan asks for the rate of an update that may not be made, and a learner's scheduler can only
        // be stepped. So a copy of the learner is, which takes its place when the update is made.
        let mut next = self.learner.clone();
        next.lr_step();
        let rate = next.lr_current().base();
        let batch = MicroBatch::new(grads);
        let mut report = self.core.report(rate);
        let go = (self.core).plan(&self.learner.model(), batch, flush, &mut report);
        if let Some(go) = go.map_err(|(_, cause)| cause)? {
            // Before the step, which would have to copy what two learners share.
            self.learner = next;
            let learner = &mut self.learner;
            let (learner, made) = go.make(learner, |learner, grads| {
                learner.optimizer_step(grads);
                learner
            });
            self.core.finish(&learner.model(), &mut report, made);
        }
        Ok(self.strategy.observe(report))
    }

    /// The model with the averages, if there are some.
    fn averaged(&self) -> Option<M> {
        let averages = self.core.averages.as_ref();
        let averages = averages.filter(|averages| averages.count > 0)?;
        Some(averages.model(&self.learner.model(), &self.core.bound))
    }

    /// The model to evaluate, of the optimizer.
    fn evaluated(&self) -> M {
        asked(&self.learner.model(), &self.core.own(), |_, grads| {
            let mut learner = self.learner.clone();
            learner.optimizer_step(grads);
            learner.model()
        })
    }

    fn validate(&mut self, loader: &ValidLoader<M>, epoch: usize) {
        let start = LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: loader.num_items(),
        };
        let started = self.processor.process_valid(start);
        self.check(started);
        let averaged = match self.strategy.averages_validated {
            true => self.averaged(),
            false => None,
        };
        let model = averaged.unwrap_or_else(|| self.evaluated());
        self.validate_all(loader, &model);
        let ended = self.processor.process_valid(LearnerEvent::EndSplit(epoch));
        self.check(ended);
        let ended = self.processor.process_train(LearnerEvent::EndEpoch(epoch));
        self.check(ended);
        // All metrics are up to date then, and none waits for a report any more.
        let flushed = self.processor.flush();
        self.check(flushed);
        self.strategy.shared.outlets.clear();
    }

    fn validate_all(&mut self, loader: &ValidLoader<M>, model: &M) {
        let mut iterator = loader.iter();
        let mut iteration = 0;
        while let Some(item) = iterator.next() {
            let item = match item {
                Ok(item) => item,
                Err(error) => return self.interrupter.fail(error),
            };
            iteration += 1;
            let progress = iterator.progress();
            let output = InferenceStep::step(model, item);
            let item = TrainingItem::new(output, progress, Some(iteration), None);
            let processed = (self.processor).process_valid(LearnerEvent::ProcessedItem(item));
            self.check(processed);
            if self.interrupter.should_stop() {
                return;
            }
        }
    }

    /// What follows an epoch. The plateau comes first: its record is among the checkpoints.
    fn conclude(&mut self, epoch: usize) {
        if let Some((plateau, metric)) = &self.strategy.plateau {
            match (self.store).find_metric(metric, epoch, Aggregate::Mean, &Split::Valid) {
                Some(value) => {
                    plateau.observe(value);
                }
                None => {
                    return self.interrupter.fail(failure(format!(
                        "the plateau follows the validation metric `{metric}`, and epoch {epoch} has none \
                         of that name; register it with `metric_valid_numeric`"
                    )));
                }
            }
        }
        // With checkpointers there is a folder: see `prepare`.
        let (Some(checkpointer), Some(folder)) = (&mut self.checkpointer, &self.strategy.folder)
        else {
            return;
        };
        // The driver's file comes first: records without it could not be gone on from.
        let saved = state::save(folder, &self.core, &self.learner, epoch);
        let saved = saved.map(|()| checkpointer.checkpoint(&self.learner, epoch, &self.store));
        let pruned = saved.and_then(|()| state::prune(folder, epoch));
        self.interrupter
            .fail_on_error(pruned.map_err(of_checkpoint));
    }
}
