use crate::checkpoint::CheckpointError;

/// Why a state dictionary is not taken up, or not written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PyTorchError {
    /// A file that cannot be read, or is none of PyTorch's.
    #[error("{file} cannot be read: {reason}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that has something else.
    #[error("{file} has no state dictionary of an optimizer: {reason}")]
    Other {
        /// The file.
        file: String,
        /// What is missing.
        reason: String,
    },
    /// A file that cannot be written.
    #[error("{file} cannot be written: {reason}")]
    Written {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// Other parameters than the model has.
    #[error(
        "PyTorch's optimizer has {found} parameters, and here are {expected}; \
         `with_order` says which of the model's they are"
    )]
    Count {
        /// How many there are here.
        expected: usize,
        /// How many are in the file.
        found: usize,
    },
    /// Several groups, of which the file does not say what is in them.
    #[error(
        "PyTorch's optimizer has {groups} groups, whose parameters it counts group by group, and the file has no names: \
         say with `with_order` which they are"
    )]
    Order {
        /// How many groups there are.
        groups: usize,
    },
    /// A state that does not fit its parameter.
    #[error("the state of parameter {place} does not fit `{path}`: {reason}")]
    State {
        /// Its place in PyTorch's optimizer.
        place: usize,
        /// The parameter's path.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A state here that PyTorch cannot go on from.
    #[error("the state of `{path}` cannot be written for PyTorch: {reason}")]
    Here {
        /// The parameter's path.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A state that the optimizer does not take up.
    #[error(transparent)]
    Refused(#[from] CheckpointError),
}
