//! Initial weights from a seed, the same on every backend.

use burn::{
    module::Param,
    nn::Linear,
    tensor::{Device, Tensor, TensorData},
};

use crate::numpy::RandomState;

pub(crate) struct Weights<'a> {
    random: RandomState,
    device: &'a Device,
}

impl<'a> Weights<'a> {
    pub fn new(seed: u32, device: &'a Device) -> Self {
        Self {
            random: RandomState::new(seed),
            device,
        }
    }

    /// Uniform in `[-1/sqrt(inputs), 1/sqrt(inputs)]`, as Burn's and PyTorch's layers with that many
    /// inputs per output.
    pub fn uniform<const D: usize>(
        &mut self,
        inputs: usize,
        shape: [usize; D],
    ) -> Param<Tensor<D>> {
        let bound = 1.0 / (inputs as f64).sqrt();
        let draws = self.random.rand(shape.iter().product());
        self.param(draws.iter().map(|u| bound * (2.0 * u - 1.0)), shape)
    }

    /// Normal with mean 0.
    pub fn normal<const D: usize>(
        &mut self,
        deviation: f64,
        shape: [usize; D],
    ) -> Param<Tensor<D>> {
        let draws = self.random.randn(shape.iter().product());
        self.param(draws.iter().map(|z| deviation * z), shape)
    }

    pub fn linear(&mut self, inputs: usize, outputs: usize) -> Linear {
        Linear {
            weight: self.uniform(inputs, [inputs, outputs]),
            bias: Some(self.uniform(inputs, [outputs])),
        }
    }

    fn param<const D: usize>(
        &self,
        values: impl Iterator<Item = f64>,
        shape: [usize; D],
    ) -> Param<Tensor<D>> {
        Param::from_data(TensorData::new(values.collect(), shape), self.device)
    }
}
