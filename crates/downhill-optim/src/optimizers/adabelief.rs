use downhill_rule::{Clock, Debiased, Rule, Slot, Step, Value, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// AdaBelief: [`Adam`](crate::Adam) over the variance of the gradient around its mean: long steps where
    /// the gradient is as expected.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g
    /// s ← beta_2·s + (1 - beta_2)·(g - m)² + epsilon
    /// u = m/(1 - beta_1^t) / (sqrt(s/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// Epsilon adds up inside `s`. For a constant gradient the step grows without other bound than that: 1.6
    /// learning rates at step 10, 5 at 100, 39 at 2000. State: `exp_avg`, `exp_avg_var`. Source: Zhuang et
    /// al., arXiv 2010.07468.
    AdaBelief as AdaBeliefConfig, "adabelief" {
        learning_rate: 1e-3,
        paper: "Zhuang et al., arXiv 2010.07468",
        description: "adam over the variance of the gradient around its mean",
        decay: Decay::decoupled(0.0),
        example: ".with_weight_decay(1e-2)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the variance.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the variance at each step, and to the root.
    epsilon, with_epsilon: f64 = 1e-16, POSITIVE;
}

impl Rule for AdaBelief {
    type State<V: Value> = [V; 2];
    type Coefs = Debiased<Self>;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_var")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Debiased<Self>> {
        let debiased = Debiased::new(*self, self.beta_1, self.beta_2, clock.t());
        Step::new(clock.lr, debiased)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Debiased<Self>, _: &V, grad: V, [m, s]: [V; 2]) -> (V, [V; 2]) {
        let AdaBelief { beta_1, beta_2, epsilon } = coefs.rule;
        let m = ema(m, grad.clone(), beta_1);
        let s = ema(s, (grad - m.clone()).square(), beta_2).offset(epsilon);
        let root = coefs.root(s.clone()).offset(epsilon);
        (coefs.mean(m.clone()) / root, [m, s])
    }
}
