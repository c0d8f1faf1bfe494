use burn::backend::ndarray::{NdArrayTensor, SharedArray};
use burn::backend::{BackendTensor, DispatchTensor, DispatchTensorKind, TensorMetadata};
use burn::tensor::{DType, Element as BurnElement};
use downhill_rule::Clock;

use super::Memory;
use crate::pass::{self, AnyBuffers, Buffers, Element, MAX_SLOTS, Squares, Sums, Views};
use crate::program::{Engine, OfModel};

/// The step over memory, on the NdArray backend.
pub(super) fn step(
    engine: &dyn Engine,
    clock: &mut Clock,
    param: &mut DispatchTensor,
    grad: DispatchTensor,
    state: &mut [DispatchTensor],
) -> Option<DispatchTensor> {
    let dtype = param.dtype();
    if grad.dtype() != dtype {
        return Some(grad);
    }
    let shape = param.shape();
    let shape = shape.as_slice();
    match dtype {
        DType::F32 => run::<f32>(param, grad, state, |buffers| {
            engine.step_buffers(clock, shape, AnyBuffers::F32(buffers));
        }),
        DType::F64 => run::<f64>(param, grad, state, |buffers| {
            engine.step_buffers(clock, shape, AnyBuffers::F64(buffers));
        }),
        _ => Some(grad),
    }
}

/// The precisions of NdArray's float tensors.
trait Precision: Element<Compute = Self> + BurnElement {
    fn array(tensor: NdArrayTensor) -> SharedArray<Self>;
    fn tensor(array: SharedArray<Self>) -> NdArrayTensor;
}

macro_rules! precision {
    ($($real:ty, $variant:ident);*) => {$(
        impl Precision for $real {
            fn array(tensor: NdArrayTensor) -> SharedArray<Self> {
                match tensor {
                    NdArrayTensor::$variant(storage) => storage.into_shared(),
                    other => unreachable!("checked to be {}: {:?}", stringify!($real), other.dtype()),
                }
            }
            fn tensor(array: SharedArray<Self>) -> NdArrayTensor {
                NdArrayTensor::from(array)
            }
        }
    )*};
}

precision!(f32, F32; f64, F64);

fn run<E: Precision>(
    param: &mut DispatchTensor,
    grad: DispatchTensor,
    state: &mut [DispatchTensor],
    step: impl FnOnce(Buffers<'_, E>),
) -> Option<DispatchTensor> {
    let mut moved = take::<E>(param);
    let mut arrays: [Option<SharedArray<E>>; MAX_SLOTS] = Default::default();
    for (array, tensor) in arrays.iter_mut().zip(state.iter_mut()) {
        *array = Some(take::<E>(tensor));
    }
    let grad = standard(owned::<E>(grad));
    let slots = arrays.each_mut().map(|array| match array {
        Some(array) => array.as_slice_mut().expect("made standard when taken"),
        None => &mut [],
    });
    if !grad.is_empty() {
        step(Buffers {
            param: moved.as_slice_mut().expect("made standard when taken"),
            grad: grad.as_slice().expect("made standard above"),
            slots,
        });
    }
    put(param, moved);
    for (tensor, array) in state.iter_mut().zip(arrays) {
        if let Some(array) = array {
            put(tensor, array);
        }
    }
    None
}

/// The look over memory, on the NdArray backend.
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
        DType::F32 => Some(view::<f32>(param, grad, state, |views| {
            model.look(clock, shape, f32::any_views(views))
        })),
        DType::F64 => Some(view::<f64>(param, grad, state, |views| {
            model.look(clock, shape, f64::any_views(views))
        })),
        _ => None,
    }
}

fn view<E: Precision>(
    param: &DispatchTensor,
    grad: &DispatchTensor,
    state: &[DispatchTensor],
    look: impl FnOnce(Views<'_, E>) -> Sums,
) -> Sums {
    let dense = |tensor: &DispatchTensor| standard(owned::<E>(tensor.clone()));
    let (param, grad) = (dense(param), dense(grad));
    let state: Vec<_> = state.iter().map(dense).collect();
    let mut slots: [&[E]; MAX_SLOTS] = Default::default();
    for (slot, array) in slots.iter_mut().zip(&state) {
        *slot = array.as_slice().expect("made standard above");
    }
    look(Views {
        param: param.as_slice().expect("made standard above"),
        grad: grad.as_slice().expect("made standard above"),
        slots,
    })
}

/// Moves the array out of the tensor, so that it is not shared with it.
fn take<E: Precision>(tensor: &mut DispatchTensor) -> SharedArray<E> {
    let hollow =
        SharedArray::from_shape_vec(vec![0], Vec::new()).expect("no elements fit no shape");
    let hollow = DispatchTensor {
        kind: DispatchTensorKind::NdArray(BackendTensor::Float(E::tensor(hollow))),
        autodiff: tensor.autodiff,
    };
    standard(owned(core::mem::replace(tensor, hollow)))
}

fn put<E: Precision>(tensor: &mut DispatchTensor, array: SharedArray<E>) {
    tensor.kind = DispatchTensorKind::NdArray(BackendTensor::Float(E::tensor(array)));
}

fn owned<E: Precision>(tensor: DispatchTensor) -> SharedArray<E> {
    #[allow(unreachable_patterns)]
    match tensor.kind {
        DispatchTensorKind::NdArray(BackendTensor::Float(tensor)) => E::array(tensor),
        _ => unreachable!(
            "the step is dispatched on the parameter's backend, which its gradient and state share"
        ),
    }
}

fn standard<E: Precision>(array: SharedArray<E>) -> SharedArray<E> {
    match array.is_standard_layout() {
        true => array,
        false => array.as_standard_layout().into_owned().into_shared(),
    }
}

pub(super) fn memory(tensor: &NdArrayTensor) -> Option<Memory> {
    macro_rules! of {
        ($($variant:ident),*) => {
            match tensor {
                $(NdArrayTensor::$variant(storage) => {
                    let view = storage.view();
                    Some(Memory {
                        address: view.as_ptr().addr(),
                        strides: view.strides().to_vec(),
                    })
                })*
                _ => None,
            }
        };
    }
    of!(F32, F64)
}

/// The sum of squares.
pub(super) fn squares(tensor: &DispatchTensor) -> Option<Squares> {
    #[allow(unreachable_patterns)]
    match &tensor.kind {
        DispatchTensorKind::NdArray(BackendTensor::Float(_)) => (),
        _ => return None,
    }
    fn sum<E: Precision>(tensor: DispatchTensor) -> Squares {
        let array = standard(owned::<E>(tensor));
        pass::squares(array.as_slice().expect("made standard above"))
    }
    match tensor.dtype() {
        DType::F32 => Some(sum::<f32>(tensor.clone())),
        DType::F64 => Some(sum::<f64>(tensor.clone())),
        _ => None,
    }
}
