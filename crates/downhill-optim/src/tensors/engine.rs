//! A rule's step in tensor operations, on every backend.

use burn::backend::{DispatchTensor, TensorMetadata};
use downhill_rule::factored::{Decay, FactoredRule, FactoredStep};
use downhill_rule::{Clock, Fold, Look, Rule, Slots, Step, Value, ema};

use super::value::TensorValue;
use crate::program::{Elementwise, Engine, Factored, Looking};
use crate::wrapped::{Around, Field, Stage, Wrapped};

/// What an erased rule does with tensors.
pub(crate) trait OnTensors {
    /// One step in the precision of the state.
    fn step_tensors(
        &self,
        clock: &mut Clock,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue;

    /// The parameter to evaluate, if it is another than the one that is trained.
    fn evaluated(&self, _param: TensorValue, _state: &[DispatchTensor]) -> Option<TensorValue> {
        None
    }
}

impl<R: Rule> OnTensors for Elementwise<R> {
    fn step_tensors(
        &self,
        clock: &mut Clock,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue {
        let step = self.prepare(clock);
        let mut slots = core::mem::take(state).into_iter().map(TensorValue);
        let slots = R::State::gather(&mut || slots.next().expect("one tensor per slot"));
        let (param, slots) = R::go(&step, param, grad, slots);
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

impl<R: Look> OnTensors for Looking<R> {
    fn step_tensors(
        &self,
        clock: &mut Clock,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue {
        let shape = param.0.shape();
        let step = self.prepare(clock, shape.as_slice());
        let mut slots = core::mem::take(state).into_iter().map(TensorValue);
        let own = <R::State<TensorValue> as Slots<TensorValue>>::LEN;
        let observed = Observed::<R> {
            step: &step,
            len: shape.num_elements() as f64,
            state: slots.by_ref().take(own).collect(),
            param,
            grad,
        };
        let mut kept = R::Kept::gather(&mut || slots.next().expect("one tensor per slot"));
        // Before the first look it means nothing.
        let mut known = R::Known::gather(&mut || observed.grad.clone());
        if R::LOOKS > 0 {
            (known, kept) = observed.look::<0>(known, kept);
        }
        if R::LOOKS > 1 {
            (known, kept) = observed.look::<1>(known, kept);
        }
        let (param, own) = observed.moved(&known);
        own.scatter(&mut |slot: TensorValue| state.push(slot.0));
        kept.scatter(&mut |slot: TensorValue| state.push(slot.0));
        param
    }
}

/// What a rule looks at.
struct Observed<'a, R: Look> {
    step: &'a Step<R::Coefs>,
    len: f64,
    param: TensorValue,
    grad: TensorValue,
    state: Vec<TensorValue>,
}

impl<R: Look> Observed<'_, R> {
    fn state(&self) -> R::State<TensorValue> {
        let mut slots = self.state.iter().cloned();
        R::State::gather(&mut || slots.next().expect("one tensor per slot"))
    }

    fn moved(self, known: &R::Known<TensorValue>) -> (TensorValue, R::State<TensorValue>) {
        let mut slots = self.state.into_iter();
        let state = R::State::gather(&mut || slots.next().expect("one tensor per slot"));
        match self.step.cautious {
            0.0 => R::advance::<false, _>(self.step, known, self.param, self.grad, state),
            _ => R::advance::<true, _>(self.step, known, self.param, self.grad, state),
        }
    }

    fn look<const LOOK: usize>(
        &self,
        known: R::Known<TensorValue>,
        kept: R::Kept<TensorValue>,
    ) -> (R::Known<TensorValue>, R::Kept<TensorValue>) {
        let (param, grad) = (self.param.clone(), self.grad.clone());
        let terms = R::glance::<LOOK, _>(self.step, &known, param, grad, self.state());
        let mut folded = Vec::new();
        terms.scatter(&mut |term: TensorValue| {
            folded.push(match R::fold(LOOK) {
                Fold::Sum => term.sum(),
                Fold::Max => term.max(),
            });
        });
        let mut folded = folded.into_iter();
        let sums = R::Sums::gather(&mut || folded.next().expect("one tensor per term"));
        R::settle::<LOOK, _>(&self.step.coefs, sums, self.len, known, kept)
    }
}

impl<R: FactoredRule> OnTensors for Factored<R> {
    fn step_tensors(
        &self,
        clock: &mut Clock,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue {
        let shape = param.0.shape();
        let dims = self.0.factored_dims(shape.as_slice());
        let step = self.prepare(clock);
        step_factored(&step, dims, param, grad, state)
    }
}

impl<W: Around> OnTensors for Wrapped<W> {
    fn step_tensors(
        &self,
        clock: &mut Clock,
        param: TensorValue,
        grad: TensorValue,
        state: &mut Vec<DispatchTensor>,
    ) -> TensorValue {
        let own = state.split_off(state.len() - self.wrapper.slots().len());
        let (inner, mut own_clock) = self.clocks(clock);
        let mut stage = InTensors {
            inner: &*self.inner.0,
            clock: inner,
            param: Some(param),
            grad,
            slots: state,
            own: own.into_iter().map(TensorValue).collect(),
        };
        self.wrapper.step(&mut own_clock, &mut stage);
        let (param, own) = (stage.param.take(), stage.own);
        state.extend(own.into_iter().map(|tensor| tensor.0));
        param.expect("put back after each piece")
    }

    fn evaluated(&self, param: TensorValue, state: &[DispatchTensor]) -> Option<TensorValue> {
        let (inner, own) = state.split_at(state.len() - self.wrapper.slots().len());
        let own: Vec<TensorValue> = own.iter().cloned().map(TensorValue).collect();
        let evaluated = self.wrapper.evaluated(&param, &own);
        evaluated.or_else(|| self.inner.0.evaluated(param, inner))
    }
}

struct InTensors<'a> {
    inner: &'a dyn Engine,
    clock: Clock<'a>,
    /// Out of it while a piece works on it.
    param: Option<TensorValue>,
    grad: TensorValue,
    slots: &'a mut Vec<DispatchTensor>,
    own: Vec<TensorValue>,
}

impl InTensors<'_> {
    fn take(&mut self, on: Field) -> TensorValue {
        match on {
            Field::Own => self.own.remove(0),
            Field::Grad => self.grad.clone(),
            Field::Param => self.param.take().expect("put back after each piece"),
        }
    }

    fn put(&mut self, on: Field, value: TensorValue) {
        match on {
            Field::Own => self.own.insert(0, value),
            Field::Grad => {
                self.grad = value;
                self.clock.grad_scale = 1.0;
            }
            Field::Param => self.param = Some(value),
        }
    }
}

impl Stage for InTensors<'_> {
    fn pass<R: Rule>(&mut self, step: &Step<R::Coefs>, on: Field) {
        let field = self.take(on);
        let mut own = core::mem::take(&mut self.own).into_iter();
        let state = R::State::gather(&mut || own.next().expect("one tensor per slot"));
        let (field, state) = R::advance(step, field, self.grad.clone(), state);
        state.scatter(&mut |value| self.own.push(value));
        self.put(on, field);
    }

    fn inner(&mut self, on: Field) {
        let param = self.take(on);
        let grad = self.grad.clone();
        let param = (self.inner).step_tensors(&mut self.clock, param, grad, self.slots);
        self.put(on, param);
    }
}

/// The passes of [`downhill_rule::factored`] as tensor operations. The scales stay on the device:
/// nothing is read back.
fn step_factored(
    step: &FactoredStep,
    dims: Option<(usize, usize)>,
    param: TensorValue,
    grad: TensorValue,
    state: &mut Vec<DispatchTensor>,
) -> TensorValue {
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
