use std::borrow::Cow;

use burn::backend::flex::FlexTensor;
use burn::backend::{BackendTensor, DispatchTensor, DispatchTensorKind, TensorMetadata};
use burn::tensor::{DType, Element as BurnElement};
use downhill_rule::Clock;
use half::{bf16, f16};

use super::Memory;
use crate::pass::{self, AnyBuffers, Buffers, Element, MAX_SLOTS, Squares, Sums, Views};
use crate::program::{Engine, OfModel};

/// The step over memory, on the Flex backend.
pub(super) fn step(
    engine: &dyn Engine,
    clock: &mut Clock,
    param: &mut DispatchTensor,
    grad: DispatchTensor,
    state: &mut [DispatchTensor],
) -> Option<DispatchTensor> {
    let dtype = param.dtype();
    let half = matches!(dtype, DType::F16 | DType::BF16);
    if grad.dtype() != dtype || (half && !engine.half_buffers()) {
        return Some(grad);
    }
    let shape = param.shape();
    let shape = shape.as_slice();
    match dtype {
        DType::F32 => run(param, grad, state, |buffers| {
            engine.step_buffers(clock, shape, AnyBuffers::F32(buffers));
        }),
        DType::F64 => run(param, grad, state, |buffers| {
            engine.step_buffers(clock, shape, AnyBuffers::F64(buffers));
        }),
        DType::F16 => run(param, grad, state, |buffers| {
            engine.step_buffers(clock, shape, AnyBuffers::F16(buffers));
        }),
        DType::BF16 => run(param, grad, state, |buffers| {
            engine.step_buffers(clock, shape, AnyBuffers::Bf16(buffers));
        }),
        _ => Some(grad),
    }
}

fn run<E>(
    param: &mut DispatchTensor,
    grad: DispatchTensor,
    state: &mut [DispatchTensor],
    step: impl FnOnce(Buffers<'_, E>),
) -> Option<DispatchTensor>
where
    E: Element + BurnElement + bytemuck::Pod,
    E::Compute: BurnElement + bytemuck::Pod,
{
    let Some(param) = flex(param) else {
        return Some(grad);
    };
    let mut slots: [&mut [E::Compute]; MAX_SLOTS] = Default::default();
    for (slot, tensor) in slots.iter_mut().zip(state) {
        match flex(tensor) {
            Some(tensor) => *slot = dense_mut(tensor),
            None => return Some(grad),
        }
    }
    let DispatchTensorKind::Flex(BackendTensor::Float(grad)) = grad.kind else {
        return Some(grad);
    };
    let grad = match grad.is_contiguous() {
        true => grad,
        false => grad.to_contiguous(),
    };
    if grad.layout().num_elements() > 0 {
        step(Buffers {
            param: dense_mut(param),
            grad: grad.as_slice().expect("made contiguous above"),
            slots,
        });
    }
    None
}

/// The look over memory, on the Flex backend.
pub(super) fn look(
    model: &dyn OfModel,
    clock: &mut Clock,
    param: &DispatchTensor,
    grad: &DispatchTensor,
    state: &[DispatchTensor],
) -> Option<Sums> {
    let shape = param.shape();
    let shape = shape.as_slice();
    match param.dtype() {
        DType::F32 => view(param, grad, state, |views: Views<'_, f32>| {
            model.look(clock, shape, f32::any_views(views))
        }),
        DType::F64 => view(param, grad, state, |views: Views<'_, f64>| {
            model.look(clock, shape, f64::any_views(views))
        }),
        DType::F16 => view(param, grad, state, |views: Views<'_, f16>| {
            model.look(clock, shape, f16::any_views(views))
        }),
        DType::BF16 => view(param, grad, state, |views: Views<'_, bf16>| {
            model.look(clock, shape, bf16::any_views(views))
        }),
        _ => None,
    }
}

fn view<E>(
    param: &DispatchTensor,
    grad: &DispatchTensor,
    state: &[DispatchTensor],
    look: impl FnOnce(Views<'_, E>) -> Sums,
) -> Option<Sums>
where
    E: Element + BurnElement + bytemuck::Pod,
    E::Compute: BurnElement + bytemuck::Pod,
{
    let (param, grad) = (dense(param)?, dense(grad)?);
    let state = state.iter().map(dense).collect::<Option<Vec<_>>>()?;
    let mut slots: [&[E::Compute]; MAX_SLOTS] = Default::default();
    for (slot, tensor) in slots.iter_mut().zip(&state) {
        *slot = tensor.as_slice()?;
    }
    Some(look(Views {
        param: param.as_slice()?,
        grad: grad.as_slice()?,
        slots,
    }))
}

/// The tensor, or a copy of it if that is not dense.
fn dense(tensor: &DispatchTensor) -> Option<Cow<'_, FlexTensor>> {
    #[allow(unreachable_patterns)]
    match &tensor.kind {
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => {
            Some(match tensor.is_contiguous() {
                true => Cow::Borrowed(tensor),
                false => Cow::Owned(tensor.to_contiguous()),
            })
        }
        _ => None,
    }
}

fn flex(tensor: &mut DispatchTensor) -> Option<&mut FlexTensor> {
    #[allow(unreachable_patterns)]
    match &mut tensor.kind {
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    }
}

/// The tensor's elements in row-major order; a view, or a buffer that is shared, is first copied
/// into a buffer of its own.
fn dense_mut<E: BurnElement + bytemuck::Pod>(tensor: &mut FlexTensor) -> &mut [E] {
    let layout = tensor.layout();
    let len = layout.num_elements();
    if len == 0 {
        return &mut [];
    }
    let whole = layout.contiguous_offsets() == Some((0, len))
        && tensor.bytes().len() == len * size_of::<E>();
    if !whole {
        // Another handle would make the buffer look shared: the original goes first.
        let copy = tensor.to_contiguous();
        *tensor = copy;
    }
    tensor.storage_mut()
}

pub(super) fn memory(tensor: &FlexTensor) -> Memory {
    let layout = tensor.layout();
    let offset = layout.start_offset() * tensor.dtype().size();
    Memory {
        address: tensor.bytes().as_ptr().addr() + offset,
        strides: layout.strides().to_vec(),
    }
}

/// The sum of squares.
pub(super) fn squares(tensor: &DispatchTensor) -> Option<Squares> {
    #[allow(unreachable_patterns)]
    let tensor = match &tensor.kind {
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => tensor,
        _ => return None,
    };
    fn sum<E: Element + BurnElement + bytemuck::Pod>(tensor: &FlexTensor) -> Option<Squares> {
        match tensor.as_slice::<E>() {
            Some(values) => Some(pass::squares(values)),
            None if tensor.layout().num_elements() == 0 => Some(Squares::default()),
            None => {
                let dense = tensor.to_contiguous();
                dense.as_slice::<E>().map(pass::squares)
            }
        }
    }
    match tensor.dtype() {
        DType::F32 => sum::<f32>(tensor),
        DType::F64 => sum::<f64>(tensor),
        DType::F16 => sum::<f16>(tensor),
        DType::BF16 => sum::<bf16>(tensor),
        _ => None,
    }
}
