use downhill_rule::{Clock, Rule, Scalar, Slot, Step, Value, bias_correction, ema};

use crate::config::Config;
use crate::decay::Decay;
use crate::declare::{optimizer, preset};
use crate::settings::choice;

choice! {
    /// Which of the algorithms called NAdam; see [`NAdam`].
    NAdamVariant {
        /// `torch.optim.NAdam`; Keras's too, with `momentum_decay` 1 and epsilon 1e-7.
        Torch = "torch",
        /// Dozat's Algorithm 2: the momentum schedule also drives the first moment.
        Dozat = "dozat",
        /// `optax.nadam`: constant momentum, `momentum_decay` is not used.
        Optax = "optax",
    }
}

optimizer! {
    /// NAdam: [`Adam`](crate::Adam) with Nesterov's look-ahead, `torch.optim.NAdam` by default.
    ///
    /// ```text
    /// mu_t = beta_1·(1 - 0.5·0.96^(t·momentum_decay))        P_t = mu_1·…·mu_t
    /// m ← beta_1·m + (1 - beta_1)·g  (dozat: mu_t for beta_1),   v ← beta_2·v + (1 - beta_2)·g²
    /// u = [mu_{t+1}·m/(1 - P_{t+1}) + (1 - mu_t)·g/(1 - P_t)] / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// optax keeps `mu_t = beta_1`, so that `P_t = beta_1^t`. The variants are different optimizers: for a
    /// constant gradient of 1 the first steps are 1.06, 0.78 learning rates long in torch, 1.06, 0.77 in
    /// Keras, 1.31, 1.09 in Dozat's form and 1.47, 1.16 in optax. State: `exp_avg` (m), `exp_avg_sq` (v), and
    /// the scalar `mu_product` (P_t) where the momentum has a schedule. Source: Dozat, *Incorporating Nesterov
    /// Momentum into Adam*, ICLR 2016 workshop; the factor `beta_2` that one version of it puts on v is a
    /// misprint and is left out, as everywhere.
    NAdam as NAdamConfig, "nadam" {
        learning_rate: 2e-3,
        paper: "Dozat, ICLR 2016 workshop",
        description: "adam with Nesterov's look-ahead; the torch, Dozat, Keras and optax variants",
        decay: Decay::flagged(0.0),
        example: ".with_weight_decay(1e-2)",
    }
    /// Decay of the mean of the gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// How fast the momentum grows to `beta_1`.
    momentum_decay, with_momentum_decay: f64 = 4e-3, NOT_NEGATIVE;
    /// Which algorithm.
    variant, with_variant: NAdamVariant = NAdamVariant::Torch, ANY;
}

preset! {
    /// NAdamW: [`NAdam`] with decoupled weight decay, as `torch.optim.NAdam` has it with
    /// `decoupled_weight_decay`.
    NAdamW as NAdamWConfig of NAdam, "nadamw" {
        learning_rate: 2e-3,
        paper: "Dozat, ICLR 2016 workshop; Loshchilov & Hutter, arXiv 1711.05101",
        description: "nadam with decoupled weight decay",
        decay: Decay::decoupled(1e-2),
        example: ".with_weight_decay(0.1)",
    }
}

impl Config<NAdam> {
    /// Dozat's algorithm with the defaults of his paper: the momentum schedule `0.96^(t/250)`.
    pub fn dozat() -> Self {
        Self::new().with_variant(NAdamVariant::Dozat)
    }

    /// Keras's: torch's algorithm with the momentum schedule `0.96^t` and epsilon 1e-7.
    pub fn keras() -> Self {
        Self::new().with_momentum_decay(1.0).with_epsilon(1e-7)
    }

    /// optax's: constant momentum.
    pub fn optax() -> Self {
        Self::new().with_variant(NAdamVariant::Optax)
    }
}

impl NAdam {
    fn mu(&self, beta_1: f64, t: f64) -> f64 {
        beta_1 * (1.0 - 0.5 * 0.96_f64.powf(t * self.momentum_decay))
    }
}

/// `u = (ahead·m + now·g) / (sqrt(v)·debias + epsilon)`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdamCoefs {
    keep: f64,
    beta_2: f64,
    epsilon: f64,
    ahead: f64,
    now: f64,
    debias_2_root: f64,
}

impl Rule for NAdam {
    type State<V: Value> = [V; 2];
    type Coefs = NAdamCoefs;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn memory(&self) -> Vec<Scalar> {
        match self.variant {
            NAdamVariant::Optax => Vec::new(),
            NAdamVariant::Torch | NAdamVariant::Dozat => vec![Scalar::new("mu_product", 1.0)],
        }
    }

    fn prepare(&self, clock: &mut Clock) -> Step<NAdamCoefs> {
        let t = clock.t();
        let beta_1 = self.beta_1;
        let (keep, ahead, now) = match self.variant {
            NAdamVariant::Optax => (
                beta_1,
                beta_1 / bias_correction(beta_1, t + 1.0),
                (1.0 - beta_1) / bias_correction(beta_1, t),
            ),
            variant => {
                let (mu, mu_next) = (self.mu(beta_1, t), self.mu(beta_1, t + 1.0));
                let product = clock.memory[0] * mu;
                clock.memory[0] = product;
                let keep = if variant == NAdamVariant::Dozat {
                    mu
                } else {
                    beta_1
                };
                (
                    keep,
                    mu_next / (1.0 - product * mu_next),
                    (1.0 - mu) / (1.0 - product),
                )
            }
        };
        let coefs = NAdamCoefs {
            keep,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
            ahead,
            now,
            debias_2_root: bias_correction(self.beta_2, t).sqrt().recip(),
        };
        Step::new(clock.lr, coefs)
    }

    #[inline(always)]
    fn direction<V: Value>(coefs: &NAdamCoefs, _: &V, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
        let m = ema(m, grad.clone(), coefs.keep);
        let v = ema(v, grad.clone().square(), coefs.beta_2);
        let ahead = m.clone().scale(coefs.ahead) + grad.scale(coefs.now);
        let root = v.clone().sqrt().scale(coefs.debias_2_root);
        (ahead / root.offset(coefs.epsilon), [m, v])
    }
}
