//! What burn-optim calls the state of an optimizer, and what it is called here.

use burn::tensor::{DType, TensorData};
use burn_pack::Scalar;
use serde::Serialize;

use super::optimizer::States;
use crate::params::ParamInfo;
use crate::report::listed;
use crate::states::RANK;

/// Where this library's states have their names.
pub(super) const LAYOUT: &str = "layout";

/// Where they have the number of steps.
const STEP: &str = "step";

/// Burn keeps the rank of the parameter beside the state.
const BURNS_OWN: &str = "__";

/// A tensor of a state.
#[derive(Clone, Copy)]
struct Entry {
    theirs: &'static str,
    ours: &'static str,
    /// Whether every state has it.
    always: bool,
    /// Whether it has the other sign here.
    negated: bool,
}

const fn entry(theirs: &'static str, ours: &'static str) -> Entry {
    Entry {
        theirs,
        ours,
        always: true,
        negated: false,
    }
}

const fn optional(theirs: &'static str, ours: &'static str) -> Entry {
    Entry {
        always: false,
        ..entry(theirs, ours)
    }
}

const fn negated(theirs: &'static str, ours: &'static str) -> Entry {
    Entry {
        negated: true,
        ..entry(theirs, ours)
    }
}

struct Translation {
    optimizer: &'static str,
    /// In the order of this library's state.
    tensors: &'static [Entry],
    /// What is computed from others before it is read: its name, and of ours one of its shape.
    unused: &'static [(&'static str, &'static str)],
    counter: Option<&'static str>,
}

const MOMENTS: &[Entry] = &[
    entry("momentum.moment_1", "exp_avg"),
    entry("momentum.moment_2", "exp_avg_sq"),
    optional("momentum.max_moment_2", "max_exp_avg_sq"),
];

const TRANSLATIONS: [Translation; 10] = [
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
        tensors: &[entry("lr_decay.sum", "sum")],
        unused: &[],
        counter: Some("lr_decay.time"),
    },
    Translation {
        optimizer: "rmsprop",
        tensors: &[
            entry("square_avg.square_avg", "square_avg"),
            optional("centered.grad_avg", "grad_avg"),
            optional("momentum.buf", "momentum_buffer"),
        ],
        unused: &[("centered.avg", "square_avg")],
        counter: None,
    },
    Translation {
        optimizer: "sgd",
        tensors: &[entry("momentum.velocity", "momentum_buffer")],
        unused: &[],
        counter: None,
    },
    Translation {
        optimizer: "lion",
        tensors: &[entry("momentum", "exp_avg")],
        unused: &[],
        counter: None,
    },
    Translation {
        optimizer: "lamb",
        tensors: &[
            entry("moment_1", "exp_avg"),
            entry("moment_2", "exp_avg_sq"),
        ],
        unused: &[],
        counter: Some("time"),
    },
    Translation {
        optimizer: "adan",
        tensors: &[
            entry("momentum.exp_avg", "exp_avg"),
            entry("momentum.exp_avg_diff", "exp_avg_diff"),
            entry("momentum.exp_avg_sq", "exp_avg_sq"),
            negated("momentum.neg_pre_grad", "previous_grad"),
        ],
        unused: &[],
        counter: Some("momentum.time"),
    },
    Translation {
        optimizer: "adafactor",
        tensors: &[
            entry("second_moment", "row_var"),
            entry("column_second_moment", "col_var"),
        ],
        unused: &[],
        counter: Some("time"),
    },
    Translation {
        optimizer: "adafactor",
        tensors: &[entry("second_moment", "variance")],
        unused: &[],
        counter: Some("time"),
    },
];

/// As a state of this library is saved: see `RuleState` in downhill-optim.
#[derive(Serialize)]
struct Layout {
    tensors: Vec<&'static str>,
    scalars: Vec<&'static str>,
}

/// The translation of an optimizer's state in which `has` finds what it must.
fn find(optimizer: &str, has: impl Fn(&Entry) -> bool) -> Option<&'static Translation> {
    let complete = |known: &&Translation| {
        let mut always = known.tensors.iter().filter(|entry| entry.always);
        known.optimizer == optimizer && always.all(&has)
    };
    TRANSLATIONS.iter().find(complete)
}

fn key(path: &str, field: &str) -> (String, String) {
    (path.to_string(), field.to_string())
}

/// Where a tensor stands in a state of this library's.
fn of_state(ours: &str) -> String {
    format!("state.{ours}")
}

/// The numbers of a tensor, with the other sign if it is to be so.
fn signed(data: TensorData, negated: bool) -> TensorData {
    if !negated {
        return data;
    }
    let (dtype, shape) = (data.dtype(), data.shape().clone());
    let values: Vec<f64> = data.iter::<f64>().map(|value| -value).collect();
    TensorData::new(values, shape).convert_dtype(dtype)
}

/// Brings burn-optim's state of a parameter into the form of this library's optimizer of that name.
pub(super) fn ours(
    states: &mut States,
    path: &str,
    optimizer: &str,
    updates: u64,
) -> Result<(), String> {
    let mut known: Vec<&str> = TRANSLATIONS.iter().map(|known| known.optimizer).collect();
    known.dedup();
    if !known.contains(&optimizer) {
        return Err(format!(
            "the state is not this library's, and for {optimizer} it cannot be translated; of burn-optim's \
             optimizers that can be done for {}",
            listed(known.iter())
        ));
    }
    let translation = find(optimizer, |entry| {
        states.tensors.contains_key(&key(path, entry.theirs))
    });
    let translation = translation.ok_or_else(|| foreign(states, path, optimizer, &[]))?;
    let counter = translation.counter.map(|counter| key(path, counter));
    let step = match counter.and_then(|counter| states.scalars.remove(&counter)) {
        Some(step) => step,
        None => Scalar::from(updates),
    };
    let mut names = Vec::new();
    for entry in translation.tensors {
        if let Some(data) = states.tensors.remove(&key(path, entry.theirs)) {
            let data = signed(data, entry.negated);
            states
                .tensors
                .insert(key(path, &of_state(entry.ours)), data);
            names.push(entry.ours);
        }
    }
    for (field, _) in translation.unused {
        states.tensors.remove(&key(path, field));
    }
    let own: Vec<String> = names.iter().map(|name| of_state(name)).collect();
    if !others(states, path, &own).is_empty() {
        return Err(foreign(states, path, optimizer, &own));
    }
    let layout = Layout {
        tensors: names,
        scalars: Vec::new(),
    };
    let layout = serde_json::to_vec(&layout).map_err(|error| error.to_string())?;
    let length = layout.len();
    let layout = TensorData::new(layout, [length]);
    states.tensors.insert(key(path, LAYOUT), layout);
    states.scalars.insert(key(path, STEP), step);
    Ok(())
}

/// The entries of a parameter that are neither `own` nor Burn's.
fn others(states: &States, path: &str, own: &[String]) -> Vec<String> {
    let fields = states.tensors.keys().chain(states.scalars.keys());
    let of = fields.filter(|(of, field)| of == path && !field.starts_with(BURNS_OWN));
    let others = of.filter(|(_, field)| !own.contains(field));
    others.map(|(_, field)| format!("`{field}`")).collect()
}

fn foreign(states: &States, path: &str, optimizer: &str, own: &[String]) -> String {
    let found = match others(states, path, own).as_slice() {
        [] => "nothing".to_string(),
        others => listed(others.iter()),
    };
    format!("the state of `{path}` is not that of burn-optim's {optimizer}: it has {found}")
}

/// Brings the state of a parameter into the form of burn-optim's optimizer of that name.
pub(super) fn theirs(
    states: &mut States,
    param: &ParamInfo,
    optimizer: &str,
) -> Result<(), String> {
    let path = &*param.path;
    let translation = find(optimizer, |entry| {
        states
            .tensors
            .contains_key(&key(path, &of_state(entry.ours)))
    });
    let translation = translation.ok_or_else(|| {
        format!("burn-optim has no optimizer with the state that {optimizer} has of `{path}`")
    })?;
    // Adafactor alone is not in the parameter's precision there.
    let dtype = match optimizer {
        "adafactor" => None,
        _ => Some(param.dtype),
    };
    let converted = |data: TensorData| match dtype {
        Some(dtype) => data.convert_dtype(dtype),
        None => data,
    };
    for (field, like) in translation.unused {
        if let Some(data) = states.tensors.get(&key(path, &of_state(like))) {
            let data = converted(data.clone());
            states.tensors.insert(key(path, field), data);
        }
    }
    for entry in translation.tensors {
        if let Some(data) = states.tensors.remove(&key(path, &of_state(entry.ours))) {
            let data = converted(signed(data, entry.negated));
            states.tensors.insert(key(path, entry.theirs), data);
        }
    }
    states.tensors.remove(&key(path, LAYOUT));
    let step = states.scalars.remove(&key(path, STEP));
    if let (Some(counter), Some(step)) = (translation.counter, step) {
        states.scalars.insert(key(path, counter), step);
    }
    let left = states.tensors.keys().chain(states.scalars.keys());
    let left = left.filter(|(of, field)| {
        of == path && (field.starts_with("state.") || field.starts_with("scalars."))
    });
    if let Some((_, field)) = left.into_iter().next() {
        return Err(format!(
            "burn-optim's {optimizer} has no `{field}`, as the state of `{path}` has here"
        ));
    }
    let rank = Scalar::from(param.shape.len() as u64);
    states.scalars.insert(key(path, RANK), rank);
    Ok(())
}

/// The tensors of a parameter's state in this precision.
pub(super) fn convert(states: &mut States, path: &str, dtype: DType) {
    for ((of, field), data) in &mut states.tensors {
        if of == path && field.starts_with("state.") && data.dtype() != dtype {
            *data = data.clone().convert_dtype(dtype);
        }
    }
}
