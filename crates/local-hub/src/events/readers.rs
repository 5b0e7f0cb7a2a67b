//! Who reads which partition for which consumer group, and who must give way (reference, 6.3).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::presence::Notice;

/// Readers without an epoch that may share a group and partition. UNCONFIRMED (reference, 6.3).
const SHARED_READERS: usize = 5;

/// A reader's number, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ReaderId(u64);

/// All readers of the hub.
#[derive(Default)]
pub(crate) struct Readers {
    seats: Mutex<HashMap<(String, u32), Vec<Seat>>>,
    last: AtomicU64,
}

struct Seat {
    id: ReaderId,
    epoch: Option<i64>,
    notices: mpsc::UnboundedSender<Notice>,
}

/// What a reader that asks for a seat is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// Read on.
    Granted(ReaderId),
    /// An exclusive reader has the partition, with this epoch.
    Taken(i64),
    /// As many as may share it are there already.
    Full(usize),
}

impl Readers {
    /// Asks for a seat at `partition` for `group`; with an `epoch`, an exclusive one.
    pub(crate) fn claim(
        &self,
        group: &str,
        partition: u32,
        epoch: Option<i64>,
        notices: &mpsc::UnboundedSender<Notice>,
    ) -> Claimed {
        let mut all = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let seats = all.entry((group.to_ascii_lowercase(), partition)).or_default();
        let exclusive = seats.iter().filter_map(|seat| seat.epoch).max();
        match (epoch, exclusive) {
            (None, Some(taken)) => return Claimed::Taken(taken),
            (Some(asked), Some(taken)) if taken > asked => return Claimed::Taken(taken),
            (None, None) if seats.len() >= SHARED_READERS => {
                tracing::warn!(
                    group,
                    partition,
                    "over {SHARED_READERS} readers: the real hub's bound is not confirmed"
                );
                return Claimed::Full(SHARED_READERS);
            }
            (None, None) => {}
            (Some(_), _) => {
                for evicted in seats.drain(..) {
                    // A connection that is just ending no longer listens.
                    let _ = evicted.notices.send(Notice::Evicted(evicted.id));
                }
            }
        }
        let id = ReaderId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        seats.push(Seat { id, epoch, notices: notices.clone() });
        Claimed::Granted(id)
    }

    /// The reader is gone.
    pub(crate) fn release(&self, id: ReaderId) {
        let mut all = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, seats| {
            seats.retain(|seat| seat.id != id);
            !seats.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_with_an_epoch_evicts_others_and_is_evicted_by_a_higher_one() {
        let readers = Readers::default();
        let (notices, mut heard) = mpsc::unbounded_channel();
        let granted = |claimed| match claimed {
            Claimed::Granted(id) => id,
            other => panic!("{other:?}"),
        };
        let plain = granted(readers.claim("$Default", 0, None, &notices));
        let first = granted(readers.claim("$default", 0, Some(1), &notices));
        assert_eq!(heard.try_recv(), Ok(Notice::Evicted(plain)));
        assert_eq!(readers.claim("$Default", 0, None, &notices), Claimed::Taken(1));
        assert_eq!(readers.claim("$Default", 0, Some(0), &notices), Claimed::Taken(1));
        granted(readers.claim("$Default", 1, None, &notices));
        granted(readers.claim("other", 0, None, &notices));
        let second = granted(readers.claim("$Default", 0, Some(1), &notices));
        assert_eq!(heard.try_recv(), Ok(Notice::Evicted(first)));
        readers.release(second);
        granted(readers.claim("$Default", 0, None, &notices));
    }

    #[test]
    fn five_readers_share_a_partition_and_a_sixth_is_refused() {
        let readers = Readers::default();
        let (notices, _heard) = mpsc::unbounded_channel();
        for _ in 0..5 {
            assert!(matches!(readers.claim("g", 0, None, &notices), Claimed::Granted(_)));
        }
        assert_eq!(readers.claim("g", 0, None, &notices), Claimed::Full(5));
    }
}
