use std::f64::consts::PI;

use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Tensor, TensorData},
};

use crate::{
    numpy::RandomState,
    problem::{Evaluation, Info, Measure, Metric, Part, Problem, Target},
    slopes::tanh,
    weights::Weights,
};

/// Units of each of the two hidden layers.
const WIDTH: usize = 32;

/// A physics-informed net: one that solves a differential equation, without being told the solution.
///
/// Poisson's equation `-u'' = f` on `[0, 1]` with `u(0) = u(1) = 0`, whose solution here is
/// `sin(pi x) + sin(5 pi x) / 5`. The net, of two hidden layers of 32 units, is
///
/// ```text
/// N(x) = tanh(tanh((4 x - 2) W1 + b1) W2 + b2) W3 + b3
/// u(x) = x (1 - x) N(x)
/// ```
///
/// so that the boundary values hold whatever the weights are. A sample is a point `x`, and the loss how badly
/// the equation holds there, as a share of the mean square of `f` over the interval, with which it begins
/// near 1:
///
/// ```text
/// mean (u''(x) + f(x))^2 / (13 pi^4)
/// ```
///
/// `u''` goes through the layers along with the value, so that the loss is an ordinary function of the
/// weights. Second derivatives weigh a wave with the square of its frequency, so that the short wave makes
/// up most of the loss, and the long one most of the solution. 128 points are trained on; the validation and
/// the test part have as many, and all are uniform in `[0, 1)`.
///
/// The metric is the root of the mean square of the error of `u`, as a share of that of the solution.
///
/// ```
/// use burn::tensor::Device;
/// use downhill_problems::{Part, Pinn, Problem};
///
/// let problem = Pinn::poisson();
/// assert!((Pinn::solution(0.5) - 1.2).abs() < 1e-12);
/// let untrained = problem.evaluate(&problem.init(0, &Device::flex()), Part::Test);
/// assert!((0.5..2.0).contains(&untrained.loss));
/// ```
#[derive(Clone, Debug)]
pub struct Pinn {
    train: Vec<f64>,
    validation: Vec<f64>,
    test: Vec<f64>,
}

/// The layers of a [`Pinn`].
#[derive(Module, Debug)]
pub struct PinnLayers {
    first: Linear,
    second: Linear,
    /// Of one unit, whose bias has the shape `[1]`.
    output: Linear,
}

/// A function of `x` at some points: its value and its first two derivatives, each of shape
/// `[points, units]`. What is the same at all points has one row.
#[derive(Clone, Debug)]
struct Jet {
    value: Tensor<2>,
    first: Tensor<2>,
    second: Tensor<2>,
}

impl Pinn {
    /// The only equation so far.
    pub fn poisson() -> Self {
        let mut random = RandomState::new(0);
        let [train, validation, test] = [(); 3].map(|()| random.rand(128));
        Self {
            train,
            validation,
            test,
        }
    }

    /// The solution at `x`.
    pub fn solution(x: f64) -> f64 {
        (PI * x).sin() + (5.0 * PI * x).sin() / 5.0
    }

    /// The equation's right side at `x`.
    fn source(x: f64) -> f64 {
        PI * PI * ((PI * x).sin() + 5.0 * (5.0 * PI * x).sin())
    }

    /// The mean square of the right side: half of the square of each wave's height.
    fn source_square() -> f64 {
        PI.powi(4) * (0.5 + 12.5)
    }

    fn points(&self, part: Part) -> &[f64] {
        match part {
            Part::Train => &self.train,
            Part::Validation => &self.validation,
            Part::Test => &self.test,
        }
    }
}

fn column(values: impl Iterator<Item = f64>, device: &Device) -> Tensor<2> {
    let values: Vec<f64> = values.collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n, 1]), device)
}

impl Jet {
    fn linear(self, layer: &Linear) -> Self {
        let weight = layer.weight.val();
        Self {
            value: layer.forward(self.value),
            first: self.first.matmul(weight.clone()),
            second: self.second.matmul(weight),
        }
    }

    fn tanh(self) -> Self {
        let value = tanh(self.value);
        let slope = -value.clone().square() + 1;
        // The derivative of the slope is -2 times value and slope.
        let bend = value.clone() * self.first.clone().square() * -2;
        Self {
            first: slope.clone() * self.first,
            second: slope * (self.second + bend),
            value,
        }
    }

    /// Times `x (1 - x)`, at these points.
    fn vanishing_at_the_ends(self, x: &Tensor<2>) -> Self {
        let factor = x.clone() * (-x.clone() + 1);
        let slope = x.clone() * -2 + 1;
        let second = factor.clone() * self.second + slope.clone() * self.first.clone() * 2;
        Self {
            first: factor.clone() * self.first + slope * self.value.clone(),
            second: second - self.value.clone() * 2,
            value: factor * self.value,
        }
    }
}

impl PinnLayers {
    /// `u` and its derivatives, of shape `[points, 1]`, at points of shape `[points, 1]`.
    fn forward(&self, x: &Tensor<2>) -> Jet {
        let centred = Jet {
            value: x.clone() * 4 - 2,
            first: Tensor::full([1, 1], 4, &x.device()),
            second: Tensor::zeros([1, 1], &x.device()),
        };
        let hidden = centred.linear(&self.first).tanh();
        let hidden = hidden.linear(&self.second).tanh();
        hidden.linear(&self.output).vanishing_at_the_ends(x)
    }
}

impl Problem for Pinn {
    type Model = PinnLayers;
    type Batch = [Tensor<2>; 2];

    fn info(&self) -> Info {
        Info {
            name: "pinn".into(),
            about: "a net that satisfies a differential equation".into(),
            metric: Some(Metric {
                name: "relative error".into(),
                higher_is_better: false,
            }),
            samples: self.train.len(),
            batch_size: 32,
            epochs: 500,
            target: Target {
                part: Part::Validation,
                measure: Measure::Metric,
                value: 0.01,
            },
        }
    }

    fn init(&self, seed: u32, device: &Device) -> PinnLayers {
        let mut weights = Weights::new(seed, device);
        PinnLayers {
            first: weights.linear(1, WIDTH),
            second: weights.linear(WIDTH, WIDTH),
            output: weights.linear(WIDTH, 1),
        }
    }

    fn batch(&self, samples: &[usize], device: &Device) -> Self::Batch {
        let x = || samples.iter().map(|&i| self.train[i]);
        [column(x(), device), column(x().map(Self::source), device)]
    }

    fn loss(&self, model: &PinnLayers, [x, source]: &Self::Batch) -> Tensor<1> {
        let residual = model.forward(x).second + source.clone();
        residual.square().mean() / Self::source_square()
    }

    fn evaluate(&self, model: &PinnLayers, part: Part) -> Evaluation {
        let model = model.valid();
        let device = &model.devices()[0];
        let points = || self.points(part).iter().copied();
        let [x, source, solution] = [
            column(points(), device),
            column(points().map(Self::source), device),
            column(points().map(Self::solution), device),
        ];
        let Jet { value, second, .. } = model.forward(&x);
        let mean_square = |x: Tensor<2>| x.square().mean().into_scalar::<f64>();
        let error = mean_square(value - solution.clone()) / mean_square(solution);
        Evaluation {
            loss: mean_square(second + source) / Self::source_square(),
            metric: Some(error.sqrt()),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Param;

    use super::*;

    fn values(tensor: Tensor<2>) -> Vec<f64> {
        let data = tensor.into_data_as::<f64>();
        data.try_into_vec::<f64>().unwrap()
    }

    #[test]
    fn the_solution_solves_the_equation() {
        assert_eq!(Pinn::solution(0.0), 0.0);
        assert!(Pinn::solution(1.0).abs() < 1e-15);
        let h = 1e-4;
        for x in Pinn::poisson().train {
            let [left, here, right] = [x - h, x, x + h].map(Pinn::solution);
            let second = (left - 2.0 * here + right) / (h * h);
            assert!((second + Pinn::source(x)).abs() < 1e-4, "{x}");
        }
        let n = 1000;
        let squares = (0..n).map(|i| Pinn::source(f64::from(i) / f64::from(n)).powi(2));
        let mean = squares.sum::<f64>() / f64::from(n);
        assert!((mean / Pinn::source_square() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn derivatives_are_those_of_the_value() {
        let problem = Pinn::poisson();
        let device = Device::flex();
        let mut model = problem.init(5, &device);
        // Steeper than at the start, so that every term counts.
        for layer in [&mut model.first, &mut model.second, &mut model.output] {
            layer.weight = Param::from_tensor(layer.weight.val() * 2);
        }
        let points = [0.0, 0.2, 0.5, 0.77, 1.0];
        let at = |offset| model.forward(&column(points.map(|x| x + offset).into_iter(), &device));
        let h = 0.003;
        let (left, here, right) = (at(-h), at(0.0), at(h));
        let [left, right] = [left, right].map(|jet| [jet.value, jet.first].map(values));
        let [value, first, second] = [here.value, here.first, here.second].map(values);
        assert_eq!((value[0], value[4]), (0.0, 0.0));
        for i in 0..points.len() {
            let slope = |order: usize| (right[order][i] - left[order][i]) / (2.0 * h);
            let close = |a: f64, b: f64| (a - b).abs() < 2e-3 * (1.0 + b.abs());
            assert!(close(slope(0), first[i]), "{} {}", slope(0), first[i]);
            assert!(close(slope(1), second[i]), "{} {}", slope(1), second[i]);
        }
    }

    #[test]
    fn gradients_are_those_of_the_loss() {
        let problem = Pinn::poisson();
        let device = Device::flex().autodiff();
        let model = problem.init(5, &device);
        let batch = problem.batch(&[1, 2, 3, 4, 5, 6, 7, 8], &device);
        let gradients = problem.loss(&model, &batch).backward();
        let loss = |change: &dyn Fn(&mut PinnLayers)| {
            let mut changed = model.clone();
            change(&mut changed);
            problem.loss(&changed, &batch).into_scalar::<f64>()
        };
        let step = 1e-2;
        let slope = |layer: fn(&mut PinnLayers) -> &mut Linear| {
            let weight = layer(&mut model.clone()).weight.val();
            let gradient = weight.grad(&gradients).unwrap();
            let length = values(gradient.clone().square()).iter().sum::<f64>().sqrt();
            // Along the gradient, where the slope is the gradient's length.
            let along = gradient * (step / length);
            let [up, down] = [1, -1].map(|sign| {
                loss(&|model| {
                    let weight = &mut layer(model).weight;
                    let moved = weight.val().without_autodiff() + along.clone() * sign;
                    *weight = Param::from_data(moved.into_data(), &device);
                })
            });
            ((up - down) / (2.0 * step), length)
        };
        for (found, expected) in [
            slope(|model| &mut model.first),
            slope(|model| &mut model.second),
            slope(|model| &mut model.output),
        ] {
            assert!((found / expected - 1.0).abs() < 0.02, "{found} {expected}");
        }
    }
}
