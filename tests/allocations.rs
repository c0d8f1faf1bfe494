//! A step on unique buffers works in place: it allocates nothing of the parameter's size.

#![cfg(feature = "flex")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use common::rows::ROWS;
use downhill::optim::AdamWConfig;
use downhill::train::{Averaging, Clipping, Driver};

/// Counts the bytes of large allocations.
struct Counting;

static LARGE: AtomicUsize = AtomicUsize::new(0);
/// Tests that count are not to count each other's.
static ALONE: Mutex<()> = Mutex::new(());
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

#[test]
fn a_step_allocates_no_parameter_sized_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    for row in ROWS {
        for (label, config) in row.configs() {
            // optax factors other dimensions than the last two in a copy; of a matrix there are none.
            let mut optim = config.try_init().unwrap();
            let weight = Tensor::<2>::ones([SIDE, SIDE], &device.clone().autodiff());
            let mut layer = Layer {
                weight: Param::from_tensor(weight),
            };
            for step in 0..4 {
                let mut grads = GradientsParams::new();
                grads.register(layer.weight.id, Tensor::<2>::ones([SIDE, SIDE], &device));
                let before = LARGE.load(Ordering::Relaxed);
                layer = optim.step(row.lr, layer, grads);
                let allocated = LARGE.load(Ordering::Relaxed) - before;
                // The first step makes the state.
                assert!(
                    step == 0 || allocated == 0,
                    "{label}: step {step} allocates {allocated} bytes"
                );
            }
        }
    }
}

#[test]
fn a_driver_clips_and_averages_without_parameter_sized_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    let weight = Tensor::<2>::ones([SIDE, SIDE], &device.clone().autodiff());
    let mut layer = Layer {
        weight: Param::from_tensor(weight),
    };
    let mut driver = Driver::builder(AdamWConfig::new().init(), 0.1)
        .with_clipping(Clipping::global_norm(1.0))
        .with_averaging(Averaging::ema(0.9))
        .bind(&layer)
        .unwrap();
    for step in 0..4 {
        let mut grads = GradientsParams::new();
        grads.register(layer.weight.id, Tensor::<2>::ones([SIDE, SIDE], &device));
        let before = LARGE.load(Ordering::Relaxed);
        (layer, _) = driver.step(layer, grads).unwrap();
        let averaged = driver.averaged(&layer);
        let allocated = LARGE.load(Ordering::Relaxed) - before;
        // The first step makes state and average.
        assert!(
            step == 0 || allocated == 0,
            "step {step} allocates {allocated} bytes"
        );
        drop(averaged);
    }
}
