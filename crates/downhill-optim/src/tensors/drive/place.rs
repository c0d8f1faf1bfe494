use burn::tensor::Tensor;

use crate::tensors::memory;

/// Where the elements of a tensor are, if they are in memory that a pass can get at. No two tensors that are
/// alive have the same place, unless they share their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub(super) usize);

impl Place {
    /// The place of a tensor's elements; none on devices.
    pub fn of<const D: usize>(tensor: Tensor<D>) -> Option<Self> {
        let tensor = tensor.without_autodiff().into_dispatch();
        memory::memory(&tensor).map(|memory| Self(memory.address))
    }
}

/// The dimensions of a tensor from the one whose elements lie farthest apart to the one whose elements are
/// neighbours, if that is not their own order: a transposed matrix has `[1, 0]`. None on devices, which do
/// not say.
///
/// Products of matrices take other ways through transposed ones, and round differently.
pub fn memory_order<const D: usize>(tensor: Tensor<D>) -> Option<Vec<usize>> {
    let shape = tensor.shape();
    let tensor = tensor.without_autodiff().into_dispatch();
    let strides = memory::memory(&tensor)?.strides;
    let mut order: Vec<usize> = (0..D).collect();
    // Of equal strides that of a single element is the inner one.
    order.sort_by_key(|&dim| core::cmp::Reverse((strides[dim].unsigned_abs(), shape[dim])));
    (!order.is_sorted()).then_some(order)
}
