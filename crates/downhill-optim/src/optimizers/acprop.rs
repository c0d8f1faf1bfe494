use downhill_rule::{Clock, Rule, Slot, Step, Value, bias_correction, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// ACProp: the gradient over [`AdaBelief`](crate::AdaBelief)'s root of the steps before, which this
    /// gradient has not touched yet.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g
    /// u = g at first, then  s ← s + epsilon,   u = g / (sqrt(s/(1 - beta_2^(t-1))) + epsilon)
    /// s ← beta_2·s + (1 - beta_2)·(g - m)²
    /// ```
    ///
    /// State: `exp_avg`, `exp_avg_var`. Source: Zhuang et al., arXiv 2110.05454; its authors' code without
    /// rectification.
    AcProp as AcPropConfig, "acprop" {
        learning_rate: 1e-3,
        paper: "Zhuang et al., arXiv 2110.05454",
        description: "the gradient over the root of its variance up to the step before",
        decay: Decay::decoupled(0.0),
        example: "",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the variance around it.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the variance, and to its root.
    epsilon, with_epsilon: f64 = 1e-16, POSITIVE;
}

impl Rule for AcProp {
    type State<V: Value> = [V; 2];
    type Coefs = (Self, [f64; 3]);

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_var")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self::Coefs> {
        let corrected = || bias_correction(self.beta_2, clock.t() - 1.0);
        let root = match clock.step {
            1 => [0.0, 0.0, 1.0],
            _ => [self.epsilon, corrected().sqrt().recip(), self.epsilon],
        };
        Step::new(clock.lr, (*self, root))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (rule, [inside, steep, outside]): &Self::Coefs,
        _: &V,
        grad: V,
        [m, s]: [V; 2],
    ) -> (V, [V; 2]) {
        let m = ema(m, grad.clone(), rule.beta_1);
        let s = s.offset(*inside);
        let root = s.clone().sqrt().scale(*steep).offset(*outside);
        let apart = (grad.clone() - m.clone()).square();
        (grad / root, [m, ema(s, apart, rule.beta_2)])
    }
}
