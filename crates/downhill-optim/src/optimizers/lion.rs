use downhill_rule::{Clock, Rule, Slot, Step, Value, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// Lion: the sign of a mean of the gradient, found by a search over programs.
    ///
    /// ```text
    /// u = sign(beta_1·m + (1 - beta_1)·g),   refined: the same number, but at most ±1
    /// m ← beta_2·m + (1 - beta_2)·g
    /// ```
    ///
    /// Every element moves by the learning rate, so it has to be three to ten times smaller than Adam's, and
    /// the weight decay as much larger. After one gradient and then none an element moves on for hundreds of
    /// steps. State: `exp_avg`. Source: Chen et al., arXiv 2302.06675, Program 1.
    Lion as LionConfig, "lion" {
        learning_rate: 1e-4,
        paper: "Chen et al., arXiv 2302.06675",
        description: "the sign of a mean of the gradient",
        decay: Decay::decoupled(0.0),
        example: ".with_weight_decay(0.1)",
    }
    /// Weight of the mean in the step.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean.
    beta_2, with_beta_2: f64 = 0.99, DECAY;
    /// Whether elements below 1 move in proportion instead of by their sign (optax's refined mode).
    refined, with_refined: bool = false, ANY;
}

impl Rule for Lion {
    type State<V: Value> = [V; 1];
    type Coefs = Self;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self> {
        Step::new(clock.lr, *self)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Self, _: &V, grad: V, [m]: [V; 1]) -> (V, [V; 1]) {
        let mean = ema(m.clone(), grad.clone(), coefs.beta_1);
        let direction = match coefs.refined {
            true => mean.clamp_min(-1.0).clamp_max(1.0),
            false => mean.sign(),
        };
        (direction, [ema(m, grad, coefs.beta_2)])
    }
}
