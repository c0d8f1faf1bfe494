//! Many drivers and bare optimizers in one pool: what a driver tells its optimizers reaches no other step.
//!
//! A thread of a pool that waits for a pass works off other jobs meanwhile, on its own stack. Passes are
//! divided from half a million elements on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use burn::grad_clipping::GradientClipping;

use super::*;

/// Large enough for its pass to be divided.
const LARGE: [usize; 2] = [1024, 1024];

#[derive(Module, Debug)]
struct Large {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Large {
    fn new(rows: usize, device: &Device) -> Self {
        let on = &device.clone().autodiff();
        Self {
            weight: Param::from_tensor(Tensor::ones([rows, LARGE[1]], on)),
            bias: Param::from_tensor(Tensor::ones([LARGE[1]], on)),
        }
    }

    fn grads(&self, t: usize, device: &Device) -> GradientsParams {
        let mut grads = GradientsParams::new();
        let size = 1.0 / (1 + t % 3) as f64;
        let weight = Tensor::<2>::full(self.weight.dims(), size, device);
        grads.register(self.weight.id, weight);
        grads.register(self.bias.id, Tensor::<1>::full([LARGE[1]], size, device));
        grads
    }

    /// Of each parameter the first element and the last.
    fn corners(&self) -> Vec<f32> {
        let corner = |data: TensorData| {
            let values: Vec<f32> = data.iter().collect();
            [values[0], values[values.len() - 1]]
        };
        let weight = self.weight.val().into_data();
        let bias = self.bias.val().into_data();
        [corner(weight), corner(bias)].concat()
    }
}

/// The optimizer that all of them have clones of.
type Optim = fn() -> ModuleOptimizer;
type With = fn(DriverBuilder) -> DriverBuilder;

fn sgd() -> ModuleOptimizer {
    optim::SgdConfig::new().init()
}

/// One directive for all, one for each, beside Burn's own clipping, and beside an optimizer that waits for a pool
/// itself.
const KINDS: [(&str, Optim, With); 4] = [
    ("one factor", sgd, |driver| {
        driver.with_clipping(Clipping::global_norm(0.5))
    }),
    ("a decay each", sgd, |driver| {
        let decay = Group::new("w", Select::name("weight")).with_weight_decay(0.25);
        driver
            .with_clipping(Clipping::global_norm(0.5))
            .with_group(decay)
    }),
    (
        "clipped by burn too",
        || sgd().with_grad_clipping(GradientClipping::Value(0.25)),
        |driver| driver.with_weight_decay(0.25),
    ),
    ("beside another optimizer", sgd, |driver| {
        let other = Group::new("w", Select::name("weight")).with_optimizer(Busy);
        let decay = Group::new("b", Select::name("bias")).with_weight_decay(0.25);
        driver.with_group(other).with_group(decay)
    }),
];

/// A user's optimizer that waits for a pool.
#[derive(Clone)]
struct Busy;

impl burn::optim::Optimizer for Busy {
    type State<const D: usize> = ();

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        _: Option<()>,
    ) -> (Tensor<D>, Option<()>) {
        rayon::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|_| std::thread::sleep(std::time::Duration::from_micros(200)));
            }
        });
        (tensor - grad * lr, None)
    }

    fn to_device<const D: usize>(_: (), _: &Device) {}
}

/// What a driver makes of a model in some steps.
fn driven(optim: ModuleOptimizer, with: With, steps: usize, device: &Device) -> Vec<f32> {
    let mut model = Large::new(LARGE[0], device);
    let mut driver = with(Driver::builder(optim, 0.5)).bind(&model).unwrap();
    for t in 0..steps {
        let grads = model.grads(t, device);
        (model, _) = driver.step(model, grads).unwrap();
        // Bound once more, with states: a probe tells nobody else anything either.
        if t % 4 == 3 {
            let optim = driver.into_optimizer();
            driver = with(Driver::builder(optim, 0.5)).bind(&model).unwrap();
        }
    }
    model.corners()
}

/// What the bare optimizer makes of a small model in one step.
fn bare(mut optim: ModuleOptimizer, device: &Device) -> Vec<f32> {
    let model = Large::new(1, device);
    let grads = model.grads(0, device);
    optim.step(0.5, model, grads).corners()
}

/// Runs drivers and bare steps of clones of one optimizer in a pool, and counts those that come out otherwise than
/// alone.
fn wrong_steps(threads: usize, steps: usize, (label, optim, with): (&str, Optim, With)) -> usize {
    let device = &Device::flex();
    let shared = optim();
    let expected = driven(shared.clone(), with, steps, device);
    let expected_bare = bare(shared.clone(), device);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    let pool = pool.build().unwrap();
    let (wrong, bare_steps, stop) = (
        &AtomicUsize::new(0),
        &AtomicUsize::new(0),
        &AtomicBool::new(false),
    );
    let (shared, expected, expected_bare) = (&shared, &expected, &expected_bare);
    pool.in_place_scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move |_| {
                let whatever = AssertUnwindSafe(|| driven(shared.clone(), with, steps, device));
                if catch_unwind(whatever).ok().as_ref() != Some(expected) {
                    wrong.fetch_add(1, SeqCst);
                }
                stop.store(true, SeqCst);
            });
        }
        // There is always something in the queue.
        while !stop.load(SeqCst) {
            scope.spawn(move |_| {
                let whatever = AssertUnwindSafe(|| bare(shared.clone(), device));
                if catch_unwind(whatever).ok().as_ref() != Some(expected_bare) {
                    wrong.fetch_add(1, SeqCst);
                }
                bare_steps.fetch_add(1, SeqCst);
            });
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
    });
    assert!(
        bare_steps.load(SeqCst) > steps,
        "{label}: nothing was in the way"
    );
    wrong.load(SeqCst)
}

/// `DOWNHILL_STEPS` asks for more.
#[test]
fn directives_reach_no_other_step_in_the_pool() {
    let steps = std::env::var("DOWNHILL_STEPS").ok();
    let steps = steps.and_then(|steps| steps.parse().ok()).unwrap_or(24);
    for kind in KINDS {
        for threads in [1, 2, 4] {
            let wrong = wrong_steps(threads, steps, kind);
            assert_eq!(wrong, 0, "{} with {threads} threads", kind.0);
        }
    }
}
