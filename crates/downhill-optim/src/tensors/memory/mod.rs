//! The memory behind a tensor, on the backends that keep it where a pass can get at it.

#[cfg(feature = "flex")]
mod flex;
// Deprecated by Burn, but a first-class choice here while Burn ships it.
#[cfg(feature = "ndarray")]
#[allow(deprecated)]
mod ndarray;

use burn::backend::{BackendTensor, DispatchTensor, DispatchTensorKind, TensorMetadata};
use downhill_rule::Clock;

use crate::pass::{MAX_SLOTS, Squares, Sums};
use crate::program::{Engine, OfModel};

/// Runs the step over memory if backend and precision allow it; hands the gradient back otherwise.
pub(crate) fn step(
    engine: &dyn Engine,
    clock: &mut Clock,
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
        DispatchTensorKind::Flex(_) => flex::step(engine, clock, param, grad, state),
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(_) => ndarray::step(engine, clock, param, grad, state),
        _ => Some(grad),
    }
}

/// What one tensor adds to the sums of a rule that looks at the whole model, if backend and precision allow a pass
/// over memory. Nothing is copied that is dense.
pub(crate) fn look(
    model: &dyn OfModel,
    clock: &mut Clock,
    param: &DispatchTensor,
    grad: &DispatchTensor,
    state: &[DispatchTensor],
) -> Option<Sums> {
    if state.len() > MAX_SLOTS || grad.dtype() != param.dtype() {
        return None;
    }
    #[allow(unreachable_patterns)]
    match param.kind {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(_) => flex::look(model, clock, param, grad, state),
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(_) => ndarray::look(model, clock, param, grad, state),
        _ => None,
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

/// Whether the shape is `expected`, without a copy of it, which is a large part of what a small tensor costs;
/// none where memory cannot be read.
pub(crate) fn has_shape(tensor: &DispatchTensor, expected: &[usize]) -> Option<bool> {
    #[allow(unreachable_patterns)]
    match &tensor.kind {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => {
            Some(tensor.layout().shape().as_slice() == expected)
        }
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(BackendTensor::Float(_)) => {
            Some(tensor.shape().as_slice() == expected)
        }
        _ => None,
    }
}
