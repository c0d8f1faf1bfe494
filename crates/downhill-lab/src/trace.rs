//! The path of an optimizer over a test function of two variables.
//!
//! ```
//! use downhill_lab::trace::{RATES, best_of, trace};
//! use downhill_optim::OptimizerConfig;
//! use downhill_problems::functions::Function;
//!
//! let f = Function::himmelblau();
//! let adam = OptimizerConfig::by_name("adam")?;
//! let path = trace(&f, &adam, 0.1, [-1.0, -1.0], 200)?;
//! assert_eq!(path.points.len(), 201);
//! assert!(path.end_value() < 1e-6);
//!
//! let best = best_of(&f, &adam, &RATES, [-1.0, -1.0], 20)?;
//! assert!(best.end_value() <= trace(&f, &adam, 0.1, [-1.0, -1.0], 20)?.end_value());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use burn::module::{Module, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use downhill_optim::{ConfigError, OptimizerConfig};
use downhill_problems::functions::Function;
use serde::{Deserialize, Serialize};

use crate::stepper::Stepper;

/// Rates to choose from, from one that hardly moves to one that is too high for most functions.
pub const RATES: [f64; 16] = [
    1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// Why there is no path.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The function has another number of variables.
    #[error(
        "{function} has {dimension} variables; a path needs a function of 2{}",
        two_dimensional(function)
    )]
    Dimension {
        /// Its name.
        function: String,
        /// Its variables.
        dimension: usize,
    },
    /// The start is outside of the function's domain.
    #[error("the start ({}, {}) is not in the domain of {function}, {low} to {high} for both variables", start[0], start[1])]
    Start {
        /// Its name.
        function: String,
        /// The start.
        start: [f64; 2],
        /// Of its domain.
        low: f64,
        /// Of its domain.
        high: f64,
    },
    /// The optimizer's settings are wrong.
    #[error(transparent)]
    Optimizer(#[from] ConfigError),
}

fn two_dimensional(function: &str) -> String {
    let base = function.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    format!("; try {base}-2")
}

/// Where an optimizer went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Path {
    /// Its name.
    pub optimizer: String,
    /// Its learning rate.
    pub lr: f64,
    /// The start, and the point after each step. It ends before a point whose value is not finite.
    pub points: Vec<[f64; 2]>,
    /// The function there.
    pub values: Vec<f64>,
    /// The step that left the function's domain without a return, or gave a value that is not finite.
    pub left_at: Option<u64>,
}

impl Path {
    /// Steps that gave a point.
    pub fn steps(&self) -> u64 {
        self.points.len() as u64 - 1
    }

    /// The last point.
    pub fn end(&self) -> [f64; 2] {
        self.points[self.points.len() - 1]
    }

    /// The function's value at the last point.
    pub fn end_value(&self) -> f64 {
        self.values[self.values.len() - 1]
    }

    /// How far the last point is from the nearest of the function's minima.
    pub fn distance_to_minimum(&self, function: &Function) -> f64 {
        let [x, y] = self.end();
        let minima = function.minima();
        let distances = minima
            .iter()
            .map(|m| (x - m.point[0]).hypot(y - m.point[1]));
        distances.fold(f64::INFINITY, f64::min)
    }
}

#[derive(Module, Debug)]
struct Point {
    x: Param<Tensor<1>>,
}

/// The path of an optimizer with a constant rate.
///
/// The point is a parameter of shape `[2]` in single precision, as in a training; the gradient is
/// [`Function::gradient`], computed in double precision.
///
/// # Errors
///
/// [`TraceError::Dimension`] and [`TraceError::Start`], or what is wrong with the optimizer's settings.
///
/// ```
/// use downhill_lab::trace::trace;
/// use downhill_optim::OptimizerConfig;
/// use downhill_problems::functions::Function;
///
/// // Beside the saddle, at y = 0, gradient descent multiplies x by 1 - lr.
/// let sgd = OptimizerConfig::by_name("sgd")?;
/// let path = trace(&Function::saddle(), &sgd, 0.25, [1.0, 0.0], 3)?;
/// assert_eq!(path.points, [[1.0, 0.0], [0.75, 0.0], [0.5625, 0.0], [0.421875, 0.0]]);
/// # Ok::<(), downhill_lab::trace::TraceError>(())
/// ```
pub fn trace(
    function: &Function,
    optimizer: &OptimizerConfig,
    lr: f64,
    start: [f64; 2],
    steps: u64,
) -> Result<Path, TraceError> {
    if function.dimension() != 2 {
        return Err(TraceError::Dimension {
            function: function.name(),
            dimension: function.dimension(),
        });
    }
    let [low, high] = function.domain();
    let is_inside = |point: &[f64; 2]| point.iter().all(|x| (low..=high).contains(x));
    if !is_inside(&start) {
        return Err(TraceError::Start {
            function: function.name(),
            start,
            low,
            high,
        });
    }
    let name = optimizer.name().to_string();
    let mut stepper = Stepper::new(optimizer)?;
    let plain = cpu();
    let device = plain.clone().autodiff();
    let mut model = Point {
        x: Param::from_data(TensorData::from(start), &device),
    };
    let mut points = vec![start];
    let mut values = vec![function.value(&start)];
    let mut is_finite = true;
    for _ in 0..steps {
        let gradient = function.gradient(&points[points.len() - 1]);
        let gradient = Tensor::<1>::from_data(TensorData::new(gradient, [2]), &plain);
        let step = |optimizer: &mut ModuleOptimizer, model: Point| {
            let mut gradients = GradientsParams::new();
            gradients.register(model.x.id, gradient.clone());
            optimizer.step(lr, model, gradients)
        };
        model = stepper.step(lr, values.last().copied(), model, step, step);
        let data = model.x.val().into_data_as::<f64>();
        let x = data.try_into_vec::<f64>().expect("the data was converted");
        let value = function.value(&x);
        is_finite = value.is_finite();
        if !is_finite {
            break;
        }
        points.push([x[0], x[1]]);
        values.push(value);
    }
    let last_inside = points.iter().rposition(is_inside).unwrap_or(0);
    let has_left = !is_finite || last_inside + 1 < points.len();
    Ok(Path {
        optimizer: name,
        lr,
        points,
        values,
        left_at: has_left.then_some(last_inside as u64 + 1),
    })
}

/// Two numbers are no work for a GPU, which would take its time to begin.
fn cpu() -> Device {
    #[cfg(feature = "flex")]
    return Device::flex();
    #[cfg(not(feature = "flex"))]
    Device::default()
}

/// The path with the rate whose last value is least, among those that never leave the domain. If all
/// do it is the one that leaves last.
///
/// # Errors
///
/// Those of [`trace`].
///
/// # Panics
///
/// Without any rate.
pub fn best_of(
    function: &Function,
    optimizer: &OptimizerConfig,
    rates: &[f64],
    start: [f64; 2],
    steps: u64,
) -> Result<Path, TraceError> {
    let paths: Vec<Path> = rates
        .iter()
        .map(|lr| trace(function, optimizer, *lr, start, steps))
        .collect::<Result<_, _>>()?;
    let [low, high] = function.domain();
    let stay = |path: &Path| {
        let is_outside = |point: &[f64; 2]| point.iter().any(|x| !(low..=high).contains(x));
        let first = path.points.iter().position(is_outside).map(|i| i as u64);
        first.or(path.left_at).unwrap_or(u64::MAX)
    };
    let best = paths.into_iter().min_by(|a, b| {
        let longer = stay(b).cmp(&stay(a));
        longer.then(a.end_value().total_cmp(&b.end_value()))
    });
    Ok(best.expect("there is a rate"))
}
