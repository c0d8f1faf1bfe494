use downhill_rule::{Momentum, Sgd};

use super::{adjusted, decay};
use crate::config::config;
use crate::{ConfigError, RuleOptimizer};

config! {
    /// Gradient descent, with or without momentum: `torch.optim.SGD`.
    ///
    /// ```text
    /// b = g                                    first step
    /// b = momentum·b + (1 - dampening)·g       later steps
    /// u = g,  or b with momentum,  or g + momentum·b with Nesterov
    /// p ← p - lr·u
    /// ```
    ///
    /// State with momentum: `momentum_buffer`. Differs from burn-optim's `SgdConfig` in its
    /// defaults: see [`burn`](Self::burn). Source: Polyak (1964); Nesterov (1983); Sutskever et al.,
    /// ICML 2013.
    ///
    /// ```
    /// use downhill_optim::SgdConfig;
    ///
    /// let optim = SgdConfig::new().with_momentum(0.9).with_nesterov(true).init();
    /// ```
    SgdConfig, "sgd" {
        learning_rate: 1e-2,
        state: "0, with momentum n",
        paper: "Robbins & Monro 1951; Polyak 1964",
        description: "gradient descent, with momentum, Nesterov momentum or the velocity form",
    }
    /// Share of the buffer that is kept, in `[0, 1)`; 0 is plain descent. Default: 0.
    momentum, with_momentum: f64 = 0.0, DECAY;
    /// Share of the gradient that is left out of the buffer after the first step, in `[0, 1)`.
    /// Default: 0.
    dampening, with_dampening: f64 = 0.0, DECAY;
    /// Whether to look ahead along the buffer. Default: false.
    nesterov, with_nesterov: bool = false, ANY;
    /// Weight decay, at least 0. Default: 0.
    weight_decay, with_weight_decay: f64 = 0.0, NOT_NEGATIVE;
    /// Whether decay shrinks the parameter by `lr·weight_decay` instead of being added to the
    /// gradient. Default: false.
    decoupled_weight_decay, with_decoupled_weight_decay: bool = false, ANY;
    /// Whether to climb instead. Default: false.
    maximize, with_maximize: bool = false, ANY;
    /// Whether the learning rate stands inside the buffer, `b = momentum·b + lr·g`, `p ← p - b`
    /// (Sutskever, Keras): another path when the learning rate changes. Default: false.
    velocity, with_velocity: bool = false, ANY;
}

impl SgdConfig {
    /// burn-optim's `SgdConfig` with its `MomentumConfig`: momentum 0.9, dampening 0.1.
    pub fn burn() -> Self {
        Self::new().with_momentum(0.9).with_dampening(0.1)
    }

    fn rule(&self) -> Result<RuleOptimizer, ConfigError> {
        let conflict = |reason| {
            Err(ConfigError::Conflict {
                optimizer: Self::NAME,
                reason,
            })
        };
        let decay = decay(self.weight_decay, self.decoupled_weight_decay);
        if self.momentum == 0.0 {
            if self.nesterov || self.velocity || self.dampening != 0.0 {
                return conflict(
                    "`nesterov`, `velocity` and `dampening` need a `momentum` above 0",
                );
            }
            return Ok(adjusted(Sgd, decay, self.maximize));
        }
        if self.nesterov && self.dampening != 0.0 {
            return conflict("`nesterov` needs a `dampening` of 0");
        }
        if self.velocity && self.dampening != 0.0 {
            return conflict("the `velocity` form has no `dampening`: it must be 0");
        }
        let rule = Momentum {
            momentum: self.momentum,
            dampening: self.dampening,
            nesterov: self.nesterov,
            velocity: self.velocity,
        };
        Ok(adjusted(rule, decay, self.maximize))
    }
}
