use downhill_rule::{NAdam, NAdamVariant};

use super::{adjusted, decay};
use crate::config::config;
use crate::{ConfigError, RuleOptimizer};

config! {
    /// NAdam: Adam with Nesterov's look-ahead, `torch.optim.NAdam` by default.
    ///
    /// ```text
    /// mu_t = beta_1·(1 - 0.5·0.96^(t·momentum_decay))        P_t = mu_1·…·mu_t
    /// m ← beta_1·m + (1 - beta_1)·g  (dozat: mu_t for beta_1),   v ← beta_2·v + (1 - beta_2)·g²
    /// p ← p - lr·[mu_{t+1}·m/(1 - P_{t+1}) + (1 - mu_t)·g/(1 - P_t)] / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// The variants are different optimizers: for a constant gradient of 1 the first steps are 1.06,
    /// 0.78 learning rates long in torch, 1.06, 0.77 in Keras, 1.31, 1.09 in Dozat's form and 1.47,
    /// 1.16 in optax. State: `exp_avg`, `exp_avg_sq`, and the scalar `mu_product`. Source: Dozat,
    /// ICLR 2016 workshop.
    ///
    /// ```
    /// use downhill_optim::NAdamConfig;
    ///
    /// let optim = NAdamConfig::new().with_weight_decay(1e-2).init();
    /// ```
    NAdamConfig, "nadam" {
        learning_rate: 2e-3,
        state: "2n",
        paper: "Dozat, ICLR 2016 workshop",
        description: "adam with Nesterov's look-ahead; the torch, Dozat, Keras and optax variants",
    }
    /// Decay of the mean of the gradient, in `[0, 1)`. Default: 0.9.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square, in `[0, 1)`. Default: 0.999.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root, above 0. Default: 1e-8.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// How fast the momentum grows to `beta_1`, at least 0. Default: 4e-3.
    momentum_decay, with_momentum_decay: f64 = 4e-3, NOT_NEGATIVE;
    /// Which algorithm. Default: torch.
    variant, with_variant: NAdamVariant = NAdamVariant::Torch, ANY;
    /// Weight decay, at least 0. Default: 0.
    weight_decay, with_weight_decay: f64 = 0.0, NOT_NEGATIVE;
    /// Whether decay shrinks the parameter by `lr·weight_decay` instead of being added to the
    /// gradient. Default: false.
    decoupled_weight_decay, with_decoupled_weight_decay: bool = false, ANY;
    /// Whether to climb instead. Default: false.
    maximize, with_maximize: bool = false, ANY;
}

impl NAdamConfig {
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

    fn rule(&self) -> Result<RuleOptimizer, ConfigError> {
        let rule = NAdam {
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
            momentum_decay: self.momentum_decay,
            variant: self.variant,
        };
        let decay = decay(self.weight_decay, self.decoupled_weight_decay);
        Ok(adjusted(rule, decay, self.maximize))
    }
}
