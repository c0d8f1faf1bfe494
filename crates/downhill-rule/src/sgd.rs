use crate::{Clock, Rule, Slot, Step, Value};

/// Gradient descent: `u = g`. No state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sgd;

impl Rule for Sgd {
    type State<V: Value> = [V; 0];
    type Coefs = ();

    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<()> {
        Step::new(clock.lr, ())
    }

    #[inline(always)]
    fn direction<V: Value>(_: &(), _: &V, grad: V, state: [V; 0]) -> (V, [V; 0]) {
        (grad, state)
    }
}

/// Gradient descent with momentum, as `torch.optim.SGD` computes it.
///
/// ```text
/// b = g                                    first step
/// b = momentum·b + (1 - dampening)·g       later steps
/// u = b,   or   g + momentum·b             with Nesterov
/// ```
///
/// With `velocity` the learning rate stands inside the buffer, `b = momentum·b + lr·g` and the
/// parameter moves by `b` (Sutskever's form, also Keras's): the same while the learning rate is
/// constant, another path when it changes.
///
/// State: `momentum_buffer`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// Share of the buffer that is kept, in `[0, 1)`.
    pub momentum: f64,
    /// Share of the gradient that is left out after the first step.
    pub dampening: f64,
    /// Whether to look ahead along the buffer.
    pub nesterov: bool,
    /// Whether the learning rate stands inside the buffer.
    pub velocity: bool,
}

impl Momentum {
    /// Plain momentum.
    pub fn new(momentum: f64) -> Self {
        Self {
            momentum,
            dampening: 0.0,
            nesterov: false,
            velocity: false,
        }
    }
}

/// `b = keep·b + gain·g`, `u = ahead·b + now·g`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MomentumCoefs {
    keep: f64,
    gain: f64,
    ahead: f64,
    now: f64,
}

impl Rule for Momentum {
    type State<V: Value> = [V; 1];
    type Coefs = MomentumCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("momentum_buffer")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<MomentumCoefs> {
        let momentum = clock.momentum(self.momentum);
        let (rate, unit) = if self.velocity {
            (1.0, clock.lr)
        } else {
            (clock.lr, 1.0)
        };
        let dampening = if clock.step == 1 { 0.0 } else { self.dampening };
        let (ahead, now) = if self.nesterov {
            (momentum, unit)
        } else {
            (1.0, 0.0)
        };
        let coefs = MomentumCoefs {
            keep: momentum,
            gain: unit * (1.0 - dampening),
            ahead,
            now,
        };
        Step::new(rate, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &MomentumCoefs, _: &V, grad: V, [buffer]: [V; 1]) -> (V, [V; 1]) {
        let buffer = buffer.scale(coefs.keep).add_scaled(&grad, coefs.gain);
        let direction = buffer.clone().scale(coefs.ahead);
        (direction.add_scaled(&grad, coefs.now), [buffer])
    }
}
