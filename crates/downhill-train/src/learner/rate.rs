//! The learning rates as burn-train takes them: as schedulers that keep their own position.

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::ParamGroup;
use downhill_schedule::{ConstantConfig, Schedule, ScheduleConfig, ScheduleError};

use crate::bound::Bound;
use crate::groups::{Group, GroupRate};
use crate::{BindError, Rate, Setting};

/// One scheduler for all parameters, and one for each group that has a rate.
pub(super) fn scheduler(
    rate: &Rate,
    groups: &[Group],
    bound: &[Bound],
) -> Result<ModuleLrScheduler, BindError> {
    let base = match rate {
        Rate::Setting(setting) => {
            let schedule = schedule(setting).try_build();
            ModuleLrScheduler::new(built(schedule, "the learning rate")?.scheduler())
        }
        Rate::Scheduler(scheduler) => scheduler.clone(),
    };
    groups.iter().try_fold(base, |scheduler, group| {
        let Some(own) = of_group(group, rate)? else {
            return Ok(scheduler);
        };
        // By path: ids change when burn-train loads a model.
        let members = bound
            .iter()
            .filter(|bound| bound.groups.contains(&group.name));
        let paths: Vec<String> = members.map(|bound| bound.info().path.to_string()).collect();
        Ok(scheduler.with_group(ParamGroup::from_paths(paths), own.scheduler()))
    })
}

fn of_group(group: &Group, rate: &Rate) -> Result<Option<Schedule>, BindError> {
    let what = format!("the learning rate of the group `{}`", group.name);
    let own = match (&group.rate, rate) {
        (None, _) => return Ok(None),
        (Some(GroupRate::Setting(setting)), _) => schedule(setting),
        (Some(GroupRate::Factor(factor)), Rate::Setting(setting)) => {
            schedule(setting).scale(*factor)
        }
        (Some(GroupRate::Factor(_)), Rate::Scheduler(_)) => {
            let reason = "a factor needs a learning rate that is a number or a schedule, and here it is \
                          a scheduler of Burn's kind; give the group a rate of its own";
            return Err(BindError::LearnerRate {
                what,
                reason: reason.to_string(),
            });
        }
    };
    built(own.try_build(), &what).map(Some)
}

// A number is a schedule too, so that its record says which number.
fn schedule(setting: &Setting) -> ScheduleConfig {
    match setting {
        Setting::Constant(value) => ConstantConfig::new(*value).schedule(),
        Setting::Schedule(schedule) => schedule.config().clone(),
        Setting::Multiplier(multiplier) => {
            ConstantConfig::new(1.0).schedule() * multiplier.config().clone()
        }
    }
}

fn built(schedule: Result<Schedule, ScheduleError>, what: &str) -> Result<Schedule, BindError> {
    schedule.map_err(|error| BindError::LearnerRate {
        what: what.to_string(),
        reason: error.to_string(),
    })
}
