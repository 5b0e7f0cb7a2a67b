//! What a hub accepted and nobody wrote down yet.

use std::sync::atomic::{AtomicU64, Ordering};

use hubward_registry::HubUsage;

/// Counts until it is taken.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    messages: AtomicU64,
    units_4k: AtomicU64,
    units_half_k: AtomicU64,
}

impl Usage {
    pub(crate) fn add(&self, more: HubUsage) {
        self.messages.fetch_add(more.messages, Ordering::Relaxed);
        self.units_4k.fetch_add(more.units_4k, Ordering::Relaxed);
        self.units_half_k.fetch_add(more.units_half_k, Ordering::Relaxed);
    }

    /// What was counted since it was last taken; none: nothing.
    pub(crate) fn take(&self) -> Option<HubUsage> {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        let taken = self.each(take);
        (taken != HubUsage::default()).then_some(taken)
    }

    /// What is not yet written down.
    pub(crate) fn pending(&self) -> HubUsage {
        self.each(|count| count.load(Ordering::Relaxed))
    }

    fn each(&self, read: impl Fn(&AtomicU64) -> u64) -> HubUsage {
        HubUsage {
            messages: read(&self.messages),
            units_4k: read(&self.units_4k),
            units_half_k: read(&self.units_half_k),
        }
    }
}
