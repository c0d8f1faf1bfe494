//! A step on unique buffers works in place: it allocates nothing of the parameter's size.

#![cfg(feature = "flex")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use common::rows::ROWS;
use downhill::optim::MuonConfig;
use downhill::train::{Averaging, Clipping, Driver, MicroBatch};

/// Counts the bytes of large allocations.
struct Counting;

static LARGE: AtomicUsize = AtomicUsize::new(0);
const SIDE: usize = 1024;
/// A quarter of the parameter: more than any row, column or thread needs.
const LIMIT: usize = SIDE * SIDE * 4 / 4;

// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LIMIT {
            LARGE.fetch_add(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Module, Debug)]
struct Layer {
    weight: Param<Tensor<2>>,
}

impl Layer {
    fn new() -> Self {
        Self::of([SIDE, SIDE])
    }

    fn of(shape: [usize; 2]) -> Self {
        let weight = Tensor::<2>::ones(shape, &Device::flex().autodiff());
        Self {
            weight: Param::from_tensor(weight),
        }
    }
}

/// Makes a few steps, of which only the first may allocate: it makes the state.
fn assert_in_place(label: &str, layer: Layer, step: impl FnMut(Layer, GradientsParams) -> Layer) {
    assert_at_most(0, label, layer, step);
}

/// Makes a few steps that allocate so many bytes at most, but for the first.
fn assert_at_most(
    bytes: usize,
    label: &str,
    mut layer: Layer,
    mut step: impl FnMut(Layer, GradientsParams) -> Layer,
) {
    for t in 0..4 {
        let mut grads = GradientsParams::new();
        let grad = Tensor::<2>::ones(layer.weight.dims(), &Device::flex());
        grads.register(layer.weight.id, grad);
        let before = LARGE.load(Ordering::Relaxed);
        layer = step(layer, grads);
        let allocated = LARGE.load(Ordering::Relaxed) - before;
        assert!(
            t == 0 || allocated <= bytes,
            "{label}: step {t} allocates {allocated} bytes"
        );
    }
}

// One test, because the counter counts for the whole process.
#[test]
fn a_step_allocates_no_parameter_sized_memory() {
    for row in ROWS.iter().filter(|row| !row.needs_a_buffer()) {
        for (label, config) in row.configs() {
            // optax factors other dimensions than the last two in a copy; of a matrix there are none.
            let mut optim = config.try_init().unwrap();
            // What looks at the whole model is stepped by a driver.
            if row.is_alone() {
                assert_in_place(&label, Layer::new(), |layer, grads| {
                    optim.step(row.lr, layer, grads)
                });
            }

            let layer = Layer::new();
            let driver = Driver::builder(config.try_init().unwrap(), row.lr)
                .with_clipping(Clipping::global_norm(1.0))
                .with_averaging(Averaging::ema(0.9));
            let mut driver = driver.bind(&layer).unwrap();
            assert_in_place(&format!("a driver of {label}"), layer, |layer, grads| {
                let batch = MicroBatch::new(grads).with_loss(1.0);
                let layer = driver.step(layer, batch).unwrap().0;
                // A model for evaluation costs nothing either.
                let before = LARGE.load(Ordering::Relaxed);
                drop(driver.averaged(&layer));
                assert_eq!(LARGE.load(Ordering::Relaxed), before);
                layer
            });
        }
    }
    // Muon has two buffers of the parameter's size, beside those of its shorter side.
    let shape = [4 * SIDE, SIDE / 4];
    let bytes = 2 * shape[0] * shape[1] * 4;
    let mut muon = MuonConfig::new().init();
    assert_at_most(bytes, "muon", Layer::of(shape), |layer, grads| {
        muon.step(1e-3, layer, grads)
    });
}
