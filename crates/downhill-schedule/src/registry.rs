use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::combine::*;
use crate::config::Shape;
use crate::scope::{Node, Scope};
use crate::shapes::*;
use crate::{CurveConfig, ReduceOnPlateauConfig, ScheduleError, ScheduleInfo, slides};
use downhill_setting::{nearest, plain};

macro_rules! registry {
    ($($variant:ident($config:ty)),* $(,)?) => {
        /// The settings of any schedule.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Any {
            $($variant($config),)*
        }

        impl Any {
            /// Every schedule, with a line about it.
            pub fn all() -> Vec<ScheduleInfo> {
                vec![$(<$config>::INFO,)*]
            }

            pub fn info(&self) -> ScheduleInfo {
                match self {
                    $(Self::$variant(_) => <$config>::INFO,)*
                }
            }

            /// How many schedules are inside one another, this one counted.
            pub fn depth(&self) -> usize {
                match self {
                    $(Self::$variant(config) => config.depth(),)*
                }
            }

            pub fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError> {
                let at = at.named(self.info().name);
                match self {
                    $(Self::$variant(config) => config.build(&at),)*
                }
            }

            /// The schedule of this name, with its default settings.
            pub fn by_name(name: &str) -> Result<Self, ScheduleError> {
                if let Some(schedule) = after_warmup(name) {
                    return Self::with_warmup(schedule, Map::new());
                }
                $(
                    if is_named(name, &<$config>::INFO) {
                        return Ok(Self::$variant(<$config>::default()));
                    }
                )*
                if ReduceOnPlateauConfig::is_named(name) {
                    return Err(ScheduleError::Json(format!(
                        "`{name}` follows a metric and not the step alone; see `ReduceOnPlateau`"
                    )));
                }
                let names = Self::all().into_iter().flat_map(|info| {
                    info.aliases.iter().copied().chain([info.name])
                });
                let after_warmup = WITH_WARMUP.iter().flat_map(|(_, names)| names.iter().copied());
                let names = names.chain(after_warmup).chain([ReduceOnPlateauConfig::NAME]);
                Err(ScheduleError::UnknownName {
                    name: name.to_owned(),
                    nearest: nearest(name, names).map(ToString::to_string),
                })
            }

            fn from_settings(
                name: &str,
                settings: Map<String, Value>,
            ) -> Result<Self, ScheduleError> {
                match Self::by_name(name)? {
                    $(Self::$variant(_) => {
                        let name = <$config>::INFO.name;
                        known(name, <$config>::FIELDS, &settings)?;
                        let config = <$config>::deserialize(Value::Object(settings));
                        let config = config.map_err(|error| {
                            ScheduleError::Json(format!("{name}: {error}"))
                        })?;
                        Ok(Self::$variant(config))
                    })*
                }
            }
        }

        impl Serialize for Any {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let name = self.info().name;
                match self {
                    $(Self::$variant(settings) => Tagged { name, settings }.serialize(serializer),)*
                }
            }
        }

        $(
            impl From<$config> for Any {
                fn from(config: $config) -> Self {
                    Self::$variant(config)
                }
            }

            impl<U> From<$config> for CurveConfig<U> {
                fn from(config: $config) -> Self {
                    Any::from(config).into()
                }
            }
        )*
    };
}

registry! {
    Constant(ConstantConfig),
    Linear(LinearConfig),
    Step(StepConfig),
    MultiStep(MultiStepConfig),
    Piecewise(PiecewiseConfig),
    Exponential(ExponentialConfig),
    Polynomial(PolynomialConfig),
    Cosine(CosineConfig),
    CosineRestarts(CosineRestartsConfig),
    OneCycle(OneCycleConfig),
    Cyclic(CyclicConfig),
    InverseSqrt(InverseSqrtConfig),
    Noam(NoamConfig),
    Wsd(WsdConfig),
    WsdRepeated(WsdRepeatedConfig),
    Rex(RexConfig),
    Warmup(WarmupConfig),
    Sequence(SequenceConfig),
    Product(ProductConfig),
    Scale(ScaleConfig),
    Clamp(ClampConfig),
    Shift(ShiftConfig),
    Repeat(RepeatConfig),
    PerEpoch(PerEpochConfig),
    Custom(CustomConfig),
    SlidesStep(slides::StepConfig),
    SlidesExponential(slides::ExponentialConfig),
    SlidesCosine(slides::CosineConfig),
    SlidesWarmup(slides::WarmupConfig),
    SlidesRestarts(slides::RestartsConfig),
}

/// Names for a schedule after a warmup.
const WITH_WARMUP: [(&str, &[&str]); 2] = [
    (
        CosineConfig::INFO.name,
        &[
            "warmup_cosine",
            "cosine_with_warmup",
            "get_cosine_schedule_with_warmup",
            "warmup_cosine_decay_schedule",
        ],
    ),
    (
        LinearConfig::INFO.name,
        &[
            "warmup_linear",
            "linear_with_warmup",
            "get_linear_schedule_with_warmup",
        ],
    ),
];

/// The schedule that comes after the warmup, if it is a name for both.
fn after_warmup(name: &str) -> Option<&'static str> {
    let is = |other: &&str| plain(other) == plain(name);
    let found = WITH_WARMUP.iter().find(|(_, names)| names.iter().any(is));
    found.map(|(schedule, _)| *schedule)
}

fn is_named(name: &str, info: &ScheduleInfo) -> bool {
    let name = plain(name);
    name == plain(info.name) || info.aliases.iter().any(|alias| name == plain(alias))
}

fn known(
    schedule: &str,
    fields: &'static [&'static str],
    settings: &Map<String, Value>,
) -> Result<(), ScheduleError> {
    match settings.keys().find(|key| !fields.contains(&key.as_str())) {
        Some(field) => Err(ScheduleError::UnknownField {
            schedule: schedule.to_string(),
            field: field.clone(),
            nearest: nearest(field, fields).map(ToString::to_string),
        }),
        None => Ok(()),
    }
}

impl Any {
    pub fn from_value(value: Value) -> Result<Self, ScheduleError> {
        let json = |message: &str| ScheduleError::Json(message.to_string());
        let Value::Object(mut settings) = value else {
            return Err(json("a schedule is an object with a `name`"));
        };
        match settings.remove("name") {
            Some(Value::String(name)) => match after_warmup(&name) {
                Some(schedule) => Self::with_warmup(schedule, settings),
                None => Self::from_settings(&name, settings),
            },
            Some(_) => Err(json("`name` must be a string")),
            None => Err(json(
                "a schedule needs a `name`, for example {\"name\": \"cosine\"}",
            )),
        }
    }

    /// A schedule with these settings after a warmup, whose length is among them.
    fn with_warmup(
        schedule: &str,
        mut settings: Map<String, Value>,
    ) -> Result<Self, ScheduleError> {
        let lengths = ["warmup", "warmup_steps", "num_warmup_steps"];
        let mut warmup = Map::new();
        for length in lengths.into_iter().filter_map(|name| settings.remove(name)) {
            if warmup.insert("steps".to_string(), length).is_some() {
                return Err(ScheduleError::Json(format!(
                    "the length of a warmup is one of `{}`",
                    lengths.join("`, `")
                )));
            }
        }
        settings.insert("name".to_string(), schedule.into());
        warmup.insert("schedule".to_string(), Value::Object(settings));
        Self::from_settings(WarmupConfig::INFO.name, warmup)
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// In a fixed order, whatever the features of serde_json are: fingerprints depend on it.
#[derive(Serialize)]
struct Tagged<'a, C> {
    name: &'static str,
    #[serde(flatten)]
    settings: &'a C,
}
