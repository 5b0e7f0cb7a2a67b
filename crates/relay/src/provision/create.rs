//! A new integration: checked, stored, and its identities made.

use std::collections::HashSet;
use std::sync::Arc;

use hubward_iothub::connection_string::SharedAccessKey;
use hubward_iothub::rules;
use hubward_model::{DeviceId, IntegrationId, IntegrationName, IntegrationState, MessageTopic};
use hubward_registry::integrations::{DEFAULT_BACKLOG_LIMIT, DEFAULT_DEVICE_BACKLOG_AGE, DEFAULT_DEVICE_BACKLOG_LIMIT};
use hubward_registry::{Device, Error, Integration, NewBinding, NewIntegration, SecretString, Settings};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::naming::{self, DEFAULT_TEMPLATE};
use super::request::{Bind, Create};
use super::{Caller, ProvisionError, Shared};

impl Shared {
    /// Checks everything, stores, and makes the identities; tells `stored` in between.
    pub(super) async fn create(
        self: Arc<Self>,
        request: Create,
        stored: oneshot::Sender<IntegrationId>,
        caller: Caller,
    ) -> Result<Integration, ProvisionError> {
        let integration = self.store_new(request).await?;
        let id = integration.id.clone();
        info!(integration = %id, name = %integration.name, hub = %integration.host_name, "an integration is being made");
        drop(stored.send(id.clone()));
        // What waits to be deleted there may be in the way of what is to be made.
        self.delete_pending(Some(&integration.host_name)).await;
        self.converge(&id).await?;
        let made = self.verdict(&id, None).await;
        if let Err(ProvisionError::Conflict { .. }) = &made
            && caller.is_waiting()
        {
            self.take_back(&id).await?;
        }
        made?;
        Ok(self.registry.integration(&id).await?)
    }

    /// Checks the request and the hub, and stores the integration with its bindings as `creating`.
    async fn store_new(&self, request: Create) -> Result<Integration, ProvisionError> {
        let name: IntegrationName =
            request.name.parse().map_err(|error| ProvisionError::Name { error, field: "name" })?;
        let topic: MessageTopic =
            request.topic.parse().map_err(|error| ProvisionError::Name { error, field: "topic" })?;
        self.check_transport(request.transport)?;
        request.limits.check()?;
        let template = request.device_id_template.unwrap_or_else(|| DEFAULT_TEMPLATE.to_owned());
        naming::check_template(&template)?;
        let hub = self.hub(&request.access)?;
        let taken = self.registry.integrations().await?.into_iter().any(|other| other.name == name);
        if taken {
            return Err(Error::NameTaken { what: "integration name", name: name.to_string() }.into());
        }
        if request.devices.is_empty() && !request.all_devices {
            return Err(ProvisionError::NoDevices);
        }
        let mut devices = self.named(&request.devices).await?;
        if request.all_devices {
            self.add_others(&mut devices, &[]).await?;
        }
        let bindings = self.new_bindings(&hub.host(), &template, devices).await?;
        hub.login().await?;

        let settings = Settings {
            topic,
            body: request.body,
            transport: request.transport,
            content_type: request.content_type.filter(|text| !text.is_empty()),
            all_devices: request.all_devices,
            device_id_template: template,
            on_existing: request.on_existing,
            on_missing: request.on_missing,
            on_missing_keys: request.on_missing_keys,
            on_full: request.on_full,
            backlog_limit: request.limits.backlog.unwrap_or(DEFAULT_BACKLOG_LIMIT),
            device_backlog_limit: request.limits.device.unwrap_or(DEFAULT_DEVICE_BACKLOG_LIMIT),
            device_backlog_age: request.limits.device_age.unwrap_or(DEFAULT_DEVICE_BACKLOG_AGE),
            hub_ca: request.access.hub_ca.filter(|pem| !pem.trim().is_empty()),
            hub_endpoint: request.access.hub_endpoint.filter(|text| !text.trim().is_empty()),
            capacity: request.capacity,
        };
        let new = NewIntegration {
            name,
            host_name: hub.host(),
            policy: hub.service.policy.clone(),
            // As parsed, without what was copied around it.
            connection_string: hub.service.expose(),
            settings,
        };
        Ok(self.registry.add_integration(new, bindings).await?)
    }

    pub(super) fn check_transport(&self, transport: hubward_model::Transport) -> Result<(), ProvisionError> {
        if self.options.transports.contains(&transport) { Ok(()) } else { Err(ProvisionError::Transport(transport)) }
    }

    /// The devices that are named, each with the hub id asked for.
    pub(super) async fn named(&self, binds: &[Bind]) -> Result<Vec<(Device, Option<String>)>, ProvisionError> {
        let mut devices: Vec<(Device, Option<String>)> = Vec::with_capacity(binds.len());
        let mut seen = HashSet::new();
        for bind in binds {
            let device = self.find_device(&bind.device).await?;
            if !seen.insert(device.id.clone()) {
                return Err(ProvisionError::DeviceTwice { device: device.name.to_string() });
            }
            if let Some(hub_id) = &bind.hub_device_id {
                rules::device_id(hub_id)?;
                if self.registry.device_of_token(hub_id).is_some() {
                    return Err(ProvisionError::TokenAsId { device: device.name.to_string() });
                }
            }
            devices.push((device, bind.hub_device_id.clone()));
        }
        Ok(devices)
    }

    /// The device of this name or id, unless it is being removed.
    pub(super) async fn find_device(&self, name_or_id: &str) -> Result<Device, ProvisionError> {
        let unknown = || ProvisionError::UnknownDevice { device: name_or_id.to_owned() };
        match self.registry.find_device(name_or_id).await {
            Ok(device) if device.removing => Err(unknown()),
            Ok(device) => Ok(device),
            Err(Error::NotFound { .. }) => Err(unknown()),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds all devices that are neither among `devices` nor `bound`.
    pub(super) async fn add_others(
        &self,
        devices: &mut Vec<(Device, Option<String>)>,
        bound: &[DeviceId],
    ) -> Result<(), ProvisionError> {
        let mut known: HashSet<DeviceId> = devices.iter().map(|(device, _)| device.id.clone()).collect();
        known.extend(bound.iter().cloned());
        for device in self.registry.devices().await? {
            if !device.removing && !known.contains(&device.id) {
                devices.push((device, None));
            }
        }
        Ok(())
    }

    /// Bindings for `devices` at `host`: a hub id of each, and fresh keys. Ids that were asked for must be free; those of the
    /// template step aside.
    pub(super) async fn new_bindings(
        &self,
        host: &str,
        template: &str,
        devices: Vec<(Device, Option<String>)>,
    ) -> Result<Vec<NewBinding>, ProvisionError> {
        let start = (self.start)();
        let mut taken: HashSet<String> = devices.iter().filter_map(|(_, id)| id.clone()).collect();
        let mut bindings = Vec::with_capacity(devices.len());
        let mut asked = HashSet::new();
        for (device, wanted) in devices {
            let hub_device_id = match wanted {
                Some(id) => {
                    let twice = !asked.insert(id.clone());
                    let owner = self.registry.hub_device_id_owner(host, &id).await?;
                    if twice || owner.is_some() {
                        let integration = match owner {
                            Some(owner) => self.registry.integration(&owner.integration).await?.name.to_string(),
                            None => "this one".to_owned(),
                        };
                        let host = host.to_owned();
                        return Err(Error::HubDeviceIdTaken { host, hub_device_id: id, integration }.into());
                    }
                    id
                }
                None => {
                    let base = naming::hub_device_id(template, device.name.as_str(), device.id.as_str());
                    self.free_id(host, base, &taken).await?
                }
            };
            taken.insert(hub_device_id.clone());
            bindings.push(NewBinding {
                device: device.id,
                hub_device_id,
                primary_key: fresh_key(),
                secondary_key: fresh_key(),
                start,
            });
        }
        Ok(bindings)
    }

    /// `id`, or the first after it that no binding at `host` uses and that is not in `taken`.
    pub(super) async fn free_id(
        &self,
        host: &str,
        mut id: String,
        taken: &HashSet<String>,
    ) -> Result<String, ProvisionError> {
        while taken.contains(&id) || self.registry.hub_device_id_owner(host, &id).await?.is_some() {
            id = naming::next(&id);
        }
        Ok(id)
    }

    /// Binds `device` to every integration that takes all devices; answers to which.
    pub(super) async fn bind_to_all(&self, device: &DeviceId) -> Result<Vec<IntegrationId>, ProvisionError> {
        let device = self.registry.device(device).await?;
        let mut bound = Vec::new();
        for integration in self.registry.integrations().await? {
            if takes_all(&integration) && self.bind(&integration, vec![device.clone()]).await? {
                bound.push(integration.id);
            }
        }
        Ok(bound)
    }

    /// Binds to `integration`, if it takes all devices, those that are not in it: a kill may have come between the making of
    /// a device and its binding.
    pub(super) async fn bind_missing(&self, integration: &Integration) -> Result<(), ProvisionError> {
        if takes_all(integration) {
            let bound = self.registry.bindings(&integration.id).await?;
            let mut bound: HashSet<DeviceId> = bound.into_iter().map(|binding| binding.device).collect();
            // Nor those that somebody took out of it.
            bound.extend(self.registry.departed(&integration.id).await?);
            for device in self.registry.devices().await? {
                if !bound.contains(&device.id) {
                    self.bind(integration, vec![device]).await?;
                }
            }
        }
        Ok(())
    }

    /// Binds `devices`, all or none; answers whether they were not bound before.
    async fn bind(&self, integration: &Integration, mut devices: Vec<Device>) -> Result<bool, ProvisionError> {
        devices.retain(|device| !device.removing);
        let devices: Vec<_> = devices.into_iter().map(|device| (device, None)).collect();
        let template = &integration.settings.device_id_template;
        let bindings = self.new_bindings(&integration.host_name, template, devices).await?;
        match self.registry.add_bindings(&integration.id, bindings).await {
            Ok(()) => Ok(true),
            // Removed, or bound by somebody else, in between.
            Err(Error::AlreadyBound { .. } | Error::Stale { .. } | Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes an integration that was refused half way, with what was made of it.
    async fn take_back(&self, id: &IntegrationId) -> Result<(), ProvisionError> {
        let removal = hubward_registry::Removal { keep_identities: false, discard_backlog: true };
        self.registry.begin_removal(id, removal).await?;
        let report = self.finish_removal(id).await?;
        if !report.later.is_empty() {
            warn!(integration = %id, left = report.later.len(), "identities of a refused integration are deleted later");
        }
        Ok(())
    }

    /// Forgets bindings that were refused, with what was made of them.
    pub(super) async fn take_back_devices(
        &self,
        integration: &Integration,
        devices: &[DeviceId],
    ) -> Result<(), ProvisionError> {
        let bindings = self.registry.bindings(&integration.id).await?;
        let added = bindings.into_iter().filter(|binding| devices.contains(&binding.device)).collect();
        self.remove_from(integration, added, true).await.map(drop)
    }
}

fn takes_all(integration: &Integration) -> bool {
    integration.settings.all_devices && integration.state != IntegrationState::Removing
}

/// A fresh key, as text.
pub(super) fn fresh_key() -> SecretString {
    SecretString::from(SharedAccessKey::random().expose_base64())
}
