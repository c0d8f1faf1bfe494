//! One pass over memory: parameter, gradient and state of a step as plain slices.

mod elementwise;
mod factored;
#[cfg(feature = "flex")]
mod flex;
// Deprecated by Burn, but a first-class choice here while Burn ships it.
#[cfg(feature = "ndarray")]
#[allow(deprecated)]
mod ndarray;
mod squares;

use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(feature = "ndarray")]
use burn::backend::TensorMetadata;
use burn::backend::{BackendTensor, DispatchTensor, DispatchTensorKind};
use downhill_rule::{Clock, Real};
use half::{bf16, f16};

use crate::drive::{Measure, Unfit};
use crate::engine::Engine;

pub(crate) use elementwise::elementwise;
pub(crate) use factored::factored;
pub use squares::Squares;

/// More state tensors than any rule has; a rule with more runs as tensor operations.
pub(crate) const MAX_SLOTS: usize = 6;

/// Elements from which a pass is split over threads: below, waking them costs more than they save.
const PARALLEL: usize = 1 << 19;

/// Parts of a pass that is split. Their number does not depend on the threads, and neither do the
/// sums over them; there are more than threads, because those that sleep start late.
const PARTS: usize = 16;

/// How many parts a pass over `len` elements has.
fn parts(len: usize) -> usize {
    if len < PARALLEL { 1 } else { PARTS }
}

/// Works off `parts` on this thread and on those of the pool that are free; the results are in the
/// order of the parts.
fn share<T: Send, R: Send>(parts: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let helpers = rayon::current_num_threads().min(parts.len()) - 1;
    let results = Mutex::new(Vec::with_capacity(parts.len()));
    let queue = Mutex::new(parts.into_iter().enumerate());
    let run = || {
        loop {
            // A guard in the loop's condition would be held while working.
            let next = lock(&queue).next();
            let Some((index, part)) = next else { break };
            let result = work(part);
            lock(&results).push((index, result));
        }
    };
    // The caller works too instead of sleeping until the pool has woken up.
    rayon::in_place_scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| run());
        }
        run();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number as it is stored, and the one it is computed in.
pub(crate) trait Element: Copy + Send + Sync + 'static {
    type Compute: Real;
    fn load(self) -> Self::Compute;
    fn store(value: Self::Compute) -> Self;
}

macro_rules! element {
    ($($stored:ty, $compute:ty, $load:expr, $store:expr);*) => {$(
        impl Element for $stored {
            type Compute = $compute;
            #[inline(always)]
            fn load(self) -> $compute {
                $load(self)
            }
            #[inline(always)]
            fn store(value: $compute) -> Self {
                $store(value)
            }
        }
    )*};
}

element!(
    f32, f32, core::convert::identity, core::convert::identity;
    f64, f64, core::convert::identity, core::convert::identity;
    f16, f32, f16::to_f32, f16::from_f32;
    bf16, f32, bf16::to_f32, bf16::from_f32
);

/// Parameter, gradient and state of one step, each dense and in the same order.
pub(crate) struct Buffers<'a, E: Element> {
    pub param: &'a mut [E],
    pub grad: &'a [E],
    pub slots: [&'a mut [E::Compute]; MAX_SLOTS],
}

/// [`Buffers`] of any precision.
pub(crate) enum AnyBuffers<'a> {
    F32(Buffers<'a, f32>),
    F64(Buffers<'a, f64>),
    F16(Buffers<'a, f16>),
    Bf16(Buffers<'a, bf16>),
}

/// Runs `work` with the widest vector instructions of the machine. They change the speed, not the
/// numbers: nothing is contracted into a fused multiply-add or reordered.
#[inline(always)]
pub(crate) fn dispatch<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}

/// Runs the step over memory if backend and precision allow it; hands the gradient back otherwise.
pub(crate) fn step(
    engine: &dyn Engine,
    clock: &mut Clock,
    grad_scale: f64,
    param: &mut DispatchTensor,
    grad: DispatchTensor,
    state: &mut [DispatchTensor],
) -> Option<DispatchTensor> {
    if state.len() > MAX_SLOTS {
        return Some(grad);
    }
    #[allow(unreachable_patterns)]
    match param.kind {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(_) => flex::step(engine, clock, grad_scale, param, grad, state),
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(_) => {
            ndarray::step(engine, clock, grad_scale, param, grad, state)
        }
        _ => Some(grad),
    }
}

/// Where the elements of a tensor are, and how they lie.
pub(crate) struct Memory {
    /// Of the first element, in bytes.
    pub address: usize,
    /// From one element to the next along each dimension, in elements.
    pub strides: Vec<isize>,
}

/// How a tensor lies in memory, where memory can be read.
pub(crate) fn memory(tensor: &DispatchTensor) -> Option<Memory> {
    #[allow(unreachable_patterns)]
    match &tensor.kind {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => Some(flex::memory(tensor)),
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(BackendTensor::Float(tensor)) => ndarray::memory(tensor),
        _ => None,
    }
}

/// The sum of squares, in one pass over memory, if backend and precision allow it.
pub(crate) fn squares(tensor: &DispatchTensor) -> Option<Squares> {
    #[allow(unreachable_patterns)]
    match &tensor.kind {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(_) => flex::squares(tensor),
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(_) => ndarray::squares(tensor),
        _ => None,
    }
}

/// Compares the shape, and measures if `measured`, where memory can be read.
pub(crate) fn examine(
    grad: &DispatchTensor,
    expected: &[usize],
    measured: bool,
) -> Option<Result<Option<Measure>, Unfit>> {
    let check = |found: &[usize]| match found == expected {
        true => Ok(()),
        false => Err(Unfit::Shape(found.to_vec())),
    };
    let fits = match &grad.kind {
        // Without a copy of its shape, which is a large part of what a small tensor costs.
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(BackendTensor::Float(grad)) => {
            check(grad.layout().shape().as_slice())
        }
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(BackendTensor::Float(_)) => check(grad.shape().as_slice()),
        _ => return None,
    };
    match (fits, measured) {
        (Err(unfit), _) => Some(Err(unfit)),
        (Ok(()), false) => Some(Ok(None)),
        (Ok(()), true) => squares(grad).map(|squares| Ok(Some(Measure::Host(squares)))),
    }
}
