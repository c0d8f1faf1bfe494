//! Choices of parameters by their paths, as a setting.

use serde::{Deserialize, Serialize};

use crate::settings::{SettingKind, SettingType};

/// Patterns for the paths of parameters. One without a dot is for every parameter that has it as a segment of its
/// path: `head` for `head.weight`, and for `model.head.linear.weight`. One with dots is for the whole path. `*` stands
/// for a part of a segment, `**` for any number of segments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patterns(Vec<String>);

impl<P: Into<String>, const N: usize> From<[P; N]> for Patterns {
    fn from(patterns: [P; N]) -> Self {
        Self(patterns.map(Into::into).into())
    }
}

impl Patterns {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same as regular expressions, of which one has to match.
    pub fn regexes(&self) -> Vec<String> {
        let regex = |pattern: &String| match pattern.contains('.') || pattern == "**" {
            true => path_regex(pattern),
            false => format!(r"(^|\.){}(\.|$)", segment_regex(pattern)),
        };
        self.0.iter().map(regex).collect()
    }
}

/// A pattern for whole paths as a regular expression: `*` stands for a part of a segment, `**` for any number of
/// segments, and everything else is meant literally.
pub fn path_regex(pattern: &str) -> String {
    let segments: Vec<&str> = pattern.split('.').collect();
    let mut regex = "^".to_string();
    let mut dot = false;
    for (at, segment) in segments.iter().enumerate() {
        if *segment == "**" {
            regex += match (dot, at + 1 == segments.len()) {
                (true, _) => r"(\..+)?",
                (false, true) => ".*",
                (false, false) => r"(.+\.)?",
            };
            continue;
        }
        if dot {
            regex += r"\.";
        }
        regex += &segment_regex(segment);
        dot = true;
    }
    regex + "$"
}

fn segment_regex(pattern: &str) -> String {
    let mut regex = String::new();
    for letter in pattern.chars() {
        match letter {
            '*' => regex += "[^.]*",
            // No other character may be escaped, and none of them has to be.
            letter if r"\.+?()|[]{}^$#&-~".contains(letter) => regex.extend(['\\', letter]),
            letter => regex.push(letter),
        }
    }
    regex
}

impl SettingType for Patterns {
    const KIND: SettingKind = SettingKind::Patterns;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_regular_expressions() {
        let regexes = Patterns::from(["*embed*", "decoder.**", "**", "**.a-b.**.c"]).regexes();
        let expected = [
            r"(^|\.)[^.]*embed[^.]*(\.|$)",
            r"^decoder(\..+)?$",
            "^.*$",
            r"^(.+\.)?a\-b(\..+)?\.c$",
        ];
        assert_eq!(regexes, expected);
    }
}
