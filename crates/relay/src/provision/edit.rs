//! Integrations changed while their signals stream.

use std::sync::Arc;

use hubward_model::{DeviceId, IntegrationId, IntegrationName, IntegrationState, MessageTopic, OnExisting};
use hubward_registry::{Binding, Device, Error, Integration, NewBinding, Settings};
use tokio::time::Instant;

use super::hub::Hub;
use super::naming;
use super::request::{Access, Edit, EditReport, Removal};
use super::{Caller, ProvisionError, Shared};

impl Shared {
    /// Changes an integration.
    pub(super) async fn edit(
        self: Arc<Self>,
        id: IntegrationId,
        request: Edit,
        caller: Caller,
    ) -> Result<EditReport, ProvisionError> {
        let old = self.registry.integration(&id).await?;
        if old.state == IntegrationState::Removing {
            return Err(ProvisionError::BeingRemoved(old.name.to_string()));
        }
        let name: Option<IntegrationName> = request
            .name
            .as_ref()
            .map(|name| name.parse().map_err(|error| ProvisionError::Name { error, field: "name" }))
            .transpose()?;
        let settings = self.edited(&old.settings, &request)?;
        let bound = self.registry.bindings(&id).await?;
        let leaving = self.leaving(&old, &bound, &request.remove_devices).await?;
        let joining = self.joining(&old, &bound, &settings, &request).await?;

        // From here on the hub is asked; still nothing is stored.
        let new_way = request.connection_string.is_some()
            || settings.hub_ca != old.settings.hub_ca
            || settings.hub_endpoint != old.settings.hub_endpoint;
        let hub = if new_way || !joining.is_empty() { Some(self.way(&old, &settings, &request).await?) } else { None };
        if let Some(hub) = &hub {
            hub.login().await?;
            // What waits to be deleted there may be in the way of what joins.
            if !joining.is_empty() {
                self.delete_pending(Some(&old.host_name)).await;
            }
            if settings.on_existing == OnExisting::Refuse {
                refuse_existing(hub, &joining).await?;
            }
        }
        if !request.discard_backlog {
            let until = Instant::now() + self.options.drain;
            for binding in &leaving {
                self.drained(&old, Some(&binding.device), until).await?;
            }
        }

        let edit = hubward_registry::Edit {
            name,
            policy: hub.as_ref().filter(|_| new_way).map(|hub| hub.service.policy.clone()),
            connection_string: hub.as_ref().filter(|_| new_way).map(|hub| hub.service.expose()),
            settings: (settings != old.settings).then_some(settings),
        };
        let integration = self.registry.edit_integration(&id, request.expected_version, edit).await?;
        let added: Vec<DeviceId> = joining.iter().map(|binding| binding.device.clone()).collect();
        self.registry.add_bindings(&id, joining).await?;
        self.lanes.refresh(&id).await?;
        for binding in &leaving {
            self.registry.note_departed(&id, &binding.device).await?;
        }
        let removed = match leaving.is_empty() {
            true => Removal::default(),
            false => self.remove_from(&integration, leaving, request.discard_backlog).await?,
        };
        if new_way {
            if let Some(hub) = &hub {
                self.heard(&integration, hub).await;
            }
            // Lanes that hold because nobody could be asked say it again.
            self.lanes.look_again(&id, &self.lanes.unwell(&id));
            // What could not be deleted with the old string may be possible with the new one.
            self.deletions.notify_one();
        }
        if new_way || !added.is_empty() {
            self.make_added(&integration, &added, &caller).await?;
        }
        Ok(EditReport { integration: self.registry.integration(&id).await?, removed })
    }

    /// Makes the identities of what joined; waits for them for a while, the rest goes on by itself.
    async fn make_added(
        &self,
        integration: &Integration,
        added: &[DeviceId],
        caller: &Caller,
    ) -> Result<(), ProvisionError> {
        if !self.converge_for_a_while(&integration.id).await? {
            return Ok(());
        }
        let verdict = self.verdict(&integration.id, Some(added)).await;
        if let Err(ProvisionError::Conflict { .. }) = &verdict
            && caller.is_waiting()
        {
            self.take_back_devices(integration, added).await?;
            self.converge(&integration.id).await?;
        }
        verdict
    }

    /// The settings after the edit.
    fn edited(&self, old: &Settings, request: &Edit) -> Result<Settings, ProvisionError> {
        let mut settings = old.clone();
        if let Some(topic) = &request.topic {
            let topic: MessageTopic = topic.parse().map_err(|error| ProvisionError::Name { error, field: "topic" })?;
            settings.topic = topic;
        }
        if let Some(transport) = request.transport {
            self.check_transport(transport)?;
            settings.transport = transport;
        }
        if let Some(template) = &request.device_id_template {
            naming::check_template(template)?;
            settings.device_id_template.clone_from(template);
        }
        settings.body = request.body.unwrap_or(settings.body);
        settings.all_devices = request.all_devices.unwrap_or(settings.all_devices);
        settings.on_existing = request.on_existing.unwrap_or(settings.on_existing);
        settings.on_missing = request.on_missing.unwrap_or(settings.on_missing);
        settings.on_missing_keys = request.on_missing_keys.unwrap_or(settings.on_missing_keys);
        settings.on_full = request.on_full.unwrap_or(settings.on_full);
        settings.capacity = request.capacity.unwrap_or(settings.capacity);
        request.limits.check()?;
        settings.backlog_limit = request.limits.backlog.unwrap_or(settings.backlog_limit);
        settings.device_backlog_limit = request.limits.device.unwrap_or(settings.device_backlog_limit);
        settings.device_backlog_age = request.limits.device_age.unwrap_or(settings.device_backlog_age);
        for (slot, text) in [
            (&mut settings.content_type, &request.content_type),
            (&mut settings.hub_ca, &request.hub_ca),
            (&mut settings.hub_endpoint, &request.hub_endpoint),
        ] {
            if let Some(text) = text {
                *slot = Some(text.clone()).filter(|text| !text.trim().is_empty());
            }
        }
        Ok(settings)
    }

    /// The way to the hub after the edit: the same hub, or it is refused.
    async fn way(&self, old: &Integration, settings: &Settings, request: &Edit) -> Result<Hub, ProvisionError> {
        let connection_string = match &request.connection_string {
            Some(text) => text.clone(),
            None => self.registry.connection_string(&old.id).await?,
        };
        let hub = self.hub(&Access {
            connection_string,
            hub_ca: settings.hub_ca.clone(),
            hub_endpoint: settings.hub_endpoint.clone(),
        })?;
        if hub.host() != old.host_name {
            return Err(ProvisionError::OtherHub { host: old.host_name.clone(), given: hub.host() });
        }
        Ok(hub)
    }

    async fn leaving(
        &self,
        integration: &Integration,
        bound: &[Binding],
        names: &[String],
    ) -> Result<Vec<Binding>, ProvisionError> {
        let mut leaving: Vec<Binding> = Vec::with_capacity(names.len());
        for name in names {
            let device = self.find_device(name).await?;
            let Some(binding) = bound.iter().find(|binding| binding.device == device.id) else {
                let integration = integration.name.to_string();
                return Err(ProvisionError::NotBound { device: device.name.to_string(), integration });
            };
            if leaving.iter().any(|other| other.device == device.id) {
                return Err(ProvisionError::DeviceTwice { device: device.name.to_string() });
            }
            leaving.push(binding.clone());
        }
        Ok(leaving)
    }

    async fn joining(
        &self,
        integration: &Integration,
        bound: &[Binding],
        settings: &Settings,
        request: &Edit,
    ) -> Result<Vec<NewBinding>, ProvisionError> {
        let mut devices: Vec<(Device, Option<String>)> = self.named(&request.add_devices).await?;
        for (device, _) in &devices {
            if bound.iter().any(|binding| binding.device == device.id) {
                let integration = integration.name.to_string();
                return Err(Error::AlreadyBound { integration, device: device.name.to_string() }.into());
            }
        }
        if settings.all_devices && !integration.settings.all_devices {
            let bound: Vec<DeviceId> = bound.iter().map(|binding| binding.device.clone()).collect();
            self.add_others(&mut devices, &bound).await?;
        }
        self.new_bindings(&integration.host_name, &settings.device_id_template, devices).await
    }
}

/// Refuses before anything is changed what the hub would refuse after.
async fn refuse_existing(hub: &Hub, joining: &[NewBinding]) -> Result<(), ProvisionError> {
    let ids: Vec<&str> = joining.iter().map(|binding| binding.hub_device_id.as_str()).collect();
    let found = hub.look_up(&ids).await?;
    let ids: Vec<String> = found.into_iter().flatten().map(|device| device.id).collect();
    if ids.is_empty() { Ok(()) } else { Err(ProvisionError::Conflict { ids }) }
}
