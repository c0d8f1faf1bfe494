use downhill_rule::{Clock, Rule, Slot, Step, Value};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// AggMo: the mean of three momenta, of which the fast ones damp the oscillations of the slow one.
    ///
    /// ```text
    /// b_i ← beta_i·b_i + g
    /// u = (b_1 + b_2 + b_3)/3
    /// ```
    ///
    /// State: `momentum_buffer_1`, `momentum_buffer_2`, `momentum_buffer_3`. Source: Lucas et al., arXiv
    /// 1804.00325, with the three momenta that it recommends.
    AggMo as AggMoConfig, "aggmo" {
        learning_rate: 1e-2,
        paper: "Lucas et al., arXiv 1804.00325",
        description: "the mean of three momenta",
        decay: Decay::coupled(0.0),
        example: ".with_beta_3(0.999)",
    }
    /// Share of the first buffer that is kept.
    beta_1, with_beta_1: f64 = 0.0, DECAY;
    /// Share of the second buffer that is kept.
    beta_2, with_beta_2: f64 = 0.9, DECAY;
    /// Share of the third buffer that is kept.
    beta_3, with_beta_3: f64 = 0.99, DECAY;
}

impl Rule for AggMo {
    type State<V: Value> = [V; 3];
    type Coefs = Self;

    fn slots(&self) -> Vec<Slot> {
        let names = ["momentum_buffer_1", "momentum_buffer_2", "momentum_buffer_3"];
        names.map(Slot::zeros).to_vec()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self> {
        Step::new(clock.lr / 3.0, *self)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Self, _: &V, grad: V, [a, b, c]: [V; 3]) -> (V, [V; 3]) {
        let a = a.scale(coefs.beta_1) + grad.clone();
        let b = b.scale(coefs.beta_2) + grad.clone();
        let c = c.scale(coefs.beta_3) + grad;
        (a.clone() + b.clone() + c.clone(), [a, b, c])
    }
}
