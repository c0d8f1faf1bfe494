//! The deck's optimizers by the names it gives them.

use downhill_optim::{
    AdaGradConfig, AdafactorConfig, AdamConfig, NAdamConfig, OptimizerConfig, RmsPropConfig,
    SgdConfig,
};

/// An optimizer that was asked for.
#[derive(Clone)]
pub struct Choice {
    pub name: &'static str,
    pub config: OptimizerConfig,
    /// The deck's default, or the library's where the deck has no such optimizer.
    #[allow(dead_code)] // where one rate is for all
    pub lr: f64,
}

impl Choice {
    fn new(name: &'static str, config: impl Into<OptimizerConfig>, lr: f64) -> Self {
        Self {
            name,
            config: config.into(),
            lr,
        }
    }

    /// Those of slide 13, and RMSprop and AdaGrad of slides 5 and 4: what the deck means, with its
    /// settings.
    pub fn deck() -> [Self; 7] {
        [
            Self::new("sgd", SgdConfig::new(), 0.01),
            Self::new("momentum", SgdConfig::new().with_momentum(0.9), 0.01),
            Self::new("adam", AdamConfig::new(), 0.001),
            // The form without a schedule of the momentum, as the deck's.
            Self::new("nadam", NAdamConfig::optax(), 0.001),
            Self::new("adafactor", AdafactorConfig::paper(), 0.01),
            Self::new("rmsprop", RmsPropConfig::new().with_alpha(0.9), 0.01),
            Self::new("adagrad", AdaGradConfig::new().with_epsilon(1e-8), 0.01),
        ]
    }

    pub fn by_name(name: &str) -> Result<Self, String> {
        if let Some(choice) = Self::deck().into_iter().find(|choice| choice.name == name) {
            return Ok(choice);
        }
        let config = OptimizerConfig::by_name(name).map_err(|error| error.to_string())?;
        Ok(Self::new(
            config.name(),
            config.clone(),
            config.default_learning_rate(),
        ))
    }

    /// The part of `--help` about them, with their learning rates or without.
    pub fn help(with_rates: bool) -> String {
        let mut lines = Vec::new();
        for choice in Self::deck() {
            let about = match choice.name {
                "sgd" => "gradient descent (slides 1 and 2)",
                "momentum" => "0.9 (slide 3)",
                "adagrad" => "epsilon 1e-8 (slide 4)",
                "rmsprop" => "decay 0.9 (slide 5)",
                "adam" => "(slide 6)",
                "adafactor" => "the paper's, not slide 10's",
                _ => "slide 11's, with each bias corrected once",
            };
            lines.push((choice.name, choice.lr, about));
        }
        for info in OptimizerConfig::all() {
            if lines.iter().all(|(name, ..)| *name != info.name) {
                lines.push((info.name, info.default_learning_rate, ""));
            }
        }
        let mut help = String::from("Optimizers, and the settings of the deck's:\n");
        for (name, lr, about) in lines {
            let lr = if with_rates {
                format!("{lr:<7}")
            } else {
                String::new()
            };
            help += format!("  {name:<17}{lr}{about}").trim_end();
            help += "\n";
        }
        help
    }
}
