//! The state of an optimizer, to be looked at and to be changed.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::tensor::TensorData;
use burn_pack::Scalar;

use crate::checkpoint::{CheckpointError, States, check_bound, stated};
use crate::once::Once;
use crate::{Driver, ParamPath, path};

/// The state that an optimizer has of each parameter, read back into memory: a copy, which
/// [`Driver::set_states`] takes up again.
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
/// let mut driver = Driver::builder(AdamWConfig::new().init(), 1e-3).bind(&model)?;
/// # let loss = model.forward(Tensor::<2>::ones([1, 2], &device)).sum();
/// # let grads = GradientsParams::from_grads(loss.backward(), &model);
/// let (model, _) = driver.step(model, grads).map_err(|error| error.cause)?;
/// let mut states = driver.states()?;
/// println!("{states}");
/// // weight, step 1
/// //   exp_avg  2 × 1  F32  norm 1.414e-1, from 1.000e-1 to 1.000e-1
/// //   exp_avg_sq  2 × 1  F32  norm 1.414e-3, from 1.000e-3 to 1.000e-3
/// let state = states.get("weight").unwrap();
/// assert_eq!(state.step, Some(1));
/// assert_eq!(state.tensors["exp_avg"].shape().as_slice(), [2, 1]);
///
/// states.remove("**"); // they begin anew
/// driver.set_states(&model, &states)?;
/// assert!(driver.states()?.get("weight").is_none());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimizerStates(pub(crate) BTreeMap<ParamPath, ParameterState>);

/// The state of one parameter, under the names that the optimizer has for it: PyTorch's, of the optimizers of this
/// library.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ParameterState {
    /// How many steps it has made, where that is known.
    pub step: Option<u64>,
    /// The tensors.
    pub tensors: BTreeMap<String, TensorData>,
    /// Other numbers.
    pub scalars: BTreeMap<String, f64>,
    /// What is not to be changed: names that the optimizer has written, and of other optimizers what is no float.
    rest: (BTreeMap<String, TensorData>, BTreeMap<String, Scalar>),
}

impl ParameterState {
    /// That of an optimizer of this library for a parameter of this rank, without any numbers.
    #[cfg(feature = "pytorch")]
    pub(crate) fn named(names: &downhill_optim::drive::StateNames, rank: usize) -> Self {
        let mut state = Self::default();
        state.rest.0.insert(LAYOUT.to_string(), names.encoded());
        let rank = Scalar::from(rank as u64);
        state.rest.1.insert(RANK.to_string(), rank);
        state
    }
}

/// What the numbers of a state tensor are like.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// How many there are.
    pub count: usize,
    /// The smallest of those that are finite; 0 if there is none.
    pub min: f64,
    /// The largest of those that are finite; 0 if there is none.
    pub max: f64,
    /// The root of the sum of squares of those that are finite.
    pub norm: f64,
    /// How many are NaN or infinite.
    pub non_finite: usize,
}

/// Where the tensors of this library's optimizers stand in a record of Burn's.
const TENSORS: &str = "state.";

/// Where their scalars do.
const SCALARS: &str = "scalars.";

/// The number of steps.
const STEP: &str = "step";

/// Where Burn keeps the rank of the parameter.
pub(crate) const RANK: &str = "__rank";

/// The names, in order; an optimizer of this library has it.
const LAYOUT: &str = "layout";

impl OptimizerStates {
    /// The state of a parameter.
    pub fn get(&self, path: &str) -> Option<&ParameterState> {
        self.0.get(path)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut ParameterState> {
        self.0.get_mut(path)
    }

    /// Paths and states, in the order of the paths.
    pub fn iter(&self) -> impl Iterator<Item = (&ParamPath, &ParameterState)> {
        self.0.iter()
    }

    /// Drops the states of parameters by a pattern for their paths, as [`Select::path`](crate::Select::path) has it;
    /// returns how many. Without a state a parameter begins anew.
    pub fn remove(&mut self, pattern: &str) -> usize {
        let regex = path::pattern(pattern);
        let before = self.0.len();
        self.0.retain(|path, _| !regex.is_match(path));
        before - self.0.len()
    }

    fn of(states: States) -> Self {
        let mut all: BTreeMap<ParamPath, ParameterState> = BTreeMap::new();
        let keys = states.tensors.keys();
        let own: BTreeSet<String> = keys
            .filter(|(_, name)| name == LAYOUT)
            .map(|(path, _)| path.clone())
            .collect();
        for ((path, name), data) in states.tensors {
            let is_own = own.contains(&path);
            let state = all.entry(path.into()).or_default();
            match name.strip_prefix(TENSORS).filter(|_| is_own) {
                Some(own) => state.tensors.insert(own.to_string(), data),
                None if data.dtype().is_float() => state.tensors.insert(name, data),
                None => state.rest.0.insert(name, data),
            };
        }
        for ((path, name), scalar) in states.scalars {
            let state = all.entry(path.into()).or_default();
            let number = name.strip_prefix(SCALARS).zip(f64::try_from(scalar).ok());
            match (number, u64::try_from(scalar)) {
                (Some((own, number)), _) => {
                    state.scalars.insert(own.to_string(), number);
                }
                (None, Ok(step)) if name == STEP => state.step = Some(step),
                _ => {
                    state.rest.1.insert(name, scalar);
                }
            }
        }
        Self(all)
    }

    fn states(&self) -> States {
        let mut states = States::default();
        for (path, state) in &self.0 {
            let key = |name: String| (path.to_string(), name);
            let own = state.rest.0.contains_key(LAYOUT);
            for (name, data) in &state.tensors {
                let name = match own {
                    true => format!("{TENSORS}{name}"),
                    false => name.clone(),
                };
                states.tensors.insert(key(name), data.clone());
            }
            for (name, data) in &state.rest.0 {
                states.tensors.insert(key(name.clone()), data.clone());
            }
            for (name, number) in &state.scalars {
                let scalar = Scalar::from(*number);
                states
                    .scalars
                    .insert(key(format!("{SCALARS}{name}")), scalar);
            }
            for (name, scalar) in &state.rest.1 {
                states.scalars.insert(key(name.clone()), *scalar);
            }
            if let Some(step) = state.step {
                states
                    .scalars
                    .insert(key(STEP.to_string()), Scalar::from(step));
            }
        }
        states
    }
}

impl ParameterState {
    /// What the numbers of a tensor are like.
    pub fn statistics(&self, name: &str) -> Option<Statistics> {
        let data = self.tensors.get(name)?;
        let mut found = Statistics {
            count: data.num_elements(),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            norm: 0.0,
            non_finite: 0,
        };
        for value in data.iter::<f64>() {
            if value.is_finite() {
                found.min = found.min.min(value);
                found.max = found.max.max(value);
                found.norm = found.norm.hypot(value);
            } else {
                found.non_finite += 1;
            }
        }
        if found.count == found.non_finite {
            (found.min, found.max) = (0.0, 0.0);
        }
        Some(found)
    }
}

/// A line for each tensor and number.
impl fmt::Display for OptimizerStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, state) in &self.0 {
            write!(f, "{path}")?;
            if let Some(step) = state.step {
                write!(f, ", step {step}")?;
            }
            writeln!(f)?;
            for (name, data) in &state.tensors {
                let shape = data.shape();
                let sides: Vec<String> = shape.iter().map(ToString::to_string).collect();
                write!(f, "  {name}  {}  {:?}", sides.join(" × "), data.dtype())?;
                if let Some(found) = state.statistics(name) {
                    let Statistics { min, max, norm, .. } = found;
                    write!(f, "  norm {norm:.3e}, from {min:.3e} to {max:.3e}")?;
                    if found.non_finite > 0 {
                        write!(f, ", {} not finite", found.non_finite)?;
                    }
                }
                writeln!(f)?;
            }
            for (name, number) in &state.scalars {
                writeln!(f, "  {name}  {number}")?;
            }
        }
        Ok(())
    }
}

impl Driver {
    /// The optimizer's state of every parameter that has one.
    ///
    /// # Errors
    ///
    /// If the optimizer cannot write its record.
    pub fn states(&self) -> Result<OptimizerStates, CheckpointError> {
        let states = States::read(&self.optim, &self.core.bound)?;
        Ok(OptimizerStates::of(states))
    }

    /// Goes on with these states, and no others. What an optimizer keeps of the whole model
    /// ([`model_state`](Self::model_state)) stays.
    ///
    /// # Errors
    ///
    /// If a parameter is not there or an optimizer does not take its state up: names, shapes or precisions are not
    /// those that it would make. The optimizer keeps what it had.
    pub fn set_states<M: Module>(
        &mut self,
        model: &M,
        states: &OptimizerStates,
    ) -> Result<(), CheckpointError> {
        let known = |path: &ParamPath| {
            self.core
                .bound
                .iter()
                .any(|bound| bound.info().path == *path)
        };
        if let Some(path) = states.0.keys().find(|path| !known(path)) {
            return Err(CheckpointError::State {
                path: path.to_string(),
                reason: "the model has no such parameter".to_string(),
            });
        }
        let model = &Once::of(model.clone());
        check_bound(&self.core, model)?;
        self.optim = stated(&self.core, &self.optim, model, &states.states(), true)?;
        Ok(())
    }
}
