//! What a scheduler that is not of this library will do: its record says where it is, and not what it is.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use serde::{Deserialize, Serialize};

use crate::update::Bound;

/// The learning rates of the updates to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
                if update < FIRST {
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
