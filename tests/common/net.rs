//! A module with parameters of several ranks, and gradients made for it.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorData};

use downhill::train::{Driver, MicroBatch, Outcome};

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

/// Numbers for each parameter, in the order of [`SHAPES`].
pub type Values = [Vec<f64>; 3];

/// The numbers of [`Net::grads`].
pub fn grad_values(t: usize) -> Values {
    ALL.map(|index| values(SHAPES[index].iter().product(), 100 * t + index))
}

/// Zeros in the shapes of all parameters.
pub fn zeros() -> Values {
    SHAPES.map(|shape| vec![0.0; shape.iter().product()])
}

fn filled<const D: usize>(
    index: usize,
    values: &Values,
    device: &Device,
    dtype: DType,
) -> Tensor<D> {
    let data = TensorData::new(values[index].clone(), SHAPES[index].to_vec());
    tensor(data, device, dtype)
}

impl Net {
    pub fn from_values(values: &Values, device: &Device, dtype: DType) -> Self {
        let device = &device.clone().autodiff();
        Self {
            weight: Param::from_tensor(filled(0, values, device, dtype)),
            bias: Param::from_tensor(filled(1, values, device, dtype)),
            kernel: Param::from_tensor(filled(2, values, device, dtype)),
        }
    }

    /// These gradients, of the parameters whose index is in `of`.
    pub fn grads_from(
        &self,
        values: &Values,
        of: &[usize],
        device: &Device,
        dtype: DType,
    ) -> GradientsParams {
        let mut grads = GradientsParams::new();
        for &index in of {
            match index {
                0 => grads.register(self.weight.id, filled::<2>(0, values, device, dtype)),
                1 => grads.register(self.bias.id, filled::<1>(1, values, device, dtype)),
                _ => grads.register(self.kernel.id, filled::<4>(2, values, device, dtype)),
            }
        }
        grads
    }

    /// Gradients as numbers; those that are missing are empty.
    pub fn read_grads(&self, grads: &GradientsParams) -> Values {
        let read = |data: Option<TensorData>| data.map(floats).unwrap_or_default();
        [
            read(grads.get::<2>(self.weight.id).map(Tensor::into_data)),
            read(grads.get::<1>(self.bias.id).map(Tensor::into_data)),
            read(grads.get::<4>(self.kernel.id).map(Tensor::into_data)),
        ]
    }

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

/// Updates with the gradients of `steps`, none of which is left out.
pub fn train(
    driver: &mut Driver,
    mut net: Net,
    steps: core::ops::Range<usize>,
    device: &Device,
    dtype: DType,
) -> Net {
    for t in steps {
        let grads = net.grads(t, &ALL, device, dtype);
        let batch = MicroBatch::new(grads).with_loss((t as f64 + 1.0).recip());
        let report;
        (net, report) = driver.step(net, batch).unwrap();
        assert_ne!(report.outcome, Outcome::Skipped);
    }
    net
}
