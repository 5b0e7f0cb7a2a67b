//! What users may call things.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Problem;

/// Longest name of a device or an integration, in characters.
pub const MAX_NAME_CHARS: usize = 64;
/// Longest message topic, in bytes.
pub const MAX_TOPIC_BYTES: usize = 256;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is none.
    #[error("the {what} is empty")]
    Empty {
        /// What was named.
        what: &'static str,
    },
    /// It is too long.
    #[error("the {what} {name:?} is too long: {length} {unit}, at most {limit}")]
    TooLong {
        /// What was named.
        what: &'static str,
        /// The beginning of the name.
        name: String,
        /// Its length.
        length: usize,
        /// The longest that is allowed.
        limit: usize,
        /// Unit of both: characters or bytes.
        unit: &'static str,
    },
    /// A character in it may not be.
    #[error("the {what} {name:?} holds {character:?}, which is not allowed")]
    Character {
        /// What was named.
        what: &'static str,
        /// The name.
        name: String,
        /// The first forbidden character.
        character: char,
    },
}

impl NameError {
    /// The same as a [`Problem`] blamed on `field`.
    #[must_use]
    pub fn problem(&self, field: &str) -> Problem {
        let (code, remedy) = match self {
            Self::Empty { what } => ("name_empty", format!("give a {what}")),
            Self::TooLong { limit, unit, .. } => ("name_too_long", format!("use at most {limit} {unit}")),
            Self::Character { what, .. } if *what == TOPIC => {
                ("topic_character", "leave out '+', '#' and NUL: the topic is a name, not a filter".to_owned())
            }
            Self::Character { .. } => {
                ("name_character", "leave out '/', '+', '#', '$' and control characters".to_owned())
            }
        };
        Problem::new(code, self.to_string(), remedy).with_field(field)
    }
}

const TOPIC: &str = "message topic";

fn check_name(what: &'static str, name: &str) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Empty { what });
    }
    let length = name.chars().count();
    if length > MAX_NAME_CHARS {
        let name = name.chars().take(MAX_NAME_CHARS).collect();
        return Err(NameError::TooLong { what, name, length, limit: MAX_NAME_CHARS, unit: "characters" });
    }
    match name.chars().find(|c| matches!(c, '/' | '+' | '#' | '$') || c.is_control()) {
        Some(character) => Err(NameError::Character { what, name: name.to_owned(), character }),
        None => Ok(()),
    }
}

fn check_topic(what: &'static str, topic: &str) -> Result<(), NameError> {
    if topic.trim().is_empty() {
        return Err(NameError::Empty { what });
    }
    if topic.len() > MAX_TOPIC_BYTES {
        let name = topic.chars().take(MAX_NAME_CHARS).collect();
        return Err(NameError::TooLong { what, name, length: topic.len(), limit: MAX_TOPIC_BYTES, unit: "bytes" });
    }
    match topic.chars().find(|c| matches!(c, '+' | '#' | '\0')) {
        Some(character) => Err(NameError::Character { what, name: topic.to_owned(), character }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:expr, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $check($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A device's name: 1 to 64 characters, none of `/ + # $` or control characters.
    DeviceName, "device name", check_name
}
name! {
    /// An integration's name, under the same rule.
    IntegrationName, "integration name", check_name
}
name! {
    /// The message topic of an integration: the property `topic` of what it sends, 1 to 256 bytes, no `+`, `#`, NUL.
    MessageTopic, TOPIC, check_topic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_forbidden_character_is_refused_and_the_character_named() {
        for (name, bad) in [("a/b", '/'), ("a+", '+'), ("#", '#'), ("$x", '$'), ("a\nb", '\n')] {
            match name.parse::<DeviceName>() {
                Err(NameError::Character { character, .. }) => assert_eq!(character, bad),
                other => panic!("{name:?}: {other:?}"),
            }
        }
        assert!("x".repeat(65).parse::<DeviceName>().is_err());
        assert!("".parse::<DeviceName>().is_err() && "  ".parse::<DeviceName>().is_err());
        assert!("Jim's board (kitchen) ü".parse::<DeviceName>().is_ok());
    }

    #[test]
    fn a_message_topic_may_have_levels_but_no_wildcards() {
        assert!("Temp".parse::<MessageTopic>().is_ok() && "plant/{name}/t".parse::<MessageTopic>().is_ok());
        for topic in ["", "a/+", "#", "a\0", &"t".repeat(257)] {
            let error = topic.parse::<MessageTopic>().unwrap_err();
            assert_eq!(error.problem("topic").field.as_deref(), Some("topic"), "{topic:?}");
        }
        assert!("t".repeat(256).parse::<MessageTopic>().is_ok());
    }
}
