use downhill_rule::{Clock, Descent, Rule, Slot, Step, Value};

use crate::config::Config;
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// Gradient descent, with or without momentum: `torch.optim.SGD`.
    ///
    /// ```text
    /// b = g                                    first step
    /// b = momentum·b + (1 - dampening)·g       later steps
    /// u = g,  or b with momentum,  or g + momentum·b with Nesterov
    /// ```
    ///
    /// With `velocity` the learning rate stands inside the buffer, `b = momentum·b + lr·g` and the parameter
    /// moves by `b` (Sutskever's form, also Keras's): the same while the learning rate is constant, another
    /// path when it changes. State with momentum: `momentum_buffer`. Differs from burn-optim's `SgdConfig` in
    /// its defaults: see [`burn`](SgdConfig::burn). Source: Polyak (1964); Nesterov (1983); Sutskever et al.,
    /// ICML 2013.
    Sgd as SgdConfig, "sgd" {
        learning_rate: 1e-2,
        paper: "Robbins & Monro 1951; Polyak 1964",
        description: "gradient descent, with momentum, Nesterov momentum or the velocity form",
        decay: Decay::flagged(0.0),
        example: ".with_momentum(0.9).with_nesterov(true)",
    }
    /// Share of the buffer that is kept; 0 is plain descent.
    momentum, with_momentum: f64 = 0.0, DECAY;
    /// Share of the gradient that is left out of the buffer after the first step.
    dampening, with_dampening: f64 = 0.0, DECAY, needs momentum;
    /// Whether to look ahead along the buffer.
    nesterov, with_nesterov: bool = false, ANY, needs momentum;
    /// Whether the learning rate stands inside the buffer.
    velocity, with_velocity: bool = false, ANY, needs momentum;
    => |sgd, shared| match sgd {
        Sgd { momentum: 0.0, .. } => shared.run(Descent),
        Sgd { dampening: 0.0, .. } => shared.run(sgd),
        Sgd { nesterov: true, .. } => Err(shared.conflict("`nesterov` needs a `dampening` of 0")),
        Sgd { velocity: true, .. } => {
            Err(shared.conflict("the `velocity` form has no `dampening`: it must be 0"))
        }
        _ => shared.run(sgd),
    }
}

impl Config<Sgd> {
    /// burn-optim's `SgdConfig` with its `MomentumConfig`: momentum 0.9, dampening 0.1.
    pub fn burn() -> Self {
        Self::new().with_momentum(0.9).with_dampening(0.1)
    }
}

/// `b = keep·b + gain·g`, `u = ahead·b + now·g`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdCoefs {
    keep: f64,
    gain: f64,
    ahead: f64,
    now: f64,
}

impl Rule for Sgd {
    type State<V: Value> = [V; 1];
    type Coefs = SgdCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("momentum_buffer")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<SgdCoefs> {
        let (rate, unit) = if self.velocity {
            (1.0, clock.lr)
        } else {
            (clock.lr, 1.0)
        };
        let dampening = if clock.step == 1 { 0.0 } else { self.dampening };
        let (ahead, now) = if self.nesterov {
            (self.momentum, unit)
        } else {
            (1.0, 0.0)
        };
        let coefs = SgdCoefs {
            keep: self.momentum,
            gain: unit * (1.0 - dampening),
            ahead,
            now,
        };
        Step::new(rate, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &SgdCoefs, _: &V, grad: V, [buffer]: [V; 1]) -> (V, [V; 1]) {
        let buffer = buffer.scale(coefs.keep).add_scaled(&grad, coefs.gain);
        let direction = buffer.clone().scale(coefs.ahead);
        (direction.add_scaled(&grad, coefs.now), [buffer])
    }
}
