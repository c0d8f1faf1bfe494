use downhill_rule::{Clock, Debiased, Rule, Slot, Step, Value, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// Grams: the size of [`Adam`](crate::Adam)'s step in the direction of the gradient's sign.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g²
    /// u = sign(g)·|m/(1 - beta_1^t)| / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// State: `exp_avg`, `exp_avg_sq`. Source: Cao et al., arXiv 2412.17107.
    Grams as GramsConfig, "grams" {
        learning_rate: 1e-3,
        paper: "Cao et al., arXiv 2412.17107",
        description: "the size of adam's step with the gradient's sign",
        decay: Decay::decoupled(0.0),
        example: "",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-6, POSITIVE;
}

impl Rule for Grams {
    type State<V: Value> = [V; 2];
    type Coefs = Debiased<Self>;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Debiased<Self>> {
        let debiased = Debiased::new(*self, self.beta_1, self.beta_2, clock.t());
        Step::new(clock.lr, debiased)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Debiased<Self>, _: &V, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
        let rule = &coefs.rule;
        let m = ema(m, grad.clone(), rule.beta_1);
        let v = ema(v, grad.clone().square(), rule.beta_2);
        let root = coefs.root(v.clone()).offset(rule.epsilon);
        let size = coefs.mean(m.clone()).abs() / root;
        (grad.sign() * size, [m, v])
    }
}
