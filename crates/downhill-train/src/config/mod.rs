//! A driver from one value: what a training is made with, as JSON or TOML.

mod groups;

use core::fmt;
use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use downhill_optim::{ConfigError, OptimizerConfig};
use downhill_schedule::{ScheduleConfig, ScheduleError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use groups::{GroupConfig, SelectConfig};

use crate::checkpoint::{Checkpoints, Goal};
use crate::{
    Accumulation, Averaging, BindError, Clipping, Driver, DriverBuilder, LocalUpdates, LossScaling,
    Mechanic, NonFinite, Sam, Setting,
};

/// Everything about a [`Driver`] in one value that can be written and read, also inside the configuration of a
/// training: it is what Burn's `#[derive(Config)]` takes for a field.
///
/// What is left out has its default, and an unknown field is an error.
///
/// ```
/// # #[cfg(feature = "flex")] {
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::Device;
/// use downhill_train::DriverConfig;
///
/// let config = DriverConfig::from_toml(r#"
///     steps = 10_000
///     optimizer = { name = "AdamW", lr = 3e-4, betas = [0.9, 0.95], weight_decay = 0.1 }
///     schedule = { name = "warmup_cosine", warmup = "5%", floor = "10%" }
///     clipping = { global_norm = { threshold = 1.0 } }
///     non_finite = { skip = { max_consecutive = 5 } }
///
///     [[groups]]
///     name = "no decay"
///     select = { rank = [0, 1] }
///     weight_decay = 0.0
/// "#)?;
/// let model: Linear = LinearConfig::new(4, 1).init(&Device::flex().autodiff());
/// let driver = config.bind(&model)?;
/// assert_eq!(driver.learning_rate(), Some(0.0));
///
/// let error = DriverConfig::from_toml("clipping = { global_norm = { treshold = 1.0 } }").unwrap_err();
/// let said = "`clipping.global_norm`: unexpected keys in table: treshold, available keys: threshold";
/// assert!(error.to_string().starts_with(said));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DriverConfig {
    /// The optimizer. Its `learning_rate`, or else its default one, is the rate of the training; with a schedule, what
    /// the schedule's percentages are of. Default: AdamW.
    pub optimizer: OptimizerConfig,
    /// The learning rate from step to step. Percentages of a value are of the optimizer's rate, those of a length of
    /// [`steps`](Self::steps). Default: it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleConfig>,
    /// Updates of the whole training, for what is said in percent of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// See [`DriverBuilder::with_clipping`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clipping: Option<Clipping>,
    /// See [`DriverBuilder::with_non_finite`].
    pub non_finite: NonFinite,
    /// See [`DriverBuilder::with_accumulation`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accumulation: Option<Accumulation>,
    /// See [`DriverBuilder::with_averaging`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub averaging: Option<Averaging>,
    /// See [`DriverBuilder::with_sam`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sam: Option<Sam>,
    /// See [`DriverBuilder::with_loss_scaling`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_scaling: Option<LossScaling>,
    /// See [`DriverBuilder::with_mechanic`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mechanic: Option<Mechanic>,
    /// See [`DriverBuilder::with_local_updates`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_updates: Option<LocalUpdates>,
    /// See [`DriverBuilder::with_sharded_state`].
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub sharded_state: bool,
    /// See [`DriverBuilder::with_driven`]. Lengths of schedules are in updates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driven: BTreeMap<String, Setting>,
    /// Parameters that are treated differently.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupConfig>,
    /// See [`DriverBuilder::with_update_ratios`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_ratios_every: Option<u64>,
    /// Where checkpoints are, and which are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<CheckpointsConfig>,
}

impl burn::config::Config for DriverConfig {}

/// The settings of [`Checkpoints`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CheckpointsConfig {
    /// The folder.
    pub folder: PathBuf,
    /// How many of the last are kept. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<usize>,
    /// How many of the best are kept besides. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_best: Option<(usize, Goal)>,
}

impl CheckpointsConfig {
    /// A folder in which everything is kept.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            keep_last: None,
            keep_best: None,
        }
    }

    /// The folder with these settings.
    pub fn open(&self) -> Checkpoints {
        let mut checkpoints = Checkpoints::new(&self.folder);
        if let Some(count) = self.keep_last {
            checkpoints = checkpoints.keep_last(count);
        }
        if let Some((count, goal)) = self.keep_best {
            checkpoints = checkpoints.keep_best(count, goal);
        }
        checkpoints
    }
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self::new(downhill_optim::AdamWConfig::new())
    }
}

impl DriverConfig {
    /// An optimizer at its own learning rate, and nothing else.
    pub fn new(optimizer: impl Into<OptimizerConfig>) -> Self {
        Self {
            optimizer: optimizer.into(),
            schedule: None,
            steps: None,
            clipping: None,
            non_finite: NonFinite::default(),
            accumulation: None,
            averaging: None,
            sam: None,
            loss_scaling: None,
            mechanic: None,
            local_updates: None,
            sharded_state: false,
            driven: BTreeMap::new(),
            groups: Vec::new(),
            update_ratios_every: None,
            checkpoints: None,
        }
    }

    /// Reads JSON.
    ///
    /// # Errors
    ///
    /// Says which field cannot be read, and what is wrong with it.
    pub fn from_json(json: &str) -> Result<Self, DriverConfigError> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let config = read(&mut reader, ToString::to_string)?;
        reader
            .end()
            .map_err(|error| DriverConfigError::new("", error))?;
        Ok(config)
    }

    /// Reads TOML.
    ///
    /// # Errors
    ///
    /// Says which field cannot be read, and what is wrong with it.
    pub fn from_toml(toml: &str) -> Result<Self, DriverConfigError> {
        let said = |error: &toml::de::Error| {
            let before = error.span().and_then(|span| toml.get(..span.start));
            let line = before.map(|before| 1 + before.matches('\n').count());
            let line = line.map_or_else(String::new, |line| format!(" at line {line}"));
            format!("{}{line}", error.message().trim_end())
        };
        let reader = toml::Deserializer::parse(toml);
        let reader = reader.map_err(|error| DriverConfigError::new("", said(&error)))?;
        read(reader, said)
    }

    /// The configuration as TOML, for [`from_toml`](Self::from_toml).
    ///
    /// # Errors
    ///
    /// If something is none whose default is not none: TOML has no null.
    pub fn to_toml(&self) -> Result<String, DriverConfigError> {
        // Through JSON, in which what is null can be told from what is a table.
        let json = serde_json::to_value(self).map_err(|error| DriverConfigError::new("", error))?;
        let toml = toml::to_string(&without_nulls(json));
        let toml = toml.map_err(|error| DriverConfigError::new("", error))?;
        match Self::from_toml(&toml) {
            Ok(read) if read == *self => Ok(toml),
            _ => Err(DriverConfigError::new(
                "",
                "something is off that is on by default, which TOML cannot say; JSON can",
            )),
        }
    }

    /// The driver, still to be bound to a model.
    ///
    /// # Errors
    ///
    /// If a setting of an optimizer or of the schedule is outside its range.
    pub fn try_builder(&self) -> Result<DriverBuilder, DriverConfigError> {
        self.builder(of_optimizer(self.optimizer.try_init())?)
    }

    fn builder(&self, optimizer: ModuleOptimizer) -> Result<DriverBuilder, DriverConfigError> {
        let base = self.optimizer.default_learning_rate();
        let rate = match &self.schedule {
            None => Setting::from(base),
            Some(schedule) => {
                let schedule = self.built(schedule, base);
                Setting::from(schedule.map_err(|error| self.of_schedule(&error))?)
            }
        };
        let mut builder = Driver::builder(optimizer, rate).with_non_finite(self.non_finite);
        builder.settings.clipping = self.clipping.clone();
        builder.settings.accumulation = self.accumulation;
        builder.settings.sam = self.sam.clone();
        builder.settings.mechanic = self.mechanic.clone();
        builder.settings.loss_scaling = self.loss_scaling;
        builder.settings.local_updates = self.local_updates.clone();
        builder.settings.sharded_state = self.sharded_state;
        builder.settings.update_ratios_every = self.update_ratios_every;
        builder.averaging = self.averaging.clone();
        for (name, setting) in &self.driven {
            builder = builder.with_driven(name.as_str(), setting.clone());
        }
        for (at, group) in self.groups.iter().enumerate() {
            let group = group.group(base).map_err(|(field, reason)| {
                DriverConfigError::new(&format!("groups[{at}].{field}"), reason)
            })?;
            builder = builder.with_group(group);
        }
        Ok(builder)
    }

    fn built(
        &self,
        schedule: &ScheduleConfig,
        base: f64,
    ) -> Result<downhill_schedule::Schedule, ScheduleError> {
        match self.steps {
            Some(steps) => schedule.try_build_for(base, steps),
            None => schedule.try_build_at(base),
        }
    }

    fn of_schedule(&self, error: &ScheduleError) -> DriverConfigError {
        let reason = match error {
            ScheduleError::Unresolved {
                schedule,
                field,
                value,
                ..
            } => format!("{schedule}: `{field}` is {value} of `steps`, which is not set"),
            error => error.to_string(),
        };
        DriverConfigError::new("schedule", reason)
    }

    /// The driver for a model. An optimizer of matrices knows its layers:
    /// [`try_init_for`](OptimizerConfig::try_init_for).
    ///
    /// # Errors
    ///
    /// As [`try_builder`](Self::try_builder) and [`DriverBuilder::bind`].
    pub fn bind<M: Module>(&self, model: &M) -> Result<Driver, DriverConfigError> {
        let optimizer = of_optimizer(self.optimizer.try_init_for(model))?;
        let bound = self.builder(optimizer)?.bind(model);
        bound.map_err(|error: BindError| DriverConfigError::new("", error))
    }
}

/// TOML has no null: what is not there has its default, which is none for whatever can be null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                fields
                    .map(|(name, value)| (name, without_nulls(value)))
                    .collect(),
            )
        }
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        value => value,
    }
}

fn of_optimizer(
    made: Result<ModuleOptimizer, ConfigError>,
) -> Result<ModuleOptimizer, DriverConfigError> {
    made.map_err(|error| DriverConfigError::new("optimizer", error))
}

fn read<'de, D: serde::Deserializer<'de>>(
    reader: D,
    said: impl Fn(&D::Error) -> String,
) -> Result<DriverConfig, DriverConfigError> {
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().to_string();
        // Of the whole it is a point.
        let path = if path == "." { "" } else { &path };
        DriverConfigError::new(path, said(error.inner()))
    })
}

/// What is wrong with the configuration of a driver, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverConfigError {
    /// The path of the field, as in `groups[1].optimizer`; empty where it is the whole.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

impl DriverConfigError {
    fn new<E: fmt::Display>(path: &str, reason: E) -> Self {
        Self {
            path: path.to_string(),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for DriverConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.reason),
            path => write!(f, "`{path}`: {}", self.reason),
        }
    }
}

impl core::error::Error for DriverConfigError {}
