//! What the tests share: the devices that are compiled in, and optimizers run on plain numbers.
#![allow(dead_code)]

pub mod golden;

use burn::optim::Optimizer;
use burn::tensor::{DType, Device, Tensor, TensorData};
use downhill::optim::{RuleOptimizer, RuleState};

/// A device to test on.
pub struct TestDevice {
    pub name: &'static str,
    pub device: Device,
    /// The precisions of its floats.
    pub dtypes: &'static [DType],
    /// Rounding of its arithmetic in f32, relative. The CPU's is IEEE's; WGSL allows a division
    /// 2.5 units in the last place and a square root the error of `1/inverseSqrt`, so a step may
    /// be that far off.
    pub f32_tolerance: f64,
}

/// Every device that is compiled in.
pub fn devices() -> Vec<TestDevice> {
    vec![
        #[cfg(feature = "flex")]
        TestDevice {
            name: "flex",
            device: Device::flex(),
            dtypes: &[DType::F32, DType::F64, DType::F16, DType::BF16],
            f32_tolerance: 1e-6,
        },
        #[cfg(feature = "ndarray")]
        TestDevice {
            name: "ndarray",
            device: Device::ndarray(),
            dtypes: &[DType::F32, DType::F64],
            f32_tolerance: 1e-6,
        },
        #[cfg(feature = "wgpu")]
        TestDevice {
            name: "wgpu",
            device: Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
            dtypes: &[DType::F32],
            f32_tolerance: 4e-6,
        },
    ]
}

/// The devices that compute in `dtype`.
pub fn devices_with(dtype: DType) -> impl Iterator<Item = TestDevice> {
    devices()
        .into_iter()
        .filter(move |device| device.dtypes.contains(&dtype))
}

/// A parameter under an optimizer, whatever its rank.
pub struct Subject {
    optim: RuleOptimizer,
    device: Device,
    dtype: DType,
    shape: Vec<usize>,
    param: TensorData,
    state: Option<RuleState>,
}

/// Calls a function that is generic over the rank.
macro_rules! with_rank {
    ($rank:expr, $f:ident($($arg:expr),*)) => {
        match $rank {
            1 => $f::<1>($($arg),*),
            2 => $f::<2>($($arg),*),
            3 => $f::<3>($($arg),*),
            4 => $f::<4>($($arg),*),
            5 => $f::<5>($($arg),*),
            rank => panic!("no test has rank {rank}"),
        }
    };
}

pub fn tensor<const D: usize>(data: TensorData, device: &Device, dtype: DType) -> Tensor<D> {
    Tensor::from_data(data, (device, dtype))
}

pub fn floats(data: TensorData) -> Vec<f64> {
    data.convert::<f64>().to_vec().expect("converted to f64")
}

impl Subject {
    pub fn new(
        optim: RuleOptimizer,
        device: &Device,
        dtype: DType,
        shape: &[usize],
        param: &[f64],
    ) -> Self {
        Self {
            optim,
            device: device.clone(),
            dtype,
            shape: shape.to_vec(),
            param: TensorData::new(param.to_vec(), shape.to_vec()),
            state: None,
        }
    }

    pub fn step(&mut self, lr: f64, grad: &[f64]) {
        fn go<const D: usize>(subject: &mut Subject, lr: f64, grad: TensorData) {
            let param = core::mem::replace(&mut subject.param, TensorData::new(vec![0.0], [1]));
            let param = tensor::<D>(param, &subject.device, subject.dtype);
            let grad = tensor::<D>(grad, &subject.device, subject.dtype);
            let (param, state) = subject.optim.step(lr, param, grad, subject.state.take());
            assert_eq!(param.dtype(), subject.dtype, "a step keeps the precision");
            subject.param = param.into_data();
            subject.state = state;
        }
        let grad = TensorData::new(grad.to_vec(), self.shape.clone());
        with_rank!(self.shape.len(), go(self, lr, grad));
    }

    pub fn param(&self) -> Vec<f64> {
        floats(self.param.clone())
    }

    pub fn param_data(&self) -> &TensorData {
        &self.param
    }

    pub fn state(&self) -> &RuleState {
        self.state.as_ref().expect("a step was taken")
    }

    /// Every state tensor and scalar.
    pub fn named_state(&self) -> Vec<(String, Vec<f64>)> {
        let tensors = self.state().tensors().into_iter();
        let scalars = self.state().scalars().into_iter();
        tensors
            .map(|(name, data)| (name, floats(data)))
            .chain(scalars.map(|(name, value)| (name, vec![value])))
            .collect()
    }
}
