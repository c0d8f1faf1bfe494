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
        // Their squares add up exactly, in whatever order.
        let size = 0.5_f64.powi((t % 3) as i32);
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
        || sgd().with_grad_clipping(GradientClipping::Norm(0.25)),
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

/// A module between whose parameters somebody else's step is made, as a thread that waits there would take it up.
#[derive(Clone, Debug)]
struct Interrupted(Pair);

thread_local! {
    static SOMEBODY_ELSE: core::cell::RefCell<Option<(ModuleOptimizer, Vec<f64>)>> =
        const { core::cell::RefCell::new(None) };
}

/// A step of the optimizer that is kept on this thread, of parameters of 1 by gradients of 1.
fn interrupt() {
    SOMEBODY_ELSE.with_borrow_mut(|kept| {
        let Some((optim, moved)) = kept else {
            return;
        };
        let on = Device::flex();
        let param = Param::from_tensor(Tensor::<1>::ones([3], &on.clone().autodiff()));
        let mut grads = GradientsParams::new();
        grads.register(param.id, Tensor::<1>::ones([3], &on));
        *moved = values_of(&optim.step(1.0, param, grads));
    });
}

impl Module for Interrupted {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.0.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self(self.0.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        Self(self.0.to_device(device))
    }

    fn train(self) -> Self {
        Self(Module::train(self.0))
    }

    fn valid(&self) -> Self {
        Self(self.0.valid())
    }

    fn materialize(self) -> Self {
        Self(self.0.materialize())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.0.visit(visitor);
    }

    fn map<M: burn::module::ModuleMapper>(self, mapper: &mut M) -> Self {
        interrupt();
        mapper.enter_module("first", "");
        let first = Module::map(self.0.first, mapper);
        mapper.exit_module("first", "");
        interrupt();
        mapper.enter_module("second", "");
        let second = Module::map(self.0.second, mapper);
        mapper.exit_module("second", "");
        interrupt();
        Self(Pair { first, second })
    }
}

#[test]
fn beside_burns_clipping_a_directive_is_followed_by_its_parameter_alone() {
    let on = &Device::flex().autodiff();
    let param = |size: f64| Param::from_tensor(Tensor::<1>::full([3], size, on));
    let shared = sgd().with_grad_clipping(GradientClipping::Value(0.25));
    SOMEBODY_ELSE.set(None);
    let expected = {
        let mut optim = shared.clone();
        let net = param(1.0);
        let mut grads = GradientsParams::new();
        grads.register(net.id, Tensor::<1>::ones([3], &Device::flex()));
        values_of(&optim.step(1.0, net, grads))
    };
    SOMEBODY_ELSE.set(Some((shared.clone(), Vec::new())));
    let model = Interrupted(Pair {
        first: param(2.0),
        second: param(3.0),
    });
    let driver = Driver::builder(shared, 1.0).with_weight_decay(0.5);
    let mut driver = driver.bind(&model).unwrap();
    let (grads, _) = grads_for(&model, 1);
    let clipped = grads_for(&model, 1).0;
    let clipped = [
        clipped.get::<1>(model.0.first.id),
        clipped.get::<1>(model.0.second.id),
    ];
    let (model, report) = driver.step(model, grads).unwrap();
    assert_eq!(report.updated, 2);
    for (at, (grad, size)) in clipped.into_iter().zip([2.0, 3.0]).enumerate() {
        let grads = floats(grad.unwrap().into_data()).into_iter();
        // The decay is the driver's: it is added to the clipped gradient.
        let wanted: Vec<f64> = grads
            .map(|grad| size - (grad.clamp(-0.25, 0.25) + 0.5 * size))
            .collect();
        let found = values_of(&model)[3 * at..3 * at + 3].to_vec();
        assert_close("driven", &found, &wanted, 1e-6, 1e-6);
    }
    let (_, moved) = SOMEBODY_ELSE.take().unwrap();
    assert_eq!(moved, expected, "a bare step is told nothing");
}
