//! The day's messages, counted as they are billed.

use hubward_model::Timestamp;
use serde::{Deserialize, Serialize};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// Twins, queries and methods are billed in blocks of this, on every tier.
const OTHER_BLOCK: usize = 4096;

/// How a batch is billed. UNCONFIRMED (reference, 7.2): the documentation can be read both ways, so both are counted,
/// and this one is held against the quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metering {
    /// Every message in it for itself, as if it had been sent alone.
    #[default]
    PerMessage,
    /// The batch as one message.
    PerTransfer,
}

/// What was used of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Used {
    /// Days since 1970, UTC.
    pub(super) day: i64,
    /// Messages, each in a batch for itself.
    pub(super) per_message: u64,
    /// Messages, a batch as one.
    pub(super) per_transfer: u64,
}

impl Used {
    /// Begins a new day at 00:00 UTC.
    pub(super) fn roll(&mut self, now: Timestamp) {
        let day = now.as_millis().div_euclid(DAY_MILLIS);
        if day != self.day {
            *self = Self { day, ..Self::default() };
        }
    }

    /// When the day is over.
    pub(super) fn resets_at(&self) -> Timestamp {
        Timestamp::from_millis((self.day + 1) * DAY_MILLIS)
    }

    pub(super) fn by(&self, metering: Metering) -> u64 {
        match metering {
            Metering::PerMessage => self.per_message,
            Metering::PerTransfer => self.per_transfer,
        }
    }

    /// Counts a transfer with messages of these sizes.
    pub(super) fn transfer(&mut self, sizes: &[usize], block: usize) {
        self.per_message += sizes.iter().map(|size| blocks(*size, block)).sum::<u64>();
        self.per_transfer += blocks(sizes.iter().sum(), block);
    }

    /// Counts what is no message but billed like one.
    pub(super) fn other(&mut self, size: usize) {
        self.per_message += blocks(size, OTHER_BLOCK);
        self.per_transfer += blocks(size, OTHER_BLOCK);
    }
}

/// Messages a size is billed as: an empty one is one.
pub(super) fn blocks(size: usize, block: usize) -> u64 {
    size.div_ceil(block).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_counted_in_both_readings() {
        let mut used = Used::default();
        used.transfer(&[100, 4096, 4097, 0], 4096);
        assert_eq!((used.per_message, used.per_transfer), (1 + 1 + 2 + 1, 3));
        used.transfer(&[513], 512);
        assert_eq!((used.per_message, used.per_transfer), (7, 5));
    }

    #[test]
    fn the_day_ends_at_midnight_utc() {
        let mut used = Used::default();
        let noon = Timestamp::from_millis(10 * DAY_MILLIS + DAY_MILLIS / 2);
        used.roll(noon);
        used.other(1);
        used.roll(Timestamp::from_millis(11 * DAY_MILLIS - 1));
        assert_eq!((used.per_message, used.resets_at()), (1, Timestamp::from_millis(11 * DAY_MILLIS)));
        used.roll(Timestamp::from_millis(11 * DAY_MILLIS));
        assert_eq!(used.per_message, 0);
    }
}
