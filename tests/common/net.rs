//! A module with parameters of several ranks, and gradients made for it.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{floats, tensor};

/// Parameters of two ranks, in a precision of choice.
#[derive(Module, Debug)]
pub struct Net {
    pub weight: Param<Tensor<2>>,
    pub bias: Param<Tensor<1>>,
    pub kernel: Param<Tensor<4>>,
}

pub const SHAPES: [&[usize]; 3] = [&[4, 3], &[3], &[2, 2, 3, 2]];

pub fn values(len: usize, seed: usize) -> Vec<f64> {
    (0..len)
        .map(|i| ((i * 7 + seed * 13) % 32) as f64 / 16.0 - 0.96875)
        .collect()
}

pub fn make<const D: usize>(
    seed: usize,
    shape: &[usize],
    device: &Device,
    dtype: DType,
) -> Tensor<D> {
    let values = values(shape.iter().product(), seed);
    tensor(TensorData::new(values, shape.to_vec()), device, dtype)
}

impl Net {
    pub fn new(seed: usize, device: &Device, dtype: DType) -> Self {
        let device = &device.clone().autodiff();
        Self {
            weight: Param::from_tensor(make(seed, SHAPES[0], device, dtype)),
            bias: Param::from_tensor(make(seed + 1, SHAPES[1], device, dtype)),
            kernel: Param::from_tensor(make(seed + 2, SHAPES[2], device, dtype)),
        }
    }

    /// Gradients that change with `t`, of the parameters whose index is in `of`.
    pub fn grads(&self, t: usize, of: &[usize], device: &Device, dtype: DType) -> GradientsParams {
        let mut grads = GradientsParams::new();
        for index in of {
            let seed = 100 * t + index;
            match index {
                0 => grads.register(self.weight.id, make::<2>(seed, SHAPES[0], device, dtype)),
                1 => grads.register(self.bias.id, make::<1>(seed, SHAPES[1], device, dtype)),
                _ => grads.register(self.kernel.id, make::<4>(seed, SHAPES[2], device, dtype)),
            }
        }
        grads
    }

    pub fn values(&self) -> [Vec<f64>; 3] {
        [
            floats(self.weight.val().into_data()),
            floats(self.bias.val().into_data()),
            floats(self.kernel.val().into_data()),
        ]
    }
}

/// Indices of all parameters.
pub const ALL: [usize; 3] = [0, 1, 2];
