//! The gradients of several micro-batches, added up.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use downhill_optim::drive::state_dtype;

use super::copied;

/// Gradients of a window of micro-batches, added up.
#[derive(Default, Debug)]
pub(crate) struct Window {
    pub grads: GradientsParams,
    pub micro_batches: u32,
    /// Sum of the weights.
    pub weight: f64,
    /// Sum of the losses times their weights, and of these weights.
    pub loss: (f64, f64),
}

impl Window {
    /// Adds a micro-batch in place.
    pub fn add<M: Module>(&mut self, model: &M, grads: GradientsParams, weight: f64) {
        let mut add = Add {
            sum: core::mem::take(&mut self.grads),
            grads,
            weight,
        };
        model.visit(&mut add);
        self.grads = add.sum;
    }

    /// The sum of the window and one more micro-batch; both stay as they are.
    pub fn plus<M: Module>(
        &self,
        model: &M,
        grads: &GradientsParams,
        weight: f64,
    ) -> GradientsParams {
        let mut add = Add {
            sum: copied(model, &self.grads),
            grads: copied(model, grads),
            weight,
        };
        model.visit(&mut add);
        add.sum
    }
}

struct Add {
    sum: GradientsParams,
    grads: GradientsParams,
    weight: f64,
}

impl ModuleVisitor for Add {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.remove::<D>(param.id) else {
            return;
        };
        // A sum of 16-bit numbers would lose the later ones, and gradients may come in several precisions.
        let grad = grad.cast(state_dtype(param.dtype()));
        let grad = match self.weight {
            1.0 => grad,
            weight => grad.mul_scalar(weight),
        };
        let sum = match self.sum.remove::<D>(param.id) {
            Some(sum) => sum + grad,
            None => grad,
        };
        self.sum.register(param.id, sum);
    }
}
