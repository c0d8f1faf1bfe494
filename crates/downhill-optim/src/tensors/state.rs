use std::sync::Arc;

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchDevice, DispatchTensor, TensorMetadata, read_sync};
use burn::optim::{RecordState, StateSink, StateSource, join_path};
use burn::tensor::{DType, Device, FloatDType, TensorData};
use burn_pack::Scalar;
use serde::{Deserialize, Serialize};

/// The state of one parameter: named tensors, named host scalars and the step counter.
///
/// It has no rank and no device of its own: a record that was loaded stays on the host until the
/// first step puts it, in its own precision, beside the parameter.
#[derive(Clone, Debug)]
pub struct RuleState {
    pub(crate) layout: Arc<Layout>,
    pub(crate) step: u64,
    pub(crate) memory: Vec<f64>,
    pub(crate) tensors: Tensors,
}

/// Names of the state's tensors and scalars, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub tensors: Vec<String>,
    pub scalars: Vec<String>,
}

impl Layout {
    /// As it stands in a record.
    pub fn encoded(&self) -> TensorData {
        let layout = serde_json::to_vec(self).expect("strings serialise");
        let len = layout.len();
        TensorData::new(layout, [len])
    }

    /// Every name, for messages.
    pub fn names(&self) -> Vec<String> {
        self.tensors.iter().chain(&self.scalars).cloned().collect()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Tensors {
    Host(Vec<TensorData>),
    Device(Vec<DispatchTensor>),
}

impl RuleState {
    /// The number of steps taken.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Names and values of the state tensors, read back from their device.
    pub fn tensors(&self) -> Vec<(String, TensorData)> {
        let names = self.layout.tensors.iter().cloned();
        names.zip(self.data()).collect()
    }

    /// Names and values of the host scalars.
    pub fn scalars(&self) -> Vec<(String, f64)> {
        let names = self.layout.scalars.iter().cloned();
        names.zip(self.memory.iter().copied()).collect()
    }

    pub(crate) fn moved_to(mut self, device: &Device) -> Self {
        if let Tensors::Device(tensors) = &mut self.tensors {
            let target = device.as_dispatch();
            if tensors.iter().any(|tensor| tensor.device() != *target) {
                *tensors = core::mem::take(tensors)
                    .into_iter()
                    .map(|tensor| Dispatch::float_to_device(tensor, target))
                    .collect();
            }
        }
        self
    }

    /// The tensors in `dtype`, put on `device` if they were still on the host.
    pub(crate) fn on_device(
        &mut self,
        device: &DispatchDevice,
        dtype: DType,
    ) -> &mut Vec<DispatchTensor> {
        if let Tensors::Host(data) = &mut self.tensors {
            let tensors = core::mem::take(data)
                .into_iter()
                // The device need not know the saved precision.
                .map(|data| Dispatch::float_from_data(data.convert_dtype(dtype), device))
                .collect();
            self.tensors = Tensors::Device(tensors);
        }
        match &mut self.tensors {
            Tensors::Device(tensors) => {
                // The parameter may have been cast since the last step.
                for tensor in tensors.iter_mut().filter(|tensor| tensor.dtype() != dtype) {
                    *tensor = Dispatch::float_cast(tensor.clone(), dtype.into());
                }
                tensors
            }
            Tensors::Host(_) => unreachable!("moved to the device above"),
        }
    }

    fn data(&self) -> Vec<TensorData> {
        match &self.tensors {
            Tensors::Host(data) => data.clone(),
            Tensors::Device(tensors) => tensors.iter().cloned().map(read).collect(),
        }
    }
}

fn read(tensor: DispatchTensor) -> TensorData {
    let data = read_sync(Dispatch::float_into_data(tensor));
    detached(data.expect("reading a tensor back fails only when its device is lost"))
}

const LAYOUT: &str = "layout";
const STEP: &str = "step";
// Names of a rule's own stand one level below, where they cannot meet these or Burn's.
const SCALARS: &str = "scalars";
const TENSORS: &str = "state";

impl RecordState for RuleState {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        // Burn's records find a tensor by its name alone, so the names themselves are saved.
        out.push_tensor(prefix, LAYOUT, self.layout.encoded());
        out.push_scalar(prefix, STEP, Scalar::from(self.step));
        let scalars = join_path(prefix, SCALARS);
        for (name, value) in self.scalars() {
            out.push_scalar(&scalars, &name, Scalar::from(value));
        }
        let prefix = join_path(prefix, TENSORS);
        for (name, data) in self.tensors() {
            out.push_tensor(&prefix, &name, data);
        }
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, _device: &Device) -> Option<Self> {
        let layout = src.take_tensor(prefix, LAYOUT)?;
        let layout: Layout = serde_json::from_slice(layout.as_bytes()).ok()?;
        let step = u64::try_from(src.take_scalar(prefix, STEP)?).ok()?;
        let scalars = join_path(prefix, SCALARS);
        let memory = layout
            .scalars
            .iter()
            .map(|name| f64::try_from(src.take_scalar(&scalars, name)?).ok())
            .collect::<Option<_>>()?;
        let prefix = join_path(prefix, TENSORS);
        let tensors = layout
            .tensors
            .iter()
            .map(|name| src.take_tensor(&prefix, name))
            .collect::<Option<_>>()?;
        Some(Self {
            layout: Arc::new(layout),
            step,
            memory,
            tensors: Tensors::Host(tensors),
        })
    }
}

/// The precision of arithmetic, of state, and of sums over a training, beside a tensor of this one: 16 bits are
/// too coarse for them.
pub fn state_dtype(dtype: DType) -> FloatDType {
    match dtype {
        DType::F64 => FloatDType::F64,
        _ => FloatDType::F32,
    }
}

/// What was read from a device, in memory of its own.
///
/// On wgpu it is a view of a staging buffer that is used again while the view is still held.
pub fn detached(data: TensorData) -> TensorData {
    let (shape, dtype) = (data.shape().clone(), data.dtype());
    TensorData::from_bytes_vec(data.as_bytes().to_vec(), shape, dtype)
}
