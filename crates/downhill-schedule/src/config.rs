use crate::ScheduleError;
use crate::scope::{Node, Scope};

/// One line about a schedule, for lists and menus.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ScheduleInfo {
    /// The name, as in JSON.
    pub name: &'static str,
    /// Other names that are understood.
    pub aliases: &'static [&'static str],
    /// Where it comes from.
    pub source: &'static str,
    /// What it does.
    pub description: &'static str,
}

/// Settings that a schedule can be built from.
pub(crate) trait Shape {
    /// How many schedules are inside one another, this one counted.
    fn depth(&self) -> usize {
        1
    }

    /// Checks the settings, replaces each percentage by what it comes to, and returns the schedule.
    fn build(&mut self, at: &Scope) -> Result<Node, ScheduleError>;
}

/// Declares a schedule's config: its settings with type and default, and from them the struct, its
/// constructor and its builder methods. [`Shape`] is implemented by hand.
macro_rules! shape {
    (
        $(#[$doc:meta])*
        $config:ident, $name:literal {
            aliases: $aliases:expr,
            source: $source:literal,
            description: $description:literal,
        }
        new($($arg:ident: $arg_type:ty),*);
        $(
            $(#[$field_doc:meta])*
            $field:ident, $with:ident($with_type:ty): $type:ty = $default:expr;
        )*
    ) => {
        $crate::config::settings! {
            $(#[$doc])*
            pub $config, $name {
                aliases: $aliases,
                source: $source,
                description: $description,
            }
            $(
                $(#[$field_doc])*
                $field: $type = $default;
            )*
        }

        impl $config {
            /// These settings, and the defaults of all others.
            // Some arguments are what they become already, some leave nothing to a default.
            #[allow(clippy::useless_conversion, clippy::needless_update)]
            pub fn new($($arg: $arg_type),*) -> Self {
                Self { $($arg: $arg.into(),)* ..Self::default() }
            }

            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                #[allow(clippy::useless_conversion)]
                pub fn $with(mut self, $field: $with_type) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*

            /// As a schedule of the learning rate, for combining with others.
            pub fn schedule(self) -> $crate::ScheduleConfig {
                self.into()
            }

            /// As a multiplier, for multiplying schedules with.
            pub fn multiplier(self) -> $crate::MultiplierConfig {
                self.into()
            }

            /// The schedule of the learning rate.
            ///
            /// # Errors
            ///
            /// Returns the first setting that is wrong, or a percentage: see
            /// [`try_build_for`](Self::try_build_for).
            pub fn try_build(&self) -> Result<$crate::Schedule, $crate::ScheduleError> {
                self.clone().schedule().try_build()
            }

            /// The schedule of the learning rate, with percentages of the base rate `lr` and of
            /// `steps`.
            ///
            /// # Errors
            ///
            /// Returns the first setting that is wrong.
            pub fn try_build_for(
                &self,
                lr: f64,
                steps: u64,
            ) -> Result<$crate::Schedule, $crate::ScheduleError> {
                self.clone().schedule().try_build_for(lr, steps)
            }
        }
    };
}
pub(crate) use shape;

/// Declares the settings of a schedule, with type and default.
macro_rules! settings {
    (
        $(#[$doc:meta])*
        $vis:vis $config:ident, $name:literal {
            aliases: $aliases:expr,
            source: $source:literal,
            description: $description:literal,
        }
        $(
            $(#[$field_doc:meta])*
            $field:ident: $type:ty = $default:expr;
        )*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        $vis struct $config {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Default for $config {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $config {
            pub(crate) const FIELDS: &'static [&'static str] = &[$(stringify!($field),)*];

            pub(crate) const INFO: $crate::ScheduleInfo = $crate::ScheduleInfo {
                name: $name,
                aliases: $aliases,
                source: $source,
                description: $description,
            };
        }
    };
}
pub(crate) use settings;
