use crate::{Clock, Epsilon, Rule, Slot, Step, Value, ema};

/// RMSprop: the gradient over a running root mean square of itself.
///
/// ```text
/// v ← alpha·v + (1 - alpha)·g²
/// u = g / (sqrt(v) + epsilon)          Epsilon::outside, torch
/// u = g / sqrt(v + epsilon)            Epsilon::inside, optax and Keras
/// ```
///
/// State: `square_avg`. Momentum is [`HeavyBall`](crate::HeavyBall) around it. Source: Tieleman &
/// Hinton, Coursera lecture 6.5 (2012).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// Decay of the mean square, in `[0, 1)`.
    pub alpha: f64,
    /// The guard of the root.
    pub epsilon: Epsilon,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self {
            alpha: 0.99,
            epsilon: Epsilon::outside(1e-8),
        }
    }
}

impl Rule for RmsProp {
    type State<V: Value> = [V; 1];
    type Coefs = Self;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("square_avg")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self> {
        Step::new(clock.lr, *self)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Self, _: &V, grad: V, [square_avg]: [V; 1]) -> (V, [V; 1]) {
        let square_avg = ema(square_avg, grad.clone().square(), coefs.alpha);
        (grad / coefs.epsilon.root(square_avg.clone()), [square_avg])
    }
}

/// RMSprop over the variance of the gradient instead of its mean square.
///
/// ```text
/// v ← alpha·v + (1 - alpha)·g²
/// m ← alpha·m + (1 - alpha)·g
/// u = g / (sqrt(max(v - m², 0)) + epsilon)
/// ```
///
/// The variance is never negative in exact arithmetic but can be after rounding, so it is clamped:
/// a constant gradient gives a large step, never a NaN. State: `square_avg`, `grad_avg`. Source:
/// Graves, arXiv 1308.0850.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CenteredRmsProp(
    /// Decay and guard.
    pub RmsProp,
);

impl Rule for CenteredRmsProp {
    type State<V: Value> = [V; 2];
    type Coefs = RmsProp;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("square_avg"), Slot::zeros("grad_avg")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<RmsProp> {
        self.0.prepare(clock)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &RmsProp,
        _: &V,
        grad: V,
        [square_avg, grad_avg]: [V; 2],
    ) -> (V, [V; 2]) {
        let square_avg = ema(square_avg, grad.clone().square(), coefs.alpha);
        let grad_avg = ema(grad_avg, grad.clone(), coefs.alpha);
        let variance = (square_avg.clone() - grad_avg.clone().square()).clamp_min(0.0);
        (grad / coefs.epsilon.root(variance), [square_avg, grad_avg])
    }
}
