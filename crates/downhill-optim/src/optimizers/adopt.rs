use downhill_rule::{Clock, Rule, Slot, Step, Value, ema};

use crate::config::Config;
use crate::decay::Decay;
use crate::declare::optimizer;

optimizer! {
    /// ADOPT: [`Adam`](crate::Adam) whose gradient is divided by the second moment of the steps before, and
    /// only then averaged: it converges for every `beta_2`.
    ///
    /// ```text
    /// v = g²                                                     first step, which moves nothing
    /// n = clamp(g/max(sqrt(v), epsilon), ±(t - 1)^clip_exponent)
    /// m ← beta_1·m + (1 - beta_1)·n,   u = m
    /// v ← beta_2·v + (1 - beta_2)·g²
    /// ```
    ///
    /// An element without a gradient in the first step is divided by epsilon later, and only the clamp
    /// limits it. State: `exp_avg`, `exp_avg_sq`. Source: Taniguchi et al., arXiv 2411.02853, Algorithm 2 with
    /// the clamp of its authors' implementation; [`timm`](AdoptConfig::timm)'s differs.
    Adopt as AdoptConfig, "adopt" {
        learning_rate: 1e-3,
        paper: "Taniguchi et al., arXiv 2411.02853",
        description: "adam that divides by the second moment of the steps before",
        decay: Decay::decoupled(0.0),
        example: ".with_weight_decay(1e-2)",
    }
    /// Decay of the mean of the normalised gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of the squared gradient.
    beta_2, with_beta_2: f64 = 0.9999, DECAY;
    /// Floor under the root.
    epsilon, with_epsilon: f64 = 1e-6, POSITIVE;
    /// How the largest normalised gradient grows with the steps.
    clip_exponent, with_clip_exponent: f64 = 0.25, NOT_NEGATIVE, shown_with r#"{"beta_2": 0.5}"#;
}

impl Config<Adopt> {
    /// timm's: the largest normalised gradient grows faster.
    pub fn timm() -> Self {
        Self::new().with_clip_exponent(0.333)
    }
}

impl Rule for Adopt {
    type State<V: Value> = [V; 2];
    type Coefs = (Self, f64);

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<(Self, f64)> {
        let first = clock.step == 1;
        // The first gradient is all that there is of the second moment, and does not get into the mean.
        let (beta_2, limit) = match first {
            true => (0.0, 0.0),
            false => (self.beta_2, (clock.t() - 1.0).powf(self.clip_exponent)),
        };
        Step { moves: !first, ..Step::new(clock.lr, (Self { beta_2, ..*self }, limit)) }
    }

    #[inline(always)]
    fn direction<V: Value>(
        (rule, limit): &(Self, f64),
        _: &V,
        grad: V,
        [m, v]: [V; 2],
    ) -> (V, [V; 2]) {
        let normal = grad.clone() / v.clone().sqrt().clamp_min(rule.epsilon);
        let normal = normal.clamp_min(-limit).clamp_max(*limit);
        let m = ema(m, normal, rule.beta_1);
        let v = ema(v, grad.square(), rule.beta_2);
        (m.clone(), [m, v])
    }
}
