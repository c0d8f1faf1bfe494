//! Schedulers of Burn's kind, whose records say where they are, and not what they are.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn_pack::{Reader, Scalar};
use serde::{Deserialize, Serialize};

use super::CheckpointError;
use super::format::Contents;
use crate::bound::Bound;
use crate::report::listed;

/// The learning rates of the updates to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RatesAhead {
    /// How many updates are looked at.
    pub updates: u32,
    /// The rates of the first few, before those of groups.
    pub first: Vec<f64>,
    /// The CRC-32 of all of them, those of every parameter too.
    pub checksum: u32,
}

/// Rates that are compared in all, over updates and parameters.
const COMPARED: usize = 1 << 16;
/// Updates that are looked at, at least and at most.
const UPDATES: (usize, usize) = (16, 1024);
/// Rates that are told apart in a message.
const FIRST: usize = 16;

impl RatesAhead {
    /// Those that `next` gives, which is called once for each update; none if it panics.
    pub(crate) fn of(bound: &[Bound], next: impl FnMut() -> ModuleLearningRate) -> Option<Self> {
        let updates = (COMPARED / bound.len().max(1)).clamp(UPDATES.0, UPDATES.1);
        Self::over(updates, bound, next)
    }

    fn over(
        updates: usize,
        bound: &[Bound],
        mut next: impl FnMut() -> ModuleLearningRate,
    ) -> Option<Self> {
        let look = AssertUnwindSafe(|| {
            let mut checksum = crc32fast::Hasher::new();
            let mut first = Vec::new();
            for update in 0..updates {
                let rates = next();
                // JSON has no number that is not finite; the checksum has it.
                if update < FIRST && first.len() == update && rates.base().is_finite() {
                    first.push(rates.base());
                }
                checksum.update(&rates.base().to_le_bytes());
                for bound in bound.iter().filter(|bound| bound.info().trainable) {
                    let rate = rates.lr_from_param(bound.id(), Some(&bound.info().path));
                    checksum.update(&rate.to_le_bytes());
                }
            }
            Self {
                updates: u32::try_from(updates).unwrap_or(u32::MAX),
                first,
                checksum: checksum.finalize(),
            }
        });
        // A scheduler of a user's own may not go on for so long.
        catch_unwind(look).ok()
    }

    /// Where the rates that `next` gives are others, in words.
    pub(crate) fn difference(
        &self,
        bound: &[Bound],
        next: impl FnMut() -> ModuleLearningRate,
    ) -> Option<String> {
        // A file can say any number.
        let updates = (self.updates as usize).min(UPDATES.1);
        let found = Self::over(updates, bound, next)?;
        if found == *self {
            return None;
        }
        let mut first = found.first.iter().zip(&self.first).enumerate();
        let other = first.find(|(_, (own, saved))| own != saved);
        Some(match other {
            Some((at, (own, saved))) => format!(
                "it has other settings: {} updates on its rate would be {saved} as it was saved, and is \
                 {own} here",
                at + 1
            ),
            None => format!("it has other settings: within {updates} updates its rates differ"),
        })
    }
}

pub(super) const SCHEDULER: &str = "scheduler.";

/// The scalars of a scheduler's record, which Burn does not list.
pub(super) fn record_scalars(
    scheduler: &ModuleLrScheduler,
) -> Result<BTreeMap<String, Scalar>, CheckpointError> {
    let failed = |reason: String| CheckpointError::Scheduler { reason };
    let bytes = scheduler.to_record().into_bytes();
    let bytes = bytes.map_err(|error| failed(error.to_string()))?;
    let reader = Reader::from_bytes(bytes).map_err(|error| failed(error.to_string()))?;
    Ok(reader.scalars().clone())
}

/// The scheduler, gone on from the scalars in the file.
pub(super) fn load_scheduler(
    scheduler: &ModuleLrScheduler,
    bound: &[Bound],
    contents: &Contents,
) -> Result<ModuleLrScheduler, CheckpointError> {
    let failed = |reason: String| CheckpointError::Scheduler { reason };
    let saved: BTreeMap<String, Scalar> = (contents.scalars.iter())
        .filter_map(|(name, value)| Some((name.strip_prefix(SCHEDULER)?.to_string(), *value)))
        .collect();
    let add = |record: LrSchedulerRecord, (name, value): (&String, &Scalar)| {
        record.with_scalar(name, *value)
    };
    let record = saved.iter().fold(LrSchedulerRecord::new(), add);
    let own = record_scalars(scheduler)?;
    if !own.keys().eq(saved.keys()) {
        let names = |scalars: &BTreeMap<String, Scalar>| listed(scalars.keys());
        return Err(failed(format!(
            "its record has {}, and in the file there is {}",
            names(&own),
            names(&saved)
        )));
    }
    // This library's own refuse with a panic, as Burn has no other way.
    let load = AssertUnwindSafe(|| scheduler.clone().load_record(record));
    let loaded = catch_unwind(load).map_err(|panic| {
        let text = panic.downcast::<String>().map(|text| *text);
        failed(text.unwrap_or_else(|_| "it panics".to_string()))
    })?;
    if record_scalars(&loaded)? != saved {
        return Err(failed("it did not take up what was saved".to_string()));
    }
    let mut ahead = loaded.clone();
    let saved = contents.header.rates_ahead.as_ref();
    match saved.and_then(|saved| saved.difference(bound, || ahead.step())) {
        Some(difference) => Err(failed(difference)),
        None => Ok(loaded),
    }
}
