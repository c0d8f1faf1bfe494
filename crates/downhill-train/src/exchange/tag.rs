//! The head of each message: what its sender is doing.

use core::fmt;
use std::sync::Arc;

use super::{ExchangeError, Message};

/// Bytes of a head.
const HEAD: usize = 16;

/// Changes with the format of messages, so that ranks with different versions of this library notice.
const VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Barrier,
    SumF32,
    SumF64,
    Broadcast,
    AllGather,
    Gather,
    SumBf16,
}

const KINDS: [Kind; 7] = [
    Kind::Barrier,
    Kind::SumF32,
    Kind::SumF64,
    Kind::Broadcast,
    Kind::AllGather,
    Kind::Gather,
    Kind::SumBf16,
];

/// A collective as one rank has called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub kind: Kind,
    pub root: u32,
    /// Of elements; of a broadcast, bytes on the root.
    pub count: u64,
}

impl Tag {
    pub fn new(kind: Kind, count: usize) -> Self {
        let count = count as u64;
        Self {
            kind,
            root: 0,
            count,
        }
    }

    /// Of a call in which one rank is not as the others. One that does not fit in here is none: the ranks still have to
    /// agree on it.
    pub fn of_root(kind: Kind, root: usize, count: usize) -> Self {
        let root = u32::try_from(root).unwrap_or(u32::MAX);
        Self {
            root,
            ..Self::new(kind, count)
        }
    }

    /// A message of `bytes`.
    pub fn message(&self, bytes: &[u8]) -> Message {
        let mut message = self.head(bytes.len());
        message.extend_from_slice(bytes);
        Arc::new(message)
    }

    /// The head of a message that is going to have so many bytes.
    pub fn head(&self, bytes: usize) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEAD + bytes);
        head.extend_from_slice(&[VERSION, self.kind as u8, 0, 0]);
        head.extend_from_slice(&self.root.to_le_bytes());
        head.extend_from_slice(&self.count.to_le_bytes());
        head
    }

    /// The tag of a message from `rank`, if it is of the same call.
    pub fn same(&self, rank: usize, message: &[u8]) -> Result<Self, ExchangeError> {
        let found = Self::of(message);
        match found {
            Some(found) if self.fits(&found) => Ok(found),
            _ => Err(ExchangeError::Mismatch {
                rank,
                theirs: found.map_or_else(
                    || "one that this version of the library does not know".to_owned(),
                    |found| found.to_string(),
                ),
                ours: self.to_string(),
            }),
        }
    }

    fn of(message: &[u8]) -> Option<Self> {
        let (head, _) = message.split_first_chunk::<HEAD>()?;
        let [version, kind, _, _, r0, r1, r2, r3, count @ ..] = *head;
        let kind = *KINDS.get(usize::from(kind))?;
        (version == VERSION).then_some(Self {
            kind,
            root: u32::from_le_bytes([r0, r1, r2, r3]),
            count: u64::from_le_bytes(count),
        })
    }

    fn fits(&self, other: &Self) -> bool {
        let counted = matches!(self.kind, Kind::SumF32 | Kind::SumF64 | Kind::SumBf16);
        self.kind == other.kind
            && self.root == other.root
            && (!counted || self.count == other.count)
    }
}

/// What a message has behind its head, if that is as long as it should be.
pub(super) fn payload(
    rank: usize,
    message: &Message,
    bytes: usize,
) -> Result<&[u8], ExchangeError> {
    let found = message.get(HEAD..).unwrap_or_default();
    if found.len() == bytes {
        return Ok(found);
    }
    let found = found.len();
    Err(ExchangeError::Transport {
        reason: format!("{found} bytes came from rank {rank}, where {bytes} are due"),
    })
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, root, count } = self;
        match kind {
            Kind::Barrier => write!(f, "a barrier"),
            Kind::SumF32 => write!(f, "a sum of {count} f32"),
            Kind::SumF64 => write!(f, "a sum of {count} f64"),
            Kind::Broadcast => write!(f, "a broadcast from rank {root}"),
            Kind::AllGather => write!(f, "an all-gather"),
            Kind::Gather => write!(f, "a gather by rank {root}"),
            Kind::SumBf16 => write!(f, "a sum of {count} bf16"),
        }
    }
}
