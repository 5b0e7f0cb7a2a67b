//! Our bindings beside what the hub has. Where one list shows all of a hub, all are compared at once; else one identity
//! after the other is asked for, slowly, so that four fifths of what the registry allows are left to others. What differs
//! is told to healing, which judges by its own look.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_iothub::fault::Cause;
use hubward_model::{DeviceId, IntegrationId, IntegrationState, Timestamp};
use hubward_registry::alarms::AlarmKind;
use hubward_registry::{Binding, Integration, MadeIdentity};
use serde::Serialize;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::heal::{Seen, SeenKeys, Sight, is_active, sight};
use super::hub::Hub;
use super::{ProvisionError, Shared};
use crate::finding::Finding;
use crate::suspicions::Told;

/// So many orphans are shown and looked after at a time.
const ORPHANS: u32 = 100;
/// Rows of a query that only says which identities there are.
const IDS: &str = "SELECT deviceId, status FROM devices";

/// How the identity of a device differs from what we know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The device.
    #[serde(skip)]
    pub device: DeviceId,
    /// The integration it sends for.
    #[serde(skip)]
    pub integration: IntegrationId,
    /// Its id in the hub.
    pub hub_device_id: String,
    /// `missing`, `other_keys`, `made_again`, `disabled` or `no_keys`.
    pub what: &'static str,
    /// Since when that is known.
    pub since: Timestamp,
}

impl Difference {
    /// What differs, if something does.
    pub(super) fn of(binding: &Binding, sight: &Sight) -> Option<Self> {
        let what = match sight {
            Sight::Unknown => return None,
            Sight::Gone => "missing",
            Sight::There(Seen { keys: SeenKeys::None, .. }) => "no_keys",
            Sight::There(Seen { same_making: false, .. }) => "made_again",
            Sight::There(Seen { keys: SeenKeys::Other, .. }) => "other_keys",
            Sight::There(Seen { enabled: false, .. }) => "disabled",
            Sight::There(_) => return None,
        };
        Some(Self {
            device: binding.device.clone(),
            integration: binding.integration.clone(),
            hub_device_id: binding.hub_device_id.clone(),
            what,
            since: Timestamp::now(),
        })
    }

    fn finding(&self) -> Finding {
        match self.what {
            "missing" => Finding::Missing,
            "disabled" => Finding::Disabled,
            _ => Finding::Keys,
        }
    }
}

/// An identity that Hubward made and that no binding sends as any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// Its id in the hub.
    pub hub_device_id: String,
    /// When Hubward made it.
    pub made_at: Timestamp,
    /// Whether it was seen in the hub; none: not looked for yet.
    pub seen: Option<bool>,
}

/// How an integration differs from its hub, as far as that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct DriftReport {
    /// The hub.
    pub host_name: String,
    /// Devices of the integration whose identity should exist.
    pub bound: u64,
    /// How: `list` (all at once), `query` (which there are), `get` (one after the other); none: not begun.
    pub by: Option<&'static str>,
    /// Identities of this hub that were looked at in the round that is under way, of `of`.
    pub looked_at: u64,
    /// Identities of this hub that are to be looked at.
    pub of: u64,
    /// When all had been looked at last.
    pub complete_at: Option<Timestamp>,
    /// What differs.
    pub differences: Vec<Difference>,
    /// What nobody uses; at most 100.
    pub orphans: Vec<Orphan>,
    /// Why the hub could not be asked last, if it could not.
    pub last_error: Option<String>,
}

/// How far comparing has come, by hub.
#[derive(Debug, Default)]
pub(super) struct Drift(Mutex<HashMap<String, Round>>);

/// A round of looks at the identities of one hub.
#[derive(Debug, Default)]
struct Round {
    by: Option<&'static str>,
    after: Option<String>,
    looked_at: u64,
    of: u64,
    complete_at: Option<Timestamp>,
    /// None is begun before.
    next: Option<Instant>,
    differences: BTreeMap<String, Difference>,
    orphans: HashMap<String, bool>,
    /// The policy may not query.
    no_query: bool,
    last_error: Option<String>,
}

impl Drift {
    /// Devices of an integration that are known to differ.
    pub(super) fn differing(&self, host: &str, id: &IntegrationId) -> Vec<DeviceId> {
        let rounds = self.lock();
        let of = |round: &Round| -> Vec<DeviceId> {
            let ours = round.differences.values().filter(|difference| difference.integration == *id);
            ours.map(|difference| difference.device.clone()).collect()
        };
        rounds.get(host).map(of).unwrap_or_default()
    }

    fn round<T>(&self, host: &str, change: impl FnOnce(&mut Round) -> T) -> T {
        change(self.lock().entry(host.to_owned()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Round>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Round {
    /// What one look found of the identity of this id.
    fn note(&mut self, hub_device_id: &str, found: Option<&Difference>) {
        match found {
            None => drop(self.differences.remove(hub_device_id)),
            Some(new) => {
                let since = self.differences.get(hub_device_id).filter(|old| old.what == new.what).map(|old| old.since);
                let new = Difference { since: since.unwrap_or(new.since), ..new.clone() };
                self.differences.insert(hub_device_id.to_owned(), new);
            }
        }
    }

    fn complete(&mut self, pause: Duration) {
        self.after = None;
        self.looked_at = self.of;
        self.complete_at = Some(Timestamp::now());
        self.next = Some(Instant::now() + pause);
        self.last_error = None;
    }
}

impl Shared {
    /// Compares until the server stops, all hubs side by side.
    pub(super) async fn run_drift(self: Arc<Self>) {
        let every = self.options.healing.look_every.max(Duration::from_millis(1));
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once: links and identities are to be made first.
        ticks.tick().await;
        let mut looks: JoinSet<()> = JoinSet::new();
        let mut busy: HashMap<Id, String> = HashMap::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(ended) = looks.join_next_with_id() => {
                    let task = ended.map_or_else(|failure| failure.id(), |(task, ())| task);
                    busy.remove(&task);
                    continue;
                }
                _ = ticks.tick() => {}
            }
            for integration in self.one_for_each_hub().await {
                let host = integration.host_name.clone();
                if busy.values().any(|other| *other == host) {
                    continue;
                }
                let shared = Arc::clone(&self);
                let look = async move { shared.look_or_log(&integration).await };
                busy.insert(looks.spawn(look).id(), host);
            }
        }
        looks.shutdown().await;
    }

    /// An integration of each hub, by whose string it is asked.
    async fn one_for_each_hub(&self) -> Vec<Integration> {
        let integrations = match self.registry.integrations().await {
            Ok(integrations) => integrations,
            Err(error) => {
                warn!(%error, "integrations cannot be read to compare them with their hubs");
                return Vec::new();
            }
        };
        let mut hosts = HashSet::new();
        let runs = |state| matches!(state, IntegrationState::Active | IntegrationState::Attention);
        integrations.into_iter().filter(|one| runs(one.state) && hosts.insert(one.host_name.clone())).collect()
    }

    async fn look_or_log(&self, integration: &Integration) {
        let host = &integration.host_name;
        if self.drift.round(host, |round| round.next.is_some_and(|next| next > Instant::now())) {
            return;
        }
        match Box::pin(self.look(integration)).await {
            Ok(()) => {}
            Err(ProvisionError::Hub(error)) => {
                self.not_heard(integration, &error).await;
                let pause = error.retry_after().unwrap_or_default().max(self.options.healing.look_again);
                self.drift.round(host, |round| {
                    round.last_error = Some(error.to_string());
                    round.next = Some(Instant::now() + pause);
                });
                debug!(host, %error, "identities are compared later");
            }
            Err(error) => warn!(host, %error, "identities cannot be compared"),
        }
    }

    /// The next step of a round.
    async fn look(&self, integration: &Integration) -> Result<(), ProvisionError> {
        let host = &integration.host_name;
        let hub = self.hub_of(integration).await?;
        if self.drift.round(host, |round| round.after.is_none()) {
            let bound = self.registry.active_bindings_at(host, None, u32::MAX).await?;
            let known: HashSet<&str> = bound.iter().map(|binding| binding.hub_device_id.as_str()).collect();
            self.drift.round(host, |round| {
                (round.of, round.looked_at) = (bound.len() as u64, 0);
                // What left is no difference any more.
                round.differences.retain(|id, _| known.contains(id.as_str()));
            });
            if self.look_at_all(&hub, host).await? {
                self.look_at_orphans(&hub, integration).await?;
                self.heard(integration, &hub).await;
                self.drift.round(host, |round| {
                    round.by = Some("list");
                    round.complete(self.options.healing.look_again);
                });
                return Ok(());
            }
            self.look_by_query(&hub, integration, &bound).await?;
        }
        self.look_at_next(&hub, integration).await
    }

    /// Compares everything if one list shows the whole hub; answers whether it did.
    async fn look_at_all(&self, hub: &Hub, host: &str) -> Result<bool, ProvisionError> {
        for integration in self.registry.integrations().await? {
            if integration.host_name != host || integration.state == IntegrationState::Removing {
                continue;
            }
            let bindings = self.registry.bindings(&integration.id).await?;
            let bindings: Vec<Binding> = bindings.into_iter().filter(|binding| is_active(binding.state)).collect();
            let Some(found) = self.compare_by_list(hub, &integration.id, &bindings).await? else { return Ok(false) };
            let found: HashMap<&str, &Difference> = found.iter().map(|one| (one.hub_device_id.as_str(), one)).collect();
            for binding in &bindings {
                self.found(binding, found.get(binding.hub_device_id.as_str()).copied()).await;
            }
        }
        Ok(true)
    }

    /// Compares an integration out of turn, where one list shows the whole hub.
    pub(super) async fn compare_now(&self, integration: &Integration) -> Result<(), ProvisionError> {
        let hub = self.hub_of(integration).await?;
        let bindings = self.registry.bindings(&integration.id).await?;
        let bindings: Vec<Binding> = bindings.into_iter().filter(|binding| is_active(binding.state)).collect();
        let Some(found) = self.compare_by_list(&hub, &integration.id, &bindings).await? else { return Ok(()) };
        let found: HashMap<&str, &Difference> = found.iter().map(|one| (one.hub_device_id.as_str(), one)).collect();
        self.drift.round(&integration.host_name, |round| {
            round.by.get_or_insert("list");
            for binding in &bindings {
                round.note(&binding.hub_device_id, found.get(binding.hub_device_id.as_str()).copied());
            }
        });
        Ok(())
    }

    /// Where the policy allows it, a query says at once which identities there are and which are disabled. Keys only a GET
    /// tells.
    async fn look_by_query(
        &self,
        hub: &Hub,
        integration: &Integration,
        bound: &[hubward_registry::ActiveBinding],
    ) -> Result<(), ProvisionError> {
        let host = &integration.host_name;
        if self.drift.round(host, |round| round.no_query) {
            return Ok(());
        }
        let mut there = HashSet::new();
        let mut continuation = None;
        loop {
            let page = match hub.client.query(IDS, continuation.as_deref()).await {
                Ok(page) => page,
                // Its right is missing, or its tier has none; the GETs tell whether more is wrong.
                Err(error) if matches!(error.cause(), Some(Cause::Unauthorized | Cause::NotInTier | Cause::Other)) => {
                    self.drift.round(host, |round| round.no_query = true);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            there.extend(page.items.iter().filter_map(|row| row["deviceId"].as_str().map(str::to_owned)));
            continuation = page.continuation;
            if continuation.is_none() {
                break;
            }
        }
        for missing in bound.iter().filter(|binding| !there.contains(&binding.hub_device_id)) {
            let words = "a query of the hub does not show it".to_owned();
            self.suspicions.tell(&missing.integration, &missing.device, Told::Suspect(Finding::Missing, words));
        }
        self.drift.round(host, |round| round.by = Some("query"));
        Ok(())
    }

    /// Looks at the identity whose turn it is.
    async fn look_at_next(&self, hub: &Hub, integration: &Integration) -> Result<(), ProvisionError> {
        let host = &integration.host_name;
        let after = self.drift.round(host, |round| round.after.clone());
        let next = self.registry.active_bindings_at(host, after.as_deref(), 1).await?;
        let Some(next) = next.into_iter().next() else {
            self.look_at_orphans(hub, integration).await?;
            self.drift.round(host, |round| round.complete(self.options.healing.look_again));
            return Ok(());
        };
        let found = hub.get_for_drift(&next.hub_device_id).await?;
        self.heard(integration, hub).await;
        let of = std::slice::from_ref(&next.device);
        let bindings = self.registry.bindings_among(&next.integration, of).await?;
        if let Some(binding) = bindings.iter().find(|binding| is_active(binding.state)) {
            let keys = self.registry.keys(&next.integration, &next.device).await?;
            let difference = Difference::of(binding, &sight(binding, &keys, found.as_ref()));
            self.found(binding, difference.as_ref()).await;
        }
        self.drift.round(host, |round| {
            round.by.get_or_insert("get");
            round.after = Some(next.hub_device_id);
            round.looked_at += 1;
            round.last_error = None;
        });
        Ok(())
    }

    /// What a look at the identity of a binding found.
    async fn found(&self, binding: &Binding, difference: Option<&Difference>) {
        let (id, device) = (&binding.integration, &binding.device);
        self.drift.round(&binding.host_name, |round| round.note(&binding.hub_device_id, difference));
        match difference {
            Some(difference) => {
                let words = format!("compared with the hub: {}", difference.what);
                self.suspicions.tell(id, device, Told::Suspect(difference.finding(), words));
            }
            None => {
                self.fine.forget(id, device);
                // The lane may have nothing to send, by which it would find out.
                let over = [AlarmKind::IdentityMissing, AlarmKind::DeletedTwice, AlarmKind::IdentityDisabled];
                if self.clear(&over, id, Some(device)).await
                    && let Err(error) = self.back_to_normal(id, device).await
                {
                    warn!(integration = %id, %device, %error, "that an identity is well again could not be noted");
                }
            }
        }
    }

    /// Looks which of the identities that nobody uses are still there; forgets the others.
    async fn look_at_orphans(&self, hub: &Hub, integration: &Integration) -> Result<(), ProvisionError> {
        let host = &integration.host_name;
        let orphans = self.registry.orphans(host, ORPHANS).await?;
        let mut seen = HashMap::new();
        for orphan in &orphans {
            let lock = self.hub_lock(host);
            let _writing = lock.lock().await;
            let there = hub.get_for_drift(&orphan.hub_device_id).await?;
            let ours = there.is_some_and(|device| device.generation_id == orphan.generation_id);
            let bound = self.registry.hub_device_id_owner(host, &orphan.hub_device_id).await?.is_some();
            if !ours && !bound {
                self.registry.forget_identity(host, &orphan.hub_device_id).await?;
            }
            seen.insert(orphan.hub_device_id.clone(), ours && !bound);
        }
        let left: Vec<&str> = seen.iter().filter(|(_, ours)| **ours).map(|(id, _)| id.as_str()).take(10).collect();
        if left.is_empty() {
            self.clear(&[AlarmKind::Orphans], &integration.id, None).await;
        } else {
            let cause = format!("{host} has identities that Hubward made and no device sends as: {}", left.join(", "));
            let remedy = "delete them in the hub if nothing else uses them: hubward integration drift NAME lists them";
            self.raise(AlarmKind::Orphans, &integration.id, None, (cause, remedy)).await;
        }
        self.drift.round(host, |round| round.orphans = seen);
        Ok(())
    }

    /// How an integration differs from its hub, as far as that was looked at.
    pub(super) async fn drift_report(&self, id: &IntegrationId) -> Result<DriftReport, ProvisionError> {
        let integration = self.registry.integration(id).await?;
        let host = integration.host_name;
        let counts = self.registry.binding_counts(id).await?;
        let orphans = self.registry.orphans(&host, ORPHANS).await?;
        let rounds = self.drift.lock();
        let none = Round::default();
        let round = rounds.get(&host).unwrap_or(&none);
        let orphan = |made: MadeIdentity| Orphan {
            seen: round.orphans.get(&made.hub_device_id).copied(),
            hub_device_id: made.hub_device_id,
            made_at: made.made_at,
        };
        Ok(DriftReport {
            bound: counts.iter().filter(|count| is_active(count.state)).map(|count| count.number).sum(),
            by: round.by,
            looked_at: round.looked_at,
            of: round.of,
            complete_at: round.complete_at,
            differences: round.differences.values().filter(|one| one.integration == *id).cloned().collect(),
            orphans: orphans.into_iter().map(orphan).collect(),
            last_error: round.last_error.clone(),
            host_name: host,
        })
    }
}
