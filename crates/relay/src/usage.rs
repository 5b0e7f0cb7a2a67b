//! What a hub accepted and nobody wrote down yet.

use std::sync::atomic::{AtomicU64, Ordering};

use hubward_registry::HubUsage;

/// Counts until it is taken.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    messages: AtomicU64,
    units_4k: AtomicU64,
}

impl Usage {
    pub(crate) fn add(&self, more: HubUsage) {
        self.messages.fetch_add(more.messages, Ordering::Relaxed);
        self.units_4k.fetch_add(more.units_4k, Ordering::Relaxed);
    }

    /// What was counted since it was last taken; none: nothing.
    pub(crate) fn take(&self) -> Option<HubUsage> {
        let messages = self.messages.swap(0, Ordering::Relaxed);
        let units_4k = self.units_4k.swap(0, Ordering::Relaxed);
        (messages > 0 || units_4k > 0).then_some(HubUsage { messages, units_4k })
    }

    /// What is not yet written down.
    pub(crate) fn pending(&self) -> HubUsage {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        HubUsage { messages: load(&self.messages), units_4k: load(&self.units_4k) }
    }
}
