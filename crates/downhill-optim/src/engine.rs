//! What the optimizer needs of a rule, with the rule's type erased: a rule is compiled once per
//! carrier, however many ranks and backends there are.

use burn::backend::{DispatchTensor, TensorMetadata};
use downhill_rule::factored::{self, FactoredRule, FactoredStep};
use downhill_rule::{Clock, Driven, Real, Rule, Scalar, Slot, Slots, Step, Value};

use crate::drive::Drives;
use crate::fused::{self, AnyBuffers, Buffers, Element};
use crate::tensor::TensorValue;

/// An object-safe view of a rule.
pub(crate) trait Engine: Send + Sync {
    /// State tensors for a parameter of this shape, with their own shapes.
    fn slots(&self, shape: &[usize]) -> Vec<(Slot, Vec<usize>)>;

    /// Host scalars.
    fn memory(&self) -> Vec<Scalar>;

    /// Which settings the rule lets a driver give.
    fn drives(&self) -> Drives;

    /// Whether [`step_buffers`](Self::step_buffers) takes 16-bit parameters.
    fn half_buffers(&self) -> bool;

    /// One step over memory, of the gradient times `grad_scale`.
    fn step_buffers(
        &self,
        clock: &mut Clock,
        grad_scale: f64,
        shape: &[usize],
        buffers: AnyBuffers<'_>,
    );

    /// One step in tensor operations, in the precision of the state, of the gradient times
    /// `grad_scale`.
    fn step_tensors(
        &self,
        clock: &mut Clock,
        grad_scale: f64,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue;

    /// The parameter to evaluate, if it is another than the one that is trained.
    fn evaluated(&self, _param: TensorValue, _state: &[DispatchTensor]) -> Option<TensorValue> {
        None
    }
}

/// Offers a rule both settings, and looks which it took.
fn drives(memory: &[Scalar], prepare: impl FnOnce(&mut Clock)) -> Drives {
    let mut memory: Vec<f64> = memory.iter().map(|slot| slot.initial).collect();
    let mut clock = Clock::new(0.0, 1, &mut memory);
    clock.driven = Driven {
        weight_decay: Some(0.0),
        momentum: Some(0.0),
    };
    prepare(&mut clock);
    Drives {
        weight_decay: clock.driven.weight_decay.is_none(),
        momentum: clock.driven.momentum.is_none(),
    }
}

/// A rule that treats every element alone.
pub(crate) struct Elementwise<R>(pub R);

impl<R: Rule> Elementwise<R> {
    fn prepare(&self, clock: &mut Clock, grad_scale: f64) -> Step<R::Coefs> {
        let mut step = self.0.prepare(clock);
        step.sign *= grad_scale;
        step
    }

    fn run<E: Element>(&self, clock: &mut Clock, grad_scale: f64, buffers: Buffers<'_, E>) {
        let step = self.prepare(clock, grad_scale);
        fused::elementwise::<R, E>(&step, buffers);
    }
}

impl<R: Rule> Engine for Elementwise<R> {
    fn slots(&self, shape: &[usize]) -> Vec<(Slot, Vec<usize>)> {
        let slots = self.0.slots().into_iter();
        slots.map(|slot| (slot, shape.to_vec())).collect()
    }

    fn memory(&self) -> Vec<Scalar> {
        self.0.memory()
    }

    fn drives(&self) -> Drives {
        drives(&self.0.memory(), |clock| {
            self.0.prepare(clock);
        })
    }

    fn half_buffers(&self) -> bool {
        true
    }

    fn step_buffers(
        &self,
        clock: &mut Clock,
        grad_scale: f64,
        _shape: &[usize],
        buffers: AnyBuffers<'_>,
    ) {
        match buffers {
            AnyBuffers::F32(buffers) => self.run(clock, grad_scale, buffers),
            AnyBuffers::F64(buffers) => self.run(clock, grad_scale, buffers),
            AnyBuffers::F16(buffers) => self.run(clock, grad_scale, buffers),
            AnyBuffers::Bf16(buffers) => self.run(clock, grad_scale, buffers),
        }
    }

    fn step_tensors(
        &self,
        clock: &mut Clock,
        grad_scale: f64,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue {
        let step = self.prepare(clock, grad_scale);
        let mut slots = core::mem::take(state).into_iter().map(TensorValue);
        let slots = R::State::gather(&mut || slots.next().expect("one tensor per slot"));
        let (param, slots) = R::advance(&step, param, grad, slots);
        slots.scatter(&mut |slot: TensorValue| state.push(slot.0));
        param
    }

    fn evaluated(&self, param: TensorValue, state: &[DispatchTensor]) -> Option<TensorValue> {
        let mut slots = state.iter().cloned().map(TensorValue);
        self.0.has_evaluated().then(|| {
            let slots = R::State::gather(&mut || slots.next().expect("one tensor per slot"));
            self.0.evaluated(param, slots)
        })
    }
}

/// A rule with a factored second moment.
pub(crate) struct Factored<R>(pub R);

impl<R: FactoredRule> Factored<R> {
    fn prepare(&self, clock: &mut Clock, grad_scale: f64) -> FactoredStep {
        let mut step = self.0.prepare(clock);
        step.grad_scale *= grad_scale;
        step
    }

    fn run<V: Real + Element<Compute = V>>(
        &self,
        clock: &mut Clock,
        grad_scale: f64,
        shape: &[usize],
        buffers: Buffers<'_, V>,
    ) {
        let step = self.prepare(clock, grad_scale);
        fused::factored(&step, self.0.factored_dims(shape), shape, buffers);
    }
}

impl<R: FactoredRule> Engine for Factored<R> {
    fn slots(&self, shape: &[usize]) -> Vec<(Slot, Vec<usize>)> {
        factored::slots(&self.0, shape)
    }

    fn memory(&self) -> Vec<Scalar> {
        Vec::new()
    }

    fn drives(&self) -> Drives {
        drives(&[], |clock| {
            self.0.prepare(clock);
        })
    }

    fn half_buffers(&self) -> bool {
        false
    }

    fn step_buffers(
        &self,
        clock: &mut Clock,
        grad_scale: f64,
        shape: &[usize],
        buffers: AnyBuffers<'_>,
    ) {
        match buffers {
            AnyBuffers::F32(buffers) => self.run(clock, grad_scale, shape, buffers),
            AnyBuffers::F64(buffers) => self.run(clock, grad_scale, shape, buffers),
            AnyBuffers::F16(_) | AnyBuffers::Bf16(_) => {
                unreachable!("factored rules take 16-bit parameters as tensors")
            }
        }
    }

    fn step_tensors(
        &self,
        clock: &mut Clock,
        grad_scale: f64,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue {
        let shape = param.0.shape();
        let dims = self.0.factored_dims(shape.as_slice());
        let step = self.prepare(clock, grad_scale);
        step_factored_tensors(&step, dims, param, grad, state)
    }
}

/// The passes of [`downhill_rule::factored`] as tensor operations. The scales stay on the device:
/// nothing is read back.
fn step_factored_tensors(
    step: &FactoredStep,
    dims: Option<(usize, usize)>,
    param: TensorValue,
    grad: TensorValue,
    state: &mut Vec<DispatchTensor>,
) -> TensorValue {
    use downhill_rule::{ema, factored::Decay};

    let mut slots = core::mem::take(state).into_iter().map(TensorValue);
    let mut slot = || slots.next().expect("one tensor per slot");
    let grad = grad.scale(step.grad_scale);
    let square = grad.clone().square();
    let (multiple, seconds) = match dims {
        Some((row_dim, col_dim)) => {
            let row_mean = square.clone().mean_dim(col_dim).offset(step.statistic);
            let row = ema(slot(), row_mean, step.beta_2);
            let col_mean = square.mean_dim(row_dim).offset(step.statistic);
            let col = ema(slot(), col_mean, step.beta_2);
            let root = row.clone().offset(step.factor).sqrt();
            let row_factor = match step.mean_floor {
                Some(floor) => row.clone().mean_dim(row_dim).clamp_min(floor).sqrt() / root,
                None => root.recip(),
            };
            let col_factor = col.clone().offset(step.factor).sqrt().recip();
            (row_factor * col_factor, vec![row.0, col.0])
        }
        None => {
            let second = ema(slot(), square.offset(step.statistic), step.beta_2);
            let root = second.clone().sqrt().offset(step.vector);
            (root.recip(), vec![second.0])
        }
    };
    let mut direction = multiple.clamp_max(step.cap) * grad;
    if let Some(limit) = step.clip {
        let rms = direction.clone().square().mean().sqrt();
        direction = direction / rms.scale(limit.recip()).clamp_min(1.0);
    }
    let scale = step
        .parameter_scale
        .map(|floor| param.clone().square().mean().sqrt().clamp_min(floor));
    let mut update = direction.scale(step.sign * step.rate);
    if let Some(scale) = &scale {
        update = update * scale.clone();
    }
    state.extend(seconds);
    if let Some(beta_1) = step.beta_1 {
        update = ema(slot(), update, beta_1);
        state.push(update.clone().0);
    }
    let param = match (step.decay, scale) {
        (Decay::Share(share), _) => param.scale(1.0 - share),
        (Decay::TimesRate(share), None) => param.scale(1.0 - share * step.rate),
        (Decay::TimesRate(0.0), Some(_)) => param,
        (Decay::TimesRate(share), Some(scale)) => {
            let lost = param.clone() * scale.scale(share * step.rate);
            param - lost
        }
    };
    param - update
}
