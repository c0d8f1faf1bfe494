//! A problem of your own, from a Burn module and its data to a report of which optimizer suits it.
//!
//! ```text
//! cargo run --release --example own_problem
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::f64::consts::PI;

use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor, TensorData};
use downhill_lab::compare::Compare;
use downhill_optim::{AdamWConfig, NAdamConfig, SgdConfig};
use downhill_problems::numpy::RandomState;
use downhill_problems::{AnyProblem, Evaluation, Info, Measure, Part, Problem, Target};

/// Your model.
#[derive(Module, Debug)]
struct Curve {
    hidden: Linear,
    output: Linear,
}

impl Curve {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.output.forward(gelu(self.hidden.forward(x)))
    }
}

/// Your data: points of a wave with noise, for training, validation and test.
struct Wave {
    parts: [Vec<[f64; 2]>; 3],
}

impl Wave {
    fn new() -> Self {
        let mut random = RandomState::new(7);
        let mut points = |count: usize| {
            let (x, noise) = (random.rand(count), random.randn(count));
            let pairs = x.iter().zip(noise);
            pairs
                .map(|(x, noise)| [*x, (2.0 * PI * x).sin() + 0.05 * noise])
                .collect()
        };
        Self {
            parts: [points(256), points(128), points(128)],
        }
    }

    fn part(&self, part: Part) -> &[[f64; 2]] {
        match part {
            Part::Train => &self.parts[0],
            Part::Validation => &self.parts[1],
            Part::Test => &self.parts[2],
        }
    }
}

fn tensors(points: &[[f64; 2]], device: &Device) -> [Tensor<2>; 2] {
    [0, 1].map(|column| {
        let values: Vec<f64> = points.iter().map(|point| point[column]).collect();
        Tensor::from_data(TensorData::new(values, [points.len(), 1]), device)
    })
}

impl Problem for Wave {
    type Model = Curve;
    type Batch = [Tensor<2>; 2];

    fn info(&self) -> Info {
        Info {
            name: "wave".into(),
            about: "a small perceptron learns a wave".into(),
            metric: None,
            samples: self.parts[0].len(),
            batch_size: 32,
            epochs: 30,
            target: Target {
                part: Part::Validation,
                measure: Measure::Loss,
                value: 0.01,
            },
        }
    }

    fn init(&self, seed: u32, device: &Device) -> Curve {
        device.seed(seed.into());
        Curve {
            hidden: LinearConfig::new(1, 32).init(device),
            output: LinearConfig::new(32, 1).init(device),
        }
    }

    fn batch(&self, samples: &[usize], device: &Device) -> Self::Batch {
        let points: Vec<[f64; 2]> = samples.iter().map(|i| self.parts[0][*i]).collect();
        tensors(&points, device)
    }

    fn loss(&self, model: &Curve, [x, y]: &Self::Batch) -> Tensor<1> {
        MseLoss::new().forward(model.forward(x.clone()), y.clone(), Reduction::Mean)
    }

    fn evaluate(&self, model: &Curve, part: Part) -> Evaluation {
        let batch = tensors(self.part(part), &model.devices()[0]);
        Evaluation {
            loss: self.loss(model, &batch).into_scalar(),
            metric: None,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let comparison = Compare::new(vec![AnyProblem::new(Wave::new())?])
        .with_optimizer("momentum", SgdConfig::new().with_momentum(0.9))
        .with_optimizer("adamw", AdamWConfig::new())
        .with_optimizer("nadam", NAdamConfig::new())
        .run("flex", &Device::flex(), "wave")?;
    for entry in &comparison.problems[0].entries {
        let loss = entry.test_loss.map_or(f64::INFINITY, |loss| loss.median);
        println!("{:10} {loss:.5}", entry.optimizer);
    }
    println!("The report is wave/report.html");
    Ok(())
}
