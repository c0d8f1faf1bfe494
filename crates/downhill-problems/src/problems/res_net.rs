use burn::{
    module::Module,
    nn::{
        GroupNorm, GroupNormConfig, Linear, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, activation::relu},
};

use super::Architecture;
use crate::weights::Weights;

/// Groups that the channels of a norm are divided into.
const GROUPS: usize = 4;

/// A small residual net for square images of one channel, with the norms first.
///
/// Shapes, for images of 8 x 8 pixels:
///
/// | layer | output |
/// |---|---|
/// | 3 x 3 convolution of stride 2 | `[samples, 16, 4, 4]` |
/// | residual block | `[samples, 16, 4, 4]` |
/// | residual block of stride 2 | `[samples, 32, 2, 2]` |
/// | norm, relu, mean over the image | `[samples, 32]` |
/// | linear | `[samples, classes]` |
///
/// A residual block is `skip(x) + conv(relu(norm(conv(relu(norm(x))))))` with 3 x 3 convolutions that
/// pad with zeros. `skip` is `x` itself, or a 1 x 1 convolution where the size changes. Norms are group
/// norms of 4 groups, which treat every sample by itself and have no running averages. Convolutions
/// have no bias, and their weights are uniform in `[-1/sqrt(n), 1/sqrt(n)]` for `n` inputs per output.
///
/// ```
/// use burn::{module::Module, tensor::Device};
/// use downhill_problems::{Architecture, ResNet};
///
/// let net = ResNet { side: 8, classes: 10 };
/// let model = net.init(0, &Device::flex());
/// let convolutions = 9 * (16 + 2 * 16 * 16 + 16 * 32 + 32 * 32) + 16 * 32;
/// let norms = 2 * (16 + 16 + 16 + 32 + 32);
/// assert_eq!(model.num_params(), convolutions + norms + (32 + 1) * 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResNet {
    /// Pixels of an image's side. A sample has `side * side` features, row by row.
    pub side: usize,
    /// Classes to tell apart.
    pub classes: usize,
}

/// The layers of a [`ResNet`].
#[derive(Module, Debug)]
pub struct ResLayers {
    stem: Conv2d,
    blocks: Vec<Block>,
    norm: GroupNorm,
    output: Linear,
}

#[derive(Module, Debug)]
struct Block {
    norm_1: GroupNorm,
    conv_1: Conv2d,
    norm_2: GroupNorm,
    conv_2: Conv2d,
    skip: Option<Conv2d>,
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let inner = self.conv_1.forward(relu(self.norm_1.forward(x.clone())));
        let inner = self.conv_2.forward(relu(self.norm_2.forward(inner)));
        match &self.skip {
            Some(skip) => skip.forward(x) + inner,
            None => x + inner,
        }
    }
}

impl Architecture for ResNet {
    type Model = ResLayers;

    fn init(&self, seed: u32, device: &Device) -> ResLayers {
        let mut weights = Weights::new(seed, device);
        let mut conv = |inputs: usize, outputs: usize, size: usize, stride: usize| {
            let padding = size / 2;
            Conv2d {
                weight: weights.uniform(size * size * inputs, [outputs, inputs, size, size]),
                ..Conv2dConfig::new([inputs, outputs], [size, size])
                    .with_stride([stride, stride])
                    .with_padding(PaddingConfig2d::Explicit(
                        padding, padding, padding, padding,
                    ))
                    .with_bias(false)
                    .init(device)
            }
        };
        let norm = |channels| GroupNormConfig::new(GROUPS, channels).init(device);
        let mut block = |inputs: usize, outputs: usize, stride: usize| Block {
            norm_1: norm(inputs),
            conv_1: conv(inputs, outputs, 3, stride),
            norm_2: norm(outputs),
            conv_2: conv(outputs, outputs, 3, 1),
            skip: (stride > 1).then(|| conv(inputs, outputs, 1, stride)),
        };
        let blocks = vec![block(16, 16, 1), block(16, 32, 2)];
        ResLayers {
            stem: conv(1, 16, 3, 2),
            blocks,
            norm: norm(32),
            output: weights.linear(32, self.classes),
        }
    }

    fn logits(&self, model: &ResLayers, inputs: Tensor<2>) -> Tensor<2> {
        let [samples, _] = inputs.dims();
        let x = inputs.reshape([samples, 1, self.side, self.side]);
        let mut x = model.stem.forward(x);
        for block in &model.blocks {
            x = block.forward(x);
        }
        let x: Tensor<3> = relu(model.norm.forward(x)).flatten(2, 3);
        model.output.forward(x.mean_dim(2).squeeze_dim::<2>(2))
    }
}

#[cfg(test)]
mod tests {
    use burn::{module::Param, tensor::Tolerance};

    use super::*;
    use crate::data;

    const NET: ResNet = ResNet {
        side: 8,
        classes: 10,
    };

    #[test]
    fn a_sample_is_classified_by_itself() {
        let device = Device::flex();
        let model = NET.init(0, &device);
        let inputs = data::digits().test.batch(&device).inputs.slice(0..5);
        let together = NET.logits(&model, inputs.clone());
        for i in 0..5 {
            let alone = NET.logits(&model, inputs.clone().slice(i..i + 1));
            let near = Tolerance::<f32>::rel_abs(1e-4, 1e-5);
            let row = together.clone().slice(i..i + 1);
            alone.into_data().assert_approx_eq(&row.into_data(), near);
        }
        let rows = |i: usize| together.clone().slice(i..i + 1).into_data();
        assert_ne!(rows(0), rows(1));
    }

    #[test]
    fn a_block_is_its_skip_and_something() {
        let device = Device::flex();
        let mut model = NET.init(0, &device);
        let x = Tensor::<4>::ones([2, 16, 4, 4], &device);
        let shapes = [[2, 16, 4, 4], [2, 32, 2, 2]];
        for (block, shape) in model.blocks.iter_mut().zip(shapes) {
            let skip = match &block.skip {
                Some(skip) => skip.forward(x.clone()),
                None => x.clone(),
            };
            let whole = block.forward(x.clone());
            assert_eq!(whole.dims(), shape);
            assert_eq!(skip.dims(), shape);
            let last = &mut block.conv_2;
            last.weight = Param::from_tensor(last.weight.val().zeros_like());
            assert_eq!(block.forward(x.clone()).into_data(), skip.into_data());
        }
    }
}
