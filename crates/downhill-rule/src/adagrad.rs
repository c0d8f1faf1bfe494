use crate::{Clock, Epsilon, Rule, Slot, Step, Value};

/// AdaGrad: each element's rate falls with the sum of its squared gradients.
///
/// ```text
/// s ← s + g²
/// u = g / (sqrt(s) + epsilon)          Epsilon::outside, torch
/// u = g / sqrt(s + epsilon)            Epsilon::inside, optax and Keras
/// rate = lr / (1 + (t - 1)·lr_decay)
/// ```
///
/// State: `sum`. Source: Duchi, Hazan & Singer, JMLR 12 (2011).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaGrad {
    /// How fast the learning rate falls with the step count, at least 0.
    pub lr_decay: f64,
    /// The sum before the first step, at least 0.
    pub initial_accumulator_value: f64,
    /// The guard of the root.
    pub epsilon: Epsilon,
}

impl Default for AdaGrad {
    fn default() -> Self {
        Self {
            lr_decay: 0.0,
            initial_accumulator_value: 0.0,
            epsilon: Epsilon::outside(1e-10),
        }
    }
}

impl Rule for AdaGrad {
    type State<V: Value> = [V; 1];
    type Coefs = Epsilon;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::filled("sum", self.initial_accumulator_value)]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Epsilon> {
        let rate = clock.lr / (1.0 + (clock.t() - 1.0) * self.lr_decay);
        Step::new(rate, self.epsilon)
    }

    #[inline(always)]
    fn direction<V: Value>(epsilon: &Epsilon, _: &V, grad: V, [sum]: [V; 1]) -> (V, [V; 1]) {
        let sum = sum + grad.clone().square();
        (grad / epsilon.root(sum.clone()), [sum])
    }
}
