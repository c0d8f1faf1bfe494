use downhill_rule::{Clock, Rule, Slot, Step, Value, bias_correction, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// AdaMod: [`Adam`](crate::Adam) whose step size is at most its own mean over time: a warmup of its own.
    ///
    /// ```text
    /// eta = lr·sqrt(1 - beta_2^t)/(1 - beta_1^t) / (sqrt(v) + epsilon)
    /// s ← beta_3·s + (1 - beta_3)·eta
    /// p ← p - min(eta, s)·m
    /// ```
    ///
    /// `m` and `v` are Adam's. The mean starts at 0, so that the first step is `1 - beta_3` of Adam's. State:
    /// `exp_avg`, `exp_avg_sq`, `exp_avg_lr`. Source: Ding et al., arXiv 1910.12249.
    AdaMod as AdaModConfig, "adamod" {
        learning_rate: 1e-3,
        paper: "Ding et al., arXiv 1910.12249",
        description: "adam whose step size is at most its mean over time",
        decay: Decay::decoupled(0.0),
        example: ".with_beta_3(0.9999)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Decay of the mean of the step size.
    beta_3, with_beta_3: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
}

impl Rule for AdaMod {
    type State<V: Value> = [V; 3];
    type Coefs = (Self, f64);

    fn slots(&self) -> Vec<Slot> {
        ["exp_avg", "exp_avg_sq", "exp_avg_lr"].map(Slot::zeros).to_vec()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<(Self, f64)> {
        let root = bias_correction(self.beta_2, clock.t()).sqrt();
        let eta = clock.lr * root / bias_correction(self.beta_1, clock.t());
        Step::new(1.0, (*self, eta))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (rule, eta): &(Self, f64),
        _: &V,
        grad: V,
        [m, v, s]: [V; 3],
    ) -> (V, [V; 3]) {
        let m = ema(m, grad.clone(), rule.beta_1);
        let v = ema(v, grad.square(), rule.beta_2);
        let eta = v.clone().sqrt().offset(rule.epsilon).recip().scale(*eta);
        let s = ema(s, eta.clone(), rule.beta_3);
        (eta.minimum(s.clone()) * m.clone(), [m, v, s])
    }
}
