use core::time::Duration;

/// Why a collective did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// Ranks that do different things.
    #[error("rank {rank} makes another call: {theirs}, where this rank makes {ours}")]
    Mismatch {
        /// The first rank whose call is another than this one's.
        rank: usize,
        /// Its call.
        theirs: String,
        /// This rank's.
        ours: String,
    },
    /// A rank that has ended, or has given up its handle, before the others.
    #[error("rank {rank} has left")]
    Lost {
        /// Which.
        rank: usize,
    },
    /// Ranks that do not come.
    #[error("waited {waited:.1?} for {}", listed(missing))]
    Timeout {
        /// How long.
        waited: Duration,
        /// The ranks that were still missing.
        missing: Vec<usize>,
    },
    /// A root that there is not.
    #[error("the root {root} is not one of {size} ranks, which count from 0")]
    Root {
        /// The root.
        root: usize,
        /// The number of ranks.
        size: usize,
    },
    /// A transport that cannot be started.
    #[error("cannot start: {reason}")]
    Init {
        /// Why.
        reason: String,
    },
    /// A transport that does not do what it should, or a message that it cannot carry.
    #[error("{reason}")]
    Transport {
        /// What is wrong.
        reason: String,
    },
}

fn listed(ranks: &[usize]) -> String {
    let names: Vec<String> = ranks.iter().map(usize::to_string).collect();
    match ranks {
        [_] => format!("rank {}", names.join("")),
        _ => format!("ranks {}", names.join(", ")),
    }
}
