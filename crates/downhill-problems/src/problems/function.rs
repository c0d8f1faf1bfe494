use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};

use crate::{
    functions::Function,
    numpy::RandomState,
    problem::{Evaluation, Info, Measure, Metric, Part, Problem, Target},
};

/// The minimisation of a [`Function`]: the model is the point, the loss its value there.
///
/// The parameter is a vector of shape `[n]`, the loss [`Function::value_tensor`]. The metric is the
/// *gap*, how far the value is above the least one, computed in double precision; it is the same in all
/// parts. An update is an epoch. The seed 0 begins at [`Function::start`], and every other one near
/// it: each coordinate is multiplied by a random number from 0.9 to 1.1.
///
/// ```
/// use burn::tensor::Device;
/// use downhill_problems::{FunctionProblem, Part, Problem, functions::Function};
///
/// let beale = FunctionProblem::new(Function::beale());
/// let start = beale.evaluate(&beale.init(0, &Device::flex()), Part::Test);
/// assert_eq!(start.loss, 14.203125);
/// assert_eq!(start.metric, Some(14.203125));
/// ```
#[derive(Clone, Debug)]
pub struct FunctionProblem {
    function: Function,
}

/// A point in R^n.
#[derive(Module, Debug)]
pub struct Point {
    x: Param<Tensor<1>>,
}

impl FunctionProblem {
    /// The minimisation of a function.
    pub fn new(function: Function) -> Self {
        Self { function }
    }
}

impl Problem for FunctionProblem {
    type Model = Point;
    type Batch = ();

    fn info(&self) -> Info {
        let (epochs, gap) = self.function.budget_and_gap();
        Info {
            name: self.function.name(),
            about: self.function.about().into(),
            metric: Some(Metric {
                name: "gap".into(),
                higher_is_better: false,
            }),
            samples: 1,
            batch_size: 1,
            epochs,
            target: Target {
                part: Part::Train,
                measure: Measure::Metric,
                value: gap,
            },
        }
    }

    fn init(&self, seed: u32, device: &Device) -> Point {
        let mut x = self.function.start();
        if seed > 0 {
            let [low, high] = self.function.domain();
            let draws = RandomState::new(seed).rand(x.len());
            for (x, u) in x.iter_mut().zip(draws) {
                *x = (*x * (0.9 + 0.2 * u)).clamp(low, high);
            }
        }
        let n = x.len();
        Point {
            x: Param::from_data(TensorData::new(x, [n]), device),
        }
    }

    fn batch(&self, _samples: &[usize], _device: &Device) {}

    fn loss(&self, model: &Point, _batch: &()) -> Tensor<1> {
        self.function.value_tensor(model.x.val())
    }

    fn evaluate(&self, model: &Point, _part: Part) -> Evaluation {
        let data = model.x.val().into_data_as::<f64>();
        let x = data.try_into_vec::<f64>().expect("the data was converted");
        let loss = self.function.value(&x);
        Evaluation {
            loss,
            metric: Some(loss - self.function.least()),
        }
    }
}
