//! The same as safetensors: tensors `state.PLACE.NAME`, and the groups as JSON in the metadata.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensors, View};
use serde_json::Value;

use super::{Group, PyTorchError, PyTorchStates};

/// Where the groups are in the metadata.
const GROUPS: &str = "param_groups";

/// The precisions that both have.
const DTYPES: [(DType, Dtype); 4] = [
    (DType::F64, Dtype::F64),
    (DType::F32, Dtype::F32),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
];

pub(super) fn read(file: &Path, key: Option<&str>) -> Result<PyTorchStates, PyTorchError> {
    let name = file.display().to_string();
    let unreadable = |reason: String| PyTorchError::File {
        file: name.clone(),
        reason,
    };
    let other = |reason: String| PyTorchError::Other {
        file: name.clone(),
        reason,
    };
    if let Some(key) = key {
        return Err(other(format!(
            "no `{key}`: safetensors have no keys in keys"
        )));
    }
    let bytes = std::fs::read(file).map_err(|error| unreadable(error.to_string()))?;
    let said = |error: safetensors::SafeTensorError| unreadable(error.to_string());
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(said)?;
    let found = SafeTensors::deserialize(&bytes).map_err(said)?;
    let groups = metadata.metadata().as_ref().and_then(|all| all.get(GROUPS));
    let groups = groups.ok_or_else(|| other(format!("its metadata has no `{GROUPS}`")))?;
    let groups: Vec<Value> =
        serde_json::from_str(groups).map_err(|error| other(format!("`{GROUPS}`: {error}")))?;
    let groups: Result<_, _> = groups.into_iter().map(Group::read).collect();
    let mut all = PyTorchStates {
        groups: groups.map_err(|reason| other(reason.to_string()))?,
        ..PyTorchStates::default()
    };
    for (key, tensor) in found.iter() {
        let mut parts = key.splitn(3, '.');
        let place = match (parts.next(), parts.next().map(str::parse)) {
            (Some("state"), Some(Ok(place))) => Some(place),
            _ => None,
        };
        let (Some(place), Some(name)) = (place, parts.next()) else {
            return Err(other(format!("`{key}` is not `state.PLACE.NAME`")));
        };
        let dtype = DTYPES.iter().find(|(_, theirs)| *theirs == tensor.dtype());
        let Some((dtype, _)) = dtype else {
            return Err(other(format!("`{key}` is no float")));
        };
        let bytes = tensor.data().to_vec();
        let data = TensorData::from_bytes_vec(bytes, tensor.shape().to_vec(), *dtype);
        let state = all.states.entry(place).or_default();
        state.insert(name.to_string(), data);
    }
    Ok(all)
}

/// The bytes of a file.
pub(super) fn bytes(states: &PyTorchStates) -> Result<Vec<u8>, String> {
    let mut tensors = Vec::new();
    for (place, state) in &states.states {
        for (name, data) in state {
            let dtype = DTYPES.iter().find(|(ours, _)| *ours == data.dtype());
            let (_, dtype) = dtype.ok_or_else(|| format!("a tensor of {:?}", data.dtype()))?;
            tensors.push((format!("state.{place}.{name}"), Lent(data, *dtype)));
        }
    }
    let groups = states.groups.iter().map(Group::written);
    let groups: Value = groups.map(Value::Object).collect();
    let metadata = HashMap::from([(GROUPS.to_string(), groups.to_string())]);
    safetensors::serialize(tensors, Some(metadata)).map_err(|error| error.to_string())
}

struct Lent<'a>(&'a TensorData, Dtype);

impl View for Lent<'_> {
    fn dtype(&self) -> Dtype {
        self.1
    }

    fn shape(&self) -> &[usize] {
        self.0.shape().as_slice()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.0.as_bytes().into()
    }

    fn data_len(&self) -> usize {
        self.0.as_bytes().len()
    }
}
