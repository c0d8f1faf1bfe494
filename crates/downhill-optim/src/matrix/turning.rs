//! Optimizers that make a direction of the gradient as matrices.

use core::sync::atomic::{AtomicU64, Ordering};

use downhill_rule::{Clock, Descent, Numbers, Scalar, Slot, Value};

use super::{Algebra, Blocks, Dense, Entry, Formula, Held, Of, Turn};
use crate::decay::{OnGradient, Shared};
use crate::declare::Scope;
use crate::program::Program;
use crate::settings::ConfigError;
use crate::wrapped::{Around, Field, Stage};

/// When a step is: its number, and what the method has counted.
#[derive(Debug)]
pub(crate) struct Moment<'a> {
    pub t: u64,
    pub counted: Vec<f64>,
    failures: Option<&'a AtomicU64>,
}

impl Moment<'_> {
    /// Notes a computation that failed, whose last result is kept.
    pub fn noted<T>(&self, found: Option<T>) -> Option<T> {
        if let (None, Some(failures)) = (&found, self.failures) {
            failures.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// [`noted`](Self::noted); the first result that cannot be computed is the unit matrix.
    pub fn noted_or_unit<V: Entry>(
        &self,
        found: Option<Dense<V>>,
        first: bool,
        len: usize,
    ) -> Option<Dense<V>> {
        self.noted(found)
            .or_else(|| first.then(|| Dense::unit(len)))
    }
}

/// What an optimizer does with matrices.
pub(crate) trait Method: Numbers + Clone + Send + Sync + 'static {
    /// The matrices of a weight.
    fn blocks(&self, shape: &[usize]) -> Blocks;

    /// The state of them.
    fn held(&self, blocks: &Blocks) -> Vec<Held>;

    /// State of as many numbers as the weight has, that [`finish`](Self::finish) goes over.
    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    /// What it counts.
    fn memory(&self) -> Vec<Scalar> {
        Vec::new()
    }

    /// Counts, as a step begins.
    fn count(&self, _clock: &mut Clock) {}

    /// The direction that is made of a gradient.
    fn direction<A: Algebra>(
        &self,
        moment: &Moment,
        algebra: &A,
        grad: A::Matrix,
        state: &mut [A::Matrix],
    ) -> A::Matrix;

    /// Multiplies the learning rate.
    fn rate(&self, _blocks: &Blocks) -> f64 {
        1.0
    }

    /// Whether the weight moves in step `t`.
    fn moves(&self, _t: u64) -> bool {
        true
    }

    /// What is done after a step.
    fn finish(&self, _clock: &mut Clock, _stage: &mut impl Stage) {}

    /// The parameter to evaluate, if it is another.
    fn evaluated<V: Value>(&self, _own: &[V]) -> Option<V> {
        None
    }
}

/// A method in the place of the gradient of another program.
#[derive(Clone)]
struct Turning<M> {
    method: M,
    on_gradient: OnGradient,
}

impl Shared {
    /// The program that moves along the directions of a method.
    pub(crate) fn turning(&self, method: impl Method) -> Result<Program, ConfigError> {
        let (on_gradient, on_step) = self.split()?;
        let turning = Turning {
            method,
            on_gradient,
        };
        Ok(Program::wrapped(turning, on_step.run(Descent)?))
    }
}

impl<M: Numbers> Numbers for Turning<M> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        let own = self.method.number_mut(name);
        own.or(self.on_gradient.number_mut(name))
    }
}

/// A method at a step.
struct At<'a, M> {
    method: &'a M,
    moment: Moment<'a>,
}

impl<M: Method> Turn for At<'_, M> {
    fn turn<A: Algebra>(
        &self,
        algebra: &A,
        matrix: A::Matrix,
        state: &mut [A::Matrix],
    ) -> A::Matrix {
        self.method.direction(&self.moment, algebra, matrix, state)
    }
}

impl<M: Method> Around for Turning<M> {
    fn slots(&self) -> Vec<Slot> {
        self.method.slots()
    }

    fn held(&self, shape: &[usize]) -> Option<(Blocks, Vec<Held>)> {
        let blocks = self.method.blocks(shape);
        let held = self.method.held(&blocks);
        Some((blocks, held))
    }

    fn memory(&self) -> Vec<Scalar> {
        self.method.memory()
    }

    fn sight(&self) -> (Scope, usize) {
        (Scope::Matrix, 1)
    }

    fn step(&self, clock: &mut Clock, stage: &mut impl Stage) {
        stage.direct::<Of<Given>>(&self.on_gradient.step(clock, ()));
        let blocks = self.method.blocks(&stage.shape());
        let held = self.method.held(&blocks);
        let method = &self.method;
        method.count(clock);
        let moment = Moment {
            t: clock.step,
            counted: clock.memory.to_vec(),
            failures: clock.failures,
        };
        stage.turn(&blocks, &held, &At { method, moment });
        if self.method.moves(clock.step) {
            stage.slow(self.method.rate(&blocks));
            stage.inner(Field::Param);
        }
        self.method.finish(clock, stage);
    }

    fn evaluated<V: Value>(&self, _: &V, own: &[V]) -> Option<V> {
        self.method.evaluated(own)
    }
}

/// The gradient, with what acts on it.
#[derive(Clone)]
struct Given;

impl Formula for Given {
    type State<V: Value> = [V; 0];
    type Coefs = ();

    #[inline(always)]
    fn result<V: Value>((): &(), _: &V, grad: V, state: [V; 0]) -> (V, [V; 0]) {
        (grad, state)
    }
}
