//! The sum of the gradients of all ranks.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor, TensorData};

use super::Ranks;
use crate::exchange::ExchangeError;

/// What a window of all ranks comes to.
pub(crate) struct Joined {
    pub grads: GradientsParams,
    pub weight: f64,
    pub loss: (f64, f64),
}

impl Ranks {
    /// The sum of all ranks' windows.
    pub fn joined<M: Module>(&self, model: &M, own: Joined) -> Result<Joined, ExchangeError> {
        let mut scalars = [own.weight, own.loss.0, own.loss.1];
        self.with(|exchange| exchange.sum_f64(&mut scalars))?;
        let [weight, loss, of_loss] = scalars;
        Ok(Joined {
            grads: self.summed(model, own.grads, false)?,
            weight,
            loss: (loss, of_loss),
        })
    }

    /// The sum of the gradients, in the precision of arithmetic; on their way of `half` the bytes.
    pub fn summed<M: Module>(
        &self,
        model: &M,
        grads: GradientsParams,
        half: bool,
    ) -> Result<GradientsParams, ExchangeError> {
        let mut buffers = Buffers {
            grads,
            single: Vec::new(),
            double: Vec::new(),
        };
        model.visit(&mut buffers);
        let Buffers {
            grads,
            mut single,
            mut double,
        } = buffers;
        self.with(|exchange| {
            match half {
                true => exchange.sum_bf16(&mut single)?,
                false => exchange.sum(&mut single)?,
            }
            exchange.sum_f64(&mut double)
        })?;
        let mut write = Write {
            grads,
            single: &single,
            double: &double,
        };
        model.visit(&mut write);
        Ok(write.grads)
    }
}

/// The gradients of a window as numbers, one after the other, by precision. They are in that of arithmetic.
struct Buffers {
    grads: GradientsParams,
    single: Vec<f32>,
    double: Vec<f64>,
}

impl ModuleVisitor for Buffers {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.get::<D>(param.id) else {
            return;
        };
        let data = grad.into_data();
        match data.dtype() {
            DType::F64 => self.double.extend(data.iter::<f64>()),
            _ => self.single.extend(data.iter::<f32>()),
        }
    }
}

/// Numbers as gradients, in the places of the old ones.
struct Write<'a> {
    grads: GradientsParams,
    single: &'a [f32],
    double: &'a [f64],
}

fn take<'a, T>(from: &mut &'a [T], count: usize) -> &'a [T] {
    let (taken, rest) = from.split_at(count);
    *from = rest;
    taken
}

impl ModuleVisitor for Write<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.remove::<D>(param.id) else {
            return;
        };
        let shape = grad.shape();
        let count = shape.num_elements();
        let data = match grad.dtype() {
            DType::F64 => TensorData::new(take(&mut self.double, count).to_vec(), shape),
            _ => TensorData::new(take(&mut self.single, count).to_vec(), shape),
        };
        let sum = Tensor::from_data(data, (&grad.device(), grad.dtype()));
        self.grads.register::<D>(param.id, sum);
    }
}
