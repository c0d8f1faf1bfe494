use burn::{
    module::{Module, Param},
    nn::{Embedding, Linear},
    tensor::{Device, Int, Tensor, activation::sigmoid},
};

use super::text::{Text, validation_bits};
use crate::{
    problem::{Evaluation, Info, Part, Problem, ProblemError},
    slopes::{cross_entropy, tanh},
    weights::Weights,
};

/// Windows that are evaluated at once: all of them.
const CHUNK: usize = 256;

/// A recurrent net that predicts the next character of a text.
///
/// One layer of gated recurrent units, in PyTorch's variant. The state `h` begins each window as zeros, and
/// for the character `c` with the rows `x_r, x_z, x_n = inputs[c]` and `h_r, h_z, h_n = h W + b`
///
/// ```text
/// r = sigmoid(x_r + h_r)
/// z = sigmoid(x_z + h_z)
/// n = tanh(x_n + r h_n)
/// h = (1 - z) n + z h        [windows, width]
/// logits = h V + d           [windows, context, vocabulary]
/// ```
///
/// The gradient goes back through all characters of the window. Parameters: `inputs [vocabulary, 3 width]`,
/// `state.weight [width, 3 width]`, `state.bias [3 width]`, `output.weight [width, vocabulary]`,
/// `output.bias [vocabulary]`, all uniform in `[-1/sqrt(width), 1/sqrt(width)]`.
///
/// Samples, parts, loss and metric are those of a [`CharTransformer`](crate::CharTransformer), but a part
/// is evaluated on 256 windows at most, evenly spaced.
///
/// ```
/// use burn::{module::Module, tensor::Device};
/// use downhill_problems::{CharRnn, Part, Problem};
///
/// let problem = CharRnn::alice();
/// let model = problem.init(0, &Device::flex());
/// assert_eq!(model.num_params(), 70 * 144 + (48 + 1) * 144 + (48 + 1) * 70);
/// let untrained = problem.evaluate(&model, Part::Test).metric.unwrap();
/// assert!((untrained - 70f64.log2()).abs() < 0.5);
/// ```
#[derive(Clone, Debug)]
pub struct CharRnn {
    info: Info,
    width: usize,
    text: Text,
}

/// The parameters of a [`CharRnn`].
#[derive(Module, Debug)]
pub struct Recurrent {
    inputs: Embedding,
    state: Linear,
    output: Linear,
}

impl CharRnn {
    /// 48 units, trained on the book of [`CharTransformer::alice`](crate::CharTransformer::alice) with
    /// windows of 32 characters.
    pub fn alice() -> Self {
        let info = Info {
            name: "char-rnn".into(),
            about: "a recurrent net predicts the next character of a book".into(),
            metric: None,
            samples: 0,
            batch_size: 32,
            epochs: 2,
            target: validation_bits(3.15),
        };
        Self::from_text(info, 48, Text::alice(32))
    }

    /// `width` units, trained on a text in windows of `context` characters. The samples and the metric of
    /// `info` are filled in.
    ///
    /// ```
    /// use downhill_problems::{CharRnn, Info, Problem};
    ///
    /// let info = Info { name: "counting".into(), ..CharRnn::alice().info() };
    /// let problem = CharRnn::new(info, &"one two three ".repeat(100), 20, 8)?;
    /// assert_eq!(problem.vocabulary().iter().collect::<String>(), " ehnortw");
    /// # Ok::<(), downhill_problems::ProblemError>(())
    /// ```
    ///
    /// # Errors
    /// [`ProblemError::Invalid`] for a text of fewer than 1,000 characters, or of one character only, for a
    /// context that is not shorter than a tenth of it, and for a width or a context of 0.
    pub fn new(info: Info, text: &str, context: usize, width: usize) -> Result<Self, ProblemError> {
        if width == 0 {
            return Err(ProblemError::Invalid {
                name: info.name,
                reason: "expected a width of at least one unit",
            });
        }
        let text = Text::new(&info.name, text, context)?;
        Ok(Self::from_text(info, width, text))
    }

    fn from_text(info: Info, width: usize, text: Text) -> Self {
        Self {
            info: text.complete(info),
            width,
            text,
        }
    }

    /// The characters of the text, in ascending order.
    pub fn vocabulary(&self) -> &[char] {
        self.text.vocabulary()
    }
}

impl Recurrent {
    /// Logits of shape `[windows * length, vocabulary]` from characters of shape
    /// `[windows, length]`.
    fn forward(&self, characters: Tensor<2, Int>) -> Tensor<2> {
        let [windows, length] = characters.dims();
        let [width, gates] = self.state.weight.dims();
        let mut h = Tensor::zeros([windows, width], &characters.device());
        let mut states = Vec::with_capacity(length);
        for at in 0..length {
            // One step at a time: the gradient of a slice of all of them would be as large as all of them.
            let now = characters.clone().slice([0..windows, at..at + 1]);
            h = self.step(self.inputs.forward(now).reshape([windows, gates]), h);
            states.push(h.clone());
        }
        self.output
            .forward(Tensor::stack::<3>(states, 1).flatten(0, 1))
    }

    fn step(&self, x: Tensor<2>, h: Tensor<2>) -> Tensor<2> {
        let [windows, width] = h.dims();
        let part = |x: &Tensor<2>, from: usize, to: usize| {
            x.clone().slice([0..windows, from * width..to * width])
        };
        let own = self.state.forward(h.clone());
        let gates = sigmoid(part(&x, 0, 2) + part(&own, 0, 2));
        let (reset, keep) = (part(&gates, 0, 1), part(&gates, 1, 2));
        let new = tanh(part(&x, 2, 3) + reset * part(&own, 2, 3));
        new.clone() + keep * (h - new)
    }
}

impl Problem for CharRnn {
    type Model = Recurrent;
    type Batch = [Tensor<2, Int>; 2];

    fn info(&self) -> Info {
        self.info.clone()
    }

    fn init(&self, seed: u32, device: &Device) -> Recurrent {
        let mut weights = Weights::new(seed, device);
        let (width, vocabulary) = (self.width, self.vocabulary().len());
        let inputs: Param<Tensor<2>> = weights.uniform(width, [vocabulary, 3 * width]);
        Recurrent {
            inputs: Embedding { weight: inputs },
            state: weights.linear(width, 3 * width),
            output: weights.linear(width, vocabulary),
        }
    }

    fn batch(&self, samples: &[usize], device: &Device) -> Self::Batch {
        self.text.batch(Part::Train, samples, device)
    }

    fn loss(&self, model: &Recurrent, [characters, next]: &Self::Batch) -> Tensor<1> {
        cross_entropy(
            model.forward(characters.clone()),
            next.clone().flatten(0, 1),
        )
    }

    fn evaluate(&self, model: &Recurrent, part: Part) -> Evaluation {
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
    use burn::{
        nn::gru::{Gru, GruConfig},
        tensor::Tolerance,
    };

    use super::*;
    use crate::problems::text::assert_looks_back_and_never_ahead;

    #[test]
    fn a_prediction_looks_back_and_never_ahead() {
        let problem = CharRnn::alice();
        let model = problem.init(0, &Device::flex());
        assert_looks_back_and_never_ahead(&problem.text, |text| model.forward(text));
    }

    /// A layer of Burn's with the same weights.
    fn burns(model: &Recurrent, device: &Device) -> Gru {
        let [vocabulary, gates] = model.inputs.weight.dims();
        let width = gates / 3;
        let mut gru = GruConfig::new(vocabulary, width, true).init(device);
        let columns = |tensor: Tensor<2>, gate: usize| {
            let [rows, _] = tensor.dims();
            tensor.slice([0..rows, gate * width..(gate + 1) * width])
        };
        let bias = model.state.bias.as_ref().unwrap().val();
        let parts = [&mut gru.reset_gate, &mut gru.update_gate, &mut gru.new_gate];
        for (gate, part) in parts.into_iter().enumerate() {
            let linear = |weight: Tensor<2>, bias: Tensor<1>| Linear {
                weight: Param::from_data(weight.into_data(), device),
                bias: Some(Param::from_data(bias.into_data(), device)),
            };
            let inputs = columns(model.inputs.weight.val(), gate);
            part.input_transform = linear(inputs, Tensor::zeros([width], device));
            let bias = bias.clone().slice(gate * width..(gate + 1) * width);
            part.hidden_transform = linear(columns(model.state.weight.val(), gate), bias);
        }
        gru
    }

    #[test]
    fn states_and_gradients_are_those_of_burns_layer() {
        let problem = CharRnn::alice();
        let device = Device::flex().autodiff();
        let model = problem.init(3, &device);
        let gru = burns(&model, &device);
        let [characters, next] = problem.batch(&[5, 7], &device);

        let one_hot = characters.clone().one_hot::<3>(70).float();
        let states = gru.forward(one_hot, None);
        let theirs = model.output.forward(states.flatten(0, 1));
        let ours = model.forward(characters);
        let near = Tolerance::<f32>::rel_abs(1e-5, 1e-5);
        let plain = |tensor: &Tensor<2>| tensor.clone().into_data();
        plain(&ours).assert_approx_eq(&plain(&theirs), near);

        let targets: Tensor<1, Int> = next.flatten(0, 1);
        let ours = cross_entropy(ours, targets.clone()).backward();
        let theirs = cross_entropy(theirs, targets).backward();
        let near = Tolerance::<f32>::rel_abs(1e-3, 1e-6);
        let ours = model.state.weight.grad(&ours).unwrap();
        let parts = [gru.reset_gate, gru.update_gate, gru.new_gate];
        let theirs = parts.map(|part| part.hidden_transform.weight.grad(&theirs).unwrap());
        plain(&ours).assert_approx_eq(&plain(&Tensor::cat(theirs.to_vec(), 1)), near);
    }
}
