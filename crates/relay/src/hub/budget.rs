//! How much of the backlog may be in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes of signals in memory, of all lanes of a hub together. It is a mark to stop at, not a wall: the one who reads
/// looks before each signal and stops when it is reached, so that it is passed by one signal for each reader at most.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    room: Notify,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), room: Notify::new() }
    }

    pub(crate) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn give(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::AcqRel);
        let mark = self.resume_at();
        if before > mark && before - bytes <= mark {
            self.room.notify_waiters();
        }
    }

    /// Whether the main readers must wait.
    pub(crate) fn is_used_up(&self) -> bool {
        self.used.load(Ordering::Acquire) >= self.limit
    }

    /// Whether catch-up readers must wait: they leave the last quarter to the main readers.
    pub(crate) fn is_scarce(&self) -> bool {
        self.used.load(Ordering::Acquire) >= self.resume_at()
    }

    /// What a lane may hold beyond its own limit as long as less than half is used: a burst is no reason to detach it.
    pub(crate) fn spare_for_a_burst(&self) -> usize {
        if self.used.load(Ordering::Relaxed) < self.limit / 2 { self.limit / 8 } else { 0 }
    }

    /// Waits until a reader that had to wait may go on, which is a good deal below the limit.
    pub(crate) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            if !self.is_scarce() {
                return;
            }
            notified.await;
        }
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    fn resume_at(&self) -> usize {
        self.limit / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_waited_goes_on_when_a_quarter_is_free_again() {
        let budget = Budget::new(400);
        budget.take(400);
        assert!(budget.is_used_up() && budget.is_scarce());
        let mut room = std::pin::pin!(budget.room());
        assert!(futures_util::poll!(room.as_mut()).is_pending());
        budget.give(50);
        assert!(!budget.is_used_up() && futures_util::poll!(room.as_mut()).is_pending());
        budget.give(51);
        room.await;
    }
}
