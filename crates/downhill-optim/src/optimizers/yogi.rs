use downhill_rule::{Clock, Debiased, Rule, Slot, Step, Value, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// Yogi: [`Adam`](crate::Adam) whose second moment changes by at most a share of the squared gradient, so
    /// that rates do not rise at once when gradients become small.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g
    /// v ← v - (1 - beta_2)·sign(v - g²)·g²
    /// u = m/(1 - beta_1^t) / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// Both moments start at `initial_accumulator_value`, as in optax: a parameter without gradients moves a
    /// little in the first steps. State: `exp_avg`, `exp_avg_sq`. Source: Zaheer et al., NeurIPS 2018.
    Yogi as YogiConfig, "yogi" {
        learning_rate: 1e-2,
        paper: "Zaheer et al., NeurIPS 2018",
        description: "adam whose second moment changes slowly",
        decay: Decay::coupled(0.0),
        example: "",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// 1 less the share of the squared gradient.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-3, POSITIVE;
    /// What both moments start at; the paper has 0 for the first.
    initial_accumulator_value, with_initial_accumulator_value: f64 = 1e-6, NOT_NEGATIVE at start;
}

impl Rule for Yogi {
    type State<V: Value> = [V; 2];
    type Coefs = Debiased<Self>;

    fn slots(&self) -> Vec<Slot> {
        let slot = |name| Slot::filled(name, self.initial_accumulator_value);
        vec![slot("exp_avg"), slot("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Debiased<Self>> {
        let debiased = Debiased::new(*self, self.beta_1, self.beta_2, clock.t());
        Step::new(clock.lr, debiased)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Debiased<Self>, _: &V, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
        let rule = &coefs.rule;
        let square = grad.clone().square();
        let m = ema(m, grad, rule.beta_1);
        let way = (v.clone() - square.clone()).sign() * square;
        let v = v - way.scale(1.0 - rule.beta_2);
        let root = coefs.root(v.clone()).offset(rule.epsilon);
        (coefs.mean(m.clone()) / root, [m, v])
    }
}
