//! What changed between two looks at integrations, hubs, devices, the journal, the webhook and dropped messages: what open
//! pages are told, so that none has to ask again and again. Whoever runs the server looks ([`Watch::look`]) while somebody
//! listens, and hands on what was found.

use std::collections::{BTreeMap, HashMap};

use hubward_model::{DeviceId, IntegrationId, Offset};

use crate::shapes::events::ChangeEvent;
use crate::{Services, devices};

/// How many changes are kept for a listener that is slow.
pub const KEPT: usize = 512;
/// Integrations that are looked at; more are told as one change.
const INTEGRATIONS: u32 = 200;
/// Devices whose change is told by name; when more changed at once, only their number is told.
const NAMED: usize = 50;

/// What a listener is told first: what it saw before it listened may be old.
#[must_use]
pub fn everything() -> ChangeEvent {
    ChangeEvent { what: "everything".to_owned(), ..ChangeEvent::default() }
}

/// How far the login of a wizard has come: told at once, for whoever looks at the wizard.
pub(crate) fn login(draft: &str, stage: &str) -> ChangeEvent {
    ChangeEvent {
        what: "login".to_owned(),
        id: Some(draft.to_owned()),
        state: Some(stage.to_owned()),
        ..ChangeEvent::default()
    }
}

/// Remembers how everything was at the last look.
#[derive(Default)]
pub struct Watch {
    integrations: HashMap<IntegrationId, Integration>,
    hubs: HashMap<String, Hub>,
    devices: HashMap<DeviceId, &'static str>,
    server: Option<Server>,
    webhook: Option<Told>,
    dropped: u64,
    looked: bool,
}

/// What the overview and the journal's figures are made of, besides integrations and devices.
#[derive(PartialEq)]
struct Server {
    health: &'static str,
    durable: Offset,
    oldest: Offset,
    first_steps: usize,
}

/// How a webhook fares; none: there is none.
#[derive(PartialEq)]
struct Told(Option<(u64, u64, u64, bool)>);

#[derive(PartialEq)]
struct Integration {
    name: String,
    state: &'static str,
    cause: Option<(String, String)>,
    version: u64,
    states: BTreeMap<&'static str, u64>,
    numbers: [u64; 3],
}

#[derive(PartialEq)]
struct Hub {
    state: &'static str,
    numbers: [u64; 4],
}

impl Watch {
    /// Forgets all: nobody listens.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// What changed since the last look. The first tells that everything may have.
    pub async fn look(&mut self, services: &Services) -> Vec<ChangeEvent> {
        let mut changes = Vec::new();
        self.look_at_integrations(services, &mut changes).await;
        self.look_at_hubs(services, &mut changes).await;
        self.look_at_devices(services, &mut changes);
        self.look_at_server(services, &mut changes).await;
        let dropped = services.broker.drops().iter().map(|one| one.count).sum();
        if std::mem::replace(&mut self.dropped, dropped) != dropped {
            changes.push(ChangeEvent { what: "dropped".to_owned(), ..ChangeEvent::default() });
        }
        if !std::mem::replace(&mut self.looked, true) {
            changes = vec![everything()];
        }
        changes
    }

    async fn look_at_integrations(&mut self, services: &Services, changes: &mut Vec<ChangeEvent>) {
        // A registry that cannot be read now is read at the next look.
        let Ok(page) = services.registry.integrations_page(None, INTEGRATIONS).await else { return };
        let mut now = HashMap::with_capacity(page.len());
        for integration in page {
            let Ok(summary) = services.relay.summary(&integration.id).await else { continue };
            let seen = Integration {
                name: summary.integration.name.to_string(),
                state: summary.state.as_str(),
                cause: summary.cause.map(|cause| (cause.code, cause.message)),
                version: summary.integration.version,
                states: summary.states,
                numbers: [summary.delivered, summary.waiting, summary.dead_letters],
            };
            if self.integrations.get(&integration.id) != Some(&seen) {
                changes.push(change("integration", integration.id.as_str(), &seen.name, seen.state));
            }
            now.insert(integration.id, seen);
        }
        for (id, gone) in &self.integrations {
            if !now.contains_key(id) {
                changes.push(change("integration", id.as_str(), &gone.name, "removed"));
            }
        }
        self.integrations = now;
    }

    async fn look_at_hubs(&mut self, services: &Services, changes: &mut Vec<ChangeEvent>) {
        let Ok(hubs) = services.relay.hubs().await else { return };
        let mut now = HashMap::with_capacity(hubs.len());
        for hub in hubs {
            let state = match (&hub.away_since, &hub.holding, hub.throttled) {
                (Some(_), _, _) => "away",
                (_, Some(_), _) => "held",
                (_, _, true) => "throttled",
                _ => "good",
            };
            let numbers = [hub.connections as u64, hub.links as u64, hub.lanes as u64, hub.used_today.messages];
            let seen = Hub { state, numbers };
            if self.hubs.get(&hub.host_name) != Some(&seen) {
                changes.push(change("hub", &hub.host_name, &hub.host_name, state));
            }
            now.insert(hub.host_name, seen);
        }
        self.hubs = now;
    }

    fn look_at_devices(&mut self, services: &Services, changes: &mut Vec<ChangeEvent>) {
        let cards = services.registry.choose_devices(|card| Some(card.id.clone()));
        let now: HashMap<DeviceId, &'static str> =
            cards.into_iter().map(|id| (id.clone(), devices::state_of(services, &id))).collect();
        let differs = |id: &&DeviceId| self.devices.get(*id) != now.get(*id);
        let mut changed: Vec<&DeviceId> = now.keys().filter(differs).collect();
        changed.extend(self.devices.keys().filter(|id| !now.contains_key(*id)));
        if changed.len() > NAMED {
            let number = Some(changed.len());
            changes.push(ChangeEvent { what: "devices".to_owned(), number, ..ChangeEvent::default() });
        } else {
            for id in changed {
                let name = services.registry.device_name(id).map_or_else(|| id.to_string(), |name| name.to_string());
                changes.push(change("device", id.as_str(), &name, now.get(id).copied().unwrap_or("removed")));
            }
        }
        self.devices = now;
    }

    async fn look_at_server(&mut self, services: &Services, changes: &mut Vec<ChangeEvent>) {
        let Ok(reached) = services.registry.milestones().await else { return };
        let Ok(webhook) = services.registry.webhook().await else { return };
        let info = services.journal.info();
        let health = info.health.word();
        let now = Server { health, durable: info.durable, oldest: info.oldest, first_steps: reached.len() };
        if self.server.as_ref() != Some(&now) {
            changes.push(plain("server", health));
        }
        self.server = Some(now);
        let now = Told(webhook.map(|one| (one.sent, one.waiting, one.dropped, one.failing_since.is_some())));
        if self.webhook.as_ref() != Some(&now) {
            let state = match &now {
                Told(None) => "removed",
                Told(Some((.., true))) => "failing",
                Told(Some(_)) => "good",
            };
            changes.push(plain("webhook", state));
        }
        self.webhook = Some(now);
    }
}

fn plain(what: &str, state: &str) -> ChangeEvent {
    ChangeEvent { what: what.to_owned(), state: Some(state.to_owned()), ..ChangeEvent::default() }
}

fn change(what: &str, id: &str, name: &str, state: &str) -> ChangeEvent {
    ChangeEvent {
        what: what.to_owned(),
        id: Some(id.to_owned()),
        name: Some(name.to_owned()),
        state: Some(state.to_owned()),
        number: None,
    }
}
