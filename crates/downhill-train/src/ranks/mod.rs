//! The other ranks of a data-parallel training: what is told them before anything changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::bound::Bound;
use crate::error::{BindError, StepCause};
use crate::exchange::{Exchange, ExchangeError};
use crate::gradients::Seen;
use crate::report::NonFiniteGradient;

mod local;
mod shares;
mod sum;

pub(crate) use local::Local;
pub use local::LocalUpdates;
pub(crate) use shares::Shares;
pub(crate) use sum::Joined;

/// A driver's way to the other ranks.
#[derive(Clone)]
pub(crate) struct Ranks(Arc<Mutex<dyn Exchange>>);

/// What a rank found in a micro-batch, before anything has changed.
pub(crate) struct Found {
    pub seen: Vec<Seen>,
    pub broken: Vec<NonFiniteGradient>,
    /// The loss, if it is not finite.
    pub loss: Option<f64>,
}

/// Ranks that are not together.
pub(crate) enum Apart {
    Exchange(ExchangeError),
    /// The first rank that differs from this one, in what, and what both have.
    Rank {
        rank: usize,
        what: String,
        theirs: String,
        ours: String,
    },
}

impl From<ExchangeError> for Apart {
    fn from(error: ExchangeError) -> Self {
        Self::Exchange(error)
    }
}

impl From<Apart> for BindError {
    fn from(apart: Apart) -> Self {
        match apart {
            Apart::Exchange(error) => Self::Exchange(error),
            Apart::Rank {
                rank,
                what,
                theirs,
                ours,
            } => Self::Rank {
                rank,
                what,
                theirs,
                ours,
            },
        }
    }
}

impl From<Apart> for StepCause {
    fn from(apart: Apart) -> Self {
        match apart {
            Apart::Exchange(error) => Self::Exchange(error),
            Apart::Rank {
                rank,
                what,
                theirs,
                ours,
            } => Self::Rank {
                rank,
                reason: format!("it differs in {what}: it has {theirs}, and this rank {ours}"),
            },
        }
    }
}

/// Where a rank is in its training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub updates: u64,
    /// Of a window.
    pub micro_batches: u32,
    /// Whether the window is updated with before it is full.
    pub flush: bool,
    /// The bits of the learning rate, which can be changed on the way.
    pub rate: u64,
    /// A checksum of the parameters, at the first step after binding and resuming.
    pub values: Option<u32>,
}

/// [`Found`], as it is told to others.
#[derive(Serialize, Deserialize)]
struct Word {
    place: Place,
    /// Why the micro-batch is refused.
    error: Option<String>,
    /// A letter for each parameter.
    seen: String,
    broken: Vec<NonFiniteGradient>,
    /// The bits of a loss that is not finite.
    loss: Option<u64>,
}

impl Ranks {
    pub fn new(exchange: impl Exchange + 'static) -> Self {
        Self(Arc::new(Mutex::new(exchange)))
    }

    pub fn with<T>(&self, work: impl FnOnce(&mut dyn Exchange) -> T) -> T {
        let mut exchange = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut *exchange)
    }

    /// What each rank has to say, and which of them this one is.
    pub fn words<T: Serialize + for<'a> Deserialize<'a>>(
        &self,
        own: &T,
    ) -> Result<(Vec<T>, usize), ExchangeError> {
        let unreadable = |error: serde_json::Error| ExchangeError::Transport {
            reason: format!("what ranks tell each other cannot be read: {error}"),
        };
        let bytes = serde_json::to_vec(own).map_err(unreadable)?;
        let (words, rank) = self.with(|exchange| (exchange.all_gather(&bytes), exchange.rank()));
        let words = words?.into_iter();
        let words = words.map(|word| serde_json::from_slice(&word).map_err(unreadable));
        Ok((words.collect::<Result<_, _>>()?, rank))
    }

    /// Compares what is to be the same on all ranks: names and values, in an order of their own.
    pub fn compare(&self, own: &Vec<(String, String)>) -> Result<(), Apart> {
        let (all, own_rank) = self.words(own)?;
        let Some((rank, theirs)) = all.iter().enumerate().find(|(_, theirs)| *theirs != own) else {
            return Ok(());
        };
        debug_assert!(rank != own_rank);
        let [ours, theirs]: [BTreeMap<&str, &str>; 2] = [own, theirs].map(|all| {
            all.iter()
                .map(|(name, value)| (&**name, &**value))
                .collect()
        });
        let names = own
            .iter()
            .map(|(name, _)| &**name)
            .chain(theirs.keys().copied());
        let differs = |name: &&str| ours.get(name) != theirs.get(name);
        let what = names
            .into_iter()
            .find(differs)
            .unwrap_or("the order of the parameters");
        let value =
            |of: &BTreeMap<&str, &str>| of.get(what).copied().unwrap_or("nothing").to_string();
        Err(Apart::Rank {
            rank,
            what: what.to_string(),
            theirs: value(&theirs),
            ours: value(&ours),
        })
    }

    /// What all ranks found, beside something of this one's; or why one of them refuses.
    pub fn agreed<T>(
        &self,
        bound: &[Bound],
        place: Place,
        own: Result<(T, Found), StepCause>,
    ) -> Result<(T, Found), StepCause> {
        let word = match &own {
            Ok((_, found)) => Word {
                place,
                error: None,
                seen: found.seen.iter().map(Seen::letter).collect(),
                broken: found.broken.clone(),
                loss: found.loss.map(f64::to_bits),
            },
            Err(cause) => Word {
                place,
                error: Some(cause.to_string()),
                seen: String::new(),
                broken: Vec::new(),
                loss: None,
            },
        };
        let (words, own_rank) = match self.words(&word) {
            Ok(words) => words,
            // What this rank has to say itself comes first.
            Err(error) => return own.and(Err(error.into())),
        };
        let (beside, mut found) = own?;
        for (rank, theirs) in words.iter().enumerate() {
            if let Some(reason) = &theirs.error {
                let reason = reason.clone();
                return Err(StepCause::Rank { rank, reason });
            }
            let differs = match theirs.place == place {
                true => difference(bound, &word.seen, &theirs.seen),
                false => Some(apart(place, theirs.place)),
            };
            if let Some(reason) = differs {
                return Err(StepCause::Rank { rank, reason });
            }
        }
        let others = words
            .iter()
            .enumerate()
            .filter(|(rank, _)| *rank != own_rank);
        for (_, theirs) in others {
            for broken in &theirs.broken {
                match found
                    .broken
                    .iter_mut()
                    .find(|known| known.path == broken.path)
                {
                    Some(known) => {
                        known.elements += broken.elements;
                        known.of += broken.of;
                    }
                    None => found.broken.push(broken.clone()),
                }
            }
            found.loss = found.loss.or(theirs.loss.map(f64::from_bits));
        }
        Ok((beside, found))
    }
}

/// How two ranks differ in where they are.
fn apart(ours: Place, theirs: Place) -> String {
    let values = Place {
        values: ours.values,
        ..theirs
    };
    if ours == values {
        return "its parameters have other values: let all ranks resume from the same checkpoint"
            .to_string();
    }
    let rate = Place {
        rate: ours.rate,
        ..values
    };
    if ours == rate {
        let [theirs, ours] = [theirs, ours].map(|place| f64::from_bits(place.rate));
        return format!("its learning rate is {theirs}, and that of this rank {ours}");
    }
    let named = |place: Place| {
        let Place {
            updates,
            micro_batches,
            flush,
            ..
        } = place;
        let flush = if flush { ", flushing" } else { "" };
        format!("update {updates}, micro-batch {micro_batches} of its window{flush}")
    };
    format!(
        "it is at {}, and this rank at {}",
        named(theirs),
        named(ours)
    )
}

/// How two ranks differ in the gradients that they have.
fn difference(bound: &[Bound], ours: &str, theirs: &str) -> Option<String> {
    let mut pairs = bound.iter().zip(ours.chars().zip(theirs.chars()));
    let (bound, (ours, theirs)) = pairs.find(|(_, (ours, theirs))| ours != theirs)?;
    let path = &bound.info().path;
    let named = |letter| Seen::words(letter);
    Some(format!(
        "there `{path}` {}, and on this rank it {}",
        named(theirs),
        named(ours)
    ))
}
