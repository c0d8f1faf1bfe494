use std::{io::Read, ops::Range};

use burn::{
    module::{Module, Param},
    nn::{Embedding, LayerNorm, LayerNormConfig, Linear},
    tensor::{
        Bool, Device, Int, Tensor, TensorData,
        activation::{relu, softmax},
    },
};
use flate2::read::GzDecoder;

use crate::{
    problem::{Evaluation, Info, Measure, Metric, Part, Problem, ProblemError, Target},
    slopes::cross_entropy,
    weights::Weights,
};

/// Characters that a prediction can look back on.
const CONTEXT: usize = 32;
const WIDTH: usize = 64;
const HEADS: usize = 4;
const LAYERS: usize = 2;
/// Windows that are evaluated at once.
const CHUNK: usize = 64;

/// A small transformer that predicts the next character of a text.
///
/// Decoder-only and with the norms first, as GPT-2: 2 layers of width 64, 4 heads of causal attention,
/// a hidden layer of 256 rectified units, learned positions, no dropout.
///
/// ```text
/// x = characters[c] + positions            [windows, 32, 64]
/// x = x + project(attention(norm(x)))      in each layer
/// x = x + contract(relu(expand(norm(x))))  in each layer
/// logits = norm(x) W + b                   [windows, 32, vocabulary]
/// ```
///
/// A sample is a window of 32 characters and the one that follows each of them; windows do not overlap.
/// The loss is the mean cross-entropy of the next character in nats, the metric the same in bits per
/// character. Of the text the first 80 % are trained on, the next 10 % are the validation part and the
/// last 10 % the test part. The training part is evaluated on as many windows as the test part, evenly
/// spaced.
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
    name: String,
    vocabulary: Vec<char>,
    /// The text as indices into the vocabulary.
    text: Vec<i64>,
}

/// The parameters of a [`CharTransformer`].
#[derive(Module, Debug)]
pub struct Transformer {
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
        // The file is part of the crate, and a test reads it, so this cannot fail on a user's machine.
        let compressed = include_bytes!("../../data/alice.txt.gz").as_slice();
        let mut text = String::new();
        GzDecoder::new(compressed)
            .read_to_string(&mut text)
            .expect("the embedded text is sound");
        Self::new("char-transformer", &text).expect("the embedded text is long enough")
    }

    /// Trained on a text. The vocabulary is the text's characters.
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
        let invalid = |reason| ProblemError::Invalid {
            name: name.into(),
            reason,
        };
        let mut vocabulary: Vec<char> = text.chars().collect();
        if vocabulary.len() < 1000 {
            return Err(invalid("expected a text of at least 1000 characters"));
        }
        vocabulary.sort_unstable();
        vocabulary.dedup();
        if vocabulary.len() < 2 {
            return Err(invalid("expected a text of different characters"));
        }
        let index = |c| vocabulary.partition_point(|&other| other < c) as i64;
        Ok(Self {
            name: name.into(),
            text: text.chars().map(index).collect(),
            vocabulary,
        })
    }

    /// The characters of the text, in ascending order.
    pub fn vocabulary(&self) -> &[char] {
        &self.vocabulary
    }

    fn range(&self, part: Part) -> Range<usize> {
        let n = self.text.len();
        match part {
            Part::Train => 0..n * 8 / 10,
            Part::Validation => n * 8 / 10..n * 9 / 10,
            Part::Test => n * 9 / 10..n,
        }
    }

    /// How many windows there are; the last one's last character has a successor in the part.
    fn windows(&self, part: Part) -> usize {
        (self.range(part).len() - 1) / CONTEXT
    }

    /// Characters and their successors, each of shape `[windows, CONTEXT]`.
    fn window_batch(&self, part: Part, windows: &[usize], device: &Device) -> [Tensor<2, Int>; 2] {
        let begin = self.range(part).start;
        [0, 1].map(|offset| {
            let characters = windows.iter().flat_map(|window| {
                let first = begin + window * CONTEXT + offset;
                &self.text[first..first + CONTEXT]
            });
            let data: Vec<i64> = characters.copied().collect();
            Tensor::from_data(TensorData::new(data, [windows.len(), CONTEXT]), device)
        })
    }
}

impl Transformer {
    /// Logits of shape `[windows * length, vocabulary]` from characters of shape
    /// `[windows, length]`.
    fn forward(&self, characters: Tensor<2, Int>) -> Tensor<2> {
        let [windows, length] = characters.dims();
        let device = characters.device();
        let future = Tensor::<2, Bool>::tril_mask([length, length], 0, &device);
        let future = future.unsqueeze::<4>();

        let mut x = self.characters.forward(characters) + self.positions.val().unsqueeze();
        for layer in &self.layers {
            x = layer.forward(x, &future);
        }
        let x = self.norm.forward(x).reshape([windows * length, WIDTH]);
        self.output.forward(x)
    }
}

impl Layer {
    fn forward(&self, x: Tensor<3>, future: &Tensor<4, Bool>) -> Tensor<3> {
        let [windows, length, _] = x.dims();
        let normed = self.attention_norm.forward(x.clone());
        let heads = |linear: &Linear| {
            let split = linear.forward(normed.clone());
            split
                .reshape([windows, length, HEADS, WIDTH / HEADS])
                .swap_dims(1, 2)
        };
        let scale = ((WIDTH / HEADS) as f64).sqrt().recip();
        let scores = (heads(&self.query) * scale).matmul(heads(&self.key).transpose());
        // Finite, so that no row can become NaN in half precision.
        let weights = softmax(scores.mask_fill(future.clone(), -1e4), 3);
        let context = weights.matmul(heads(&self.value)).swap_dims(1, 2);
        let x = x + self
            .project
            .forward(context.reshape([windows, length, WIDTH]));

        let hidden = relu(self.expand.forward(self.norm.forward(x.clone())));
        x + self.contract.forward(hidden)
    }
}

impl Problem for CharTransformer {
    type Model = Transformer;
    type Batch = [Tensor<2, Int>; 2];

    fn info(&self) -> Info {
        Info {
            name: self.name.clone(),
            about: "a two-layer transformer predicts the next character of a book".into(),
            metric: Some(Metric {
                name: "bits per character".into(),
                higher_is_better: false,
            }),
            samples: self.windows(Part::Train),
            batch_size: 16,
            epochs: 3,
            target: Target {
                part: Part::Validation,
                measure: Measure::Metric,
                value: 2.85,
            },
        }
    }

    fn init(&self, seed: u32, device: &Device) -> Transformer {
        let mut weights = Weights::new(seed, device);
        let norm = || LayerNormConfig::new(WIDTH).init(device);
        Transformer {
            characters: Embedding {
                weight: weights.normal(0.1, [self.vocabulary.len(), WIDTH]),
            },
            positions: weights.normal(0.1, [CONTEXT, WIDTH]),
            layers: (0..LAYERS)
                .map(|_| Layer {
                    attention_norm: norm(),
                    query: weights.linear(WIDTH, WIDTH),
                    key: weights.linear(WIDTH, WIDTH),
                    value: weights.linear(WIDTH, WIDTH),
                    project: weights.linear(WIDTH, WIDTH),
                    norm: norm(),
                    expand: weights.linear(WIDTH, 4 * WIDTH),
                    contract: weights.linear(4 * WIDTH, WIDTH),
                })
                .collect(),
            norm: norm(),
            output: weights.linear(WIDTH, self.vocabulary.len()),
        }
    }

    fn batch(&self, samples: &[usize], device: &Device) -> Self::Batch {
        self.window_batch(Part::Train, samples, device)
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
        let windows = self.windows(part);
        let evaluated = windows.min(self.windows(Part::Test));
        let chosen: Vec<usize> = (0..evaluated).map(|i| i * windows / evaluated).collect();
        let losses = chosen.chunks(CHUNK).map(|chunk| {
            let batch = self.window_batch(part, chunk, device);
            let loss: f64 = self.loss(&model, &batch).into_scalar();
            loss * chunk.len() as f64
        });
        let loss = losses.sum::<f64>() / evaluated as f64;
        Evaluation {
            loss,
            metric: Some(loss / std::f64::consts::LN_2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_is_complete() {
        let problem = CharTransformer::alice();
        let characters = |range: Range<usize>| {
            let indices = problem.text[range].iter();
            indices
                .map(|&i| problem.vocabulary[i as usize])
                .collect::<String>()
        };
        let n = problem.text.len();
        assert_eq!(n, 148_265);
        assert_eq!(characters(0..9), "CHAPTER I");
        assert_eq!(characters(n - 13..n), "summer days.\n");
    }

    #[test]
    fn targets_are_the_next_characters_and_windows_stay_in_their_part() {
        let problem = CharTransformer::alice();
        let device = Device::flex();
        for part in [Part::Train, Part::Validation, Part::Test] {
            let last = problem.windows(part) - 1;
            let range = problem.range(part);
            let [characters, next] = problem.window_batch(part, &[0, last], &device);
            assert_eq!(characters.dims(), [2, CONTEXT]);
            let values = |tensor: Tensor<2, Int>| {
                let data = tensor.into_data_as::<i64>();
                data.try_into_vec::<i64>().unwrap()
            };
            let (characters, next) = (values(characters), values(next));
            let begin = range.start;
            assert_eq!(characters[..CONTEXT], problem.text[begin..begin + CONTEXT]);
            assert_eq!(
                next[..CONTEXT],
                problem.text[begin + 1..begin + CONTEXT + 1]
            );
            let begin = range.start + last * CONTEXT;
            assert!(begin + CONTEXT < range.end);
            assert_eq!(
                next[CONTEXT..],
                problem.text[begin + 1..begin + CONTEXT + 1]
            );
        }
    }

    #[test]
    fn a_prediction_looks_back_and_never_ahead() {
        let problem = CharTransformer::alice();
        let device = Device::flex();
        let model = problem.init(0, &device);
        let logits = |changed: usize| {
            let mut text = problem.text[..CONTEXT].to_vec();
            text[changed] = (text[changed] + 1) % 70;
            let text = Tensor::from_data(TensorData::new(text, [1, CONTEXT]), &device);
            let logits = model.forward(text).into_data_as::<f32>();
            logits.try_into_vec::<f32>().unwrap()
        };
        let (one, other) = (logits(20), logits(30));
        let at = |position: usize| position * 70..(position + 1) * 70;
        assert_eq!(one[..20 * 70], other[..20 * 70]);
        for position in [20, 25, CONTEXT - 1] {
            assert_ne!(one[at(position)], other[at(position)], "{position}");
        }
    }
}
