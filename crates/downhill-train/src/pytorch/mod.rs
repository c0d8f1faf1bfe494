//! The state of an optimizer of PyTorch's: a training goes on here, or there.

mod convert;
mod error;
mod pickle;
mod safetensors;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::Module;
use burn::tensor::TensorData;
use downhill_optim::drive::layers;
use serde_json::{Map, Value};

use crate::bound::Bound;
use crate::checkpoint::{check_bound, write_whole};
use crate::{Driver, ParamPath};

pub use error::PyTorchError;

/// The state dictionary of an optimizer of PyTorch's: the states of the parameters by their places, and the settings of
/// their groups.
///
/// A file is what `torch.save(optimizer.state_dict(), file)` writes; or, if it ends in `.safetensors`, the tensors
/// `state.PLACE.NAME` and the groups as JSON under the key `param_groups` of its metadata. Nothing in a file is run.
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
/// // And back: `optimizer.load_state_dict(torch.load("optimizer.pt"))`
/// driver.pytorch_states(model)?.save("optimizer.pt")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PyTorchStates {
    states: BTreeMap<usize, BTreeMap<String, TensorData>>,
    groups: Vec<Group>,
    order: Option<Vec<String>>,
}

/// A group of parameters, with PyTorch's settings.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// The learning rate of each group, where it is a number. The driver keeps its own.
    pub learning_rates: Vec<Option<f64>>,
    /// Settings of the groups that the optimizer here has otherwise.
    pub differences: Vec<String>,
}

/// Where PyTorch counts the steps of a parameter, and pytorch_optimizer those of a group.
const STEP: &str = "step";

/// The names of a group's parameters, of an optimizer that was given `model.named_parameters()`.
const NAMES: &str = "param_names";

fn is_safetensors(file: &Path) -> bool {
    file.extension().is_some_and(|end| end == "safetensors")
}

impl PyTorchStates {
    /// Reads a file; `key` is where the state dictionary is in it, as in `torch.save({"optimizer": ...}, file)`, if it
    /// is not the whole.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, or has no such dictionary: what stands for a state must be a number, a
    /// tensor of floats, or None.
    pub fn open(file: impl AsRef<Path>, key: Option<&str>) -> Result<Self, PyTorchError> {
        let file = file.as_ref();
        match is_safetensors(file) {
            true => safetensors::read(file, key),
            false => pickle::read(file, key),
        }
    }

    /// Writes a file that is there as a whole or not at all.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save(&self, file: impl AsRef<Path>) -> Result<(), PyTorchError> {
        let file = file.as_ref();
        let failed = |reason: String| PyTorchError::Written {
            file: file.display().to_string(),
            reason,
        };
        let bytes = match is_safetensors(file) {
            true => safetensors::bytes(self),
            false => pickle::bytes(self),
        };
        bytes
            .and_then(|bytes| write_whole(file, &bytes))
            .map_err(failed)
    }

    /// The paths of the parameters of the model here, in the order in which PyTorch's optimizer was given them.
    /// Default: the names in the file, if its optimizer was given `model.named_parameters()`; or else, with one group,
    /// the order of the model here, of what can be trained.
    #[must_use]
    pub fn with_order<P: Into<String>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.order = Some(paths.into_iter().map(Into::into).collect());
        self
    }

    /// The paths of the parameters, in the order of the places.
    fn paths(
        &self,
        own: &BTreeMap<&str, &Bound>,
        model: &[&str],
    ) -> Result<Vec<String>, PyTorchError> {
        let found: usize = self.groups.iter().map(|group| group.places.len()).sum();
        let counted = |order: Vec<String>| match order.len() == found {
            true => Ok(order),
            false => Err(PyTorchError::Count {
                expected: order.len(),
                found,
            }),
        };
        if let Some(order) = &self.order {
            return counted(order.clone());
        }
        let mut named = BTreeMap::new();
        for group in &self.groups {
            let names = group.settings.get(NAMES).and_then(Value::as_array);
            let names = names.into_iter().flatten().filter_map(Value::as_str);
            named.extend(group.places.iter().zip(names));
        }
        let places = 0..found;
        if found > 0 && places.clone().all(|place| named.contains_key(&place)) {
            let known = |path: &str| own.contains_key(path);
            return Ok(places
                .map(|place| convert::our_path(named[&place], known))
                .collect());
        }
        match self.groups.len() {
            0 | 1 => counted(model.iter().map(ToString::to_string).collect()),
            groups => Err(PyTorchError::Order { groups }),
        }
    }
}

impl Driver {
    /// Goes on from the state of an optimizer of PyTorch's: one of torch 2.15, or another one whose states have these
    /// names (`exp_avg`, `momentum_buffer`, ...). The number of updates becomes that of its steps, where it counts them,
    /// so that a schedule is where it was; one of Burn's schedulers, which counts by itself, stays where it is. A
    /// parameter that has no state there begins anew, as it would there. The model itself is read by burn-store.
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
        let bound = self.core.bound.iter();
        let trainable = || bound.clone().filter(|bound| bound.info().trainable);
        let own: BTreeMap<&str, &Bound> = trainable()
            .map(|bound| (&*bound.info().path, bound))
            .collect();
        let in_model: Vec<&str> = trainable().map(|bound| &*bound.info().path).collect();
        let order = states.paths(&own, &in_model)?;
        let linear = linear_weights(model);
        let mut differences: Vec<String> = Vec::new();
        let (mut taken, mut learning_rates) = (Vec::new(), Vec::new());
        let mut all = self.states()?;
        let mut updates = None;
        let mut seen = BTreeSet::new();
        let mut differ = |difference: String| {
            if !differences.contains(&difference) {
                differences.push(difference);
            }
        };
        for (at, group) in states.groups.iter().enumerate() {
            let steps = group.settings.get(STEP).and_then(Value::as_u64);
            let rate = group.settings.get("lr").and_then(Value::as_f64);
            learning_rates.push(rate);
            for &place in &group.places {
                let path = order.get(place).cloned().unwrap_or_default();
                let bound = own.get(path.as_str());
                let refused = |reason: String| PyTorchError::State {
                    place,
                    path: path.clone(),
                    reason,
                };
                let bound =
                    bound.ok_or_else(|| refused("the model here does not train it".into()))?;
                let path = &bound.info().path;
                if !seen.insert(path.clone()) {
                    return Err(refused("it is given twice".into()));
                }
                let settings = settings::of(bound, self.updates()).map_err(&refused)?;
                settings::differences(at, &group.settings, &settings)
                    .into_iter()
                    .for_each(&mut differ);
                // PyTorch makes a state with the first gradient.
                let Some(found) = states.states.get(&place) else {
                    all.0.remove(path);
                    continue;
                };
                let is_linear = linear.contains(&**path);
                let state = convert::state_of(bound, found, steps, is_linear);
                let (state, more) = state.map_err(&refused)?;
                for name in more {
                    differ(format!("group {at}: `{name}` is not needed here"));
                }
                if steps.is_some() || found.contains_key(STEP) {
                    updates = updates.max(state.step);
                }
                all.0.insert(path.clone(), state);
                taken.push(path.clone());
            }
        }
        self.set_states(model, &all)?;
        self.core.counters.updates = updates.unwrap_or(self.core.counters.updates);
        Ok(PyTorchReport {
            taken,
            learning_rates,
            differences,
        })
    }

    /// The state as PyTorch's optimizer of the same kind has it, to be [saved](PyTorchStates::save) and to go on from
    /// there, with `optimizer.load_state_dict(torch.load(file))`.
    ///
    /// Parameters of the same settings and rate are one group, and places are counted group by group, in the order of
    /// the model. Each group has the names of its parameters, as `model.named_parameters()` has them, under
    /// `param_names`. Settings are under torch's names; of an optimizer that is not torch's load the states alone, into
    /// the groups that it has: `optimizer.load_state_dict({**optimizer.state_dict(), "state": file["state"]})`.
    ///
    /// # Errors
    ///
    /// If a parameter's optimizer is not of this library, or has a state of which it is not known how it lies in
    /// PyTorch.
    pub fn pytorch_states<M: Module>(&self, model: &M) -> Result<PyTorchStates, PyTorchError> {
        let model = &self.once(model.clone());
        check_bound(&self.core, model)?;
        let linear = linear_weights(model);
        let states = self.states()?;
        let rates = self.next_rates();
        let mut groups: Vec<(Map<String, Value>, Vec<&Bound>)> = Vec::new();
        for bound in self
            .core
            .bound
            .iter()
            .filter(|bound| bound.info().trainable)
        {
            let own = settings::of(bound, self.updates());
            let own = own.map_err(|reason| PyTorchError::Here {
                path: bound.info().path.to_string(),
                reason,
            })?;
            let mut theirs = settings::theirs(&own);
            theirs.insert(STEP.to_string(), self.updates().into());
            theirs.insert("lr".to_string(), self.core.rate_of(&rates, bound).into());
            match groups.iter_mut().find(|(other, _)| *other == theirs) {
                Some((_, bounds)) => bounds.push(bound),
                None => groups.push((theirs, vec![bound])),
            }
        }
        let mut all = PyTorchStates::default();
        let mut place = 0;
        for (mut settings, bounds) in groups {
            let names = bounds
                .iter()
                .map(|bound| convert::their_path(&bound.info().path));
            settings.insert(NAMES.to_string(), names.collect());
            let first = place;
            for bound in bounds {
                let path = &bound.info().path;
                if let Some(state) = states.get(path) {
                    let theirs = convert::their_state(bound, state, linear.contains(&**path));
                    let theirs = theirs.map_err(|reason| PyTorchError::Here {
                        path: path.to_string(),
                        reason,
                    })?;
                    all.states.insert(place, theirs);
                }
                place += 1;
            }
            all.groups.push(Group {
                settings,
                places: (first..place).collect(),
            });
        }
        Ok(all)
    }
}

/// The paths of what PyTorch has the other way round.
fn linear_weights<M: Module>(model: &M) -> BTreeSet<String> {
    let layers = layers(model).into_iter();
    let linear = layers.filter(|found| found.layer == "Linear");
    linear.map(|found| found.path).collect()
}
