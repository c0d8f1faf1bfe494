use core::fmt;

use burn::optim::ModuleOptimizer;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::config::nearest;
use crate::configs::slides;
use crate::{
    AdaGradConfig, AdafactorConfig, AdamConfig, AdamWConfig, ConfigError, NAdamConfig,
    OptimizerInfo, RmsPropConfig, RuleOptimizer, SgdConfig,
};

macro_rules! registry {
    ($($variant:ident($config:ty)),* $(,)?) => {
        /// Any optimizer, chosen by name.
        ///
        /// A value that was deserialised is checked when it is built, one from
        /// [`from_json`](Self::from_json) at once.
        ///
        /// In JSON it is an object with the optimizer's `name`; settings that are left out have their
        /// default, an unknown name or setting is an error that suggests the nearest one.
        ///
        /// ```
        /// use downhill_optim::OptimizerConfig;
        ///
        /// let config = OptimizerConfig::from_json(r#"{"name": "nadam", "beta_1": 0.8}"#)?;
        /// let optim = config.try_init()?;
        ///
        /// let error = OptimizerConfig::by_name("adamv").unwrap_err();
        /// assert!(error.to_string().ends_with("did you mean `adam`?"));
        /// # Ok::<(), downhill_optim::ConfigError>(())
        /// ```
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum OptimizerConfig {
            $(
                #[doc = concat!("See [`", stringify!($config), "`].")]
                $variant($config),
            )*
        }

        impl OptimizerConfig {
            /// Every optimizer, with a line about it.
            pub fn all() -> Vec<OptimizerInfo> {
                vec![$(<$config>::info(),)*]
            }

            /// The optimizer of this name, with its default settings.
            ///
            /// # Errors
            ///
            /// Suggests the nearest name if there is none.
            pub fn by_name(name: &str) -> Result<Self, ConfigError> {
                match name {
                    $(<$config>::NAME => Ok(Self::$variant(<$config>::new())),)*
                    _ => Err(ConfigError::UnknownName {
                        name: name.to_string(),
                        nearest: nearest(name, [$(<$config>::NAME,)*]),
                    }),
                }
            }

            /// The name, as in JSON.
            pub fn name(&self) -> &'static str {
                self.optimizer_info().name
            }

            /// The learning rate that its authors or PyTorch start from.
            pub fn default_learning_rate(&self) -> f64 {
                self.optimizer_info().default_learning_rate
            }

            fn optimizer_info(&self) -> OptimizerInfo {
                match self {
                    $(Self::$variant(_) => <$config>::info(),)*
                }
            }

            /// The bare optimizer, without clipping.
            ///
            /// # Errors
            ///
            /// Returns the first setting that is outside its range.
            pub fn try_build(&self) -> Result<RuleOptimizer, ConfigError> {
                match self {
                    $(Self::$variant(config) => config.try_build(),)*
                }
            }

            /// The optimizer of a whole module.
            ///
            /// # Errors
            ///
            /// Returns the first setting that is outside its range.
            pub fn try_init(&self) -> Result<ModuleOptimizer, ConfigError> {
                match self {
                    $(Self::$variant(config) => config.try_init(),)*
                }
            }

            /// The settings, without the name.
            fn settings(&self) -> serde_json::Result<Value> {
                match self {
                    $(Self::$variant(config) => serde_json::to_value(config),)*
                }
            }

            fn from_settings(name: &str, settings: Map<String, Value>) -> Result<Self, ConfigError> {
                match Self::by_name(name)? {
                    $(Self::$variant(_) => {
                        known(<$config>::NAME, <$config>::FIELDS, &settings)?;
                        let config = <$config>::deserialize(Value::Object(settings));
                        let config = config.map_err(|error| {
                            ConfigError::Json(format!("{}: {error}", <$config>::NAME))
                        })?;
                        Ok(Self::$variant(config))
                    })*
                }
            }
        }

        $(
            impl From<$config> for OptimizerConfig {
                fn from(config: $config) -> Self {
                    Self::$variant(config)
                }
            }
        )*
    };
}

registry! {
    Sgd(SgdConfig),
    AdaGrad(AdaGradConfig),
    RmsProp(RmsPropConfig),
    Adam(AdamConfig),
    AdamW(AdamWConfig),
    NAdam(NAdamConfig),
    Adafactor(AdafactorConfig),
    SlidesMomentum(slides::MomentumConfig),
    SlidesNAdam(slides::NAdamConfig),
    SlidesAdaFactor(slides::AdaFactorConfig),
}

fn known(
    optimizer: &'static str,
    fields: &'static [&'static str],
    settings: &Map<String, Value>,
) -> Result<(), ConfigError> {
    match settings.keys().find(|key| !fields.contains(&key.as_str())) {
        Some(field) => Err(ConfigError::UnknownField {
            optimizer,
            field: field.clone(),
            nearest: nearest(field, fields.iter().copied()),
        }),
        None => Ok(()),
    }
}

impl OptimizerConfig {
    /// Reads a JSON object with a `name`, and checks that the optimizer can be built.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the JSON, the name, a field or a value.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let value: Value =
            serde_json::from_str(json).map_err(|error| ConfigError::Json(error.to_string()))?;
        let config = Self::from_value(value)?;
        config.try_build()?;
        Ok(config)
    }

    fn from_value(value: Value) -> Result<Self, ConfigError> {
        let Value::Object(mut settings) = value else {
            return Err(ConfigError::Json(
                "an optimizer is an object with a `name`".to_string(),
            ));
        };
        match settings.remove("name") {
            Some(Value::String(name)) => Self::from_settings(&name, settings),
            Some(_) => Err(ConfigError::Json("`name` must be a string".to_string())),
            None => Err(ConfigError::Json(
                "an optimizer needs a `name`, for example {\"name\": \"adam\"}".to_string(),
            )),
        }
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
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for OptimizerConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Map::new();
        object.insert("name".to_string(), self.name().into());
        if let Value::Object(settings) = self.settings().map_err(S::Error::custom)? {
            object.extend(settings);
        }
        object.serialize(serializer)
    }
}
