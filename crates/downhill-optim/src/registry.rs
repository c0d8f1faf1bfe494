use core::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::config::{Config, GradientClippingConfig};
use crate::declare::{OptimizerInfo, Preset};
use crate::names;
use crate::optimizers::{LIST, SLIDES};
use crate::program::Program;
use crate::settings::{ConfigError, Setting, SettingKind, SettingType, Settings, nearest};
use crate::trajectory::Trajectory;

/// Any optimizer, chosen by name.
///
/// A value that was deserialised is checked when it is built, one from [`from_json`](Self::from_json) at
/// once.
///
/// In JSON it is an object with the optimizer's `name`; settings that are left out have their default, an
/// unknown name or setting is an error that suggests the nearest one. Names are understood however they are
/// spelled (`AdamW`, `beta1`), and as PyTorch, optax, timm and Transformers have them: `adamw_torch`, `lr`, `betas`,
/// `eps`, `wd`. The defaults are always those of this library.
///
/// ```
/// use downhill_optim::{AdamConfig, OptimizerConfig};
///
/// let config = OptimizerConfig::from_json(r#"{"name": "nadam", "beta_1": 0.8}"#)?;
/// # #[cfg(feature = "burn")]
/// let optim = config.try_init()?;
/// let adam = OptimizerConfig::from(AdamConfig::new().with_amsgrad(true));
///
/// let error = OptimizerConfig::by_name("adamv").unwrap_err();
/// assert!(error.to_string().ends_with("did you mean `adam`?"));
/// # Ok::<(), downhill_optim::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct OptimizerConfig(Arc<dyn AnyConfig>);

/// A [`Config`] of whatever rule and preset.
pub(crate) trait AnyConfig: Send + Sync {
    fn info(&self) -> OptimizerInfo;
    fn name(&self) -> &'static str;
    fn learning_rate(&self) -> Option<f64>;
    fn default_learning_rate(&self) -> f64;
    fn settings(&self) -> Vec<&'static Setting>;
    fn inner(&self) -> Option<&OptimizerConfig>;
    fn to_map(&self) -> Map<String, Value>;
    fn steps(&self) -> Map<String, Value>;
    fn grad_clipping(&self) -> Option<&GradientClippingConfig>;
    fn try_program(&self) -> Result<Program, ConfigError>;
}

impl<P: Preset> AnyConfig for Config<P::Rule, P> {
    fn info(&self) -> OptimizerInfo {
        Self::info()
    }
    fn name(&self) -> &'static str {
        Self::NAME
    }
    fn learning_rate(&self) -> Option<f64> {
        self.learning_rate
    }
    fn default_learning_rate(&self) -> f64 {
        self.learning_rate.unwrap_or(P::ABOUT.default_learning_rate)
    }
    fn settings(&self) -> Vec<&'static Setting> {
        Self::settings()
    }
    fn inner(&self) -> Option<&OptimizerConfig> {
        self.rule.inner()
    }
    fn to_map(&self) -> Map<String, Value> {
        self.to_map()
    }
    fn steps(&self) -> Map<String, Value> {
        self.steps()
    }
    fn grad_clipping(&self) -> Option<&GradientClippingConfig> {
        self.grad_clipping.as_ref()
    }
    fn try_program(&self) -> Result<Program, ConfigError> {
        self.try_program()
    }
}

impl<P: Preset> From<Config<P::Rule, P>> for OptimizerConfig {
    fn from(config: Config<P::Rule, P>) -> Self {
        Self(Arc::new(config))
    }
}

/// An optimizer in the list.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    name: &'static str,
    info: fn() -> OptimizerInfo,
    from_map: fn(Map<String, Value>) -> Result<OptimizerConfig, ConfigError>,
}

impl Entry {
    pub(crate) const fn of<P: Preset>() -> Self {
        Self {
            name: P::ABOUT.name,
            info: Config::<P::Rule, P>::info,
            from_map: |map| Ok(Config::<P::Rule, P>::from_map(map)?.into()),
        }
    }

    fn by_name(name: &str) -> Option<Self> {
        let mut entries = LIST.iter().chain(SLIDES);
        entries.find(|entry| names::is(entry.name, name)).copied()
    }

    /// The optimizer of this name with these settings; the name may be that of another library.
    fn make(name: &str, mut settings: Map<String, Value>) -> Result<OptimizerConfig, ConfigError> {
        if let Some(entry) = Self::by_name(name) {
            return (entry.from_map)(settings);
        }
        let other = names::of_optimizer(name);
        let found = other.and_then(|(ours, belong)| Some((Self::by_name(ours)?, belong)));
        let Some((entry, belong)) = found else {
            let all = LIST.iter().chain(SLIDES).map(|entry| entry.name);
            return Err(ConfigError::UnknownName {
                name: name.to_string(),
                nearest: nearest(name, all),
            });
        };
        for (setting, value) in belong {
            if !settings.keys().any(|key| names::says(key, &setting)) {
                settings.insert(setting, value);
            }
        }
        (entry.from_map)(settings)
    }
}

impl OptimizerConfig {
    /// Every optimizer to train with, with a line about it.
    pub fn all() -> Vec<OptimizerInfo> {
        LIST.iter().map(|entry| (entry.info)()).collect()
    }

    /// Those of a slide deck, exactly as printed there: they have names too, and are for comparison.
    pub fn slides() -> Vec<OptimizerInfo> {
        SLIDES.iter().map(|entry| (entry.info)()).collect()
    }

    /// The optimizer of this name, with its default settings.
    ///
    /// # Errors
    ///
    /// Suggests the nearest name if there is none.
    pub fn by_name(name: &str) -> Result<Self, ConfigError> {
        Entry::make(name, Map::new())
    }

    /// The name, as in JSON.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The learning rate to begin with: the one that is set, or the one that its authors or PyTorch start from.
    pub fn default_learning_rate(&self) -> f64 {
        self.0.default_learning_rate()
    }

    /// The learning rate to begin with, if one is set.
    pub fn learning_rate(&self) -> Option<f64> {
        self.0.learning_rate()
    }

    /// A line about it.
    pub fn info(&self) -> OptimizerInfo {
        self.0.info()
    }

    /// The optimizer inside, of a wrapper.
    pub fn inner(&self) -> Option<&Self> {
        self.0.inner()
    }

    /// Whether only `downhill_train::Driver` can step it, because it looks at the whole model or
    /// [needs the loss](Self::needs_loss).
    ///
    /// ```
    /// use downhill_optim::OptimizerConfig;
    ///
    /// assert!(OptimizerConfig::by_name("prodigy")?.needs_driver());
    /// assert!(!OptimizerConfig::by_name("adam")?.needs_driver());
    /// # Ok::<(), downhill_optim::ConfigError>(())
    /// ```
    pub fn needs_driver(&self) -> bool {
        let looks = |program: Program| program.0.of_model().is_some();
        self.needs_loss() || self.0.try_program().is_ok_and(looks)
    }

    /// Whether each step needs the loss that its gradients are of.
    ///
    /// ```
    /// use downhill_optim::OptimizerConfig;
    ///
    /// assert!(OptimizerConfig::by_name("momo")?.needs_loss());
    /// assert!(!OptimizerConfig::by_name("adam")?.needs_loss());
    /// # Ok::<(), downhill_optim::ConfigError>(())
    /// ```
    pub fn needs_loss(&self) -> bool {
        let needs = |program: Program| program.0.needs_loss();
        self.0.try_program().is_ok_and(needs)
    }

    /// The table of its settings.
    pub fn settings(&self) -> Vec<&'static Setting> {
        self.0.settings()
    }

    pub(crate) fn any(&self) -> &dyn AnyConfig {
        &*self.0
    }

    /// The optimizer in f64 on plain numbers, for a parameter of this shape.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn try_trajectory(&self, shape: &[usize]) -> Result<Trajectory, ConfigError> {
        Ok(Trajectory::new(self.0.try_program()?, shape))
    }

    /// Reads a JSON object with a `name`, and checks that the optimizer can be built.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the JSON, the name, a field or a value.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let value: Value =
            serde_json::from_str(json).map_err(|error| ConfigError::Json(error.to_string()))?;
        let config = Self::from_value(value)?;
        config.0.try_program()?;
        Ok(config)
    }

    pub(crate) fn from_value(value: Value) -> Result<Self, ConfigError> {
        let Value::Object(mut settings) = value else {
            return Err(ConfigError::Json(
                "an optimizer is an object with a `name`".to_string(),
            ));
        };
        match settings.remove("name") {
            Some(Value::String(name)) => Entry::make(&name, settings),
            Some(_) => Err(ConfigError::Json("`name` must be a string".to_string())),
            None => Err(ConfigError::Json(
                "an optimizer needs a `name`, for example {\"name\": \"adam\"}".to_string(),
            )),
        }
    }

    pub(crate) fn to_map(&self) -> Map<String, Value> {
        let mut map = self.0.to_map();
        map.insert("name".to_string(), self.name().into());
        map
    }
}

impl PartialEq for OptimizerConfig {
    fn eq(&self, other: &Self) -> bool {
        self.to_map() == other.to_map()
    }
}

impl SettingType for OptimizerConfig {
    const KIND: SettingKind = SettingKind::Optimizer;

    fn optimizer(&self) -> Option<&OptimizerConfig> {
        Some(self)
    }
}

impl fmt::Debug for OptimizerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OptimizerConfig({self})")
    }
}

impl<'de> Deserialize<'de> for OptimizerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The configuration as JSON, as [`from_json`](OptimizerConfig::from_json) reads it.
impl fmt::Display for OptimizerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Value::Object(self.to_map()).to_string())
    }
}

impl Serialize for OptimizerConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_map().serialize(serializer)
    }
}
