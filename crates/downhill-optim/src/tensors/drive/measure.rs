use std::sync::Arc;

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchTensor, Shape, TensorMetadata};
use burn::tensor::{FloatDType, Slice, Tensor};
use downhill_rule::Value;

use crate::pass::Squares;
#[cfg(feature = "cube")]
use crate::tensors::cube;
use crate::tensors::memory;
use crate::tensors::state::state_dtype;
use crate::tensors::value::TensorValue;

/// The sum of squares of a tensor, or where it will be.
#[derive(Clone, Debug)]
pub enum Measure {
    /// Known.
    Host(Squares),
    /// Still on the device.
    Device(Pair),
}

/// Two numbers on a device, perhaps among those of other tensors: a unit, and the sum of the squares of a tensor's
/// elements divided by it.
#[derive(Clone, Debug)]
pub struct Pair {
    pairs: Arc<Tensor<1>>,
    at: usize,
}

impl Pair {
    /// The pair of numbers in a tensor.
    pub fn new(pair: Tensor<1>) -> Self {
        Self::all(pair, 1).remove(0)
    }

    fn all(pairs: Tensor<1>, count: usize) -> Vec<Self> {
        let pairs = Arc::new(pairs);
        let pair = |at| Self {
            pairs: pairs.clone(),
            at,
        };
        (0..count).map(pair).collect()
    }

    /// The two numbers.
    pub fn into_tensor(self) -> Tensor<1> {
        slice(&self.pairs, self.at, self.at + 1)
    }
}

/// Some of several pairs.
fn slice(pairs: &Tensor<1>, from: usize, to: usize) -> Tensor<1> {
    match (from, 2 * to) == (0, pairs.dims()[0]) {
        true => pairs.clone(),
        false => pairs.clone().narrow(0, 2 * from, 2 * (to - from)),
    }
}

/// Measures of all tensors, on the host if all of them are there.
#[derive(Clone, Debug)]
pub enum Joined {
    /// The sum over all.
    Host(Squares),
    /// Pairs, one after the other: the device's, and one of what is on the host.
    Device(Box<Tensor<1>>),
}

/// Puts measures together; nothing waits for a device.
pub fn join<'a>(measures: impl IntoIterator<Item = &'a Measure>) -> Joined {
    let mut host = Squares::default();
    // Neighbours of one tensor are taken out of it together.
    let mut runs: Vec<(&Pair, usize)> = Vec::new();
    for measure in measures {
        match measure {
            Measure::Host(squares) => host = host.plus(*squares),
            Measure::Device(pair) => match runs.last_mut() {
                Some((first, to)) if *to == pair.at && Arc::ptr_eq(&first.pairs, &pair.pairs) => {
                    *to += 1;
                }
                _ => runs.push((pair, pair.at + 1)),
            },
        }
    }
    let runs = runs.into_iter();
    let mut device: Vec<Tensor<1>> = runs
        .map(|(first, to)| slice(&first.pairs, first.at, to))
        .collect();
    let Some(first) = device.first().cloned() else {
        return Joined::Host(host);
    };
    // A NaN is part of it.
    if host.sum != 0.0 {
        let pair = [host.unit, host.sum];
        device.push(Tensor::from_data(pair, (&first.device(), first.dtype())));
    }
    if device.len() == 1 {
        return Joined::Device(Box::new(first));
    }
    // Parameters may lie on several devices, and have several precisions.
    let beside = |pair: Tensor<1>| pair.to_device(&first.device()).cast(first.dtype());
    let all = Tensor::cat(device.into_iter().map(beside).collect(), 0);
    Joined::Device(Box::new(all))
}

/// A tensor of a device that is to be measured, together with others.
#[derive(Debug)]
pub struct Unmeasured(Box<DispatchTensor>);

/// Measures tensors of devices, in operations that nothing waits for: on those of CubeCL in one kernel for a group of
/// them, and one more for all.
///
/// No finite tensor overflows, whatever its precision. A NaN or an infinity makes a sum that is not finite.
pub fn measure_all(tensors: Vec<Unmeasured>) -> Vec<Measure> {
    let mut measures: Vec<Option<Measure>> = vec![None; tensors.len()];
    let kind = |tensor: &DispatchTensor| (tensor.device(), tensor.dtype());
    while let Some(first) = measures.iter().position(Option::is_none) {
        let alike = (first..tensors.len()).filter(|&at| {
            measures[at].is_none() && kind(&tensors[at].0) == kind(&tensors[first].0)
        });
        let alike: Vec<usize> = alike.collect();
        let pairs = squares(alike.iter().map(|&at| &*tensors[at].0));
        for (at, pair) in alike.into_iter().zip(pairs) {
            measures[at] = Some(Measure::Device(pair));
        }
    }
    measures.into_iter().flatten().collect()
}

/// The pairs of tensors of one device and precision.
fn squares<'a>(tensors: impl Iterator<Item = &'a DispatchTensor> + Clone) -> Vec<Pair> {
    #[cfg(feature = "cube")]
    if let Some(pairs) = cube::squares(tensors.clone()) {
        return Pair::all(Tensor::from_dispatch(pairs), tensors.count());
    }
    tensors.cloned().map(squares_of).collect()
}

/// The pair of one tensor, by tensor operations.
fn squares_of(tensor: DispatchTensor) -> Pair {
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
    Pair::new(Tensor::from_dispatch(pair))
}

/// Measures a tensor: in one pass over memory on Flex and NdArray, elsewhere in operations that nothing waits for.
///
/// No finite tensor overflows, whatever its precision. A NaN or an infinity makes a sum that is not finite.
pub fn measure<const D: usize>(tensor: Tensor<D>) -> Measure {
    let tensor = tensor.without_autodiff().into_dispatch();
    if let Some(squares) = memory::squares(&tensor) {
        return Measure::Host(squares);
    }
    let measured = (tensor.shape().num_elements() > 0)
        .then(|| measure_all(vec![Unmeasured(Box::new(tensor))]))
        .and_then(|mut measures| measures.pop());
    measured.unwrap_or(Measure::Host(Squares::default()))
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

/// A gradient that fits its parameter.
#[derive(Debug)]
pub enum Examined {
    /// It was not to be measured.
    Fits,
    /// Its measure.
    Measured(Squares),
    /// It is on a device, and [to be measured](measure_all) with others.
    Waits(Unmeasured),
}

/// Compares a gradient with the shape of its parameter, and measures it if `measured` and if it is in memory.
///
/// # Errors
///
/// If it has another shape, or is on an autodiff device.
#[inline]
pub fn examine<const D: usize>(
    grad: Tensor<D>,
    expected: &[usize],
    measured: bool,
) -> Result<Examined, Unfit> {
    let grad = grad.into_bridge();
    // What can be read as plain memory has no autodiff, and to ask costs as much as a small one's sum.
    let tensor = grad.as_parts().1;
    match memory::has_shape(tensor, expected) {
        Some(true) if !measured => return Ok(Examined::Fits),
        Some(true) => {
            if let Some(squares) = memory::squares(tensor) {
                return Ok(Examined::Measured(squares));
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
    if grad.is_autodiff() {
        return Err(Unfit::Autodiff);
    }
    Ok(match (measured, expected.contains(&0)) {
        (false, _) => Examined::Fits,
        (true, true) => Examined::Measured(Squares::default()),
        (true, false) => Examined::Waits(Unmeasured(Box::new(grad.into_dispatch()))),
    })
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
