//! What a driver writes into a checkpoint, and how it goes on from one.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ParamId};
use burn::tensor::{DType, TensorData};
use burn_pack::{Reader, Scalar};
use downhill_optim::drive::state_dtype;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::format::{Contents, FORMAT, Header, OptimizerEntry, ParameterEntry};
use super::optimizer::States;
use super::{CheckpointError, RatesAhead, model};
use crate::average::{Averages, Averaging};
use crate::batch::Accumulation;
use crate::error::Rejected;
use crate::gradients::Window;
use crate::groups::GroupSettings;
use crate::probe::Refusal;
use crate::report::listed;
use crate::update::{Bound, Core, Counters};
use crate::{Driver, ParamPath, Rate, params, probe};

/// A tensor that is not as it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mismatch {
    /// Its name in the file.
    pub name: String,
    /// The shape that the model has.
    pub expected: Vec<usize>,
    /// The model's precision.
    pub expected_dtype: DType,
    /// The shape in the file.
    pub found: Vec<usize>,
    /// The file's precision.
    pub found_dtype: DType,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` has the shape {:?} in {:?}, and here it is {:?} in {:?}",
            self.name, self.found, self.found_dtype, self.expected, self.expected_dtype
        )
    }
}

/// What was taken from a checkpoint, and what not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LoadReport {
    /// Paths of the model's tensors that were taken.
    pub restored: Vec<ParamPath>,
    /// Paths whose optimizer state was taken.
    pub states: Vec<ParamPath>,
    /// Paths of the model that the file has nothing for.
    pub missing: Vec<ParamPath>,
    /// Names of tensors in the file that nothing was taken for.
    pub unexpected: Vec<String>,
    /// Tensors of another shape or precision.
    pub mismatched: Vec<Mismatch>,
    /// Settings that the file was made with and the driver does not have, in words.
    pub differences: Vec<String>,
}

impl LoadReport {
    /// Whether everything was taken.
    pub fn is_complete(&self) -> bool {
        let partial = Self {
            restored: self.restored.clone(),
            states: self.states.clone(),
            ..Self::default()
        };
        *self == partial
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (restored, states) = (self.restored.len(), self.states.len());
        write!(
            f,
            "{restored} tensors and {states} optimizer states restored"
        )?;
        if !self.missing.is_empty() {
            write!(f, "; missing: {}", listed(self.missing.iter()))?;
        }
        if !self.unexpected.is_empty() {
            write!(f, "; not used: {}", listed(self.unexpected.iter()))?;
        }
        for mismatch in &self.mismatched {
            write!(f, "; {mismatch}")?;
        }
        for difference in &self.differences {
            write!(f, "; {difference}")?;
        }
        Ok(())
    }
}

const WINDOW_WEIGHT: &str = "window.weight";
const WINDOW_LOSS: &str = "window.loss";
const WINDOW_LOSS_WEIGHT: &str = "window.loss_weight";
const AVERAGE_PRODUCT: &str = "average.product";
const GROUPS: &str = "groups";
const SCHEDULER: &str = "scheduler.";
const CONSECUTIVE: &str = "consecutive";
const CONSECUTIVE_WINDOWS: &str = "consecutive_windows";

/// The tensors whose names begin with `prefix`, without it.
pub(super) fn part(contents: &Contents, prefix: &str) -> BTreeMap<String, TensorData> {
    let tensors = contents.tensors.iter();
    tensors
        .filter_map(|(name, data)| Some((name.strip_prefix(prefix)?.to_string(), data.clone())))
        .collect()
}

/// The settings as they are compared; those of the groups under their names.
fn settings(core: &Core) -> Value {
    let groups = core.groups.iter().map(|group| (&*group.name, group));
    let groups: BTreeMap<&str, &GroupSettings> = groups.collect();
    json!({
        GROUPS: groups,
        "clipping": core.settings.clipping,
        "non_finite": core.settings.non_finite,
        "accumulation": core.settings.accumulation,
        "weight_decay": core.settings.weight_decay,
        "momentum": core.settings.momentum,
        "averaging": core.averages.as_ref().map(|averages| &averages.config),
    })
}

fn learning_rate(rate: &Rate) -> Option<Value> {
    match rate {
        Rate::Setting(setting) => serde_json::to_value(setting).ok(),
        Rate::Scheduler(_) => None,
    }
}

fn optimizers(bound: &[Bound]) -> Vec<OptimizerEntry> {
    let mut entries: Vec<OptimizerEntry> = Vec::new();
    for identity in bound.iter().filter_map(|bound| bound.identity.as_ref()) {
        let entry = OptimizerEntry {
            name: identity.name.clone(),
            settings: identity.settings.clone(),
        };
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    entries
}

fn parameters<M: Module>(model: &M, bound: &[Bound]) -> Vec<ParameterEntry> {
    let optimizers = optimizers(bound);
    let of_path: HashMap<&str, &Bound> = (bound.iter())
        .map(|bound| (&*bound.info().path, bound))
        .collect();
    let tensors = params::tensors(model).into_iter();
    tensors
        .map(|tensor| {
            let bound = of_path.get(&*tensor.path);
            let identity = bound.and_then(|bound| bound.identity.as_ref());
            let place = identity.and_then(|identity| {
                optimizers.iter().position(|entry| {
                    entry.name == identity.name && entry.settings == identity.settings
                })
            });
            let groups = bound.map(|bound| bound.groups.iter().map(ToString::to_string));
            ParameterEntry {
                path: tensor.path,
                shape: tensor.shape,
                dtype: tensor.dtype,
                memory_order: tensor.memory_order,
                optimizer: place,
                groups: groups.map(Iterator::collect).unwrap_or_default(),
            }
        })
        .collect()
}

/// Whether the model is the one that the driver is bound to.
fn check_bound<M: Module>(core: &Core, model: &M) -> Result<(), CheckpointError> {
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

/// The tensors under a prefix.
fn put(
    tensors: &mut BTreeMap<String, TensorData>,
    prefix: &str,
    data: impl IntoIterator<Item = (String, TensorData)>,
) {
    let named = data.into_iter();
    tensors.extend(named.map(|(name, data)| (format!("{prefix}{name}"), data)));
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
    if let Some(averages) = &core.averages {
        let data = averages.data(model, &core.bound);
        put(&mut tensors, "average/", data);
        scalar(AVERAGE_PRODUCT, averages.product.into());
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
        settings: Some(settings(core)),
        optimizers: optimizers(&core.bound),
        parameters: parameters(model, &core.bound),
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

pub(super) fn contents<M: Module>(driver: &Driver, model: &M) -> Result<Contents, CheckpointError> {
    let core = &driver.core;
    check_bound(core, model)?;
    let mut contents = core_contents(core, model);
    contents.header.learning_rate = learning_rate(&driver.rate);
    put(&mut contents.tensors, "model/", model::data(model));
    let states =
        States::of(&driver.optim, &core.bound).map_err(|error| CheckpointError::State {
            path: "the whole model".to_string(),
            reason: error.to_string(),
        })?;
    let keyed = |(path, name): &(String, String)| format!("{}/{name}", escaped(path));
    let data = states.tensors.iter();
    let data = data.map(|(key, data)| (keyed(key), data.clone()));
    put(&mut contents.tensors, "optimizer/", data);
    let scalars = states.scalars.iter();
    let scalars = scalars.map(|(key, scalar)| (format!("optimizer/{}", keyed(key)), *scalar));
    contents.scalars.extend(scalars);
    if let Rate::Scheduler(scheduler) = &driver.rate {
        let mut ahead = scheduler.clone();
        contents.header.rates_ahead = RatesAhead::of(&core.bound, || ahead.step());
        let scalars = record_scalars(scheduler)?.into_iter();
        let scalars = scalars.map(|(name, value)| (format!("{SCHEDULER}{name}"), value));
        contents.scalars.extend(scalars);
    }
    Ok(contents)
}

/// The scalars of a scheduler's record, which Burn does not list.
fn record_scalars(
    scheduler: &ModuleLrScheduler,
) -> Result<BTreeMap<String, Scalar>, CheckpointError> {
    let failed = |reason: String| CheckpointError::Scheduler { reason };
    let bytes = scheduler.to_record().into_bytes();
    let bytes = bytes.map_err(|error| failed(error.to_string()))?;
    let reader = Reader::from_bytes(bytes).map_err(|error| failed(error.to_string()))?;
    Ok(reader.scalars().clone())
}

/// The scheduler, gone on from the scalars in the file.
fn load_scheduler(
    scheduler: &ModuleLrScheduler,
    bound: &[Bound],
    contents: &Contents,
) -> Result<ModuleLrScheduler, CheckpointError> {
    let failed = |reason: String| CheckpointError::Scheduler { reason };
    let saved: BTreeMap<String, Scalar> = (contents.scalars.iter())
        .filter_map(|(name, value)| Some((name.strip_prefix(SCHEDULER)?.to_string(), *value)))
        .collect();
    let add = |record: LrSchedulerRecord, (name, value): (&String, &Scalar)| {
        record.with_scalar(name, *value)
    };
    let record = saved.iter().fold(LrSchedulerRecord::new(), add);
    let own = record_scalars(scheduler)?;
    if !own.keys().eq(saved.keys()) {
        let names = |scalars: &BTreeMap<String, Scalar>| listed(scalars.keys());
        return Err(failed(format!(
            "its record has {}, and in the file there is {}",
            names(&own),
            names(&saved)
        )));
    }
    // This library's own refuse with a panic, as Burn has no other way.
    let load = AssertUnwindSafe(|| scheduler.clone().load_record(record));
    let loaded = catch_unwind(load).map_err(|panic| {
        let text = panic.downcast::<String>().map(|text| *text);
        failed(text.unwrap_or_else(|_| "it panics".to_string()))
    })?;
    if record_scalars(&loaded)? != saved {
        return Err(failed("it did not take up what was saved".to_string()));
    }
    let mut ahead = loaded.clone();
    let saved = contents.header.rates_ahead.as_ref();
    match saved.and_then(|saved| saved.difference(bound, || ahead.step())) {
        Some(difference) => Err(failed(difference)),
        None => Ok(loaded),
    }
}

/// Compares the tensors under a prefix with those that should be there.
fn compare(
    contents: &Contents,
    prefix: &str,
    expected: impl IntoIterator<Item = (ParamPath, Vec<usize>, DType)>,
) -> LoadReport {
    let mut report = LoadReport::default();
    let tensors = contents.tensors.keys();
    let mut left: BTreeSet<&str> = tensors
        .filter_map(|name| name.strip_prefix(prefix))
        .collect();
    for (path, shape, dtype) in expected {
        left.remove(&*path);
        let name = format!("{prefix}{path}");
        match contents.tensors.get(&name) {
            None => report.missing.push(path),
            Some(data) if *data.shape().as_slice() != shape || data.dtype() != dtype => {
                report.mismatched.push(Mismatch {
                    name,
                    expected: shape,
                    expected_dtype: dtype,
                    found: data.shape().as_slice().to_vec(),
                    found_dtype: data.dtype(),
                });
            }
            Some(_) => report.restored.push(path),
        }
    }
    let unexpected = left.into_iter().map(|path| format!("{prefix}{path}"));
    report.unexpected.extend(unexpected);
    report
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

fn first_error(report: &LoadReport) -> Result<(), CheckpointError> {
    if let Some(mismatch) = report.mismatched.first() {
        return Err(CheckpointError::Mismatch(Box::new(mismatch.clone())));
    }
    if !report.missing.is_empty() {
        let paths = report.missing.clone();
        return Err(CheckpointError::Missing { paths });
    }
    if !report.unexpected.is_empty() {
        let names = report.unexpected.clone();
        return Err(CheckpointError::Unexpected { names });
    }
    Ok(())
}

/// A setting that differs.
struct Difference {
    what: String,
    expected: String,
    found: String,
}

fn differences<M: Module>(
    core: &Core,
    own_rate: &Option<Value>,
    model: &M,
    header: &Header,
) -> Vec<Difference> {
    let mut list = Vec::new();
    let mut differ = |what: &str, expected: String, found: String| {
        if expected != found {
            let what = what.to_string();
            list.push(Difference {
                what,
                expected,
                found,
            });
        }
    };
    let unknown = || "not known".to_string();
    let text = |value: &Option<Value>| value.as_ref().map_or_else(unknown, Value::to_string);
    // A record that was converted has none of these.
    if let Some(found) = &header.settings {
        differ("learning rate", text(own_rate), text(&header.learning_rate));
        if let (Value::Object(expected), Value::Object(found)) = (settings(core), found) {
            for (name, value) in expected.iter().filter(|(name, _)| *name != GROUPS) {
                let found = found.get(name).unwrap_or(&Value::Null);
                differ(name, value.to_string(), found.to_string());
            }
            // Files of before they were saved have none. Who is in which group is compared below.
            if let Some(Value::Object(found)) = found.get(GROUPS) {
                for (group, settings) in expected[GROUPS].as_object().into_iter().flatten() {
                    let Some(found) = found.get(group) else {
                        continue;
                    };
                    for (name, value) in settings.as_object().into_iter().flatten() {
                        let found = found.get(name).unwrap_or(&Value::Null);
                        let what = format!("{name} of the group `{group}`");
                        differ(&what, value.to_string(), found.to_string());
                    }
                }
            }
        }
    }
    let own = parameters(model, &core.bound);
    let own_optimizers = optimizers(&core.bound);
    let saved: HashMap<&str, &ParameterEntry> = (header.parameters.iter())
        .map(|entry| (&*entry.path, entry))
        .collect();
    let named = |entries: &[OptimizerEntry], place: Option<usize>| {
        let entry = place.and_then(|place| entries.get(place));
        entry.map_or_else(unknown, |entry| {
            format!("{} {}", entry.name, entry.settings)
        })
    };
    for entry in &own {
        let Some(found) = saved.get(&*entry.path) else {
            continue;
        };
        // What has no name is compared by its state alone; a record does not say which parameters without
        // a state have an optimizer.
        let named_here = header.settings.is_some() || found.optimizer.is_some();
        if named_here && !header.optimizers.is_empty() {
            differ(
                &format!("optimizer of `{}`", entry.path),
                named(&own_optimizers, entry.optimizer),
                named(&header.optimizers, found.optimizer),
            );
        }
        if header.settings.is_some() {
            let groups = |groups: &[String]| match groups {
                [] => "none".to_string(),
                groups => groups.join(", "),
            };
            differ(
                &format!("group of `{}`", entry.path),
                groups(&entry.groups),
                groups(&found.groups),
            );
        }
    }
    list
}

/// A path as it stands before the name of a state, from which it is told apart by the first slash: a name in
/// a user's own module may have one too.
fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('/', "%2F")
}

fn unescaped(path: &str) -> String {
    path.replace("%2F", "/").replace("%25", "%")
}

/// The states in the file, of the parameters in `paths`.
fn states(contents: &Contents, paths: &BTreeSet<&str>) -> States {
    let key = |name: &str| {
        let (path, field) = name.strip_prefix("optimizer/")?.split_once('/')?;
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

/// The window in the file.
fn window<M: Module>(
    core: &Core,
    model: &M,
    contents: &Contents,
) -> Result<Window, CheckpointError> {
    let micro_batches = contents.header.micro_batches;
    let data = part(contents, "window/");
    let of = core
        .settings
        .accumulation
        .map_or(1, Accumulation::micro_batches);
    if micro_batches >= of || (micro_batches == 0 && !data.is_empty()) {
        let count = data.len();
        return Err(CheckpointError::Damaged {
            what: format!("it has {micro_batches} of {of} micro-batches, with {count} gradients"),
        });
    }
    if micro_batches == 0 {
        return Ok(Window::default());
    }
    let expected = core.bound.iter().map(|bound| {
        let info = bound.info();
        let dtype = state_dtype(info.dtype).into();
        (info.path.clone(), info.shape.clone(), dtype)
    });
    let mut report = compare(contents, "window/", expected);
    // Not every parameter has had a gradient.
    report.missing.clear();
    first_error(&report)?;
    let positive = |x: f64| x > 0.0 && x.is_finite();
    Ok(Window {
        grads: model::to_gradients(model, data),
        micro_batches,
        weight: number(contents, WINDOW_WEIGHT, positive)?,
        loss: (
            number(contents, WINDOW_LOSS, |_| true)?,
            number(contents, WINDOW_LOSS_WEIGHT, |x| x == 0.0 || positive(x))?,
        ),
    })
}

/// What a driver becomes; nothing of it has been changed yet.
struct Next {
    optim: burn::optim::ModuleOptimizer,
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
}

impl NextCore {
    fn of<M: Module>(
        core: &Core,
        model: &M,
        contents: &Contents,
        whole: bool,
    ) -> Result<Self, CheckpointError> {
        let (averages, averages_taken) = averages(core, model, contents)?;
        let mut window = Window::default();
        if whole {
            first_error(&averages_taken)?;
            window = self::window(core, model, contents)?;
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
        })
    }

    fn commit(self, core: &mut Core) {
        core.counters = self.counters;
        core.averages = self.averages;
        core.window = self.window;
        core.notes = self.notes;
    }
}

/// Whether the states are in the precision in which this library keeps them. Those of converted records may be
/// in another one.
fn check_precisions(
    core: &Core,
    contents: &Contents,
    states: &States,
) -> Result<(), CheckpointError> {
    if contents.header.settings.is_none() {
        return Ok(());
    }
    let own = core.bound.iter().filter(|bound| bound.drives.is_some());
    let dtypes: HashMap<&str, DType> = own
        .map(|bound| {
            let info = bound.info();
            (&*info.path, state_dtype(info.dtype).into())
        })
        .collect();
    for ((path, name), data) in &states.tensors {
        let Some(expected) = dtypes.get(path.as_str()) else {
            continue;
        };
        if name.starts_with("state.") && data.dtype() != *expected {
            let found = data.dtype();
            return Err(CheckpointError::State {
                path: path.clone(),
                reason: format!("`{name}` is in {found:?}, and must be in {expected:?}"),
            });
        }
    }
    Ok(())
}

fn next<M: Module>(
    driver: &Driver,
    model: &M,
    contents: &Contents,
    states: &States,
    whole: bool,
) -> Result<Next, CheckpointError> {
    let core = &driver.core;
    let ids: HashMap<&str, ParamId> = (core.bound.iter())
        .map(|bound| (&*bound.info().path, bound.id()))
        .collect();
    let refused = |path: &str, reason: String| CheckpointError::State {
        path: path.to_string(),
        reason,
    };
    // Burn's own loader panics on some records that it should refuse.
    let load = AssertUnwindSafe(|| states.load(&driver.optim, |path| ids.get(path).copied()));
    let optim = match catch_unwind(load) {
        Ok(Ok(optim)) => optim,
        Ok(Err(error)) => return Err(refused("the whole model", error.to_string())),
        Err(_) => return Err(refused("the whole model", "Burn panics on it".to_string())),
    };
    check_precisions(core, contents, states)?;
    let taken = States::of(&optim, &core.bound)
        .map_err(|error| refused("the whole model", error.to_string()))?;
    if let Some((path, name)) = states.difference(&taken) {
        let reason = format!(
            "`{name}` is lost or changed by it; it is another optimizer's, or in a precision that Burn \
             does not keep"
        );
        return Err(refused(&path, reason));
    }
    let unfit = |refusal: Refusal| refused(&refusal.path, refusal.reason);
    let probed = probe::all(model, &optim).map_err(unfit)?;
    let probed = || probed.iter().zip(&core.bound);
    let mismatch = probed().find_map(|(probed, bound)| {
        let mismatch = probed.as_ref()?.mismatch.as_ref()?;
        Some((bound.info().path.clone(), mismatch.to_string()))
    });
    if let Some((path, reason)) = mismatch {
        return Err(refused(&path, reason));
    }
    let stated: BTreeSet<&str> = states.paths().collect();
    let others = probed().filter(|(probed, bound)| probed.is_none() && bound.info().trainable);
    let others: BTreeSet<&str> = others
        .map(|(_, bound)| &*bound.info().path)
        .filter(|path| stated.contains(path))
        .collect();
    probe::step_copies(model, &optim, &others).map_err(unfit)?;
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
        scheduler,
        begins_anew,
        core: NextCore::of(core, model, contents, whole)?,
    })
}

fn commit(driver: &mut Driver, next: Next) {
    driver.optim = next.optim;
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
    match prepare(driver, &model, contents) {
        Ok(next) => {
            let model = model::load(model, model_parts(contents));
            commit(driver, next);
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
    next(driver, model, contents, &states(contents, &paths), true)
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

/// Whether the file was made with the same settings, and has nothing for other parameters.
fn check_settings<M: Module>(
    core: &Core,
    own_rate: &Option<Value>,
    model: &M,
    contents: &Contents,
) -> Result<(), CheckpointError> {
    let differences = differences(core, own_rate, model, &contents.header);
    if let Some(difference) = differences.into_iter().next() {
        return Err(CheckpointError::OtherSetting {
            what: difference.what,
            expected: difference.expected,
            found: difference.found,
        });
    }
    let paths: BTreeSet<&str> = core.bound.iter().map(|bound| &*bound.info().path).collect();
    // Averages and gradients of what the model has, and nothing else.
    let tensors = contents.tensors.keys().chain(contents.scalars.keys());
    let unexpected: Vec<String> = tensors
        .filter(|name| {
            let Some((kind, rest)) = name.split_once('/') else {
                return false;
            };
            match kind {
                "optimizer" => {
                    let path = rest.split_once('/').map_or(rest, |(path, _)| path);
                    !paths.contains(unescaped(path).as_str())
                }
                "average" | "window" => !paths.contains(rest),
                _ => false,
            }
        })
        .cloned()
        .collect();
    match unexpected.is_empty() {
        true => Ok(()),
        false => Err(CheckpointError::Unexpected { names: unexpected }),
    }
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
    let states = states(contents, &paths);
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
            "optimizer" => {
                let path = rest.split_once('/').map_or(rest, |(path, _)| path);
                !paths.contains(unescaped(path).as_str())
            }
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
    commit(driver, next);
    Ok((model, report))
}
