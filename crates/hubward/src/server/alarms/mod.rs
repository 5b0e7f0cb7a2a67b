//! Raises what no other part raises, by looking at what the others tell of themselves: a journal that takes nothing,
//! dropped signals, devices with too many dead letters, hubs that slow us down, devices that are silent.
//!
//! - [`rules`]: what must be open, given what was seen;
//! - [`silence`]: how long a device is usually silent, and which is silent for longer.

pub(super) mod rules;
pub(super) mod silence;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hubward_broker::{BrokerEvent, BrokerHandle, Owner};
use hubward_model::{DeviceId, Problem, Timestamp};
use hubward_registry::{Alarm, AlarmKey, Registry};
use hubward_relay::RelayHandle;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::PartEnd;
use super::activity::ActivityCounter;
use super::storage::Storage;
use rules::{Drops, Facts, FullOfDeadLetters, Throttled};
use silence::Floor;

/// How often everything is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often what was learned is saved, and alarms about what is gone are cleared.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Alarms that are raised at one look: the registry has other writers.
const AT_ONCE: usize = 200;

/// Starts to look.
pub(super) async fn start(
    storage: &Storage,
    broker: &BrokerHandle,
    relay: RelayHandle,
    activity: Arc<ActivityCounter>,
    stop: CancellationToken,
    parts: &mut JoinSet<PartEnd>,
) -> Result<(), Problem> {
    let limits = storage.registry.silence_limits().await.map_err(|error| error.problem())?;
    activity.know_limits(limits);
    let task = Task {
        registry: storage.registry.clone(),
        journal: storage.journal.clone(),
        relay,
        floor: Floor::new(Timestamp::now()),
        activity,
        drops: Drops::default(),
        throttled: Throttled::default(),
    };
    parts.spawn(task.run(broker.subscribe_events(), stop));
    Ok(())
}

struct Task {
    registry: Registry,
    journal: hubward_journal::Journal,
    relay: RelayHandle,
    activity: Arc<ActivityCounter>,
    floor: Floor,
    drops: Drops,
    throttled: Throttled,
}

impl Task {
    async fn run(mut self, mut events: Receiver<BrokerEvent>, stop: CancellationToken) -> PartEnd {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tidied = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = look.tick() => {
                    if let Err(error) = self.look().await {
                        tracing::warn!(%error, "alarms were not judged; they are with the next look");
                    }
                    if tidied.elapsed() >= TIDY_EVERY {
                        tidied = Instant::now();
                        self.tidy().await;
                    }
                }
                event = events.recv() => match event {
                    Ok(BrokerEvent::Dropped { owner: Owner::Device(device), reason, count }) => {
                        self.drops.note(&device, reason, count, Timestamp::now());
                    }
                    // What was missed counts in the metrics; the alarm names what it saw.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                },
            }
        }
        self.tidy().await;
        ("alarms", Ok(()))
    }

    async fn look(&mut self) -> Result<(), hubward_registry::Error> {
        let now = Timestamp::now();
        let health = self.journal.info().health;
        let takes_signals = health == hubward_journal::Health::Good;
        self.floor.look(now, Instant::now(), takes_signals);
        let hubs = match self.relay.hubs().await {
            Ok(hubs) => hubs,
            Err(error) => {
                tracing::warn!(%error, "hubs could not be looked at");
                return Ok(());
            }
        };
        self.throttled.look(&hubs, now);
        let ignored = self.registry.unwatched_devices().await?;
        let silent = self.activity.silent(now, self.floor.since());
        let silent = silent.into_iter().filter(|silent| !ignored.contains(&silent.device));
        let facts = Facts {
            now,
            health,
            hubs,
            throttled_since: self.throttled.since.clone(),
            full: self.full_of_dead_letters().await?,
            silent: silent.filter(|silent| self.registry.device_name(&silent.device).is_some()).collect(),
        };
        let wanted = rules::judge(&facts, &|device| self.name(device));
        self.settle(wanted).await?;
        if let Some(alarm) = self.drops.alarm(&|device| self.name(device)) {
            self.registry.raise_alarm(alarm).await?;
            self.drops.told();
        }
        Ok(())
    }

    /// Clears what is over and raises what is so. The others wait for the next look when there are many.
    async fn settle(&self, wanted: Vec<Alarm>) -> Result<(), hubward_registry::Error> {
        let keys: HashSet<&AlarmKey> = wanted.iter().map(|alarm| &alarm.key).collect();
        for kind in rules::KINDS {
            for key in self.registry.open_alarm_keys(*kind) {
                if !keys.contains(&key) {
                    self.registry.clear_alarm(&key).await?;
                }
            }
        }
        let (known, new): (Vec<Alarm>, Vec<Alarm>) =
            wanted.into_iter().partition(|alarm| self.registry.is_alarm_open(&alarm.key));
        let mut result = Ok(());
        for alarm in known.into_iter().chain(new.into_iter().take(AT_ONCE)) {
            // One that cannot be stored is open nonetheless; the others follow.
            result = self.registry.raise_alarm(alarm).await.and(result);
        }
        result
    }

    async fn full_of_dead_letters(&self) -> Result<Vec<FullOfDeadLetters>, hubward_registry::Error> {
        let most = hubward_relay::Options::default().dead_letters_per_device;
        let mut by_integration = std::collections::HashMap::new();
        for group in self.registry.dead_letter_groups().await? {
            *by_integration.entry(group.integration).or_insert(0) += group.number;
        }
        let mut full = Vec::new();
        for (integration, _) in by_integration.into_iter().filter(|(_, number)| *number >= most) {
            for (device, number) in self.registry.dead_letter_counts(&integration).await? {
                if number >= most {
                    full.push(FullOfDeadLetters { integration: integration.clone(), device, number });
                }
            }
        }
        Ok(full)
    }

    async fn tidy(&self) {
        self.activity.forget(|device| self.registry.device_name(device).is_none());
        let learned = self.activity.take_new_limits();
        if let Err(error) = self.registry.save_silence_limits(&learned).await {
            tracing::warn!(%error, "how long devices are usually silent was not saved; it is learned again");
        }
        if let Err(error) = self.registry.tidy_alarms().await {
            tracing::warn!(%error, "alarms about what is gone were not cleared; they are with the next try");
        }
    }

    fn name(&self, device: &DeviceId) -> String {
        self.registry.device_name(device).map_or_else(|| device.to_string(), |name| name.to_string())
    }
}
