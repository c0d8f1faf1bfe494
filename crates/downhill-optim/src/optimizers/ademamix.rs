use downhill_rule::{Clock, Debiased, Rule, Slot, Step, Value, ema};

use crate::decay::Decay;
use crate::declare::optimizer;

/// The value at step `t` of a decay that is warmed up, linearly in its half-life.
fn warmed(t: f64, decay: f64, start: f64, steps: usize) -> f64 {
    if t >= steps as f64 {
        return decay;
    }
    let half_life = |decay: f64| 0.5_f64.ln() / (decay + 1e-8).ln() - 1.0;
    let length = ema(half_life(decay), half_life(start), t / steps as f64);
    0.5_f64.powf(1.0 / (length + 1.0))
}

optimizer! {
    /// AdEMAMix: [`Adam`](crate::Adam) with a second, much longer mean of the gradient.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g,   s ← beta_3·s + (1 - beta_3)·g,   v ← beta_2·v + (1 - beta_2)·g²
    /// u = (m/(1 - beta_1^t) + alpha·s) / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// The long mean starts at 0 and is not corrected. With warm-ups `alpha` grows linearly from 0, and
    /// `beta_3` from `beta_1`, linearly in its half-life, as in the authors' code. State: `exp_avg`,
    /// `exp_avg_sq`, `exp_avg_slow`. Source: Pagliardini, Ablin & Grangier, arXiv 2409.03137.
    ///
    /// ```
    /// use downhill_optim::AdEmaMixConfig;
    ///
    /// let config = AdEmaMixConfig::new().with_alpha(8.0).with_alpha_warmup(10_000);
    /// let optim = config.with_beta_3_warmup(10_000).init();
    /// ```
    AdEmaMix as AdEmaMixConfig, "ademamix" {
        learning_rate: 1e-3,
        paper: "Pagliardini, Ablin & Grangier, arXiv 2409.03137",
        description: "adam with a second, much longer mean of the gradient",
        decay: Decay::decoupled(0.0),
    }
    /// Decay of the short mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Decay of the long mean.
    beta_3, with_beta_3: f64 = 0.9999, DECAY;
    /// Weight of the long mean.
    alpha, with_alpha: f64 = 2.0, NOT_NEGATIVE;
    /// Steps over which `alpha` grows.
    alpha_warmup, with_alpha_warmup: usize = 0, ANY, shown_with r#"{"beta_3": 0.5}"#;
    /// Steps over which `beta_3` grows.
    beta_3_warmup, with_beta_3_warmup: usize = 0, ANY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
}

impl Rule for AdEmaMix {
    type State<V: Value> = [V; 3];
    type Coefs = Debiased<Self>;

    fn slots(&self) -> Vec<Slot> {
        ["exp_avg", "exp_avg_sq", "exp_avg_slow"].map(Slot::zeros).to_vec()
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Debiased<Self>> {
        let (t, beta_1) = (clock.t(), self.beta_1);
        let share = (t / self.alpha_warmup as f64).min(1.0);
        let rule = Self {
            beta_1,
            beta_3: warmed(t, self.beta_3, beta_1, self.beta_3_warmup),
            alpha: self.alpha * share,
            ..*self
        };
        let coefs = Debiased::new(rule, beta_1, self.beta_2, t);
        Step::new(clock.lr, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &Debiased<Self>, _: &V, grad: V, [m, v, s]: [V; 3]) -> (V, [V; 3]) {
        let rule = &coefs.rule;
        let m = ema(m, grad.clone(), rule.beta_1);
        let s = ema(s, grad.clone(), rule.beta_3);
        let v = ema(v, grad.square(), rule.beta_2);
        let mix = coefs.mean(m.clone()).add_scaled(&s, rule.alpha);
        let root = coefs.root(v.clone()).offset(rule.epsilon);
        (mix / root, [m, v, s])
    }
}

optimizer! {
    /// Simplified AdEMAMix: the long mean alone, as a sum, beside the gradient itself.
    ///
    /// ```text
    /// m ← beta_1·m + g,   v ← beta_2·v + (1 - beta_2)·g²
    /// u = (m + alpha·g) / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// The sum is `1/(1 - beta_1)` times as large as a mean, and the learning rate as much smaller. State:
    /// `exp_avg`, `exp_avg_sq`. Source: Morwani et al., arXiv 2502.02431.
    SimplifiedAdEmaMix as SimplifiedAdEmaMixConfig, "simplified_ademamix" {
        learning_rate: 1e-4,
        paper: "Morwani et al., arXiv 2502.02431",
        description: "adam with a long sum of gradients beside the gradient",
        decay: Decay::decoupled(0.0),
        example: ".with_alpha(100.0)",
    }
    /// Share of the sum that is kept.
    beta_1, with_beta_1: f64 = 0.99, DECAY;
    /// Decay of the mean of the squared gradient.
    beta_2, with_beta_2: f64 = 0.95, DECAY;
    /// Weight of the gradient.
    alpha, with_alpha: f64 = 0.0, NOT_NEGATIVE;
    /// Steps over which `beta_1` grows, linearly in its half-life.
    beta_1_warmup, with_beta_1_warmup: usize = 0, ANY;
    /// What `beta_1` grows from.
    min_beta_1, with_min_beta_1: f64 = 0.9, DECAY, shown_with r#"{"beta_1_warmup": 100}"#;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
}

impl Rule for SimplifiedAdEmaMix {
    type State<V: Value> = [V; 2];
    type Coefs = Debiased<Self>;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<Debiased<Self>> {
        let (t, beta_1) = (clock.t(), self.beta_1);
        let beta_1 = warmed(t, beta_1, self.min_beta_1, self.beta_1_warmup);
        let rule = Self { beta_1, ..*self };
        let coefs = Debiased::new(rule, beta_1, self.beta_2, t);
        Step::new(clock.lr, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(
        coefs: &Debiased<Self>,
        _: &V,
        grad: V,
        [m, v]: [V; 2],
    ) -> (V, [V; 2]) {
        let rule = &coefs.rule;
        let m = m.scale(rule.beta_1) + grad.clone();
        let v = ema(v, grad.clone().square(), rule.beta_2);
        let mix = m.clone().add_scaled(&grad, rule.alpha);
        let root = coefs.root(v.clone()).offset(rule.epsilon);
        (mix / root, [m, v])
    }
}
