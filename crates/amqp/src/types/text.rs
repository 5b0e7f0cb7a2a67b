use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

/// An AMQP string: immutable UTF-8 that shares the bytes it was read from.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Bytes);

/// An AMQP symbol: ASCII from a constrained domain, such as `amqp:not-found` (AMQP 1.0, 1.6.21).
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Bytes);

impl Text {
    /// The text of `bytes`, or `None` where they are not UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Option<Text> {
        std::str::from_utf8(&bytes).is_ok().then_some(Text(bytes))
    }
}

impl Symbol {
    /// The symbol of `bytes`, or `None` where they are not ASCII.
    pub fn from_ascii(bytes: Bytes) -> Option<Symbol> {
        bytes.is_ascii().then_some(Symbol(bytes))
    }
}

/// A symbol takes any text; what is not ASCII becomes `?`, for a symbol cannot carry it.
impl From<String> for Symbol {
    fn from(text: String) -> Self {
        if text.is_ascii() {
            return Symbol(Bytes::from(text));
        }
        Symbol(text.chars().map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?')).collect())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text(Bytes::from(text))
    }
}

macro_rules! shared_text {
    ($name:ident) => {
        impl $name {
            /// One that borrows a literal.
            pub const fn from_static(text: &'static str) -> $name {
                $name(Bytes::from_static(text.as_bytes()))
            }

            /// As a string slice.
            pub fn as_str(&self) -> &str {
                // Every constructor has checked the bytes, so that the fallback never shows.
                std::str::from_utf8(&self.0).unwrap_or_default()
            }

            /// The bytes, without another look at their encoding.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// A copy that keeps alive nothing but itself: what was decoded shares its whole input buffer.
            pub fn detached(&self) -> $name {
                $name(Bytes::copy_from_slice(&self.0))
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name::from(text.to_owned())
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                self.as_str()
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

shared_text!(Text);
shared_text!(Symbol);
