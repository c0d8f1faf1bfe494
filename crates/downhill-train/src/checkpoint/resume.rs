//! How a driver goes on from a checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use downhill_optim::drive::{ModelState, state_dtype};

use super::contents::{CONSECUTIVE, CONSECUTIVE_WINDOWS, OPTIMIZER, part, path_of_state};
use super::format::Contents;
use super::optimizer::{States, stated};
use super::report::{LoadReport, compare, first_error};
use super::scheduler::load_scheduler;
use super::settings::{Difference, check_settings, differences, learning_rate};
use super::{CheckpointError, gather, kept, model};
use crate::average::Averages;
use crate::error::Rejected;
use crate::gradients::Window;
use crate::mechanic::Tuned;
use crate::sam::Looked;
use crate::scaling::Scaler;
use crate::update::{Core, Counters};
use crate::{Driver, ParamPath, Rate, params};

/// Whether the model is the one that the driver is bound to.
pub(crate) fn check_bound<M: Module>(core: &Core, model: &M) -> Result<(), CheckpointError> {
    let found = params::floats(model);
    let bound = &core.bound;
    let same = found.len() == bound.len()
        && found
            .iter()
            .zip(bound)
            .all(|(found, bound)| found.id == bound.id() && found.info.path == bound.info().path);
    match same {
        true => Ok(()),
        false => Err(CheckpointError::OtherSetting {
            what: "model".to_string(),
            expected: "another one than the driver is bound to (`rebind` goes over to it)"
                .to_string(),
            found: "that of the driver".to_string(),
        }),
    }
}

fn compare_model<M: Module>(contents: &Contents, model: &M) -> LoadReport {
    let tensors = params::tensors(model).into_iter();
    let expected = tensors.map(|tensor| (tensor.path, tensor.shape, tensor.dtype));
    compare(contents, "model/", expected)
}

pub(super) fn check_model<M: Module>(
    contents: &Contents,
    model: &M,
) -> Result<(), CheckpointError> {
    first_error(&compare_model(contents, model))?;
    check_values(contents)
}

/// What is wrong in the file itself, whatever the model is.
fn check_values(contents: &Contents) -> Result<(), CheckpointError> {
    let damaged = |what: String| Err(CheckpointError::Damaged { what });
    for (name, data) in &contents.tensors {
        let is_bool = |byte: &u8| *byte <= 1;
        if data.dtype().is_bool() && !data.as_bytes().iter().all(is_bool) {
            return damaged(format!("`{name}` has booleans that are neither 0 nor 1"));
        }
    }
    for entry in &contents.header.parameters {
        let Some(order) = &entry.memory_order else {
            continue;
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..entry.shape.len()) {
            let path = &entry.path;
            return damaged(format!(
                "the dimensions of `{path}` in memory are {order:?}"
            ));
        }
    }
    Ok(())
}

/// The model in the file.
pub(super) fn model_parts(contents: &Contents) -> model::Parts {
    let orders = contents.header.parameters.iter();
    let orders =
        orders.filter_map(|entry| Some((entry.path.to_string(), entry.memory_order.clone()?)));
    model::Parts {
        saved: part(&contents.tensors, "model/"),
        memory_orders: orders.collect(),
        values: BTreeMap::new(),
    }
}

/// The model in the file with its averages, each of which has the place of a parameter.
pub(super) fn averaged_parts<M: Module>(
    contents: &Contents,
    model: &M,
) -> Result<model::Parts, CheckpointError> {
    check_model(contents, model)?;
    let floats = params::floats(model).into_iter();
    let expected = floats
        .filter(|found| found.info.dtype.is_float())
        .map(|found| {
            let dtype = state_dtype(found.info.dtype).into();
            (found.info.path, found.info.shape, dtype)
        });
    let mut report = compare(contents, "average/", expected);
    // Running statistics need not have one.
    report.missing.clear();
    first_error(&report)?;
    let mut parts = model_parts(contents);
    parts.values = part(&contents.tensors, "average/");
    Ok(parts)
}

/// What a driver becomes; nothing of it has been changed yet.
struct Next {
    optim: ModuleOptimizer,
    /// The outer optimizer of local updates and the number of meetings, where they go on.
    outer: Option<(ModuleOptimizer, u64)>,
    scheduler: Option<ModuleLrScheduler>,
    /// Why the driver's own scheduler begins anew, if it does.
    begins_anew: Option<String>,
    core: NextCore,
}

/// What becomes of all but optimizer and learning rate.
struct NextCore {
    counters: Counters,
    averages: Option<Averages>,
    /// Which averages were taken, and which not.
    averages_taken: LoadReport,
    window: Window,
    notes: BTreeMap<String, String>,
    of_model: Vec<ModelState>,
    looked: Looked,
    tuned: Tuned,
    scaler: Option<Scaler>,
}

impl NextCore {
    fn of<M: Module>(
        core: &Core,
        model: &M,
        contents: &Contents,
        whole: bool,
    ) -> Result<Self, CheckpointError> {
        let (averages, averages_taken) = kept::averages(core, model, contents)?;
        let (mut window, mut looked) = (Window::default(), Looked::default());
        let mut tuned = Tuned::default();
        if whole {
            first_error(&averages_taken)?;
            window = kept::window(core, model, contents)?;
            looked = kept::looked(core, model, contents)?;
            tuned = kept::tuned(core, model, contents)?;
        }
        let count = |name: &str| {
            let value = contents.scalars.get(name).copied();
            let value = value.and_then(|value| u32::try_from(value).ok());
            value.unwrap_or(0)
        };
        Ok(Self {
            counters: Counters {
                updates: contents.header.updates,
                skipped: contents.header.skipped,
                consecutive: count(CONSECUTIVE),
                windows: count(CONSECUTIVE_WINDOWS),
            },
            averages,
            averages_taken,
            window,
            notes: contents.header.notes.clone(),
            of_model: kept::of_model(core, contents, whole)?,
            looked,
            tuned,
            scaler: kept::scaler(core, contents, whole)?,
        })
    }

    fn commit(self, core: &mut Core) {
        core.counters = self.counters;
        core.compared = false;
        core.averages = self.averages;
        core.window = self.window;
        core.notes = self.notes;
        core.of_model = self.of_model;
        core.looked = self.looked;
        core.tuned = self.tuned;
        core.scaler = self.scaler;
    }
}

fn next<M: Module>(
    driver: &Driver,
    model: &M,
    contents: &Contents,
    states: &States,
    whole: bool,
) -> Result<Next, CheckpointError> {
    let core = &driver.core;
    // States of converted records may be in another precision.
    let strict = contents.header.settings.is_some();
    let optim = stated(core, &driver.optim, model, states, strict)?;
    let outer = match &core.local {
        Some(local) if whole => Some(kept::outer(core, local, model, contents)?),
        _ => None,
    };
    let (scheduler, begins_anew) = match &driver.rate {
        // A record that was converted has none: the driver's own goes on.
        Rate::Scheduler(scheduler) if contents.header.settings.is_some() => {
            match load_scheduler(scheduler, &core.bound, contents) {
                Ok(scheduler) => (Some(scheduler), None),
                Err(error) if whole => return Err(error),
                Err(error) => (None, Some(error.to_string())),
            }
        }
        _ => (None, None),
    };
    Ok(Next {
        optim,
        outer,
        scheduler,
        begins_anew,
        core: NextCore::of(core, model, contents, whole)?,
    })
}

fn commit<M: Module>(driver: &mut Driver, next: Next, model: &M) {
    driver.optim = next.optim;
    let core = &mut driver.core;
    if let Some(local) = &mut core.local {
        (local.outer, local.meetings) = next.outer.unwrap_or((local.outer.clone(), 0));
        local.begin(model, &core.bound);
    }
    if let Some(scheduler) = next.scheduler {
        driver.rate = Rate::Scheduler(scheduler);
    }
    next.core.commit(&mut driver.core);
}

pub(super) fn strictly<M: Module>(
    driver: &mut Driver,
    model: M,
    contents: &Contents,
) -> Result<M, Rejected<M, CheckpointError>> {
    let contents = &gather::of_rank(&driver.core, contents);
    match prepare(driver, &model, contents) {
        Ok(next) => {
            let model = model::load(model, model_parts(contents));
            commit(driver, next, &model);
            Ok(model)
        }
        Err(cause) => Err(Rejected { model, cause }),
    }
}

fn prepare<M: Module>(
    driver: &Driver,
    model: &M,
    contents: &Contents,
) -> Result<Next, CheckpointError> {
    let core = &driver.core;
    check_bound(core, model)?;
    check_model(contents, model)?;
    check_settings(core, &learning_rate(&driver.rate), model, contents)?;
    let paths: BTreeSet<&str> = core.bound.iter().map(|bound| &*bound.info().path).collect();
    next(
        driver,
        model,
        contents,
        &kept::states(contents, OPTIMIZER, &paths),
        true,
    )
}

/// Goes on from a file that has no model, no optimizer's state and no place in a schedule.
#[cfg(feature = "learner")]
pub(super) fn core_strictly<M: Module>(
    core: &mut Core,
    model: &M,
    contents: &Contents,
) -> Result<(), CheckpointError> {
    check_bound(core, model)?;
    check_settings(core, &None, model, contents)?;
    NextCore::of(core, model, contents, true)?.commit(core);
    Ok(())
}

pub(super) fn partially<M: Module>(
    driver: &mut Driver,
    model: M,
    contents: &Contents,
) -> Result<(M, LoadReport), Rejected<M, CheckpointError>> {
    let checked = check_bound(&driver.core, &model).and_then(|()| check_values(contents));
    if let Err(cause) = checked {
        return Err(Rejected { model, cause });
    }
    let mut report = compare_model(contents, &model);
    let own_rate = learning_rate(&driver.rate);
    let differences = differences(&driver.core, &own_rate, &model, &contents.header);
    let other_optimizer: BTreeSet<String> = (differences.iter())
        .filter_map(|difference| {
            let path = difference.what.strip_prefix("optimizer of `")?;
            Some(path.strip_suffix('`')?.to_string())
        })
        .collect();
    let restored: BTreeSet<&str> = report.restored.iter().map(|path| &**path).collect();
    let paths: BTreeSet<&str> = (driver.core.bound.iter())
        .map(|bound| &*bound.info().path)
        .filter(|path| restored.contains(path) && !other_optimizer.contains(*path))
        .collect();
    let states = kept::states(contents, OPTIMIZER, &paths);
    // An average whose parameter has changed would be loaded in the wrong shape.
    let mut fitting = contents.clone();
    fitting
        .tensors
        .retain(|name, _| match name.strip_prefix("average/") {
            Some(path) => restored.contains(path),
            None => true,
        });
    let next = match next(driver, &model, &fitting, &states, false) {
        Ok(next) => next,
        Err(cause) => return Err(Rejected { model, cause }),
    };
    let mut taken: Vec<ParamPath> = states.paths().map(ParamPath::from).collect();
    taken.sort();
    taken.dedup();
    report.differences.extend(next.begins_anew.clone());
    let averages = &next.core.averages_taken;
    let averaged: BTreeSet<&str> = averages.restored.iter().map(|path| &**path).collect();
    let unused = contents.tensors.keys().filter(|name| {
        let Some((kind, rest)) = name.split_once('/') else {
            return true;
        };
        match kind {
            "optimizer" => !paths.contains(path_of_state(rest).as_str()),
            "average" => !averaged.contains(rest),
            // What is missing of the model is in the report already.
            "model" => false,
            // A window goes on with all of its gradients or not at all.
            _ => true,
        }
    });
    report.unexpected.extend(unused.cloned());
    report
        .mismatched
        .extend(averages.mismatched.iter().cloned());
    let mismatched: BTreeSet<&str> = report.mismatched.iter().map(|of| &*of.name).collect();
    report
        .unexpected
        .retain(|name| !mismatched.contains(name.as_str()));
    report.states = taken;
    let differences = differences.into_iter().map(
        |Difference {
             what,
             expected,
             found,
         }| format!("another {what}: {found}, here {expected}"),
    );
    report.differences.extend(differences);
    let mut parts = model_parts(contents);
    parts
        .saved
        .retain(|path, _| restored.contains(path.as_str()));
    let model = model::load(model, parts);
    commit(driver, next, &model);
    Ok((model, report))
}
