use downhill_rule::{AdaGrad, Epsilon, WeightDecay};

use super::adjusted;
use crate::config::config;
use crate::{ConfigError, RuleOptimizer};

config! {
    /// AdaGrad: `torch.optim.Adagrad`; [`optax`](Self::optax) for the form of optax and Keras.
    ///
    /// ```text
    /// s ← s + g²
    /// p ← p - lr/(1 + (t - 1)·lr_decay) · g/(sqrt(s) + epsilon)
    /// ```
    ///
    /// State: `sum`. Source: Duchi, Hazan & Singer, JMLR 12 (2011).
    ///
    /// ```
    /// use downhill_optim::AdaGradConfig;
    ///
    /// let optim = AdaGradConfig::new().with_lr_decay(1e-3).init();
    /// ```
    AdaGradConfig, "adagrad" {
        learning_rate: 1e-2,
        state: "n",
        paper: "Duchi, Hazan & Singer, JMLR 12 (2011)",
        description: "each element's rate falls with the sum of its squared gradients",
    }
    /// How fast the learning rate falls with the step count, at least 0. Default: 0.
    lr_decay, with_lr_decay: f64 = 0.0, NOT_NEGATIVE;
    /// The sum before the first step, at least 0. Default: 0.
    initial_accumulator_value, with_initial_accumulator_value: f64 = 0.0, NOT_NEGATIVE;
    /// Keeps the root away from zero, above 0. Default: 1e-10.
    epsilon, with_epsilon: f64 = 1e-10, POSITIVE;
    /// Whether `epsilon` is added under the root, as in optax and Keras. Default: false.
    epsilon_inside_root, with_epsilon_inside_root: bool = false, ANY;
    /// L2 weight decay, added to the gradient, at least 0. Default: 0.
    weight_decay, with_weight_decay: f64 = 0.0, NOT_NEGATIVE;
    /// Whether to climb instead. Default: false.
    maximize, with_maximize: bool = false, ANY;
}

impl AdaGradConfig {
    /// burn-optim's defaults: epsilon 1e-5.
    pub fn burn() -> Self {
        Self::new().with_epsilon(1e-5)
    }

    /// optax's and Keras's form and defaults: the sum starts at 0.1, epsilon 1e-7 under the root.
    pub fn optax() -> Self {
        Self::new()
            .with_initial_accumulator_value(0.1)
            .with_epsilon(1e-7)
            .with_epsilon_inside_root(true)
    }

    fn rule(&self) -> Result<RuleOptimizer, ConfigError> {
        let rule = AdaGrad {
            lr_decay: self.lr_decay,
            initial_accumulator_value: self.initial_accumulator_value,
            epsilon: match self.epsilon_inside_root {
                true => Epsilon::inside(self.epsilon),
                false => Epsilon::outside(self.epsilon),
            },
        };
        let decay = WeightDecay::Coupled(self.weight_decay);
        Ok(adjusted(rule, decay, self.maximize))
    }
}
