//! Configurations as optimizers of Burn.

use burn::optim::ModuleOptimizer;
use serde_json::Value;

use super::{Identity, RuleOptimizer};
use crate::config::Config;
use crate::declare::Preset;
use crate::registry::OptimizerConfig;
use crate::settings::ConfigError;

impl<P: Preset> Config<P::Rule, P> {
    /// The bare optimizer, for
    /// [`ModuleOptimizer::with_group`](burn::optim::ModuleOptimizer::with_group).
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range; `grad_clipping` is one too, as a bare optimizer
    /// does not clip.
    pub fn try_build(&self) -> Result<RuleOptimizer, ConfigError> {
        OptimizerConfig::from(self.clone()).try_build()
    }

    /// The optimizer of a whole module.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn try_init(&self) -> Result<ModuleOptimizer, ConfigError> {
        OptimizerConfig::from(self.clone()).try_init()
    }

    /// [`try_build`](Self::try_build), as burn-optim's configs have it.
    ///
    /// # Panics
    ///
    /// Panics if a setting is outside its range, or if there is a `grad_clipping`.
    pub fn build(&self) -> RuleOptimizer {
        self.try_build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`try_init`](Self::try_init), as burn-optim's configs have it.
    ///
    /// # Panics
    ///
    /// Panics if a setting is outside its range.
    pub fn init(&self) -> ModuleOptimizer {
        self.try_init().unwrap_or_else(|error| panic!("{error}"))
    }
}

impl OptimizerConfig {
    /// The optimizer, whatever it is to be used for.
    fn optimizer(&self) -> Result<RuleOptimizer, ConfigError> {
        let program = self.any().try_program()?;
        let settings = Value::Object(self.any().to_map());
        let identity = Identity::new(self.name(), settings.to_string());
        let within = core::iter::successors(Some(self), |config| config.inner());
        let known = within.flat_map(Self::settings).collect();
        let optimizer = RuleOptimizer::of(program).with_settings(known);
        Ok(optimizer.with_identity(identity))
    }

    /// The bare optimizer.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range; `grad_clipping` is one too, as a bare optimizer
    /// does not clip.
    pub fn try_build(&self) -> Result<RuleOptimizer, ConfigError> {
        if self.any().grad_clipping().is_some() {
            return Err(ConfigError::Conflict {
                optimizer: self.name(),
                reason: "a bare optimizer has no `grad_clipping`: that is of a whole module's, which `init` \
                         makes"
                    .to_string(),
            });
        }
        self.optimizer()
    }

    /// The optimizer of a whole module.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn try_init(&self) -> Result<ModuleOptimizer, ConfigError> {
        let optim = ModuleOptimizer::from(self.optimizer()?);
        Ok(match self.any().grad_clipping() {
            Some(clipping) => optim.with_grad_clipping(clipping.init()),
            None => optim,
        })
    }
}
