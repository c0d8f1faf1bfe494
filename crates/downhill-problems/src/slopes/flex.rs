//! On Flex a function with its slope is one recorded operation instead of three or four.

use burn::{
    backend::{
        Autodiff, Backend, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind, unary},
        },
        tensor::FloatTensor,
    },
    tensor::{Shape, Tensor},
};

/// Multiplies a gradient with the slope.
#[derive(Debug)]
struct Sloped;

impl<B: Backend> Backward<B, 1> for Sloped {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let slope = ops.state;
        unary::<B, _>(ops.parents, ops.node, gradients, |gradient| {
            // That of one number has to have the rank of the slope.
            let rank = slope.shape().num_dims();
            let gradient = match gradient.shape().num_dims() == rank {
                true => gradient,
                false => B::float_reshape(gradient, Shape::from(vec![1; rank])),
            };
            B::float_mul(gradient, slope)
        });
    }
}

/// `value`, whose derivative by `x` is `slope`; nothing if `x` is not recorded on Flex, or for
/// checkpointing.
pub(super) fn with_slope<const D: usize, const E: usize>(
    value: &Tensor<E>,
    x: &Tensor<D>,
    slope: &Tensor<D>,
) -> Option<Tensor<E>> {
    let x = x.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
    let value = value.clone().try_into_primitive::<Flex>().ok()?;
    let slope = slope.clone().try_into_primitive::<Flex>().ok()?;
    let prepared = Sloped.prepare::<NoCheckpointing>([x.node()]);
    let value = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(slope, value),
        OpsKind::UnTracked(prepared) => prepared.finish(value),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(value))
}
