//! The questions to a hub's registry.

use std::collections::{HashMap, HashSet};

use hubward_iothub::fault::Cause;
use hubward_iothub::registry::{Device, MAX_LIST, RegistryError};
use hubward_model::{BindingState, DeviceId, IntegrationId, IntegrationState, Timestamp};
use hubward_registry::alarms::AlarmKind;
use hubward_registry::{Binding, Integration, Keys};

use super::decide::{Gone, Seen, SeenKeys, Sight, is_off};
use crate::provision::converge::has_keys;
use crate::provision::drift::Difference;
use crate::provision::hub::Hub;
use crate::provision::{ProvisionError, Shared};

/// Identities made again within so many milliseconds went together with those that are gone now.
const TOGETHER_MILLIS: i64 = 3_600_000;
/// Of a hub that no list shows whole, so many identities tell how many are gone.
const SAMPLE: usize = 80;

/// Whether healing may act on a binding in this state.
pub(in crate::provision) fn is_active(state: BindingState) -> bool {
    match state {
        BindingState::Delivering | BindingState::Held | BindingState::Missing | BindingState::Disabled => true,
        BindingState::Creating | BindingState::Conflict | BindingState::Removing => false,
    }
}

/// What the hub has, beside what we know of it.
pub(in crate::provision) fn sight(binding: &Binding, keys: &Keys, found: Option<&Device>) -> Sight {
    let Some(device) = found else { return Sight::Gone };
    Sight::There(Seen {
        keys: match device.keys() {
            None => SeenKeys::None,
            Some(_) if has_keys(device, keys) => SeenKeys::Same,
            Some(_) => SeenKeys::Other,
        },
        same_making: binding.generation_id.as_ref().is_none_or(|known| *known == device.generation_id),
        enabled: device.enabled,
        reason: device.status_reason.clone().filter(|reason| !reason.is_empty()),
    })
}

impl Shared {
    /// How many of a hub's identities are gone: those of `gone`, those made again lately, and what a list or a sample shows.
    pub(super) async fn count_gone(&self, hub: &Hub, host: &str, gone: &[&str]) -> Result<Gone, ProvisionError> {
        let bound = self.registry.active_bindings_at(host, None, u32::MAX).await?;
        let since = Timestamp::from_millis(Timestamp::now().as_millis() - TOGETHER_MILLIS);
        let mut missing = self.registry.recreated_unasked(host, since).await?;
        missing.extend(gone.iter().map(|id| (*id).to_owned()));
        let all: HashSet<&str> =
            bound.iter().map(|b| b.hub_device_id.as_str()).chain(missing.iter().map(String::as_str)).collect();
        let of = all.len();
        let counted = Gone { gone: missing.len(), of };
        let rest: Vec<&str> = all.into_iter().filter(|id| !missing.contains(*id)).collect();
        // As many as there are could not make it many.
        if counted.is_many() || !(Gone { gone: of, of }).is_many() {
            return Ok(counted);
        }
        let listed = hub.list().await?;
        let whole = listed.len() < MAX_LIST;
        let listed: HashSet<&str> = listed.iter().map(|device| device.id.as_str()).collect();
        let unseen: Vec<&str> = rest.into_iter().filter(|id| !listed.contains(id)).collect();
        if whole {
            return Ok(Gone { gone: counted.gone + unseen.len(), of });
        }
        // A hash set has no order that anybody could know: the first are as good as any.
        let sample: Vec<&str> = unseen.iter().copied().take(SAMPLE).collect();
        let missing = hub.get_all(&sample).await?.into_iter().filter(Option::is_none).count();
        Ok(counted.with_sample(unseen.len(), sample.len(), missing))
    }

    /// Compares all of `bindings` with the hub by one list; none if that does not show all of the hub.
    pub(in crate::provision) async fn compare_by_list(
        &self,
        hub: &Hub,
        id: &IntegrationId,
        bindings: &[Binding],
    ) -> Result<Option<Vec<Difference>>, ProvisionError> {
        let listed = hub.list().await?;
        if listed.len() >= MAX_LIST {
            return Ok(None);
        }
        let listed: HashMap<&str, &Device> = listed.iter().map(|device| (device.id.as_str(), device)).collect();
        let keys: HashMap<DeviceId, Keys> = self.registry.all_keys(id).await?;
        let mut differing = Vec::new();
        for binding in bindings {
            let Some(keys) = keys.get(&binding.device) else { continue };
            let sight = sight(binding, keys, listed.get(binding.hub_device_id.as_str()).copied());
            differing.extend(Difference::of(binding, &sight));
        }
        Ok(Some(differing))
    }

    /// The registry answered: what was said of it is over.
    pub(in crate::provision) async fn heard(&self, integration: &Integration, hub: &Hub) {
        let mut cleared = self.clear(&[AlarmKind::PolicyRefused, AlarmKind::HubGone], &integration.id, None).await;
        if !hub.client.clock_offset_seconds().is_some_and(is_off) {
            cleared |= self.clear(&[AlarmKind::ClockOff], &integration.id, None).await;
        }
        if cleared {
            // The integration may have shown it.
            if let Err(error) = self.conclude(&integration.id).await {
                tracing::warn!(integration = %integration.id, %error, "its state could not be brought up to date");
            }
        }
    }

    /// The registry refused us, or there is none: lanes go on with device keys, everything else waits.
    pub(in crate::provision) async fn not_heard(&self, integration: &Integration, error: &RegistryError) {
        let id = &integration.id;
        let host = &integration.host_name;
        match error {
            RegistryError::Refused(refused) if refused.cause() == Cause::Unauthorized => {
                let ahead = refused.server_time.map(|hub| seconds_ahead(hub, self.options.client.clock.now()));
                if let Some(ahead) = ahead.filter(|ahead| is_off(*ahead)) {
                    self.raise(AlarmKind::ClockOff, id, None, clock_words(host, ahead)).await;
                    return;
                }
                let cause = format!("{host} refuses the key of the policy {}: {error}", integration.policy);
                let remedy = "signals go on with the devices' own keys; give the new connection string: \
                              hubward integration edit NAME --connection-string-file FILE";
                let text = cause.clone();
                self.raise(AlarmKind::PolicyRefused, id, None, (cause, remedy)).await;
                if let Err(error) = self.set_state(id, Some(IntegrationState::Attention), Some(&text)).await {
                    tracing::warn!(integration = %id, %error, "its state could not be brought up to date");
                }
            }
            RegistryError::Refused(refused) if refused.cause() == Cause::HubGone => {
                let remedy = "look in the Azure portal whether the hub and its subscription are active";
                self.raise(AlarmKind::HubGone, id, None, (format!("{host}: {error}"), remedy)).await;
            }
            RegistryError::UnknownHost { .. } => {
                let remedy = "was the hub deleted? Else look at the name servers of this machine";
                self.raise(AlarmKind::HubGone, id, None, (error.to_string(), remedy)).await;
            }
            // It passes, or the lanes say it.
            _ => {}
        }
    }
}

/// What to say of a clock that is off.
pub(super) fn clock_words(host: &str, ahead: i64) -> (String, &'static str) {
    let way = if ahead > 0 { "behind" } else { "ahead of" };
    let cause =
        format!("this machine's clock is {} s {way} that of {host}, so the hub refuses our tokens", ahead.abs());
    (cause, "set this machine's clock, for example by NTP; signals wait here meanwhile")
}

fn seconds_ahead(hub: std::time::SystemTime, ours: std::time::SystemTime) -> i64 {
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match hub.duration_since(ours) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}
