//! How a driver goes on from a checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{DType, TensorData};
use downhill_optim::drive::{ModelState, state_dtype};
use serde::Deserialize;

use super::contents::{
    self, AVERAGE_PRODUCT, CONSECUTIVE, CONSECUTIVE_WINDOWS, LOOKED, LOOKED_STEPS, LOSS_SCALE,
    LOSS_SCALE_UPDATES, MECHANIC, MEETINGS, OPTIMIZER, OUTER, UPDATES, WINDOW_LOSS,
    WINDOW_LOSS_WEIGHT, WINDOW_WEIGHT, path_of_state, scale_of, unescaped,
};
use super::format::Contents;
use super::optimizer::{States, stated};
use super::report::{LoadReport, compare, first_error};
use super::scheduler::load_scheduler;
use super::settings::{Difference, check_settings, differences, learning_rate};
use super::{CheckpointError, gather, model};
use crate::average::{Averages, Averaging};
use crate::batch::Accumulation;
use crate::error::Rejected;
use crate::gradients::Window;
use crate::mechanic::{SCALES, Scale, Tuned};
use crate::ranks::Local;
use crate::sam::Looked;
use crate::scaling::Scaler;
use crate::update::{Core, Counters};
use crate::{Driver, ParamPath, Rate, params};

/// The tensors whose names begin with `prefix`, without it.
pub(super) fn part(contents: &Contents, prefix: &str) -> BTreeMap<String, TensorData> {
    let tensors = contents.tensors.iter();
    tensors
        .filter_map(|(name, data)| Some((name.strip_prefix(prefix)?.to_string(), data.clone())))
        .collect()
}

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
        saved: part(contents, "model/"),
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
    parts.values = part(contents, "average/");
    Ok(parts)
}

/// The states in the file under a prefix, of the parameters in `paths`.
fn states(contents: &Contents, prefix: &str, paths: &BTreeSet<&str>) -> States {
    let key = |name: &str| {
        let (path, field) = name.strip_prefix(prefix)?.split_once('/')?;
        let path = unescaped(path);
        (paths.contains(path.as_str())).then(|| (path, field.to_string()))
    };
    let tensors = contents.tensors.iter();
    let scalars = contents.scalars.iter();
    States {
        tensors: tensors
            .filter_map(|(name, data)| Some((key(name)?, data.clone())))
            .collect(),
        scalars: scalars
            .filter_map(|(name, scalar)| Some((key(name)?, *scalar)))
            .collect(),
    }
}

/// A number in the file that can be one of these.
fn number(
    contents: &Contents,
    name: &str,
    fits: impl FnOnce(f64) -> bool,
) -> Result<f64, CheckpointError> {
    let value = contents.scalars.get(name).copied();
    let number = value.and_then(|value| f64::try_from(value).ok());
    let damaged = |what: String| CheckpointError::Damaged { what };
    match number {
        None => Err(damaged(format!("it has no `{name}`"))),
        Some(number) if fits(number) => Ok(number),
        Some(number) => Err(damaged(format!("its `{name}` is {number}"))),
    }
}

/// The averages in the file, those that fit, and what there is to say of the others.
fn averages<M: Module>(
    core: &Core,
    model: &M,
    contents: &Contents,
) -> Result<(Option<Averages>, LoadReport), CheckpointError> {
    let Some(own) = &core.averages else {
        return Ok((None, LoadReport::default()));
    };
    let anew = || {
        (
            Some(Averages::new(own.config.clone())),
            LoadReport::default(),
        )
    };
    let Some(count) = contents.header.averaged else {
        return Ok(anew());
    };
    let saved = contents.header.settings.as_ref();
    let saved = saved.and_then(|settings| Averaging::deserialize(&settings["averaging"]).ok());
    if saved.is_some_and(|saved| !own.config.goes_on_from(&saved)) {
        return Ok(anew());
    }
    let product = number(contents, AVERAGE_PRODUCT, |x| (0.0..=1.0).contains(&x))?;
    let averages = Averages::counted(own.config.clone(), count, product);
    let expected = averages.expected(&core.bound);
    let mut report = compare(contents, "average/", expected);
    // A path alone would be the model's.
    let missing = report.missing.iter();
    report.missing = missing
        .map(|path| format!("average/{path}").into())
        .collect();
    let mut data = part(contents, "average/");
    let restored: BTreeSet<&str> = report.restored.iter().map(|path| &**path).collect();
    data.retain(|path, _| restored.contains(path.as_str()));
    Ok((Some(averages.load(model, &core.bound, data)), report))
}

/// The tensors under a prefix, in the shapes of their parameters and in a precision that belongs to theirs. Not every
/// parameter has to have one.
fn of_some<M: Module>(
    core: &Core,
    model: &M,
    contents: &Contents,
    prefix: &str,
    precision: impl Fn(DType) -> DType,
) -> Result<GradientsParams, CheckpointError> {
    let expected = core.bound.iter().map(|bound| {
        let info = bound.info();
        (info.path.clone(), info.shape.clone(), precision(info.dtype))
    });
    let mut report = compare(contents, prefix, expected);
    report.missing.clear();
    first_error(&report)?;
    Ok(model::to_gradients(model, part(contents, prefix)))
}

/// The precision of state and sums.
fn in_state(dtype: DType) -> DType {
    state_dtype(dtype).into()
}

/// The window in the file.
fn window<M: Module>(
    core: &Core,
    model: &M,
    contents: &Contents,
) -> Result<Window, CheckpointError> {
    let micro_batches = contents.header.micro_batches;
    let count = part(contents, "window/").len();
    let of = core
        .settings
        .accumulation
        .map_or(1, Accumulation::micro_batches);
    if micro_batches >= of || (micro_batches == 0 && count > 0) {
        return Err(CheckpointError::Damaged {
            what: format!("it has {micro_batches} of {of} micro-batches, with {count} gradients"),
        });
    }
    if micro_batches == 0 {
        return Ok(Window::default());
    }
    let positive = |x: f64| x > 0.0 && x.is_finite();
    Ok(Window {
        grads: of_some(core, model, contents, "window/", in_state)?,
        micro_batches,
        weight: number(contents, WINDOW_WEIGHT, positive)?,
        loss: (
            number(contents, WINDOW_LOSS, |_| true)?,
            number(contents, WINDOW_LOSS_WEIGHT, |x| x == 0.0 || positive(x))?,
        ),
    })
}

/// What LookSAM kept.
fn looked<M: Module>(
    core: &Core,
    model: &M,
    contents: &Contents,
) -> Result<Looked, CheckpointError> {
    let steps = contents.scalars.get(LOOKED_STEPS).copied();
    let steps = steps.and_then(|steps| u64::try_from(steps).ok());
    Ok(Looked {
        steps: steps.unwrap_or(0),
        across: of_some(core, model, contents, LOOKED, |dtype| dtype)?,
    })
}

/// What Mechanic kept.
fn tuned<M: Module>(core: &Core, model: &M, contents: &Contents) -> Result<Tuned, CheckpointError> {
    let mut scales = [Scale::default(); SCALES];
    let begun = contents.scalars.contains_key(&scale_of(0, "s"));
    for (at, scale) in scales.iter_mut().enumerate().filter(|_| begun) {
        for (name, value) in scale.numbers() {
            *value = number(contents, &scale_of(at, name), f64::is_finite)?;
        }
    }
    Ok(Tuned {
        start: of_some(core, model, contents, MECHANIC, in_state)?,
        scales: begun.then_some(scales),
    })
}

/// What optimizers keep of the whole model, as it is in the file; as it was before the first update where there is
/// nothing of it, and that is no mistake.
fn of_model(
    core: &Core,
    contents: &Contents,
    whole: bool,
) -> Result<Vec<ModelState>, CheckpointError> {
    let states = core.of_model.iter().enumerate().map(|(at, state)| {
        let found = |name: &str| contents.scalars.get(&contents::of_model(at, name)).copied();
        let updates = found(UPDATES).and_then(|updates| u64::try_from(updates).ok());
        let number = |name: &str| found(name).and_then(|number| f64::try_from(number).ok());
        match updates.and_then(|updates| state.restored(updates, number)) {
            Some(restored) => Ok(restored),
            None if !whole => Ok(ModelState::new(state.optimizer()).unwrap_or(state.clone())),
            None => Err(CheckpointError::Damaged {
                what: format!(
                    "it has not all of what an optimizer keeps of the whole model: {}",
                    state
                        .numbers()
                        .iter()
                        .map(|(name, _)| *name)
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            }),
        }
    });
    states.collect()
}

/// The factor on the loss, where there is one; without one in the file it begins anew, unless the `whole` is taken up.
fn scaler(
    core: &Core,
    contents: &Contents,
    whole: bool,
) -> Result<Option<Scaler>, CheckpointError> {
    let Some(own) = core.scaler else {
        return Ok(None);
    };
    let is_converted = contents.header.settings.is_none();
    if !contents.scalars.contains_key(LOSS_SCALE) && (is_converted || !whole) {
        return Ok(Some(own));
    }
    let scale = number(contents, LOSS_SCALE, |x| x.is_finite() && x > 0.0)?;
    let updates = number(contents, LOSS_SCALE_UPDATES, |x| x >= 0.0)?;
    Ok(Some(own.at(scale, updates as u64)))
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
        let (averages, averages_taken) = averages(core, model, contents)?;
        let (mut window, mut looked) = (Window::default(), Looked::default());
        let mut tuned = Tuned::default();
        if whole {
            first_error(&averages_taken)?;
            window = self::window(core, model, contents)?;
            looked = self::looked(core, model, contents)?;
            tuned = self::tuned(core, model, contents)?;
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
            of_model: of_model(core, contents, whole)?,
            looked,
            tuned,
            scaler: scaler(core, contents, whole)?,
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
        Some(local) if whole => Some(outer(core, local, model, contents)?),
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

/// The outer optimizer of local updates, and how often the ranks have met.
fn outer<M: Module>(
    core: &Core,
    local: &Local,
    model: &M,
    contents: &Contents,
) -> Result<(ModuleOptimizer, u64), CheckpointError> {
    let paths: BTreeSet<&str> = core.bound.iter().map(|bound| &*bound.info().path).collect();
    let states = states(contents, OUTER, &paths);
    let outer = stated(core, &local.outer, model, &states, true)?;
    let meetings = number(contents, MEETINGS, |x| x >= 0.0)?;
    Ok((outer, meetings as u64))
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
        &states(contents, OPTIMIZER, &paths),
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
    let states = states(contents, OPTIMIZER, &paths);
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
