//! How long a step of a model of many parameters takes, and what it asks of a device: what is registered and what is
//! launched.

use std::fmt;
use std::time::Instant;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use downhill_optim::state_bytes;
use serde::{Deserialize, Serialize};

use super::{BenchError, Pair, WARM_UP, median, step, sync, unshared};
use crate::stepper::Stepper;

/// How large the tensors of a model are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sizes {
    /// All alike.
    Equal,
    /// Each has a column more than the one before.
    Unequal,
    /// As of a transformer: matrices of one, three and four times a width, and vectors.
    Transformer,
}

/// The tensors of a model that is only stepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shapes {
    /// How many there are.
    pub tensors: usize,
    /// How many elements the smallest matrix has.
    pub elements: usize,
    /// How they differ.
    pub sizes: Sizes,
}

impl Shapes {
    fn all(self) -> Vec<[usize; 2]> {
        let width = (self.elements as f64).sqrt() as usize;
        let of = |at: usize| match self.sizes {
            Sizes::Equal => [width, self.elements / width],
            Sizes::Unequal => [width, self.elements / width + at],
            // A block: queries, keys and values in one, their way out, two layers, and what is added and normalised.
            Sizes::Transformer => match at % 12 {
                0 => [width, 3 * width],
                1 => [1, 3 * width],
                2 => [width, width],
                3 => [1, width],
                4 => [width, 4 * width],
                5 => [1, 4 * width],
                6 => [4 * width, width],
                _ => [1, width],
            },
        };
        (0..self.tensors).map(of).collect()
    }
}

/// By what a step is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// This library's kernels; on the CPU its passes over memory.
    Kernels,
    /// This library's tensor operations.
    TensorOperations,
    /// burn-optim's optimizer.
    BurnOptim,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernels => "kernels",
            Self::TensorOperations => "tensor operations",
            Self::BurnOptim => "burn-optim",
        })
    }
}

/// What a step of a model took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelTime {
    /// The optimizer.
    pub optimizer: String,
    /// By what it is stepped.
    pub way: Way,
    /// Tensors of the model.
    pub tensors: usize,
    /// Numbers in all of them.
    pub parameters: usize,
    /// Steps that the medians are of.
    pub rounds: usize,
    /// Milliseconds of the first step, in which kernels are compiled.
    pub first_ms: f64,
    /// Milliseconds of a step until the device is done.
    pub step_ms: f64,
    /// Microseconds of a step for each tensor.
    pub us_per_tensor: f64,
    /// Microseconds for each tensor until the step returns, with the device still at work.
    pub host_us_per_tensor: f64,
    /// Operations that a step registers with Burn, where it has a queue of them.
    pub operations: Option<usize>,
    /// Kernels that it launches, where there are such.
    pub kernels: Option<usize>,
    /// What a step must read and write at least, over its time.
    pub gb_per_s: f64,
}

/// Times the steps of such a model by all ways that there are of an optimizer, in turns.
///
/// `progress` is called after every round.
///
/// # Errors
///
/// If there is nothing to time, or the device fails.
pub fn model_times(
    pair: &Pair,
    shapes: Shapes,
    rounds: usize,
    device: &Device,
    progress: &mut dyn FnMut(),
) -> Result<Vec<ModelTime>, BenchError> {
    if shapes.tensors == 0 || shapes.elements == 0 || rounds == 0 {
        return Err(BenchError::Nothing);
    }
    let mut contenders = vec![(Way::Kernels, pair.downhill.clone())];
    contenders.extend(without_kernels(pair)?.map(|stepper| (Way::TensorOperations, stepper)));
    contenders.extend(pair.burn.clone().map(|stepper| (Way::BurnOptim, stepper)));
    let contenders = contenders.into_iter();
    let mut contenders: Vec<Contender> = contenders
        .map(|(way, stepper)| Contender::new(way, stepper, shapes, device))
        .collect();
    for _ in 0..WARM_UP + rounds {
        for contender in &mut contenders {
            contender.step()?;
        }
        progress();
    }
    let contenders = contenders.into_iter();
    contenders
        .map(|contender| contender.time(pair.name))
        .collect()
}

/// The optimizer with tensor operations in the place of kernels, where the two differ.
#[cfg(feature = "wgpu")]
fn without_kernels(pair: &Pair) -> Result<Option<Stepper>, BenchError> {
    use downhill_optim::{OptimizerConfig, SgdConfig};

    let config = match pair.name {
        "momentum" => SgdConfig::new().with_momentum(0.9).into(),
        name => OptimizerConfig::by_name(name)?,
    };
    Ok(Some(Stepper::bare(config.try_build()?.with_kernels(false))))
}

#[cfg(not(feature = "wgpu"))]
fn without_kernels(_: &Pair) -> Result<Option<Stepper>, BenchError> {
    Ok(None)
}

#[derive(Module, Debug)]
struct Many {
    weights: Vec<Param<Tensor<2>>>,
}

/// A model under one optimizer.
struct Contender {
    way: Way,
    optimizer: Stepper,
    module: Option<Many>,
    gradients: Vec<TensorData>,
    device: Device,
    steps: Vec<[f64; 2]>,
    counts: Counts,
}

impl Contender {
    fn new(way: Way, optimizer: Stepper, shapes: Shapes, device: &Device) -> Self {
        let random = |shape: [usize; 2]| {
            let values = Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), device);
            values.into_data()
        };
        let on = device.clone().autodiff();
        let shapes = shapes.all();
        let weights = shapes
            .iter()
            .map(|&shape| Param::from_data(random(shape), &on));
        Self {
            way,
            optimizer,
            module: Some(Many {
                weights: weights.collect(),
            }),
            gradients: shapes.iter().map(|&shape| random(shape)).collect(),
            device: device.clone(),
            steps: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// One step with gradients that are not shared with anything, as those of a training.
    fn step(&mut self) -> Result<(), BenchError> {
        let module = self.module.take().expect("put back after each step");
        let mut gradients = GradientsParams::new();
        for (weight, gradient) in module.weights.iter().zip(&self.gradients) {
            gradients.register(weight.id, unshared::<2>(gradient, &self.device));
        }
        sync(&self.device)?;
        let counting = Counting::new();
        let start = Instant::now();
        let module = step(&mut self.optimizer, module, gradients);
        let host = start.elapsed().as_secs_f64();
        sync(&self.device)?;
        self.steps.push([start.elapsed().as_secs_f64(), host]);
        self.counts = counting.end();
        self.module = Some(module);
        Ok(())
    }

    fn time(self, optimizer: &str) -> Result<ModelTime, BenchError> {
        let counted = || self.steps[WARM_UP..].iter();
        let step = median(counted().map(|[step, _]| *step).collect());
        let host = median(counted().map(|[_, host]| *host).collect());
        let tensors = self.gradients.len();
        let parameters = self.gradients.iter().map(TensorData::num_elements).sum();
        let state = state_bytes(&self.optimizer.optimizer)? as f64;
        Ok(ModelTime {
            optimizer: optimizer.to_string(),
            way: self.way,
            tensors,
            parameters,
            rounds: self.steps.len() - WARM_UP,
            first_ms: self.steps[0][0] * 1e3,
            step_ms: step * 1e3,
            us_per_tensor: step * 1e6 / tensors as f64,
            host_us_per_tensor: host * 1e6 / tensors as f64,
            operations: self.counts.operations,
            kernels: self.counts.kernels,
            gb_per_s: (12.0 * parameters as f64 + 2.0 * state) / step / 1e9,
        })
    }
}

/// What a step asked of the device.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    operations: Option<usize>,
    kernels: Option<usize>,
}

#[cfg(not(feature = "wgpu"))]
struct Counting;

#[cfg(not(feature = "wgpu"))]
impl Counting {
    fn new() -> Self {
        Self
    }

    fn end(self) -> Counts {
        Counts::default()
    }
}

#[cfg(feature = "wgpu")]
use counting::Counting;

#[cfg(feature = "wgpu")]
mod counting {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use burn_cubecl::cubecl::logging::{LaunchObservation, LaunchObserver};
    use burn_fusion::custom::OperationIr;
    use burn_fusion::observer::{BlockOperations, FusionObservation, FusionObserver};

    use super::Counts;

    #[derive(Default)]
    struct Seen {
        operations: AtomicUsize,
        kernels: AtomicUsize,
    }

    impl FusionObserver for Seen {
        fn registered(&self, operation: &OperationIr) {
            if !matches!(operation, OperationIr::Drop(_)) {
                self.operations.fetch_add(1, Ordering::Relaxed);
            }
        }
        fn block_starts(&self, _: BlockOperations<'_>) {}
        fn block_ran(&self) {}
    }

    impl LaunchObserver for Seen {
        fn launched(&self, _: &'static str) {
            self.kernels.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts, as long as it is there, what all devices are asked for.
    pub struct Counting {
        seen: Arc<Seen>,
        _operations: FusionObservation,
        _kernels: LaunchObservation,
    }

    impl Counting {
        pub fn new() -> Self {
            let seen = Arc::new(Seen::default());
            Self {
                _operations: FusionObservation::new(seen.clone()),
                _kernels: LaunchObservation::new(seen.clone()),
                seen,
            }
        }

        pub fn end(self) -> Counts {
            let count = |counter: &AtomicUsize| {
                let count = counter.load(Ordering::Relaxed);
                (count > 0).then_some(count)
            };
            Counts {
                operations: count(&self.seen.operations),
                kernels: count(&self.seen.kernels),
            }
        }
    }
}
