//! The shapes: one file each.

mod constant;
mod cosine;
mod cosine_restarts;
mod cyclic;
mod exponential;
mod inverse_sqrt;
mod linear;
mod multi_step;
mod noam;
mod one_cycle;
mod piecewise;
mod polynomial;
mod rex;
mod step;
mod wsd;

pub use constant::ConstantConfig;
pub use cosine::CosineConfig;
pub use cosine_restarts::CosineRestartsConfig;
pub use cyclic::{CyclicConfig, CyclicMode};
pub use exponential::ExponentialConfig;
pub use inverse_sqrt::InverseSqrtConfig;
pub use linear::LinearConfig;
pub use multi_step::MultiStepConfig;
pub use noam::NoamConfig;
pub use one_cycle::{Anneal, OneCycleBoundaries, OneCycleConfig};
pub use piecewise::{Interpolation, PiecewiseConfig};
pub use polynomial::PolynomialConfig;
pub use rex::RexConfig;
pub use step::StepConfig;
pub use wsd::{DecayShape, WsdConfig, WsdRepeatedConfig};
