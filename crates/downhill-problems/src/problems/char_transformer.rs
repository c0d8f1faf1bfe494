use burn::{
    module::{Module, Param},
    nn::{Embedding, LayerNorm, LayerNormConfig, Linear},
    tensor::{
        Bool, Device, Int, Tensor,
        activation::{relu, softmax},
    },
};

use super::text::{Text, validation_bits};
use crate::{
    problem::{Evaluation, Info, Part, Problem, ProblemError},
    slopes::cross_entropy,
    weights::Weights,
};

/// Windows that are evaluated at once.
const CHUNK: usize = 64;

/// A small transformer that predicts the next character of a text.
///
/// Decoder-only and with the norms first, as GPT-2: layers of causal attention, each followed by rectified
/// units, four times as many as the width; learned positions, no dropout. With the
/// [sizes](TransformerSizes) `context` and `width`:
///
/// ```text
/// x = characters[c] + positions            [windows, context, width]
/// x = x + project(attention(norm(x)))      in each layer
/// x = x + contract(relu(expand(norm(x))))  in each layer
/// logits = norm(x) W + b                   [windows, context, vocabulary]
/// ```
///
/// A sample is a window of `context` characters and the one that follows each of them; windows do not overlap.
/// The loss is the mean cross-entropy of the next character in nats, the metric the same in bits per
/// character. Of the text the first 80 % are trained on, the next 10 % are the validation part and the
/// last 10 % the test part. Each is evaluated on 256 windows at most, and the training part on no more than the test
/// part has, evenly spaced.
///
/// ```
/// use burn::{module::Module, tensor::Device};
/// use downhill_problems::{CharTransformer, Part, Problem};
///
/// let problem = CharTransformer::alice();
/// assert_eq!(problem.vocabulary().len(), 70);
/// let model = problem.init(0, &Device::flex());
/// let untrained = problem.evaluate(&model, Part::Test).metric.unwrap();
/// assert!((untrained - 70f64.log2()).abs() < 0.5);
/// ```
#[derive(Clone, Debug)]
pub struct CharTransformer {
    info: Info,
    sizes: TransformerSizes,
    text: Text,
}

/// The sizes of a [`CharTransformer`]; by default those of [`CharTransformer::alice`].
///
/// ```
/// use downhill_problems::TransformerSizes;
///
/// let sizes = TransformerSizes::default();
/// assert_eq!((sizes.context, sizes.width, sizes.heads, sizes.layers), (32, 64, 4, 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransformerSizes {
    /// Characters that a prediction can look back on.
    pub context: usize,
    /// Numbers that stand for a character.
    pub width: usize,
    /// Heads of a layer's attention, which share the width.
    pub heads: usize,
    /// Layers.
    pub layers: usize,
}

impl Default for TransformerSizes {
    fn default() -> Self {
        Self {
            context: 32,
            width: 64,
            heads: 4,
            layers: 2,
        }
    }
}

/// The parameters of a [`CharTransformer`].
#[derive(Module, Debug)]
pub struct Transformer {
    heads: usize,
    characters: Embedding,
    positions: Param<Tensor<2>>,
    layers: Vec<Layer>,
    norm: LayerNorm,
    output: Linear,
}

#[derive(Module, Debug)]
struct Layer {
    attention_norm: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    project: Linear,
    norm: LayerNorm,
    expand: Linear,
    contract: Linear,
}

impl CharTransformer {
    /// Trained on "Alice's Adventures in Wonderland" by Lewis Carroll (1865, in the public domain),
    /// 148,265 characters that are part of the crate.
    pub fn alice() -> Self {
        let sizes = TransformerSizes::default();
        let text = Text::alice(sizes.context);
        Self::from_text(info("char-transformer"), sizes, text)
    }

    /// Trained on the same book, but with one layer of width 32, 2 heads and a context of 16: for a first
    /// look at an optimizer.
    ///
    /// ```
    /// use downhill_problems::{CharTransformer, Problem};
    ///
    /// let problem = CharTransformer::alice_small();
    /// assert_eq!(problem.info().name, "char-transformer-small");
    /// assert_eq!(problem.sizes().layers, 1);
    /// ```
    pub fn alice_small() -> Self {
        let sizes = TransformerSizes {
            context: 16,
            width: 32,
            heads: 2,
            layers: 1,
        };
        let small = Info {
            about: "a one-layer transformer predicts the next character of a book".into(),
            batch_size: 32,
            epochs: 2,
            target: validation_bits(3.15),
            ..info("char-transformer-small")
        };
        Self::from_text(small, sizes, Text::alice(sizes.context))
    }

    /// Trained on a text as [`alice`](Self::alice) is. The vocabulary is the text's characters.
    ///
    /// ```
    /// use downhill_problems::CharTransformer;
    ///
    /// let problem = CharTransformer::new("counting", &"one two three ".repeat(100))?;
    /// assert_eq!(problem.vocabulary().iter().collect::<String>(), " ehnortw");
    /// # Ok::<(), downhill_problems::ProblemError>(())
    /// ```
    ///
    /// # Errors
    /// [`ProblemError::Invalid`] for fewer than 1,000 characters, of which each part needs a window, or
    /// for a text of one character only.
    pub fn new(name: &str, text: &str) -> Result<Self, ProblemError> {
        Self::with_sizes(info(name), text, TransformerSizes::default())
    }

    /// Trained on a text with sizes of your own. The samples and the metric of `info` are filled in.
    ///
    /// ```
    /// use downhill_problems::{CharTransformer, Info, Problem, TransformerSizes};
    ///
    /// let info = Info { name: "counting".into(), epochs: 10, ..CharTransformer::alice().info() };
    /// let sizes = TransformerSizes { context: 8, width: 16, ..Default::default() };
    /// let problem = CharTransformer::with_sizes(info, &"one two three ".repeat(100), sizes)?;
    /// assert_eq!(problem.info().samples, 139); // windows of 8 in 1,120 characters
    /// # Ok::<(), downhill_problems::ProblemError>(())
    /// ```
    ///
    /// # Errors
    /// [`ProblemError::Invalid`] for a text that [`new`](Self::new) does not take, for a context that is not
    /// shorter than a tenth of it, for sizes of 0, or if the heads do not divide the width.
    pub fn with_sizes(
        info: Info,
        text: &str,
        sizes: TransformerSizes,
    ) -> Result<Self, ProblemError> {
        let TransformerSizes {
            width,
            heads,
            layers,
            ..
        } = sizes;
        if width == 0 || layers == 0 || heads == 0 || !width.is_multiple_of(heads) {
            return Err(ProblemError::Invalid {
                name: info.name,
                reason: "expected at least one layer, and heads that divide the width",
            });
        }
        let text = Text::new(&info.name, text, sizes.context)?;
        Ok(Self::from_text(info, sizes, text))
    }

    fn from_text(info: Info, sizes: TransformerSizes, text: Text) -> Self {
        Self {
            info: text.complete(info),
            sizes,
            text,
        }
    }

    /// The characters of the text, in ascending order.
    pub fn vocabulary(&self) -> &[char] {
        self.text.vocabulary()
    }

    /// The model's sizes.
    pub fn sizes(&self) -> TransformerSizes {
        self.sizes
    }
}

/// What the text does not decide.
fn info(name: &str) -> Info {
    Info {
        name: name.into(),
        about: "a two-layer transformer predicts the next character of a book".into(),
        metric: None,
        samples: 0,
        batch_size: 16,
        epochs: 2,
        target: validation_bits(2.95),
    }
}

impl Transformer {
    /// Logits of shape `[windows * length, vocabulary]` from characters of shape
    /// `[windows, length]`.
    fn forward(&self, characters: Tensor<2, Int>) -> Tensor<2> {
        let [_, length] = characters.dims();
        let device = characters.device();
        let future = Tensor::<2, Bool>::tril_mask([length, length], 0, &device);
        let future = future.unsqueeze::<4>();

        let mut x = self.characters.forward(characters) + self.positions.val().unsqueeze();
        for layer in &self.layers {
            x = layer.forward(x, self.heads, &future);
        }
        self.output.forward(self.norm.forward(x).flatten(0, 1))
    }
}

impl Layer {
    fn forward(&self, x: Tensor<3>, heads: usize, future: &Tensor<4, Bool>) -> Tensor<3> {
        let [windows, length, width] = x.dims();
        let of_a_head = width / heads;
        let normed = self.attention_norm.forward(x.clone());
        let split = |linear: &Linear| {
            let whole = linear.forward(normed.clone());
            whole
                .reshape([windows, length, heads, of_a_head])
                .swap_dims(1, 2)
        };
        let scale = (of_a_head as f64).sqrt().recip();
        let scores = (split(&self.query) * scale).matmul(split(&self.key).transpose());
        // Finite, so that no row can become NaN in half precision.
        let weights = softmax(scores.mask_fill(future.clone(), -1e4), 3);
        let context = weights.matmul(split(&self.value)).swap_dims(1, 2);
        let x = x + self
            .project
            .forward(context.reshape([windows, length, width]));

        let hidden = relu(self.expand.forward(self.norm.forward(x.clone())));
        x + self.contract.forward(hidden)
    }
}

impl Problem for CharTransformer {
    type Model = Transformer;
    type Batch = [Tensor<2, Int>; 2];

    fn info(&self) -> Info {
        self.info.clone()
    }

    fn init(&self, seed: u32, device: &Device) -> Transformer {
        let mut weights = Weights::new(seed, device);
        let TransformerSizes {
            context,
            width,
            heads,
            layers,
        } = self.sizes;
        let vocabulary = self.vocabulary().len();
        let norm = || LayerNormConfig::new(width).init(device);
        Transformer {
            heads,
            characters: Embedding {
                weight: weights.normal(0.1, [vocabulary, width]),
            },
            positions: weights.normal(0.1, [context, width]),
            layers: (0..layers)
                .map(|_| Layer {
                    attention_norm: norm(),
                    query: weights.linear(width, width),
                    key: weights.linear(width, width),
                    value: weights.linear(width, width),
                    project: weights.linear(width, width),
                    norm: norm(),
                    expand: weights.linear(width, 4 * width),
                    contract: weights.linear(4 * width, width),
                })
                .collect(),
            norm: norm(),
            output: weights.linear(width, vocabulary),
        }
    }

    fn batch(&self, samples: &[usize], device: &Device) -> Self::Batch {
        self.text.batch(Part::Train, samples, device)
    }

    fn loss(&self, model: &Transformer, [characters, next]: &Self::Batch) -> Tensor<1> {
        cross_entropy(
            model.forward(characters.clone()),
            next.clone().flatten(0, 1),
        )
    }

    fn evaluate(&self, model: &Transformer, part: Part) -> Evaluation {
        let model = model.valid();
        let device = &model.devices()[0];
        let loss = |batch: &_| self.loss(&model, batch);
        self.text.evaluate(part, CHUNK, device, loss)
    }

    fn evaluated_on(&self, part: Part) -> Option<usize> {
        Some(self.text.evaluated(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problems::text::assert_looks_back_and_never_ahead;

    #[test]
    fn a_prediction_looks_back_and_never_ahead() {
        let device = Device::flex();
        for problem in [CharTransformer::alice(), CharTransformer::alice_small()] {
            let model = problem.init(0, &device);
            assert_looks_back_and_never_ahead(&problem.text, |text| model.forward(text));
        }
    }

    #[test]
    fn sizes_of_ones_own() {
        let text = "one two three ".repeat(100);
        let of = |sizes| CharTransformer::with_sizes(info("mine"), &text, sizes);
        let default = TransformerSizes::default();
        let problem = of(TransformerSizes {
            context: 5,
            width: 6,
            heads: 3,
            layers: 2,
        })
        .unwrap();
        let device = Device::flex();
        let model = problem.init(0, &device);
        let layer = 4 * (6 + 1) * 6 + (6 + 1) * 24 + (24 + 1) * 6 + 4 * 6;
        assert_eq!(
            model.num_params(),
            8 * 6 + 5 * 6 + 2 * layer + 2 * 6 + (6 + 1) * 8
        );
        let [characters, _] = problem.batch(&[3, 1], &device);
        assert_eq!(model.forward(characters).dims(), [2 * 5, 8]);

        let [width, heads, layers, uneven, context, long] = [
            (32, 0, 4, 2),
            (32, 64, 0, 2),
            (32, 64, 4, 0),
            (32, 64, 5, 2),
            (0, 64, 4, 2),
            (140, 64, 4, 2),
        ]
        .map(|(context, width, heads, layers)| {
            let sizes = TransformerSizes {
                context,
                width,
                heads,
                layers,
            };
            of(sizes).unwrap_err().to_string()
        });
        for message in [width, heads, layers, uneven] {
            assert!(
                message.ends_with("heads that divide the width"),
                "{message}"
            );
        }
        for message in [context, long] {
            assert!(message.starts_with("problem 'mine': expected a context"));
        }
        assert!(of(default).is_ok());
    }
}
