//! Norms as operations in Burn's stream.

use std::sync::Arc;

use burn::backend::fusion::FusionTensor;
use burn::backend::fusion::custom::{
    CustomOpIr, HandleContainer, Operation, OperationIr, StreamId, TensorIr,
};
use burn::backend::{DispatchTensor, ExecutionError, Shape, TensorMetadata};
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::fusion::{CubeFusionHandle, FusionCubeRuntime};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{count, element, empty, input};
use super::limits::Limits;
use super::squares::{self, DOUBLE, SINGLE, SIZES, SUMS, THREADS};
use super::{as_float, beside, is_float, is_on};
use crate::tensors::state::state_dtype;

/// The pairs of tensors of one device and precision, if that is one of CubeCL: a unit, and the sum of squares of the
/// elements divided by it.
pub(crate) fn squares<'a>(
    mut tensors: impl Iterator<Item = &'a DispatchTensor> + Clone,
) -> Option<DispatchTensor> {
    let first = tensors.clone().next()?;
    let all: Option<Vec<_>> = tensors
        .clone()
        .map(|tensor| as_float(tensor).cloned())
        .collect();
    let all = all.filter(|_| is_on() && is_float(first.dtype()))?;
    let dtype = state_dtype(first.dtype()).into();
    debug_assert!(tensors.all(|tensor| tensor.dtype() == first.dtype()));
    let pairs = Shape::from([2 * all.len()]);
    Some(beside(first)(register(Norm::Squares, all, pairs, dtype)))
}

/// The root of the factor that brings the norm of what is in pairs down to a threshold, if their device is one of
/// CubeCL.
pub(crate) fn coefficient(pairs: DispatchTensor, threshold: f64) -> Option<DispatchTensor> {
    let float = as_float(&pairs).filter(|_| is_on())?.clone();
    let root = register(
        Norm::Coefficient(threshold),
        vec![float],
        Shape::from([1]),
        pairs.dtype(),
    );
    Some(beside(&pairs)(root))
}

#[derive(Clone, Copy, Debug)]
enum Norm {
    Squares,
    Coefficient(f64),
}

fn register(norm: Norm, inputs: Vec<super::Float>, shape: Shape, dtype: DType) -> super::Float {
    let client = inputs[0].client.clone();
    let output = TensorIr::uninit(client.create_empty_handle(), shape, dtype);
    let id = match norm {
        Norm::Squares => "downhill.squares",
        Norm::Coefficient(_) => "downhill.coefficient",
    };
    let ir = Arc::new(CustomOpIr {
        id: id.to_string(),
        inputs: inputs.into_iter().map(FusionTensor::into_ir).collect(),
        outputs: vec![output],
        scalars: Vec::new(),
    });
    let operation = OperationIr::Custom((*ir).clone());
    let registered = NormOperation { ir, norm };
    let mut outputs = client.register(StreamId::current(), operation, registered);
    outputs.pop().expect("it has one output")
}

#[derive(Debug)]
struct NormOperation {
    ir: Arc<CustomOpIr>,
    norm: Norm,
}

impl Operation<FusionCubeRuntime> for NormOperation {
    fn execute(
        &self,
        handles: &mut HandleContainer<CubeFusionHandle>,
    ) -> Result<(), ExecutionError> {
        let read = |tensor| handles.get_float_tensor::<CubeBackend>(tensor);
        let inputs: Vec<CubeTensor> = self.ir.inputs.iter().map(read).collect();
        let output = match self.norm {
            Norm::Squares => pairs(inputs),
            Norm::Coefficient(threshold) => root(&inputs[0], threshold),
        };
        handles.register_float_tensor::<CubeBackend>(&self.ir.outputs[0].id, output);
        Ok(())
    }
}

/// Elements that a thread adds up, where the cubes are not too many for that.
const EACH: usize = 32;

/// Cubes that work on a tensor at most.
const MOST: usize = 1 << 10;

fn pairs(tensors: Vec<CubeTensor>) -> CubeTensor {
    // Any order of the elements will do, if there are no gaps.
    let dense =
        |tensor: CubeTensor| match tensor.is_contiguous_buffer() && tensor.is_nonoverlapping() {
            true => tensor,
            false => into_contiguous(tensor),
        };
    let tensors: Vec<CubeTensor> = tensors.into_iter().map(dense).collect();
    let first = &tensors[0];
    let (client, dtype) = (first.client.clone(), DType::from(state_dtype(first.dtype)));
    let computed = element(dtype);
    let cubes = |tensor: &CubeTensor| {
        let len = tensor.meta.num_elements();
        len.div_ceil(THREADS * EACH).clamp(1, MOST)
    };
    let all = tensors.iter().map(cubes).sum::<usize>();
    let sums = empty(first, Shape::from([SUMS * all]), dtype);
    let of_each = Shape::from([2 * tensors.len()]);
    let table = empty(first, of_each.clone(), DType::U32);
    let pairs = empty(first, of_each, dtype);
    let units = || {
        let powers = if dtype == DType::F64 { DOUBLE } else { SINGLE };
        let units = powers.into_iter().map(|power| 2f64.powi(power));
        units.map(|unit| InputScalar::new(unit, computed)).collect()
    };
    // Beside them there are the sums and the table.
    let together = Limits::of(&first.device).together(1, 2);
    let dim = CubeDim::new_1d(THREADS as u32);
    let (mut number, mut begin) = (0, 0);
    for group in tensors.chunks(together) {
        let mut sizes = Vec::with_capacity(SIZES * together);
        let before = begin;
        for tensor in group {
            let cubes = cubes(tensor);
            sizes.extend([tensor.meta.num_elements(), cubes, number, begin]);
            (number, begin) = (number + 1, begin + cubes);
        }
        // As many as in the other launches, so that there is one kernel.
        let places = together.min(tensors.len());
        sizes.resize(SIZES * places, 0);
        let padding = core::iter::repeat_n(&group[0], places - group.len());
        let longest = group.iter().map(|tensor| tensor.meta.num_elements()).max();
        squares::sums::launch(
            &client,
            CubeCount::new_1d((begin - before) as u32),
            dim,
            AddressType::from_len(longest.unwrap_or_default()),
            group.iter().chain(padding).map(input).collect(),
            input(&sums),
            input(&table),
            sizes.into_iter().map(count).collect(),
            units(),
            [element(first.dtype), computed],
        );
    }
    squares::pairs::launch(
        &client,
        CubeCount::new_1d(tensors.len() as u32),
        dim,
        AddressType::from_len(SUMS * all),
        input(&sums),
        input(&table),
        input(&pairs),
        units(),
        computed,
    );
    pairs
}

fn root(pairs: &CubeTensor, threshold: f64) -> CubeTensor {
    let root = empty(pairs, Shape::from([1]), pairs.dtype);
    let computed = element(pairs.dtype);
    let largest = match pairs.dtype {
        DType::F64 => f64::MAX,
        _ => f64::from(f32::MAX),
    };
    let pairs = into_contiguous(pairs.clone());
    let len = pairs.meta.num_elements();
    squares::coefficient::launch(
        &pairs.client,
        CubeCount::new_1d(1),
        CubeDim::new_1d(THREADS as u32),
        AddressType::from_len(len),
        input(&pairs),
        input(&root),
        count(len / 2),
        InputScalar::new(threshold, computed),
        InputScalar::new(largest, computed),
        computed,
    );
    root
}
