//! A rule's step as one kernel, on the devices of CubeCL.

mod kernel;
mod launch;
mod limits;
mod look;
mod norm;
mod plan;
mod squares;
mod stream;
mod together;

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use burn::backend::ops::FloatTensorOps;
use burn::backend::{
    BackendTensor, Dispatch, DispatchTensor, DispatchTensorKind, Shape, TensorMetadata,
};
use burn::tensor::{DType, FloatDType};
use downhill_rule::Clock;
use downhill_rule::tape::Tape;

use crate::program::{self as optim, Engine};
use launch::Program;
use limits::Limits;
use plan::{Grid, Plan};
use stream::Float;

pub(crate) use norm::{coefficient, squares};
pub(crate) use together::enable;

/// Whether steps run as kernels; the environment can say that they do not.
fn is_on() -> bool {
    static ON: OnceLock<bool> = OnceLock::new();
    *ON.get_or_init(|| std::env::var("DOWNHILL_CUBE").map_or(true, |value| value != "0"))
}

static TAPES: LazyLock<Mutex<HashSet<Arc<Tape>>>> = LazyLock::new(Mutex::default);
static PLANS: LazyLock<Mutex<HashSet<Arc<Plan>>>> = LazyLock::new(Mutex::default);

/// A step that can run as a kernel.
pub(crate) struct Planned {
    program: Program,
    scalars: Vec<f64>,
}

impl Planned {
    /// The step, if device and rule allow that it runs as a kernel. If not, the clock stays as it was.
    pub fn new(
        engine: &dyn Engine,
        clock: &mut Clock,
        (param, grad): (&DispatchTensor, &DispatchTensor),
        state: &[DispatchTensor],
    ) -> Option<Self> {
        let device = as_float(param)?.client.device();
        let dtype = param.dtype();
        let mut others = core::iter::once(grad).chain(state);
        let on_device = others.all(|tensor| as_float(tensor).is_some());
        if !is_on() || !is_float(dtype) || grad.dtype() != dtype || !on_device {
            return None;
        }
        let limits = Limits::of(device);
        // Each may need a buffer for what comes of it, and there are two more: the factor on the gradient, and what a
        // look computes with.
        if !limits.takes(2 * state.len() + 5) {
            return None;
        }
        let mut scalars = clock.memory.to_vec();
        let mut own = Clock {
            memory: &mut scalars,
            ..*clock
        };
        let shape = param.shape();
        let recorded = engine.record(&mut own, shape.as_slice())?;
        let (program, numbers) = match recorded.looks.is_empty() {
            true => (
                Program::Each(interned(recorded.go.tape, &TAPES)),
                recorded.go.scalars,
            ),
            false => {
                let (grid, transposed) = Grid::new(recorded.frame.as_ref(), shape.as_slice())?;
                if grid.len() > limits.looking {
                    return None;
                }
                let (plan, numbers) = Plan::new(recorded, transposed);
                (Program::Looking(interned(plan, &PLANS), grid), numbers)
            }
        };
        clock.memory.copy_from_slice(&scalars);
        Some(Self {
            program,
            scalars: numbers,
        })
    }

    /// Makes the step: registers it, to be executed with what else is in Burn's stream. With the gradient comes the
    /// root of a factor on it, if there is one.
    pub fn run(
        self,
        optimizer: &optim::Program,
        param: DispatchTensor,
        (grad, root): (DispatchTensor, Option<DispatchTensor>),
        state: &mut Vec<DispatchTensor>,
    ) -> DispatchTensor {
        let whole = beside(&param);
        let device = param.device();
        let first_link = || {
            float(Dispatch::float_zeros(
                Shape::from([1]),
                &device,
                FloatDType::F32,
            ))
        };
        let tensors = [param, grad].into_iter().chain(state.drain(..));
        let tensors = tensors.filter_map(float).collect();
        let root = root.and_then(float);
        let moved = stream::register(
            optimizer,
            (self.program, self.scalars),
            (tensors, root),
            first_link,
        );
        let mut moved = moved.into_iter();
        let param = moved.next().map(&whole).expect("the parameter comes first");
        state.extend(moved.map(whole));
        param
    }
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
}

/// A tensor as it comes out of the stream, for one that went in.
fn beside(tensor: &DispatchTensor) -> impl Fn(Float) -> DispatchTensor + use<> {
    let autodiff = tensor.autodiff;
    move |tensor| DispatchTensor {
        kind: DispatchTensorKind::Cube(BackendTensor::Float(tensor)),
        autodiff,
    }
}

fn as_float(tensor: &DispatchTensor) -> Option<&Float> {
    #[allow(unreachable_patterns)]
    match &tensor.kind {
        DispatchTensorKind::Cube(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    }
}

fn float(tensor: DispatchTensor) -> Option<Float> {
    #[allow(unreachable_patterns)]
    match tensor.kind {
        DispatchTensorKind::Cube(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    }
}

/// The same as before, if there was an equal one: kernels are found by it at each launch.
fn interned<T: Eq + Hash>(new: T, known: &Mutex<HashSet<Arc<T>>>) -> Arc<T> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(&new) {
        return known.clone();
    }
    let new = Arc::new(new);
    known.insert(new.clone());
    new
}
