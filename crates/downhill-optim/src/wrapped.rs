//! What stands around another optimizer's step, whichever that is: its own passes before and after it.

use std::sync::Arc;

use downhill_rule::{Clock, Look, Numbers, Rule, Scalar, Slot, Slots, Step, Value};

use crate::declare::Scope;
use crate::matrix::{self, Blocks, Entry, Held, Turn};
use crate::pass::{self, AnyBuffers, Buffers, Element, MAX_SLOTS};
use crate::program::{Engine, Looking, Named, Program};

/// A wrapper: what it does around the step of the optimizer inside.
pub(crate) trait Around: Numbers + Clone + Send + Sync + 'static {
    /// Its own state of as many numbers as a parameter of this shape has, after that of the optimizer inside.
    fn slots(&self) -> Vec<Slot>;

    /// Its own state of matrices, after that, where it treats a parameter of this shape as some.
    fn held(&self, _shape: &[usize]) -> Option<(Blocks, Vec<Held>)> {
        None
    }

    /// Its own scalars, after those of the optimizer inside.
    fn memory(&self) -> Vec<Scalar> {
        Vec::new()
    }

    /// One step, in pieces.
    fn step(&self, clock: &mut Clock, stage: &mut impl Stage);

    /// What it looks at itself, and how often it goes over a parameter beside the step of the optimizer inside.
    fn sight(&self) -> (Scope, usize) {
        (Scope::Element, 1)
    }

    /// The parameter to evaluate, from its own state; none where it is that of the optimizer inside.
    fn evaluated<V: Value>(&self, _param: &V, _own: &[V]) -> Option<V> {
        None
    }
}

/// What a piece of a step works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// The parameter.
    Param,
    /// The gradient: what comes out takes its place.
    Grad,
    /// The first of the wrapper's own state.
    Own,
}

/// Where the pieces of a step run: over memory, or as tensor operations.
pub(crate) trait Stage {
    /// A step of a rule whose parameter is the field, and whose state is the wrapper's own.
    fn pass<R: Rule>(&mut self, step: &Step<R::Coefs>, on: Field);

    /// A step of a rule at the parameter, with the wrapper's own state: what it comes to takes the place of the
    /// gradient.
    fn direct<R: Rule>(&mut self, step: &Step<R::Coefs>);

    /// Changes the gradient as matrices, of which the wrapper [holds](Around::held) something.
    fn turn(&mut self, blocks: &Blocks, held: &[Held], turn: &impl Turn);

    /// A step of a rule that looks, whose parameter is the gradient and whose gradient is the parameter: what comes
    /// out takes the place of the gradient.
    fn filter(&mut self, rule: impl Look);

    /// Multiplies the learning rate of the optimizer inside.
    fn slow(&mut self, factor: f64);

    /// The shape of the parameter.
    fn shape(&self) -> Vec<usize>;

    /// The step of the optimizer inside.
    fn inner(&mut self, on: Field);
}

/// An optimizer with a wrapper around it.
pub(crate) struct Wrapped<W> {
    pub wrapper: W,
    pub inner: Program,
}

impl Program {
    /// An optimizer with a wrapper around it.
    pub(crate) fn wrapped(wrapper: impl Around, inner: Self) -> Self {
        Self(Arc::new(Wrapped { wrapper, inner }))
    }
}

impl<W: Around> Wrapped<W> {
    fn run<V: Entry>(&self, clock: &mut Clock, shape: &[usize], buffers: Buffers<'_, V>) {
        let slots = self.inner.0.slots(shape).len();
        let mut slots_of_inner: [&mut [V]; MAX_SLOTS] = Default::default();
        let mut own: [&mut [V]; MAX_SLOTS] = Default::default();
        for (at, slot) in buffers.slots.into_iter().enumerate() {
            match at < slots {
                true => slots_of_inner[at] = slot,
                false => own[at - slots] = slot,
            }
        }
        let (inner, mut own_clock) = self.clocks(clock, shape);
        let mut stage = OverMemory {
            inner: &*self.inner.0,
            clock: inner,
            shape,
            param: buffers.param,
            grad: buffers.grad,
            filtered: None,
            slots: slots_of_inner,
            own,
            before: self.wrapper.slots().len(),
        };
        self.wrapper.step(&mut own_clock, &mut stage);
    }

    /// The clock of the optimizer inside and the wrapper's own, each with its part of the scalars.
    pub fn clocks<'a>(&self, clock: &'a mut Clock, shape: &[usize]) -> (Clock<'a>, Clock<'a>) {
        let of_inner = self.inner.0.memory(shape).len();
        let (inner, own) = clock.memory.split_at_mut(of_inner);
        let with = |memory| Clock {
            grad_scale: clock.grad_scale,
            failures: clock.failures,
            ..Clock::new(clock.lr, clock.step, memory)
        };
        (with(inner), with(own))
    }
}

impl<W: Around> Engine for Wrapped<W> {
    fn sight(&self, shape: &[usize]) -> (Scope, usize) {
        let (own, more) = self.wrapper.sight();
        let (scope, passes) = self.inner.0.sight(shape);
        (scope.max(own), passes + more)
    }

    fn slots(&self, shape: &[usize]) -> Vec<(Slot, Vec<usize>)> {
        let own = self.wrapper.slots().into_iter();
        let mut slots = self.inner.0.slots(shape);
        slots.extend(own.map(|slot| (slot, shape.to_vec())));
        if let Some((blocks, held)) = self.wrapper.held(shape) {
            let shaped = |held: &Held| (held.slot, held.extent.shape(shape, &blocks));
            slots.extend(held.iter().map(shaped));
        }
        slots
    }

    fn memory(&self, shape: &[usize]) -> Vec<Scalar> {
        let mut memory = self.inner.0.memory(shape);
        memory.extend(self.wrapper.memory());
        memory
    }

    fn follows_rate(&self) -> bool {
        self.inner.0.follows_rate()
    }

    fn has_number(&self, name: &str) -> bool {
        self.wrapper.clone().number_mut(name).is_some() || self.inner.0.has_number(name)
    }

    fn driven(&self, numbers: &[Named]) -> Arc<dyn Engine> {
        let mut wrapper = self.wrapper.clone();
        let mut of_inner = numbers.to_vec();
        of_inner.retain(|(name, number)| match wrapper.number_mut(name) {
            Some(own) => {
                *own = *number;
                false
            }
            None => true,
        });
        Arc::new(Self {
            wrapper,
            inner: Program(self.inner.0.driven(&of_inner)),
        })
    }

    fn half_buffers(&self) -> bool {
        false
    }

    fn step_buffers(&self, clock: &mut Clock, shape: &[usize], buffers: AnyBuffers<'_>) {
        match buffers {
            AnyBuffers::F32(buffers) => self.run(clock, shape, buffers),
            AnyBuffers::F64(buffers) => self.run(clock, shape, buffers),
            AnyBuffers::F16(_) | AnyBuffers::Bf16(_) => {
                unreachable!("wrappers take 16-bit parameters as tensors")
            }
        }
    }

    fn evaluate_buffers(&self, shape: &[usize], param: &mut [f64], state: &[Vec<f64>]) {
        let (inner, own) = state.split_at(self.inner.0.slots(shape).len());
        let own = &own[..self.wrapper.slots().len()];
        let trained = param.to_vec();
        self.inner.0.evaluate_buffers(shape, param, inner);
        for (i, param) in param.iter_mut().enumerate() {
            let own: Vec<f64> = own.iter().map(|slot| slot[i]).collect();
            if let Some(evaluated) = self.wrapper.evaluated(&trained[i], &own) {
                *param = evaluated;
            }
        }
    }
}

struct OverMemory<'a, V: Element> {
    inner: &'a dyn Engine,
    clock: Clock<'a>,
    shape: &'a [usize],
    param: &'a mut [V],
    grad: &'a [V],
    /// In the place of the gradient, once a pass has changed it.
    filtered: Option<Vec<V>>,
    slots: [&'a mut [V]; MAX_SLOTS],
    own: [&'a mut [V]; MAX_SLOTS],
    /// How many of its own are of elements: those of matrices come after them.
    before: usize,
}

fn again<'a, V>(slots: &'a mut [&mut [V]; MAX_SLOTS]) -> [&'a mut [V]; MAX_SLOTS] {
    slots.each_mut().map(|slot| &mut **slot)
}

impl<V: Entry> Stage for OverMemory<'_, V> {
    fn pass<R: Rule>(&mut self, step: &Step<R::Coefs>, on: Field) {
        let mut filtered = match on {
            Field::Grad => Some(self.grad.to_vec()),
            Field::Param | Field::Own => None,
        };
        let mut slots = again(&mut self.own);
        let param = match (&mut filtered, on) {
            (Some(filtered), _) => filtered.as_mut_slice(),
            (None, Field::Own) => {
                let own = core::mem::take(&mut slots[0]);
                slots.rotate_left(1);
                own
            }
            (None, _) => &mut *self.param,
        };
        let grad = self.grad;
        pass::elementwise::<R, V>(step, Buffers { param, grad, slots });
        if filtered.is_some() {
            self.filtered = filtered;
            self.clock.grad_scale = 1.0;
        }
    }

    fn direct<R: Rule>(&mut self, step: &Step<R::Coefs>) {
        let mut direction = self.param.to_vec();
        let own = <R::State<V> as Slots<V>>::LEN;
        let mut slots: [&mut [V]; MAX_SLOTS] = Default::default();
        for (slot, own) in slots.iter_mut().zip(&mut self.own[..own]) {
            *slot = own;
        }
        let (param, grad) = (direction.as_mut_slice(), self.grad);
        pass::elementwise::<R, V>(step, Buffers { param, grad, slots });
        self.filtered = Some(direction);
        self.clock.grad_scale = 1.0;
    }

    fn turn(&mut self, blocks: &Blocks, held: &[Held], turn: &impl Turn) {
        let values = match self.filtered.take() {
            Some(filtered) => filtered,
            None => self.grad.to_vec(),
        };
        let state = &mut self.own[self.before..][..held.len()];
        self.filtered = Some(matrix::turned(values, blocks, turn, held, state));
    }

    fn filter(&mut self, rule: impl Look) {
        let mut filtered = self.grad.to_vec();
        let buffers = V::any(Buffers {
            param: filtered.as_mut_slice(),
            grad: &*self.param,
            slots: Default::default(),
        });
        Looking(rule).step_buffers(&mut Clock::new(0.0, 1, &mut []), self.shape, buffers);
        self.filtered = Some(filtered);
        self.clock.grad_scale = 1.0;
    }

    fn slow(&mut self, factor: f64) {
        self.clock.lr *= factor;
    }

    fn shape(&self) -> Vec<usize> {
        self.shape.to_vec()
    }

    fn inner(&mut self, on: Field) {
        let param = match on {
            Field::Own => &mut *self.own[0],
            Field::Param | Field::Grad => &mut *self.param,
        };
        let grad = self.filtered.as_deref().unwrap_or(self.grad);
        let slots = again(&mut self.slots);
        let buffers = V::any(Buffers { param, grad, slots });
        self.inner
            .step_buffers(&mut self.clock, self.shape, buffers);
    }
}
