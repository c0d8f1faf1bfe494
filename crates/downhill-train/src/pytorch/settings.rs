//! The settings of a group, under torch's names and under ours.

use serde_json::{Map, Value, json};

use crate::bound::Bound;

/// Several of our settings that are one list there.
const LISTS: [(&str, &[&str]); 4] = [
    ("betas", &["beta_1", "beta_2", "beta_3"]),
    ("eps", &["epsilon_1", "epsilon_2"]),
    ("etas", &["eta_minus", "eta_plus"]),
    ("step_sizes", &["step_min", "step_max"]),
];

/// Other names.
const NAMES: [(&str, &str); 4] = [
    ("eps", "epsilon"),
    ("beta2_decay", "decay_rate"),
    ("d", "clip_threshold"),
    ("adjust_lr_fn", "adjust_lr"),
];

/// What is said otherwise there: the setting's name here, ours, and theirs.
fn values() -> [(&'static str, Value, Value); 2] {
    let original = json!("original");
    [
        (
            "ns_coefficients",
            original.clone(),
            json!([3.4445, -4.775, 2.0315]),
        ),
        ("adjust_lr", original, Value::Null),
    ]
}

/// The settings of a parameter's optimizer at an update, with what is driven of them.
pub(super) fn of(bound: &Bound, update: u64) -> Result<Map<String, Value>, String> {
    let identity = bound.identity.as_ref();
    let settings = identity.and_then(|identity| serde_json::from_str(&identity.settings).ok());
    let mut settings: Map<String, Value> = settings.unwrap_or_default();
    for number in &bound.driven {
        let value = number.value(update).map_err(|error| error.to_string())?;
        settings.insert(number.name.to_string(), value.into());
    }
    Ok(settings)
}

/// A group's settings under our names, as far as there are such.
fn ours(group: &Map<String, Value>) -> Map<String, Value> {
    let mut ours = Map::new();
    for (name, value) in group {
        let list = LISTS.iter().find(|(theirs, _)| theirs == name);
        if let (Some((_, names)), Value::Array(values)) = (list, value) {
            let pairs = names.iter().zip(values);
            ours.extend(pairs.map(|(name, value)| (name.to_string(), value.clone())));
            continue;
        }
        let renamed = NAMES.iter().find(|(theirs, _)| theirs == name);
        let name = renamed.map_or(name.as_str(), |(_, ours)| ours);
        let mut said = values().into_iter();
        let said = said.find(|(setting, _, theirs)| *setting == name && same(theirs, value));
        let value = said.map_or_else(|| value.clone(), |(_, ours, _)| ours);
        ours.insert(name.to_string(), value);
    }
    ours
}

/// Settings under the names that they have there. What torch does not know is as here.
pub(super) fn theirs(ours: &Map<String, Value>) -> Map<String, Value> {
    let mut theirs = ours.clone();
    for (list, names) in LISTS {
        let values: Vec<Value> = names
            .iter()
            .filter_map(|name| ours.get(*name))
            .cloned()
            .collect();
        if values.len() > 1 {
            theirs.retain(|name, _| !names.contains(&name.as_str()));
            theirs.insert(list.to_string(), values.into());
        }
    }
    for (setting, ours, other) in values() {
        if theirs.get(setting) == Some(&ours) {
            theirs.insert(setting.to_string(), other);
        }
    }
    for (name, ours) in NAMES {
        if let Some(value) = theirs.remove(ours) {
            theirs.insert(name.to_string(), value);
        }
    }
    theirs
}

/// Whether two values are one, whatever kind of number they are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        },
    }
}

/// The settings of the group at a place that are others here.
pub(super) fn differences(
    at: usize,
    group: &Map<String, Value>,
    own: &Map<String, Value>,
) -> Vec<String> {
    let ours = ours(group);
    let pairs = ours
        .iter()
        .filter_map(|(name, there)| Some((name, there, own.get(name)?)));
    pairs
        .filter(|(_, there, here)| !same(there, here))
        .map(|(name, there, here)| {
            format!("group {at}: {name} is {there} in PyTorch, and {here} here")
        })
        .collect()
}
