//! An integration or a hub at one look: from memory and counts, never from all of its bindings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hubward_model::{BindingState, Capacity, IntegrationId, IntegrationState, Offset, Timestamp};
use hubward_registry::{HubUsage, Integration};
use tokio::time::Instant;

use crate::RelayHandle;
use crate::dealer::Showing;
use crate::error::RelayError;
use crate::hub::{Holding, PaceShown};
use crate::lanes::Lanes;
use crate::plan;
use crate::shared::Shared;
use crate::status::{DeviceStatus, HubStatus};

/// An integration at one look.
#[derive(Debug, Clone)]
pub struct IntegrationSummary {
    /// The registry's entry.
    pub integration: Integration,
    /// Its state now.
    pub state: IntegrationState,
    /// What is in the way, if something is.
    pub cause: Option<Cause>,
    /// Its hub.
    pub hub: HubStatus,
    /// How many devices it has.
    pub devices: u64,
    /// How many of them are in each state.
    pub states: BTreeMap<&'static str, u64>,
    /// Signals the hub accepted, of all bindings there are.
    pub delivered: u64,
    /// Signals that wait.
    pub waiting: u64,
    /// From here on something waits; none: nothing does.
    pub waits_from: Option<Offset>,
    /// Signals given up.
    pub dead_letters: u64,
    /// Signals a second accepted in the last minute.
    pub rate: f64,
    /// Median and 99th percentile of the latest delays, in milliseconds.
    pub delay_ms: Option<(u64, u64)>,
}

/// What is in the way of an integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// A word for it.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// Since when, if that is known.
    pub since: Option<Timestamp>,
    /// When Hubward tries again by itself, if it does and that is known.
    pub next_try_at: Option<Timestamp>,
}

/// A hub, over all integrations that send to it.
#[derive(Debug, Clone, Default)]
pub struct HubShown {
    /// Its host name.
    pub host_name: String,
    /// The integrations that send to it, by id.
    pub integrations: Vec<IntegrationId>,
    /// Open connections.
    pub connections: usize,
    /// Links that are attached.
    pub links: usize,
    /// Lanes.
    pub lanes: usize,
    /// Since when no connection can be opened.
    pub away_since: Option<Timestamp>,
    /// Whether fewer transfers may be under way than lanes want.
    pub throttled: bool,
    /// Why all lanes wait, if they do.
    pub holding: Option<Cause>,
    /// What it accepted from us today.
    pub used_today: HubUsage,
    /// Its size, as the integrations on it say; of several that say something the least counts.
    pub capacity: Option<Capacity>,
    /// How fast it may be used now.
    pub pace: PaceShown,
    /// The last trouble with it.
    pub last_error: Option<String>,
}

impl RelayHandle {
    /// An integration at one look. Reads a handful of rows, however many devices it has.
    ///
    /// # Errors
    /// There is none, or the registry failed.
    pub async fn summary(&self, id: &IntegrationId) -> Result<IntegrationSummary, RelayError> {
        self.lanes().summary(id).await
    }

    /// The bindings of an integration as they are now, for a page of them.
    #[must_use]
    pub fn device_statuses(
        &self,
        integration: &IntegrationId,
        bindings: Vec<hubward_registry::Binding>,
    ) -> Vec<DeviceStatus> {
        let showing = self.lanes().showing(integration);
        let roster = showing.shared.as_ref().map(|shared| shared.roster()).unwrap_or_default();
        let status = |binding: hubward_registry::Binding| {
            let lane = roster.get(&binding.device).map(|lane| lane.shown());
            crate::lanes::device_status(binding, lane, showing.paused)
        };
        bindings.into_iter().map(status).collect()
    }

    /// How many signals the hub accepted in each of the last 60 minutes and the present one, oldest first; without those
    /// before the integration was started.
    #[must_use]
    pub fn delivered_by_minute(&self, integration: &IntegrationId) -> Vec<(Timestamp, u64)> {
        let shared = self.lanes().showing(integration).shared;
        shared.map(|shared| shared.pulse.minutes(Timestamp::now())).unwrap_or_default()
    }

    /// The hubs that integrations send to.
    ///
    /// # Errors
    /// The registry failed.
    pub async fn hubs(&self) -> Result<Vec<HubShown>, RelayError> {
        self.lanes().hubs().await
    }
}

impl Lanes {
    async fn summary(&self, id: &IntegrationId) -> Result<IntegrationSummary, RelayError> {
        let integration = self.registry().integration(id).await?;
        let showing = self.showing(id);
        let mut states: BTreeMap<&'static str, u64> = BTreeMap::new();
        let (mut devices, mut lanes) = (0, 0);
        for count in self.registry().binding_counts(id).await? {
            devices += count.number;
            let has_lane = plan::has_lane(count.state) && showing.shared.is_some() && !showing.paused;
            if has_lane {
                lanes += count.number;
            } else {
                *states.entry(count.state.as_str()).or_default() += count.number;
            }
        }
        let (mut delivered, mut waiting, mut dead_letters, mut attached) = (0, 0, 0, 0);
        let mut waits_from: Option<Offset> = None;
        let mut sick: Option<(BindingState, Option<Arc<str>>)> = None;
        if let Some(shared) = &showing.shared {
            let head = shared.head();
            for lane in shared.roster().values() {
                let shown = lane.shown();
                delivered += shown.delivered;
                waiting += shown.backlog;
                dead_letters += shown.dead_letters;
                attached += usize::from(shown.attached);
                if shown.backlog > 0 {
                    let position = lane.standing(head).position;
                    waits_from = Some(waits_from.map_or(position, |known| known.min(position)));
                }
                if !showing.paused && lanes > 0 {
                    lanes -= 1;
                    *states.entry(shown.state.as_str()).or_default() += 1;
                    if shown.state != BindingState::Delivering && sick.is_none() {
                        sick = Some((shown.state, shown.last_error));
                    }
                }
            }
        }
        if lanes > 0 {
            // Bindings that were just made: their lanes start in this moment.
            *states.entry(BindingState::Delivering.as_str()).or_default() += lanes;
        }
        let hub = crate::lanes::hub_status(showing.shared.as_deref(), attached);
        let needs_a_person = ["held", "missing", "disabled", "conflict"].iter().any(|state| states.contains_key(state));
        let state = crate::lanes::effective_state(integration.state, &showing, &hub, needs_a_person);
        let cause = cause(&integration, state, &showing, sick);
        let (rate, delay_ms) = match &showing.shared {
            Some(shared) => (shared.pulse.rate(Timestamp::now()), shared.pulse.delays()),
            None => (0.0, None),
        };
        Ok(IntegrationSummary {
            integration,
            state,
            cause,
            hub,
            devices,
            states,
            delivered,
            waiting,
            waits_from,
            dead_letters,
            rate,
            delay_ms,
        })
    }

    async fn hubs(&self) -> Result<Vec<HubShown>, RelayError> {
        let mut hubs: BTreeMap<String, HubShown> = BTreeMap::new();
        let mut sessions = BTreeSet::new();
        for integration in self.registry().integrations().await? {
            let host = integration.host_name.clone();
            let hub = hubs.entry(host.clone()).or_insert_with(|| HubShown { host_name: host, ..HubShown::default() });
            if let Some(shared) = self.showing(&integration.id).shared {
                let session = Arc::clone(&shared.terms().session);
                if hub.integrations.is_empty() || hub.lanes == 0 {
                    hub.used_today = shared.hub.usage.pending();
                }
                if sessions.insert(Arc::as_ptr(&session).addr()) {
                    hub.connections += session.uplink.connections();
                }
                let roster = shared.roster();
                hub.lanes += roster.len();
                hub.links += roster.values().filter(|lane| lane.shown().attached).count();
                let (away_since, last_error) = session.presence.describe();
                hub.away_since = hub.away_since.or(away_since);
                hub.pace = session.hub.governor.shown();
                hub.throttled |= session.hub.governor.slows() || session.hub.governor.holding().is_some();
                hub.holding = hub.holding.take().or_else(|| session.hub.governor.hold().map(of_hold));
                hub.last_error = hub.last_error.take().or_else(|| last_error.map(|error| error.to_string()));
            }
            let said = hub.capacity.into_iter().chain(integration.settings.capacity);
            hub.capacity = said.min_by_key(|capacity| capacity.messages_per_day());
            hub.integrations.push(integration.id);
        }
        let now = Timestamp::now();
        for hub in hubs.values_mut() {
            // Counted by the name without the port.
            let host = hub.host_name.rsplit_once(':').map_or(hub.host_name.as_str(), |(host, _)| host);
            let saved = self.registry().hub_usage(host, now).await?;
            hub.used_today.add(saved);
        }
        Ok(hubs.into_values().collect())
    }
}

/// What is in the way, the largest first.
fn cause(
    integration: &Integration,
    state: IntegrationState,
    showing: &Showing,
    sick: Option<(BindingState, Option<Arc<str>>)>,
) -> Option<Cause> {
    let told = |code: &str, message: String, remedy: &str| Cause {
        code: code.to_owned(),
        message,
        remedy: remedy.to_owned(),
        since: None,
        next_try_at: None,
    };
    if matches!(state, IntegrationState::Paused | IntegrationState::Removing) {
        return None;
    }
    if let Some(error) = &showing.error {
        return Some(told("not_running", error.clone(), "correct what it says, then: Reconcile"));
    }
    if let Some(cause) = showing.shared.as_deref().and_then(of_hub) {
        return Some(cause);
    }
    if let Some(error) = &integration.last_error {
        let remedy = "correct what it says (a regenerated key: Edit, new connection string), then: Reconcile";
        return Some(told("provisioning", error.clone(), remedy));
    }
    let (sick, error) = sick?;
    let words = error.map_or_else(|| format!("a device is {}", sick.as_str()), |error| error.to_string());
    Some(told(sick.as_str(), words, remedy_of(sick)))
}

/// What to do about a device in this state.
#[must_use]
pub fn remedy_of(state: BindingState) -> &'static str {
    match state {
        BindingState::Creating => "wait: its identity is being made",
        BindingState::Delivering => "nothing",
        BindingState::Held => "Hubward looks again by itself; the last error says what it met",
        BindingState::Missing => "its identity is gone from the hub: Reconcile makes it again, or take the device out",
        BindingState::Disabled => "enable the device in the Azure portal; Hubward resumes by itself",
        BindingState::Conflict => {
            "the hub has such an identity already: use it (adopt), choose another name (rename), or take the device out"
        }
        BindingState::Removing => "wait: it is being removed",
    }
}

fn of_hub(shared: &Shared) -> Option<Cause> {
    let session = Arc::clone(&shared.terms().session);
    if let Some(hold) = session.hub.governor.hold() {
        return Some(of_hold(hold));
    }
    let (away_since, last_error) = session.presence.describe();
    let since = away_since?;
    Some(Cause {
        code: "hub_away".to_owned(),
        message: last_error.map_or_else(|| "the hub cannot be reached".to_owned(), |error| error.to_string()),
        remedy:
            "Hubward tries again by itself and signals wait here; check the network, a firewall (5671, or 443 with \
                 transport amqp-ws) and the hub in the portal"
                .to_owned(),
        since: Some(since),
        next_try_at: None,
    })
}

fn of_hold(hold: Holding) -> Cause {
    let remedy = match hold.code {
        "quota" => "goes on after 00:00 UTC, nothing is lost; raise tier or units to go on now",
        "throttled" => "Hubward slows down by itself; more units or a larger tier carry more",
        _ => "look in the portal whether the hub and its subscription are active; signals wait here",
    };
    Cause {
        code: hold.code.to_owned(),
        message: hold.why.to_string(),
        remedy: remedy.to_owned(),
        since: Some(hold.since),
        next_try_at: Some(at(hold.until)),
    }
}

/// The time that an instant ahead will be.
fn at(instant: Instant) -> Timestamp {
    let ahead: Duration = instant.saturating_duration_since(Instant::now());
    let millis = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(Timestamp::now().as_millis().saturating_add(millis))
}
