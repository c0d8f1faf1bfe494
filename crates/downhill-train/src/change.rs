//! What can be changed about a driver in the middle of a training.

use crate::bind::uniform;
use crate::error::BindError;
use crate::groups::{GroupError, Select};
use crate::setting::OutOfRange;
use crate::{Clipping, Driver, Rate};

impl Driver {
    /// Goes on with another learning rate: a number, or a schedule, which is asked for the number of updates that
    /// were made since the beginning ([`shift`](downhill_schedule::ScheduleConfig::shift) lets one begin now).
    ///
    /// A checkpoint goes on in a driver with the rate that it was saved with.
    ///
    /// ```
    /// # #[cfg(feature = "flex")] {
    /// # use burn::nn::{Linear, LinearConfig};
    /// # use burn::tensor::Device;
    /// use downhill_optim::SgdConfig;
    /// use downhill_train::{Driver, Select};
    ///
    /// # let model: Linear = LinearConfig::new(2, 1).init(&Device::flex().autodiff());
    /// let mut driver = Driver::builder(SgdConfig::new().init(), 0.1).bind(&model)?;
    /// driver.set_learning_rate(0.01)?;
    /// assert_eq!(driver.learning_rate(), Some(0.01));
    /// assert_eq!(driver.freeze(&Select::name("bias"))?, 1);
    /// # }
    /// # Ok::<(), downhill_train::BindError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the rate is outside its range at the next update, or an optimizer does nothing with one that changes. The
    /// driver keeps the rate that it had.
    pub fn set_learning_rate(&mut self, rate: impl Into<Rate>) -> Result<(), BindError> {
        let rate = rate.into();
        self.core.check_rate(&rate)?;
        self.rate = rate;
        Ok(())
    }

    /// Goes on with another clipping, or none.
    ///
    /// # Errors
    ///
    /// If its threshold is outside its range at the next update. The driver keeps the clipping that it had.
    pub fn set_clipping(&mut self, clipping: Option<Clipping>) -> Result<(), OutOfRange> {
        if let Some(clipping) = &clipping {
            clipping.check(self.updates())?;
        }
        self.core.settings.clipping = clipping;
        Ok(())
    }

    /// Lets parameters stay as they are from now on, and their optimizer's state too; returns how many of them were
    /// not frozen before. Reports name them, and so does the [plan](Self::plan).
    ///
    /// # Errors
    ///
    /// If no parameter is chosen.
    pub fn freeze(&mut self, select: &Select) -> Result<usize, BindError> {
        self.set_frozen(select, true)
    }

    /// Trains parameters again that were [frozen](Self::freeze), here or by a group; returns how many.
    ///
    /// # Errors
    ///
    /// If no parameter is chosen, or something is to be driven of an optimizer that has no such number. Nothing has
    /// changed then.
    pub fn thaw(&mut self, select: &Select) -> Result<usize, BindError> {
        self.set_frozen(select, false)
    }

    fn set_frozen(&mut self, select: &Select, frozen: bool) -> Result<usize, BindError> {
        let chosen = |at: &usize| {
            let info = self.core.bound[*at].info();
            info.trainable && select.matches(info)
        };
        let chosen: Vec<usize> = (0..self.core.bound.len()).filter(chosen).collect();
        if chosen.is_empty() {
            let trainable = self
                .core
                .bound
                .iter()
                .filter(|bound| bound.info().trainable);
            return Err(BindError::Group(GroupError::NoneChosen {
                select: select.to_string(),
                paths: trainable.map(|bound| bound.info().path.clone()).collect(),
            }));
        }
        let mut bound = self.core.bound.clone();
        let mut changed = 0;
        for at in chosen {
            let bound = &mut bound[at];
            changed += usize::from(bound.frozen != frozen);
            let groups = self.core.groups_of(&self.core.bound[at]);
            let driven = groups.map(|group| &group.driven);
            bound.set_frozen(frozen, &self.core.settings.driven, driven)?;
        }
        let before = core::mem::replace(&mut self.core.bound, bound);
        if let Err(error) = self.core.check_followed(&self.rate) {
            self.core.bound = before;
            return Err(error);
        }
        self.core.uniform = uniform(&self.core.bound);
        Ok(changed)
    }
}
