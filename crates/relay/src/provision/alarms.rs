//! Alarms of provisioning and healing. One that cannot be written is logged: what it is about goes on.

use hubward_model::{DeviceId, IntegrationId};
use hubward_registry::alarms::{Alarm, AlarmKey, AlarmKind};
use tracing::warn;

use super::Shared;

/// Alarms about the identity of one device that are over as soon as it sends again.
pub(super) const OF_IDENTITY: [AlarmKind; 5] = [
    AlarmKind::IdentityMissing,
    AlarmKind::DeletedTwice,
    AlarmKind::IdentityDisabled,
    AlarmKind::IdentityRefused,
    AlarmKind::LinkStolen,
];

impl Shared {
    /// Raises an alarm of an integration or of a device in it, or refreshes its cause and remedy.
    pub(super) async fn raise(
        &self,
        kind: AlarmKind,
        integration: &IntegrationId,
        device: Option<&DeviceId>,
        (cause, remedy): (String, &str),
    ) {
        let alarm = Alarm { key: key(kind, integration, device), cause, remedy: remedy.to_owned() };
        if let Err(error) = self.registry.raise_alarm(alarm).await {
            warn!(%error, %kind, %integration, "an alarm could not be raised");
        }
    }

    /// Clears those of `kinds` that stand; answers whether one did.
    pub(super) async fn clear(
        &self,
        kinds: &[AlarmKind],
        integration: &IntegrationId,
        device: Option<&DeviceId>,
    ) -> bool {
        let mut cleared = false;
        for kind in kinds {
            let key = key(*kind, integration, device);
            if !self.registry.is_alarm_open(&key) {
                continue;
            }
            match self.registry.clear_alarm(&key).await {
                Ok(stood) => cleared |= stood,
                Err(error) => warn!(%error, %kind, %integration, "an alarm could not be cleared"),
            }
        }
        cleared
    }
}

fn key(kind: AlarmKind, integration: &IntegrationId, device: Option<&DeviceId>) -> AlarmKey {
    match device {
        Some(device) => AlarmKey::binding(kind, integration, device),
        None => AlarmKey::integration(kind, integration),
    }
}
