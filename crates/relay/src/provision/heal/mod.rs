//! Identities that were deleted, disabled or given other keys outside: noticed by lanes on the wire or by comparing, judged
//! by what the hub's registry says, repaired as far as the user allows, and explained.
//!
//! A lane never decides: it holds and says what the hub said. One task per hub asks the registry, under the lock under
//! which all identities of that hub are written:
//!
//! - `decide`: hint, registry's answer, policy and history in; what to do out;
//! - `look`: the questions to the registry; `act`: carrying it out; `watch`: hubs that are away or gone.

mod act;
mod decide;
mod look;
mod watch;

pub(super) use decide::{Seen, SeenKeys, Sight};
pub(super) use look::{is_active, sight};

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use hubward_model::{DeviceId, IntegrationId};
use hubward_registry::alarms::AlarmKind;
use hubward_registry::{Error, Integration};
use tokio::task::{Id, JoinSet};
use tokio::time::sleep;
use tracing::{error, warn};

use super::alarms::OF_IDENTITY;
use super::{ProvisionError, Shared};
use crate::finding::Finding;
use crate::suspicions::Told;

/// So many identities are looked at in one go, under the lock of their hub.
const AT_A_TIME: usize = 50;

/// What the hub said of identities, by device.
pub(super) type Suspects = HashMap<DeviceId, (Finding, String)>;

/// How often in a row the registry found nothing wrong with a refused identity.
#[derive(Debug, Default)]
pub(super) struct Fine(Mutex<HashMap<(IntegrationId, DeviceId), u32>>);

impl Fine {
    fn of(&self, integration: &IntegrationId, device: &DeviceId) -> u32 {
        let key = (integration.clone(), device.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied().unwrap_or_default()
    }

    fn more(&self, integration: &IntegrationId, device: &DeviceId) {
        let key = (integration.clone(), device.clone());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    }

    pub(super) fn forget(&self, integration: &IntegrationId, device: &DeviceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(integration.clone(), device.clone()));
    }
}

impl Shared {
    /// Heals until the server stops. Hubs are healed side by side, so that none waits for another.
    pub(super) async fn run_healing(self: Arc<Self>) {
        let mut healing: JoinSet<()> = JoinSet::new();
        let mut busy: HashMap<Id, String> = HashMap::new();
        let mut waiting: HashMap<String, HashMap<(IntegrationId, DeviceId), Told>> = HashMap::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.suspicions.news() => {
                    // What happens to many happens to them together: then it is judged together.
                    sleep(self.options.healing.gather).await;
                    self.sort_by_hub(&mut waiting).await;
                }
                Some(ended) = healing.join_next_with_id() => {
                    let task = match ended {
                        Ok((task, ())) => task,
                        Err(failure) => {
                            error!(%failure, "healing at a hub failed");
                            failure.id()
                        }
                    };
                    busy.remove(&task);
                }
            }
            let hosts: Vec<String> =
                waiting.keys().filter(|host| !busy.values().any(|other| other == *host)).cloned().collect();
            for host in hosts {
                let Some(told) = waiting.remove(&host) else { continue };
                let shared = Arc::clone(&self);
                busy.insert(healing.spawn(async move { shared.heal_hub(told).await }).id(), host);
            }
        }
        healing.shutdown().await;
    }

    async fn sort_by_hub(&self, waiting: &mut HashMap<String, HashMap<(IntegrationId, DeviceId), Told>>) {
        let mut hosts: HashMap<IntegrationId, Option<String>> = HashMap::new();
        for ((integration, device), told) in self.suspicions.take() {
            if !hosts.contains_key(&integration) {
                let host = match self.registry.integration(&integration).await {
                    Ok(found) => Some(found.host_name),
                    Err(error) => {
                        if !matches!(error, Error::NotFound { .. }) {
                            warn!(%integration, %error, "what a lane says of its identity cannot be looked at now");
                        }
                        None
                    }
                };
                hosts.insert(integration.clone(), host);
            }
            if let Some(Some(host)) = hosts.get(&integration) {
                waiting.entry(host.clone()).or_default().insert((integration, device), told);
            }
        }
    }

    /// Looks at all that was said of one hub's identities.
    async fn heal_hub(&self, told: HashMap<(IntegrationId, DeviceId), Told>) {
        let mut suspects: HashMap<IntegrationId, Vec<(DeviceId, _)>> = HashMap::new();
        for ((integration, device), told) in told {
            match told {
                Told::Well => {
                    self.fine.forget(&integration, &device);
                    self.clear(&OF_IDENTITY, &integration, Some(&device)).await;
                    if let Err(error) = self.back_to_normal(&integration, &device).await {
                        warn!(%integration, %device, %error, "that a device is well again could not be noted");
                    }
                }
                Told::Suspect(finding, words) => {
                    suspects.entry(integration).or_default().push((device, (finding, words)));
                }
            }
        }
        for (integration, suspects) in suspects {
            for some in suspects.chunks(AT_A_TIME) {
                let some: Suspects = some.iter().cloned().collect();
                match Box::pin(self.heal(&integration, &some, false)).await {
                    Ok(()) | Err(ProvisionError::Stopping) => {}
                    Err(error) => warn!(%integration, %error, "identities could not be looked after; they hold"),
                }
            }
        }
    }

    /// A person asks for it: everything that differs from the hub is repaired, whatever the guards say.
    pub(super) async fn heal_as_asked(&self, id: &IntegrationId) -> Result<(), ProvisionError> {
        let Some(integration) = self.still_wanted(id).await? else { return Ok(()) };
        let suspects = self.differing(&integration).await?;
        for some in suspects.chunks(AT_A_TIME) {
            let some = some.iter().map(|device| (device.clone(), (Finding::Missing, "reconcile".to_owned())));
            Box::pin(self.heal(id, &some.collect(), true)).await?;
        }
        self.clear(&[AlarmKind::ManyIdentitiesGone], id, None).await;
        // Who asked looks at what is left.
        self.compare_now(&integration).await
    }

    /// Devices of an integration that may not be as the hub has them: all that differ where one list shows the whole hub,
    /// else those known to be in trouble.
    async fn differing(&self, integration: &Integration) -> Result<Vec<DeviceId>, ProvisionError> {
        let id = &integration.id;
        let hub = self.hub_of(integration).await?;
        let bindings = self.registry.bindings(id).await?;
        let bindings: Vec<_> = bindings.into_iter().filter(|binding| is_active(binding.state)).collect();
        let mut suspects: HashSet<DeviceId> = self.lanes.unwell(id).into_iter().collect();
        suspects.extend(self.drift.differing(&integration.host_name, id));
        suspects.extend(bindings.iter().filter(|b| b.failed_step.is_some()).map(|b| b.device.clone()));
        if let Some(differing) = self.compare_by_list(&hub, id, &bindings).await? {
            suspects.extend(differing.into_iter().map(|difference| difference.device));
        }
        suspects.retain(|device| bindings.iter().any(|binding| binding.device == *device));
        Ok(suspects.into_iter().collect())
    }
}
