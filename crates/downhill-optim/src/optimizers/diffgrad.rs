use downhill_rule::{Clock, Debiased, Rule, Slot, Step, Value, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// diffGrad: [`Adam`](crate::Adam) with shorter steps where the gradient does not change.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g²
    /// u = m_hat/(sqrt(v_hat) + epsilon) / (1 + exp(-|g - previous g|))
    /// ```
    ///
    /// `m_hat = m/(1 - beta_1^t)` and `v_hat = v/(1 - beta_2^t)`; the first step compares with 0. The friction
    /// is between 1/2 and 1, and depends on the unit of the loss. State: `exp_avg`, `exp_avg_sq`,
    /// `previous_grad`. Source: Dubey et al., arXiv 1909.11015.
    DiffGrad as DiffGradConfig, "diffgrad" {
        learning_rate: 1e-3,
        paper: "Dubey et al., arXiv 1909.11015",
        description: "adam with shorter steps where the gradient does not change",
        decay: Decay::decoupled(0.0),
        example: "",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
}

impl Rule for DiffGrad {
    type State<V: Value> = [V; 3];
    type Coefs = Debiased<Self>;

    fn slots(&self) -> Vec<Slot> {
        ["exp_avg", "exp_avg_sq", "previous_grad"].map(Slot::zeros).to_vec()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Debiased<Self>> {
        let debiased = Debiased::new(*self, self.beta_1, self.beta_2, clock.t());
        Step::new(clock.lr, debiased)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &Debiased<Self>,
        _: &V,
        grad: V,
        [m, v, previous]: [V; 3],
    ) -> (V, [V; 3]) {
        let rule = &coefs.rule;
        let m = ema(m, grad.clone(), rule.beta_1);
        let v = ema(v, grad.clone().square(), rule.beta_2);
        let still = (grad.clone() - previous).abs().scale(-1.0).exp().offset(1.0);
        let root = coefs.root(v.clone()).offset(rule.epsilon);
        (coefs.mean(m.clone()) / (root * still), [m, v, grad])
    }
}
