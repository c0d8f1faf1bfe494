use downhill_rule::{CenteredRmsProp, Epsilon, HeavyBall, RmsProp, WeightDecay};

use super::adjusted;
use crate::config::config;
use crate::{ConfigError, RuleOptimizer};

config! {
    /// RMSprop: `torch.optim.RMSprop`.
    ///
    /// ```text
    /// v ← alpha·v + (1 - alpha)·g²
    /// u = g/(sqrt(v) + epsilon);   centered: sqrt(max(v - m², 0)), m ← alpha·m + (1 - alpha)·g
    /// b ← momentum·b + u;   p ← p - lr·b
    /// ```
    ///
    /// State: `square_avg`, `grad_avg` if centered, `momentum_buffer` with momentum. The variance is
    /// clamped at 0, so that a constant gradient never gives a NaN. Differs from burn-optim, whose
    /// default has momentum 0.9: see [`burn`](Self::burn). Source: Tieleman & Hinton, Coursera
    /// lecture 6.5 (2012); Graves, arXiv 1308.0850.
    ///
    /// ```
    /// use downhill_optim::RmsPropConfig;
    ///
    /// let optim = RmsPropConfig::new().with_centered(true).init();
    /// ```
    RmsPropConfig, "rmsprop" {
        learning_rate: 1e-2,
        state: "n, 2n centered, n more with momentum",
        paper: "Tieleman & Hinton 2012; Graves, arXiv 1308.0850",
        description: "the gradient over a running root mean square of itself",
    }
    /// Decay of the mean square, in `[0, 1)`. Default: 0.99.
    alpha, with_alpha: f64 = 0.99, DECAY;
    /// Keeps the root away from zero, above 0. Default: 1e-8.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
    /// Whether `epsilon` is added under the root, as in optax and Keras. Default: false.
    epsilon_inside_root, with_epsilon_inside_root: bool = false, ANY;
    /// Whether to divide by the standard deviation instead of the root mean square. Default: false.
    centered, with_centered: bool = false, ANY;
    /// Share of the last update that is kept, in `[0, 1)`. Default: 0.
    momentum, with_momentum: f64 = 0.0, DECAY;
    /// L2 weight decay, added to the gradient, at least 0. Default: 0.
    weight_decay, with_weight_decay: f64 = 0.0, NOT_NEGATIVE;
    /// Whether to climb instead. Default: false.
    maximize, with_maximize: bool = false, ANY;
}

impl RmsPropConfig {
    /// burn-optim's defaults: epsilon 1e-5, momentum 0.9.
    pub fn burn() -> Self {
        Self::new().with_epsilon(1e-5).with_momentum(0.9)
    }

    fn rule(&self) -> Result<RuleOptimizer, ConfigError> {
        let rule = RmsProp {
            alpha: self.alpha,
            epsilon: match self.epsilon_inside_root {
                true => Epsilon::inside(self.epsilon),
                false => Epsilon::outside(self.epsilon),
            },
        };
        let centered = CenteredRmsProp(rule);
        let momentum = self.momentum;
        let decay = WeightDecay::Coupled(self.weight_decay);
        Ok(match (self.centered, momentum == 0.0) {
            (false, true) => adjusted(rule, decay, self.maximize),
            (true, true) => adjusted(centered, decay, self.maximize),
            (false, false) => adjusted(HeavyBall { rule, momentum }, decay, self.maximize),
            (true, false) => {
                let rule = HeavyBall {
                    rule: centered,
                    momentum,
                };
                adjusted(rule, decay, self.maximize)
            }
        })
    }
}
