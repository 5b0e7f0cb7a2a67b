//! Topic names and topic filters (MQTT 5.0, 4.7 and 4.8.2).
//!
//! A name is what a message is published on. A filter is what a client subscribes to: `+` stands for one level, `#` at
//! the end for any number of levels, the one before it included (`a/#` matches `a`). A filter that begins with a
//! wildcard matches no name that begins with `$`.

use std::fmt;
use std::str::FromStr;

/// Longest name or filter, in bytes: what the wire can carry.
pub const MAX_TOPIC_BYTES: usize = 65_535;
/// Most levels of a name or filter; the specification has no limit, a server needs one.
pub const MAX_LEVELS: usize = 128;

const SHARE: &str = "$share/";

/// Why a text is no topic name or filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// There is none.
    #[error("the topic is empty")]
    Empty,
    /// Longer than the wire can carry.
    #[error("the topic is {0} bytes long, at most {MAX_TOPIC_BYTES}")]
    TooLong(usize),
    /// Too many levels.
    #[error("the topic has {0} levels, at most {MAX_LEVELS}")]
    TooDeep(usize),
    /// A character that may not be in any topic.
    #[error("the topic holds the character NUL")]
    Nul,
    /// A name with a wildcard.
    #[error("a topic name holds no '+' or '#'")]
    Wildcard,
    /// A filter whose wildcard shares its level or, for `#`, is not last.
    #[error("in a topic filter '+' and '#' fill a level alone, and '#' is the last one")]
    Misplaced,
    /// `$share/` without a group and a filter.
    #[error("a shared filter is $share/group/filter, its group without '/', '+' and '#'")]
    Share,
}

fn check(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_TOPIC_BYTES {
        return Err(TopicError::TooLong(text.len()));
    }
    let mut levels = 1;
    for byte in text.bytes() {
        match byte {
            0 => return Err(TopicError::Nul),
            b'/' => levels += 1,
            _ => {}
        }
    }
    if levels > MAX_LEVELS { Err(TopicError::TooDeep(levels)) } else { Ok(()) }
}

/// What a message is published on, for example `devices/7k/signals/temperature`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(String);

impl TopicName {
    /// Whether `text` is a topic name.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(text: &str) -> Result<(), TopicError> {
        check(text)?;
        if text.bytes().any(|byte| matches!(byte, b'+' | b'#')) { Err(TopicError::Wildcard) } else { Ok(()) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its levels, empty ones included.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for TopicName {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::check(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a filter is compared; found once, when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Shape {
    /// No wildcard: one name.
    Exact,
    /// Only a `/#` at the end: a name, and all below it.
    Below,
    /// Level by level.
    Levels,
}

/// What a client subscribes to, for example `devices/+/signals/#`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter {
    text: String,
    shape: Shape,
}

impl TopicFilter {
    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its levels, empty ones included.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.text.split('/')
    }

    /// Whether a message on `name` is meant.
    #[must_use]
    pub fn matches(&self, name: &TopicName) -> bool {
        self.matches_str(name.as_str())
    }

    /// The same for a text that is known to be a topic name.
    #[must_use]
    pub fn matches_str(&self, name: &str) -> bool {
        match self.shape {
            Shape::Exact => self.text == name,
            Shape::Below => {
                let parent = &self.text[..self.text.len() - 2];
                name.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Shape::Levels => {
                if name.starts_with('$') && !self.text.starts_with('$') {
                    return false;
                }
                let mut names = name.split('/');
                for level in self.levels() {
                    match (level, names.next()) {
                        ("#", _) => return true,
                        ("+", Some(_)) => {}
                        (level, Some(name)) if level == name => {}
                        _ => return false,
                    }
                }
                names.next().is_none()
            }
        }
    }

    /// Whether every name that `other` matches is matched by `self` too. In doubt the answer is no.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        // A wildcard at the front leaves out names with '$', which a filter may name literally.
        if other.text.starts_with('$') && !self.text.starts_with('$') {
            return false;
        }
        let mut theirs = other.levels();
        for level in self.levels() {
            match (level, theirs.next()) {
                ("#", _) => return true,
                (_, None | Some("#")) => return false,
                ("+", Some(_)) => {}
                (level, Some(their)) if level == their => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }
}

impl FromStr for TopicFilter {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        check(text)?;
        let (mut plus, mut hash) = (false, false);
        for level in text.split('/') {
            if hash {
                return Err(TopicError::Misplaced);
            }
            match level {
                "+" => plus = true,
                "#" => hash = true,
                level if level.contains(['+', '#']) => return Err(TopicError::Misplaced),
                _ => {}
            }
        }
        let shape = match (plus, hash) {
            (false, false) => Shape::Exact,
            (false, true) if text.len() > 1 => Shape::Below,
            _ => Shape::Levels,
        };
        Ok(Self { text: text.to_owned(), shape })
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `$share/{group}/{filter}`: of a group's members each message goes to one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedFilter {
    /// The group's name.
    pub group: String,
    /// What the group subscribes to.
    pub filter: TopicFilter,
}

impl FromStr for SharedFilter {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let (group, filter) =
            text.strip_prefix(SHARE).and_then(|rest| rest.split_once('/')).ok_or(TopicError::Share)?;
        if group.is_empty() || group.contains(['+', '#', '\0']) || filter.is_empty() {
            return Err(TopicError::Share);
        }
        Ok(Self { group: group.to_owned(), filter: filter.parse()? })
    }
}

impl fmt::Display for SharedFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SHARE}{}/{}", self.group, self.filter)
    }
}

/// What stands in a SUBSCRIBE: a filter of the client's own, or one it shares with its group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subscription {
    /// The client's own.
    Plain(TopicFilter),
    /// Shared with a group.
    Shared(SharedFilter),
}

impl Subscription {
    /// The filter, whoever it is shared with.
    #[must_use]
    pub fn filter(&self) -> &TopicFilter {
        match self {
            Self::Plain(filter) | Self::Shared(SharedFilter { filter, .. }) => filter,
        }
    }
}

impl FromStr for Subscription {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        if text == "$share" || text.starts_with(SHARE) {
            text.parse().map(Self::Shared)
        } else {
            text.parse().map(Self::Plain)
        }
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(filter) => filter.fmt(f),
            Self::Shared(shared) => shared.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
