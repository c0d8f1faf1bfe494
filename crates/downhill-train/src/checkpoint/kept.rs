//! What a file has of a driver's own, as the driver keeps it: states, averages, a window, and the like.

use std::collections::BTreeSet;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::DType;
use downhill_optim::drive::{ModelState, state_dtype};
use serde::Deserialize;

use super::contents::{
    self, AVERAGE_PRODUCT, LOOKED, LOOKED_STEPS, LOSS_SCALE, LOSS_SCALE_UPDATES, MECHANIC,
    MEETINGS, OUTER, UPDATES, WINDOW_LOSS, WINDOW_LOSS_WEIGHT, WINDOW_WEIGHT, part, scale_of,
    unescaped,
};
use super::format::Contents;
use super::optimizer::{States, stated};
use super::report::{LoadReport, compare, first_error};
use super::{CheckpointError, model};
use crate::average::{Averages, Averaging};
use crate::batch::Accumulation;
use crate::gradients::Window;
use crate::mechanic::{SCALES, Scale, Tuned};
use crate::ranks::Local;
use crate::sam::Looked;
use crate::scaling::Scaler;
use crate::update::Core;

/// The states in the file under a prefix, of the parameters in `paths`.
pub(super) fn states(contents: &Contents, prefix: &str, paths: &BTreeSet<&str>) -> States {
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
pub(super) fn averages<M: Module>(
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
    let mut data = part(&contents.tensors, "average/");
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
    Ok(model::to_gradients(model, part(&contents.tensors, prefix)))
}

/// The precision of state and sums.
fn in_state(dtype: DType) -> DType {
    state_dtype(dtype).into()
}

/// The window in the file.
pub(super) fn window<M: Module>(
    core: &Core,
    model: &M,
    contents: &Contents,
) -> Result<Window, CheckpointError> {
    let micro_batches = contents.header.micro_batches;
    let count = part(&contents.tensors, "window/").len();
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
pub(super) fn looked<M: Module>(
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
pub(super) fn tuned<M: Module>(
    core: &Core,
    model: &M,
    contents: &Contents,
) -> Result<Tuned, CheckpointError> {
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
pub(super) fn of_model(
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
pub(super) fn scaler(
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

/// The outer optimizer of local updates, and how often the ranks have met.
pub(super) fn outer<M: Module>(
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
