mod adafactor;
mod adagrad;
mod adam;
mod nadam;
mod rmsprop;
mod sgd;
pub mod slides;

pub use adafactor::AdafactorConfig;
pub use adagrad::AdaGradConfig;
pub use adam::{AdamConfig, AdamWConfig};
pub use nadam::NAdamConfig;
pub use rmsprop::RmsPropConfig;
pub use sgd::SgdConfig;

pub use downhill_rule::{AdafactorVariant, NAdamVariant};
use downhill_rule::{Adjusted, Rule, WeightDecay};

use crate::RuleOptimizer;

/// A rule with the decay and the direction that its config asks for.
fn adjusted(rule: impl Rule, weight_decay: WeightDecay, maximize: bool) -> RuleOptimizer {
    RuleOptimizer::new(Adjusted::new(rule, weight_decay, maximize))
}

fn decay(weight_decay: f64, decoupled: bool) -> WeightDecay {
    match decoupled {
        true => WeightDecay::Decoupled(weight_decay),
        false => WeightDecay::Coupled(weight_decay),
    }
}
