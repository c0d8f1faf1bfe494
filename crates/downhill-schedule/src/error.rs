use alloc::string::String;
use downhill_setting::suggestion;

/// What was wrong with a schedule's settings, where, and what would be right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A setting outside its range.
    #[error("{schedule}: `{field}` must be {allowed}, got {value}")]
    OutOfRange {
        /// The schedule's name, after those of the schedules around it.
        schedule: String,
        /// The setting's name.
        field: String,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// Settings that exclude each other, or one that is missing.
    #[error("{schedule}: {reason}")]
    Conflict {
        /// The schedule's name, after those of the schedules around it.
        schedule: String,
        /// Which settings, and why.
        reason: String,
    },
    /// A part of a whole that is not known.
    #[error(
        "{schedule}: `{field}` is {value} of {whole}, which is not known here; \
         give a number, or tell `try_build_for` the whole"
    )]
    Unresolved {
        /// The schedule's name, after those of the schedules around it.
        schedule: String,
        /// The setting's name.
        field: String,
        /// Its value, in percent.
        value: String,
        /// What it is a part of.
        whole: &'static str,
    },
    /// More schedules inside one another than [`MAX_DEPTH`](crate::ScheduleConfig::MAX_DEPTH).
    #[error(
        "more than {} schedules are inside one another; combine fewer, or compute the value in a \
         function (`ScheduleConfig::custom`)",
        crate::ScheduleConfig::MAX_DEPTH
    )]
    TooDeep,
    /// A name that no schedule has.
    #[error("there is no schedule `{name}`{}", suggestion(nearest))]
    UnknownName {
        /// The name.
        name: String,
        /// The most similar name, if there is one.
        nearest: Option<String>,
    },
    /// A field that the schedule does not have.
    #[error("{schedule}: there is no setting `{field}`{}", suggestion(nearest))]
    UnknownField {
        /// The schedule's name.
        schedule: String,
        /// The field.
        field: String,
        /// The most similar field, if there is one.
        nearest: Option<String>,
    },
    /// Not JSON, or a value of the wrong type.
    #[error("{0}")]
    Json(String),
}
