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
pub(crate) struct Used {
    /// Days since 1970, UTC.
    pub(crate) day: i64,
    /// Messages, each in a batch for itself.
    pub(crate) per_message: u64,
    /// Messages, a batch as one.
    pub(crate) per_transfer: u64,
}

/// What an event was charged. It stands with the event, so that no crash forgets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Charge {
    /// As a message for itself.
    pub(crate) per_message: u16,
    /// As a part of its transfer: the first of it bears all.
    pub(crate) per_transfer: u16,
}

/// What the events of a transfer with messages of these sizes are charged.
pub(super) fn charges(sizes: &[usize], block: usize) -> Vec<Charge> {
    let whole = blocks(sizes.iter().sum(), block);
    // A transfer has 1 MiB: 2,048 blocks at the most.
    let count = |blocks: u64| u16::try_from(blocks).unwrap_or(u16::MAX);
    let charge = |(place, size): (usize, &usize)| Charge {
        per_message: count(blocks(*size, block)),
        per_transfer: if place == 0 { count(whole) } else { 0 },
    };
    sizes.iter().enumerate().map(charge).collect()
}

impl Used {
    /// Begins a new day at 00:00 UTC.
    pub(super) fn roll(&mut self, now: Timestamp) {
        let day = now.as_millis().div_euclid(DAY_MILLIS);
        if day != self.day {
            *self = Self { day, ..Self::default() };
        }
    }

    /// Takes in what was charged at a time. What was on an earlier day no longer counts.
    pub(crate) fn take(&mut self, at: Timestamp, charge: Charge) {
        if at.as_millis().div_euclid(DAY_MILLIS) >= self.day {
            self.roll(at);
            self.per_message += u64::from(charge.per_message);
            self.per_transfer += u64::from(charge.per_transfer);
        }
    }

    /// With what else was used on the same day.
    pub(super) fn with(mut self, other: Self) -> Self {
        if other.day == self.day {
            self.per_message += other.per_message;
            self.per_transfer += other.per_transfer;
        }
        self
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
    fn what_the_events_of_a_transfer_are_charged_is_what_the_transfer_is() {
        for sizes in [&[0][..], &[100, 4096, 4097, 0], &[262_144], &[513, 1]] {
            let (mut whole, mut one_by_one) = (Used::default(), Used::default());
            whole.transfer(sizes, 512);
            charges(sizes, 512).into_iter().for_each(|charge| one_by_one.take(Timestamp::from_millis(7), charge));
            assert_eq!(one_by_one, whole, "{sizes:?}");
        }
    }

    #[test]
    fn charges_of_an_earlier_day_no_longer_count() {
        let charge = Charge { per_message: 2, per_transfer: 1 };
        let mut used = Used::default();
        for day in [4, 5, 4, 5] {
            used.take(Timestamp::from_millis(day * DAY_MILLIS), charge);
        }
        assert_eq!(used, Used { day: 5, per_message: 4, per_transfer: 2 });
        assert_eq!(used.with(Used { day: 4, per_message: 9, per_transfer: 9 }), used);
        assert_eq!(used.with(used).per_message, 8);
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
