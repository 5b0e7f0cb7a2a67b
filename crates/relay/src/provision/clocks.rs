//! How far each hub's clock is from this machine's, as its latest answer said.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hubward_model::Timestamp;

/// A hub's clock beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSeen {
    /// Seconds by which the hub's clock is ahead of ours; negative: behind.
    pub ahead: i64,
    /// When it said so.
    pub at: Timestamp,
}

/// What hubs said, by host name in lower case. In memory: after a start it is known from the first answer on.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    seen: Mutex<HashMap<String, ClockSeen>>,
}

impl Clocks {
    pub(super) fn note(&self, host: &str, ahead: i64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(host.to_ascii_lowercase(), ClockSeen { ahead, at: Timestamp::now() });
    }

    pub(super) fn of(&self, host: &str) -> Option<ClockSeen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&host.to_ascii_lowercase()).copied()
    }
}
