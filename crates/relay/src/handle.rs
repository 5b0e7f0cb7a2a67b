//! What the API and the CLI ask and order.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use hubward_journal::Waiter;
use hubward_model::{
    DeviceId, DeviceName, Draft, IntegrationId, IntegrationState, Kind, Message, MessageId, Qos, Record, Timestamp,
};
use hubward_registry::{DeadLetterFilter, Integration};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout_at};

use crate::deliveries::{Delivery, DeliveryEvent, DeliveryState};
use crate::error::RelayError;
use crate::lanes::Lanes;
use crate::message;
use crate::plan;
use crate::provision::Provisioner;
use crate::status::{IntegrationStatus, RetryReport, TestResult};

/// The relay's handle. Cheap to clone; keeps nothing running.
#[derive(Debug, Clone)]
pub struct RelayHandle {
    lanes: Lanes,
    provisioner: Provisioner,
}

impl RelayHandle {
    pub(crate) fn new(lanes: Lanes, provisioner: Provisioner) -> Self {
        Self { lanes, provisioner }
    }

    /// Integrations and their identities: made, edited, removed.
    #[must_use]
    pub fn provisioner(&self) -> &Provisioner {
        &self.provisioner
    }

    /// The lanes alone, as provisioning needs them.
    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// See [`Lanes::refresh`].
    ///
    /// # Errors
    /// The registry failed, or the relay is stopping.
    pub async fn refresh(&self, integration: &IntegrationId) -> Result<(), RelayError> {
        self.lanes.refresh(integration).await
    }

    /// See [`Lanes::drain`].
    ///
    /// # Errors
    /// The registry or the journal cannot be read.
    pub async fn drain(
        &self,
        integration: &IntegrationId,
        device: Option<&DeviceId>,
        limit: Duration,
    ) -> Result<Vec<(DeviceId, u64)>, RelayError> {
        self.lanes.drain(integration, device, limit).await
    }

    /// See [`Lanes::backlog`].
    pub async fn backlog(&self, integration: &IntegrationId) -> HashMap<DeviceId, u64> {
        self.lanes.backlog(integration).await
    }

    /// See [`Lanes::status`].
    ///
    /// # Errors
    /// There is no such integration, or the registry failed.
    pub async fn status(&self, integration: &IntegrationId) -> Result<IntegrationStatus, RelayError> {
        self.lanes.status(integration).await
    }

    /// Pauses: its lanes stop after what is under way, the backlog grows.
    ///
    /// # Errors
    /// It is being removed, the registry failed, or the relay is stopping.
    pub async fn pause(&self, integration: &IntegrationId) -> Result<(), RelayError> {
        self.lanes.registry().set_integration_state(integration, IntegrationState::Paused, None).await?;
        self.lanes.refresh(integration).await
    }

    /// Ends a pause; all lanes try at once.
    ///
    /// # Errors
    /// It is being removed, the registry failed, or the relay is stopping.
    pub async fn resume(&self, integration: &IntegrationId) -> Result<(), RelayError> {
        let entry = self.lanes.registry().integration(integration).await?;
        if entry.state == IntegrationState::Paused {
            self.lanes.registry().set_integration_state(integration, IntegrationState::Active, None).await?;
            self.lanes.refresh(integration).await?;
        }
        self.retry_now(integration).await;
        Ok(())
    }

    /// Ends all pauses of its lanes and of its hub: the next tries are made now.
    pub async fn retry_now(&self, integration: &IntegrationId) {
        if let Some(shared) = self.lanes.showing(integration).shared {
            shared.terms().session.retry_now();
            shared.roster().values().for_each(|lane| lane.poke());
        }
    }

    /// Every signal that is accepted or becomes a dead letter from now on. Who reads too slowly is told how many it missed.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<DeliveryEvent> {
        self.lanes.events().subscribe()
    }

    /// What became of each of `records`, in every integration it goes to.
    ///
    /// # Errors
    /// The registry failed.
    pub async fn deliveries(&self, records: &[Record]) -> Result<Vec<Vec<Delivery>>, RelayError> {
        let mut deliveries = vec![Vec::new(); records.len()];
        if records.iter().all(|record| record.kind != Kind::Signal) {
            return Ok(deliveries);
        }
        let registry = self.lanes.registry();
        let journal = self.lanes.journal().id();
        let mut by_device: HashMap<&DeviceId, Vec<usize>> = HashMap::new();
        for (index, record) in records.iter().enumerate().filter(|(_, record)| record.kind == Kind::Signal) {
            if let Some(device) = &record.device {
                by_device.entry(device).or_default().push(index);
            }
        }
        let mut integrations: HashMap<IntegrationId, Integration> = HashMap::new();
        for (device, indices) in by_device {
            for binding in registry.bindings_of(device).await? {
                let id = &binding.integration;
                if !integrations.contains_key(id) {
                    integrations.insert(id.clone(), registry.integration(id).await?);
                }
                let Some(integration) = integrations.get(id) else { continue };
                let offsets: Vec<_> = indices.iter().map(|index| records[*index].offset).collect();
                let buried = registry.buried(id, device, &offsets).await?;
                let (first, last) = (offsets.iter().min().copied(), offsets.iter().max().copied());
                let expired = match (first, last) {
                    (Some(first), Some(last)) => registry.expired_between(id, device, first, last).await?,
                    _ => Vec::new(),
                };
                let running = self.lanes.showing(id).shared;
                let position = match running.as_ref().map(|shared| (shared.head(), shared.roster())) {
                    Some((head, roster)) => roster.get(device).map(|lane| lane.standing(head).position),
                    None => None,
                };
                let position = match position {
                    Some(position) => position,
                    None => plan::position(&binding, &registry.progress_of(id, device).await?),
                };
                for index in &indices {
                    let record = &records[*index];
                    if record.offset < binding.start || record.only_for.as_ref().is_some_and(|only| only != id) {
                        continue;
                    }
                    let state = if buried.contains(&record.offset) {
                        DeliveryState::DeadLetter
                    } else if expired.iter().any(|range| range.from <= record.offset && record.offset < range.to) {
                        DeliveryState::Expired
                    } else if record.offset < position {
                        DeliveryState::Accepted
                    } else {
                        DeliveryState::Waiting
                    };
                    let message_id = message::message_id(record, journal);
                    let name = integration.name.clone();
                    deliveries[*index].push(Delivery { integration: id.clone(), name, state, message_id });
                }
            }
        }
        Ok(deliveries)
    }

    /// Sends a test message through the lane of one device, or of all, and waits for the hub's word, for at most 30 s.
    ///
    /// # Errors
    /// The integration does not run, the device is not in it, or the journal takes nothing.
    pub async fn test(
        &self,
        integration: &IntegrationId,
        device: Option<&DeviceId>,
    ) -> Result<Vec<TestResult>, RelayError> {
        let entry = self.lanes.registry().integration(integration).await?;
        let showing = self.lanes.showing(integration);
        let (Some(shared), false) = (&showing.shared, showing.paused) else {
            return Err(RelayError::NotRunning { name: entry.name.to_string(), state: entry.state });
        };
        let roster = shared.roster();
        let mut devices: Vec<_> = match device {
            Some(device) if roster.contains_key(device) => vec![device.clone()],
            Some(device) => {
                let integration = entry.name.to_string();
                return Err(RelayError::NotBound { integration, device: device.to_string() });
            }
            None => roster.keys().cloned().collect(),
        };
        devices.sort();
        let until = Instant::now() + self.lanes.word_within();
        join_all(devices.iter().map(|device| self.test_one(&entry, device, until))).await.into_iter().collect()
    }

    async fn test_one(
        &self,
        integration: &Integration,
        device: &DeviceId,
        until: Instant,
    ) -> Result<TestResult, RelayError> {
        let Some(dealer) = self.lanes.dealer(&integration.id) else { return Err(RelayError::Stopping) };
        let journal = self.lanes.journal();
        let received_at = Timestamp::now();
        let began = Instant::now();
        let waiter = Waiter::new();
        let name = self.lanes.registry().device_name(device);
        let name = name.as_ref().map_or(device.as_str(), DeviceName::as_str);
        let offset = journal.append(draft(integration, device, name, received_at), &waiter)?;
        // Nobody can have settled it before it is durable, so the word cannot be missed.
        let mut trial = dealer.face.trials.wait(device, offset);
        let mut result = TestResult {
            device: device.clone(),
            accepted: false,
            message_id: Some(MessageId::new(journal.id(), journal.epoch(), offset)),
            delay_ms: None,
            error: None,
        };
        let durable = async {
            loop {
                let progress = waiter.progress();
                if progress.durable > offset || progress.failed_from.is_some_and(|from| from <= offset) {
                    return progress.durable > offset;
                }
                waiter.changed().await;
            }
        };
        match timeout_at(until, durable).await {
            Ok(true) => {}
            Ok(false) => {
                result.error = Some("the journal could not make it durable".to_owned());
                return Ok(result);
            }
            Err(_) => {
                result.error = Some("the journal did not make it durable in time".to_owned());
                return Ok(result);
            }
        }
        let lane = dealer.face.showing().shared.and_then(|shared| shared.roster().get(device).cloned());
        if let Some(lane) = &lane {
            // A lane that holds looks again now.
            lane.poke();
        }
        match timeout_at(until, trial.word()).await {
            Ok(Some(Ok(()))) => {
                result.accepted = true;
                result.delay_ms = Some(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            }
            Ok(Some(Err(why))) => result.error = Some(why),
            Ok(None) => result.error = Some("the relay is stopping".to_owned()),
            Err(_) => {
                let why = lane.and_then(|lane| lane.shown().last_error);
                let within = self.lanes.word_within().as_secs();
                result.error = Some(match why {
                    Some(why) => format!("no word from the hub within {within} s: {why}"),
                    None => format!("no word from the hub within {within} s; the message waits in its lane"),
                });
            }
        }
        Ok(result)
    }

    /// Sends dead letters again, each outside the order of its lane and with the same message-id. Those the hub accepts are
    /// no dead letters any more. Waits for the hub's word, for at most 30 s.
    ///
    /// # Errors
    /// The registry failed.
    pub async fn retry_dead_letters(&self, filter: &DeadLetterFilter) -> Result<RetryReport, RelayError> {
        crate::dead_letters::retry(&self.lanes, filter).await
    }

    /// Discards dead letters; answers how many.
    ///
    /// # Errors
    /// The registry failed.
    pub async fn discard_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, RelayError> {
        crate::dead_letters::discard(&self.lanes, filter).await
    }
}

fn draft(integration: &Integration, device: &DeviceId, name: &str, received_at: Timestamp) -> Draft {
    let payload = serde_json::json!({
        "hubward": "test",
        "integration": integration.name.as_str(),
        "device": name,
        "sent_at": received_at.to_string(),
    });
    Draft {
        kind: Kind::Signal,
        received_at,
        device: Some(device.clone()),
        only_for: Some(integration.id.clone()),
        message: Message {
            topic: format!("devices/{device}/signals/hubward-test"),
            payload: payload.to_string().into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            content_type: Some("application/json".to_owned()),
            user_properties: Vec::new(),
        },
        note: bytes::Bytes::new(),
    }
}
