use core::fmt;

use burn::grad_clipping::GradientClippingConfig;

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
    /// Two settings that exclude each other.
    #[error("{optimizer}: {reason}")]
    Conflict {
        /// The optimizer's name.
        optimizer: &'static str,
        /// Which settings, and why.
        reason: &'static str,
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

/// One line about an optimizer, for lists and menus.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerInfo {
    /// The name, as in JSON.
    pub name: &'static str,
    /// The learning rate that its authors or PyTorch start from.
    pub default_learning_rate: f64,
    /// State for a parameter of n elements (r rows, c columns), in numbers.
    pub state: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// What it does.
    pub description: &'static str,
}

/// A range of a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub allowed: &'static str,
    pub contains: fn(f64) -> bool,
}

/// Any boolean, any variant, any count.
pub(crate) const ANY: Range = Range {
    allowed: "anything",
    contains: |_| true,
};
/// A moving average's decay.
pub(crate) const DECAY: Range = Range {
    allowed: "at least 0 and below 1",
    contains: |x| (0.0..1.0).contains(&x),
};
pub(crate) const POSITIVE: Range = Range {
    allowed: "finite and above 0",
    contains: |x| x.is_finite() && x > 0.0,
};
pub(crate) const NOT_NEGATIVE: Range = Range {
    allowed: "finite and at least 0",
    contains: |x| x.is_finite() && x >= 0.0,
};
pub(crate) const NEGATIVE: Range = Range {
    allowed: "finite and below 0",
    contains: |x| x.is_finite() && x < 0.0,
};
pub(crate) const AT_LEAST_ONE: Range = Range {
    allowed: "finite and at least 1",
    contains: |x| x.is_finite() && x >= 1.0,
};

/// A setting's type, as far as its range is concerned.
pub(crate) trait Setting: Clone + fmt::Debug {
    fn number(&self) -> Option<f64> {
        None
    }
}

impl Setting for f64 {
    fn number(&self) -> Option<f64> {
        Some(*self)
    }
}

impl Setting for Option<f64> {
    fn number(&self) -> Option<f64> {
        *self
    }
}

impl Setting for bool {}
impl Setting for downhill_rule::NAdamVariant {}
impl Setting for downhill_rule::AdafactorVariant {}
impl Setting for usize {
    fn number(&self) -> Option<f64> {
        Some(*self as f64)
    }
}

pub(crate) fn check_range(
    optimizer: &'static str,
    field: &'static str,
    value: &impl Setting,
    range: Range,
) -> Result<(), ConfigError> {
    match value.number() {
        Some(number) if !(range.contains)(number) => Err(ConfigError::OutOfRange {
            optimizer,
            field,
            value: number.to_string(),
            allowed: range.allowed,
        }),
        _ => Ok(()),
    }
}

/// Burn clips by these thresholds without looking at them.
pub(crate) fn check_clipping(
    optimizer: &'static str,
    clipping: Option<&GradientClippingConfig>,
) -> Result<(), ConfigError> {
    let threshold = match clipping {
        None => return Ok(()),
        Some(
            GradientClippingConfig::Value(threshold) | GradientClippingConfig::Norm(threshold),
        ) => f64::from(*threshold),
    };
    check_range(optimizer, "grad_clipping", &threshold, POSITIVE)
}

/// Declares an optimizer's config: its settings with type, default and range, and from them the
/// struct, its builder methods, its check and its Burn front. `fn rule(&self)` is written by hand.
macro_rules! config {
    (
        $(#[$doc:meta])*
        $config:ident, $name:literal {
            learning_rate: $lr:literal,
            state: $state:literal,
            paper: $paper:literal,
            description: $description:literal,
        }
        $(
            $(#[$field_doc:meta])*
            $field:ident, $with:ident: $type:ty = $default:expr, $range:ident;
        )*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $config {
            $($(#[$field_doc])* pub $field: $type,)*
            /// Clipping of each parameter's gradient, by Burn. Default: none.
            pub grad_clipping: Option<burn::grad_clipping::GradientClippingConfig>,
        }

        impl Default for $config {
            fn default() -> Self {
                Self { $($field: $default,)* grad_clipping: None }
            }
        }

        impl $config {
            /// The name in JSON and in lists.
            pub const NAME: &'static str = $name;

            pub(crate) const FIELDS: &'static [&'static str] =
                &[$(stringify!($field),)* "grad_clipping"];

            /// What lists say of it.
            pub fn info() -> $crate::OptimizerInfo {
                $crate::OptimizerInfo {
                    name: $name,
                    default_learning_rate: $lr,
                    state: $state,
                    paper: $paper,
                    description: $description,
                }
            }

            /// The default settings.
            pub fn new() -> Self {
                Self::default()
            }

            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $with(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*

            /// Sets [`grad_clipping`](Self::grad_clipping).
            #[must_use]
            pub fn with_grad_clipping(
                mut self,
                grad_clipping: Option<burn::grad_clipping::GradientClippingConfig>,
            ) -> Self {
                self.grad_clipping = grad_clipping;
                self
            }

            /// The bare optimizer, for
            /// [`ModuleOptimizer::with_group`](burn::optim::ModuleOptimizer::with_group); it does
            /// not clip.
            ///
            /// # Errors
            ///
            /// Returns the first setting that is outside its range.
            pub fn try_build(&self) -> Result<$crate::RuleOptimizer, $crate::ConfigError> {
                $($crate::config::check_range(
                    $name, stringify!($field), &self.$field, $crate::config::$range,
                )?;)*
                $crate::config::check_clipping($name, self.grad_clipping.as_ref())?;
                let settings = serde_json::to_string(self)
                    .map_err(|error| $crate::ConfigError::Json(error.to_string()))?;
                let identity = $crate::Identity::new($name, settings);
                self.rule().map(|optim| optim.with_identity(identity))
            }

            /// The optimizer of a whole module.
            ///
            /// # Errors
            ///
            /// Returns the first setting that is outside its range.
            pub fn try_init(&self) -> Result<burn::optim::ModuleOptimizer, $crate::ConfigError> {
                let optim = burn::optim::ModuleOptimizer::from(self.try_build()?);
                Ok(match &self.grad_clipping {
                    Some(clipping) => optim.with_grad_clipping(clipping.init()),
                    None => optim,
                })
            }

            /// [`try_build`](Self::try_build), as burn-optim's configs have it.
            ///
            /// # Panics
            ///
            /// Panics if a setting is outside its range.
            pub fn build(&self) -> $crate::RuleOptimizer {
                self.try_build().unwrap_or_else(|error| panic!("{error}"))
            }

            /// [`try_init`](Self::try_init), as burn-optim's configs have it.
            ///
            /// # Panics
            ///
            /// Panics if a setting is outside its range.
            pub fn init(&self) -> burn::optim::ModuleOptimizer {
                self.try_init().unwrap_or_else(|error| panic!("{error}"))
            }
        }
    };
}
pub(crate) use config;
