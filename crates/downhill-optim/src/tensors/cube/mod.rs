//! A rule's step as one kernel, on the devices of CubeCL.

mod kernel;
mod launch;
mod stream;
mod together;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use burn::backend::fusion::FusionTensor;
use burn::backend::{BackendTensor, DispatchTensor, DispatchTensorKind, TensorMetadata};
use burn::tensor::DType;
use burn_cubecl::fusion::FusionCubeRuntime;
use downhill_rule::Clock;
use downhill_rule::tape::Tape;

use crate::program::Engine;

pub(crate) use together::enable;

/// Whether steps run as kernels; the environment can say that they do not.
fn is_on() -> bool {
    static ON: OnceLock<bool> = OnceLock::new();
    *ON.get_or_init(|| std::env::var("DOWNHILL_CUBE").map_or(true, |value| value != "0"))
}

/// A step that can run as a kernel.
pub(crate) struct Planned {
    program: Arc<Tape>,
    scalars: Vec<f64>,
}

impl Planned {
    /// The step, if device and rule allow that it runs as a kernel. If not, the clock stays as it was.
    pub fn new(
        engine: &dyn Engine,
        clock: &mut Clock,
        param: &DispatchTensor,
        grad: &DispatchTensor,
        state: &[DispatchTensor],
    ) -> Option<Self> {
        let dtype = param.dtype();
        let is_float = matches!(dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16);
        let mut tensors = [param, grad].into_iter().chain(state);
        if !is_on() || !is_float || grad.dtype() != dtype || !tensors.all(on_device) {
            return None;
        }
        let mut scalars = clock.memory.to_vec();
        let mut own = Clock {
            memory: &mut scalars,
            ..*clock
        };
        let recorded = engine.record(&mut own, param.shape().as_slice())?;
        if recorded.known > 0 {
            return None;
        }
        clock.memory.copy_from_slice(&scalars);
        Some(Self {
            program: interned(recorded.go.tape),
            scalars: recorded.go.scalars,
        })
    }

    /// Makes the step: registers it, to be executed with what else is in Burn's stream.
    pub fn run(
        self,
        param: DispatchTensor,
        grad: DispatchTensor,
        state: &mut Vec<DispatchTensor>,
    ) -> DispatchTensor {
        let autodiff = param.autodiff;
        let whole = |tensor| DispatchTensor {
            kind: DispatchTensorKind::Cube(BackendTensor::Float(tensor)),
            autodiff,
        };
        let tensors = [param, grad].into_iter().chain(state.drain(..));
        let tensors = tensors.filter_map(float).collect();
        let mut moved = stream::register(self.program, self.scalars, tensors).into_iter();
        let param = moved.next().map(whole).expect("the parameter comes first");
        state.extend(moved.map(whole));
        param
    }
}

fn on_device(tensor: &DispatchTensor) -> bool {
    matches!(
        tensor.kind,
        DispatchTensorKind::Cube(BackendTensor::Float(_))
    )
}

fn float(tensor: DispatchTensor) -> Option<FusionTensor<FusionCubeRuntime>> {
    #[allow(unreachable_patterns)]
    match tensor.kind {
        DispatchTensorKind::Cube(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    }
}

/// The same tape as before, if there was an equal one: kernels are found by it at each launch.
fn interned(tape: Tape) -> Arc<Tape> {
    static TAPES: OnceLock<Mutex<HashSet<Arc<Tape>>>> = OnceLock::new();
    let tapes = TAPES.get_or_init(Mutex::default).lock();
    let mut tapes = tapes.unwrap_or_else(PoisonError::into_inner);
    if let Some(tape) = tapes.get(&tape) {
        return tape.clone();
    }
    let tape = Arc::new(tape);
    tapes.insert(tape.clone());
    tape
}
