use core::{borrow::Borrow, fmt, ops::Deref};
use std::sync::Arc;

use downhill_optim::path_regex;
use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A [pattern](crate::Select::path) for paths.
pub(crate) fn pattern(pattern: &str) -> Regex {
    Regex::new(&path_regex(pattern)).expect("what is no letter is escaped")
}

/// The path of a parameter in its module, as in `encoder.linear.weight`. A clone shares it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamPath(Arc<str>);

impl ParamPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for ParamPath {
    fn from(path: T) -> Self {
        Self(path.into())
    }
}

impl Deref for ParamPath {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ParamPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for ParamPath {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for ParamPath {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Debug for ParamPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ParamPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for ParamPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ParamPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}
