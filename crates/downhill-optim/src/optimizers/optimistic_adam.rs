use downhill_rule::{Clock, Debiased, Rule, Slot, Step, Value, bias_correction, ema};

use super::optimistic_gd::Optimism;
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// Optimistic Adam: [`Adam`](crate::Adam)'s direction and its last change. For games.
    ///
    /// ```text
    /// d = [m/(1 - beta_1^t), or with Nesterov  beta_1·m/(1 - beta_1^(t+1)) + (1 - beta_1)·g/(1 - beta_1^t)]
    ///     / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// u = (alpha + beta)·d - beta·d_before
    /// ```
    ///
    /// In the first step `u = alpha·d`. State: `exp_avg`, `exp_avg_sq`, `previous_update`. Source: Daskalakis
    /// et al., arXiv 1711.00141; `optax.optimistic_adam_v2`.
    OptimisticAdam as OptimisticAdamConfig, "optimistic_adam" {
        learning_rate: 1e-3,
        paper: "Daskalakis et al., arXiv 1711.00141",
        description: "adam's direction and its last change; for games",
        decay: Decay::coupled(0.0),
        example: ".with_nesterov(false)",
    }
    /// Weight of the direction.
    alpha, with_alpha: f64 = 1.0, NOT_NEGATIVE;
    /// Weight of its change.
    beta, with_beta: f64 = 1.0, NOT_NEGATIVE;
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Whether the mean looks ahead.
    nesterov, with_nesterov: bool = true, ANY;
}

impl Rule for OptimisticAdam {
    type State<V: Value> = [V; 3];
    type Coefs = (Debiased<Self>, [f64; 2], Optimism);

    fn slots(&self) -> Vec<Slot> {
        ["exp_avg", "exp_avg_sq", "previous_update"].map(Slot::zeros).to_vec()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Self::Coefs> {
        let (beta_1, t) = (self.beta_1, clock.t());
        let debias = bias_correction(beta_1, t).recip();
        let mean = match self.nesterov {
            true => [beta_1 / bias_correction(beta_1, t + 1.0), (1.0 - beta_1) * debias],
            false => [debias, 0.0],
        };
        let optimism = Optimism::new(clock, self.alpha, self.beta);
        Step::new(clock.lr, (Debiased::new(*self, beta_1, self.beta_2, t), mean, optimism))
    }

    #[inline(always)]
    fn direction<V: Value>(
        (debiased, [ahead, now], optimism): &Self::Coefs,
        _: &V,
        grad: V,
        [m, v, previous]: [V; 3],
    ) -> (V, [V; 3]) {
        let rule = &debiased.rule;
        let m = ema(m, grad.clone(), rule.beta_1);
        let v = ema(v, grad.clone().square(), rule.beta_2);
        let root = debiased.root(v.clone()).offset(rule.epsilon);
        let next = m.clone().scale(*ahead).add_scaled(&grad, *now) / root;
        (optimism.ahead(&next, previous), [m, v, next])
    }
}
