use core::fmt;
use std::sync::Arc;

use burn::module::ParamGroup;
use burn::optim::{ModuleOptimizer, Optimizer};
use downhill_optim::drive::OfLayer;
use downhill_optim::{ConfigError, OptimizerConfig};
use downhill_setting::Range;
use serde::Serialize;

use crate::driven::{self, DrivenSettings, MOMENTUM, WEIGHT_DECAY};
use crate::params::ParamInfo;
use crate::setting::{OutOfRange, in_range};
use crate::{ParamPath, Setting, path};

/// A choice of parameters.
///
/// ```
/// use downhill_train::Select;
///
/// let head = Select::path("head.**");
/// let biases = Select::name("bias");
/// let rest = !(head | biases);
/// assert_eq!(rest.to_string(), "not (path `head.**` or name `bias`)");
/// ```
#[derive(Clone)]
pub struct Select {
    matches: Arc<dyn Fn(&ParamInfo) -> bool + Send + Sync>,
    description: Arc<str>,
}

impl Select {
    /// The parameters for which `matches` is true; `description` stands for it in messages and in
    /// checkpoints.
    pub fn custom(
        description: impl Into<Arc<str>>,
        matches: impl Fn(&ParamInfo) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            matches: Arc::new(matches),
            description: description.into(),
        }
    }

    /// Every parameter.
    pub fn all() -> Self {
        Self::custom("every parameter", |_| true)
    }

    /// By the path; of a tied parameter by any of them. `*` stands for one segment or a part of one, `**` for any
    /// number of them; everything else is meant literally, from the first letter to the last: `layers.1` is not `layers.10`.
    pub fn path(pattern: impl Into<String>) -> Self {
        let pattern = pattern.into();
        let regex = path::pattern(&pattern);
        Self::custom(format!("path `{pattern}`"), move |info| {
            info.paths().any(|path| regex.is_match(path))
        })
    }

    /// By the last segment of the path, as in `bias`.
    pub fn name(name: impl Into<String>) -> Self {
        let name = name.into();
        let description = format!("name `{name}`");
        Self::custom(description, move |info| {
            let mut names = info.paths().map(|path| path.rsplit('.').next());
            names.any(|last| last == Some(name.as_str()))
        })
    }

    /// By the number of dimensions, as in `1..=1` for vectors.
    pub fn rank(ranks: core::ops::RangeInclusive<usize>) -> Self {
        let (low, high) = (*ranks.start(), *ranks.end());
        Self::custom(format!("rank {low} to {high}"), move |info| {
            ranks.contains(&info.shape.len())
        })
    }

    pub(crate) fn matches(&self, info: &ParamInfo) -> bool {
        (self.matches)(info)
    }
}

impl core::ops::BitOr for Select {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        let description = format!("{self} or {other}");
        Self::custom(description, move |info| {
            self.matches(info) || other.matches(info)
        })
    }
}

impl core::ops::BitAnd for Select {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        let description = format!("({self}) and ({other})");
        Self::custom(description, move |info| {
            self.matches(info) && other.matches(info)
        })
    }
}

impl core::ops::Not for Select {
    type Output = Self;

    fn not(self) -> Self {
        Self::custom(format!("not ({self})"), move |info| !self.matches(info))
    }
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}

impl fmt::Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Select({self})")
    }
}

/// Adds an optimizer for the parameters of these paths, of a model of these layers.
type WithGroup = dyn Fn(ModuleOptimizer, &[String], &[OfLayer]) -> ModuleOptimizer + Send + Sync;

/// Parameters that are treated differently from the others.
///
/// A parameter may be in several groups, as long as no two of them say something about the same: a group
/// without weight decay and one with a smaller rate go together, two rates are an error. So is a group
/// that no parameter is in.
///
/// ```
/// use downhill_train::{Group, Select};
///
/// // No decay for biases and norms, a tenth of the rate for the encoder, nothing for the embedding.
/// let groups = [
///     Group::no_decay(),
///     Group::new("encoder", Select::path("encoder.**")).with_learning_rate_factor(0.1),
///     Group::new("embedding", Select::path("embedding.**")).frozen(),
/// ];
/// ```
#[derive(Clone)]
pub struct Group {
    pub(crate) name: Arc<str>,
    pub(crate) select: Select,
    pub(crate) rate: Option<GroupRate>,
    pub(crate) driven: DrivenSettings,
    pub(crate) frozen: bool,
    pub(crate) optimizer: Option<Arc<WithGroup>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GroupRate {
    Factor(f64),
    Setting(Setting),
}

/// The settings of a group, as they are saved.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GroupSettings {
    #[serde(skip)]
    pub name: Arc<str>,
    learning_rate_factor: Option<f64>,
    learning_rate: Option<Setting>,
    weight_decay: Option<Setting>,
    momentum: Option<Setting>,
    pub driven: DrivenSettings,
    pub frozen: bool,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name)
            .field("select", &self.select)
            .finish_non_exhaustive()
    }
}

impl Group {
    /// A group, by a name for messages, that changes nothing yet.
    pub fn new(name: impl Into<Arc<str>>, select: Select) -> Self {
        Self {
            name: name.into(),
            select,
            rate: None,
            driven: DrivenSettings::default(),
            frozen: false,
            optimizer: None,
        }
    }

    /// No weight decay for vectors: biases, and the scales and shifts of norms. Embeddings and kernels
    /// have more than one dimension and keep theirs.
    pub fn no_decay() -> Self {
        Self::new("no_decay", Select::rank(0..=1)).with_weight_decay(0.0)
    }

    /// Layer-wise decay of the learning rate: of n layers, given from the input to the output, the last
    /// learns at the full rate, the one before at `decay` of it, and the first at `decay^(n-1)`.
    /// Parameters in none of them learn at the full rate.
    ///
    /// ```
    /// use downhill_train::Group;
    ///
    /// let layers = ["embedding.**", "layers.0.**", "layers.1.**", "head.**"];
    /// let groups = Group::layers(0.75, layers);
    /// assert_eq!(groups.len(), 4);
    /// ```
    ///
    /// Source: Clark et al., arXiv 2003.10555 (ELECTRA).
    pub fn layers<'a>(
        decay: f64,
        patterns: impl IntoIterator<Item = &'a str, IntoIter: ExactSizeIterator>,
    ) -> Vec<Self> {
        let patterns = patterns.into_iter();
        let last = patterns.len().saturating_sub(1);
        let group = |(depth, pattern): (usize, &str)| {
            let factor = decay.powi(i32::try_from(last - depth).unwrap_or(i32::MAX));
            Self::new(pattern, Select::path(pattern)).with_learning_rate_factor(factor)
        };
        patterns.enumerate().map(group).collect()
    }

    /// Multiplies the learning rate, whatever it is; at least 0.
    #[must_use]
    pub fn with_learning_rate_factor(mut self, factor: f64) -> Self {
        self.rate = Some(GroupRate::Factor(factor));
        self
    }

    /// A learning rate of its own.
    #[must_use]
    pub fn with_learning_rate(mut self, rate: impl Into<Setting>) -> Self {
        self.rate = Some(GroupRate::Setting(rate.into()));
        self
    }

    /// A weight decay of its own, in the place of the optimizer's; at least 0. It needs an optimizer of
    /// this library.
    #[must_use]
    pub fn with_weight_decay(self, weight_decay: impl Into<Setting>) -> Self {
        self.with_driven(WEIGHT_DECAY, weight_decay)
    }

    /// A momentum of its own, in the place of the optimizer's; in `[0, 1)`. It needs an optimizer of this
    /// library.
    #[must_use]
    pub fn with_momentum(self, momentum: impl Into<Setting>) -> Self {
        self.with_driven(MOMENTUM, momentum)
    }

    /// A number of its own in the place of a setting of the optimizer, by its name: see
    /// [`DriverBuilder::with_driven`](crate::DriverBuilder::with_driven).
    #[must_use]
    pub fn with_driven(mut self, name: impl Into<Arc<str>>, setting: impl Into<Setting>) -> Self {
        self.driven.set(name.into(), setting.into());
        self
    }

    /// The parameters stay as they are, and so does their optimizer's state. Their gradients are dropped:
    /// they still cost their computation, which Burn's `Module::freeze_group` would save.
    #[must_use]
    pub fn frozen(mut self) -> Self {
        self.frozen = true;
        self
    }

    /// Another optimizer, of this library, of Burn's, or a user's own. One of matrices goes by shape alone: see
    /// [`with_optimizer_config`](Self::with_optimizer_config).
    #[must_use]
    pub fn with_optimizer(mut self, optimizer: impl Optimizer) -> Self {
        self.optimizer = Some(Arc::new(move |optim, paths, _| {
            let group = ParamGroup::from_paths(paths.to_vec());
            optim.with_group(group, optimizer.clone(), None)
        }));
        self
    }

    /// Another optimizer of this library. One of matrices leaves to its fallback what it would of a whole model:
    /// embeddings, and what its `no_matrix` names. The configuration's learning rate is not looked at.
    ///
    /// # Errors
    ///
    /// If a setting is outside its range.
    pub fn with_optimizer_config(
        mut self,
        config: impl Into<OptimizerConfig>,
    ) -> Result<Self, ConfigError> {
        let config = config.into();
        config.try_init()?;
        self.optimizer = Some(Arc::new(move |optim, paths, layers| {
            let added = config.try_add_to(optim, paths, layers);
            added.expect("its settings were checked")
        }));
        Ok(self)
    }

    /// What a checkpoint compares of it. Whom it chooses and by which optimizer they are stepped is compared
    /// parameter by parameter.
    pub(crate) fn settings(&self) -> GroupSettings {
        let (learning_rate_factor, learning_rate) = match self.rate.clone() {
            None => (None, None),
            Some(GroupRate::Factor(factor)) => (Some(factor), None),
            Some(GroupRate::Setting(rate)) => (None, Some(rate)),
        };
        GroupSettings {
            name: self.name.clone(),
            learning_rate_factor,
            learning_rate,
            weight_decay: self.driven.get(WEIGHT_DECAY).cloned(),
            momentum: self.driven.get(MOMENTUM).cloned(),
            driven: self.driven.clone(),
            frozen: self.frozen,
        }
    }

    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        match &self.rate {
            Some(GroupRate::Factor(factor)) => {
                in_range(
                    "learning rate factor of a group",
                    *factor,
                    Range::NOT_NEGATIVE,
                )?;
            }
            Some(GroupRate::Setting(rate)) => {
                in_range(
                    "learning rate of a group",
                    rate.value(0),
                    Range::NOT_NEGATIVE,
                )?;
            }
            None => {}
        }
        self.driven.check(" of a group")
    }

    /// What the group says something about.
    fn claims(&self) -> impl Iterator<Item = String> {
        let claims = [
            (self.rate.is_some(), "the learning rate"),
            (self.frozen, "freezing"),
            (self.optimizer.is_some(), "the optimizer"),
        ];
        let claims = claims.into_iter().filter(|claim| claim.0);
        let driven = self.driven.names();
        let driven = driven.map(|name| format!("the {}", driven::label(name)));
        claims.map(|claim| claim.1.to_string()).chain(driven)
    }
}

/// What is wrong with the groups of a driver.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// Nobody is in it.
    #[error("no parameter is in the group `{group}` ({select}); the parameters are {}", crate::report::listed(paths.iter()))]
    Empty {
        /// The group's name.
        group: Arc<str>,
        /// What it chooses.
        select: String,
        /// The paths that there are.
        paths: Vec<ParamPath>,
    },
    /// Nobody is chosen.
    #[error("{select} chooses no parameter; the parameters are {}", crate::report::listed(paths.iter()))]
    NoneChosen {
        /// What chooses.
        select: String,
        /// The paths that there are.
        paths: Vec<ParamPath>,
    },
    /// Two groups that disagree.
    #[error("the groups `{first}` and `{second}` both say something about {what} of `{path}`")]
    Overlap {
        /// A group's name.
        first: Arc<str>,
        /// The other group's name.
        second: Arc<str>,
        /// What they both set.
        what: String,
        /// A parameter in both.
        path: ParamPath,
    },
    /// Two groups of one name.
    #[error("two groups have the name `{group}`")]
    SameName {
        /// The name.
        group: Arc<str>,
    },
    /// A setting outside its range.
    #[error("group `{group}`: {error}")]
    Setting {
        /// The group's name.
        group: Arc<str>,
        /// What is wrong.
        error: OutOfRange,
    },
}

/// Finds for each parameter the groups that it is in.
pub(crate) fn resolve(
    groups: &[Group],
    params: &[&ParamInfo],
) -> Result<Vec<Vec<usize>>, GroupError> {
    let mut of_params = vec![Vec::new(); params.len()];
    for (index, group) in groups.iter().enumerate() {
        let name = || group.name.clone();
        if groups[..index].iter().any(|other| other.name == group.name) {
            return Err(GroupError::SameName { group: name() });
        }
        group.check().map_err(|error| GroupError::Setting {
            group: name(),
            error,
        })?;
        let mut empty = true;
        for (info, of_param) in params.iter().zip(&mut of_params) {
            if !group.select.matches(info) {
                continue;
            }
            empty = false;
            for other in of_param.iter().map(|&other: &usize| &groups[other]) {
                if let Some(what) = group
                    .claims()
                    .find(|what| other.claims().any(|claim| claim == *what))
                {
                    return Err(GroupError::Overlap {
                        first: other.name.clone(),
                        second: name(),
                        what,
                        path: info.path.clone(),
                    });
                }
            }
            of_param.push(index);
        }
        if empty {
            return Err(GroupError::Empty {
                group: name(),
                select: group.select.to_string(),
                paths: params.iter().map(|info| info.path.clone()).collect(),
            });
        }
    }
    Ok(of_params)
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;

    fn param(path: &str) -> ParamInfo {
        ParamInfo {
            path: path.into(),
            aliases: Vec::new(),
            shape: vec![2, 2],
            dtype: DType::F32,
            trainable: true,
        }
    }

    #[test]
    fn a_pattern_stands_for_whole_segments() {
        let matches = |pattern: &str, path: &str| Select::path(pattern).matches(&param(path));
        assert!(matches("a.weight", "a.weight"));
        assert!(!matches("layers.1.weight", "layers.10.weight"));
        assert!(!matches("layers.1", "layers.1.weight"));
        assert!(matches("layers.1.**", "layers.1.weight"));
        assert!(!matches("layers.1.**", "layers.10.weight"));
        assert!(matches("layers.*.weight", "layers.10.weight"));
        assert!(!matches("layers.*.weight", "layers.10.linear.weight"));
        assert!(matches("**.weight", "layers.10.linear.weight"));
        assert!(matches("**", "weight"));
        assert!(matches("linear*.w*t", "linear_2.weight"));
        assert!(!matches("linear*.w*t", "norm.weight"));
        assert!(!matches("", "weight"));
        assert!(!matches("a+b", "aab"));
    }
}
