//! How an optimizer is declared.

use crate::decay::{Decay, Shared};
use crate::program::Program;
use crate::settings::{ConfigError, Settings};

/// What an optimizer looks at before it moves an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// The element.
    Element,
    /// The whole of its tensor.
    Tensor,
    /// Its row and its column.
    RowsAndColumns,
    /// Its tensor as a matrix.
    Matrix,
    /// All tensors that move: a driver has to step it.
    Model,
}

impl core::fmt::Display for Scope {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Element => "element",
            Self::Tensor => "tensor",
            Self::RowsAndColumns => "rows, columns",
            Self::Matrix => "matrix",
            Self::Model => "model",
        })
    }
}

/// One line about an optimizer, for lists and menus.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OptimizerInfo {
    /// The name, as in JSON.
    pub name: &'static str,
    /// The name of its configuration's type.
    pub config: &'static str,
    /// The learning rate that its authors or PyTorch start from.
    pub default_learning_rate: f64,
    /// State for a parameter of n elements (r rows, c columns), in numbers.
    pub state: String,
    /// What it looks at before it moves a parameter.
    pub scope: Scope,
    /// How often it goes over a matrix for one step.
    pub passes: usize,
    /// Where it was published.
    pub paper: &'static str,
    /// What it does.
    pub description: &'static str,
}

/// What is fixed about an optimizer.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The name, as in JSON.
    pub name: &'static str,
    /// The name of its configuration's type.
    pub config: &'static str,
    /// The learning rate that its authors or PyTorch start from.
    pub default_learning_rate: f64,
    /// State for a parameter of n elements, where counting the rule's tensors does not tell it.
    pub state: Option<&'static str>,
    /// Where it was published.
    pub paper: &'static str,
    /// What it does.
    pub description: &'static str,
    /// Whether and how it decays weights.
    pub decay: Option<Decay>,
    /// Whether it can climb.
    pub maximize: bool,
}

/// A name for a rule with certain defaults. Every rule with settings has one of its own; AdamW is another
/// of Adam.
pub trait Preset: Send + Sync + 'static {
    /// The rule.
    type Rule: Programs;
    /// What is fixed about it.
    const ABOUT: About;

    /// The rule's default settings.
    fn settings() -> Self::Rule {
        Self::Rule::default()
    }
}

/// Settings from which a program can be made.
pub trait Programs: Settings {
    /// The program for these settings.
    ///
    /// # Errors
    ///
    /// If settings exclude each other.
    fn program(self, shared: &Shared) -> Result<Program, ConfigError>;
}

/// Declares an optimizer: a rule with its settings, each with type, default and range, and what is fixed
/// about it. From that come the struct, its default, the builder methods of its configuration and JSON, and an
/// example of them, with the calls after `new`.
///
/// A range may be followed by `at start`: of a number that decides about the state, or what it starts from, so
/// that no schedule can drive it. A last part says which program runs for which settings, where it is not always
/// the rule itself.
macro_rules! optimizer {
    ($($declaration:tt)*) => {
        $crate::declare::declare! { [Copy] $($declaration)* }
    };
}
pub(crate) use optimizer;

/// Declares an optimizer around another one, which is one of its settings.
macro_rules! wrapper {
    ($($declaration:tt)*) => {
        $crate::declare::declare! { [] $($declaration)* }
    };
}
pub(crate) use wrapper;

/// Declares an optimizer of matrices: one with settings that say what is a matrix, and who steps the others. The last
/// part says which program runs for matrices.
macro_rules! matrix_optimizer {
    (
        $(#[$doc:meta])*
        $rule:ident as $config:ident, $name:literal { $($about:tt)* }
        $(
            $(#[doc = $field_doc:literal])*
            $field:ident, $with:ident: $type:ty = $default:expr, $range:ident $(at $start:ident)?
            $(, needs $needs:ident)? $(, shown_with $shown:literal)?;
        )*
        => |$self:ident, $shared:ident| $program:expr
    ) => {
        $crate::declare::declare! {
            []
            $(#[$doc])*
            $rule as $config, $name { $($about)* }
            $(
                $(#[doc = $field_doc])*
                $field, $with: $type = $default, $range $(at $start)?
                $(, needs $needs)? $(, shown_with $shown)?;
            )*
            /// Paths of parameters that are no matrices to it, for the optimizer of a whole module.
            no_matrix, with_no_matrix: $crate::Patterns = $crate::matrix::no_matrix(), ANY;
            /// The optimizer of what is no matrix: vectors, scalars, what has one row or one column, and what
            /// `no_matrix` names. It has settings of its own, also where they are called the same, and climbs where the
            /// whole does.
            fallback, with_fallback: $crate::OptimizerConfig = $crate::AdamWConfig::new().into(), ANY;
            /// Multiplies the learning rate of the fallback.
            fallback_rate, with_fallback_rate: f64 = 1.0, POSITIVE at start;
            => |$self, $shared| {
                let routing = $crate::matrix::Routing {
                    no_matrix: $self.no_matrix.clone(),
                    fallback: $self.fallback.clone(),
                    fallback_rate: $self.fallback_rate,
                };
                let matrices: Result<$crate::program::Program, $crate::settings::ConfigError> = $program;
                routing.program($shared, matrices?)
            }
        }
    };
}
pub(crate) use matrix_optimizer;

/// What [`optimizer`] and [`wrapper`] make; the latter's settings cannot be `Copy`.
macro_rules! declare {
    (
        [$($copy:ident)?]
        $(#[$doc:meta])*
        $rule:ident as $config:ident, $name:literal {
            learning_rate: $lr:literal,
            $(state: $state:literal,)?
            paper: $paper:literal,
            description: $description:literal,
            decay: $decay:expr,
            $(maximize: $maximize:literal,)?
            $(example: $example:literal,)?
        }
        $(
            $(#[doc = $field_doc:literal])*
            $field:ident, $with:ident: $type:ty = $default:expr, $range:ident $(at $start:ident)?
            $(, needs $needs:ident)? $(, shown_with $shown:literal)?;
        )*
        $(=> |$self:ident, $shared:ident| $program:expr)?
    ) => {
        $(#[$doc])*
        $(#[doc = $crate::declare::example!($config, $example)])?
        #[derive(Clone, $($copy,)? Debug, PartialEq)]
        pub struct $rule {
            $(
                $(#[doc = $field_doc])*
                #[doc = concat!(
                    "\n\nDefault: `", stringify!($default), "`. Range: ",
                    downhill_setting::allowed!($range), "."
                )]
                pub $field: $type,
            )*
        }

        #[doc = concat!("The configuration of [`", stringify!($rule), "`].")]
        pub type $config = $crate::config::Config<$rule>;

        impl Default for $rule {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::settings::Settings for $rule {
            const SETTINGS: &'static [$crate::settings::Setting] = &[$(
                $crate::settings::Setting {
                    name: stringify!($field),
                    doc: concat!($($field_doc, "\n",)*),
                    kind: <$type as $crate::settings::SettingType>::KIND,
                    range: $crate::settings::Range::$range,
                    needs: $crate::declare::given!($(Some(stringify!($needs)))?, None),
                    shown_with: $crate::declare::given!($($shown)?, "{}"),
                },
            )*];

            fn get(&self, index: usize) -> serde_json::Value {
                let fields: &[fn(&Self) -> serde_json::Value] =
                    &[$(|rule| $crate::settings::to_json(&rule.$field),)*];
                fields[index](self)
            }

            fn set(
                &mut self,
                index: usize,
                value: serde_json::Value,
            ) -> Result<(), serde_json::Error> {
                type Set = fn(&mut $rule, serde_json::Value) -> Result<(), serde_json::Error>;
                let fields: &[Set] = &[$(|rule, value| {
                    rule.$field = serde_json::from_value(value)?;
                    Ok(())
                },)*];
                fields[index](self, value)
            }

            fn number(&self, index: usize) -> Option<f64> {
                let fields: &[fn(&Self) -> Option<f64>] =
                    &[$(|rule| $crate::settings::SettingType::number(&rule.$field),)*];
                fields[index](self)
            }

            fn inner(&self) -> Option<&$crate::OptimizerConfig> {
                None$(.or_else(|| $crate::settings::SettingType::optimizer(&self.$field)))*
            }
        }

        impl downhill_rule::Numbers for $rule {
            fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
                match name {
                    $(stringify!($field) => $crate::declare::given!(
                        $($crate::declare::only_at!($start))?,
                        $crate::settings::SettingType::number_mut(&mut self.$field)
                    ),)*
                    _ => None,
                }
            }
        }

        impl<P: $crate::declare::Preset<Rule = $rule>> $crate::config::Config<$rule, P> {
            $(
                #[doc = concat!(
                    "Sets [`", stringify!($field), "`](", stringify!($rule), "::",
                    stringify!($field), ")."
                )]
                #[must_use]
                pub fn $with(mut self, $field: $type) -> Self {
                    self.rule.$field = $field;
                    self
                }
            )*
        }

        impl $crate::declare::Preset for $rule {
            type Rule = Self;
            const ABOUT: $crate::declare::About = $crate::declare::About {
                name: $name,
                config: stringify!($config),
                default_learning_rate: $lr,
                state: $crate::declare::given!($(Some($state))?, None),
                paper: $paper,
                description: $description,
                decay: $decay,
                maximize: $crate::declare::given!($($maximize)?, true),
            };
        }

        impl $crate::declare::Programs for $rule {
            fn program(
                self,
                shared: &$crate::decay::Shared,
            ) -> Result<$crate::program::Program, $crate::settings::ConfigError> {
                $crate::declare::given!(
                    $({
                        let ($self, $shared) = (self, shared);
                        $program
                    })?,
                    shared.run(self)
                )
            }
        }
    };
}
pub(crate) use declare;

/// An example of a configuration, as documentation; the second is the calls after `new`.
macro_rules! example {
    ($config:ident, $calls:literal) => {
        concat!(
            "\n\n```\nuse downhill_optim::",
            stringify!($config),
            ";\n\nlet optim = ",
            stringify!($config),
            "::new()",
            $calls,
            ".init();\n```"
        )
    };
}
pub(crate) use example;

/// The first of the two if it is there.
macro_rules! given {
    (, $default:expr) => {
        $default
    };
    ($value:expr, $default:expr) => {
        $value
    };
}
pub(crate) use given;

/// What a schedule gets of a setting that only the start knows.
macro_rules! only_at {
    (start) => {
        None
    };
}
pub(crate) use only_at;

/// Declares another name for a rule, with other defaults.
macro_rules! preset {
    (
        $(#[$doc:meta])*
        $preset:ident as $config:ident of $rule:ident, $name:literal {
            learning_rate: $lr:literal,
            $(state: $state:literal,)?
            paper: $paper:literal,
            description: $description:literal,
            decay: $decay:expr,
            $(settings: $settings:expr,)?
            $(example: $example:literal,)?
        }
    ) => {
        $(#[$doc])*
        $(#[doc = $crate::declare::example!($config, $example)])?
        #[derive(Clone, Copy, Debug)]
        pub struct $preset;

        #[doc = concat!("The configuration of [`", stringify!($preset), "`].")]
        pub type $config = $crate::config::Config<$rule, $preset>;

        impl $crate::declare::Preset for $preset {
            type Rule = $rule;
            const ABOUT: $crate::declare::About = $crate::declare::About {
                name: $name,
                config: stringify!($config),
                default_learning_rate: $lr,
                state: $crate::declare::given!($(Some($state))?, None),
                paper: $paper,
                description: $description,
                decay: $decay,
                maximize: true,
            };
            $(
                fn settings() -> $rule {
                    $settings
                }
            )?
        }
    };
}
pub(crate) use preset;
