//! Deletions that wait for a hub that was away.

use std::collections::HashSet;
use std::time::Duration;

use hubward_iothub::registry::IfMatch;
use hubward_model::BindingState;
use hubward_registry::{Error, PendingDeletion, SecretString};
use tracing::{info, warn};

use super::{ProvisionError, Shared};
use crate::backoff::Backoff;

/// Longest pause: a hub that is back should not keep what was deleted here for long.
const LONGEST: Duration = Duration::from_secs(30);

impl Shared {
    /// Tries what is to be deleted, at the start, when something was added, and again with growing pauses; ends with the
    /// server.
    pub(super) async fn run_pending(&self) {
        let mut pauses = Backoff::new(self.options.pauses.0, self.options.pauses.1.min(LONGEST));
        loop {
            let all_done = self.delete_pending(None).await;
            if all_done {
                pauses.reset();
            }
            let pause = pauses.pause();
            let again = async { if all_done { std::future::pending().await } else { tokio::time::sleep(pause).await } };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.deletions.notified() => {}
                () = again => {}
            }
        }
    }

    /// Tries what is to be deleted, at one host or everywhere; answers whether nothing is left.
    pub(super) async fn delete_pending(&self, host: Option<&str>) -> bool {
        let pending = match self.registry.pending_deletions().await {
            Ok(pending) => pending,
            Err(error) => {
                warn!(%error, "what is still to be deleted cannot be read");
                return false;
            }
        };
        let mut away = HashSet::new();
        for deletion in pending {
            if host.is_some_and(|host| host != deletion.host_name) || away.contains(&deletion.host_name) {
                continue;
            }
            if self.stop.is_cancelled() {
                return false;
            }
            if let Err(error) = self.delete_one(&deletion).await {
                warn!(identity = deletion.hub_device_id, host = deletion.host_name, %error, "still to be deleted");
                // If it cannot be noted, the next round says so again.
                drop(self.registry.deletion_failed(&deletion.id, &error.to_string()).await);
                // One hub's fault never delays another's.
                away.insert(deletion.host_name);
            }
        }
        away.is_empty()
    }

    async fn delete_one(&self, deletion: &PendingDeletion) -> Result<(), ProvisionError> {
        let PendingDeletion { id, host_name, hub_device_id, .. } = deletion;
        let lock = self.hub_lock(host_name);
        let _writing = lock.lock().await;
        let hub = match self.hub_of_deletion(deletion).await {
            // Another round did it while this one waited for the lock.
            Err(ProvisionError::Registry(Error::NotFound { .. })) => return Ok(()),
            hub => hub?,
        };
        // A new binding of this id whose identity is still to be made wants the old one out of the way; what has an identity
        // sends as it.
        let owner = self.registry.hub_device_id_owner(host_name, hub_device_id).await?;
        let bound = owner.is_some_and(|owner| !matches!(owner.state, BindingState::Creating | BindingState::Conflict));
        let found = if bound { None } else { hub.get(hub_device_id).await? };
        let ours = found.filter(|device| {
            let key = device.keys().map(|(primary, _)| primary.expose_base64()).unwrap_or_default();
            deletion.is_ours(&device.generation_id, &SecretString::from(key))
        });
        match ours {
            Some(device) => {
                let etag = device.etag.as_deref().map_or(IfMatch::Any, IfMatch::Etag);
                hub.turn(1).await;
                let how = hub.told(hub.client.delete(hub_device_id, etag).await)?;
                info!(identity = hub_device_id, host = host_name, "{how}, as was asked earlier");
            }
            // Gone, made again by somebody else, or bound again by us meanwhile: not to be deleted any more.
            None => info!(identity = hub_device_id, host = host_name, bound, "nothing of ours is left to be deleted"),
        }
        match self.registry.deletion_done(id).await {
            // Another round was faster.
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
