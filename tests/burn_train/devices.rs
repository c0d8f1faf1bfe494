//! burn-train's loops over several devices: they sum the gradients, and step the optimizer without a driver.

use std::path::PathBuf;

use burn::lr_scheduler::LrScheduler;
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::{GradientsAccumulator, ModuleOptimizer};
use burn::tensor::distributed::{DistributedConfig, ReduceOperation};
use burn::tensor::{Device, Tensor};
use burn::train::checkpoint::KeepLastNCheckpoints;
use burn::train::{
    ClassificationOutput, ExecutionStrategy, InferenceStep, Learner, MultiDeviceOptim,
    SupervisedTraining, TrainOutput, TrainStep,
};
use downhill::optim::{AdafactorConfig, AdamWConfig, MuonConfig};
use downhill::schedule::{CosineConfig, Schedule, percent};
use downhill_problems::data::{self, Batch};
use downhill_problems::mlp::{Mlp, MlpConfig};

use crate::common::values_of;
use crate::learner::{Screen, batches, folder, loader, loader_of};
use MultiDeviceOptim::{OptimMainDevice, OptimSharded};

/// Of each epoch. Two devices have two batches for each.
const UPDATES: usize = 5;
const EPOCHS: usize = 2;

/// Of parameters, after ten updates in f32 whose sums are made in another order.
const TOLERANCE: f64 = 1e-5;

/// A perceptron whose loss stands for that of several batches: their sum is as many times their mean.
#[derive(Module, Debug)]
struct Net {
    mlp: Mlp,
    batches: usize,
}

impl Net {
    fn new(batches: usize) -> Self {
        let mlp = MlpConfig::new(64, 32, 10).init(42, &Device::flex().autodiff());
        let mlp = mlp.map(&mut Numbers(0));
        Self { mlp, batches }
    }

    fn classify(&self, batch: Batch) -> ClassificationOutput {
        let output = self.mlp.forward(batch.inputs.clone());
        let loss = self.mlp.loss(&batch).mul_scalar(self.batches as f64);
        ClassificationOutput::new(loss, output, batch.targets)
    }
}

impl TrainStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let output = self.classify(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl InferenceStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(batch)
    }
}

/// Ids from 0 on: a sharded optimizer has parameter `id` on device `id % devices`.
struct Numbers(u64);

impl ModuleMapper for Numbers {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (_, tensor, mapper) = param.consume();
        self.0 += 1;
        Param::from_mapped_value(ParamId::from(self.0 - 1), tensor, mapper)
    }
}

type MakeOptimizer = fn() -> ModuleOptimizer;

const OPTIMIZERS: [(&str, MakeOptimizer); 3] = [
    ("adamw", || AdamWConfig::new().with_weight_decay(0.1).init()),
    ("adafactor", || AdafactorConfig::new().init()),
    ("muon", || MuonConfig::new().init()),
];

/// A step for each update, however many devices there are.
fn schedule() -> Schedule {
    let cosine = CosineConfig::new(percent(100.0), percent(100.0)).schedule();
    let schedule = cosine.warmup(percent(10.0));
    let steps = (EPOCHS * UPDATES) as u64;
    schedule.try_build_for(1e-2, steps).unwrap()
}

fn ready() -> Vec<Batch> {
    let mut batches = batches(&data::digits().train, &Device::flex());
    batches.truncate(2 * UPDATES);
    batches
}

/// What both devices have for each update: burn-train gives each a share of the data that is in one piece, the
/// last one what is left over.
fn shares(batches: Vec<Batch>) -> Vec<Vec<Batch>> {
    let mut first = batches;
    let second = first.split_off(first.len() / 2);
    let mut first = first.into_iter();
    let pairs = second.into_iter();
    pairs
        .map(|second| first.next().into_iter().chain([second]).collect())
        .collect()
}

/// A training by burn-train.
struct Run {
    folder: PathBuf,
    net: Net,
    batches: Vec<Batch>,
    strategy: ExecutionStrategy,
    epochs: usize,
    resumed: Option<usize>,
}

impl Run {
    fn new(name: &str, strategy: ExecutionStrategy) -> Self {
        Self {
            folder: folder(&format!("devices-{name}")),
            net: Net::new(1),
            batches: ready(),
            strategy,
            epochs: EPOCHS,
            resumed: None,
        }
    }

    fn train(self, optimizer: ModuleOptimizer) -> Vec<f64> {
        let (test, _) = loader(&data::digits().test, &Device::flex());
        let learner = Learner::new(self.net, optimizer, schedule().scheduler());
        let mut training = SupervisedTraining::new(self.folder, loader_of(self.batches), test)
            .with_application_logger(None)
            .renderer(Box::new(Screen::default()))
            .with_checkpointing_strategy(KeepLastNCheckpoints::new(EPOCHS))
            .with_default_checkpointers()
            .with_training_strategy(self.strategy.into())
            .num_epochs(self.epochs);
        if let Some(epoch) = self.resumed {
            training = training.checkpoint(epoch);
        }
        let result = training.launch(learner);
        assert!(result.error.is_none(), "{:?}", result.error);
        values_of(&result.model)
    }
}

/// In a loop of one's own: each update has the sum of the gradients of its batches.
fn by_hand(mut optimizer: ModuleOptimizer, updates: &[Vec<Batch>]) -> Vec<f64> {
    let mut net = Net::new(1);
    let mut scheduler = schedule().scheduler();
    for _ in 0..EPOCHS {
        for batches in updates {
            let mut sum = GradientsAccumulator::new();
            for batch in batches {
                let batch = Batch {
                    inputs: batch.inputs.clone().autodiff(),
                    ..batch.clone()
                };
                sum.accumulate(&net, TrainStep::step(&net, batch).grads);
            }
            net = optimizer.step(scheduler.step(), net, sum.grads());
        }
    }
    values_of(&net)
}

/// The sum of the gradients of two batches at each update.
fn sums(optimizer: ModuleOptimizer) -> Vec<f64> {
    by_hand(optimizer, &shares(ready()))
}

fn largest_difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f64::max)
}

fn flex_twice(mode: MultiDeviceOptim) -> ExecutionStrategy {
    ExecutionStrategy::multi(vec![Device::flex(), Device::flex()], mode)
}

/// Runs a check for each optimizer in both modes.
fn in_both_modes(check: impl Fn(&str, MultiDeviceOptim, MakeOptimizer)) {
    for (name, optimizer) in OPTIMIZERS {
        for mode in [OptimMainDevice, OptimSharded] {
            check(&format!("{name}-{mode:?}"), mode, optimizer);
        }
    }
}

#[test]
fn two_devices_make_the_updates_of_the_sum_of_their_gradients() {
    in_both_modes(|label, mode, optimizer| {
        let found = Run::new(label, flex_twice(mode)).train(optimizer());
        assert!(found == sums(optimizer()), "{label}: other bits");
    });
}

/// The gradient of a mean over twice the samples is half the sum of the two: the loss is doubled.
#[test]
fn two_devices_are_one_on_twice_the_batch_and_twice_the_loss() {
    let whole = |batches: Vec<Batch>| {
        let (inputs, targets) = batches
            .into_iter()
            .map(|batch| (batch.inputs, batch.targets))
            .unzip();
        Batch {
            inputs: Tensor::cat(inputs, 0),
            targets: Tensor::cat(targets, 0),
        }
    };
    let whole: Vec<Batch> = shares(ready()).into_iter().map(whole).collect();
    let start = values_of(&Net::new(1));
    in_both_modes(|label, mode, optimizer| {
        let label = format!("twice-{label}");
        let alone = ExecutionStrategy::single(Device::flex());
        let run = Run {
            net: Net::new(2),
            batches: whole.clone(),
            ..Run::new(&format!("{label}-whole"), alone)
        };
        let expected = run.train(optimizer());
        assert!(largest_difference(&expected, &start) > 1e-2);
        let found = Run::new(&label, flex_twice(mode)).train(optimizer());
        let apart = largest_difference(&found, &expected);
        assert!(apart < TOLERANCE, "{label}: {apart:e}");
    });
}

/// Nothing is divided by the number of devices that had a batch.
#[test]
fn the_last_update_of_an_uneven_epoch_has_one_gradient() {
    let mut batches = ready();
    batches.pop();
    in_both_modes(|label, mode, optimizer| {
        let run = Run {
            batches: batches.clone(),
            ..Run::new(&format!("uneven-{label}"), flex_twice(mode))
        };
        let updates = shares(batches.clone());
        assert_eq!(updates.last().unwrap().len(), 1);
        let found = run.train(optimizer());
        assert!(
            found == by_hand(optimizer(), &updates),
            "{label}: other bits"
        );
    });
}

#[test]
fn an_interrupted_training_ends_where_an_uninterrupted_one_does() {
    in_both_modes(|label, mode, optimizer| {
        let label = format!("resumed-{label}");
        let first = Run {
            epochs: 1,
            ..Run::new(&label, flex_twice(mode))
        };
        let folder = first.folder.clone();
        first.train(optimizer());
        let second = Run {
            resumed: Some(1),
            ..Run::new(&format!("{label}-on"), flex_twice(mode))
        };
        let found = Run { folder, ..second }.train(optimizer());
        assert!(found == sums(optimizer()), "{label}: other bits");
    });
}

/// Collectives are for CUDA and for remote devices.
#[test]
#[should_panic(expected = "Distributed operations are not supported for device")]
fn flex_has_no_all_reduce() {
    let config = DistributedConfig {
        all_reduce_op: ReduceOperation::Mean,
    };
    let _ = ExecutionStrategy::ddp(vec![Device::flex(), Device::flex()], config);
}

/// Burn has one Flex device; NdArray's is another one, of another backend.
// NdArray is deprecated by Burn, and tested while it is there.
#[cfg(feature = "ndarray")]
#[allow(deprecated)]
mod two_backends {
    use burn::module::ModuleVisitor;
    use burn::optim::MultiGradientsParams;

    use super::*;

    /// Where parameters are.
    #[derive(Debug, Default)]
    struct Places(Vec<Device>);

    impl ModuleVisitor for Places {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().device());
        }
    }

    #[test]
    fn devices_of_two_backends_share_a_training() {
        in_both_modes(|label, mode, optimizer| {
            let label = format!("backends-{label}");
            let devices = vec![Device::flex(), Device::ndarray()];
            let run = Run::new(&label, ExecutionStrategy::multi(devices, mode));
            let found = run.train(optimizer());
            let apart = largest_difference(&found, &sums(optimizer()));
            assert!(apart < TOLERANCE, "{label}: {apart:e}");
        });
    }

    /// The state of a parameter goes with it.
    #[test]
    fn a_sharded_parameter_is_stepped_on_its_own_device() {
        let devices = [Device::flex(), Device::ndarray()];
        for (name, optimizer) in OPTIMIZERS {
            let mut optimizer = optimizer();
            let mut net = Net::new(1);
            for batches in shares(ready()) {
                let mut grads = MultiGradientsParams::default();
                for (batch, device) in batches.into_iter().zip(&devices) {
                    let net = net.clone().fork(&device.clone().autodiff());
                    let batch = Batch {
                        inputs: batch.inputs.to_device(device).autodiff(),
                        targets: batch.targets.to_device(device),
                    };
                    let own = TrainStep::step(&net, batch).grads;
                    grads.grads.push((own, device.clone()));
                }
                net = optimizer.step_multi(1e-2, net, grads);
                let mut places = Places::default();
                net.visit(&mut places);
                let expected = devices.iter().cycle();
                assert!(places.0.iter().eq(expected.take(4)), "{name}: {places:?}");
            }
        }
    }
}
