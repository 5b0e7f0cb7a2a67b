//! Integrations removed, devices taken out of them, devices removed everywhere.

use std::time::Duration;

use hubward_iothub::fault::Advice;
use hubward_model::{BindingState, DeviceId, IntegrationId, IntegrationState};
use hubward_registry::{Binding, BindingChange, Error, HubSide, Integration};
use tokio::time::Instant;
use tracing::{info, warn};

use super::request::{Removal, RemoveOptions};
use super::{ProvisionError, Shared};
use crate::backoff::Backoff;

impl Shared {
    /// Removes an integration.
    pub(super) async fn remove(&self, id: &IntegrationId, options: RemoveOptions) -> Result<Removal, ProvisionError> {
        let integration = self.registry.integration(id).await?;
        if integration.state == IntegrationState::Removing {
            return Err(ProvisionError::BeingRemoved(integration.name.to_string()));
        }
        if !options.discard_backlog {
            self.drained(&integration, None, Instant::now() + self.options.drain).await?;
        }
        let RemoveOptions { keep_identities, discard_backlog } = options;
        let discarded = self.waiting(id, None).await?;
        self.registry.begin_removal(id, hubward_registry::Removal { keep_identities, discard_backlog }).await?;
        let mut report = self.finish_removal(id).await?;
        report.discarded = discarded;
        note_discarded(discarded);
        info!(integration = %id, name = %integration.name, ?report, "the integration is removed");
        Ok(report)
    }

    /// Does what is left of a removal that was begun, now or before the last start.
    pub(super) async fn finish_removal(&self, id: &IntegrationId) -> Result<Removal, ProvisionError> {
        let removing = self.removing.of(&id.to_string());
        let _removing = removing.lock().await;
        let integration = match self.registry.integration(id).await {
            Ok(integration) => integration,
            Err(Error::NotFound { .. }) => return Ok(Removal::default()),
            Err(error) => return Err(error.into()),
        };
        self.lanes.refresh(id).await?;
        let bindings = self.registry.bindings(id).await?;
        let keep = integration.removal.is_some_and(|removal| removal.keep_identities);
        let report = if keep { kept(&bindings) } else { self.delete_all(&integration, bindings).await? };
        let rest = if report.later.is_empty() { HubSide::Settled } else { HubSide::DeleteLater };
        self.registry.remove_integration(id, rest).await?;
        self.deletions.notify_one();
        // Nothing of it is left in the registry: the lanes forget it.
        self.lanes.refresh(id).await?;
        Ok(report)
    }

    /// Takes devices out of an integration that stays. `discard` says that what waits of them may be lost; who calls without
    /// has seen to it that nothing waits.
    pub(super) async fn remove_from(
        &self,
        integration: &Integration,
        bindings: Vec<Binding>,
        discard: bool,
    ) -> Result<Removal, ProvisionError> {
        let id = &integration.id;
        let removing = self.removing.of(&id.to_string());
        let _removing = removing.lock().await;
        let mut discarded = 0;
        for binding in &bindings {
            discarded += self.waiting(id, Some(&binding.device)).await?;
        }
        let changes = bindings.iter().filter(|binding| binding.state != BindingState::Creating).map(|binding| {
            // One that is being made keeps its state, which says that it may exist; the lock of the hub and the removal of the
            // binding see to it that it is not made after.
            BindingChange { state: Some(BindingState::Removing), ..BindingChange::of(binding.device.clone()) }
        });
        self.registry.change_bindings(id, changes.collect()).await?;
        self.lanes.refresh(id).await?;
        let devices: Vec<DeviceId> = bindings.iter().map(|binding| binding.device.clone()).collect();
        let mut report = self.delete_all(integration, bindings).await?;
        if !report.later.is_empty() {
            let lock = self.hub_lock(&integration.host_name);
            let _writing = lock.lock().await;
            self.registry.remove_bindings(id, &devices, HubSide::DeleteLater).await?;
        }
        self.deletions.notify_one();
        self.lanes.refresh(id).await?;
        report.discarded = discarded;
        if discard {
            note_discarded(discarded);
        }
        Ok(report)
    }

    /// Removes a device from all integrations, and then itself.
    pub(super) async fn remove_device(
        &self,
        device: &DeviceId,
        discard_backlog: bool,
    ) -> Result<Removal, ProvisionError> {
        self.registry.device(device).await?;
        if !discard_backlog {
            let until = Instant::now() + self.options.drain;
            for binding in self.registry.bindings_of(device).await? {
                let integration = self.registry.integration(&binding.integration).await?;
                self.drained(&integration, Some(device), until).await?;
            }
        }
        self.registry.mark_device_removing(device).await?;
        let report = self.finish_device_removal(device).await?;
        info!(%device, ?report, "the device is removed");
        Ok(report)
    }

    /// Does what is left of a device's removal that was begun, now or before the last start.
    pub(super) async fn finish_device_removal(&self, device: &DeviceId) -> Result<Removal, ProvisionError> {
        let removing = self.removing.of(&device.to_string());
        let _removing = removing.lock().await;
        let mut report = Removal::default();
        for binding in self.registry.bindings_of(device).await? {
            let integration = self.registry.integration(&binding.integration).await?;
            if integration.state == IntegrationState::Removing {
                // Its own removal deletes the identity; here the binding only must be out of the way.
                report.add(self.finish_removal(&integration.id).await?);
                continue;
            }
            report.add(self.remove_from(&integration, vec![binding], true).await?);
        }
        match self.registry.remove_device(device).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(report),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until nothing waits of an integration, or of one device of it.
    ///
    /// # Errors
    /// Something still waits at `until`.
    pub(super) async fn drained(
        &self,
        integration: &Integration,
        device: Option<&DeviceId>,
        until: Instant,
    ) -> Result<(), ProvisionError> {
        let limit = match integration.state {
            // Nothing is sent: waiting helps nobody.
            IntegrationState::Paused => Duration::ZERO,
            _ => until.saturating_duration_since(Instant::now()),
        };
        let waiting = self.lanes.drain(&integration.id, device, limit).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        let mut devices = Vec::with_capacity(waiting.len());
        for (device, count) in &waiting {
            let name = self.registry.device_name(device).map_or_else(|| device.to_string(), |name| name.to_string());
            devices.push(format!("{name} ({count})"));
        }
        Err(ProvisionError::Backlog { signals: waiting.iter().map(|(_, count)| count).sum(), devices })
    }

    /// How many signals wait just now.
    async fn waiting(&self, id: &IntegrationId, device: Option<&DeviceId>) -> Result<u64, ProvisionError> {
        let waiting = self.lanes.drain(id, device, Duration::ZERO).await?;
        Ok(waiting.iter().map(|(_, count)| count).sum())
    }

    /// Deletes what is ours of these identities. A hub that is away or throttles is tried for a while; what is left then
    /// stands in the report as `later`, its bindings are still there.
    async fn delete_all(
        &self,
        integration: &Integration,
        mut bindings: Vec<Binding>,
    ) -> Result<Removal, ProvisionError> {
        let mut report = Removal::default();
        let until = Instant::now() + self.options.away_within;
        let mut pauses = Backoff::new(self.options.pauses.0, self.options.pauses.1);
        loop {
            let error = match self.hub_of(integration).await {
                Ok(hub) => match self.delete_identities(&hub, integration, &mut bindings, &mut report).await {
                    Ok(()) => return Ok(report),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            let again = match &error {
                ProvisionError::Hub(hub) => matches!(hub.advice(), Advice::Retry | Advice::Wait),
                ProvisionError::Registry(_) | ProvisionError::Lanes(_) | ProvisionError::Stopping => return Err(error),
                _ => false,
            };
            let pause = pauses.pause();
            if !again || Instant::now() + pause > until {
                warn!(integration = %integration.id, %error, left = bindings.len(), "identities are deleted later");
                report.later = later(&bindings);
                let adopted = bindings.iter().filter(|binding| is_adopted(binding));
                report.left.extend(adopted.map(|binding| binding.hub_device_id.clone()));
                return Ok(report);
            }
            self.pause(pause).await?;
        }
    }
}

/// Those of which the registry makes pending deletions.
fn later(bindings: &[Binding]) -> Vec<String> {
    let ours = bindings.iter().filter(|binding| binding.made_by_us || binding.state == BindingState::Creating);
    ours.map(|binding| binding.hub_device_id.clone()).collect()
}

fn is_adopted(binding: &Binding) -> bool {
    !binding.made_by_us && !matches!(binding.state, BindingState::Creating | BindingState::Conflict)
}

fn kept(bindings: &[Binding]) -> Removal {
    let exist = bindings.iter().filter(|binding| binding.made_by_us || is_adopted(binding));
    Removal { left: exist.map(|binding| binding.hub_device_id.clone()).collect(), ..Removal::default() }
}

/// Nothing is lost silently.
fn note_discarded(signals: u64) {
    if signals > 0 {
        metrics::counter!("hubward_dropped_total", "reason" => "discarded").increment(signals);
        warn!(signals, "signals were discarded on request");
    }
}
