//! Groups of parameters as they are written in a file.

use std::collections::BTreeMap;

use downhill_optim::OptimizerConfig;
use serde::{Deserialize, Serialize};

use crate::driven::{MOMENTUM, WEIGHT_DECAY};
use crate::{Group, Select, Setting};

/// A [`Select`] that can be written and read.
///
/// ```
/// use downhill_train::{Select, SelectConfig};
///
/// let json = r#"{"any_of": [{"path": "head.**"}, {"not": {"rank": [2, 4]}}]}"#;
/// let select: SelectConfig = serde_json::from_str(json)?;
/// assert_eq!(Select::from(&select).to_string(), "path `head.**` or not (rank 2 to 4)");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SelectConfig {
    /// [`Select::all`].
    All,
    /// [`Select::path`].
    Path(String),
    /// [`Select::name`].
    Name(String),
    /// [`Select::rank`], from the least number of dimensions to the largest.
    Rank(usize, usize),
    /// What is not chosen.
    Not(Box<Self>),
    /// What one of them chooses.
    AnyOf(Vec<Self>),
    /// What all of them choose.
    AllOf(Vec<Self>),
}

impl From<&SelectConfig> for Select {
    fn from(config: &SelectConfig) -> Self {
        let joined = |all: &[SelectConfig], join: fn(Self, Self) -> Self| {
            all.iter().map(Self::from).reduce(join)
        };
        match config {
            SelectConfig::All => Self::all(),
            SelectConfig::Path(pattern) => Self::path(pattern),
            SelectConfig::Name(name) => Self::name(name),
            SelectConfig::Rank(least, largest) => Self::rank(*least..=*largest),
            SelectConfig::Not(inner) => !Self::from(&**inner),
            SelectConfig::AnyOf(all) => joined(all, |a, b| a | b).unwrap_or_else(|| !Self::all()),
            SelectConfig::AllOf(all) => joined(all, |a, b| a & b).unwrap_or_else(Self::all),
        }
    }
}

/// A [`Group`] that can be written and read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GroupConfig {
    /// Its name, for messages.
    pub name: String,
    /// The parameters in it.
    pub select: SelectConfig,
    /// See [`Group::with_learning_rate_factor`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate_factor: Option<f64>,
    /// See [`Group::with_learning_rate`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<Setting>,
    /// See [`Group::with_weight_decay`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<Setting>,
    /// See [`Group::with_momentum`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum: Option<Setting>,
    /// See [`Group::with_driven`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driven: BTreeMap<String, Setting>,
    /// See [`Group::frozen`].
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub frozen: bool,
    /// See [`Group::with_optimizer_config`]. Its `learning_rate` is the group's: it goes on as that of all others does,
    /// by the same schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<OptimizerConfig>,
}

impl GroupConfig {
    /// A group that changes nothing yet.
    pub fn new(name: impl Into<String>, select: SelectConfig) -> Self {
        Self {
            name: name.into(),
            select,
            learning_rate_factor: None,
            learning_rate: None,
            weight_decay: None,
            momentum: None,
            driven: BTreeMap::new(),
            frozen: false,
            optimizer: None,
        }
    }

    /// [`Group::no_decay`].
    pub fn no_decay() -> Self {
        Self {
            weight_decay: Some(0.0.into()),
            ..Self::new("no_decay", SelectConfig::Rank(0, 1))
        }
    }

    /// The group beside an optimizer whose learning rate begins at `base`. An error has the field's name.
    pub(super) fn group(&self, base: f64) -> Result<Group, (&'static str, String)> {
        self.check()?;
        let mut group = Group::new(self.name.as_str(), Select::from(&self.select));
        let own = self
            .optimizer
            .as_ref()
            .and_then(OptimizerConfig::learning_rate);
        let factor = self.learning_rate_factor.or(own.map(|own| own / base));
        if let Some(factor) = factor {
            group = group.with_learning_rate_factor(factor);
        }
        if let Some(rate) = &self.learning_rate {
            group = group.with_learning_rate(rate.clone());
        }
        let named = [
            (WEIGHT_DECAY, &self.weight_decay),
            (MOMENTUM, &self.momentum),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, setting)| Some((name, setting.as_ref()?)));
        let driven = self
            .driven
            .iter()
            .map(|(name, setting)| (name.as_str(), setting));
        for (name, setting) in named.chain(driven) {
            group = group.with_driven(name, setting.clone());
        }
        if self.frozen {
            group = group.frozen();
        }
        match &self.optimizer {
            Some(optimizer) => group
                .with_optimizer_config(optimizer.clone())
                .map_err(|error| ("optimizer", error.to_string())),
            None => Ok(group),
        }
    }

    /// Whether nothing is said twice.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let own = self
            .optimizer
            .as_ref()
            .and_then(OptimizerConfig::learning_rate);
        let rates = [
            ("learning_rate_factor", self.learning_rate_factor.is_some()),
            ("learning_rate", self.learning_rate.is_some()),
            ("optimizer.learning_rate", own.is_some()),
        ];
        let mut rates = rates.into_iter().filter(|(_, is_set)| *is_set);
        if let (Some((first, _)), Some((second, _))) = (rates.next(), rates.next()) {
            return Err((first, format!("`{second}` says what the rate is, too")));
        }
        let named = [
            (WEIGHT_DECAY, self.weight_decay.is_some()),
            (MOMENTUM, self.momentum.is_some()),
        ];
        let twice = named
            .into_iter()
            .find(|(name, is_set)| *is_set && self.driven.contains_key(*name));
        match twice {
            Some((name, _)) => Err((name, format!("`driven.{name}` says what it is, too"))),
            None => Ok(()),
        }
    }
}
