use std::path::PathBuf;

use super::{FORMAT, Mismatch};
use crate::exchange::ExchangeError;
use crate::report::listed;
use crate::{BindError, ParamPath};

/// Why a checkpoint cannot be written, read or gone on from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file system.
    #[error("{} {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
    /// A folder into which another training saves.
    #[error(
        "another training saves its checkpoints into {}: give each a folder of its own, or end the other first",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// Another kind of file.
    #[error("it is not a checkpoint: {reason}")]
    NotACheckpoint {
        /// How one can tell.
        reason: String,
    },
    /// The end is missing.
    #[error(
        "it ends after {bytes} bytes, without the mark at the end of a checkpoint: it was cut off"
    )]
    Truncated {
        /// How long it is.
        bytes: u64,
    },
    /// A byte is not what was written.
    #[error("it is damaged: {what}")]
    Damaged {
        /// Where.
        what: String,
    },
    /// Another version of the format.
    #[error("it has the format {found}, and this version reads {FORMAT}")]
    Format {
        /// Its format.
        found: u32,
    },
    /// More than can be read back.
    #[error("the checkpoint would be too large: {reason}")]
    TooLarge {
        /// What there is too much of.
        reason: String,
    },
    /// Tensors of the model that are not in the file.
    #[error("it has nothing for {}", listed(paths.iter()))]
    Missing {
        /// Their paths.
        paths: Vec<ParamPath>,
    },
    /// Tensors in the file that the model does not have.
    #[error("the model does not have {}, which it has", listed(names.iter()))]
    Unexpected {
        /// Their names in the file.
        names: Vec<String>,
    },
    /// A tensor of another shape or precision.
    #[error("{0}")]
    Mismatch(Box<Mismatch>),
    /// Another setting than the driver has.
    #[error("it was made with another {what}: {found}, and here it is {expected}")]
    OtherSetting {
        /// Which.
        what: String,
        /// What the driver has.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// A state that the optimizer does not take.
    #[error("the optimizer's state of `{path}` cannot be taken up: {reason}")]
    State {
        /// The parameter's path.
        path: String,
        /// Why.
        reason: String,
    },
    /// The scheduler does not go on from its record.
    #[error("the learning rate's scheduler does not go on: {reason}")]
    Scheduler {
        /// What it says.
        reason: String,
    },
    /// Records that no checkpoint can be made of.
    #[error("no checkpoint can be made of these records: {reason}")]
    Records {
        /// Why.
        reason: String,
    },
    /// A record that does not count.
    #[error(
        "the optimizer's record does not say how many updates were made: their number has to be given"
    )]
    UnknownUpdates,
    /// Ranks that train by themselves, and are not together.
    #[error(
        "ranks that train by themselves can save what they have when they have met, after every {every} updates; \
         {done} were made since"
    )]
    Apart {
        /// The updates since they have met.
        done: u32,
        /// After how many they meet.
        every: u32,
    },
    /// Another rank that cannot do its part.
    #[error("rank {rank} cannot save: {reason}")]
    Rank {
        /// The first of them.
        rank: usize,
        /// Why.
        reason: String,
    },
    /// Ranks that did not come together.
    #[error("what the ranks have did not come together: {0}")]
    Exchange(#[from] ExchangeError),
    /// The model is not the one that the driver is bound to.
    #[error(transparent)]
    Bind(#[from] BindError),
}
