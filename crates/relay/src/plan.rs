//! What an integration should be doing, as the registry has it.

use std::collections::HashMap;
use std::sync::Arc;

use hubward_iothub::connection_string::SharedAccessKey;
use hubward_model::{BindingState, DeviceId, DeviceKind, IntegrationId, IntegrationState, Offset};
use hubward_registry::{Binding, Error, ExposeSecret as _, Integration, Progress, Registry};
use tracing::error;

use crate::dealer::Absent;
use crate::hub::Identity;

/// An integration and the lanes it should have.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) integration: Integration,
    /// Everything before it is settled, for lanes without an entry of their own.
    pub(crate) low_water: Offset,
    /// Bindings without lane (those that are being made).
    pub(crate) absent: HashMap<DeviceId, Absent>,
    /// Its lanes stand still: it is paused.
    pub(crate) paused: bool,
    /// The lanes it has.
    pub(crate) lanes: Vec<LanePlan>,
}

/// A lane that should run.
#[derive(Debug, Clone)]
pub(crate) struct LanePlan {
    pub(crate) device: DeviceId,
    /// Its frames are Pybytes'.
    pub(crate) pybytes: bool,
    pub(crate) identity: Identity,
    /// Where it goes on.
    pub(crate) position: Offset,
    /// What is saved for it.
    pub(crate) saved: hubward_registry::Lane,
    /// What is to be saved for it now.
    pub(crate) wanted: hubward_registry::Lane,
    pub(crate) dead_letters: u64,
}

impl LanePlan {
    /// The first offset it needs of the journal.
    pub(crate) fn needs(&self) -> Offset {
        self.reach().needs
    }

    /// How far it is.
    pub(crate) fn reach(&self) -> Reach {
        Reach::new(self.position, &self.wanted)
    }
}

/// How far a binding is, of two accounts of it the later one is greater: what was copied for it never shrinks, what was
/// delivered neither, and the hold file is trimmed to where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reach {
    /// The first offset it needs of the journal.
    pub(crate) needs: Offset,
    position: Offset,
    held_from: Option<u64>,
}

impl Reach {
    pub(crate) fn new(position: Offset, lane: &hubward_registry::Lane) -> Self {
        let needs = lane.held.map_or(position, |held| held.until.max(position));
        Self { needs, position, held_from: lane.held.map(|held| held.from) }
    }
}

/// Whether a binding in this state has a lane.
pub(crate) fn has_lane(state: BindingState) -> bool {
    match state {
        BindingState::Delivering | BindingState::Held | BindingState::Missing | BindingState::Disabled => true,
        BindingState::Creating | BindingState::Conflict | BindingState::Removing => false,
    }
}

/// Where a binding goes on: at its entry (a new one's is its start), else at the low-water offset.
pub(crate) fn position(binding: &Binding, progress: &Progress) -> Offset {
    let entry = progress.lanes.get(&binding.device).and_then(|lane| lane.settled);
    entry.unwrap_or_else(|| progress.low_water.max(binding.start))
}

/// The entry of a binding without lane.
pub(crate) fn absent(binding: &Binding, progress: &Progress) -> (DeviceId, Absent) {
    let saved = progress.lanes.get(&binding.device).copied().unwrap_or_default();
    let position = position(binding, progress);
    // Of its own, so that the low-water offset does not speak for it when that passes.
    let wanted = hubward_registry::Lane { settled: Some(position), ..saved };
    (binding.device.clone(), Absent { position, saved, wanted, last: None })
}

/// Reads the plan of `id` from the registry.
pub(crate) async fn load(registry: &Registry, id: &IntegrationId) -> Result<Option<Plan>, Error> {
    let integration = match registry.integration(id).await {
        Ok(integration) => integration,
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let bindings = registry.bindings(id).await?;
    let progress = registry.progress(id).await?;
    let without = bindings.iter().filter(|binding| !has_lane(binding.state));
    let mut plan = Plan {
        low_water: progress.low_water,
        absent: without.map(|binding| absent(binding, &progress)).collect(),
        paused: integration.state == IntegrationState::Paused,
        lanes: Vec::new(),
        integration,
    };
    if plan.integration.state == IntegrationState::Removing {
        return Ok(Some(plan));
    }
    let keys = registry.all_keys(id).await?;
    let dead_letters = registry.dead_letter_counts(id).await?;
    let kinds: HashMap<DeviceId, DeviceKind> =
        registry.devices().await?.into_iter().map(|device| (device.id, device.kind)).collect();
    for binding in bindings.into_iter().filter(|binding| has_lane(binding.state)) {
        let Some(key) = keys.get(&binding.device) else { continue };
        let Ok(key) = SharedAccessKey::from_base64(key.primary.expose_secret()) else {
            error!(integration = %id, device = %binding.device, "the stored device key is not Base64: no lane");
            continue;
        };
        let saved = progress.lanes.get(&binding.device).copied().unwrap_or_default();
        plan.lanes.push(LanePlan {
            pybytes: kinds.get(&binding.device) == Some(&DeviceKind::Pycom),
            position: position(&binding, &progress),
            saved,
            wanted: saved,
            dead_letters: dead_letters.get(&binding.device).copied().unwrap_or_default(),
            identity: Identity { hub_device_id: Arc::from(binding.hub_device_id), key },
            device: binding.device,
        });
    }
    Ok(Some(plan))
}

#[cfg(test)]
mod tests {
    use hubward_registry::Held;

    use super::*;

    fn reach(position: u64, held: Option<(u64, u64)>) -> Reach {
        let held = held.map(|(until, from)| Held { until: Offset::from_raw(until), from });
        Reach::new(Offset::from_raw(position), &hubward_registry::Lane { held, ..hubward_registry::Lane::default() })
    }

    #[test]
    fn of_two_accounts_of_a_binding_the_later_one_reaches_further() {
        let copied = reach(10, Some((50, 0)));
        assert!(reach(10, Some((90, 0))) > copied, "more was copied");
        assert!(reach(20, Some((50, 0))) > copied, "more was delivered, the copies are the same");
        assert!(reach(20, Some((50, 7))) > reach(20, Some((50, 0))), "the hold file was trimmed");
        assert!(reach(60, None) > reach(50, Some((50, 0))), "it reads the journal alone again");
    }
}
