use alloc::{format, string::String, vec::Vec};
use core::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A part of a whole that is not known yet, in percent: see [`percent`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(f64);

/// `p` percent of the whole: of the number of steps for a [`Length`], of the base rate for a
/// [`Value`].
///
/// ```
/// use downhill_schedule::{CosineConfig, percent};
///
/// // From the optimizer's own rate down to a tenth of it, with 3 % of the training as warmup.
/// let config = CosineConfig::new(percent(100.0), percent(100.0)).with_floor(percent(10.0));
/// let schedule = config.schedule().warmup(percent(3.0)).try_build_for(0.02, 1_000)?;
///
/// assert_eq!(schedule.value(30), 0.02);
/// assert_eq!(schedule.value(1_000), 0.002);
/// # Ok::<(), downhill_schedule::ScheduleError>(())
/// ```
pub fn percent(p: f64) -> Percent {
    Percent(p)
}

/// A schedule's value: a learning rate, or a factor in a multiplier.
///
/// In JSON a number, or a string like `"10%"`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// The value itself, finite and at least 0.
    Absolute(f64),
    /// Percent of the base rate, which [`try_build_for`](crate::ScheduleConfig::try_build_for)
    /// is told; of 1 in a multiplier.
    Percent(f64),
}

impl Value {
    pub(crate) const ZERO: Self = Self::Absolute(0.0);
    pub(crate) const WHOLE: Self = Self::Percent(100.0);
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Absolute(value)
    }
}

impl From<Percent> for Value {
    fn from(percent: Percent) -> Self {
        Self::Percent(percent.0)
    }
}

/// A number of steps.
///
/// A step is one update of the optimizer; within
/// [`per_epoch`](crate::ScheduleConfig::per_epoch) it is one epoch. In JSON a whole number, or a
/// string like `"10%"`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Length {
    /// That many steps.
    Steps(u64),
    /// Percent of the whole, from 0 to 100, rounded to the nearest step. The whole is the number of
    /// steps that [`try_build_for`](crate::ScheduleConfig::try_build_for) is told; for a schedule
    /// inside another it is the part of them that the outer one leaves to it.
    Percent(f64),
}

impl Length {
    pub(crate) const WHOLE: Self = Self::Percent(100.0);
}

impl From<u64> for Length {
    fn from(steps: u64) -> Self {
        Self::Steps(steps)
    }
}

impl From<Percent> for Length {
    fn from(percent: Percent) -> Self {
        Self::Percent(percent.0)
    }
}

/// Lengths in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lengths(pub Vec<Length>);

impl<L: Into<Length>, const N: usize> From<[L; N]> for Lengths {
    fn from(lengths: [L; N]) -> Self {
        Self(lengths.into_iter().map(Into::into).collect())
    }
}

impl<L: Into<Length>> From<Vec<L>> for Lengths {
    fn from(lengths: Vec<L>) -> Self {
        Self(lengths.into_iter().map(Into::into).collect())
    }
}

/// Steps in ascending order, and the value at each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Points(pub Vec<(Length, Value)>);

impl<L: Into<Length>, V: Into<Value>, const N: usize> From<[(L, V); N]> for Points {
    fn from(points: [(L, V); N]) -> Self {
        Self(
            points
                .into_iter()
                .map(|(l, v)| (l.into(), v.into()))
                .collect(),
        )
    }
}

impl<L: Into<Length>, V: Into<Value>> From<Vec<(L, V)>> for Points {
    fn from(points: Vec<(L, V)>) -> Self {
        Self(
            points
                .into_iter()
                .map(|(l, v)| (l.into(), v.into()))
                .collect(),
        )
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(value) => write!(f, "{value}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absolute(value) => serializer.serialize_f64(*value),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Steps(steps) => serializer.serialize_u64(*steps),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

fn parse_percent<E: Error>(text: &str, expected: &str) -> Result<f64, E> {
    let number = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse().ok());
    number.ok_or_else(|| E::custom(format!("\"{text}\" is not {expected}")))
}

const A_VALUE: &str = "a number, or a string like \"10%\"";
const A_LENGTH: &str = "a whole number of steps, or a string like \"10%\"";

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl Visitor<'_> for ValueVisitor {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(A_VALUE)
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Absolute(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Absolute(value as f64))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Absolute(value as f64))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
                parse_percent(text, A_VALUE).map(Value::Percent)
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LengthVisitor;
        impl Visitor<'_> for LengthVisitor {
            type Value = Length;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(A_LENGTH)
            }
            fn visit_u64<E: Error>(self, steps: u64) -> Result<Length, E> {
                Ok(Length::Steps(steps))
            }
            fn visit_f64<E: Error>(self, steps: f64) -> Result<Length, E> {
                // 1e4 is a usual way to write ten thousand.
                let whole = steps as u64;
                if whole as f64 == steps {
                    return Ok(Length::Steps(whole));
                }
                Err(E::invalid_value(Unexpected::Float(steps), &A_LENGTH))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Length, E> {
                parse_percent(text, A_LENGTH).map(Length::Percent)
            }
        }
        deserializer.deserialize_any(LengthVisitor)
    }
}

/// For messages: a list as it would be written in JSON.
pub(crate) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| format!("{item}")).collect();
    format!("[{}]", items.join(", "))
}
