use burn::{
    module::Module,
    nn::{
        Linear, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
        pool::MaxPool2dConfig,
    },
    tensor::{Device, Tensor, activation::relu},
};

use super::Architecture;
use crate::weights::Weights;

/// A small convolutional net for square images of one channel.
///
/// Shapes, for images of 8 x 8 pixels:
///
/// | layer | output |
/// |---|---|
/// | 3 x 3 convolution, relu, 2 x 2 maximum | `[samples, 16, 4, 4]` |
/// | 3 x 3 convolution, relu, 2 x 2 maximum | `[samples, 32, 2, 2]` |
/// | linear | `[samples, classes]` |
///
/// The convolutions pad with zeros and keep the size. All weights and biases are uniform in
/// `[-1/sqrt(n), 1/sqrt(n)]` for `n` inputs per output, as in Burn's and PyTorch's layers.
///
/// ```
/// use burn::{module::Module, tensor::Device};
/// use downhill_problems::{Architecture, ConvNet};
///
/// let net = ConvNet { side: 8, classes: 10 };
/// let model = net.init(0, &Device::flex());
/// assert_eq!(model.num_params(), (9 + 1) * 16 + (9 * 16 + 1) * 32 + (2 * 2 * 32 + 1) * 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvNet {
    /// Pixels of an image's side, a multiple of 4. A sample has `side * side` features, row by row.
    pub side: usize,
    /// Classes to tell apart.
    pub classes: usize,
}

/// The layers of a [`ConvNet`].
#[derive(Module, Debug)]
pub struct ConvLayers {
    conv_1: Conv2d,
    conv_2: Conv2d,
    output: Linear,
}

impl Architecture for ConvNet {
    type Model = ConvLayers;

    fn init(&self, seed: u32, device: &Device) -> ConvLayers {
        let mut weights = Weights::new(seed, device);
        let mut conv = |inputs: usize, outputs: usize| Conv2d {
            weight: weights.uniform(9 * inputs, [outputs, inputs, 3, 3]),
            bias: Some(weights.uniform(9 * inputs, [outputs])),
            ..Conv2dConfig::new([inputs, outputs], [3, 3])
                .with_padding(PaddingConfig2d::Same)
                .init(device)
        };
        ConvLayers {
            conv_1: conv(1, 16),
            conv_2: conv(16, 32),
            output: weights.linear(32 * (self.side / 4).pow(2), self.classes),
        }
    }

    fn logits(&self, model: &ConvLayers, inputs: Tensor<2>) -> Tensor<2> {
        let [samples, _] = inputs.dims();
        let pool = MaxPool2dConfig::new([2, 2]).init();
        let halve = |x| pool.forward(relu(x));
        let x = inputs.reshape([samples, 1, self.side, self.side]);
        let x = halve(model.conv_1.forward(x));
        let x = halve(model.conv_2.forward(x));
        model.output.forward(x.flatten(1, 3))
    }
}
