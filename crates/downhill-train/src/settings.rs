//! What a driver is told to do.

use downhill_setting::Range;

use crate::batch::Accumulation;
use crate::clipping::{Clipping, NonFinite};
use crate::driven::DrivenSettings;
use crate::error::BindError;
use crate::mechanic::Mechanic;
use crate::ranks::LocalUpdates;
use crate::sam::Sam;
use crate::scaling::LossScaling;
use crate::setting::{OutOfRange, in_range};

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub clipping: Option<Clipping>,
    pub non_finite: NonFinite,
    pub accumulation: Option<Accumulation>,
    pub driven: DrivenSettings,
    pub update_ratios_every: Option<u64>,
    pub sam: Option<Sam>,
    pub mechanic: Option<Mechanic>,
    pub loss_scaling: Option<LossScaling>,
    /// Whether each rank keeps the states of a share of the parameters.
    pub sharded_state: bool,
    pub local_updates: Option<LocalUpdates>,
}

impl Settings {
    /// As far as it can be said before the first update.
    pub fn check(&self) -> Result<(), OutOfRange> {
        if let Some(clipping) = &self.clipping {
            clipping.check(0)?;
        }
        self.driven.check("")?;
        if let Some(sam) = &self.sam {
            sam.check()?;
        }
        if let Some(mechanic) = &self.mechanic {
            mechanic.check()?;
        }
        if let Some(scaling) = &self.loss_scaling {
            scaling.check()?;
        }
        if let Some(local) = &self.local_updates {
            local.check()?;
        }
        let windows = self.accumulation.map(Accumulation::micro_batches);
        for (name, count) in [
            ("micro-batches of an update", windows.map(u64::from)),
            ("cadence of the update ratios", self.update_ratios_every),
        ] {
            if let Some(count) = count {
                in_range(name, count as f64, Range::POSITIVE)?;
            }
        }
        Ok(())
    }

    /// What a driver is told that does not go together, or not with ranks.
    pub fn check_ranks(&self, several: bool) -> Result<(), BindError> {
        const SHARDED: &str = "sharded states";
        const LOCAL: &str = "local updates";
        let (sharded, local) = (self.sharded_state, self.local_updates.is_some());
        let no_ranks = |what| Err(BindError::NoRanks { what });
        let together = |first, second| Err(BindError::Together { first, second });
        match () {
            () if sharded && !several => no_ranks(SHARDED),
            () if local && !several => no_ranks(LOCAL),
            () if several && self.sam.is_some() => together("SAM", "several ranks"),
            () if sharded && local => together(SHARDED, LOCAL),
            () => Ok(()),
        }
    }
}
