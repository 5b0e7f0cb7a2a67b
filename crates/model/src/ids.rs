//! Ids of devices and integrations.
//!
//! Ids are random (80 bits, lower-case base 32), so they can be made anywhere without asking anybody, and they are
//! public: a device id is an MQTT user name and a topic level, never a secret.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Letters of an id: base 32 without `i`, `l`, `o`, `u`, which people misread.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters of an id; 16 letters of 5 bits are 80 bits.
const LENGTH: usize = 16;
/// What an id may at most be long, for ids that were given to us.
const MAX_LENGTH: usize = 64;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id: ids have 1 to 64 lower-case letters, digits and hyphens")]
pub struct IdError {
    text: String,
}

/// A fresh random text for an id.
pub(crate) fn random_text() -> String {
    let mut bytes = [0u8; LENGTH];
    // Without the operating system's randomness nothing here may go on: ids would collide.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}

fn check(text: &str) -> Result<(), IdError> {
    let fits = !text.is_empty()
        && text.len() <= MAX_LENGTH
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(()) } else { Err(IdError { text: text.chars().take(80).collect() }) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// A fresh random id.
            #[must_use]
            pub fn random() -> Self {
                Self(random_text().into())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.as_str().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

id! {
    /// A device's public id, ours. MQTT user name of an ordinary device and level of its topics.
    DeviceId
}
id! {
    /// An integration's id.
    IntegrationId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_id_is_an_id_and_differs_from_the_next() {
        let (a, b) = (DeviceId::random(), DeviceId::random());
        assert_ne!(a, b);
        assert_eq!(a.as_str().parse::<DeviceId>().unwrap(), a);
        assert_eq!(a.as_str().len(), 16);
    }

    #[test]
    fn an_id_with_a_topic_character_is_refused_by_name() {
        for text in ["", "a/b", "a+b", "a#", "A", "a b", &"x".repeat(65)] {
            assert!(text.parse::<DeviceId>().is_err(), "{text:?}");
        }
    }
}
