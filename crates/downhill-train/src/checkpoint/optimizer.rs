//! An optimizer's state by the paths of the parameters, out of Burn's record and back into it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ParamId};
use burn::optim::ModuleOptimizer;
use burn::store::RecordError;
use burn::tensor::{Bytes, DType, TensorData};
use burn_pack::{Reader, Scalar, Writer};

use downhill_optim::drive::state_dtype;

use super::CheckpointError;
use crate::bound::Bound;
use crate::probe::Refusal;
use crate::update::Core;
use crate::{BindError, probe};

/// The state of all parameters, each entry under `path` and its own name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct States {
    pub tensors: BTreeMap<(String, String), TensorData>,
    pub scalars: BTreeMap<(String, String), Scalar>,
}

impl States {
    /// Those of the parameters that the model has; others are of a model that is no more.
    pub fn of(optim: &ModuleOptimizer, bound: &[Bound]) -> Result<Self, RecordError> {
        let paths: HashMap<u64, &str> = (bound.iter())
            .map(|bound| (bound.id().val(), &*bound.info().path))
            .collect();
        let path = |id: u64| paths.get(&id).map(|path| path.to_string());
        Self::from_record(Reader::from_bytes(optim.into_bytes()?)?, path)
    }

    /// [`of`](Self::of), for whoever saves or shows them.
    pub fn read(optim: &ModuleOptimizer, bound: &[Bound]) -> Result<Self, CheckpointError> {
        Self::of(optim, bound).map_err(|error| CheckpointError::State {
            path: "the whole model".to_string(),
            reason: error.to_string(),
        })
    }

    /// Those that this rank keeps: all of them, but where ranks share them.
    fn kept_by(&self, core: &Core) -> Cow<'_, Self> {
        let Some(shares) = &core.shares else {
            return Cow::Borrowed(self);
        };
        let own = core.bound.iter().zip(shares.own()).filter(|(_, own)| *own);
        let own: BTreeSet<&str> = own.map(|(bound, _)| &*bound.info().path).collect();
        let mut kept = self.clone();
        kept.tensors
            .retain(|(path, _), _| own.contains(path.as_str()));
        kept.scalars
            .retain(|(path, _), _| own.contains(path.as_str()));
        Cow::Owned(kept)
    }

    /// The entries of a record of Burn's, with the path of each id.
    pub fn from_record(
        reader: Reader,
        path: impl Fn(u64) -> Option<String>,
    ) -> Result<Self, RecordError> {
        let key = |name: &str| {
            let (id, field) = name.split_once('.')?;
            Some((path(id.parse().ok()?)?, field.to_string()))
        };
        let mut states = Self::default();
        for (name, scalar) in reader.scalars() {
            if let Some(key) = key(name) {
                states.scalars.insert(key, *scalar);
            }
        }
        for tensor in reader.into_tensors()? {
            let (name, dtype, shape, _, bytes) = tensor.into_parts()?;
            if let Some(key) = key(&name) {
                let data = TensorData::from_bytes(bytes, shape, dtype);
                states.tensors.insert(key, data);
            }
        }
        Ok(states)
    }

    /// The paths that have a state.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let tensors = self.tensors.keys().map(|(path, _)| path.as_str());
        let scalars = self.scalars.keys().map(|(path, _)| path.as_str());
        tensors.chain(scalars)
    }

    /// The optimizer with these states and no others.
    pub fn load(
        &self,
        optim: &ModuleOptimizer,
        id: impl Fn(&str) -> Option<ParamId>,
    ) -> Result<ModuleOptimizer, RecordError> {
        optim.clone().from_bytes(self.record(id)?)
    }

    /// A record of Burn's.
    pub fn record(&self, id: impl Fn(&str) -> Option<ParamId>) -> Result<Bytes, RecordError> {
        let name = |(path, field): &(String, String)| {
            let id = id(path)?.val();
            Some((id, format!("{id}.{field}")))
        };
        let tensors = self.tensors.iter().filter_map(|(key, data)| {
            let (id, name) = name(key)?;
            let bytes = Bytes::from_bytes_vec(data.as_bytes().to_vec());
            let shape = data.shape().clone();
            Some(burn_pack::Tensor::new(
                name,
                data.dtype(),
                shape,
                Some(id),
                bytes,
            ))
        });
        let mut writer = Writer::new(tensors.collect());
        for (key, scalar) in &self.scalars {
            if let Some((id, name)) = name(key) {
                writer = writer.with_scalar(&name, *scalar);
                // By which Burn finds the group.
                writer = writer.with_metadata(&id.to_string(), &key.0);
            }
        }
        Ok(writer.into_bytes()?)
    }

    /// The path and name of an entry that is not the same in `other`, if there is one.
    pub fn difference(&self, other: &Self) -> Option<(String, String)> {
        let same = |a: &TensorData, b: &TensorData| {
            a.dtype() == b.dtype() && a.shape() == b.shape() && a.as_bytes() == b.as_bytes()
        };
        let tensor = self
            .tensors
            .iter()
            .find(|(key, data)| (other.tensors.get(key)).is_none_or(|other| !same(data, other)));
        let scalar = self.scalars.iter().find(|(key, scalar)| {
            // Bit for bit, which a NaN is not by itself.
            let bits = |scalar: &Scalar| match scalar {
                Scalar::Float(value) => Scalar::UInt(value.to_bits()),
                other => *other,
            };
            other.scalars.get(key).map(bits) != Some(bits(scalar))
        });
        let tensor = tensor.map(|(key, _)| key);
        tensor.or(scalar.map(|(key, _)| key)).cloned()
    }
}

/// The id of each path.
pub(super) fn ids(bound: &[Bound]) -> HashMap<&str, ParamId> {
    let pairs = bound.iter().map(|bound| (&*bound.info().path, bound.id()));
    pairs.collect()
}

/// The optimizer with these states, of which every one is taken up; in the precision in which this library keeps
/// states, if it is `strict`.
pub(crate) fn stated<M: Module>(
    core: &Core,
    optim: &ModuleOptimizer,
    model: &M,
    states: &States,
    strict: bool,
) -> Result<ModuleOptimizer, CheckpointError> {
    let states = &*states.kept_by(core);
    let ids = ids(&core.bound);
    let refused = |path: &str, reason: String| CheckpointError::State {
        path: path.to_string(),
        reason,
    };
    // Burn's own loader panics on some records that it should refuse.
    let load = AssertUnwindSafe(|| states.load(optim, |path| ids.get(path).copied()));
    let optim = match catch_unwind(load) {
        Ok(Ok(optim)) => optim,
        Ok(Err(error)) => return Err(refused("the whole model", error.to_string())),
        Err(_) => return Err(refused("the whole model", "Burn panics on it".to_string())),
    };
    if strict {
        check_precisions(core, states)?;
    }
    let taken = States::read(&optim, &core.bound)?;
    if let Some((path, name)) = states.difference(&taken) {
        let reason = format!(
            "`{name}` is lost or changed by it; it is another optimizer's, or in a precision that Burn \
             does not keep"
        );
        return Err(refused(&path, reason));
    }
    let unfit = |refusal: Refusal| refused(&refusal.path, refusal.reason);
    let probed = probe::all(model, &optim).map_err(unfit)?;
    let probed = || probed.iter().zip(&core.bound);
    let mismatch = probed().find_map(|(probed, bound)| {
        let mismatch = probed.as_ref()?.mismatch.as_ref()?;
        Some((bound.info().path.clone(), mismatch.to_string()))
    });
    if let Some((path, reason)) = mismatch {
        return Err(refused(&path, reason));
    }
    let stated: BTreeSet<&str> = states.paths().collect();
    let others = probed().filter(|(probed, bound)| probed.is_none() && bound.info().trainable);
    let others: BTreeSet<&str> = others
        .map(|(_, bound)| &*bound.info().path)
        .filter(|path| stated.contains(path))
        .collect();
    probe::step_copies(model, &optim, &others).map_err(unfit)?;
    Ok(optim)
}

/// Whether the states are in the precision in which this library keeps them.
fn check_precisions(core: &Core, states: &States) -> Result<(), CheckpointError> {
    let own = core.bound.iter().filter(|bound| bound.is_own());
    let dtypes: HashMap<&str, DType> = own
        .map(|bound| {
            let info = bound.info();
            (&*info.path, state_dtype(info.dtype).into())
        })
        .collect();
    for ((path, name), data) in &states.tensors {
        let Some(expected) = dtypes.get(path.as_str()) else {
            continue;
        };
        if name.starts_with("state.") && data.dtype() != *expected {
            let found = data.dtype();
            return Err(CheckpointError::State {
                path: path.clone(),
                reason: format!("`{name}` is in {found:?}, and must be in {expected:?}"),
            });
        }
    }
    Ok(())
}

/// The optimizer with the same states under other ids.
pub(crate) fn renamed(
    optim: &ModuleOptimizer,
    bound: &[Bound],
    to: &[ParamId],
) -> Result<ModuleOptimizer, BindError> {
    let ids: HashMap<&str, ParamId> = (bound.iter().zip(to))
        .map(|(bound, to)| (&*bound.info().path, *to))
        .collect();
    let paths: HashMap<u64, &str> = ids.iter().map(|(path, id)| (id.val(), *path)).collect();
    let rename = || {
        let states = States::of(optim, bound)?;
        let moved = states.load(optim, |path| ids.get(path).copied())?;
        let path = |id: u64| paths.get(&id).map(|path| path.to_string());
        let taken = States::from_record(Reader::from_bytes(moved.into_bytes()?)?, path)?;
        Ok((moved, states.difference(&taken)))
    };
    let state = |path: String, reason| {
        let path = path.into();
        BindError::State { path, reason }
    };
    match rename() {
        Ok((moved, None)) => Ok(moved),
        Ok((_, Some((path, name)))) => {
            let reason = format!("`{name}` is in a precision that Burn does not keep");
            Err(state(path, reason))
        }
        Err(error) => {
            let error: RecordError = error;
            Err(state("the whole model".to_string(), error.to_string()))
        }
    }
}
