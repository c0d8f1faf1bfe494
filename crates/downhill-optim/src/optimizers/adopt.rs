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
    ///
    /// ```
    /// use downhill_optim::AdoptConfig;
    ///
    /// let optim = AdoptConfig::new().with_weight_decay(1e-2).init();
    /// ```
    Adopt as AdoptConfig, "adopt" {
        learning_rate: 1e-3,
        paper: "Taniguchi et al., arXiv 2411.02853",
        description: "adam that divides by the second moment of the steps before",
        decay: Decay::decoupled(0.0),
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

/// The settings of this step, and the largest normalised gradient.
#[derive(Clone, Copy, Debug)]
pub struct AdoptCoefs {
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
    limit: f64,
}

impl Rule for Adopt {
    type State<V: Value> = [V; 2];
    type Coefs = AdoptCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<AdoptCoefs> {
        let first = clock.step == 1;
        let coefs = AdoptCoefs {
            beta_1: self.beta_1,
            beta_2: if first { 0.0 } else { self.beta_2 },
            epsilon: self.epsilon,
            // Nothing gets into the mean in the first step.
            limit: if first { 0.0 } else { (clock.t() - 1.0).powf(self.clip_exponent) },
        };
        Step { moves: !first, ..Step::new(clock.lr, coefs) }
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &AdoptCoefs, _: &V, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
        let normal = grad.clone() / v.clone().sqrt().clamp_min(coefs.epsilon);
        let normal = normal.clamp_min(-coefs.limit).clamp_max(coefs.limit);
        let m = ema(m, normal, coefs.beta_1);
        let v = ema(v, grad.square(), coefs.beta_2);
        (m.clone(), [m, v])
    }
}
