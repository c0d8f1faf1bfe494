//! What the numbers and names of a configuration may be, in the words of an error message: the crates of
//! `downhill` say it the same way.
//!
//! ```
//! use downhill_setting::{Range, nearest, suggestion};
//!
//! assert!(!Range::DECAY.contains(1.0));
//! assert_eq!(Range::DECAY.allowed, "at least 0 and below 1");
//!
//! let known = nearest("adamv", ["sgd", "adam"]);
//! assert_eq!(suggestion(&known), "; did you mean `adam`?");
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use core::fmt;

/// A name without what differs between conventions: `CosineAnnealingLR`, `cosine_annealing_lr`.
///
/// ```
/// use downhill_setting::plain;
///
/// assert_eq!(plain("CosineAnnealingLR"), plain("cosine_annealing_lr"));
/// ```
pub fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    letters.flat_map(char::to_lowercase).collect()
}

/// What a number may be.
#[derive(Clone, Copy)]
pub struct Range {
    /// In words, as in "must be ...".
    pub allowed: &'static str,
    contains: fn(f64) -> bool,
}

impl Range {
    /// A range of its own kind.
    pub const fn new(allowed: &'static str, contains: fn(f64) -> bool) -> Self {
        Self { allowed, contains }
    }

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

/// Declares ranges, and their words once more as a macro: documentation that is made of pieces needs
/// literals.
macro_rules! ranges {
    ($($(#[$doc:meta])* $name:ident, $allowed:literal: $contains:expr;)*) => {
        impl Range {
            $($(#[$doc])* pub const $name: Self = Self::new($allowed, $contains);)*
        }

        /// The words of one of the constants of [`Range`], as a literal.
        #[macro_export]
        macro_rules! allowed {
            $(($name) => { $allowed };)*
        }
    };
}

ranges! {
    /// Of flags, choices and counts.
    ANY, "anything": |_| true;
    /// Any number that is one.
    FINITE, "finite": f64::is_finite;
    /// Of a moving average's decay.
    DECAY, "at least 0 and below 1": |x| (0.0..1.0).contains(&x);
    /// Of a rate that must not stand still.
    POSITIVE, "finite and above 0": |x| x.is_finite() && x > 0.0;
    /// Of a rate, or a weight decay.
    NOT_NEGATIVE, "finite and at least 0": |x| x.is_finite() && x >= 0.0;
    /// Of an exponent that has to fall.
    NEGATIVE, "finite and below 0": |x| x.is_finite() && x < 0.0;
    /// Of a count, or a factor that must not make smaller.
    AT_LEAST_ONE, "finite and at least 1": |x| x.is_finite() && x >= 1.0;
    /// Of the number of steps from which a variance is known.
    AT_LEAST_FOUR, "finite and at least 4": |x| x.is_finite() && x >= 4.0;
    /// Of a weight between two things.
    SHARE, "at least 0 and at most 1": |x| (0.0..=1.0).contains(&x);
    /// Of a weight between two things, one of which must have some.
    PORTION, "above 0 and at most 1": |x| x > 0.0 && x <= 1.0;
    /// Of a factor that makes smaller.
    SHRINKS, "above 0 and below 1": |x| x > 0.0 && x < 1.0;
    /// Of a factor that makes larger.
    GROWS, "finite and above 1": |x| x.is_finite() && x > 1.0;
}

/// The candidate most similar to `word`, if any is similar at all; none without the feature `std`.
pub fn nearest<C: AsRef<str>>(word: &str, candidates: impl IntoIterator<Item = C>) -> Option<C> {
    #[cfg(feature = "std")]
    {
        let word = word.to_lowercase();
        let similarity =
            |candidate: &C| strsim::jaro_winkler(&word, &candidate.as_ref().to_lowercase());
        candidates
            .into_iter()
            .map(|candidate| (similarity(&candidate), candidate))
            .filter(|(similarity, _)| *similarity > 0.7)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, candidate)| candidate)
    }
    #[cfg(not(feature = "std"))]
    {
        let _ = (word, candidates);
        None
    }
}

/// The end of a message about a wrong name.
pub fn suggestion(nearest: &Option<impl AsRef<str>>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| {
        format!("; did you mean `{}`?", name.as_ref())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_range_are_one_constant() {
        assert_eq!(allowed!(SHRINKS), Range::SHRINKS.allowed);
        assert!(Range::SHRINKS.contains(0.5) && !Range::SHRINKS.contains(0.0));
    }

    #[test]
    fn no_range_takes_what_is_no_number() {
        for range in [
            Range::FINITE,
            Range::DECAY,
            Range::POSITIVE,
            Range::NOT_NEGATIVE,
            Range::NEGATIVE,
            Range::AT_LEAST_ONE,
            Range::AT_LEAST_FOUR,
            Range::SHARE,
            Range::PORTION,
            Range::SHRINKS,
            Range::GROWS,
        ] {
            assert!(
                !range.contains(f64::NAN) && !range.contains(f64::INFINITY),
                "{range:?}"
            );
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn what_is_not_similar_is_not_suggested() {
        assert_eq!(nearest("Adam", ["adam"]), Some("adam"));
        assert_eq!(nearest("zzz", ["adam"]), None);
        assert_eq!(suggestion(&None::<&str>), "");
    }
}
