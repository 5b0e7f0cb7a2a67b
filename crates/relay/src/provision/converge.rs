//! Makes the identities of all bindings that are stored as `creating`, whoever stored them and however often this was
//! interrupted.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use futures_util::FutureExt as _;
use hubward_iothub::connection_string::SharedAccessKey;
use hubward_iothub::fault::{Advice, Cause};
use hubward_iothub::registry::{Device, MAX_BULK, NewDevice, RegistryError};
use hubward_model::{BindingState, DeviceId, IntegrationId, IntegrationState, OnExisting};
use hubward_registry::heals::STEP_RECREATE;
use hubward_registry::{Binding, BindingChange, Error, ExposeSecret as _, Integration, Keys, SecretString};
use tracing::{debug, info, warn};

use super::hub::Hub;
use super::{ProvisionError, Shared, naming};
use crate::backoff::Backoff;

/// Steps of provisioning that failed, as bindings remember them.
const STEP_CAP: &str = "device_cap";
const STEP_CREATE: &str = "create";
/// How many generation ids are learned at a time.
const LEARN: usize = 1000;

/// What one call for up to a hundred identities came to.
#[derive(Default)]
struct Step {
    made: usize,
    /// The hub is full.
    cap: bool,
    /// Not to be tried again in this run.
    refused: Vec<DeviceId>,
    /// To be tried again after a pause.
    again: bool,
    /// Made again: their lanes wait.
    healed: Vec<DeviceId>,
}

/// An identity to be made.
struct Wanted {
    binding: Binding,
    keys: Keys,
    new: NewDevice,
}

impl Shared {
    /// Makes what is to be made. Answers when all that can be made is; a hub that is away or throttles is waited for.
    ///
    /// # Errors
    /// The hub refuses us as a whole, our registry failed, or the server stops.
    pub(super) async fn converge(&self, id: &IntegrationId) -> Result<(), ProvisionError> {
        let making = self.making.of(id);
        let _making = making.lock().await;
        // Whatever is stored from here on is for another run.
        self.queued.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.make_all(id).await
    }

    async fn make_all(&self, id: &IntegrationId) -> Result<(), ProvisionError> {
        let mut pauses = Backoff::new(self.options.pauses.0, self.options.pauses.1);
        let mut skip = HashSet::new();
        loop {
            let Some(integration) = self.still_wanted(id).await? else { return Ok(()) };
            let step = self.make_some(&integration, &skip).await;
            let pause = match step {
                Ok(None) => break,
                Ok(Some(step)) => {
                    skip.extend(step.refused);
                    if step.made > 0 {
                        pauses.reset();
                        self.lanes.refresh(id).await?;
                        self.lanes.look_again(id, &step.healed);
                    }
                    if step.cap {
                        break;
                    }
                    if !step.again {
                        continue;
                    }
                    pauses.pause()
                }
                Err(ProvisionError::Hub(error)) if matches!(error.advice(), Advice::Retry | Advice::Wait) => {
                    warn!(integration = %id, %error, "the hub is asked again later");
                    self.set_state(id, None, Some(&error.to_string())).await?;
                    pauses.pause().max(error.retry_after().unwrap_or_default())
                }
                Err(error) => {
                    self.set_state(id, Some(IntegrationState::Attention), Some(&error.to_string())).await?;
                    if let ProvisionError::Hub(error) = &error {
                        self.not_heard(&integration, error).await;
                    }
                    return Err(error);
                }
            };
            self.pause(pause).await?;
        }
        self.conclude(id).await?;
        if let Err(error) = self.learn_generations(id).await {
            // Nothing depends on it now; it is asked for again when the identity is to be deleted.
            debug!(integration = %id, %error, "generation ids are learned later");
        }
        Ok(())
    }

    /// The same, but whoever asked waits only for a while; then the worker goes on with it. Answers whether it is done.
    pub(super) async fn converge_for_a_while(&self, id: &IntegrationId) -> Result<bool, ProvisionError> {
        match tokio::time::timeout(self.options.answer_within, self.converge(id).boxed()).await {
            Ok(done) => done.map(|()| true),
            Err(_) => {
                self.unfinished.notify_one();
                Ok(false)
            }
        }
    }

    /// Whether a run must be begun for what was just stored; not if one is queued that will find it.
    pub(super) fn must_queue(&self, id: &IntegrationId) -> bool {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone())
    }

    /// The same in the background.
    pub(super) async fn converge_or_log(&self, id: &IntegrationId) -> Result<(), ProvisionError> {
        let result = self.converge(id).await;
        if let Err(error) = &result
            && !matches!(error, ProvisionError::Stopping)
        {
            warn!(integration = %id, %error, "identities could not be made");
        }
        result
    }

    /// Tries again what is in conflict or was refused, too.
    pub(super) async fn reconcile(&self, id: &IntegrationId) -> Result<Integration, ProvisionError> {
        let bindings = self.registry.bindings(id).await?;
        let conflicts = bindings.into_iter().filter(|binding| binding.state == BindingState::Conflict);
        let changes = conflicts
            .map(|binding| BindingChange { state: Some(BindingState::Creating), ..BindingChange::of(binding.device) });
        self.registry.change_bindings(id, changes.collect()).await?;
        let healed = Box::pin(self.heal_as_asked(id)).await;
        if self.converge_for_a_while(id).await? {
            self.verdict(id, None).await?;
        }
        healed?;
        Ok(self.registry.integration(id).await?)
    }

    /// Whether all went well, for all bindings or those of `devices`.
    pub(super) async fn verdict(&self, id: &IntegrationId, devices: Option<&[DeviceId]>) -> Result<(), ProvisionError> {
        let mut bindings = self.registry.bindings(id).await?;
        if let Some(devices) = devices {
            bindings.retain(|binding| devices.contains(&binding.device));
        }
        let all = bindings.len();
        let ids = |keep: &dyn Fn(&Binding) -> bool| -> Vec<String> {
            bindings.iter().filter(|binding| keep(binding)).map(|binding| binding.hub_device_id.clone()).collect()
        };
        let conflicts = ids(&|binding| binding.state == BindingState::Conflict);
        if !conflicts.is_empty() {
            return Err(ProvisionError::Conflict { ids: conflicts });
        }
        let not_made = ids(&|binding| binding.state == BindingState::Creating);
        let made = all - not_made.len();
        let is_cap = |binding: &Binding| {
            binding.state == BindingState::Creating && binding.failed_step.as_deref() == Some(STEP_CAP)
        };
        if bindings.iter().any(is_cap) {
            return Err(ProvisionError::DeviceCap { made, all, not_made });
        }
        if !not_made.is_empty() {
            let said = |binding: &Binding| {
                let words = binding.last_error.as_deref().unwrap_or("not made yet");
                format!("{} ({words})", binding.hub_device_id)
            };
            let creating = bindings.iter().filter(|binding| binding.state == BindingState::Creating);
            return Err(ProvisionError::Refused { made, all, refused: creating.map(said).collect() });
        }
        Ok(())
    }

    /// The integration, unless it is gone or going.
    pub(super) async fn still_wanted(&self, id: &IntegrationId) -> Result<Option<Integration>, ProvisionError> {
        match self.registry.integration(id).await {
            Ok(integration) if integration.state == IntegrationState::Removing => Ok(None),
            Ok(integration) => Ok(Some(integration)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes up to a hundred identities; none when nothing is left to be made.
    async fn make_some(
        &self,
        integration: &Integration,
        skip: &HashSet<DeviceId>,
    ) -> Result<Option<Step>, ProvisionError> {
        let lock = self.hub_lock(&integration.host_name);
        let _writing = lock.lock().await;
        // Looked at under the lock: a removal sets its state first, and deletes under the same lock.
        if self.still_wanted(&integration.id).await?.is_none() {
            return Ok(None);
        }
        let mut todo = self.registry.bindings(&integration.id).await?;
        todo.retain(|binding| binding.state == BindingState::Creating && !skip.contains(&binding.device));
        todo.truncate(MAX_BULK);
        if todo.is_empty() {
            return Ok(None);
        }
        let hub = self.hub_of(integration).await?;
        let mut wanted = Vec::with_capacity(todo.len());
        for binding in todo {
            let keys = self.registry.keys(&integration.id, &binding.device).await?;
            let new = NewDevice {
                id: binding.hub_device_id.clone(),
                primary: stored_key(&keys.primary)?,
                secondary: stored_key(&keys.secondary)?,
                enabled: true,
            };
            wanted.push(Wanted { binding, keys, new });
        }
        Ok(Some(self.make(&hub, integration, wanted).await?))
    }

    async fn make(&self, hub: &Hub, integration: &Integration, wanted: Vec<Wanted>) -> Result<Step, ProvisionError> {
        let refused = ask(hub, &wanted).await?;
        let mut step = Step::default();
        let mut changes = Vec::new();
        for Wanted { binding, keys, .. } in wanted {
            let mut change = BindingChange::of(binding.device.clone());
            match refused.get(&binding.hub_device_id) {
                None => {
                    step.made += 1;
                    made(&mut change, None);
                    if binding.failed_step.as_deref() == Some(STEP_RECREATE) {
                        step.healed.push(binding.device.clone());
                    }
                }
                Some((Cause::AlreadyExists, _)) => {
                    match hub.get(&binding.hub_device_id).await? {
                        Some(device) => self.meet(integration, &binding, &keys, device, &mut change).await?,
                        // Deleted in this very moment: ask again.
                        None => step.again = true,
                    }
                    if change.state == Some(BindingState::Delivering) {
                        step.made += 1;
                        step.healed.push(binding.device.clone());
                    }
                }
                Some((Cause::Throttled | Cause::Busy, _)) => step.again = true,
                Some((cause, words)) => {
                    step.cap |= *cause == Cause::Quota;
                    step.refused.push(binding.device.clone());
                    change.last_error = Some(Some(words.clone()));
                    let failed = if *cause == Cause::Quota { STEP_CAP } else { STEP_CREATE };
                    change.failed_step = Some(Some(failed.to_owned()));
                }
            }
            changes.push(change);
        }
        debug!(integration = %integration.id, made = step.made, refused = step.refused.len(), "identities were asked for");
        self.registry.change_bindings(&integration.id, changes).await?;
        Ok(step)
    }

    /// The hub has an identity of this id already.
    async fn meet(
        &self,
        integration: &Integration,
        binding: &Binding,
        keys: &Keys,
        device: Device,
        change: &mut BindingChange,
    ) -> Result<(), ProvisionError> {
        if has_keys(&device, keys) {
            // Ours: made before a kill that came before it was written down.
            made(change, Some(device.generation_id));
            return Ok(());
        }
        let conflict = |why: &str| format!("the hub has an identity {} {why}", binding.hub_device_id);
        // What was to be made again and came back meanwhile is the same device: its keys are read, never refused.
        let comes_back = binding.failed_step.as_deref() == Some(STEP_RECREATE);
        let on_existing = if comes_back { OnExisting::Adopt } else { integration.settings.on_existing };
        match (on_existing, device.keys()) {
            (OnExisting::Adopt, Some((primary, secondary))) => {
                info!(integration = %integration.id, identity = binding.hub_device_id, "an identity is adopted");
                change.state = Some(BindingState::Delivering);
                change.made_by_us = Some(false);
                change.generation_id = Some(Some(device.generation_id.clone()));
                change.keys = Some(Keys {
                    primary: SecretString::from(primary.expose_base64()),
                    secondary: SecretString::from(secondary.expose_base64()),
                });
                change.last_error = Some(None);
                change.failed_step = Some(None);
            }
            (OnExisting::Adopt, None) => {
                change.state = Some(BindingState::Conflict);
                change.last_error = Some(Some(conflict("without symmetric keys: Hubward cannot send as it")));
            }
            (OnExisting::Rename, _) => {
                let next = naming::next(&binding.hub_device_id);
                change.hub_device_id = Some(self.free_id(&integration.host_name, next, &HashSet::new()).await?);
            }
            (OnExisting::Refuse, _) => {
                change.state = Some(BindingState::Conflict);
                change.last_error = Some(Some(conflict("already, which Hubward did not make")));
            }
        }
        Ok(())
    }

    /// Says how the integration fares now that nothing more can be made.
    pub(super) async fn conclude(&self, id: &IntegrationId) -> Result<(), ProvisionError> {
        let verdict = self.verdict(id, None).await;
        self.tell_verdict(id, &verdict).await;
        match verdict {
            Ok(()) => self.set_state(id, Some(IntegrationState::Active), None).await,
            Err(
                error @ (ProvisionError::Conflict { .. }
                | ProvisionError::DeviceCap { .. }
                | ProvisionError::Refused { .. }),
            ) => self.set_state(id, Some(IntegrationState::Attention), Some(&error.to_string())).await,
            Err(error) => Err(error),
        }
    }

    /// Sets state and error, but never ends a pause or a removal.
    pub(super) async fn set_state(
        &self,
        id: &IntegrationId,
        state: Option<IntegrationState>,
        error: Option<&str>,
    ) -> Result<(), ProvisionError> {
        let Some(integration) = self.still_wanted(id).await? else { return Ok(()) };
        let state = match integration.state {
            IntegrationState::Paused => IntegrationState::Paused,
            current => state.unwrap_or(current),
        };
        if state == integration.state && error == integration.last_error.as_deref() {
            return Ok(());
        }
        match self.registry.set_integration_state(id, state, error).await {
            Ok(()) | Err(Error::Stale { .. } | Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks for the generation ids of identities we made in bulk, which answers none.
    async fn learn_generations(&self, id: &IntegrationId) -> Result<(), ProvisionError> {
        loop {
            let Some(integration) = self.still_wanted(id).await? else { return Ok(()) };
            let lock = self.hub_lock(&integration.host_name);
            let _writing = lock.lock().await;
            let mut todo = self.registry.bindings(id).await?;
            todo.retain(|binding| binding.made_by_us && binding.generation_id.is_none());
            todo.truncate(LEARN);
            if todo.is_empty() {
                return Ok(());
            }
            let hub = self.hub_of(&integration).await?;
            let ids: Vec<&str> = todo.iter().map(|binding| binding.hub_device_id.as_str()).collect();
            let devices = hub.look_up(&ids).await?;
            let mut changes = Vec::new();
            for (binding, device) in todo.into_iter().zip(devices) {
                let Some(device) = device else { continue };
                let keys = self.registry.keys(id, &binding.device).await?;
                changes.push(BindingChange {
                    // Somebody made it again with keys of his own: it is not ours any more.
                    made_by_us: Some(has_keys(&device, &keys)),
                    generation_id: Some(Some(device.generation_id)),
                    ..BindingChange::of(binding.device)
                });
            }
            if changes.is_empty() {
                return Ok(());
            }
            self.registry.change_bindings(id, changes).await?;
        }
    }
}

/// Asks for the identities in one call; answers the refused ones with the hub's words.
async fn ask(hub: &Hub, wanted: &[Wanted]) -> Result<HashMap<String, (Cause, String)>, RegistryError> {
    let new: Vec<NewDevice> = wanted.iter().map(|wanted| wanted.new.clone()).collect();
    hub.turn(new.len()).await;
    match hub.told(hub.client.bulk_create(&new).await) {
        Ok(errors) => Ok(errors
            .into_iter()
            .map(|e| (e.device_id.clone(), (e.cause(), format!("{} {}", e.name, e.message))))
            .collect()),
        // The call as a whole is over the cap: one by one, so that what still fits is made.
        Err(error) if error.cause() == Some(Cause::Quota) => {
            let mut refused = HashMap::new();
            let mut full = None;
            for device in &new {
                if let Some(words) = &full {
                    refused.insert(device.id.clone(), (Cause::Quota, String::clone(words)));
                    continue;
                }
                hub.turn(1).await;
                match hub.told(hub.client.create(device).await) {
                    Ok(_) => {}
                    Err(error) => match error.cause() {
                        Some(Cause::Quota) => {
                            let words = error.to_string();
                            refused.insert(device.id.clone(), (Cause::Quota, words.clone()));
                            full = Some(words);
                        }
                        Some(cause) => {
                            refused.insert(device.id.clone(), (cause, error.to_string()));
                        }
                        None => return Err(error),
                    },
                }
            }
            Ok(refused)
        }
        Err(error) => Err(error),
    }
}

fn made(change: &mut BindingChange, generation_id: Option<String>) {
    change.state = Some(BindingState::Delivering);
    change.made_by_us = Some(true);
    change.generation_id = Some(generation_id);
    change.last_error = Some(None);
    change.failed_step = Some(None);
}

/// Whether the identity has the keys that we made.
pub(super) fn has_keys(device: &Device, keys: &Keys) -> bool {
    device.keys().is_some_and(|(primary, secondary)| {
        primary.expose_base64() == keys.primary.expose_secret()
            && secondary.expose_base64() == keys.secondary.expose_secret()
    })
}

fn stored_key(key: &SecretString) -> Result<SharedAccessKey, ProvisionError> {
    SharedAccessKey::from_base64(key.expose_secret())
        .map_err(|_| RegistryError::Request { reason: "a stored device key is not Base64".to_owned() }.into())
}
