//! Formulas of a popular slide deck on optimizers, exactly as printed there, beside the published
//! ones: for comparison, not for training.
//!
//! | rule | what goes wrong |
//! |---|---|
//! | [`Momentum`] | Nothing: it is Sutskever's form, with the learning rate inside the buffer. |
//! | [`NAdam`] | The first moment is bias-corrected twice: for a constant gradient the first steps are 10, 5.3, 3.7, ... learning rates long (right: 1.47, 1.16, 1.08). |
//! | [`AdaFactor`] | The direction lacks the factor `sqrt(mean(row))`, so that it is proportional to 1/g, and has no bias correction: unit gradients in a 64×32 matrix move it by about 994 learning rates at the first step. The floor `epsilon_2`, meant for the parameter's scale, stands beside the root for vectors. |

use crate::factored::{Decay, FactoredNames, FactoredRule, FactoredStep};
use crate::{Clock, Rule, Slot, Step, Value, bias_correction, ema};

/// `velocity ← momentum·velocity - lr·g`, `param ← param + velocity`.
///
/// State: `velocity`, with the deck's sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// Share of the velocity that is kept, in `[0, 1)`.
    pub momentum: f64,
}

impl Rule for Momentum {
    type State<V: Value> = [V; 1];
    type Coefs = (f64, f64);

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("velocity")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<(f64, f64)> {
        Step::new(1.0, (self.momentum, -clock.lr))
    }

    #[inline(always)]
    fn direction<V: Value>(
        &(momentum, minus_lr): &(f64, f64),
        _: &V,
        grad: V,
        [velocity]: [V; 1],
    ) -> (V, [V; 1]) {
        let velocity = velocity.scale(momentum) + grad.scale(minus_lr);
        (velocity.clone().scale(-1.0), [velocity])
    }
}

/// ```text
/// m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g²
/// m_hat = m/(1 - beta_1^t),        v_hat = v/(1 - beta_2^t)
/// m_bar = (beta_1·m_hat + (1 - beta_1)·g) / (1 - beta_1^t)
/// u = m_bar / (sqrt(v_hat) + epsilon)
/// ```
///
/// State: `exp_avg`, `exp_avg_sq`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdam {
    /// Decay of the mean of the gradient, in `[0, 1)`.
    pub beta_1: f64,
    /// Decay of the mean of its square, in `[0, 1)`.
    pub beta_2: f64,
    /// Added to the root, above 0.
    pub epsilon: f64,
}

/// The settings, and the bias corrections as factors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdamCoefs {
    rule: NAdam,
    debias_1: f64,
    debias_2_root: f64,
}

impl Rule for NAdam {
    type State<V: Value> = [V; 2];
    type Coefs = NAdamCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<NAdamCoefs> {
        let coefs = NAdamCoefs {
            rule: *self,
            debias_1: bias_correction(self.beta_1, clock.t()).recip(),
            debias_2_root: bias_correction(self.beta_2, clock.t()).sqrt().recip(),
        };
        Step::new(clock.lr, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &NAdamCoefs, _: &V, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
        let NAdam {
            beta_1,
            beta_2,
            epsilon,
        } = coefs.rule;
        let m = ema(m, grad.clone(), beta_1);
        let v = ema(v, grad.clone().square(), beta_2);
        let m_bar = ema(m.clone().scale(coefs.debias_1), grad, beta_1).scale(coefs.debias_1);
        let root = v.clone().sqrt().scale(coefs.debias_2_root);
        (m_bar / root.offset(epsilon), [m, v])
    }
}

/// ```text
/// row ← beta_2·row + (1 - beta_2)·mean_j(g²),   col ← beta_2·col + (1 - beta_2)·mean_i(g²)
/// u = g · outer(1/sqrt(row + epsilon_1), 1/sqrt(col + epsilon_1))
/// u = g / (sqrt(v) + epsilon_2),   v ← beta_2·v + (1 - beta_2)·g²        vectors
/// ```
///
/// State: `row` and `col`, or `v`. The deck factors matrices only; here the last two dimensions of
/// any rank are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaFactor {
    /// Decay of the second moment, in `[0, 1)`.
    pub beta_2: f64,
    /// Added to the factors before their root.
    pub epsilon_1: f64,
    /// Added to the root of a vector's second moment.
    pub epsilon_2: f64,
}

impl FactoredRule for AdaFactor {
    fn factored_dims(&self, shape: &[usize]) -> Option<(usize, usize)> {
        (shape.len() >= 2).then(|| (shape.len() - 2, shape.len() - 1))
    }

    fn names(&self) -> FactoredNames {
        FactoredNames {
            row: "row",
            col: "col",
            full: "v",
            first_moment: None,
        }
    }

    fn prepare(&self, clock: &mut Clock) -> FactoredStep {
        FactoredStep {
            beta_2: self.beta_2,
            statistic: 0.0,
            mean_floor: None,
            factor: self.epsilon_1,
            vector: self.epsilon_2,
            cap: f64::INFINITY,
            clip: None,
            rate: clock.lr,
            parameter_scale: None,
            beta_1: None,
            decay: Decay::Share(0.0),
            sign: 1.0,
            grad_scale: 1.0,
        }
    }
}
