use downhill_rule::{Clock, Rule, Slot, Step, Value, bias_correction, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// PAdam: [`Adam`](crate::Adam) with a smaller power of the second moment, between it and momentum.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g²
    /// u = sqrt(1 - beta_2^t)/(1 - beta_1^t)·m / (sqrt(v) + epsilon)^(2·partial)
    /// ```
    ///
    /// With `partial` 1/2 it is Adam, but for the place of epsilon. The correction of `v` stands outside of
    /// the power, as in the authors' code; the paper corrects nothing. State: `exp_avg`, `exp_avg_sq`. Source:
    /// Chen et al., arXiv 1806.06763.
    PAdam as PAdamConfig, "padam" {
        learning_rate: 1e-1,
        paper: "Chen et al., arXiv 1806.06763",
        description: "adam with a smaller power of the second moment",
        decay: Decay::decoupled(0.0),
        example: ".with_partial(0.125)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Power of the second moment.
    partial, with_partial: f64 = 0.25, SHARE;
}

impl Rule for PAdam {
    type State<V: Value> = [V; 2];
    type Coefs = (Self, f64);

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<(Self, f64)> {
        let corrected = bias_correction(self.beta_2, clock.t()).sqrt();
        let gain = corrected / bias_correction(self.beta_1, clock.t());
        Step::new(clock.lr, (*self, gain))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (rule, gain): &(Self, f64),
        _: &V,
        grad: V,
        [m, v]: [V; 2],
    ) -> (V, [V; 2]) {
        let m = ema(m, grad.clone(), rule.beta_1);
        let v = ema(v, grad.square(), rule.beta_2);
        let root = v.clone().sqrt().offset(rule.epsilon).powf(2.0 * rule.partial);
        (m.clone().scale(*gain) / root, [m, v])
    }
}
