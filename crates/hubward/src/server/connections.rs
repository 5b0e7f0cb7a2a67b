//! Writes down who connected, who was refused, and why connections ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hubward_broker::{BrokerEvent, BrokerHandle, Owner};
use hubward_model::{DeviceId, Problem, Timestamp};
use hubward_registry::{ConnectionChange, Registry};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::PartEnd;
use super::activity::ActivityCounter;

/// How often what happened is written down.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// So much is written at once, when a fleet comes back.
const BATCH: usize = 2_000;
/// How long the ends of connections are waited for when the server stops.
const LAST_EVENTS: Duration = Duration::from_secs(5);
/// While the registry cannot be written, no more than this is kept for it.
const MOST_PENDING: usize = 100_000;

/// Starts to listen. Connections that the last run left open are closed in the books.
pub(super) async fn start(
    registry: &Registry,
    broker: &BrokerHandle,
    activity: Arc<ActivityCounter>,
    stop: CancellationToken,
    parts: &mut JoinSet<PartEnd>,
) -> Result<(), Problem> {
    registry.close_unseen_connections().await.map_err(|error| error.problem())?;
    let task = Task { registry: registry.clone(), activity, open: HashMap::new(), pending: Vec::new() };
    parts.spawn(task.run(broker.subscribe_events(), stop));
    Ok(())
}

struct Task {
    registry: Registry,
    activity: Arc<ActivityCounter>,
    /// Ids of the connections that are open, by the broker's number.
    open: HashMap<u64, String>,
    pending: Vec<ConnectionChange>,
}

impl Task {
    async fn run(
        mut self,
        mut events: tokio::sync::broadcast::Receiver<BrokerEvent>,
        stop: CancellationToken,
    ) -> PartEnd {
        let mut save = tokio::time::interval(SAVE_EVERY);
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = save.tick() => self.save().await,
                event = events.recv() => match event {
                    Ok(event) => self.note(event),
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "the connection history misses some events");
                    }
                    Err(RecvError::Closed) => break,
                },
            }
            if self.pending.len() >= BATCH {
                self.save().await;
            }
        }
        // The broker stops at the same time, and says so of each connection.
        let until = tokio::time::Instant::now() + LAST_EVENTS;
        while !self.open.is_empty() {
            match tokio::time::timeout_at(until, events.recv()).await {
                Ok(Ok(event)) => self.note(event),
                Ok(Err(RecvError::Lagged(_))) => {}
                Ok(Err(RecvError::Closed)) | Err(_) => break,
            }
        }
        self.save().await;
        ("connections", Ok(()))
    }

    fn note(&mut self, event: BrokerEvent) {
        let at = Timestamp::now();
        match event {
            BrokerEvent::Connected { owner: Owner::Device(device), peer, connection, version, keep_alive } => {
                self.activity.logged_in(&device);
                let id = Registry::connection_id(at);
                self.open.insert(connection, id.clone());
                let (peer, protocol) = (peer.to_string(), format!("MQTT {version}"));
                self.pending.push(ConnectionChange::Opened { id, device, at, peer, protocol, keep_alive });
            }
            BrokerEvent::Disconnected { owner: Owner::Device(_), connection, reason, .. } => {
                if let Some(id) = self.open.remove(&connection) {
                    self.pending.push(ConnectionChange::Closed { id, at, reason: reason.to_owned() });
                }
            }
            BrokerEvent::Refused { peer, who: Some(who), reason } => {
                if let Some(device) = self.device_of(&who) {
                    self.activity.refused_login(&device, at);
                    let (peer, reason) = (peer.to_string(), reason.to_owned());
                    self.pending.push(ConnectionChange::Refused { device, at, peer, reason });
                }
            }
            _ => {}
        }
    }

    /// The device that a refused client called itself.
    fn device_of(&self, who: &str) -> Option<DeviceId> {
        self.registry.device_of_login(who)
    }

    async fn save(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match self.registry.note_connections(&self.pending).await {
            Ok(()) => self.pending.clear(),
            Err(error) => {
                tracing::warn!(%error, "the connection history was not written; it is written with the next");
                let surplus = self.pending.len().saturating_sub(MOST_PENDING);
                self.pending.drain(..surplus);
            }
        }
    }
}
