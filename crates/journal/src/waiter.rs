//! How a connection hears that its records became durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hubward_model::Offset;
use tokio::sync::Notify;

/// Stands for no failure.
const NEVER: u64 = u64::MAX;

/// One appender's ear: a connection has one and gives it with every record. However many of its records a commit
/// holds, the waiter is woken once. One task at a time waits on it, and it belongs to one journal.
#[derive(Debug)]
pub struct Waiter {
    /// Exclusive end of what is durable, as far as this waiter was told.
    durable: AtomicU64,
    /// First offset of unknown fate, or [`NEVER`].
    failed_from: AtomicU64,
    /// Number of the queue in which this waiter already stands, so that it is listed once a commit.
    listed_in: AtomicU64,
    changed: Notify,
}

/// What a [`Waiter`] knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// All records given with this waiter below this offset are durable, if they are below `failed_from`, too.
    pub durable: Offset,
    /// From here on the fate of this waiter's records is unknown, for good: they must be sent again, with a new waiter.
    pub failed_from: Option<Offset>,
}

impl Progress {
    /// Whether the record at `offset` is known to be durable.
    #[must_use]
    pub fn is_durable(&self, offset: Offset) -> bool {
        offset < self.durable && !self.has_failed(offset)
    }

    /// Whether the fate of the record at `offset` is unknown for good.
    #[must_use]
    pub fn has_failed(&self, offset: Offset) -> bool {
        self.failed_from.is_some_and(|from| offset >= from)
    }
}

impl Waiter {
    /// A waiter that has heard nothing yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            durable: AtomicU64::new(0),
            failed_from: AtomicU64::new(NEVER),
            listed_in: AtomicU64::new(0),
            changed: Notify::new(),
        })
    }

    /// What is known now.
    #[must_use]
    pub fn progress(&self) -> Progress {
        // The failure first: should it come between the two loads, `durable` is no newer than it.
        let failed = self.failed_from.load(Ordering::Acquire);
        let durable = Offset::from_raw(self.durable.load(Ordering::Acquire));
        Progress { durable, failed_from: (failed != NEVER).then(|| Offset::from_raw(failed)) }
    }

    /// Resolves when there was progress since it last resolved (it may resolve once too often, never too seldom).
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether it must be listed in the queue numbered `queue`, which is so at most once.
    pub(crate) fn list_in(&self, queue: u64) -> bool {
        self.listed_in.swap(queue, Ordering::Relaxed) != queue
    }

    /// Says that everything below `end` is durable. After a failure nothing more is said.
    pub(crate) fn tell_durable(&self, end: Offset) {
        if self.failed_from.load(Ordering::Acquire) == NEVER {
            self.durable.fetch_max(end.to_raw(), Ordering::AcqRel);
            self.changed.notify_one();
        }
    }

    /// Says that from `from` on the fate is unknown.
    pub(crate) fn tell_failed(&self, from: Offset) {
        self.failed_from.fetch_min(from.to_raw(), Ordering::AcqRel);
        self.changed.notify_one();
    }
}
