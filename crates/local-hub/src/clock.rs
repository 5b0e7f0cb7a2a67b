//! The hub's clock: the machine's, which tests may move ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hubward_model::Timestamp;
use tokio::sync::watch;

/// What the hub takes for the time: of events, of tokens' expiry, of identities' changes. Clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ahead_millis: AtomicI64,
    moved: watch::Sender<()>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Inner { ahead_millis: AtomicI64::new(0), moved: watch::Sender::new(()) }))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let ahead = self.0.ahead_millis.load(Ordering::Acquire);
        Timestamp::from_millis(Timestamp::now().as_millis().saturating_add(ahead))
    }

    /// Moves the clock ahead; whoever waits for a point in time looks again at once.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 4);
        self.0.ahead_millis.fetch_add(millis, Ordering::AcqRel);
        self.0.moved.send_replace(());
    }

    /// Resolves at `due`, or when the clock is moved past it.
    pub(crate) async fn sleep_until(&self, due: Timestamp) {
        let mut moves = self.moves();
        loop {
            let now = self.now();
            if now >= due {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(due.since(now)) => {}
                // The clock lives as long as its clones.
                _ = moves.changed() => {}
            }
        }
    }

    /// `time` from now.
    pub(crate) fn after(&self, time: Duration) -> Timestamp {
        // The longest delays asked for are far less; it only must not overflow.
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4);
        Timestamp::from_millis(self.now().as_millis().saturating_add(millis))
    }

    /// Tells of every [`advance`](Self::advance).
    pub(crate) fn moves(&self) -> watch::Receiver<()> {
        self.0.moved.subscribe()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}
