use downhill_rule::{Clock, Debiased, Rule, Scalar, Slot, Step, Value, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// LaProp: the gradient is normalised first and averaged then, where [`Adam`](crate::Adam) does it the
    /// other way round; momentum and adaptivity do not disturb each other.
    ///
    /// ```text
    /// v ← beta_2·v + (1 - beta_2)·g²
    /// m ← beta_1·m + (1 - beta_1)·lr·g/(sqrt(v/(1 - beta_2^t)) + epsilon)
    /// c ← beta_1·c + (1 - beta_1)·lr
    /// p ← p - lr/c·m
    /// ```
    ///
    /// The learning rate is inside `m`, and `c` corrects its bias when it changes too. State: `exp_avg`,
    /// `exp_avg_sq`, and the scalar `exp_avg_lr_1` (c). Source: Ziyin, Wang & Ueda, arXiv 2002.04839.
    LaProp as LaPropConfig, "laprop" {
        learning_rate: 4e-4,
        paper: "Ziyin, Wang & Ueda, arXiv 2002.04839",
        description: "a mean of the normalised gradient",
        decay: Decay::decoupled(0.0),
        example: "",
    }
    /// Decay of the mean of the normalised gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of the squared gradient.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-15, POSITIVE;
}

impl Rule for LaProp {
    type State<V: Value> = [V; 2];
    type Coefs = (Debiased<Self>, f64);

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn memory(&self) -> Vec<Scalar> {
        vec![Scalar::new("exp_avg_lr_1", 0.0)]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self::Coefs> {
        let (lr, beta_1) = (clock.lr, self.beta_1);
        clock.memory[0] = ema(clock.memory[0], lr, beta_1);
        let rule = Self { beta_1, ..*self };
        let coefs = Debiased::new(rule, beta_1, self.beta_2, clock.t());
        // A rate of 0 moves nothing, also while all were 0.
        let rate = if lr == 0.0 { 0.0 } else { lr / clock.memory[0] };
        Step::new(rate, (coefs, lr))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (coefs, lr): &Self::Coefs,
        _: &V,
        grad: V,
        [m, v]: [V; 2],
    ) -> (V, [V; 2]) {
        let rule = &coefs.rule;
        let v = ema(v, grad.clone().square(), rule.beta_2);
        let normal = grad / coefs.root(v.clone()).offset(rule.epsilon);
        let m = ema(m, normal.scale(*lr), rule.beta_1);
        (m.clone(), [m, v])
    }
}
