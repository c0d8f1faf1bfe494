//! The state of an optimizer of PyTorch's, so that a training goes on here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, TensorData};
use downhill_optim::drive::{StateNames, layers, state_dtype};
use pytorch_reader::{PickleValue, PytorchReader};
use serde_json::{Map, Value};

use crate::bound::Bound;
use crate::checkpoint::CheckpointError;
use crate::states::ParameterState;
use crate::{Driver, ParamPath};

/// What `torch.save(optimizer.state_dict(), file)` has written: the states of the parameters by their places, and the
/// settings of their groups. Nothing in the file is run: what is no number, text or tensor is an error.
///
/// ```no_run
/// # use burn::nn::Linear;
/// # use downhill_train::Driver;
/// use downhill_train::PyTorchStates;
///
/// # fn example(driver: &mut Driver, model: &Linear) -> Result<(), Box<dyn std::error::Error>> {
/// let states = PyTorchStates::open("optimizer.pt", None)?;
/// let report = driver.load_pytorch(model, &states)?;
/// for difference in &report.differences {
///     eprintln!("{difference}"); // group 0: beta_2 is 0.95 in PyTorch, and 0.999 here
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PyTorchStates {
    states: BTreeMap<usize, BTreeMap<String, TensorData>>,
    groups: Vec<Group>,
    order: Option<Vec<String>>,
}

/// A group of parameters.
#[derive(Clone, Debug)]
struct Group {
    settings: Map<String, Value>,
    places: Vec<usize>,
}

/// What became of a state dictionary.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PyTorchReport {
    /// The parameters whose states were taken up.
    pub taken: Vec<ParamPath>,
    /// The learning rates of the groups. The driver keeps its own.
    pub learning_rates: Vec<f64>,
    /// Settings of the groups that the optimizer here has otherwise.
    pub differences: Vec<String>,
}

/// Why a state dictionary is not taken up.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PyTorchError {
    /// A file that cannot be read, or is none of PyTorch's.
    #[error("{file} cannot be read: {reason}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that has something else.
    #[error("{file} has no state dictionary of an optimizer: {reason}")]
    Other {
        /// The file.
        file: String,
        /// What is missing.
        reason: String,
    },
    /// Other parameters than the model has.
    #[error("the state dictionary is of {found} parameters, and {expected} are given for them")]
    Count {
        /// How many there are here.
        expected: usize,
        /// How many are in the file.
        found: usize,
    },
    /// A state that does not fit its parameter.
    #[error("the state of parameter {place} does not fit `{path}`: {reason}")]
    State {
        /// Its place in PyTorch's optimizer.
        place: usize,
        /// The parameter's path.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A state that the optimizer does not take up.
    #[error(transparent)]
    Refused(#[from] CheckpointError),
}

impl PyTorchStates {
    /// Reads a file; `key` is where the state dictionary is in it, as in `torch.save({"optimizer": ...}, file)`, if it
    /// is not the whole.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, or has no such dictionary.
    pub fn open(file: impl AsRef<Path>, key: Option<&str>) -> Result<Self, PyTorchError> {
        let file = file.as_ref();
        let name = file.display().to_string();
        let unreadable = |reason: String| PyTorchError::File {
            file: name.clone(),
            reason,
        };
        let other = |reason: &str| PyTorchError::Other {
            file: name.clone(),
            reason: reason.to_string(),
        };
        let opened = match key {
            None => PytorchReader::new(file),
            Some(key) => PytorchReader::with_top_level_key(file, key),
        };
        let tensors = opened.map_err(|error| unreadable(error.to_string()))?;
        let whole = PytorchReader::read_pickle_data(file, key);
        let whole = json(whole.map_err(|error| unreadable(error.to_string()))?);
        let found = whole.get("param_groups").and_then(Value::as_array);
        let found = found.ok_or_else(|| other("it has no `param_groups`"))?;
        let mut groups = Vec::new();
        for group in found {
            let settings = group.as_object().cloned();
            let mut settings = settings.ok_or_else(|| other("a group is no dictionary"))?;
            let places = settings.remove("params").and_then(|places| {
                let places = places.as_array()?.iter().map(Value::as_u64);
                places.map(|place| usize::try_from(place?).ok()).collect()
            });
            let places = places.ok_or_else(|| other("a group without `params`"))?;
            groups.push(Group { settings, places });
        }
        let mut states: BTreeMap<usize, BTreeMap<String, TensorData>> = BTreeMap::new();
        for (key, tensor) in tensors.tensors() {
            let mut parts = key.splitn(3, '.');
            let (Some("state"), Some(place), Some(name)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let place = place.parse().map_err(|_| other(&format!("`{key}`")))?;
            let dtype =
                float(tensor.dtype()).ok_or_else(|| other(&format!("`{key}` is no float")))?;
            let bytes = tensor
                .read()
                .map_err(|error| unreadable(error.to_string()))?;
            let data = TensorData::from_bytes_vec(bytes, tensor.shape().to_vec(), dtype);
            states
                .entry(place)
                .or_default()
                .insert(name.to_string(), data);
        }
        Ok(Self {
            states,
            groups,
            order: None,
        })
    }

    /// The paths of the parameters of the model here, in the order in which PyTorch's optimizer was given them.
    /// Default: the order of the model here, of what can be trained.
    #[must_use]
    pub fn with_order<P: Into<String>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.order = Some(paths.into_iter().map(Into::into).collect());
        self
    }
}

/// What is no number, text or list of such is nothing.
fn json(value: PickleValue) -> Value {
    match value {
        PickleValue::Bool(flag) => flag.into(),
        PickleValue::Int(number) => number.into(),
        PickleValue::Float(number) => number.into(),
        PickleValue::String(text) => text.into(),
        PickleValue::List(values) => values.into_iter().map(json).collect(),
        PickleValue::Dict(fields) => {
            let fields = fields.into_iter();
            Value::Object(fields.map(|(name, value)| (name, json(value))).collect())
        }
        PickleValue::None | PickleValue::Bytes(_) | PickleValue::Unsupported(_) => Value::Null,
    }
}

fn float(dtype: pytorch_reader::DType) -> Option<DType> {
    match dtype {
        pytorch_reader::DType::F64 => Some(DType::F64),
        pytorch_reader::DType::F32 => Some(DType::F32),
        pytorch_reader::DType::F16 => Some(DType::F16),
        pytorch_reader::DType::BF16 => Some(DType::BF16),
        _ => None,
    }
}

/// Where PyTorch counts the steps of a parameter.
const STEP: &str = "step";

/// Rows and columns exchanged.
fn transposed(data: &TensorData) -> TensorData {
    let values: Vec<f64> = data.iter().collect();
    let (rows, cols) = (data.shape()[0], data.shape()[1]);
    let turned = (0..cols).flat_map(|col| (0..rows).map(move |row| row * cols + col));
    let turned: Vec<f64> = turned.map(|at| values[at]).collect();
    TensorData::new(turned, [cols, rows])
}

/// The state of one parameter under the names that its optimizer has here, which are PyTorch's.
fn state_of(
    bound: &Bound,
    found: &BTreeMap<String, TensorData>,
    is_linear: bool,
) -> Result<ParameterState, String> {
    let info = bound.info();
    let optimizer = bound
        .optimizer
        .as_ref()
        .ok_or("its optimizer is not of this library")?;
    let names = StateNames::of(optimizer, &info.shape);
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
    let mut state = ParameterState::named(&names);
    // Where PyTorch counts no steps, only the first one is another than the others.
    let step = number(STEP).unwrap_or(1.0);
    if !(step >= 0.0 && step.fract() == 0.0) {
        return Err(format!("`step` is {step}"));
    }
    state.step = Some(step as u64);
    let dtype = DType::from(state_dtype(info.dtype));
    for (name, shape) in &names.tensors {
        let data = found.get(name).ok_or_else(|| missing(name))?;
        let turned = is_linear && data.shape().num_dims() == 2 && *shape == info.shape;
        let data = if turned {
            transposed(data)
        } else {
            data.clone()
        };
        if data.shape().as_slice() != shape.as_slice() {
            let found = data.shape().as_slice();
            return Err(format!(
                "`{name}` has the shape {found:?}, and {shape:?} is expected"
            ));
        }
        state
            .tensors
            .insert(name.clone(), data.convert_dtype(dtype));
    }
    for name in names.scalars() {
        let number = number(name).ok_or_else(|| missing(name))?;
        state.scalars.insert(name.clone(), number);
    }
    let known = |name: &String| {
        name == STEP || state.tensors.contains_key(name) || state.scalars.contains_key(name)
    };
    match found.keys().find(|name| !known(name)) {
        None => Ok(state),
        Some(name) => Err(format!("the optimizer here has no `{name}`")),
    }
}

/// The settings of a group that are others here.
fn differences(at: usize, group: &Group, bound: &Bound) -> Vec<String> {
    let own = bound.identity.as_ref();
    let own = own.and_then(|identity| serde_json::from_str::<Value>(&identity.settings).ok());
    let Some(own) = own else {
        return Vec::new();
    };
    let mut found = group.settings.clone();
    if let Some(Value::Array(betas)) = found.remove("betas") {
        for (at, beta) in betas.into_iter().enumerate() {
            found.insert(format!("beta_{}", at + 1), beta);
        }
    }
    if let Some(epsilon) = found.remove("eps") {
        found.insert("epsilon".to_string(), epsilon);
    }
    let same = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    };
    let pairs = found
        .iter()
        .filter_map(|(name, there)| Some((name, there, own.get(name)?)));
    pairs
        .filter(|(_, there, here)| !same(there, here))
        .map(|(name, there, here)| {
            format!("group {at}: {name} is {there} in PyTorch, and {here} here")
        })
        .collect()
}

impl Driver {
    /// Goes on from the state of an optimizer of PyTorch's: one of torch 2.15, or another one whose states have these
    /// names (`exp_avg`, `momentum_buffer`, ...). The number of updates becomes that of its steps, where it counts them,
    /// so that a schedule is where it was. The model itself is read by burn-store.
    ///
    /// The weights of linear layers, which PyTorch has the other way round, are transposed.
    ///
    /// # Errors
    ///
    /// If the parameters are others, or a state has other names or shapes than the optimizer here makes. Nothing has
    /// changed then.
    pub fn load_pytorch<M: Module>(
        &mut self,
        model: &M,
        states: &PyTorchStates,
    ) -> Result<PyTorchReport, PyTorchError> {
        let trainable = self
            .core
            .bound
            .iter()
            .filter(|bound| bound.info().trainable);
        let own: BTreeMap<&str, &Bound> = trainable
            .clone()
            .map(|bound| (&*bound.info().path, bound))
            .collect();
        let order: Vec<&str> = match &states.order {
            Some(order) => order.iter().map(String::as_str).collect(),
            None => trainable.map(|bound| &*bound.info().path).collect(),
        };
        let found = states.groups.iter().map(|group| group.places.len()).sum();
        if found != order.len() {
            let expected = order.len();
            return Err(PyTorchError::Count { expected, found });
        }
        let layers = layers(model).into_iter();
        let linear = layers.filter(|found| found.layer == "Linear");
        let linear: BTreeSet<String> = linear.map(|found| found.path).collect();
        let mut report = PyTorchReport::default();
        let mut all = self.states()?;
        let mut updates = None;
        for (at, group) in states.groups.iter().enumerate() {
            let rate = group.settings.get("lr").and_then(Value::as_f64);
            report.learning_rates.extend(rate);
            for &place in &group.places {
                let refused = |reason: String| PyTorchError::State {
                    place,
                    path: order
                        .get(place)
                        .map_or_else(String::new, ToString::to_string),
                    reason,
                };
                let bound = order.get(place).and_then(|path| own.get(path));
                let bound =
                    bound.ok_or_else(|| refused("the model here does not train it".into()))?;
                let path = &bound.info().path;
                for difference in differences(at, group, bound) {
                    if !report.differences.contains(&difference) {
                        report.differences.push(difference);
                    }
                }
                // PyTorch makes a state with the first gradient.
                let Some(found) = states.states.get(&place) else {
                    continue;
                };
                if report.taken.contains(path) {
                    return Err(refused("it is given twice".into()));
                }
                let state = state_of(bound, found, linear.contains(&**path));
                let state = state.map_err(refused)?;
                if found.contains_key(STEP) {
                    updates = updates.max(state.step);
                }
                all.0.insert(path.clone(), state);
                report.taken.push(path.clone());
            }
        }
        self.set_states(model, &all)?;
        self.core.counters.updates = updates.unwrap_or(self.core.counters.updates);
        Ok(report)
    }
}
