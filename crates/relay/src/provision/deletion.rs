//! Which identities may be deleted, and their deletion, a hundred at a time.

use std::collections::HashMap;

use hubward_iothub::fault::Cause;
use hubward_iothub::registry::{BulkError, Device, MAX_BULK};
use hubward_model::BindingState;
use hubward_registry::{Binding, HubSide, Integration};

use super::converge::has_keys;
use super::hub::Hub;
use super::request::{Failed, Removal};
use super::{ProvisionError, Shared};

/// What became of an identity.
enum Fate {
    Deleted,
    AlreadyGone,
    /// Not ours to delete.
    Left,
    Failed(String),
}

impl Shared {
    /// Deletes what is ours of the identities of `bindings`, and forgets the bindings as far as it came. Takes them from the
    /// front of `bindings`: those that are left there are still to be done.
    ///
    /// # Errors
    /// The hub is away, throttles or refuses us; then some are left.
    pub(super) async fn delete_identities(
        &self,
        hub: &Hub,
        integration: &Integration,
        bindings: &mut Vec<Binding>,
        report: &mut Removal,
    ) -> Result<(), ProvisionError> {
        while !bindings.is_empty() {
            let mut chunk: Vec<Binding> = bindings.iter().take(MAX_BULK).cloned().collect();
            // The bindings go under the same lock: nobody makes again what was just deleted.
            let lock = self.hub_lock(&integration.host_name);
            let _writing = lock.lock().await;
            // What was made again since they were read has another number.
            let devices: Vec<_> = chunk.iter().map(|binding| binding.device.clone()).collect();
            for now in self.registry.bindings_among(&integration.id, &devices).await? {
                if let Some(old) = chunk.iter_mut().find(|old| old.device == now.device) {
                    (old.made_by_us, old.generation_id) = (now.made_by_us, now.generation_id);
                }
            }
            let fates = self.delete_chunk(hub, integration, &chunk).await?;
            let (mut settled, mut later) = (Vec::new(), Vec::new());
            for (binding, fate) in chunk.iter().zip(fates) {
                let id = binding.hub_device_id.clone();
                match fate {
                    Fate::Deleted => report.deleted += 1,
                    Fate::AlreadyGone => report.already_gone += u64::from(binding.made_by_us),
                    Fate::Left => report.left.push(id),
                    Fate::Failed(error) => {
                        report.failed.push(Failed { hub_device_id: id, error });
                        later.push(binding.device.clone());
                        continue;
                    }
                }
                settled.push(binding.device.clone());
            }
            self.registry.remove_bindings(&integration.id, &settled, HubSide::Settled).await?;
            self.registry.remove_bindings(&integration.id, &later, HubSide::DeleteLater).await?;
            bindings.drain(..chunk.len());
        }
        Ok(())
    }

    async fn delete_chunk(
        &self,
        hub: &Hub,
        integration: &Integration,
        chunk: &[Binding],
    ) -> Result<Vec<Fate>, ProvisionError> {
        let ours: Vec<&Binding> = chunk.iter().filter(|binding| may_be_ours(binding)).collect();
        let ids: Vec<&str> = ours.iter().map(|binding| binding.hub_device_id.as_str()).collect();
        let mut found: HashMap<&str, Device> = HashMap::new();
        for (id, device) in ids.iter().zip(hub.get_all(&ids).await?) {
            found.extend(device.map(|device| (*id, device)));
        }
        let mut to_delete: Vec<(&str, Option<&str>)> = Vec::new();
        for binding in &ours {
            if let Some(device) = found.get(binding.hub_device_id.as_str())
                && self.is_ours(integration, binding, device).await?
            {
                // The etag sees to it that what is deleted is what was looked at.
                to_delete.push((&binding.hub_device_id, device.etag.as_deref()));
            }
        }
        hub.turn(to_delete.len()).await;
        let errors = hub.told(hub.client.bulk_delete(&to_delete).await)?;
        let errors: HashMap<String, BulkError> = errors.into_iter().map(|e| (e.device_id.clone(), e)).collect();
        let mut fates = Vec::with_capacity(chunk.len());
        for binding in chunk {
            let id = binding.hub_device_id.as_str();
            let asked = to_delete.iter().any(|(asked, _)| *asked == id);
            let fate = match (asked, errors.get(id)) {
                (true, None) => Fate::Deleted,
                (true, Some(error)) if error.cause() == Cause::DeviceNotFound => Fate::AlreadyGone,
                (true, Some(error)) => Fate::Failed(error.to_string()),
                (false, _) if may_be_ours(binding) && !found.contains_key(id) => Fate::AlreadyGone,
                // What was only in conflict was never bound to it: nothing to tell.
                (false, _) if !may_be_ours(binding) && binding.state == BindingState::Conflict => Fate::AlreadyGone,
                (false, _) => Fate::Left,
            };
            if matches!(fate, Fate::Deleted | Fate::AlreadyGone) && binding.made_by_us {
                self.registry.forget_identity(&integration.host_name, id).await?;
            }
            fates.push(fate);
        }
        Ok(fates)
    }

    /// Whether what the hub has is the very making that is ours.
    async fn is_ours(
        &self,
        integration: &Integration,
        binding: &Binding,
        device: &Device,
    ) -> Result<bool, ProvisionError> {
        match (&binding.generation_id, binding.made_by_us) {
            (Some(generation), true) => Ok(*generation == device.generation_id),
            (Some(_), false) => Ok(false),
            // Made in bulk, or perhaps made before a kill: only we know these keys.
            (None, _) => Ok(has_keys(device, &self.registry.keys(&integration.id, &binding.device).await?)),
        }
    }
}

/// Made by us, or perhaps made by us.
pub(super) fn may_be_ours(binding: &Binding) -> bool {
    binding.made_by_us || (binding.generation_id.is_none() && binding.state != BindingState::Conflict)
}
