use downhill_rule::{Clock, Rule, Slot, Step, Value, bias_correction, ema};

use crate::config::Config;
use crate::decay::Decay;
use crate::declare::optimizer;
use crate::settings::choice;

choice! {
    /// Where [`RAdam`] corrects the bias, and from which length on it rectifies.
    RAdamVariant {
        /// `torch.optim.RAdam`: epsilon is added before the correction, above the threshold.
        Torch = "torch",
        /// optax and the paper: after the correction, at the threshold and above.
        Optax = "optax",
    }
}

optimizer! {
    /// RAdam: [`Adam`](crate::Adam) without the large first steps, whose variance is rectified as soon as it
    /// is known well enough; before, the mean of the gradient is the direction. `torch.optim.RAdam`.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g²,   m_hat = m/(1 - beta_1^t)
    /// rho_inf = 2/(1 - beta_2) - 1,    rho = rho_inf - 2·t·beta_2^t/(1 - beta_2^t)
    /// r = sqrt((rho - 4)·(rho - 2)·rho_inf / ((rho_inf - 4)·(rho_inf - 2)·rho))
    /// u = r·m_hat / (sqrt(v/(1 - beta_2^t)) + epsilon)   if rho > threshold,   else m_hat
    /// ```
    ///
    /// The first steps are as large as the gradient, not as the learning rate. In the torch variant epsilon
    /// stands at `sqrt(v)` before the correction. State: `exp_avg`, `exp_avg_sq`. Source: Liu et al., arXiv
    /// 1908.03265.
    RAdam as RAdamConfig, "radam" {
        learning_rate: 1e-3,
        paper: "Liu et al., arXiv 1908.03265",
        description: "adam that starts when the variance of its step is known",
        decay: Decay::flagged(0.0),
        example: ".with_decoupled_weight_decay(true).with_weight_decay(0.01)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE, shown_with r#"{"beta_2": 0.9}"#;
    /// The length of the average from which on the step is rectified; the paper has 4.
    threshold, with_threshold: f64 = 5.0, AT_LEAST_FOUR, shown_with r#"{"beta_2": 0.9}"#;
    /// Which form.
    variant, with_variant: RAdamVariant = RAdamVariant::Torch, ANY,
        shown_with r#"{"beta_2": 0.9, "threshold": 4.0, "epsilon": 0.1}"#;
}

impl Config<RAdam> {
    /// optax's form.
    pub fn optax() -> Self {
        Self::new().with_variant(RAdamVariant::Optax)
    }

    /// The paper's: optax's form, rectified from a length of 4 on.
    pub fn paper() -> Self {
        Self::optax().with_threshold(4.0)
    }
}

/// `u = gain·m / (steep·sqrt(v) + floor)`
#[derive(Clone, Copy, Debug)]
pub struct RAdamCoefs {
    beta_1: f64,
    beta_2: f64,
    gain: f64,
    steep: f64,
    floor: f64,
}

/// How many steps the second moment is made of, and the factor on a step whose variance is known.
pub(super) fn rectification(beta_2: f64, t: f64) -> (f64, f64) {
    let corrected = bias_correction(beta_2, t);
    let full = 2.0 / (1.0 - beta_2) - 1.0;
    let rho = full - 2.0 * t * (1.0 - corrected) / corrected;
    let product = |rho: f64| (rho - 4.0) * (rho - 2.0);
    (rho, (product(rho) * full / (product(full) * rho)).sqrt())
}

impl Rule for RAdam {
    type State<V: Value> = [V; 2];
    type Coefs = RAdamCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock) -> Step<RAdamCoefs> {
        let (beta_1, beta_2, t) = (self.beta_1, self.beta_2, clock.t());
        let corrected = bias_correction(beta_2, t);
        let (rho, r) = rectification(beta_2, t);
        let rectify = match self.variant {
            RAdamVariant::Torch => rho > self.threshold,
            RAdamVariant::Optax => rho >= self.threshold,
        };
        let (gain, steep, floor) = match (rectify, self.variant) {
            (false, _) => (1.0, 0.0, 1.0),
            (true, RAdamVariant::Torch) => (r * corrected.sqrt(), 1.0, self.epsilon),
            (true, RAdamVariant::Optax) => (r, corrected.sqrt().recip(), self.epsilon),
        };
        let gain = gain / bias_correction(beta_1, t);
        let coefs = RAdamCoefs { beta_1, beta_2, gain, steep, floor };
        Step::new(clock.lr, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &RAdamCoefs, _: &V, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
        let m = ema(m, grad.clone(), coefs.beta_1);
        let v = ema(v, grad.square(), coefs.beta_2);
        let root = v.clone().sqrt().scale(coefs.steep).offset(coefs.floor);
        (m.clone().scale(coefs.gain) / root, [m, v])
    }
}
