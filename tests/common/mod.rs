//! What the tests share: the devices that are compiled in, and optimizers run on plain numbers.
#![allow(dead_code)]

pub mod behaviour;
pub mod golden;
pub mod net;
pub mod rows;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_pack::Scalar;
use downhill::optim::drive::{Directive, Directives, ModelState, directed};
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
    /// Whether a formula gives the same bits in every kernel. A GPU's compiler may contract a
    /// multiplication and an addition in one kernel and not in another.
    pub exact: bool,
}

/// Every device that is compiled in.
// NdArray is deprecated by Burn, and tested while it is there.
#[cfg_attr(feature = "ndarray", allow(deprecated))]
pub fn devices() -> Vec<TestDevice> {
    vec![
        #[cfg(feature = "flex")]
        TestDevice {
            name: "flex",
            device: Device::flex(),
            dtypes: &[DType::F32, DType::F64, DType::F16, DType::BF16],
            f32_tolerance: 1e-6,
            exact: true,
        },
        #[cfg(feature = "ndarray")]
        TestDevice {
            name: "ndarray",
            device: Device::ndarray(),
            dtypes: &[DType::F32, DType::F64],
            f32_tolerance: 1e-6,
            exact: true,
        },
        #[cfg(feature = "wgpu")]
        TestDevice {
            name: "wgpu",
            device: Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
            dtypes: &[DType::F32],
            f32_tolerance: 4e-6,
            exact: false,
        },
    ]
}

/// The devices that compute in `dtype`.
pub fn devices_with(dtype: DType) -> impl Iterator<Item = TestDevice> {
    devices()
        .into_iter()
        .filter(move |device| device.dtypes.contains(&dtype))
}

/// Half a unit in the last place of a precision, relative; of a device's arithmetic in f32 and f64 a few.
pub fn rounding(device: &TestDevice, dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-12,
        DType::F32 => device.f32_tolerance,
        DType::F16 => 2f64.powi(-10),
        DType::BF16 => 2f64.powi(-7),
        other => panic!("no test is in {other:?}"),
    }
}

/// As many cases of a property as a test takes by itself, or as `PROPTEST_CASES` asks for.
pub fn cases(cases: u32) -> proptest::test_runner::Config {
    let asked = std::env::var("PROPTEST_CASES").ok();
    let asked = asked.and_then(|cases| cases.parse().ok());
    proptest::test_runner::Config::with_cases(asked.unwrap_or(cases))
}

/// Asserts that numbers agree, up to a relative and an absolute difference.
pub fn assert_close(label: &str, found: &[f64], expected: &[f64], relative: f64, absolute: f64) {
    assert_eq!(found.len(), expected.len(), "{label}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= relative * expected.abs() + absolute,
            "{label}: [{i}] is {found:e} instead of {expected:e}"
        );
    }
}

/// A parameter under an optimizer, whatever its rank.
pub struct Subject {
    optim: RuleOptimizer,
    device: Device,
    dtype: DType,
    grad_dtype: DType,
    shape: Vec<usize>,
    param: TensorData,
    state: Option<RuleState>,
    /// Of an optimizer that looks at the whole model, which is this parameter alone.
    of_model: Option<ModelState>,
    steps: u64,
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
    data.convert::<f64>()
        .try_to_vec()
        .expect("converted to f64")
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
            of_model: ModelState::new(&optim),
            steps: 0,
            optim,
            device: device.clone(),
            dtype,
            grad_dtype: dtype,
            shape: shape.to_vec(),
            param: TensorData::new(param.to_vec(), shape.to_vec()),
            state: None,
        }
    }

    /// Makes the CPU backends take tensor operations instead of the pass over memory, by gradients
    /// of another precision than the parameter's.
    pub fn with_tensor_operations(mut self) -> Self {
        self.grad_dtype = DType::F64;
        assert_ne!(self.dtype, DType::F64);
        self
    }

    pub fn step(&mut self, lr: f64, grad: &[f64]) {
        fn go<const D: usize>(subject: &mut Subject, lr: f64, grad: TensorData) {
            let param = core::mem::replace(&mut subject.param, TensorData::new(vec![0.0], [1]));
            let param = tensor::<D>(param, &subject.device, subject.dtype);
            let grad = tensor::<D>(grad, &subject.device, subject.grad_dtype);
            let directive = Directive {
                loss: Some((subject.steps as f64).recip()),
                ..Directive::default()
            };
            let (optim, before) = (&subject.optim, (param, subject.state.take()));
            let step = |(param, state)| optim.step(lr, param, grad.clone(), state);
            let (param, state) = match &mut subject.of_model {
                Some(of_model) => of_model.step(lr, &directive, before, step, step),
                None => directed(Directives::All(directive), || step(before)),
            };
            assert_eq!(param.dtype(), subject.dtype, "a step keeps the precision");
            subject.param = param.into_data();
            subject.state = state;
        }
        let grad = TensorData::new(grad.to_vec(), self.shape.clone());
        self.steps += 1;
        with_rank!(self.shape.len(), go(self, lr, grad));
    }

    /// An independent copy, on shared buffers.
    pub fn fork(&self) -> Self {
        Self {
            optim: self.optim.clone(),
            device: self.device.clone(),
            dtype: self.dtype,
            grad_dtype: self.grad_dtype,
            shape: self.shape.clone(),
            param: self.param.clone(),
            state: self.state.clone(),
            of_model: self.of_model.clone(),
            steps: self.steps,
        }
    }

    /// Pretends that `step` steps were taken, by way of the state's record.
    pub fn set_step(&mut self, step: u64) {
        let mut sink = StateSink::default();
        self.state().state_flatten("p", &mut sink);
        let scalars = sink
            .scalars
            .into_iter()
            .map(|(name, value)| match name.as_str() {
                "p.step" => (name, Scalar::from(step)),
                _ => (name, value),
            });
        let mut source = StateSource::new(scalars.collect());
        for (name, data) in sink.tensors {
            source.insert_tensor(name, data);
        }
        self.state = RuleState::state_unflatten("p", &mut source, &self.device);
        assert!(self.state.is_some());
    }

    pub fn param(&self) -> Vec<f64> {
        floats(self.param.clone())
    }

    /// The parameter to evaluate.
    pub fn evaluated(&self) -> Vec<f64> {
        fn go<const D: usize>(subject: &Subject) -> TensorData {
            let param = tensor::<D>(subject.param.clone(), &subject.device, subject.dtype);
            subject.optim.evaluated(param, subject.state()).into_data()
        }
        floats(with_rank!(self.shape.len(), go(self)))
    }

    /// What is known of the model, which is this parameter alone.
    pub fn of_model(&self) -> Vec<f64> {
        let numbers = self.of_model.iter().flat_map(ModelState::numbers);
        numbers.map(|(_, number)| number).collect()
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
        let of_model = self.of_model.iter().flat_map(ModelState::numbers);
        let of_model = of_model.map(|(name, number)| (name.to_string(), vec![number]));
        tensors
            .map(|(name, data)| (name, floats(data)))
            .chain(scalars.map(|(name, value)| (name, vec![value])))
            .chain(of_model)
            .collect()
    }
}

/// All parameters of a module, one after another.
pub fn values_of(module: &impl Module) -> Vec<f64> {
    let mut collect = Collect::default();
    module.visit(&mut collect);
    collect.0
}

#[derive(Default)]
struct Collect(Vec<f64>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(floats(param.val().into_data()));
    }
}
