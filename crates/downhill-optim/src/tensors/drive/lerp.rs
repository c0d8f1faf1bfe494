use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, TensorMetadata};
use burn::tensor::{FloatDType, Tensor};
use downhill_rule::{Clock, Numbers, Rule, Slot, Step, Value};

use crate::program::Elementwise;
use crate::tensors::engine::OnTensors;
use crate::tensors::memory;
use crate::tensors::value::TensorValue;

/// The way from one tensor to another.
#[derive(Clone)]
struct Towards(f64);

impl Numbers for Towards {}

impl Rule for Towards {
    type State<V: Value> = [V; 0];
    type Coefs = ();

    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn prepare(&self, _: &mut Clock) -> Step<()> {
        Step::new(self.0, ())
    }

    #[inline(always)]
    fn direction<V: Value>(_: &(), from: &V, to: V, state: [V; 0]) -> (V, [V; 0]) {
        (from.clone() - to, state)
    }
}

/// `from + weight·(to - from)`, in place of `from` where its buffer is not shared, in its precision, and
/// on the device of `to`.
///
/// # Panics
///
/// Panics if the shapes differ.
pub fn lerp<const D: usize>(from: Tensor<D>, to: Tensor<D>, weight: f64) -> Tensor<D> {
    assert_eq!(from.shape(), to.shape(), "both ends must have one shape");
    if from.shape().num_elements() == 0 {
        return from;
    }
    let mut from = from.into_dispatch();
    let to = to.without_autodiff().into_dispatch();
    let engine = Elementwise(Towards(weight));
    let mut clock = Clock::new(0.0, 1, &mut []);
    if let Some(to) = memory::step(&engine, &mut clock, &mut from, to, &mut []) {
        let to = match to.dtype() == from.dtype() {
            true => to,
            false => Dispatch::float_cast(to, FloatDType::from(from.dtype())),
        };
        if from.device() != to.device() {
            from = Dispatch::float_to_device(from, &to.device());
        }
        let moved = engine.step_tensors(
            &mut clock,
            TensorValue(from),
            TensorValue(to),
            &mut Vec::new(),
        );
        from = moved.0;
    }
    Tensor::from_dispatch(from)
}
