//! What the lanes of one hub share.

mod budget;
#[cfg(test)]
pub(crate) mod fake;
mod gate;
mod governor;
mod https;
mod mqtt;
mod pool;
mod presence;
mod quarantine;
mod sessions;
mod uplink;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use budget::Budget;
pub(crate) use governor::{Governor, Holding, RegistryUse, Turn};
pub use governor::{Governors, PaceShown};
pub(crate) use pool::Task;
pub(crate) use presence::Presence;
pub(crate) use sessions::Sessions;
pub(crate) use uplink::{Failure, Identity, Link, NoLink, NotTaken, Uplink};

use crate::usage::Usage;
use quarantine::Wards;

/// How a hub may fare.
pub(crate) const HUB_STATES: [&str; 5] = ["reachable", "away", "throttled", "quota", "hub_disabled"];

/// Shared by all integrations on one hub host: what the hub counts for all of them together.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) host: String,
    pub(crate) budget: Budget,
    pub(crate) governor: Arc<Governor>,
    /// What it accepted and is not written down yet.
    pub(crate) usage: Usage,
    /// Connections of lanes that are kept apart.
    wards: Arc<Wards>,
    accepted: AtomicU64,
}

impl Hub {
    pub(crate) fn new(host: String, budget_bytes: usize, governor: Arc<Governor>) -> Self {
        let budget = Budget::new(budget_bytes);
        Self { host, budget, governor, usage: Usage::default(), wards: Arc::default(), accepted: AtomicU64::new(0) }
    }

    /// How many transfers it took: whether this moves tells a hub that is stuck from one that delivers.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// A hub as it is reached at one address: its connections, and whether it is away.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) hub: Arc<Hub>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) uplink: Uplink,
}

impl Session {
    /// Whether readers must wait: the hub as a whole takes nothing.
    pub(crate) fn takes_nothing(&self) -> bool {
        self.presence.is_away() || self.hub.governor.holding().is_some()
    }

    /// The hub took a transfer of so many messages.
    pub(crate) fn accepted(&self, messages: usize) {
        self.hub.accepted.fetch_add(1, Ordering::Relaxed);
        self.uplink.accepted();
        self.hub.governor.accepted(self.operations(messages));
    }

    /// As how many operations the hub counts a transfer of so many messages.
    pub(crate) fn operations(&self, messages: usize) -> u32 {
        if self.uplink.counts_messages() { u32::try_from(messages).unwrap_or(u32::MAX) } else { 1 }
    }

    /// How many messages may go in one transfer that has this turn.
    pub(crate) fn most(&self, turn: &Turn) -> usize {
        if self.uplink.counts_messages() { turn.most() } else { usize::MAX }
    }

    /// How the hub fares, as one of [`HUB_STATES`].
    pub(crate) fn state(&self) -> &'static str {
        if self.presence.is_away() {
            return "away";
        }
        self.hub.governor.hold().map_or("reachable", |hold| hold.code)
    }

    /// Ends all pauses.
    pub(crate) fn retry_now(&self) {
        self.uplink.retry_now();
        self.hub.governor.retry_now();
    }
}
