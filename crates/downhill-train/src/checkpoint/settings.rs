//! The settings in a header, and how they compare with a driver's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn::module::Module;
use downhill_optim::OptimizerConfig;
use serde_json::{Value, json};

use super::CheckpointError;
use super::contents::path_of_state;
use super::format::{Contents, Header, OptimizerEntry, ParameterEntry};
use super::model;
use crate::bound::Bound;
use crate::driven::{MOMENTUM, WEIGHT_DECAY};
use crate::groups::GroupSettings;
use crate::update::Core;
use crate::{Rate, params};

pub(super) const GROUPS: &str = "groups";

/// The settings as they are compared; those of the groups under their names.
pub(super) fn settings(core: &Core) -> Value {
    let groups = core.groups.iter().map(|group| (&*group.name, group));
    let groups: BTreeMap<&str, &GroupSettings> = groups.collect();
    json!({
        GROUPS: groups,
        "clipping": core.settings.clipping,
        "non_finite": core.settings.non_finite,
        "accumulation": core.settings.accumulation,
        "weight_decay": core.settings.driven.get(WEIGHT_DECAY),
        "momentum": core.settings.driven.get(MOMENTUM),
        "driven": core.settings.driven,
        "sam": core.settings.sam,
        "mechanic": core.settings.mechanic,
        "loss_scaling": core.settings.loss_scaling,
        "local_updates": core.settings.local_updates,
        "averaging": core.averages.as_ref().map(|averages| &averages.config),
    })
}

pub(super) fn learning_rate(rate: &Rate) -> Option<Value> {
    match rate {
        Rate::Setting(setting) => serde_json::to_value(setting).ok(),
        Rate::Scheduler(_) => None,
    }
}

pub(super) fn optimizers(bound: &[Bound]) -> Vec<OptimizerEntry> {
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

pub(super) fn parameters<M: Module>(model: &M, core: &Core) -> Vec<ParameterEntry> {
    let bound = &core.bound;
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
                frozen: bound.and_then(|bound| {
                    let by_groups = core.groups_of(bound).any(|group| group.frozen);
                    (bound.frozen != by_groups).then_some(bound.frozen)
                }),
            }
        })
        .collect()
}

/// What is to be the same on all ranks of a training, by names: parameters with their values, and settings.
pub(crate) fn fingerprint<M: Module>(core: &Core, rate: &Rate, model: &M) -> Vec<(String, String)> {
    let optimizers = optimizers(&core.bound);
    let values = model::data(model);
    let parameters = parameters(model, core).into_iter().map(|entry| {
        let optimizer = entry.optimizer.and_then(|at| optimizers.get(at));
        let stepped = optimizer.map_or(String::new(), |optimizer| {
            format!(", stepped by {} {}", optimizer.name, complete(optimizer))
        });
        let values = values
            .get(&*entry.path)
            .map_or(0, |data| crc32fast::hash(data.as_bytes()));
        let kind = format!(
            "{:?} in {:?}{stepped}, values with the checksum {values:08x}",
            entry.shape, entry.dtype
        );
        (format!("`{}`", entry.path), kind)
    });
    let mut all: Vec<(String, String)> = parameters.collect();
    if let Value::Object(settings) = settings(core) {
        let settings = settings.into_iter();
        all.extend(settings.map(|(name, value)| (name.replace('_', " "), value.to_string())));
    }
    // No checkpoint has this: one can be gone on from with any number of ranks.
    let sharded = core.settings.sharded_state;
    all.push((
        "whether states are sharded".to_string(),
        sharded.to_string(),
    ));
    let rate =
        learning_rate(rate).map_or("a scheduler of Burn's".to_string(), |rate| rate.to_string());
    all.push(("the learning rate".to_string(), rate));
    all
}

/// The settings of an optimizer, in an order of their own, and with the defaults of those that an older file
/// does not know.
fn complete(entry: &OptimizerEntry) -> String {
    let Ok(settings) = serde_json::from_str::<Value>(&entry.settings) else {
        return entry.settings.clone();
    };
    let mut named = settings.clone();
    if let Value::Object(named) = &mut named {
        named.insert("name".to_string(), entry.name.clone().into());
    }
    match serde_json::from_value::<OptimizerConfig>(named) {
        Ok(config) => config.to_string(),
        // Not one of this library's.
        Err(_) => settings.to_string(),
    }
}

/// A setting that differs.
pub(super) struct Difference {
    pub what: String,
    pub expected: String,
    pub found: String,
}

pub(super) fn differences<M: Module>(
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
    let own = parameters(model, core);
    let own_optimizers = optimizers(&core.bound);
    let saved: HashMap<&str, &ParameterEntry> = (header.parameters.iter())
        .map(|entry| (&*entry.path, entry))
        .collect();
    // Once each: many parameters have the same.
    let named = |entries: &[OptimizerEntry]| -> Vec<String> {
        let text = |entry: &OptimizerEntry| format!("{} {}", entry.name, complete(entry));
        entries.iter().map(text).collect()
    };
    let (own_named, saved_named) = (named(&own_optimizers), named(&header.optimizers));
    let of_place = |named: &[String], place: Option<usize>| {
        let name = place.and_then(|place| named.get(place));
        name.cloned().unwrap_or_else(unknown)
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
                of_place(&own_named, entry.optimizer),
                of_place(&saved_named, found.optimizer),
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
            let by_hand = |frozen: Option<bool>| match frozen {
                None => "as its groups say".to_string(),
                Some(true) => "frozen".to_string(),
                Some(false) => "thawed".to_string(),
            };
            differ(
                &format!("freezing of `{}`", entry.path),
                by_hand(entry.frozen),
                by_hand(found.frozen),
            );
        }
    }
    list
}

/// Whether the file was made with the same settings, and has nothing for other parameters.
pub(super) fn check_settings<M: Module>(
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
                "optimizer" | "outer" => !paths.contains(path_of_state(rest).as_str()),
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
