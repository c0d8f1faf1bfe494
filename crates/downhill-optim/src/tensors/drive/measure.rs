use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchTensor, Shape, TensorMetadata};
use burn::tensor::{FloatDType, Slice, Tensor};
use downhill_rule::Value;

use crate::pass::Squares;
use crate::tensors::memory;
use crate::tensors::state::state_dtype;
use crate::tensors::value::TensorValue;

/// The sum of squares of a tensor, or where it will be.
#[derive(Clone, Debug)]
pub enum Measure {
    /// Known.
    Host(Squares),
    /// Still on the device: the largest magnitude, and the sum of the squares of the elements divided by
    /// it.
    Device(Box<Tensor<1>>),
}

/// Measures a tensor: in one pass over memory on Flex and NdArray, elsewhere in tensor operations
/// that nothing waits for.
///
/// No finite tensor overflows, whatever its precision. A NaN or an infinity makes the sum a NaN.
pub fn measure<const D: usize>(tensor: Tensor<D>) -> Measure {
    let tensor = tensor.without_autodiff().into_dispatch();
    if let Some(squares) = memory::squares(&tensor) {
        return Measure::Host(squares);
    }
    if tensor.shape().num_elements() == 0 {
        return Measure::Host(Squares::default());
    }
    let dtype = state_dtype(tensor.dtype());
    let tiny = match dtype {
        FloatDType::F64 => f64::MIN_POSITIVE,
        _ => f64::from(f32::MIN_POSITIVE),
    };
    let tensor = match tensor.dtype() == dtype.into() {
        true => tensor,
        false => Dispatch::float_cast(tensor, dtype),
    };
    let flat = Shape::from(vec![tensor.shape().num_elements()]);
    let values = TensorValue(Dispatch::float_reshape(tensor, flat));
    let largest = in_stretches(values.clone().abs(), Dispatch::float_max_dim);
    let largest = largest.clamp_min(tiny);
    let share = values / largest.clone();
    let squares = in_stretches(share.square(), Dispatch::float_sum_dim);
    let pair = Dispatch::float_cat(vec![largest.0, squares.0], 0);
    Measure::Device(Box::new(Tensor::from_dispatch(pair)))
}

/// What is wrong with a gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// It has this shape, and not its parameter's.
    Shape(Vec<usize>),
    /// It is on an autodiff device.
    Autodiff,
}

/// Compares a gradient with the shape of its parameter, and [measures](measure) it if `measured`.
///
/// # Errors
///
/// If it has another shape, or is on an autodiff device.
#[inline]
pub fn examine<const D: usize>(
    grad: Tensor<D>,
    expected: &[usize],
    measured: bool,
) -> Result<Option<Measure>, Unfit> {
    let grad = grad.into_bridge();
    // What can be read as plain memory has no autodiff, and to ask costs as much as a small one's sum.
    let tensor = grad.as_parts().1;
    match memory::has_shape(tensor, expected) {
        Some(true) if !measured => return Ok(None),
        Some(true) => {
            if let Some(squares) = memory::squares(tensor) {
                return Ok(Some(Measure::Host(squares)));
            }
        }
        Some(false) => return Err(Unfit::Shape(tensor.shape().as_slice().to_vec())),
        None => {}
    }
    let grad = Tensor::<D>::from_bridge(grad);
    let found = grad.shape();
    if found.as_slice() != expected {
        return Err(Unfit::Shape(found.as_slice().to_vec()));
    }
    match grad.is_autodiff() {
        true => Err(Unfit::Autodiff),
        false => Ok(measured.then(|| measure(grad))),
    }
}

/// Elements that are reduced in one go.
const STRETCH: usize = 1024;

/// Reduces a vector to one number, stretch by stretch.
///
/// Over one long row Burn's reductions come out wrong on some drivers: on Mesa's lavapipe a maximum passes over
/// what is behind the 65,536th element.
fn in_stretches(
    mut values: TensorValue,
    reduce: impl Fn(DispatchTensor, usize) -> DispatchTensor,
) -> TensorValue {
    loop {
        let len = values.0.shape().num_elements();
        if len <= STRETCH {
            return TensorValue(reduce(values.0, 0));
        }
        let rows = len / STRETCH;
        let slice = |from: usize, to: usize| {
            let range = Slice::new(from as isize, Some(to as isize), 1);
            Dispatch::float_slice(values.0.clone(), &[range])
        };
        let whole = slice(0, rows * STRETCH);
        let whole = Dispatch::float_reshape(whole, Shape::from(vec![rows, STRETCH]));
        let whole = Dispatch::float_reshape(reduce(whole, 1), Shape::from(vec![rows]));
        values = TensorValue(match rows * STRETCH == len {
            true => whole,
            false => Dispatch::float_cat(vec![whole, slice(rows * STRETCH, len)], 0),
        });
    }
}
