//! What a driver writes into a checkpoint.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn_pack::Scalar;

use super::format::{Contents, FORMAT, Header};
use super::optimizer::States;
use super::scheduler::{self, RatesAhead, record_scalars};
use super::{CheckpointError, model, resume, settings};
use crate::update::{Core, Counters};
use crate::{Driver, Rate};

pub(super) const WINDOW_WEIGHT: &str = "window.weight";

pub(super) const WINDOW_LOSS: &str = "window.loss";

pub(super) const WINDOW_LOSS_WEIGHT: &str = "window.loss_weight";

pub(super) const AVERAGE_PRODUCT: &str = "average.product";

pub(super) const CONSECUTIVE: &str = "consecutive";

pub(super) const CONSECUTIVE_WINDOWS: &str = "consecutive_windows";

pub(super) const MECHANIC: &str = "mechanic/";

/// The name of a number of Mechanic's factors.
pub(super) fn scale_of(at: usize, name: &str) -> String {
    format!("mechanic.{at}.{name}")
}

pub(super) const LOOKED: &str = "looked/";

pub(super) const LOOKED_STEPS: &str = "looked.steps";

pub(super) const LOSS_SCALE: &str = "loss_scale";

pub(super) const LOSS_SCALE_UPDATES: &str = "loss_scale.updates";

pub(super) const OPTIMIZER: &str = "optimizer/";

pub(super) const OUTER: &str = "outer/";

pub(super) const MEETINGS: &str = "meetings";

pub(super) const UPDATES: &str = "updates";

/// The name of what the optimizer at this place keeps of the model.
pub(super) fn of_model(at: usize, name: &str) -> String {
    format!("of_model/{at}/{name}")
}

/// Puts tensors or scalars under a prefix.
pub(super) fn put<T>(
    all: &mut BTreeMap<String, T>,
    prefix: &str,
    part: impl IntoIterator<Item = (String, T)>,
) {
    let named = part.into_iter();
    all.extend(named.map(|(name, value)| (format!("{prefix}{name}"), value)));
}

/// The tensors or scalars under a prefix, without it.
pub(super) fn part<T: Clone>(all: &BTreeMap<String, T>, prefix: &str) -> BTreeMap<String, T> {
    let named = all.iter();
    named
        .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_string(), value.clone())))
        .collect()
}

/// What a driver has beside the model, the optimizer's state and the place in the schedule.
pub(super) fn core_contents<M: Module>(core: &Core, model: &M) -> Contents {
    let Counters {
        updates,
        skipped,
        consecutive,
        windows,
    } = core.counters;
    let mut tensors = BTreeMap::new();
    let mut scalars = BTreeMap::new();
    let mut scalar = |name: &str, value: Scalar| {
        scalars.insert(name.to_string(), value);
    };
    scalar(CONSECUTIVE, u64::from(consecutive).into());
    if windows > 0 {
        scalar(CONSECUTIVE_WINDOWS, u64::from(windows).into());
    }
    if let Some(scaler) = &core.scaler {
        scalar(LOSS_SCALE, scaler.scale.into());
        scalar(LOSS_SCALE_UPDATES, scaler.updates.into());
    }
    if let Some(averages) = &core.averages {
        let data = averages.data(model, &core.bound);
        put(&mut tensors, "average/", data);
        scalar(AVERAGE_PRODUCT, averages.product.into());
    }
    for (at, state) in core.of_model.iter().enumerate() {
        scalar(&of_model(at, UPDATES), state.updates().into());
        for (name, number) in state.numbers() {
            scalar(&of_model(at, name), number.into());
        }
    }
    if core.looked.steps > 0 {
        scalar(LOOKED_STEPS, core.looked.steps.into());
        put(
            &mut tensors,
            LOOKED,
            model::gradients(model, &core.looked.across),
        );
    }
    if let Some(scales) = &core.tuned.scales {
        put(
            &mut tensors,
            MECHANIC,
            model::gradients(model, &core.tuned.start),
        );
        for (at, mut scale) in scales.iter().copied().enumerate() {
            for (name, number) in scale.numbers() {
                scalar(&scale_of(at, name), (*number).into());
            }
        }
    }
    let window = &core.window;
    if window.micro_batches > 0 {
        put(
            &mut tensors,
            "window/",
            model::gradients(model, &window.grads),
        );
        scalar(WINDOW_WEIGHT, window.weight.into());
        scalar(WINDOW_LOSS, window.loss.0.into());
        scalar(WINDOW_LOSS_WEIGHT, window.loss.1.into());
    }
    let header = Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_string(),
        updates,
        skipped,
        learning_rate: None,
        rates_ahead: None,
        settings: Some(settings::settings(core)),
        optimizers: settings::optimizers(&core.bound),
        parameters: settings::parameters(model, core),
        averaged: core.averages.as_ref().map(|averages| averages.count),
        micro_batches: window.micro_batches,
        metric: None,
        save: None,
        notes: core.notes.clone(),
        checksums: BTreeMap::new(),
    };
    Contents {
        header,
        tensors,
        scalars,
    }
}

/// What this rank has.
pub(super) fn contents<M: Module>(driver: &Driver, model: &M) -> Result<Contents, CheckpointError> {
    let core = &driver.core;
    resume::check_bound(core, model)?;
    let mut contents = core_contents(core, model);
    contents.header.learning_rate = settings::learning_rate(&driver.rate);
    put(&mut contents.tensors, "model/", model::data(model));
    put_states(&mut contents, OPTIMIZER, &driver.optim, core)?;
    if let Some(local) = &core.local {
        if local.done > 0 {
            return Err(CheckpointError::Apart {
                done: local.done,
                every: local.config.every(),
            });
        }
        put_states(&mut contents, OUTER, &local.outer, core)?;
        let meetings = local.meetings.into();
        contents.scalars.insert(MEETINGS.to_string(), meetings);
    }
    if let Rate::Scheduler(scheduler) = &driver.rate {
        let mut ahead = scheduler.clone();
        contents.header.rates_ahead = RatesAhead::of(&core.bound, || ahead.step());
        let scalars = record_scalars(scheduler)?;
        put(&mut contents.scalars, scheduler::SCHEDULER, scalars);
    }
    Ok(contents)
}

fn put_states(
    contents: &mut Contents,
    prefix: &str,
    optim: &ModuleOptimizer,
    core: &Core,
) -> Result<(), CheckpointError> {
    let states = States::read(optim, &core.bound)?;
    let keyed = |(path, name): &(String, String)| format!("{}/{name}", escaped(path));
    let data = states.tensors.iter();
    let data = data.map(|(key, data)| (keyed(key), data.clone()));
    put(&mut contents.tensors, prefix, data);
    let scalars = states.scalars.iter();
    let scalars = scalars.map(|(key, scalar)| (keyed(key), *scalar));
    put(&mut contents.scalars, prefix, scalars);
    Ok(())
}

/// A path as it stands before the name of a state, from which it is told apart by the first slash: a name in
/// a user's own module may have one too.
pub(super) fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('/', "%2F")
}

/// The path in `PATH/NAME`, as a state is called; all of it where there is no name.
pub(super) fn path_of_state(rest: &str) -> String {
    unescaped(rest.split_once('/').map_or(rest, |(path, _)| path))
}

pub(super) fn unescaped(path: &str) -> String {
    path.replace("%2F", "/").replace("%25", "%")
}
