//! A checkpoint of several ranks, of which each may have something that the others have not.

use std::borrow::Cow;
use std::path::PathBuf;

use super::CheckpointError;
use super::contents::{MEETINGS, OPTIMIZER, OUTER, part, put};
use super::format::Contents;
use crate::ranks::Ranks;
use crate::update::Core;

/// Who gets the whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    All,
    /// Rank 0, which writes it.
    First,
}

/// How the others' parts go into the whole.
#[derive(Clone, Copy)]
enum Parts {
    /// Each has the states of other parameters.
    Shares,
    /// Each has states of its own of all parameters, which get its number before their names.
    Ranks,
}

const UPDATES: &str = "updates";
const SKIPPED: &str = "skipped";

const RANK: &str = "rank.";

fn prefix(rank: usize) -> String {
    format!("{RANK}{rank}/")
}

impl Parts {
    fn of(core: &Core) -> Option<Self> {
        let local = core.local.as_ref().map(|_| Self::Ranks);
        local.or(core.shares.as_ref().map(|_| Self::Shares))
    }

    /// Whether what has this name can differ between ranks.
    fn has(self, name: &str) -> bool {
        match self {
            Self::Shares => name.starts_with(OPTIMIZER),
            Self::Ranks => {
                let common = ["model/", "average/", "average.", OUTER, MEETINGS];
                !common.iter().any(|common| name.starts_with(common))
            }
        }
    }

    /// Takes its part out.
    fn split_off(self, contents: &mut Contents) -> Contents {
        let tensors = contents.tensors.extract_if(.., |name, _| self.has(name));
        let tensors = tensors.collect();
        let scalars = contents.scalars.extract_if(.., |name, _| self.has(name));
        Contents {
            header: contents.header.clone(),
            tensors,
            scalars: scalars.collect(),
        }
    }

    /// Puts the part of a rank in.
    fn put(self, contents: &mut Contents, rank: usize, part: Contents) {
        let prefix = match (self, rank) {
            (Self::Shares, _) => String::new(),
            (Self::Ranks, 0) => {
                contents.header.updates = part.header.updates;
                contents.header.skipped = part.header.skipped;
                String::new()
            }
            (Self::Ranks, rank) => {
                let prefix = prefix(rank);
                let counts = [
                    (UPDATES, part.header.updates),
                    (SKIPPED, part.header.skipped),
                ];
                let counts = counts.map(|(name, count)| (format!("{prefix}{name}"), count.into()));
                contents.scalars.extend(counts);
                prefix
            }
        };
        put(&mut contents.tensors, &prefix, part.tensors);
        put(&mut contents.scalars, &prefix, part.scalars);
    }
}

/// The whole from what each rank has; none on a rank that does not get it. An error of one is an error of all.
pub(super) fn whole(
    core: &Core,
    own: impl FnOnce() -> Result<Contents, CheckpointError>,
    to: To,
) -> Result<Option<Contents>, CheckpointError> {
    let Some(ranks) = &core.ranks else {
        return own().map(Some);
    };
    let gets = to == To::All || ranks.with(|exchange| exchange.rank()) == 0;
    let Some(parts) = Parts::of(core) else {
        return match (to, gets) {
            (To::All, _) => own().map(Some),
            (To::First, true) => agreed(ranks, own()).map(Some),
            (To::First, false) => agreed(ranks, Ok(None)),
        };
    };
    let packed = own().and_then(|mut contents| {
        let part = parts.split_off(&mut contents).to_bytes()?;
        Ok((contents, part))
    });
    let (mut contents, part) = agreed(ranks, packed)?;
    let all = ranks.with(|exchange| match to {
        To::All => exchange.all_gather(&part),
        To::First => exchange.gather(0, &part),
    })?;
    for (rank, part) in all.into_iter().enumerate() {
        parts.put(&mut contents, rank, Contents::from_bytes(part)?);
    }
    Ok(gets.then_some(contents))
}

/// What this rank has, if none of them has an error.
fn agreed<T>(ranks: &Ranks, own: Result<T, CheckpointError>) -> Result<T, CheckpointError> {
    let error = own.as_ref().err().map(ToString::to_string);
    let (words, _) = ranks.words(&error)?;
    let own = own?;
    let mut errors = words.into_iter().enumerate();
    match errors.find_map(|(rank, error)| Some((rank, error?))) {
        Some((rank, reason)) => Err(CheckpointError::Rank { rank, reason }),
        None => Ok(own),
    }
}

/// Where rank 0 has written the whole, told to the others.
pub(super) fn told(
    core: &Core,
    own: Option<Result<PathBuf, CheckpointError>>,
) -> Result<PathBuf, CheckpointError> {
    let word = own
        .as_ref()
        .map(|own| own.clone().map_err(|error| error.to_string()));
    let words = match &core.ranks {
        Some(ranks) => ranks.words(&word)?.0,
        None => vec![word],
    };
    let told = words.into_iter().next().flatten();
    own.unwrap_or_else(|| {
        let nothing = || Err("it has written nothing".to_owned());
        let told = told.unwrap_or_else(nothing);
        told.map_err(|reason| CheckpointError::Rank { rank: 0, reason })
    })
}

/// The whole as it is of one rank. Ranks of which there were none before begin as one that there was.
pub(super) fn of_rank<'a>(core: &Core, contents: &'a Contents) -> Cow<'a, Contents> {
    let (Some(ranks), Some(parts @ Parts::Ranks)) = (&core.ranks, Parts::of(core)) else {
        return Cow::Borrowed(contents);
    };
    let is_of = |name: &String, rank| name.starts_with(&prefix(rank));
    let names = || contents.tensors.keys().chain(contents.scalars.keys());
    let saved = (1..).find(|rank| !names().any(|name| is_of(name, *rank)));
    let rank = ranks.with(|exchange| exchange.rank()) % saved.unwrap_or(1);
    let mut own = contents.clone();
    own.tensors.retain(|name, _| !name.starts_with(RANK));
    own.scalars.retain(|name, _| !name.starts_with(RANK));
    if rank > 0 {
        parts.split_off(&mut own);
        let prefix = prefix(rank);
        own.tensors.extend(part(&contents.tensors, &prefix));
        own.scalars.extend(part(&contents.scalars, &prefix));
        let mut count = |name, count: &mut u64| {
            let found = own.scalars.remove(name);
            *count = found
                .and_then(|found| found.try_into().ok())
                .unwrap_or(*count);
        };
        count(UPDATES, &mut own.header.updates);
        count(SKIPPED, &mut own.header.skipped);
    }
    Cow::Owned(own)
}
