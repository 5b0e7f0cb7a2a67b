//! Which devices have more waiting than they may.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use hubward_model::{DeviceId, IntegrationId};
use tokio::sync::watch;

/// Devices whose signals must wait until theirs are delivered, of all integrations together. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Over {
    by_integration: Arc<Mutex<HashMap<IntegrationId, HashSet<DeviceId>>>>,
    all: watch::Sender<Arc<HashSet<DeviceId>>>,
}

impl Default for Over {
    fn default() -> Self {
        Self { by_integration: Arc::default(), all: watch::Sender::new(Arc::default()) }
    }
}

impl Over {
    /// Those of one integration from now on.
    pub(crate) fn set(&self, integration: &IntegrationId, devices: HashSet<DeviceId>) {
        let mut by_integration = self.by_integration.lock().unwrap_or_else(PoisonError::into_inner);
        if devices.is_empty() {
            by_integration.remove(integration);
        } else {
            by_integration.insert(integration.clone(), devices);
        }
        let all: HashSet<DeviceId> = by_integration.values().flatten().cloned().collect();
        self.all.send_if_modified(|told| {
            let other = **told != all;
            if other {
                *told = Arc::new(all);
            }
            other
        });
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<HashSet<DeviceId>>> {
        self.all.subscribe()
    }
}
