//! Which hub has which governor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Governor;
use crate::options::Timing;

/// The governors of all hubs, shared by lanes and provisioning: a hub counts for both. One is kept for as long as the relay
/// lives, so that what was learned of a hub outlives its last integration.
#[derive(Debug, Clone, Default)]
pub struct Governors {
    known: Arc<Mutex<HashMap<String, Arc<Governor>>>>,
    timing: Timing,
}

impl Governors {
    pub(crate) fn new(timing: &Timing) -> Self {
        Self { known: Arc::default(), timing: timing.clone() }
    }

    /// The governor of the hub of this host name, with or without a port.
    pub(crate) fn of(&self, host: &str) -> Arc<Governor> {
        let name = host.split_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(name).or_insert_with(|| Governor::new(&self.timing)))
    }
}
