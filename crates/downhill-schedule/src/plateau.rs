use core::fmt;

use serde::{Deserialize, Serialize};

use downhill_setting::{Range, plain};

use crate::ScheduleError;
use crate::curve::hash;
use crate::scope::Scope;

/// Whether a metric should fall or rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlateauMode {
    /// A loss: lower is better.
    Min,
    /// An accuracy: higher is better.
    Max,
}

/// What a `threshold` is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdMode {
    /// As a part of the best metric: better is below `best·(1 - threshold)`, above
    /// `best·(1 + threshold)`.
    Rel,
    /// In the metric's own unit: better is below `best - threshold`, above `best + threshold`.
    Abs,
}

/// The settings of a [`ReduceOnPlateau`]; all names and defaults are PyTorch's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReduceOnPlateauConfig {
    /// Rate at the beginning, finite and at least 0. Default: 1e-3.
    pub lr: f64,
    /// Whether the metric should fall or rise. Default: [`PlateauMode::Min`].
    pub mode: PlateauMode,
    /// What the rate is multiplied with, at least 0 and below 1. Default: 0.1.
    pub factor: f64,
    /// How many metrics that are no better are borne before the rate falls. Default: 10.
    pub patience: u64,
    /// How much better counts as better, finite and at least 0. Default: 1e-4.
    pub threshold: f64,
    /// What `threshold` is measured by. Default: [`ThresholdMode::Rel`].
    pub threshold_mode: ThresholdMode,
    /// How many metrics do not count after the rate fell. Default: 0.
    pub cooldown: u64,
    /// What the rate does not fall below, finite and at least 0. Default: 0.
    pub min_lr: f64,
    /// A fall by no more than this does not happen, finite and at least 0. Default: 1e-8.
    pub eps: f64,
}

impl Default for ReduceOnPlateauConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            mode: PlateauMode::Min,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
        }
    }
}

impl ReduceOnPlateauConfig {
    /// The name for menus and files.
    pub const NAME: &'static str = "reduce_on_plateau";

    /// Whether `name` is its name, or PyTorch's or Transformers' (`ReduceLROnPlateau`).
    pub fn is_named(name: &str) -> bool {
        [plain(Self::NAME), plain("reduce_lr_on_plateau")].contains(&plain(name))
    }

    /// The default settings with this rate at the beginning.
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            ..Self::default()
        }
    }

    /// At its beginning.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn try_build(&self) -> Result<ReduceOnPlateau, ScheduleError> {
        let at = Scope::new(None, None).named(ReduceOnPlateauConfig::NAME);
        at.check("lr", self.lr, Range::NOT_NEGATIVE)?;
        at.check("factor", self.factor, Range::DECAY)?;
        at.check("threshold", self.threshold, Range::NOT_NEGATIVE)?;
        at.check("min_lr", self.min_lr, Range::NOT_NEGATIVE)?;
        at.check("eps", self.eps, Range::NOT_NEGATIVE)?;
        let best = match self.mode {
            PlateauMode::Min => f64::INFINITY,
            PlateauMode::Max => f64::NEG_INFINITY,
        };
        let state = PlateauState {
            lr: self.lr,
            best,
            num_bad_epochs: 0,
            cooldown_counter: 0,
        };
        let config = self.clone();
        Ok(ReduceOnPlateau { config, state })
    }
}

/// The settings as JSON.
impl fmt::Display for ReduceOnPlateauConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// What a [`ReduceOnPlateau`] has seen, under PyTorch's names.
#[derive(Clone, Debug, PartialEq)]
pub struct PlateauState {
    /// The rate.
    pub lr: f64,
    /// The best metric, infinite before the first.
    pub best: f64,
    /// Metrics since then that were no better.
    pub num_bad_epochs: u64,
    /// Metrics that will not count.
    pub cooldown_counter: u64,
}

/// Lowers the rate when a metric has stopped to improve.
///
/// It follows a metric and is therefore no function of the step: unlike a
/// [`Schedule`](crate::Schedule) it has a state, which belongs into a checkpoint.
///
#[doc = include_str!("../docs/reduce_on_plateau.svg")]
///
/// A metric that is not a number is no better than any other, as in PyTorch.
///
/// Source: PyTorch's `ReduceLROnPlateau`, rule by rule.
///
/// ```
/// use downhill_schedule::ReduceOnPlateauConfig;
///
/// let config = ReduceOnPlateauConfig { patience: 1, ..ReduceOnPlateauConfig::new(0.5) };
/// let mut plateau = config.try_build()?;
/// let rates = [1.0, 0.8, 0.8, 0.8, 0.7].map(|loss| plateau.observe(loss));
/// assert_eq!(rates, [0.5, 0.5, 0.5, 0.05, 0.05]);
/// # Ok::<(), downhill_schedule::ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceOnPlateau {
    config: ReduceOnPlateauConfig,
    state: PlateauState,
}

impl ReduceOnPlateau {
    /// The rate.
    pub fn lr(&self) -> f64 {
        self.state.lr
    }

    /// The settings.
    pub fn config(&self) -> &ReduceOnPlateauConfig {
        &self.config
    }

    /// A hash of the settings, the same on every machine.
    pub fn fingerprint(&self) -> u64 {
        hash(&self.config)
    }

    /// What it has seen.
    pub fn state(&self) -> &PlateauState {
        &self.state
    }

    /// Goes on from `state`.
    ///
    /// # Errors
    ///
    /// Returns the rate if it is not finite or is negative, and leaves everything as it was.
    pub fn try_load_state(&mut self, state: PlateauState) -> Result<(), ScheduleError> {
        let at = Scope::new(None, None).named(ReduceOnPlateauConfig::NAME);
        at.check("lr", state.lr, Range::NOT_NEGATIVE)?;
        self.state = state;
        Ok(())
    }

    /// Takes in a metric, usually once an epoch, and returns the rate from now on.
    pub fn observe(&mut self, metric: f64) -> f64 {
        let (config, state) = (&self.config, &mut self.state);
        let better = match (config.mode, config.threshold_mode) {
            (PlateauMode::Min, ThresholdMode::Rel) => {
                metric < state.best * (1.0 - config.threshold)
            }
            (PlateauMode::Min, ThresholdMode::Abs) => metric < state.best - config.threshold,
            (PlateauMode::Max, ThresholdMode::Rel) => {
                metric > state.best * (1.0 + config.threshold)
            }
            (PlateauMode::Max, ThresholdMode::Abs) => metric > state.best + config.threshold,
        };
        if better {
            state.best = metric;
            state.num_bad_epochs = 0;
        } else {
            state.num_bad_epochs = state.num_bad_epochs.saturating_add(1);
        }
        if state.cooldown_counter > 0 {
            state.cooldown_counter -= 1;
            state.num_bad_epochs = 0;
        }
        if state.num_bad_epochs > config.patience {
            let lower = (state.lr * config.factor).max(config.min_lr);
            if state.lr - lower > config.eps {
                state.lr = lower;
            }
            state.cooldown_counter = config.cooldown;
            state.num_bad_epochs = 0;
        }
        state.lr
    }
}
