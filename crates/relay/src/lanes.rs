//! The lanes as seen from outside: for provisioning, and for the relay's handle.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hubward_journal::{Chunk, HoldPosition, Journal};
use hubward_model::{BindingState, DeviceId, IntegrationId, IntegrationState, Kind, Offset};
use hubward_registry::{Binding, Error, Held, Registry};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::dealer::{DealerHandle, Follow, Showing, Tools};
use crate::deliveries::DeliveryEvent;
use crate::error::RelayError;
use crate::lane::Shown;
use crate::options::Options;
use crate::over::Over;
use crate::plan;
use crate::shared::Shared;
use crate::status::{DeviceStatus, HubStatus, IntegrationStatus};
use crate::supervisor::{Dealers, Start};
use crate::trace::Traces;

/// How often a drain looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often a drain counts although its lanes seem to be done.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// The lanes of all integrations. Cheap to clone; keeps nothing running.
#[derive(Clone)]
pub struct Lanes {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    journal: Journal,
    dealers: Dealers,
    starts: mpsc::Sender<Start>,
    events: broadcast::Sender<DeliveryEvent>,
    over: Over,
    word_within: Duration,
    traces: Traces,
}

impl Lanes {
    pub(crate) fn new(
        registry: Registry,
        journal: Journal,
        dealers: Dealers,
        starts: mpsc::Sender<Start>,
        options: &Options,
        tools: &Tools,
    ) -> Self {
        let word_within = options.word_within;
        let (events, over, traces) = (tools.events.clone(), tools.over.clone(), tools.traces.clone());
        Self { inner: Arc::new(Inner { registry, journal, dealers, starts, events, over, word_within, traces }) }
    }

    /// Devices with more waiting than may be, in any integration: their senders are to wait until it is less.
    #[must_use]
    pub fn over_limit(&self) -> watch::Receiver<Arc<HashSet<DeviceId>>> {
        self.inner.over.subscribe()
    }

    /// Reads the registry again and starts, changes and stops lanes to match; also when the integration is gone. Returns when
    /// lanes that are no longer wanted are down, their links closed and their place saved, and the new ones run.
    ///
    /// # Errors
    /// The registry failed, or the relay is stopping.
    pub async fn refresh(&self, integration: &IntegrationId) -> Result<(), RelayError> {
        if let Some(dealer) = self.inner.dealers.get(integration)
            && dealer.refresh().await.is_ok()
        {
            return Ok(());
        }
        match self.inner.registry.integration(integration).await {
            Ok(_) => self.start(integration).await?.refresh().await,
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until everything that is durable now is settled for the integration, or for one device of it, for at most
    /// `limit`. Answers what still waits: devices and their signals. Nothing: drained.
    ///
    /// # Errors
    /// The registry or the journal cannot be read.
    pub async fn drain(
        &self,
        integration: &IntegrationId,
        device: Option<&DeviceId>,
        limit: Duration,
    ) -> Result<Vec<(DeviceId, u64)>, RelayError> {
        let target = self.inner.journal.durable();
        let until = Instant::now() + limit;
        let mut count_at = Instant::now() + COUNT_EVERY;
        loop {
            let Showing { shared: Some(shared), paused: false, .. } = self.showing(integration) else { break };
            let head = shared.head();
            let roster = shared.roster();
            let ours: Vec<_> = roster
                .iter()
                .filter(|(of, _)| device.is_none_or(|device| device == *of))
                .map(|(_, lane)| lane)
                .collect();
            if ours.iter().all(|lane| lane.has_settled_before(target, head)) {
                return Ok(Vec::new());
            }
            let now = Instant::now();
            if now >= until {
                break;
            }
            // The end of the journal may be a hole that no reader passes before the next record: then counting tells.
            if now >= count_at && ours.iter().all(|lane| lane.has_settled_before(head.min(target), head)) {
                if self.count_backlog(integration, device, target).await?.is_empty() {
                    return Ok(Vec::new());
                }
                count_at = Instant::now() + COUNT_EVERY;
            }
            sleep(LOOK_EVERY).await;
        }
        let mut left: Vec<_> = self.count_backlog(integration, device, target).await?.into_iter().collect();
        left.sort();
        Ok(left)
    }

    /// Signals neither accepted nor dead-lettered, by device.
    pub async fn backlog(&self, integration: &IntegrationId) -> HashMap<DeviceId, u64> {
        match self.showing(integration).shared {
            Some(shared) => {
                shared.roster().iter().map(|(device, lane)| (device.clone(), lane.shown().backlog)).collect()
            }
            None => HashMap::new(),
        }
    }

    /// An integration: the registry's entry, and how it runs.
    ///
    /// # Errors
    /// There is none, or the registry failed.
    pub async fn status(&self, integration: &IntegrationId) -> Result<IntegrationStatus, RelayError> {
        let entry = self.inner.registry.integration(integration).await?;
        let bindings = self.inner.registry.bindings(integration).await?;
        let showing = self.showing(integration);
        let roster = showing.shared.as_ref().map(|shared| shared.roster()).unwrap_or_default();
        let mut devices: Vec<_> = bindings
            .into_iter()
            .map(|binding| {
                let lane = roster.get(&binding.device).map(|lane| lane.shown());
                device_status(binding, lane, showing.paused)
            })
            .collect();
        devices.sort_by(|a, b| a.device.cmp(&b.device));
        let hub = hub_status(showing.shared.as_deref(), devices.iter().filter(|device| device.attached).count());
        let last_error = showing.error.clone().or_else(|| hub.last_error.clone()).or_else(|| entry.last_error.clone());
        let state = effective_state(entry.state, &showing, &hub, devices.iter().any(needs_a_person));
        Ok(IntegrationStatus { integration: entry, state, last_error, hub, devices })
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    pub(crate) fn events(&self) -> &broadcast::Sender<DeliveryEvent> {
        &self.inner.events
    }

    pub(crate) fn traces(&self) -> &Traces {
        &self.inner.traces
    }

    pub(crate) fn word_within(&self) -> Duration {
        self.inner.word_within
    }

    pub(crate) fn dealer(&self, integration: &IntegrationId) -> Option<DealerHandle> {
        self.inner.dealers.get(integration)
    }

    pub(crate) fn showing(&self, integration: &IntegrationId) -> Showing {
        self.dealer(integration).map(|dealer| dealer.face.showing()).unwrap_or_default()
    }

    async fn start(&self, integration: &IntegrationId) -> Result<DealerHandle, RelayError> {
        let (started, handle) = oneshot::channel();
        let start = Start { id: integration.clone(), started };
        self.inner.starts.send(start).await.map_err(|_| RelayError::Stopping)?;
        handle.await.map_err(|_| RelayError::Stopping)
    }

    /// Counts what waits before `target` by reading the journal: exact, whatever runs or not.
    async fn count_backlog(
        &self,
        integration: &IntegrationId,
        device: Option<&DeviceId>,
        target: Offset,
    ) -> Result<HashMap<DeviceId, u64>, RelayError> {
        let places = self.places(integration, device).await?;
        let mut counts = self.count_held(integration, &places).await?;
        let positions: HashMap<_, _> = places
            .into_iter()
            .map(|(device, (position, held))| (device, held.map_or(position, |held| held.until.max(position))))
            .collect();
        let Some(from) = positions.values().min().copied() else { return Ok(counts) };
        let (journal, integration) = (self.inner.journal.clone(), integration.clone());
        let counting = move || count(&journal, &integration, &positions, from, target);
        // The blocking pool ends with the runtime alone.
        let more = spawn_blocking(counting).await.map_err(|_| RelayError::Stopping)??;
        for (device, count) in more {
            *counts.entry(device).or_insert(0) += count;
        }
        Ok(counts)
    }

    /// Counts what waits in the hold file.
    async fn count_held(
        &self,
        integration: &IntegrationId,
        places: &HashMap<DeviceId, (Offset, Option<Held>)>,
    ) -> Result<HashMap<DeviceId, u64>, RelayError> {
        let held = |(device, (position, held)): (&DeviceId, &(Offset, Option<Held>))| {
            let held = held.filter(|held| held.until > *position)?;
            Some((device.clone(), Follow { next: *position, until: held.until }, held.from))
        };
        let held: Vec<_> = places.iter().filter_map(held).collect();
        let mut counts = HashMap::new();
        let Some(first) = held.iter().map(|(_, _, from)| *from).min() else { return Ok(counts) };
        let mut follows: HashMap<_, _> = held.into_iter().map(|(device, follow, _)| (device, follow)).collect();
        let hold = self.inner.journal.hold(integration.as_str()).await?;
        let mut place = HoldPosition::from_raw(first);
        loop {
            let chunk = hold.read(place).await?;
            if chunk.records.is_empty() {
                return Ok(counts);
            }
            for (_, record) in &chunk.records {
                let Some(device) = &record.device else { continue };
                if follows.get_mut(device).is_some_and(|follow| follow.takes(record)) {
                    *counts.entry(device.clone()).or_insert(0) += 1;
                }
            }
            place = chunk.next;
        }
    }

    /// Where each binding goes on, and what of it stands in the hold file.
    async fn places(
        &self,
        integration: &IntegrationId,
        device: Option<&DeviceId>,
    ) -> Result<HashMap<DeviceId, (Offset, Option<Held>)>, RelayError> {
        let progress = self.inner.registry.progress(integration).await?;
        let bindings = self.inner.registry.bindings(integration).await?;
        let running = self.showing(integration).shared.map(|shared| (shared.head(), shared.roster()));
        let of = |binding: Binding| {
            let lane = running.as_ref().and_then(|(head, roster)| Some((roster.get(&binding.device)?, head)));
            let place = match lane {
                Some((lane, head)) => {
                    let at = lane.standing(*head);
                    (at.position, at.held)
                }
                None => {
                    let held = progress.lanes.get(&binding.device).and_then(|lane| lane.held);
                    (plan::position(&binding, &progress), held)
                }
            };
            (binding.device, place)
        };
        let wanted = |binding: &Binding| device.is_none_or(|device| *device == binding.device);
        Ok(bindings.into_iter().filter(wanted).map(of).collect())
    }
}

/// Counts signals of `integration` from each device's position on.
fn count(
    journal: &Journal,
    integration: &IntegrationId,
    positions: &HashMap<DeviceId, Offset>,
    from: Offset,
    target: Offset,
) -> Result<HashMap<DeviceId, u64>, RelayError> {
    let mut counts = HashMap::new();
    let mut reader = journal.reader(from);
    while reader.position() < target {
        let Some(chunk) = reader.try_next()? else { break };
        let Chunk::Records(records) = chunk else { continue };
        for record in records.iter().take_while(|record| record.offset < target) {
            let for_us = record.kind == Kind::Signal && record.only_for.as_ref().is_none_or(|only| only == integration);
            let Some(device) = record.device.as_ref().filter(|_| for_us) else { continue };
            if positions.get(device).is_some_and(|position| record.offset >= *position) {
                *counts.entry(device.clone()).or_insert(0) += 1;
            }
        }
    }
    Ok(counts)
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").finish_non_exhaustive()
    }
}

pub(crate) fn device_status(binding: Binding, lane: Option<Shown>, paused: bool) -> DeviceStatus {
    let runs = plan::has_lane(binding.state);
    let lane = lane.filter(|_| runs);
    DeviceStatus {
        hub_device_id: binding.hub_device_id,
        made_by_us: binding.made_by_us,
        state: match &lane {
            Some(lane) if !paused => lane.state,
            _ => binding.state,
        },
        attached: lane.as_ref().is_some_and(|lane| lane.attached),
        delivered: lane.as_ref().map_or(binding.delivered, |lane| lane.delivered),
        backlog: lane.as_ref().map_or(0, |lane| lane.backlog),
        dead_letters: lane.as_ref().map_or(0, |lane| lane.dead_letters),
        last_error: lane.and_then(|lane| lane.last_error).map(|e| e.to_string()).or(binding.last_error),
        device: binding.device,
    }
}

pub(crate) fn hub_status(shared: Option<&Shared>, attached: usize) -> HubStatus {
    let Some(shared) = shared else { return HubStatus::default() };
    let session = &shared.terms().session;
    let (away_since, last_error) = session.presence.describe();
    let holding = session.hub.governor.holding();
    HubStatus {
        connections: session.uplink.connections(),
        attached,
        throttled: holding.is_some() || session.hub.governor.slows(),
        suspended: session.hub.governor.hold().is_some_and(|hold| hold.code == "hub_disabled"),
        // A trouble that is over is no news.
        last_error: holding.or_else(|| last_error.filter(|_| away_since.is_some())).map(|error| error.to_string()),
        away_since,
    }
}

fn needs_a_person(device: &DeviceStatus) -> bool {
    matches!(device.state, BindingState::Held | BindingState::Missing | BindingState::Disabled | BindingState::Conflict)
}

pub(crate) fn effective_state(
    stored: IntegrationState,
    showing: &Showing,
    hub: &HubStatus,
    needs_a_person: bool,
) -> IntegrationState {
    match stored {
        IntegrationState::Creating | IntegrationState::Paused | IntegrationState::Removing => stored,
        _ if showing.error.is_some() => IntegrationState::Attention,
        _ if hub.last_error.is_some() => IntegrationState::Waiting,
        IntegrationState::Attention => IntegrationState::Attention,
        _ if needs_a_person => IntegrationState::Attention,
        _ => IntegrationState::Active,
    }
}
