//! Whose signals must wait: the broker's question, answered by the relay's limits.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use hubward_broker::Admission;
use hubward_model::DeviceId;
use tokio::sync::watch;

/// Knows the devices of which more waits than may.
pub struct Limits {
    over: watch::Receiver<Arc<HashSet<DeviceId>>>,
}

impl Limits {
    /// Those in `over`.
    #[must_use]
    pub fn new(over: watch::Receiver<Arc<HashSet<DeviceId>>>) -> Self {
        Self { over }
    }
}

impl Admission for Limits {
    fn may_publish(&self, device: &DeviceId) -> bool {
        !self.over.borrow().contains(device)
    }

    fn admitted<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, ()> {
        let mut over = self.over.clone();
        async move {
            if over.wait_for(|over| !over.contains(device)).await.is_err() {
                // The relay is gone, and with it this server.
                std::future::pending::<()>().await;
            }
        }
        .boxed()
    }
}
