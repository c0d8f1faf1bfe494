//! The learning rates of an update, each parameter's own.

use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{ParamGroup, ParamId};

use crate::bound::Bound;
use crate::groups::GroupRate;
use crate::setting::{OutOfRange, in_range};
use crate::update::Core;
use crate::{BindError, Rate};
use downhill_setting::Range;

/// The learning rates of one update.
pub(crate) enum Rates {
    Constant(f64),
    Scheduler(ModuleLearningRate, Box<ModuleLrScheduler>),
}

impl Rates {
    pub fn base(&self) -> f64 {
        match self {
            Self::Constant(rate) => *rate,
            Self::Scheduler(rate, _) => rate.base(),
        }
    }

    pub fn of(&self, id: ParamId, path: &str) -> f64 {
        match self {
            Self::Constant(rate) => *rate,
            Self::Scheduler(rate, _) => rate.lr_from_param(id, Some(path)),
        }
    }
}

impl Core {
    /// Whether a rate is in its range at the next update, and every optimizer does something with it.
    pub fn check_rate(&self, rate: &Rate) -> Result<(), BindError> {
        self.check_followed(rate)?;
        if let Rate::Setting(setting) = rate {
            let next = setting.value(self.counters.updates);
            in_range("learning rate", next, Range::NOT_NEGATIVE)?;
        }
        Ok(())
    }

    /// Whether every optimizer does something with a learning rate that changes, if it does.
    pub fn check_followed(&self, rate: &Rate) -> Result<(), BindError> {
        let changes = |rate: &Rate| match rate {
            Rate::Setting(setting) => !setting.is_constant(),
            Rate::Scheduler(_) => true,
        };
        let ignored = self.bound.iter().find(|bound| {
            let changes = match &bound.rate {
                Some(GroupRate::Setting(own)) => !own.is_constant(),
                Some(GroupRate::Factor(_)) | None => changes(rate),
            };
            let optimizer = bound.optimizer.as_ref();
            let ignores = optimizer.is_some_and(|optimizer| !optimizer.follows_rate());
            ignores && changes && !bound.frozen
        });
        match ignored {
            Some(bound) => {
                let path = bound.info().path.clone();
                Err(BindError::RateIgnored { path })
            }
            None => Ok(()),
        }
    }

    /// The rates of single parameters; that of all is among the settings of the update.
    pub fn check_rates(&self, rates: &Rates) -> Result<(), OutOfRange> {
        if !self.own_rates && matches!(rates, Rates::Constant(_)) {
            return Ok(());
        }
        for bound in self.bound.iter().filter(|bound| bound.info().trainable) {
            let base = || rates.of(bound.id(), &bound.info().path);
            match (&bound.rate, rates) {
                (None, Rates::Scheduler(..)) => {
                    in_range("learning rate", base(), Range::NOT_NEGATIVE)?;
                }
                (Some(GroupRate::Factor(factor)), _) => {
                    let base = in_range("learning rate", base(), Range::NOT_NEGATIVE)?;
                    in_range(
                        "learning rate of a group",
                        base * factor,
                        Range::NOT_NEGATIVE,
                    )?;
                }
                (None, Rates::Constant(_)) | (Some(GroupRate::Setting(_)), _) => {}
            }
        }
        Ok(())
    }

    /// The rate of a parameter at the next update.
    pub fn rate_of(&self, rates: &Rates, bound: &Bound) -> f64 {
        let base = || rates.of(bound.id(), &bound.info().path);
        match &bound.rate {
            None => base(),
            Some(GroupRate::Factor(factor)) => base() * factor,
            Some(GroupRate::Setting(setting)) => setting.value(self.counters.updates),
        }
    }

    /// The rates of all parameters, as Burn takes them.
    pub fn module_rate(&self, rates: &Rates) -> ModuleLearningRate {
        if !self.own_rates {
            return match rates {
                Rates::Constant(rate) => (*rate).into(),
                Rates::Scheduler(rate, _) => rate.clone(),
            };
        }
        let mut of_rates: Vec<(f64, Vec<ParamId>)> = Vec::new();
        for bound in self.bound.iter().filter(|bound| bound.info().trainable) {
            let rate = self.rate_of(rates, bound);
            match of_rates.iter_mut().find(|(other, _)| *other == rate) {
                Some((_, ids)) => ids.push(bound.id()),
                None => of_rates.push((rate, vec![bound.id()])),
            }
        }
        // Burn makes rates per group only in a scheduler.
        let scheduler = ModuleLrScheduler::new(rates.base());
        let add = |scheduler: ModuleLrScheduler, (rate, ids): (f64, Vec<ParamId>)| {
            scheduler.with_group(ParamGroup::from_ids(ids), rate)
        };
        of_rates.into_iter().fold(scheduler, add).step()
    }
}
