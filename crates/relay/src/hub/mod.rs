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
pub(crate) use governor::{Governor, Holding, Turn};
pub(crate) use pool::Task;
pub(crate) use presence::Presence;
pub(crate) use sessions::Sessions;
pub(crate) use uplink::{Failure, Identity, Link, NoLink, NotTaken, Uplink};

use crate::options::Timing;
use crate::usage::Usage;

/// Shared by all integrations on one hub host: what the hub counts for all of them together.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) host: String,
    pub(crate) budget: Budget,
    pub(crate) governor: Arc<Governor>,
    /// What it accepted and is not written down yet.
    pub(crate) usage: Usage,
    accepted: AtomicU64,
}

impl Hub {
    pub(crate) fn new(host: String, budget_bytes: usize, timing: &Timing) -> Self {
        let (budget, governor) = (Budget::new(budget_bytes), Governor::new(timing));
        Self { host, budget, governor, usage: Usage::default(), accepted: AtomicU64::new(0) }
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

    /// The hub took a transfer.
    pub(crate) fn accepted(&self) {
        self.hub.accepted.fetch_add(1, Ordering::Relaxed);
        self.uplink.accepted();
        self.hub.governor.accepted();
    }

    /// Ends all pauses.
    pub(crate) fn retry_now(&self) {
        self.uplink.retry_now();
        self.hub.governor.retry_now();
    }
}
