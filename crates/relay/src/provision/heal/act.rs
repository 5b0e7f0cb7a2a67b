//! Carrying out what was decided.

use hubward_iothub::registry::Device;
use hubward_model::{BindingState, DeviceId, IntegrationId, IntegrationState, OnMissing, OnMissingKeys, Timestamp};
use hubward_registry::alarms::AlarmKind;
use hubward_registry::{Actor, Binding, BindingChange, Heal, Integration, Keys, SecretString};
use serde_json::json;
use tracing::{info, warn};

use super::Suspects;
use super::decide::{Answer, Guard, History, Policy, Sight, decide};
use super::look::{clock_words, is_active, sight};
use crate::finding::Finding;
use crate::provision::alarms::OF_IDENTITY;
use crate::provision::create::fresh_key;
use crate::provision::{ProvisionError, Shared};

/// An identity deleted again within so many milliseconds after it was made again is left to a person.
const LATELY_MILLIS: i64 = 24 * 3_600_000;
/// What bindings say in `failed_step` while a person has to decide.
const STEP_CHOSEN: &str = "missing";
const STEP_TWICE: &str = "deleted_twice";
const STEP_MANY: &str = "many_gone";

const RECONCILE: &str = "was it meant? To make them again: hubward integration reconcile NAME; else take the devices out: \
                         hubward integration edit NAME --remove-device DEVICE";

impl Guard {
    fn step(self) -> &'static str {
        match self {
            Self::Chosen => STEP_CHOSEN,
            Self::DeletedTwice => STEP_TWICE,
            Self::Many => STEP_MANY,
        }
    }

    /// The guard that holds a binding, by its `failed_step`.
    fn of(step: Option<&str>) -> Option<Self> {
        match step? {
            STEP_CHOSEN => Some(Self::Chosen),
            STEP_TWICE => Some(Self::DeletedTwice),
            STEP_MANY => Some(Self::Many),
            _ => None,
        }
    }
}

/// An identity, and what is known of it.
struct Case<'a> {
    integration: &'a Integration,
    binding: &'a Binding,
    found: Option<&'a Device>,
    history: History,
    asked: bool,
}

/// What is left to be done when all was decided, without the lock of the hub.
#[derive(Default)]
struct Rest {
    recreate: bool,
    refresh: bool,
    go_on: Vec<DeviceId>,
    unbind: Vec<Binding>,
}

impl Shared {
    /// Looks at identities of one integration, decides and acts. `asked`: a person wants it, so that no guard holds.
    pub(super) async fn heal(
        &self,
        id: &IntegrationId,
        suspects: &Suspects,
        asked: bool,
    ) -> Result<(), ProvisionError> {
        let Some(integration) = self.still_wanted(id).await? else { return Ok(()) };
        if integration.state == IntegrationState::Paused && !asked {
            // Nothing is sent: what is found when it goes on is soon enough.
            return Ok(());
        }
        let rest = {
            let lock = self.hub_lock(&integration.host_name);
            let _writing = lock.lock().await;
            self.judge(&integration, suspects, asked).await?
        };
        for binding in rest.unbind {
            Box::pin(self.unbind(&integration, binding)).await?;
        }
        if rest.recreate {
            self.converge_for_a_while(id).await?;
        }
        if rest.refresh {
            self.lanes.refresh(id).await?;
        }
        self.lanes.look_again(id, &rest.go_on);
        Ok(())
    }

    async fn judge(&self, integration: &Integration, suspects: &Suspects, asked: bool) -> Result<Rest, ProvisionError> {
        let id = &integration.id;
        let devices: Vec<DeviceId> = suspects.keys().cloned().collect();
        let mut bindings = self.registry.bindings_among(id, &devices).await?;
        bindings.retain(|binding| is_active(binding.state));
        let mut rest = Rest::default();
        if bindings.is_empty() {
            return Ok(rest);
        }
        let hub = self.hub_of(integration).await?;
        let ids: Vec<&str> = bindings.iter().map(|binding| binding.hub_device_id.as_str()).collect();
        let found = match hub.get_all(&ids).await {
            Ok(found) => {
                self.heard(integration, &hub).await;
                Some(found)
            }
            Err(error) => {
                self.not_heard(integration, &error).await;
                if asked {
                    return Err(error.into());
                }
                info!(integration = %id, %error, identities = ids.len(), "the hub cannot be asked: lanes hold");
                None
            }
        };
        let pairs = ids.iter().zip(found.iter().flatten());
        let gone: Vec<&str> = pairs.filter(|(_, found)| found.is_none()).map(|(id, _)| *id).collect();
        let mut count = None;
        if !gone.is_empty() && !asked {
            count = match self.count_gone(&hub, &integration.host_name, &gone).await {
                Ok(count) => Some(count),
                Err(error) => {
                    warn!(integration = %id, %error, "how many identities are gone is unknown: missing ones hold");
                    None
                }
            };
        }
        for (number, binding) in bindings.iter().enumerate() {
            let keys = self.registry.keys(id, &binding.device).await?;
            let device = found.as_ref().and_then(|found| found.get(number)).and_then(Option::as_ref);
            let sight = match device {
                None if found.is_none() || (count.is_none() && !asked) => Sight::Unknown,
                device => sight(binding, &keys, device),
            };
            let history = History {
                made_again_lately: self.made_again_lately(binding).await?,
                held: Guard::of(binding.failed_step.as_deref()),
                gone: count.unwrap_or_default(),
                fine: self.fine.of(id, &binding.device),
                clock: hub.client.clock_offset_seconds(),
            };
            let hint = suspects.get(&binding.device).map_or(Finding::Keys, |(finding, _)| *finding);
            let answer = decide(hint, &sight, Policy { on_missing: integration.settings.on_missing, asked }, history);
            info!(integration = %id, identity = binding.hub_device_id, hint = hint.as_str(), ?answer, "looked at");
            let case = Case { integration, binding, found: device, history, asked };
            self.carry_out(&case, answer, hint, &mut rest).await?;
        }
        Ok(rest)
    }

    async fn made_again_lately(&self, binding: &Binding) -> Result<bool, ProvisionError> {
        let last = self.registry.last_recreation(&binding.host_name, &binding.hub_device_id).await?;
        Ok(last.is_some_and(|at| Timestamp::now().as_millis() - at.as_millis() < LATELY_MILLIS))
    }

    async fn carry_out(
        &self,
        case: &Case<'_>,
        answer: Answer,
        hint: Finding,
        rest: &mut Rest,
    ) -> Result<(), ProvisionError> {
        let (id, device) = (&case.integration.id, &case.binding.device);
        let identity = &case.binding.hub_device_id;
        let host = &case.integration.host_name;
        if answer != Answer::GoOn {
            self.fine.forget(id, device);
        }
        match answer {
            Answer::Hold => {}
            Answer::Recreate => rest.recreate |= self.recreate(case).await?,
            Answer::HoldMissing(guard) => self.hold_missing(case, guard).await?,
            Answer::Unbind => rest.unbind.push(case.binding.clone()),
            Answer::ReadKeys { remade } => {
                if self.read_keys(case, remade).await? {
                    rest.refresh = true;
                    rest.go_on.push(device.clone());
                }
            }
            Answer::NoKeys => {
                let cause = format!("the identity {identity} of {host} has no symmetric keys any more");
                let remedy = "Hubward sends with device keys: set its authentication to symmetric keys in the portal";
                self.lanes.found(id, device, BindingState::Held, &cause);
                self.raise(AlarmKind::IdentityRefused, id, Some(device), (cause, remedy)).await;
            }
            Answer::HoldDisabled { reason } => {
                let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                let cause = format!("the identity {identity} is disabled at {host}{reason}; its signals wait here");
                let remedy = "enable it in the hub: Hubward looks again by itself and sends what waits";
                self.lanes.found(id, device, BindingState::Disabled, &cause);
                self.raise(AlarmKind::IdentityDisabled, id, Some(device), (cause, remedy)).await;
                self.clear(&[AlarmKind::IdentityMissing, AlarmKind::DeletedTwice], id, Some(device)).await;
            }
            Answer::LeaveAlone => {
                let cause = format!("another client uses the identity {identity} of {host}");
                let remedy = "find the other client and give it an identity of its own, or give this device another one; \
                              Hubward tries again after growing pauses of up to 15 min";
                self.lanes.found(id, device, BindingState::Held, &cause);
                self.raise(AlarmKind::LinkStolen, id, Some(device), (cause, remedy)).await;
            }
            Answer::GoOn => {
                if !case.asked && hint != Finding::Stolen {
                    self.fine.more(id, device);
                }
                self.back_to_normal(id, device).await?;
                rest.go_on.push(device.clone());
            }
            Answer::ClockOff(ahead) => {
                let words = clock_words(host, ahead);
                self.lanes.found(id, device, BindingState::Held, &words.0);
                self.raise(AlarmKind::ClockOff, id, None, words).await;
            }
            Answer::Filtered => {
                let cause = format!(
                    "{host} refuses the identity {identity} although keys and clock are right: it may have an IP filter"
                );
                let remedy = "look at the hub's networking page (IP filter, private access) in the Azure portal";
                self.lanes.found(id, device, BindingState::Held, &cause);
                self.raise(AlarmKind::IdentityRefused, id, Some(device), (cause, remedy)).await;
            }
        }
        Ok(())
    }

    async fn recreate(&self, case: &Case<'_>) -> Result<bool, ProvisionError> {
        let (integration, binding) = (case.integration, case.binding);
        let new = integration.settings.on_missing_keys == OnMissingKeys::New;
        let keys = new.then(|| Keys { primary: fresh_key(), secondary: fresh_key() });
        let device = &binding.device;
        let begun = self
            .registry
            .begin_recreation(&integration.id, device, keys.as_ref(), case.asked, Timestamp::now())
            .await?;
        if !begun {
            return Ok(false);
        }
        let which = if new { "new keys" } else { "the same keys" };
        warn!(integration = %integration.id, identity = binding.hub_device_id, which, "deleted outside: made again");
        let detail = json!({"integration": integration.name, "device": device, "keys": integration.settings.on_missing_keys,
            "asked": case.asked});
        self.note("identity.recreate", &binding.hub_device_id, detail).await;
        self.clear(&OF_IDENTITY, &integration.id, Some(device)).await;
        let cause = format!(
            "the identity {} was deleted at {}; Hubward made it again with {which}",
            binding.hub_device_id, binding.host_name
        );
        let remedy = "nothing is lost here; tags and desired properties of its twin are: set them again. To be rid of a \
                      device, take it out of the integration";
        self.raise(AlarmKind::IdentityRecreated, &integration.id, Some(device), (cause, remedy)).await;
        Ok(true)
    }

    async fn hold_missing(&self, case: &Case<'_>, guard: Guard) -> Result<(), ProvisionError> {
        let (integration, binding) = (case.integration, case.binding);
        let (id, identity, host) = (&integration.id, &binding.hub_device_id, &binding.host_name);
        let gone = case.history.gone;
        let (kind, cause) = match guard {
            Guard::Chosen => {
                let cause =
                    format!("the identity {identity} was deleted at {host}; its signals wait here (on_missing = hold)");
                (AlarmKind::IdentityMissing, cause)
            }
            Guard::DeletedTwice => {
                let cause = format!(
                    "the identity {identity} was deleted at {host} again within 24 hours; it is not made again unasked"
                );
                (AlarmKind::DeletedTwice, cause)
            }
            Guard::Many if gone.is_many() => {
                let cause = format!(
                    "{} of our {} identities of {host} are gone together; none is made again unasked, their signals wait here",
                    gone.gone, gone.of
                );
                (AlarmKind::ManyIdentitiesGone, cause)
            }
            Guard::Many => {
                let cause = format!(
                    "the identity {identity} was deleted at {host} together with many others; it is not made again unasked"
                );
                (AlarmKind::IdentityMissing, cause)
            }
        };
        let change = BindingChange {
            state: Some(BindingState::Missing),
            failed_step: Some(Some(guard.step().to_owned())),
            last_error: Some(Some(cause.clone())),
            ..BindingChange::of(binding.device.clone())
        };
        if !self.registry.change_active_binding(id, change).await? {
            return Ok(());
        }
        self.lanes.found(id, &binding.device, BindingState::Missing, &cause);
        let device = (kind != AlarmKind::ManyIdentitiesGone).then_some(&binding.device);
        self.clear(&[AlarmKind::IdentityDisabled], id, Some(&binding.device)).await;
        self.raise(kind, id, device, (cause, RECONCILE)).await;
        Ok(())
    }

    /// Takes the keys that the hub has.
    async fn read_keys(&self, case: &Case<'_>, remade: bool) -> Result<bool, ProvisionError> {
        let (integration, binding) = (case.integration, case.binding);
        let Some(found) = case.found else { return Ok(false) };
        let Some((primary, secondary)) = found.keys() else { return Ok(false) };
        let change = BindingChange {
            state: Some(BindingState::Delivering),
            keys: Some(Keys {
                primary: SecretString::from(primary.expose_base64()),
                secondary: SecretString::from(secondary.expose_base64()),
            }),
            generation_id: Some(Some(found.generation_id.clone())),
            // What somebody else made is not ours to delete.
            made_by_us: remade.then_some(false),
            last_error: Some(None),
            failed_step: Some(None),
            ..BindingChange::of(binding.device.clone())
        };
        let (id, device) = (&integration.id, &binding.device);
        if !self.registry.change_active_binding(id, change).await? {
            return Ok(false);
        }
        let how = if remade { "deleted and made again by somebody else" } else { "given other keys" };
        warn!(integration = %id, identity = binding.hub_device_id, how, "its keys were read anew");
        let detail = json!({"integration": integration.name, "device": device, "remade": remade});
        self.note("identity.rekey", &binding.hub_device_id, detail).await;
        self.remember(binding, "rekeyed", case.asked).await?;
        self.clear(&OF_IDENTITY, id, Some(device)).await;
        let cause =
            format!("the identity {} was {how} at {}; Hubward read its keys", binding.hub_device_id, binding.host_name);
        let remedy = if remade {
            "nothing waits; Hubward will leave it in the hub when the device is removed, because somebody else made it"
        } else {
            "nothing to do: signals go on with the keys the hub has"
        };
        self.raise(AlarmKind::IdentityRekeyed, id, Some(device), (cause, remedy)).await;
        Ok(true)
    }

    /// Takes a device whose identity is gone out of the integration, as the user chose.
    async fn unbind(&self, integration: &Integration, binding: Binding) -> Result<(), ProvisionError> {
        let id = &integration.id;
        // Removed here it is never bound again by itself, not even where all devices are taken.
        self.registry.note_departed(id, &binding.device).await?;
        let removal = self.remove_from(integration, vec![binding.clone()], true).await?;
        let lost = removal.discarded;
        warn!(integration = %id, identity = binding.hub_device_id, discarded = lost, "deleted outside: unbound");
        let detail = json!({"integration": integration.name, "device": binding.device, "discarded": lost,
            "on_missing": OnMissing::Unbind});
        self.remember(&binding, "unbound", false).await?;
        self.clear(&OF_IDENTITY, id, Some(&binding.device)).await;
        self.note("identity.unbind", &binding.hub_device_id, detail).await;
        Ok(())
    }

    /// What held the binding of a device is over.
    pub(in crate::provision) async fn back_to_normal(
        &self,
        id: &IntegrationId,
        device: &DeviceId,
    ) -> Result<(), ProvisionError> {
        let bindings = self.registry.bindings_among(id, std::slice::from_ref(device)).await?;
        if bindings.iter().any(|binding| binding.state == BindingState::Missing) {
            let change = BindingChange {
                state: Some(BindingState::Delivering),
                failed_step: Some(None),
                last_error: Some(None),
                ..BindingChange::of(device.clone())
            };
            self.registry.change_active_binding(id, change).await?;
        }
        Ok(())
    }

    async fn remember(&self, binding: &Binding, what: &str, asked: bool) -> Result<(), ProvisionError> {
        let heal = Heal {
            host_name: binding.host_name.clone(),
            hub_device_id: binding.hub_device_id.clone(),
            integration: binding.integration.clone(),
            device: binding.device.clone(),
            what: what.to_owned(),
            asked,
            at: Timestamp::now(),
        };
        Ok(self.registry.note_heal(&heal).await?)
    }

    /// An entry in the audit log.
    async fn note(&self, what: &str, subject: &str, detail: serde_json::Value) {
        let actor = Actor { who: "hubward", ..Actor::default() };
        if let Err(error) = self.registry.audit(actor, what, subject, detail).await {
            warn!(%error, what, subject, "the audit log could not be written");
        }
    }
}

impl Shared {
    /// Says whether the hub has room for the devices of an integration.
    pub(in crate::provision) async fn tell_verdict(&self, id: &IntegrationId, verdict: &Result<(), ProvisionError>) {
        match verdict {
            Err(error @ ProvisionError::DeviceCap { .. }) => {
                let problem = error.problem();
                self.raise(AlarmKind::DeviceCap, id, None, (problem.message.clone(), problem.remedy.as_str())).await;
            }
            Ok(()) => {
                self.clear(&[AlarmKind::DeviceCap], id, None).await;
            }
            Err(_) => {}
        }
    }
}
