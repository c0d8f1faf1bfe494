//! Optimizers of a popular slide deck, exactly as printed there, beside the published ones: to
//! compare, not to train with. What goes wrong is in [`downhill_rule::slides`].

use downhill_rule::slides;

use crate::config::config;
use crate::{ConfigError, RuleOptimizer};

config! {
    /// The deck's momentum (slide 3): the velocity form, with the learning rate inside the buffer.
    ///
    /// ```text
    /// velocity ← momentum·velocity - lr·g,   p ← p + velocity
    /// ```
    ///
    /// It is right, and equal to [`SgdConfig`](crate::SgdConfig) with `velocity`; only its state has
    /// the other sign. State: `velocity`.
    ///
    /// ```
    /// use downhill_optim::slides::MomentumConfig;
    ///
    /// let optim = MomentumConfig::new().init();
    /// ```
    MomentumConfig, "slides_momentum" {
        learning_rate: 1e-2,
        state: "n",
        paper: "slide 3; Sutskever et al., ICML 2013",
        description: "the deck's momentum, the learning rate inside the velocity",
    }
    /// Share of the velocity that is kept, in `[0, 1)`. Default: 0.9.
    momentum, with_momentum: f64 = 0.9, DECAY;
}

config! {
    /// The deck's NAdam (slide 11), which corrects the first moment's bias twice.
    ///
    /// ```text
    /// m_bar = (beta_1·m/(1 - beta_1^t) + (1 - beta_1)·g) / (1 - beta_1^t)
    /// p ← p - lr·m_bar / (sqrt(v/(1 - beta_2^t)) + epsilon)
    /// ```
    ///
    /// For a constant gradient the first steps are 10, 5.26, 3.69, 2.44 (t = 5) learning rates long;
    /// the published form's are 1.47, 1.16, 1.08, 1.03. State: `exp_avg`, `exp_avg_sq`.
    ///
    /// ```
    /// use downhill_optim::slides::NAdamConfig;
    ///
    /// let optim = NAdamConfig::new().init();
    /// ```
    NAdamConfig, "slides_nadam" {
        learning_rate: 1e-3,
        state: "2n",
        paper: "slide 11",
        description: "the deck's nadam: the bias is corrected twice, so the first steps are 10 times too long",
    }
    /// Decay of the mean of the gradient, in `[0, 1)`. Default: 0.9.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the mean of its square, in `[0, 1)`. Default: 0.999.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the root, above 0. Default: 1e-8.
    epsilon, with_epsilon: f64 = 1e-8, POSITIVE;
}

config! {
    /// The deck's AdaFactor (slide 10), without the factor `sqrt(mean(row))`, bias correction and
    /// clipping.
    ///
    /// ```text
    /// u = g · outer(1/sqrt(row + epsilon_1), 1/sqrt(col + epsilon_1))
    /// u = g / (sqrt(v) + epsilon_2)                                     vectors
    /// p ← p - lr·u
    /// ```
    ///
    /// The direction is proportional to 1/g: unit gradients in a 64×32 matrix move it by 994 learning
    /// rates at the first step, gradients of 1e-2 by 1e5, of 1e4 by 0.1. State: `row` and `col`, or
    /// `v`. The deck has matrices and vectors; here the last two dimensions of any rank are factored.
    ///
    /// ```
    /// use downhill_optim::slides::AdaFactorConfig;
    ///
    /// let optim = AdaFactorConfig::new().init();
    /// ```
    AdaFactorConfig, "slides_adafactor" {
        learning_rate: 1e-2,
        state: "r + c, n for vectors",
        paper: "slide 10",
        description: "the deck's adafactor: the smaller the gradient, the longer the step",
    }
    /// Decay of the second moment, in `[0, 1)`. Default: 0.999.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Added to the factors, above 0. Default: 1e-30.
    epsilon_1, with_epsilon_1: f64 = 1e-30, POSITIVE;
    /// Added to the root of a vector's second moment, above 0. Default: 1e-3.
    epsilon_2, with_epsilon_2: f64 = 1e-3, POSITIVE;
}

impl MomentumConfig {
    fn rule(&self) -> Result<RuleOptimizer, ConfigError> {
        Ok(RuleOptimizer::new(slides::Momentum {
            momentum: self.momentum,
        }))
    }
}

impl NAdamConfig {
    fn rule(&self) -> Result<RuleOptimizer, ConfigError> {
        Ok(RuleOptimizer::new(slides::NAdam {
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
        }))
    }
}

impl AdaFactorConfig {
    fn rule(&self) -> Result<RuleOptimizer, ConfigError> {
        Ok(RuleOptimizer::factored(slides::AdaFactor {
            beta_2: self.beta_2,
            epsilon_1: self.epsilon_1,
            epsilon_2: self.epsilon_2,
        }))
    }
}
