use core::fmt;

use burn::optim::GradientsParams;

use crate::ParamPath;
use crate::exchange::ExchangeError;
use crate::groups::GroupError;
use crate::params::ModuleError;
use crate::report::{NonFiniteGradient, listed};
use crate::setting::OutOfRange;

/// Why a driver cannot be bound to a model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The model cannot be trained parameter by parameter.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// Something about the groups.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A setting outside its range.
    #[error(transparent)]
    Setting(#[from] OutOfRange),
    /// An optimizer that cannot step a parameter.
    #[error("the optimizer refuses `{path}`: {reason}")]
    Refused {
        /// The parameter's path.
        path: ParamPath,
        /// What it says.
        reason: String,
    },
    /// A state in the optimizer that does not fit its parameter.
    #[error("the optimizer's state of `{path}` cannot be used: {reason}")]
    State {
        /// The parameter's path.
        path: ParamPath,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting that the optimizer of a parameter does not let a driver give.
    #[error(
        "the {what} of `{path}` cannot be driven: its optimizer has none that it lets a driver give \
         (those of this library with such a setting do)"
    )]
    NotDriven {
        /// The parameter's path.
        path: ParamPath,
        /// The setting.
        what: String,
    },
    /// Two names for one number.
    #[error("{what} of `{path}` is driven twice, by two names")]
    DrivenTwice {
        /// The parameter's path.
        path: ParamPath,
        /// The setting.
        what: String,
    },
    /// A learning rate that changes, and does nothing.
    #[error(
        "a learning rate that changes would do nothing to `{path}`: its optimizer takes no rate, or only that \
         of the first step; give it a constant one"
    )]
    RateIgnored {
        /// The parameter's path.
        path: ParamPath,
    },
    /// A learning rate that is no scheduler of Burn's kind, or something else that burn-train does itself.
    #[error("{what} cannot be given to burn-train: {reason}")]
    LearnerRate {
        /// Which.
        what: String,
        /// Why.
        reason: String,
    },
    /// A parameter that the driver does not know.
    #[error("the driver was bound to a model without `{path}`")]
    Unknown {
        /// The path.
        path: ParamPath,
    },
    /// A parameter of another shape or precision than the driver was bound to.
    #[error("`{path}` is {found}, and the driver was bound to {expected}")]
    Changed {
        /// The path.
        path: ParamPath,
        /// Shape and precision that the driver knows.
        expected: String,
        /// Shape and precision in the model.
        found: String,
    },
    /// Something that was chosen by an id which the model has not kept.
    #[error(
        "the {what} of `{path}` was chosen by the parameter's id, and here it has another one: choose by path \
         (`ParamGroup::from_path`)"
    )]
    ChosenById {
        /// The parameter's path.
        path: ParamPath,
        /// What it would lose.
        what: &'static str,
    },
    /// A rank that has another model or other settings.
    #[error("rank {rank} differs in {what}: it has {theirs}, and this rank {ours}")]
    Rank {
        /// The first rank that differs from this one.
        rank: usize,
        /// The first thing in which it does.
        what: String,
        /// What it has.
        theirs: String,
        /// What this rank has.
        ours: String,
    },
    /// Ranks that could not be compared.
    #[error("the ranks could not be compared: {0}")]
    Exchange(#[from] ExchangeError),
    /// Two things that a driver cannot do together.
    #[error("{first} cannot be used together with {second}")]
    Together {
        /// The one.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Something that is done with other ranks, of which there are none.
    #[error("{what} are for several ranks: see `with_exchange`")]
    NoRanks {
        /// What.
        what: &'static str,
    },
    /// An outer optimizer that cannot be one.
    #[error("the outer optimizer of the local updates cannot be used: {reason}")]
    OuterOptimizer {
        /// Why.
        reason: String,
    },
    /// States of parameters that the model does not have.
    #[error("the model has no parameter `{path}`, which the driver was bound to")]
    Lost {
        /// The path.
        path: ParamPath,
    },
}

/// Why a step was not made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepCause {
    /// Another model than the driver was bound to.
    #[error(
        "this is not the model that the driver was bound to: {reason}; `rebind` goes over to another one \
         of the same structure"
    )]
    OtherModel {
        /// What differs.
        reason: String,
    },
    /// A gradient of another shape than its parameter.
    #[error("the gradient of `{path}` has the shape {found:?}, and the parameter {expected:?}")]
    GradientShape {
        /// The parameter's path.
        path: ParamPath,
        /// The parameter's shape.
        expected: Vec<usize>,
        /// The gradient's.
        found: Vec<usize>,
    },
    /// A gradient with another number of dimensions than its parameter.
    ///
    /// Burn's container of gradients panics when it is asked for one in the wrong rank, and cannot be asked
    /// which it has: the panic is caught, but its message is printed, and a program that is built with
    /// `panic = "abort"` ends.
    #[error("the gradient of `{path}` has not {expected} dimensions, as the parameter has")]
    GradientRank {
        /// The parameter's path.
        path: ParamPath,
        /// The parameter's number of dimensions.
        expected: usize,
    },
    /// A gradient that is itself on an autodiff device, which optimizers do not take.
    #[error("the gradient of `{path}` is on an autodiff device: register its `inner()`")]
    GradientAutodiff {
        /// The parameter's path.
        path: ParamPath,
    },
    /// A gradient of a parameter that did not require one when the driver was bound.
    #[error(
        "`{path}` did not require gradients when the driver was bound, so no group and no optimizer was \
         found for it: bind the driver while it does, and freeze it afterwards"
    )]
    Thawed {
        /// The parameter's path.
        path: ParamPath,
    },
    /// Gradients that are of no parameter.
    #[error(
        "{count} of the gradients belong to no parameter of the model: take them with \
         `GradientsParams::from_grads(grads, &model)`"
    )]
    UnknownGradients {
        /// How many.
        count: usize,
    },
    /// Gradients or a loss that are not finite.
    #[error("{}", not_finite(gradients, *loss))]
    NonFinite {
        /// The parameters, with the number of elements.
        gradients: Vec<NonFiniteGradient>,
        /// The loss, if it is not finite.
        loss: Option<f64>,
    },
    /// More updates in a row had to be left out than is allowed.
    #[error("{count} updates in a row were not finite ({max} may be skipped): {}", not_finite(gradients, *loss))]
    TooManySkips {
        /// How many, this one included.
        count: u32,
        /// How many may be skipped.
        max: u32,
        /// The parameters of the last one.
        gradients: Vec<NonFiniteGradient>,
        /// The loss of the last one, if it is not finite.
        loss: Option<f64>,
    },
    /// A setting outside its range at this step.
    #[error("at step {step}: {error}")]
    Setting {
        /// The update, counted from 0.
        step: u64,
        /// What is wrong.
        error: OutOfRange,
    },
    /// A micro-batch whose weight cannot be one.
    #[error(transparent)]
    Weight(OutOfRange),
    /// A micro-batch without its loss, which an optimizer needs.
    #[error(
        "the optimizer needs the loss of each micro-batch: give it with `MicroBatch::with_loss`"
    )]
    NoLoss,
    /// Another rank that does not make this step.
    #[error("rank {rank} does not make this step: {reason}")]
    Rank {
        /// The first of them.
        rank: usize,
        /// Why.
        reason: String,
    },
    /// Gradients that did not come together.
    #[error("the gradients of the ranks did not come together: {0}")]
    Exchange(#[from] ExchangeError),
    /// A single gradient for a driver with SAM.
    #[error("the driver was built with SAM, which needs gradients at two places: use `step_sam`")]
    OneGradient,
}

fn not_finite(gradients: &[NonFiniteGradient], loss: Option<f64>) -> String {
    let gradients = match gradients {
        [] => None,
        list => Some(format!("gradients are not finite: {}", listed(list.iter()))),
    };
    let loss = loss.map(|loss| format!("the loss is {loss}"));
    let parts: Vec<String> = loss.into_iter().chain(gradients).collect();
    parts.join("; ")
}

/// A step that was not made: the model and the gradients as they came in, and why. Nothing in the
/// driver has changed; but if ranks do not come together after each has made a part of it, see
/// [`with_sharded_state`](crate::DriverBuilder::with_sharded_state) and
/// [`with_local_updates`](crate::DriverBuilder::with_local_updates).
///
/// `?` works where the error may be any; [`into_cause`](Self::into_cause) leaves the model behind and
/// can be sent between threads.
pub struct StepError<M> {
    /// The model.
    pub model: M,
    /// The gradients.
    pub grads: GradientsParams,
    /// What was wrong.
    pub cause: StepCause,
}

impl<M> StepError<M> {
    /// What was wrong, without the model.
    pub fn into_cause(self) -> StepCause {
        self.cause
    }
}

/// A model that is handed back, because what was to be done with it was not.
pub struct Rejected<M, E> {
    /// The model, as it was.
    pub model: M,
    /// What was wrong.
    pub cause: E,
}

impl<M, E> Rejected<M, E> {
    /// What was wrong, without the model.
    pub fn into_cause(self) -> E {
        self.cause
    }
}

// By hand, because a model need not be printed to say what was wrong.

impl<M> fmt::Debug for StepError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepError")
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl<M> fmt::Display for StepError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl<M> core::error::Error for StepError<M> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.cause.source()
    }
}

impl<M, E: fmt::Debug> fmt::Debug for Rejected<M, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl<M, E: fmt::Display> fmt::Display for Rejected<M, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl<M, E: core::error::Error> core::error::Error for Rejected<M, E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.cause.source()
    }
}
