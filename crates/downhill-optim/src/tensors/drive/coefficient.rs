use std::sync::Arc;

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchTensor, Shape, TensorMetadata};
use burn::tensor::{FloatDType, Tensor};

#[cfg(feature = "cube")]
use crate::tensors::cube;
use crate::tensors::state::state_dtype;

/// A factor on gradients that is still on a device: the one that clips by a norm of theirs.
///
/// Clones are the same, and equal.
#[derive(Clone, Debug)]
pub struct Coefficient {
    /// The factor itself can be too small for an f32, which GPUs take for 0.
    root: Arc<Tensor<1>>,
}

impl PartialEq for Coefficient {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
    }
}

impl Coefficient {
    /// The factor that brings the norm of what was [measured](super::join) down to `threshold`: at most 1, and 1 if
    /// the norm is not finite.
    pub fn to_norm(pairs: Tensor<1>, threshold: f64) -> Self {
        #[cfg(feature = "cube")]
        let pairs = match cube::coefficient(pairs.clone().into_dispatch(), threshold) {
            Some(root) => return Self::of_root(Tensor::from_dispatch(root)),
            None => pairs,
        };
        let count = pairs.dims()[0] / 2;
        let pairs = pairs.reshape([count, 2]);
        let units = pairs.clone().slice([0..count, 0..1]);
        let sums = pairs.slice([0..count, 1..2]);
        // In the largest unit nothing overflows.
        let largest = units.clone().max();
        let share = units / largest.clone().reshape([1, 1]);
        let norm = (share.square() * sums).sum().sqrt();
        let root = norm.recip().mul_scalar(threshold).sqrt() / largest.sqrt();
        // A norm that is not finite would wipe out what is.
        let broken = root.clone().is_nan();
        Self::of_root(root.clamp_max(1.0).mask_fill(broken, 1.0))
    }

    fn of_root(root: Tensor<1>) -> Self {
        let root = Arc::new(root);
        Self { root }
    }

    /// The root of the factor.
    pub fn root(&self) -> Tensor<1> {
        (*self.root).clone()
    }

    /// The root beside a tensor, in the precision of arithmetic.
    pub(crate) fn root_for(&self, tensor: &DispatchTensor) -> DispatchTensor {
        let dtype = state_dtype(tensor.dtype());
        let mut root = self.root().into_dispatch();
        if root.device() != tensor.device() {
            root = Dispatch::float_to_device(root, &tensor.device());
        }
        match root.dtype() == dtype.into() {
            true => root,
            false => Dispatch::float_cast(root, dtype),
        }
    }

    /// A gradient times the factor.
    pub fn apply<const D: usize>(&self, grad: Tensor<D>) -> Tensor<D> {
        Tensor::from_dispatch(self.times(grad.into_dispatch()))
    }

    pub(crate) fn times(&self, grad: DispatchTensor) -> DispatchTensor {
        let dtype = FloatDType::from(grad.dtype());
        let ones = Shape::from(vec![1; grad.shape().num_dims()]);
        let root = Dispatch::float_reshape(self.root_for(&grad), ones);
        let grad = Dispatch::float_cast(grad, state_dtype(dtype.into()));
        let once = Dispatch::float_mul(grad, root.clone());
        Dispatch::float_cast(Dispatch::float_mul(once, root), dtype)
    }
}
