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
    ///
    /// ```
    /// use downhill_optim::AcPropConfig;
    ///
    /// let optim = AcPropConfig::new().init();
    /// ```
    AcProp as AcPropConfig, "acprop" {
        learning_rate: 1e-3,
        paper: "Zhuang et al., arXiv 2110.05454",
        description: "the gradient over the root of its variance up to the step before",
        decay: Decay::decoupled(0.0),
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the variance around it.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the variance, and to its root.
    epsilon, with_epsilon: f64 = 1e-16, POSITIVE;
}

/// `s ← s + inside`, `u = g / (sqrt(s)·steep + outside)`
#[derive(Clone, Copy, Debug)]
pub struct AcPropCoefs {
    rule: AcProp,
    inside: f64,
    steep: f64,
    outside: f64,
}

impl Rule for AcProp {
    type State<V: Value> = [V; 2];
    type Coefs = AcPropCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_var")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<AcPropCoefs> {
        let (rule, epsilon) = (*self, self.epsilon);
        let (inside, steep, outside) = match clock.step {
            1 => (0.0, 0.0, 1.0),
            _ => {
                let corrected = bias_correction(self.beta_2, clock.t() - 1.0);
                (epsilon, corrected.sqrt().recip(), epsilon)
            }
        };
        Step::new(clock.lr, AcPropCoefs { rule, inside, steep, outside })
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &AcPropCoefs, _: &V, grad: V, [m, s]: [V; 2]) -> (V, [V; 2]) {
        let m = ema(m, grad.clone(), coefs.rule.beta_1);
        let s = s.offset(coefs.inside);
        let root = s.clone().sqrt().scale(coefs.steep).offset(coefs.outside);
        let apart = (grad.clone() - m.clone()).square();
        (grad / root, [m, ema(s, apart, coefs.rule.beta_2)])
    }
}
