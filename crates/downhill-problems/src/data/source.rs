//! Data by name, for command lines.

use std::{fmt, path::PathBuf, str::FromStr};

use thiserror::Error;

use super::{DataError, Split, csv, deck, digits};

/// Where data comes from, by name: `digits`, `deck` or `csv:PATH`.
///
/// ```
/// use downhill_problems::data::DataSource;
///
/// let source: DataSource = "digits".parse()?;
/// assert_eq!(source.load()?.test.samples(), 362);
/// assert_eq!("csv:iris.csv".parse(), Ok(DataSource::Csv("iris.csv".into())));
/// assert_eq!(
///     "iris.csv".parse::<DataSource>().unwrap_err().to_string(),
///     "unknown data 'iris.csv'; expected digits, deck or csv:PATH (did you mean csv:iris.csv?)"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSource {
    /// Handwritten digits, see [`digits`].
    Digits,
    /// Random numbers, see [`deck`].
    Deck,
    /// A CSV file, see [`csv()`].
    Csv(PathBuf),
}

/// A name that is no [`DataSource`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UnknownDataSource {
    /// The name is none of the three.
    #[error(
        "unknown data '{name}'; expected digits, deck or csv:PATH{}",
        csv_hint(name)
    )]
    Name {
        /// The name as given.
        name: String,
    },
    /// `csv:` without a path.
    #[error("'csv:' needs the path of a file, as in csv:train.csv")]
    NoPath,
}

fn csv_hint(name: &str) -> String {
    if name.to_lowercase().ends_with(".csv") {
        format!(" (did you mean csv:{name}?)")
    } else {
        String::new()
    }
}

impl FromStr for DataSource {
    type Err = UnknownDataSource;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match (name, name.strip_prefix("csv:")) {
            ("digits", _) => Ok(Self::Digits),
            ("deck", _) => Ok(Self::Deck),
            (_, Some("")) => Err(UnknownDataSource::NoPath),
            (_, Some(path)) => Ok(Self::Csv(path.into())),
            _ => Err(UnknownDataSource::Name { name: name.into() }),
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits => f.write_str("digits"),
            Self::Deck => f.write_str("deck"),
            Self::Csv(path) => write!(f, "csv:{}", path.display()),
        }
    }
}

impl DataSource {
    /// Reads the data and splits it, see [`Classification::split`](super::Classification::split).
    /// The features of a CSV file are standardized, see [`Split::standardize`].
    ///
    /// # Errors
    /// A [`DataError`] if a CSV file cannot be read or its data cannot be used.
    pub fn load(&self) -> Result<Split, DataError> {
        match self {
            Self::Digits => Ok(digits()),
            Self::Deck => deck().split(),
            Self::Csv(path) => {
                let mut split = csv(path)?.split()?;
                split.standardize();
                Ok(split)
            }
        }
    }
}
