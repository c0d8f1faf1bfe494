//! What people type: the names that other libraries have for optimizers and settings.

use std::collections::BTreeMap;

use downhill_setting::plain;
use serde_json::{Map, Value};

use crate::settings::{ConfigError, Setting};

/// A name of another library, ours, and the settings that make ours the same method, as JSON.
///
/// Names that differ only in case, or in `_` and `-`, are [the same](is) and not listed. Defaults are ours.
const OTHERS: &[(&str, &str, &str)] = &[
    // Transformers
    ("adamw_torch", "adamw", "{}"),
    ("adamw_torch_fused", "adamw", "{}"),
    ("adamw_torch_xla", "adamw", "{}"),
    ("adamw_hf", "adamw", "{}"),
    ("adamw_apex_fused", "adamw", "{}"),
    ("lion_32bit", "lion", "{}"),
    ("galore_adamw", "galore", "{}"),
    ("apollo_adamw", "apollo", "{}"),
    // optax
    ("amsgrad", "adam", r#"{"amsgrad": true}"#),
    ("adamaxw", "adamax", r#"{"weight_decay_kind": "decoupled"}"#),
    ("optimistic_gradient_descent", "optimistic_gd", "{}"),
    // timm
    ("momentum", "sgd", r#"{"momentum": 0.9}"#),
    ("sgdw", "sgd", r#"{"weight_decay_kind": "decoupled"}"#),
    ("radamw", "radam", r#"{"weight_decay_kind": "decoupled"}"#),
    (
        "madgradw",
        "madgrad",
        r#"{"weight_decay_kind": "decoupled"}"#,
    ),
    ("adoptw", "adopt", r#"{"weight_decay_kind": "decoupled"}"#),
    ("cadamw", "adamw", r#"{"cautious": true}"#),
    ("cadopt", "adopt", r#"{"cautious": true}"#),
    ("claprop", "laprop", r#"{"cautious": true}"#),
    ("clion", "lion", r#"{"cautious": true}"#),
    ("cnadamw", "nadamw", r#"{"cautious": true}"#),
    ("nvnovograd", "novograd", "{}"),
    // pytorch_optimizer and authors
    ("kron", "psgd_kron", "{}"),
    ("dlion", "lion", "{}"),
];

/// Whether both are one name: `AdamW` is `adamw`, and `beta1` is `beta_1`.
pub(crate) fn is(name: &str, other: &str) -> bool {
    name == other || plain(name) == plain(other)
}

/// Whether a setting that is typed says what another one is.
pub(crate) fn says(typed: &str, setting: &str) -> bool {
    let of_decay = [typed, setting].map(plain);
    is(typed, setting) || of_decay == ["decoupledweightdecay", "weightdecaykind"]
}

/// Our name for one of another library, with the settings that belong to it.
pub(crate) fn of_optimizer(name: &str) -> Option<(&'static str, Map<String, Value>)> {
    let (_, ours, settings) = OTHERS.iter().find(|(other, ..)| is(name, other))?;
    let settings = serde_json::from_str(settings).expect("the table has JSON");
    Some((ours, settings))
}

/// The settings under our names: `lr`, `eps`, `wd` and `betas` are understood, and other spellings. What is not
/// known stays.
pub(crate) fn of_settings(
    optimizer: &str,
    settings: &[&'static Setting],
    map: Map<String, Value>,
) -> Result<Map<String, Value>, ConfigError> {
    let named = |name: &str| settings.iter().find(|setting| is(name, setting.name));
    let mut ours = Map::new();
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    let mut put = |key: &str, name: &str, value: Value| {
        ours.insert(name.to_string(), value);
        match keys.insert(name.to_string(), key.to_string()) {
            None => Ok(()),
            Some(first) => Err(ConfigError::Json(format!(
                "{optimizer}: `{first}` and `{key}` both say what `{name}` is"
            ))),
        }
    };
    for (key, value) in map {
        let synonym = match key.as_str() {
            "lr" => "learning_rate",
            "eps" => "epsilon",
            "wd" => "weight_decay",
            "b1" => "beta_1",
            "b2" => "beta_2",
            other => other,
        };
        match (named(synonym), value) {
            (Some(setting), value) => put(&key, setting.name, value)?,
            (None, Value::Array(betas)) if key == "betas" => {
                let names: Vec<_> = ["beta_1", "beta_2", "beta_3"]
                    .into_iter()
                    .filter(|name| named(name).is_some())
                    .collect();
                if names.is_empty() || names.len() != betas.len() {
                    let has = match names[..] {
                        [] => "has none".to_string(),
                        _ => format!("has {}", names.join(" and ")),
                    };
                    let given = betas.len();
                    return Err(ConfigError::Json(format!(
                        "{optimizer}: `betas` are {given} numbers, and it {has}"
                    )));
                }
                for (name, beta) in names.into_iter().zip(betas) {
                    put(&key, name, beta)?;
                }
            }
            (None, value) => put(&key, &key, value)?,
        }
    }
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OptimizerConfig;

    #[test]
    fn names_of_others_are_none_of_ours() {
        let all = OptimizerConfig::all();
        for (other, ours, settings) in OTHERS {
            assert!(all.iter().all(|info| !is(info.name, other)), "{other}");
            let found = OptimizerConfig::by_name(other).unwrap();
            assert_eq!(found.name(), *ours);
            let mut spelled: Map<String, Value> = serde_json::from_str(settings).unwrap();
            spelled.insert("name".to_string(), (*ours).into());
            let spelled = Value::Object(spelled).to_string();
            assert_eq!(
                OptimizerConfig::from_json(&spelled).unwrap(),
                found,
                "{other}"
            );
        }
    }
}
