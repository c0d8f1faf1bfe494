//! The table of an optimizer's settings: names, types, defaults, ranges and explanations, from which
//! all the rest about them is made.

use core::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::registry::OptimizerConfig;

pub use downhill_setting::Range;
pub(crate) use downhill_setting::nearest;
use downhill_setting::suggestion;

/// What was wrong with an optimizer's settings, where, and what would be right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting outside its range.
    #[error("{optimizer}: `{field}` must be {allowed}, got {value}")]
    OutOfRange {
        /// The optimizer's name.
        optimizer: &'static str,
        /// The setting's name.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Two settings that exclude each other, or one that the optimizer does not have.
    #[error("{optimizer}: {reason}")]
    Conflict {
        /// The optimizer's name.
        optimizer: &'static str,
        /// Which settings, and why.
        reason: String,
    },
    /// A name that no optimizer has.
    #[error("there is no optimizer `{name}`{}", suggestion(nearest))]
    UnknownName {
        /// The name.
        name: String,
        /// The most similar name, if there is one.
        nearest: Option<&'static str>,
    },
    /// A field that the optimizer does not have.
    #[error("{optimizer}: there is no setting `{field}`{}", suggestion(nearest))]
    UnknownField {
        /// The optimizer's name.
        optimizer: &'static str,
        /// The field.
        field: String,
        /// The most similar field, if there is one.
        nearest: Option<&'static str>,
    },
    /// Not JSON, or a value of the wrong type.
    #[error("{0}")]
    Json(String),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name, in JSON too.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Its type.
    pub kind: SettingKind,
    /// What its number may be, if it is one.
    pub range: Range,
    /// The setting that must not have its default for this one to do anything.
    pub needs: Option<&'static str>,
    /// The other settings, as a JSON object, under which a change of this one can be seen at once.
    pub shown_with: &'static str,
}

/// The type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingKind {
    /// A floating-point number.
    Number,
    /// One that can be left out, with a meaning of its own.
    OptionalNumber,
    /// A whole number.
    Count,
    /// Yes or no.
    Flag,
    /// One of these names.
    Choice(&'static [&'static str]),
    /// Another optimizer.
    Optimizer,
    /// Patterns for the paths of parameters.
    Patterns,
    /// An object.
    Object,
}

/// The settings of a rule, by their place in a table.
pub trait Settings: Clone + Default + fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The table.
    const SETTINGS: &'static [Setting];

    /// The value of a setting.
    ///
    /// # Panics
    ///
    /// Panics if the table has no such place.
    fn get(&self, index: usize) -> Value;

    /// Replaces a setting.
    ///
    /// # Errors
    ///
    /// If the value has another type.
    ///
    /// # Panics
    ///
    /// Panics if the table has no such place.
    fn set(&mut self, index: usize, value: Value) -> Result<(), serde_json::Error>;

    /// The number that a setting is, if it is one.
    ///
    /// # Panics
    ///
    /// Panics if the table has no such place.
    fn number(&self, index: usize) -> Option<f64>;

    /// The optimizer inside, if these are settings of a wrapper.
    fn inner(&self) -> Option<&OptimizerConfig>;
}

/// A type that settings can have.
pub trait SettingType: Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned {
    /// What the table calls it.
    const KIND: SettingKind;

    /// The number that is compared with the setting's range.
    fn number(&self) -> Option<f64> {
        None
    }

    /// The optimizer that it is, if it is one.
    fn optimizer(&self) -> Option<&OptimizerConfig> {
        None
    }

    /// The number that a schedule can drive, if it is one.
    fn number_mut(&mut self) -> Option<&mut f64> {
        None
    }
}

impl SettingType for f64 {
    const KIND: SettingKind = SettingKind::Number;

    fn number(&self) -> Option<f64> {
        Some(*self)
    }

    fn number_mut(&mut self) -> Option<&mut f64> {
        Some(self)
    }
}

impl SettingType for Option<f64> {
    const KIND: SettingKind = SettingKind::OptionalNumber;

    fn number(&self) -> Option<f64> {
        *self
    }

    fn number_mut(&mut self) -> Option<&mut f64> {
        self.as_mut()
    }
}

impl SettingType for usize {
    const KIND: SettingKind = SettingKind::Count;

    fn number(&self) -> Option<f64> {
        Some(*self as f64)
    }
}

impl SettingType for bool {
    const KIND: SettingKind = SettingKind::Flag;
}

/// A number that is not finite is no JSON; it is refused by its range.
pub(crate) fn to_json(value: &impl SettingType) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

pub(crate) fn check_range(
    optimizer: &'static str,
    setting: &Setting,
    number: Option<f64>,
) -> Result<(), ConfigError> {
    match number {
        Some(number) if !setting.range.contains(number) => Err(ConfigError::OutOfRange {
            optimizer,
            field: setting.name,
            value: number.to_string(),
            allowed: setting.range.allowed,
        }),
        _ => Ok(()),
    }
}

/// A type with a few named values, for a setting.
macro_rules! choice {
    (
        $(#[$doc:meta])*
        $choice:ident { $($(#[$value_doc:meta])* $value:ident = $name:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $choice {
            $($(#[$value_doc])* #[serde(rename = $name)] $value,)*
        }

        impl $crate::settings::SettingType for $choice {
            const KIND: $crate::settings::SettingKind =
                $crate::settings::SettingKind::Choice(&[$($name,)*]);
        }
    };
}
pub(crate) use choice;
