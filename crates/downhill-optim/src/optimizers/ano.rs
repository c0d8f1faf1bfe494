use downhill_rule::{Clock, Debiased, Rule, Slot, Step, Value, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// Ano: the way of the momentum, as far as this step's gradient is large. For noisy gradients.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g
    /// v ← beta_2·v + (1 - beta_2)·sign(g² - v)·g²
    /// u = |g|·sign(m) / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// With a `beta_2` below 1/2 `v` can fall below 0, and counts as 0 then. State: `exp_avg`, `exp_avg_sq`.
    /// Source: Kegreisz, arXiv 2508.18258 (version 2), without the falling learning rate of its theory.
    Ano as AnoConfig, "ano" {
        learning_rate: 1e-4,
        paper: "Kegreisz, arXiv 2508.18258",
        description: "the way of the momentum, as far as the gradient is large",
        decay: Decay::decoupled(0.0),
        example: ".with_weight_decay(0.01)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.92, DECAY;
    /// Decay of the second moment.
    beta_2, with_beta_2: f64 = 0.99, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
}

impl Rule for Ano {
    type State<V: Value> = [V; 2];
    type Coefs = Debiased<Self>;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Debiased<Self>> {
        let coefs = Debiased::new(*self, self.beta_1, self.beta_2, clock.t());
        Step::new(clock.lr, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Debiased<Self>, _: &V, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
        let rule = &coefs.rule;
        let m = ema(m, grad.clone(), rule.beta_1);
        let square = grad.clone().square();
        let grown = (square.clone() - v.clone()).sign() * square;
        let v = ema(v, grown, rule.beta_2);
        let root = coefs.root(v.clone().clamp_min(0.0)).offset(rule.epsilon);
        (grad.abs() * m.clone().sign() / root, [m, v])
    }
}
