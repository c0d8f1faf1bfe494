//! Checkpoints from the records that Burn saves by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn::tensor::{Bytes, TensorData};
use burn_pack::{Reader, Scalar};
use downhill_optim::{Identity, OptimizerConfig};
use serde::Serialize;

use super::CheckpointError;
use super::format::{Contents, FORMAT, Header, KEY, OptimizerEntry, ParameterEntry};
use super::optimizer::States;
use crate::report::listed;

pub(super) fn contents(
    model: Vec<u8>,
    optimizer: Vec<u8>,
    identity: Option<Identity>,
    updates: Option<u64>,
) -> Result<Contents, CheckpointError> {
    let model = Model::read(model)?;
    let reader = read(optimizer, "the optimizer's record")?;
    let paths = paths(&reader, &model)?;
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

/// The path in the model of every parameter that has a state.
///
/// A record also holds the states of parameters that a model had before it was built anew: they have the path of
/// one that has a state under its own id, and are left behind.
fn paths(reader: &Reader, model: &Model) -> Result<HashMap<u64, String>, CheckpointError> {
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
        let is_there = |path: &&String| model.tensors.contains_key(*path);
        if let Some(path) = model.paths.get(&id).filter(is_there) {
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

/// What burn-optim calls the state of an optimizer, and what it is called here.
struct Translation {
    optimizer: &'static str,
    /// In the order of this library's state.
    tensors: &'static [(&'static str, &'static str)],
    /// What can be computed from the others.
    unused: &'static [&'static str],
    counter: Option<&'static str>,
}

/// Burn keeps the rank of the parameter beside the state.
const BURNS_OWN: &str = "__";

const MOMENTS: &[(&str, &str)] = &[
    ("momentum.moment_1", "exp_avg"),
    ("momentum.moment_2", "exp_avg_sq"),
    ("momentum.max_moment_2", "max_exp_avg_sq"),
];

const TRANSLATIONS: [Translation; 5] = [
    Translation {
        optimizer: "adam",
        tensors: MOMENTS,
        unused: &[],
        counter: Some("momentum.time"),
    },
    Translation {
        optimizer: "adamw",
        tensors: MOMENTS,
        unused: &[],
        counter: Some("momentum.time"),
    },
    Translation {
        optimizer: "adagrad",
        tensors: &[("lr_decay.sum", "sum")],
        unused: &[],
        counter: Some("lr_decay.time"),
    },
    Translation {
        optimizer: "rmsprop",
        tensors: &[
            ("square_avg.square_avg", "square_avg"),
            ("centered.grad_avg", "grad_avg"),
            ("momentum.buf", "momentum_buffer"),
        ],
        unused: &["centered.avg"],
        counter: None,
    },
    Translation {
        optimizer: "sgd",
        tensors: &[("momentum.velocity", "momentum_buffer")],
        unused: &[],
        counter: None,
    },
];

/// As a state of this library is saved: see `RuleState` in downhill-optim.
#[derive(Serialize)]
struct Layout {
    tensors: Vec<&'static str>,
    scalars: Vec<&'static str>,
}

/// Brings burn-optim's states into the form of this library's optimizer of that name. States that are in
/// it already stay, and so do those of an optimizer that is not of this library.
fn translate(states: &mut States, optimizer: &str, updates: u64) -> Result<(), CheckpointError> {
    let own = |states: &States, path: &str| {
        let layout = (path.to_string(), "layout".to_string());
        states.tensors.contains_key(&layout)
    };
    let foreign: BTreeSet<String> = (states.paths())
        .filter(|path| !own(states, path))
        .map(str::to_string)
        .collect();
    let is_known = |name: &str| OptimizerConfig::all().iter().any(|info| info.name == name);
    if foreign.is_empty() || !is_known(optimizer) {
        return Ok(());
    }
    let translation = TRANSLATIONS
        .iter()
        .find(|translation| translation.optimizer == optimizer);
    let Some(translation) = translation else {
        let known: Vec<&str> = TRANSLATIONS.iter().map(|known| known.optimizer).collect();
        return Err(refused(format!(
            "the state is not this library's, and for {optimizer} it cannot be translated; of burn-optim's \
             optimizers that can be done for {}",
            listed(known.iter())
        )));
    };
    for path in foreign {
        translation.apply(states, &path, updates)?;
    }
    Ok(())
}

impl Translation {
    fn apply(&self, states: &mut States, path: &str, updates: u64) -> Result<(), CheckpointError> {
        let key = |field: &str| (path.to_string(), field.to_string());
        let counter = self.counter.map(key);
        let step = match counter.and_then(|counter| states.scalars.remove(&counter)) {
            Some(step) => step,
            None => Scalar::from(updates),
        };
        let mut names = Vec::new();
        for (theirs, ours) in self.tensors {
            if let Some(data) = states.tensors.remove(&key(theirs)) {
                let field = format!("state.{ours}");
                states.tensors.insert(key(&field), data);
                names.push(*ours);
            }
        }
        for field in self.unused {
            states.tensors.remove(&key(field));
        }
        let own: Vec<_> = names
            .iter()
            .map(|name| key(&format!("state.{name}")))
            .collect();
        let tensors = states.tensors.keys().filter(|key| !own.contains(key));
        let fields = tensors.chain(states.scalars.keys());
        let other = fields
            .filter(|(of, field)| of == path && !field.starts_with(BURNS_OWN))
            .map(|(_, field)| format!("`{field}`"))
            .collect::<Vec<_>>();
        if names.is_empty() || !other.is_empty() {
            let found = match other.as_slice() {
                [] => "nothing".to_string(),
                other => listed(other.iter()),
            };
            return Err(refused(format!(
                "the state of `{path}` is not that of burn-optim's {}: it has {found}",
                self.optimizer
            )));
        }
        let layout = Layout {
            tensors: names,
            scalars: Vec::new(),
        };
        let layout = serde_json::to_vec(&layout).map_err(|error| refused(error.to_string()))?;
        let length = layout.len();
        let layout = TensorData::new(layout, [length]);
        states.tensors.insert(key("layout"), layout);
        states.scalars.insert(key("step"), step);
        Ok(())
    }
}
