//! The table of an optimizer's settings: names, types, defaults, ranges and explanations, from which
//! all the rest about them is made.

use core::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

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

fn suggestion(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The candidate most similar to `word`, if any is similar at all.
pub(crate) fn nearest(
    word: &str,
    candidates: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// What the number of a setting may be.
#[derive(Clone, Copy)]
pub struct Range {
    /// In words, as in "must be ...".
    pub allowed: &'static str,
    contains: fn(f64) -> bool,
}

impl Range {
    /// Whether a number is allowed.
    pub fn contains(&self, number: f64) -> bool {
        (self.contains)(number)
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.allowed)
    }
}

/// A range in words, which documentation needs as a literal.
macro_rules! allowed {
    (ANY) => {
        "anything"
    };
    (DECAY) => {
        "at least 0 and below 1"
    };
    (POSITIVE) => {
        "finite and above 0"
    };
    (NOT_NEGATIVE) => {
        "finite and at least 0"
    };
    (NEGATIVE) => {
        "finite and below 0"
    };
    (AT_LEAST_ONE) => {
        "finite and at least 1"
    };
    (AT_LEAST_FOUR) => {
        "finite and at least 4"
    };
    (SHARE) => {
        "at least 0 and at most 1"
    };
    (SHRINKS) => {
        "above 0 and below 1"
    };
    (GROWS) => {
        "finite and above 1"
    };
}
pub(crate) use allowed;

macro_rules! ranges {
    ($($(#[$doc:meta])* $name:ident: $contains:expr;)*) => {
        $($(#[$doc])* pub(crate) const $name: Range = Range {
            allowed: allowed!($name),
            contains: $contains,
        };)*
    };
}

ranges! {
    /// Of flags, choices and counts.
    ANY: |_| true;
    /// Of a moving average's decay.
    DECAY: |x| (0.0..1.0).contains(&x);
    POSITIVE: |x| x.is_finite() && x > 0.0;
    NOT_NEGATIVE: |x| x.is_finite() && x >= 0.0;
    NEGATIVE: |x| x.is_finite() && x < 0.0;
    AT_LEAST_ONE: |x| x.is_finite() && x >= 1.0;
    AT_LEAST_FOUR: |x| x.is_finite() && x >= 4.0;
    /// Of a weight between two things.
    SHARE: |x| (0.0..=1.0).contains(&x);
    SHRINKS: |x| x > 0.0 && x < 1.0;
    GROWS: |x| x.is_finite() && x > 1.0;
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
}

/// A type that settings can have.
pub trait SettingType: Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned {
    /// What the table calls it.
    const KIND: SettingKind;

    /// The number that is compared with the setting's range.
    fn number(&self) -> Option<f64> {
        None
    }
}

impl SettingType for f64 {
    const KIND: SettingKind = SettingKind::Number;

    fn number(&self) -> Option<f64> {
        Some(*self)
    }
}

impl SettingType for Option<f64> {
    const KIND: SettingKind = SettingKind::OptionalNumber;

    fn number(&self) -> Option<f64> {
        *self
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
