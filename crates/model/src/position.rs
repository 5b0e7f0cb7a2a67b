//! Where a record stands: offset, epoch, journal, and the message id made of the three.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::random_text;

/// A place in the journal. Later records have larger offsets; the numbers between may be missing, so nobody
/// counts with them: compare, or ask for the [`lag`](Self::lag).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(u64);

impl Offset {
    /// Before every record.
    pub const START: Self = Self(0);

    /// The offset stored as `raw`.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number to store.
    #[must_use]
    pub const fn to_raw(self) -> u64 {
        self.0
    }

    /// The first place after this record.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// How far `self` is behind `end`, in places (an upper bound of the records between).
    #[must_use]
    pub const fn lag(self, end: Self) -> u64 {
        end.0.saturating_sub(self.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Offset {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// One opening of the journal: a counter, and a random part so that two copies of one data folder differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch that follows `previous` (`None`: the first).
    #[must_use]
    pub fn after(previous: Option<Self>) -> Self {
        let counter = previous.map_or(0, |epoch| epoch.0 >> 32) + 1;
        let mut random = [0u8; 4];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        Self((counter << 32) | u64::from(u32::from_le_bytes(random)))
    }

    /// The epoch stored as `raw`.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number to store.
    #[must_use]
    pub const fn to_raw(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:08x}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// The journal's own random name: it stands in every message id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JournalId(String);

impl JournalId {
    /// A fresh random id.
    #[must_use]
    pub fn random() -> Self {
        let mut text = random_text();
        text.truncate(10);
        Self(text)
    }

    /// The id stored as `text`.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `{journal id}-{epoch}-{offset}`: the message-id of a record at the hub, stable over retries and restarts and never
/// used for another record. All its characters are allowed by IoT Hub.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(String);

impl MessageId {
    /// The message id of the record at `offset`, written in `epoch`.
    #[must_use]
    pub fn new(journal: &JournalId, epoch: Epoch, offset: Offset) -> Self {
        Self(format!("{journal}-{epoch}-{offset}"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_rise_and_a_restored_copy_gets_another_one() {
        let first = Epoch::after(None);
        let (a, b) = (Epoch::after(Some(first)), Epoch::after(Some(first)));
        assert!(a > first && b > first);
        // One in four thousand million runs may see the same random part twice.
        assert_ne!(a, b);
    }

    #[test]
    fn a_message_id_names_journal_epoch_and_offset() {
        let id = MessageId::new(
            &JournalId::from_stored("0123456789".into()),
            Epoch::from_raw((3 << 32) | 0xabcd),
            Offset::from_raw(42),
        );
        assert_eq!(id.as_str(), "0123456789-3.0000abcd-42");
    }
}
