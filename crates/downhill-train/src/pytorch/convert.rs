//! What a state is called there, and how it lies.

use std::collections::BTreeMap;

use burn::tensor::{DType, TensorData};
use downhill_optim::drive::{StateNames, state_dtype};

use super::STEP;
use crate::bound::Bound;
use crate::states::ParameterState;

/// What the scales and shifts of norms are called.
const NORMS: [(&str, &str); 2] = [("gamma", "weight"), ("beta", "bias")];

/// PyTorch's path of a parameter.
pub(super) fn their_path(path: &str) -> String {
    let (layer, name) = path.rsplit_once('.').unwrap_or(("", path));
    let theirs = NORMS.iter().find(|(ours, _)| *ours == name);
    match theirs {
        Some((_, name)) if layer.is_empty() => name.to_string(),
        Some((_, name)) => format!("{layer}.{name}"),
        None => path.to_string(),
    }
}

/// The path here of one of PyTorch's, among those that are `known`.
pub(super) fn our_path(theirs: &str, known: impl Fn(&str) -> bool) -> String {
    let (layer, name) = theirs.rsplit_once('.').unwrap_or(("", theirs));
    let of_norm = NORMS.iter().find(|(_, other)| *other == name);
    let of_norm = of_norm.map(|(ours, _)| match layer {
        "" => ours.to_string(),
        layer => format!("{layer}.{ours}"),
    });
    let of_norm = of_norm.filter(|path| known(path) && !known(theirs));
    of_norm.unwrap_or_else(|| theirs.to_string())
}

/// The name there of a state tensor, and whether rows and columns are exchanged there.
///
/// What belongs to the rows of a linear layer's weight belongs to its columns there.
fn theirs(
    name: &str,
    shape: &[usize],
    param: &[usize],
    is_linear: bool,
) -> Result<(String, bool), String> {
    let single = shape.iter().product::<usize>() == 1;
    let is_weight = is_linear && param.len() == 2;
    if !is_weight || (single && shape != param) {
        return Ok((name.to_string(), false));
    }
    let exchanged: Vec<&str> = name
        .split('_')
        .map(|word| match word {
            "row" => "col",
            "col" => "row",
            other => other,
        })
        .collect();
    let exchanged = exchanged.join("_");
    if exchanged == name && shape != param {
        return Err(format!(
            "it is not known how `{name}`, of the shape {shape:?}, lies in PyTorch"
        ));
    }
    Ok((exchanged, true))
}

/// Rows and columns exchanged, of a matrix.
fn transposed(data: &TensorData) -> TensorData {
    let &[rows, cols] = data.shape().as_slice() else {
        return data.clone();
    };
    let values: Vec<f64> = data.iter().collect();
    let turned = (0..cols).flat_map(|col| (0..rows).map(move |row| row * cols + col));
    let turned: Vec<f64> = turned.map(|at| values[at]).collect();
    TensorData::new(turned, [cols, rows]).convert_dtype(data.dtype())
}

/// Which dimension, from the last, a sum over it has lost there: CAME's do, torch's Adafactor keeps it with one element.
fn flat(theirs: &str) -> Option<usize> {
    let of_came = theirs.strip_prefix("exp_avg_")?;
    match of_came.rsplit('_').next() {
        Some("row") => Some(1),
        Some("col") => Some(2),
        _ => None,
    }
}

fn without_dim(data: &TensorData, from_last: usize) -> TensorData {
    let mut shape = data.shape().as_slice().to_vec();
    shape.remove(shape.len() - from_last);
    TensorData::from_bytes_vec(data.as_bytes().to_vec(), shape, data.dtype())
}

/// The state of one parameter under the names that its optimizer has here, and the numbers that it does not have.
/// `steps` are those of the group, which some optimizers count instead.
pub(super) fn state_of(
    bound: &Bound,
    found: &BTreeMap<String, TensorData>,
    steps: Option<u64>,
    is_linear: bool,
) -> Result<(ParameterState, Vec<String>), String> {
    let info = bound.info();
    let names = names(bound)?;
    let missing = |name: &str| {
        let there: Vec<&str> = found.keys().map(String::as_str).collect();
        format!("it has no `{name}`; there is {}", there.join(", "))
    };
    let number = |name: &str| {
        let data = found.get(name)?;
        data.iter::<f64>()
            .next()
            .filter(|_| data.num_elements() == 1)
    };
    let mut state = ParameterState::named(&names, info.shape.len());
    // Where PyTorch counts no steps, only the first one is another than the others.
    let steps = steps.map_or(1.0, |steps| steps as f64);
    let step = number(STEP).unwrap_or(steps);
    if !(step >= 0.0 && step.fract() == 0.0) {
        return Err(format!("`{STEP}` is {step}"));
    }
    state.step = Some(step as u64);
    let dtype = DType::from(state_dtype(info.dtype));
    let mut known = vec![STEP.to_string()];
    for (name, shape) in &names.tensors {
        let (theirs, turned) = theirs(name, shape, &info.shape, is_linear)?;
        let data = found.get(&theirs).ok_or_else(|| missing(&theirs))?;
        let data = match turned {
            true => transposed(data),
            false => data.clone(),
        };
        let sides = |shape: &[usize]| -> Vec<usize> {
            shape.iter().copied().filter(|side| *side != 1).collect()
        };
        let found = data.shape().as_slice();
        if sides(found) != sides(shape) {
            return Err(format!(
                "`{theirs}` has the shape {found:?}, and {shape:?} is expected"
            ));
        }
        let bytes = data.convert_dtype(dtype).as_bytes().to_vec();
        let data = TensorData::from_bytes_vec(bytes, shape.clone(), dtype);
        state.tensors.insert(name.clone(), data);
        known.push(theirs);
    }
    for name in names.scalars() {
        let number = number(name).ok_or_else(|| missing(name))?;
        state.scalars.insert(name.clone(), number);
        known.push(name.clone());
    }
    let rest = found.iter().filter(|(name, _)| !known.contains(name));
    let (numbers, tensors): (Vec<_>, Vec<_>) = rest.partition(|(_, data)| data.num_elements() == 1);
    match tensors.first() {
        None => Ok((
            state,
            numbers.into_iter().map(|(name, _)| name.clone()).collect(),
        )),
        Some((name, _)) => Err(format!("the optimizer here has no `{name}`")),
    }
}

/// The state of one parameter as it is there: numbers are tensors without dimensions.
pub(super) fn their_state(
    bound: &Bound,
    state: &ParameterState,
    is_linear: bool,
) -> Result<BTreeMap<String, TensorData>, String> {
    let names = names(bound)?;
    let number = |number: f64| TensorData::new(vec![number as f32], [0_usize; 0]);
    let mut all = BTreeMap::new();
    for (name, shape) in &names.tensors {
        let (theirs, turned) = theirs(name, shape, &bound.info().shape, is_linear)?;
        let data = state.tensors.get(name);
        let data = data.ok_or_else(|| format!("`{name}` is not there"))?;
        let data = match turned {
            true => transposed(data),
            false => data.clone(),
        };
        let data = match flat(&theirs) {
            Some(at) if shape.len() > 1 => without_dim(&data, at),
            _ => data,
        };
        all.insert(theirs, data);
    }
    let scalars = state.scalars.iter();
    all.extend(scalars.map(|(name, value)| (name.clone(), number(*value))));
    let step = state
        .step
        .map(|step| (STEP.to_string(), number(step as f64)));
    all.extend(step);
    Ok(all)
}

fn names(bound: &Bound) -> Result<StateNames, String> {
    let optimizer = bound.optimizer.as_ref();
    let optimizer = optimizer.ok_or("its optimizer is not of this library")?;
    Ok(StateNames::of(optimizer, &bound.info().shape))
}
