//! For whoever steps a whole model: what a driver can tell the optimizers of this library for one
//! step, what it can ask them, and the passes over memory that it needs itself.
//!
//! Burn hands an optimizer a rate, a parameter, a gradient and a state, and nothing else. A driver that
//! clips across the model has one more number, the factor on the gradient, and it would cost a pass
//! over every gradient to apply it beforehand. [`directed`] brings it to the pass that there is
//! anyway; optimizers that are not of this library do not see it, and [`probe`] tells them apart.
//!
//! ```
//! use burn::optim::Optimizer;
//! use burn::tensor::{Device, Tensor};
//! use downhill_optim::SgdConfig;
//! use downhill_optim::drive::{Directive, Directives, directed};
//!
//! # let device = Device::default();
//! let (param, grad) = (Tensor::<1>::ones([2], &device), Tensor::ones([2], &device));
//! let half = Directive { grad_scale: 0.5, ..Directive::default() };
//! let (param, _) = directed(Directives::All(half), || {
//!     SgdConfig::new().build().step(1.0, param, grad, None)
//! });
//! assert_eq!(param.into_data().to_vec::<f32>()?, [0.5, 0.5]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod coefficient;
mod directive;
mod layers;
mod lerp;
mod measure;
mod model;
mod names;
mod place;

pub use coefficient::Coefficient;
pub use directive::{
    Directive, Directives, Failures, Probed, directed, evaluating, looking, probe,
};
pub(crate) use directive::{Question, Task, begin, record, record_look};
pub use layers::{OfLayer, layers};
pub use lerp::lerp;
pub use measure::{
    Examined, Joined, Measure, Pair, Unfit, Unmeasured, examine, join, measure, measure_all,
};
pub(crate) use model::{Looked, LookedSums};
pub use model::{ModelState, Seen, ToldOfModel};
pub use names::StateNames;
pub use place::{Place, memory_order};

pub use super::optimizer::StateMismatch;
pub use super::state::{detached, state_dtype};
pub use crate::pass::Squares;
pub use crate::program::{Driven, Named};
