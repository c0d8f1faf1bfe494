//! Checkpoints from the records that Burn saves by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn::module::Module;
use burn::tensor::{Bytes, TensorData};
use burn_pack::Reader;
use downhill_optim::drive::state_dtype;
use downhill_optim::{Identity, OptimizerConfig};

use super::format::{Contents, FORMAT, Header, KEY, OptimizerEntry, ParameterEntry};
use super::optimizer::{States, ids, stated};
use super::translation::{self, LAYOUT};
use super::{CheckpointError, check_bound};
use crate::Driver;
use crate::bound::Bound;
use crate::report::listed;

pub(super) fn contents(
    model: Vec<u8>,
    optimizer: Vec<u8>,
    identity: Option<Identity>,
    updates: Option<u64>,
) -> Result<Contents, CheckpointError> {
    let model = Model::read(model)?;
    let reader = read(optimizer, "the optimizer's record")?;
    let in_model = |path: &str| model.tensors.contains_key(path);
    let paths = paths(&reader, &model.paths, in_model)?;
    let states = States::from_record(reader, |id| paths.get(&id).cloned());
    let mut states = states.map_err(|error| refused(error.to_string()))?;
    let updates = counted(&states, updates)?;
    if let Some(identity) = &identity {
        translate(&mut states, &identity.name, updates)?;
    }
    let with_state: BTreeSet<&str> = states.paths().collect();
    let known = identity.is_some();
    let parameters = (model.tensors.iter())
        .map(|(path, data)| ParameterEntry {
            path: path.as_str().into(),
            shape: data.shape().as_slice().to_vec(),
            dtype: data.dtype(),
            memory_order: None,
            optimizer: (known && with_state.contains(path.as_str())).then_some(0),
            groups: Vec::new(),
            frozen: None,
        })
        .collect();
    let header = Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_string(),
        updates,
        skipped: 0,
        learning_rate: None,
        rates_ahead: None,
        settings: None,
        optimizers: (identity.into_iter())
            .map(|Identity { name, settings }| OptimizerEntry { name, settings })
            .collect(),
        parameters,
        averaged: None,
        micro_batches: 0,
        metric: None,
        save: None,
        notes: BTreeMap::new(),
        checksums: BTreeMap::new(),
    };
    let of_model = model.tensors.into_iter();
    let mut tensors: BTreeMap<String, TensorData> = of_model
        .map(|(path, data)| (format!("model/{path}"), data))
        .collect();
    let name = |(path, field): (String, String)| format!("optimizer/{path}/{field}");
    let of_states = states.tensors.into_iter();
    tensors.extend(of_states.map(|(key, data)| (name(key), data)));
    let scalars = states.scalars.into_iter();
    Ok(Contents {
        header,
        tensors,
        scalars: scalars.map(|(key, scalar)| (name(key), scalar)).collect(),
    })
}

fn refused(reason: impl Into<String>) -> CheckpointError {
    CheckpointError::Records {
        reason: reason.into(),
    }
}

fn read(bytes: Vec<u8>, what: &str) -> Result<Reader, CheckpointError> {
    let reader = Reader::from_bytes(Bytes::from_bytes_vec(bytes));
    let reader =
        reader.map_err(|error| refused(format!("{what} is not a burnpack file: {error}")))?;
    match reader.metadata().contains_key(KEY) {
        true => Err(refused(format!("{what} is a checkpoint already"))),
        false => Ok(reader),
    }
}

/// A model's record.
struct Model {
    tensors: BTreeMap<String, TensorData>,
    paths: HashMap<u64, String>,
}

impl Model {
    fn read(bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        let failed = |error: burn_pack::Error| refused(error.to_string());
        let reader = read(bytes, "the model's record")?;
        let mut model = Self {
            tensors: BTreeMap::new(),
            paths: HashMap::new(),
        };
        for tensor in reader.into_tensors().map_err(failed)? {
            let (path, dtype, shape, id, bytes) = tensor.into_parts().map_err(failed)?;
            // An optimizer's record has the id in the name too.
            if split(&path).is_some_and(|(of, _)| Some(of) == id) {
                return Err(refused(format!(
                    "the model's record has `{path}`, which is an optimizer's state: are the two files \
                     swapped?"
                )));
            }
            model.paths.extend(id.map(|id| (id, path.clone())));
            let data = TensorData::from_bytes(bytes, shape, dtype);
            model.tensors.insert(path, data);
        }
        Ok(model)
    }
}

/// The id and the field in the name of an entry of an optimizer's record.
fn split(name: &str) -> Option<(u64, &str)> {
    let (id, field) = name.split_once('.')?;
    Some((id.parse().ok()?, field))
}

/// The path in the model of every parameter that has a state; `own` are those of the model's ids.
///
/// A record also holds the states of parameters that a model had before it was built anew: they have the path of
/// one that has a state under its own id, and are left behind.
fn paths(
    reader: &Reader,
    own: &HashMap<u64, String>,
    in_model: impl Fn(&str) -> bool,
) -> Result<HashMap<u64, String>, CheckpointError> {
    let mut ids = BTreeSet::new();
    let scalars = reader.scalars().keys().map(String::as_str);
    for name in reader.tensor_names().into_iter().chain(scalars) {
        let Some((id, _)) = split(name) else {
            return Err(refused(format!(
                "the optimizer's record has `{name}`, which is not a parameter's state: are the two files \
                 swapped?"
            )));
        };
        ids.insert(id);
    }
    let mut paths = HashMap::new();
    let mut by_path: BTreeMap<&String, Vec<u64>> = BTreeMap::new();
    let mut lost = BTreeSet::new();
    for id in ids {
        let recorded = reader.metadata().get(&id.to_string());
        let is_there = |path: &&String| in_model(path);
        if let Some(path) = own.get(&id).filter(is_there) {
            paths.insert(id, path.clone());
        } else if let Some(path) = recorded.filter(is_there) {
            by_path.entry(path).or_default().push(id);
        } else {
            let known = recorded.map(|path| format!("`{path}`"));
            lost.insert(known.unwrap_or_else(|| format!("the parameter {id}")));
        }
    }
    if !lost.is_empty() {
        return Err(refused(format!(
            "the optimizer has a state of {}, which the model does not have",
            listed(lost.iter())
        )));
    }
    let taken: BTreeSet<String> = paths.values().cloned().collect();
    by_path.retain(|path, _| !taken.contains(*path));
    for (path, ids) in by_path {
        match ids.as_slice() {
            [id] => paths.insert(*id, path.clone()),
            _ => {
                return Err(refused(format!(
                    "the optimizer has {} states of `{path}`, and none of them under the id that it has in the \
                     model's record: the model was built anew in between, and which of them is the last one \
                     cannot be told",
                    ids.len()
                )));
            }
        };
    }
    Ok(paths)
}

/// The field that counts steps: this library's, or burn-optim's.
fn is_counter(field: &str) -> bool {
    field == "step" || (field.rsplit('.').next() == Some("time") && !field.starts_with("scalars."))
}

fn counted(states: &States, updates: Option<u64>) -> Result<u64, CheckpointError> {
    let counters = states.scalars.iter();
    let largest = counters
        .filter(|((_, field), _)| is_counter(field))
        .filter_map(|(_, scalar)| u64::try_from(*scalar).ok())
        .max();
    match (updates, largest) {
        (Some(updates), Some(largest)) if updates < largest => Err(refused(format!(
            "the optimizer has made {largest} updates, more than the {updates} that were given"
        ))),
        (Some(updates), _) => Ok(updates),
        (None, Some(largest)) => Ok(largest),
        (None, None) => Err(CheckpointError::UnknownUpdates),
    }
}

/// Brings burn-optim's states into the form of this library's optimizer of that name. States that are in
/// it already stay, and so do those of an optimizer that is not of this library.
fn translate(states: &mut States, optimizer: &str, updates: u64) -> Result<(), CheckpointError> {
    let is_known = |name: &str| OptimizerConfig::all().iter().any(|info| info.name == name);
    let foreign = foreign(states);
    if foreign.is_empty() || !is_known(optimizer) {
        return Ok(());
    }
    for path in foreign {
        translation::ours(states, &path, optimizer, updates).map_err(refused)?;
    }
    Ok(())
}

/// The paths whose states are not of this library.
fn foreign(states: &States) -> BTreeSet<String> {
    let own = |path: &str| {
        let layout = (path.to_string(), LAYOUT.to_string());
        states.tensors.contains_key(&layout)
    };
    let foreign = states.paths().filter(|path| !own(path));
    foreign.map(str::to_string).collect()
}

impl Driver {
    /// Goes on from the record of a burn-optim optimizer ([`ModuleOptimizer::save`]), whose states are translated:
    /// of Adam, AdamW, AdaGrad, RMSprop, SGD with momentum, LAMB, Lion, Adan and Adafactor. A record of this library's
    /// is taken as it is. The number of updates becomes that of the record, where it counts them; the model is loaded
    /// by Burn.
    ///
    /// The two go on alike where the settings are the same: [`AdamWConfig::burn`](downhill_optim::AdamWConfig::burn)
    /// and its like have Burn's.
    ///
    /// ```
    /// # #[cfg(feature = "flex")] {
    /// # use burn::nn::{Linear, LinearConfig};
    /// # use burn::optim::GradientsParams;
    /// # use burn::tensor::{Device, Tensor};
    /// use downhill_optim::AdamWConfig;
    /// use downhill_train::Driver;
    ///
    /// # let device = Device::flex().autodiff();
    /// # let model: Linear = LinearConfig::new(2, 1).init(&device);
    /// # let loss = model.forward(Tensor::<2>::ones([1, 2], &device)).sum();
    /// # let grads = GradientsParams::from_grads(loss.backward(), &model);
    /// let mut theirs = burn::optim::AdamWConfig::new().init();
    /// let model = theirs.step(1e-3, model, grads);
    ///
    /// let mut driver = Driver::builder(AdamWConfig::burn().init(), 1e-3).bind(&model)?;
    /// driver.load_burn(&model, theirs.into_bytes()?.to_vec())?; // or the bytes of a file
    /// assert_eq!(driver.updates(), 1);
    ///
    /// let theirs = burn::optim::AdamWConfig::new().init();
    /// let theirs = theirs.from_bytes(burn::tensor::Bytes::from_bytes_vec(driver.burn_record(&model)?))?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the record is none, has parameters that the model has not, or states of another optimizer. Nothing has
    /// changed then.
    ///
    /// [`ModuleOptimizer::save`]: burn::optim::ModuleOptimizer::save
    pub fn load_burn<M: Module>(
        &mut self,
        model: &M,
        record: Vec<u8>,
    ) -> Result<(), CheckpointError> {
        let model = &self.once(model.clone());
        check_bound(&self.core, model)?;
        let reader = read(record, "the record")?;
        let by_path: HashMap<&str, &Bound> = (self.core.bound.iter())
            .map(|bound| (&*bound.info().path, bound))
            .collect();
        let own = by_path.iter();
        let own = own.map(|(path, bound)| (bound.id().val(), path.to_string()));
        let paths = paths(&reader, &own.collect(), |path| by_path.contains_key(path))?;
        let states = States::from_record(reader, |id| paths.get(&id).cloned());
        let mut states = states.map_err(|error| refused(error.to_string()))?;
        let updates = counted(&states, None).ok();
        for path in foreign(&states) {
            let bound = by_path[path.as_str()];
            let Some(identity) = &bound.identity else {
                continue;
            };
            let updates = updates.unwrap_or(self.updates()).max(1);
            translation::ours(&mut states, &path, &identity.name, updates).map_err(refused)?;
            let dtype = state_dtype(bound.info().dtype).into();
            translation::convert(&mut states, &path, dtype);
        }
        self.optim = stated(&self.core, &self.optim, model, &states, true)?;
        self.core.counters.updates = updates.unwrap_or(self.updates());
        Ok(())
    }

    /// The record of burn-optim's optimizer of the same name, for [`ModuleOptimizer::from_bytes`] or a file: the way
    /// back from [`load_burn`](Self::load_burn).
    ///
    /// # Errors
    ///
    /// If Burn has no optimizer with such a state.
    ///
    /// [`ModuleOptimizer::from_bytes`]: burn::optim::ModuleOptimizer::from_bytes
    pub fn burn_record<M: Module>(&self, model: &M) -> Result<Vec<u8>, CheckpointError> {
        check_bound(&self.core, &self.once(model.clone()))?;
        let mut states = States::read(&self.optim, &self.core.bound)?;
        let own = self.core.bound.iter();
        for bound in own.filter(|bound| bound.is_own()) {
            let (info, name) = (
                bound.info(),
                bound.identity.as_ref().map(|own| own.name.as_str()),
            );
            if states.paths().any(|path| path == &*info.path) {
                translation::theirs(&mut states, info, name.unwrap_or_default())
                    .map_err(refused)?;
            }
        }
        let ids = ids(&self.core.bound);
        let record = states.record(|path| ids.get(path).copied());
        let record = record.map_err(|error| refused(error.to_string()))?;
        Ok(record.to_vec())
    }
}
