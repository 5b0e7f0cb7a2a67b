//! When the latest records became durable.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use hubward_model::{Offset, Timestamp};

/// So many commits are remembered, 16 bytes each. Of what was committed before them the time is not known.
const REMEMBERED: usize = 16_384;

/// The latest commits of this process, in memory.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    /// Where the first of them began.
    from: Offset,
    /// Exclusive end and time of each.
    ends: VecDeque<(Offset, Timestamp)>,
}

impl Commits {
    /// Everything from `from` on up to `end` was synced at `at`.
    pub(crate) fn note(&self, from: Offset, end: Offset, at: Timestamp) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.ends.is_empty() {
            latest.from = from;
        }
        if latest.ends.len() == REMEMBERED
            && let Some((end, _)) = latest.ends.pop_front()
        {
            latest.from = end;
        }
        latest.ends.push_back((end, at));
    }

    /// When the record at `offset` was synced.
    pub(crate) fn at(&self, offset: Offset) -> Option<Timestamp> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if offset < latest.from {
            return None;
        }
        let index = latest.ends.partition_point(|(end, _)| *end <= offset);
        latest.ends.get(index).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_commit_is_that_of_all_its_records_and_the_oldest_are_forgotten() {
        let commits = Commits::default();
        let (offset, time) = (Offset::from_raw, Timestamp::from_millis);
        assert_eq!(commits.at(offset(1)), None);
        for number in 0..REMEMBERED as u64 + 2 {
            let at = time(number.cast_signed());
            commits.note(offset(100 + number * 10), offset(110 + number * 10), at);
        }
        assert_eq!((commits.at(offset(99)), commits.at(offset(119))), (None, None));
        assert_eq!((commits.at(offset(120)), commits.at(offset(129))), (Some(time(2)), Some(time(2))));
        let end = 120 + REMEMBERED as u64 * 10;
        assert_eq!(commits.at(offset(end - 1)), Some(time(REMEMBERED as i64 + 1)));
        assert_eq!(commits.at(offset(end)), None, "not durable yet");
    }
}
