//! How long an optimizer's step takes, beside burn-optim's.
//!
//! Timed is [`ModuleOptimizer::step`](burn::optim::ModuleOptimizer::step) with a module that is moved in,
//! including the release of the gradients, which are fresh tensors at every step. What is compared is timed
//! in turns, so that a machine that slows down slows all of it, and the medians are reported:
//! [`interleaved`].
//!
//! ```
//! use burn::tensor::Device;
//! use downhill_lab::bench::{pair, step_time};
//!
//! let adam = pair("adam")?;
//! let row = step_time(&adam, 4096, 3, &Device::flex(), &mut |_| ())?;
//! assert!(row.downhill_ns > 0.0 && row.burn_ns.unwrap() > 0.0);
//! assert_eq!(row.bytes_per_parameter, 28.0); // three reads, three writes and the gradient, in f32
//! # Ok::<(), downhill_lab::bench::BenchError>(())
//! ```

mod model;

use std::time::Instant;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::optim::momentum::MomentumConfig;
use burn::store::RecordError;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use downhill_optim::{ConfigError, OptimizerConfig, SgdConfig, state_bytes};
use serde::{Deserialize, Serialize};

pub use model::{ModelTime, Shapes, Sizes, Way, model_times};

use crate::stepper::Stepper;

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// There is no optimizer of the name.
    #[error(transparent)]
    Optimizer(#[from] ConfigError),
    /// The optimizer's state cannot be counted.
    #[error(transparent)]
    State(#[from] RecordError),
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(String),
    /// There are no parameters, or no rounds.
    #[error("expected at least one parameter and one round")]
    Nothing,
}

/// An optimizer of this library, and burn-optim's that computes the same, if there is one.
#[derive(Clone)]
pub struct Pair {
    /// The name in [`OptimizerConfig`], or `momentum`, which is `sgd` with a momentum of 0.9.
    pub name: &'static str,
    /// This library's, with its default settings.
    pub downhill: Stepper,
    /// burn-optim's, with the same settings.
    pub burn: Option<Stepper>,
}

/// Every optimizer, with its counterpart if it has one.
pub fn pairs() -> Vec<Pair> {
    let mut names: Vec<&str> = OptimizerConfig::all()
        .iter()
        .map(|info| info.name)
        .collect();
    names.insert(1.min(names.len()), "momentum");
    let pairs = names.into_iter().map(pair);
    pairs
        .collect::<Result<_, _>>()
        .expect("the names are known and the defaults are valid")
}

/// The optimizer of a name.
///
/// # Errors
///
/// [`BenchError::Optimizer`] suggests the nearest name if there is none.
pub fn pair(name: &str) -> Result<Pair, BenchError> {
    if name == "momentum" {
        let momentum = MomentumConfig::new().with_dampening(0.0);
        return Ok(Pair {
            name: "momentum",
            downhill: SgdConfig::new().with_momentum(0.9).try_init()?.into(),
            burn: Some(
                burn::optim::SgdConfig::new()
                    .with_momentum(Some(momentum))
                    .init()
                    .into(),
            ),
        });
    }
    let config = OptimizerConfig::by_name(name)?;
    let burn = match config.name() {
        "sgd" => Some(burn::optim::SgdConfig::new().init()),
        "adagrad" => Some(burn::optim::AdaGradConfig::new().init()),
        "rmsprop" => Some(burn::optim::RmsPropConfig::new().with_momentum(0.0).init()),
        "adam" => Some(burn::optim::AdamConfig::new().init()),
        "adamw" => Some(burn::optim::AdamWConfig::new().init()),
        "adafactor" => Some(burn::optim::AdafactorConfig::new().init()),
        "lamb" => Some(burn::optim::LambConfig::new().init()),
        "lion" => Some(burn::optim::LionConfig::new().init()),
        "adan" => Some(burn::optim::AdanConfig::new().init()),
        _ => None,
    };
    Ok(Pair {
        name: config.name(),
        downhill: Stepper::new(&config)?,
        burn: burn.map(Into::into),
    })
}

/// What a step took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    /// The optimizer.
    pub optimizer: String,
    /// Numbers that are updated.
    pub parameters: usize,
    /// Rounds that the medians are of.
    pub rounds: usize,
    /// Nanoseconds per parameter.
    pub downhill_ns: f64,
    /// Nanoseconds per parameter of burn-optim's, if it has the optimizer.
    pub burn_ns: Option<f64>,
    /// How many times faster than burn-optim's.
    pub ratio: Option<f64>,
    /// What a step must read and write at least: the parameter, its gradient and the state.
    pub bytes_per_parameter: f64,
    /// [`bytes_per_parameter`](Self::bytes_per_parameter) over [`downhill_ns`](Self::downhill_ns).
    pub gb_per_s: f64,
}

/// Rounds before those that count: they allocate the state and warm the caches.
pub const WARM_UP: usize = 2;

/// Times one matrix of about so many parameters in f32, and reports `progress` after every round.
///
/// The matrix is as close to a square as the number allows, of whole rows; how many parameters it
/// has is in the result.
///
/// # Errors
///
/// If there is nothing to time, or the device fails.
pub fn step_time(
    pair: &Pair,
    parameters: usize,
    rounds: usize,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Result<StepTime, BenchError> {
    if parameters == 0 || rounds == 0 {
        return Err(BenchError::Nothing);
    }
    let rows = (parameters as f64).sqrt() as usize;
    let shape = [rows, parameters / rows];
    let parameters = shape[0] * shape[1];
    // Few enough that the gradients of all steps fit into the memory of small machines.
    let steps = ((1 << 18) / parameters).clamp(1, 256);
    let subject = |optimizer: &Stepper| {
        Steps::new(
            optimizer.clone(),
            Matrix::random(shape, device),
            Matrix::gradients(shape, device),
            steps,
            device,
        )
    };
    subject_time(pair, parameters, rounds, subject, progress)
}

/// Times the steps of a subject of your own of so many parameters, which is made for both optimizers,
/// and reports `progress` after every round.
///
/// # Errors
///
/// If the device fails.
pub fn subject_time<M: Module>(
    pair: &Pair,
    parameters: usize,
    rounds: usize,
    subject: impl Fn(&Stepper) -> Steps<M>,
    progress: &mut dyn FnMut(usize),
) -> Result<StepTime, BenchError> {
    let mut ours = subject(&pair.downhill);
    let mut theirs = pair.burn.as_ref().map(&subject);
    let mut time_ours = || ours.time();
    let mut time_theirs = theirs.as_mut().map(|theirs| || theirs.time());
    let mut timed: Vec<&mut dyn FnMut() -> Result<f64, BenchError>> = vec![&mut time_ours];
    timed.extend(
        time_theirs
            .as_mut()
            .map(|time| time as &mut dyn FnMut() -> Result<f64, BenchError>),
    );
    let medians = interleaved(&mut timed, rounds, progress)?;
    let ns: Vec<f64> = medians
        .iter()
        .map(|seconds| seconds * 1e9 / parameters as f64)
        .collect();
    let (downhill_ns, burn_ns) = (ns[0], ns.get(1).copied());
    let bytes_per_parameter = match pair.name {
        // Its state is small, but it goes over the gradient three times: for the means of rows and
        // columns, for the size of the update, and for the update; and over the parameter twice.
        "adafactor" => 24.0,
        _ => 12.0 + 2.0 * state_bytes(&ours.optimizer.optimizer)? as f64 / parameters as f64,
    };
    Ok(StepTime {
        optimizer: pair.name.to_string(),
        parameters,
        rounds,
        downhill_ns,
        burn_ns,
        ratio: burn_ns.map(|burn_ns| burn_ns / downhill_ns),
        bytes_per_parameter,
        gb_per_s: bytes_per_parameter / downhill_ns,
    })
}

/// The median times of several things that are timed in turns, A B A B, after [`WARM_UP`] rounds that
/// do not count.
///
/// # Errors
///
/// The first of any of them.
///
/// ```
/// use downhill_lab::bench::interleaved;
///
/// let (mut order, times) = (Vec::new(), [[9.0, 9.0, 1.0, 5.0, 2.0], [9.0, 9.0, 4.0, 3.0, 8.0]]);
/// let order = std::cell::RefCell::new(&mut order);
/// let timed = |i: usize| {
///     let mut times = times[i].into_iter();
///     let order = &order;
///     move || {
///         order.borrow_mut().push(i);
///         Ok::<f64, ()>(times.next().unwrap())
///     }
/// };
/// let (mut a, mut b) = (timed(0), timed(1));
/// assert_eq!(interleaved(&mut [&mut a, &mut b], 3, &mut |_| ()), Ok(vec![2.0, 4.0]));
/// assert_eq!(order.into_inner()[..4], [0, 1, 0, 1]);
/// ```
pub fn interleaved<E>(
    timed: &mut [&mut dyn FnMut() -> Result<f64, E>],
    rounds: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<f64>, E> {
    let mut times = vec![Vec::with_capacity(rounds); timed.len()];
    for round in 0..WARM_UP + rounds {
        for (time, times) in timed.iter_mut().zip(&mut times) {
            let seconds = time()?;
            if round >= WARM_UP {
                times.push(seconds);
            }
        }
        progress(round + 1);
    }
    Ok(times.into_iter().map(median).collect())
}

/// A module under training with a supply of gradients: what [`interleaved`] can time.
pub struct Steps<M> {
    optimizer: Stepper,
    module: Option<M>,
    gradients: Box<dyn Fn(&M) -> GradientsParams>,
    steps: usize,
    device: Device,
}

impl<M: Module> Steps<M> {
    /// So many steps at a time, with gradients that are made before the time begins.
    pub fn new(
        optimizer: impl Into<Stepper>,
        module: M,
        gradients: impl Fn(&M) -> GradientsParams + 'static,
        steps: usize,
        device: &Device,
    ) -> Self {
        Self {
            optimizer: optimizer.into(),
            module: Some(module),
            gradients: Box::new(gradients),
            steps,
            device: device.clone(),
        }
    }

    /// Makes the steps, and returns the seconds that one took.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub fn time(&mut self) -> Result<f64, BenchError> {
        let mut module = self.module.take().expect("put back after each round");
        let gradients: Vec<_> = (0..self.steps).map(|_| (self.gradients)(&module)).collect();
        sync(&self.device)?;
        let start = Instant::now();
        for gradients in gradients {
            module = step(&mut self.optimizer, module, gradients);
        }
        sync(&self.device)?;
        let seconds = start.elapsed().as_secs_f64();
        self.module = Some(module);
        Ok(seconds / self.steps as f64)
    }
}

fn sync(device: &Device) -> Result<(), BenchError> {
    let synced = device.sync();
    synced.map_err(|error| BenchError::Device(error.to_string()))
}

/// A step, at the loss of 1 where one asks for it.
fn step<M: Module>(optimizer: &mut Stepper, module: M, gradients: GradientsParams) -> M {
    let (module, _) = optimizer.step(
        1e-4,
        Some(1.0),
        (module, gradients),
        |optimizer, (module, gradients)| {
            let (gradients, again) = shared(&module, gradients);
            (optimizer.step(1e-4, module, again), gradients)
        },
        |optimizer, (module, gradients)| {
            let module = optimizer.step(1e-4, module, gradients);
            (module, GradientsParams::new())
        },
    );
    module
}

/// Numbers on a device in a buffer of their own: a clone would share it with the original, and could not be updated in
/// place.
fn unshared<const D: usize>(data: &TensorData, device: &Device) -> Tensor<D> {
    let bytes = data.as_bytes().to_vec();
    let data = TensorData::from_bytes_vec(bytes, data.shape().clone(), data.dtype());
    Tensor::from_data(data, device)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Gradients twice, in the same memory.
fn shared<M: Module>(module: &M, gradients: GradientsParams) -> (GradientsParams, GradientsParams) {
    struct Share(GradientsParams, GradientsParams);
    impl ModuleVisitor for Share {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1.register(param.id, gradient);
            }
        }
    }
    let mut share = Share(gradients, GradientsParams::new());
    module.visit(&mut share);
    (share.0, share.1)
}

#[derive(Module, Debug)]
struct Matrix {
    weight: Param<Tensor<2>>,
}

impl Matrix {
    fn random(shape: [usize; 2], device: &Device) -> Self {
        let values = Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), device);
        Self {
            weight: Param::from_data(values.into_data(), &device.clone().autodiff()),
        }
    }

    fn gradients(
        shape: [usize; 2],
        device: &Device,
    ) -> impl Fn(&Self) -> GradientsParams + 'static {
        let device = device.clone();
        let source =
            Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device).into_data();
        move |matrix| {
            let mut gradients = GradientsParams::new();
            gradients.register(matrix.weight.id, unshared::<2>(&source, &device));
            gradients
        }
    }
}
