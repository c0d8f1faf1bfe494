use downhill_rule::{Adam, AmsGrad, WeightDecay};

use super::adjusted;
use crate::config::config;
use crate::{ConfigError, RuleOptimizer};

config! {
    /// Adam: `torch.optim.Adam`.
    ///
    /// ```text
    /// m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g²
    /// p ← p - lr · m/(1 - beta_1^t) / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// Weight decay is coupled (added to the gradient); decoupled, it is [`AdamWConfig`]. State:
    /// `exp_avg`, `exp_avg_sq`, and `max_exp_avg_sq` with AMSGrad. Differs from burn-optim in the
    /// default epsilon, 1e-5 there: see [`burn`](Self::burn). Source: Kingma & Ba, arXiv 1412.6980.
    ///
    /// ```
    /// use downhill_optim::AdamConfig;
    ///
    /// let optim = AdamConfig::new().with_amsgrad(true).init();
    /// ```
    AdamConfig, "adam" {
        learning_rate: 1e-3,
        state: "2n, 3n with amsgrad",
        paper: "Kingma & Ba, arXiv 1412.6980",
        description: "bias-corrected mean of the gradient over the root of the mean of its square",
    }
    /// Decay of the mean of the gradient, in `[0, 1)`. Default: 0.9.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square, in `[0, 1)`. Default: 0.999.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root, above 0. Default: 1e-8.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// L2 weight decay, added to the gradient, at least 0. Default: 0.
    weight_decay, with_weight_decay: f64 = 0.0, NOT_NEGATIVE;
    /// Whether to divide by the largest second moment seen (arXiv 1904.09237). Default: false.
    amsgrad, with_amsgrad: bool = false, ANY;
    /// Whether to climb instead. Default: false.
    maximize, with_maximize: bool = false, ANY;
}

config! {
    /// AdamW: `torch.optim.AdamW`, Adam with decoupled weight decay.
    ///
    /// ```text
    /// p ← (1 - lr·weight_decay)·p
    /// m ← beta_1·m + (1 - beta_1)·g,   v ← beta_2·v + (1 - beta_2)·g²
    /// p ← p - lr · m/(1 - beta_1^t) / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// State: `exp_avg`, `exp_avg_sq`, and `max_exp_avg_sq` with AMSGrad. Differs from burn-optim in
    /// the defaults, epsilon 1e-5 and weight decay 1e-4 there: see [`burn`](Self::burn). Source:
    /// Loshchilov & Hutter, arXiv 1711.05101; like torch, and unlike the paper, decay is multiplied
    /// by the learning rate.
    ///
    /// ```
    /// use downhill_optim::AdamWConfig;
    ///
    /// let optim = AdamWConfig::new().with_weight_decay(0.1).init();
    /// ```
    AdamWConfig, "adamw" {
        learning_rate: 1e-3,
        state: "2n, 3n with amsgrad",
        paper: "Loshchilov & Hutter, arXiv 1711.05101",
        description: "adam with decoupled weight decay",
    }
    /// Decay of the mean of the gradient, in `[0, 1)`. Default: 0.9.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square, in `[0, 1)`. Default: 0.999.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root, above 0. Default: 1e-8.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Decoupled weight decay, at least 0. Default: 1e-2.
    weight_decay, with_weight_decay: f64 = 1e-2, NOT_NEGATIVE;
    /// Whether to divide by the largest second moment seen (arXiv 1904.09237). Default: false.
    amsgrad, with_amsgrad: bool = false, ANY;
    /// Whether to climb instead. Default: false.
    maximize, with_maximize: bool = false, ANY;
}

fn optimizer(rule: Adam, decay: WeightDecay, amsgrad: bool, maximize: bool) -> RuleOptimizer {
    match amsgrad {
        true => adjusted(AmsGrad(rule), decay, maximize),
        false => adjusted(rule, decay, maximize),
    }
}

impl AdamConfig {
    /// burn-optim's defaults: epsilon 1e-5.
    pub fn burn() -> Self {
        Self::new().with_epsilon(1e-5)
    }

    fn rule(&self) -> Result<RuleOptimizer, ConfigError> {
        let rule = Adam {
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
        };
        let decay = WeightDecay::Coupled(self.weight_decay);
        Ok(optimizer(rule, decay, self.amsgrad, self.maximize))
    }
}

impl AdamWConfig {
    /// burn-optim's defaults: epsilon 1e-5, weight decay 1e-4.
    pub fn burn() -> Self {
        Self::new().with_epsilon(1e-5).with_weight_decay(1e-4)
    }

    fn rule(&self) -> Result<RuleOptimizer, ConfigError> {
        let rule = Adam {
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
        };
        let decay = WeightDecay::Decoupled(self.weight_decay);
        Ok(optimizer(rule, decay, self.amsgrad, self.maximize))
    }
}
