//! Any optimizer of this library, in loops without a driver.

use burn::optim::ModuleOptimizer;
use downhill_optim::drive::{Directive, Directives, ModelState, directed};
use downhill_optim::{ConfigError, OptimizerConfig, RuleOptimizer};

/// An optimizer, and what it keeps of the whole model if it looks at that.
#[derive(Clone)]
pub struct Stepper {
    /// Burn's, around it.
    pub optimizer: ModuleOptimizer,
    of_model: Option<ModelState>,
}

impl From<ModuleOptimizer> for Stepper {
    /// One that looks at no more than a parameter.
    fn from(optimizer: ModuleOptimizer) -> Self {
        let of_model = None;
        Self {
            optimizer,
            of_model,
        }
    }
}

impl Stepper {
    /// The optimizer of a configuration.
    ///
    /// # Errors
    ///
    /// If it cannot be built.
    pub fn new(config: &OptimizerConfig) -> Result<Self, ConfigError> {
        // A bare one cannot clip, and one that clips is made with the module's optimizer.
        match config.try_build() {
            Ok(bare) if bare.looks_at_model() => Ok(Self::bare(bare)),
            _ => Ok(config.try_init()?.into()),
        }
    }

    /// An optimizer as it is.
    pub fn bare(optimizer: RuleOptimizer) -> Self {
        Self {
            of_model: ModelState::new(&optimizer),
            optimizer: optimizer.into(),
        }
    }

    /// A step of `what`; `look` and `step` make it with the same gradients, and in the first nothing moves.
    pub fn step<T>(
        &mut self,
        rate: f64,
        loss: Option<f64>,
        what: T,
        look: impl FnOnce(&mut ModuleOptimizer, T) -> T,
        step: impl FnOnce(&mut ModuleOptimizer, T) -> T,
    ) -> T {
        let directive = Directive {
            loss,
            ..Directive::default()
        };
        let optimizer = &mut self.optimizer;
        let Some(state) = &mut self.of_model else {
            return directed(Directives::All(directive), || step(optimizer, what));
        };
        let both = (optimizer, what);
        let (_, what) = state.step(
            rate,
            &directive,
            both,
            |(optimizer, what)| {
                let what = look(&mut *optimizer, what);
                (optimizer, what)
            },
            |(optimizer, what)| {
                let what = step(&mut *optimizer, what);
                (optimizer, what)
            },
        );
        what
    }
}
