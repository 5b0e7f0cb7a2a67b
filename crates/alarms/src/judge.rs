//! Looks at what the parts tell of themselves, and raises what must be open: a journal that takes nothing, dropped messages,
//! devices with too many dead letters, hubs that slow us down, devices that are silent.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hubward_broker::{Dropped, Owner};
use hubward_journal::{Files, Health, Journal};
use hubward_model::{DeviceId, Timestamp};
use hubward_registry::{Alarm, AlarmKey, Registry};
use hubward_relay::RelayHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::drops::Drops;
use crate::habits::{Habits, Silent};
use crate::rules::{self, Facts, FullOfDeadLetters, Judgement, Throttled};
use crate::silence::Floor;

/// How often everything is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often what was learned is saved, and alarms about what is gone are cleared.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Alarms that are raised at one look: the registry has other writers.
const AT_ONCE: usize = 200;

/// What is looked at.
pub struct Sources {
    /// Where alarms stand; dead letters, names.
    pub registry: Registry,
    /// Whether signals are taken.
    pub journal: Journal,
    /// The hubs.
    pub relay: RelayHandle,
    /// What the broker dropped since the start.
    pub dropped: Box<dyn Fn() -> Vec<Dropped> + Send + Sync>,
    /// Who is silent.
    pub habits: Arc<Habits>,
    /// The file system of the data folder.
    pub files: Arc<dyn Files>,
    /// The data folder.
    pub data: PathBuf,
}

/// Raises what is so and clears what is over, of all that shows only in what several parts tell.
pub struct Judge {
    from: Sources,
    floor: Floor,
    drops: Drops,
    throttled: Throttled,
    /// Since when the journal is at its limit.
    full_since: Option<Timestamp>,
    /// Whether the last look could not write all of it.
    failing: bool,
}

impl Judge {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(from: Sources) -> Self {
        let floor = Floor::new(Timestamp::now());
        Self { from, floor, drops: Drops::default(), throttled: Throttled::default(), full_since: None, failing: false }
    }

    /// Looks every few seconds until `stop`; then saves what was learned.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tidied = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = look.tick() => {
                    self.look().await;
                    if tidied.elapsed() >= TIDY_EVERY {
                        tidied = Instant::now();
                        self.tidy().await;
                    }
                }
            }
        }
        self.tidy().await;
    }

    /// Looks at everything. What cannot be read is judged at the next look; what cannot be written is open in memory, or
    /// ends with a later look.
    async fn look(&mut self) {
        let facts = self.facts().await;
        let judged = rules::judge(&facts, &|device| self.name(device));
        let mut failed = self.settle(judged).await;
        for found in self.drops.look(&(self.from.dropped)(), &|owner| self.owner(owner)) {
            match self.from.registry.raise_alarm(found.alarm.clone()).await {
                Ok(()) => self.drops.told(&found),
                Err(error) => failed = Some(error),
            }
        }
        match &failed {
            Some(error) if !self.failing => {
                tracing::warn!(%error, "alarms could not be written; they are open in memory, and written once they can be");
            }
            None if self.failing => tracing::info!("alarms are written again"),
            _ => {}
        }
        self.failing = failed.is_some();
    }

    async fn facts(&mut self) -> Facts {
        let now = Timestamp::now();
        let health = self.from.journal.info().health;
        self.floor.look(now, Instant::now(), health == Health::Good);
        self.full_since = (health == Health::LimitReached).then(|| self.full_since.unwrap_or(now));
        let hubs = seen("hubs", self.from.relay.hubs().await);
        if let Some(hubs) = &hubs {
            self.throttled.look(hubs, now);
        }
        Facts {
            now,
            health,
            full_since: self.full_since,
            space: seen("the disk of the data folder", self.space().await),
            hubs,
            throttled_since: self.throttled.since.clone(),
            full: seen("dead letters", self.full_of_dead_letters().await),
            silent: seen("silent devices", self.silent(now).await),
        }
    }

    /// Bytes that are left on the disk of the data folder.
    async fn space(&self) -> std::io::Result<u64> {
        let (files, data) = (Arc::clone(&self.from.files), self.from.data.clone());
        let asked = tokio::task::spawn_blocking(move || files.space(&data)).await;
        Ok(asked.map_err(std::io::Error::other)??.available)
    }

    async fn silent(&self, now: Timestamp) -> Result<Vec<Silent>, hubward_registry::Error> {
        let silent = self.from.habits.silent(now, self.floor.since());
        let ignored = self.from.registry.unwatched_devices().await?;
        let is_known = |silent: &Silent| self.from.registry.device_name(&silent.device).is_some();
        Ok(silent.into_iter().filter(|silent| !ignored.contains(&silent.device) && is_known(silent)).collect())
    }

    /// Raises what is so and clears what is over, each for itself. The others wait for the next look when there are many.
    /// Answers the last failure.
    async fn settle(&self, Judgement { kinds, alarms }: Judgement) -> Option<hubward_registry::Error> {
        let mut failed = None;
        let keys: HashSet<AlarmKey> = alarms.iter().map(|alarm| alarm.key.clone()).collect();
        let (known, new): (Vec<Alarm>, Vec<Alarm>) =
            alarms.into_iter().partition(|alarm| self.from.registry.is_alarm_open(&alarm.key));
        for alarm in known.into_iter().chain(new.into_iter().take(AT_ONCE)) {
            failed = self.from.registry.raise_alarm(alarm).await.err().or(failed);
        }
        let open = kinds.into_iter().flat_map(|kind| self.from.registry.open_alarm_keys(kind));
        for over in open.filter(|key| !keys.contains(key)) {
            failed = self.from.registry.clear_alarm(&over).await.err().or(failed);
        }
        failed
    }

    async fn full_of_dead_letters(&self) -> Result<Vec<FullOfDeadLetters>, hubward_registry::Error> {
        let most = hubward_relay::Options::default().dead_letters_per_device;
        let mut by_integration = std::collections::HashMap::new();
        for group in self.from.registry.dead_letter_groups().await? {
            *by_integration.entry(group.integration).or_insert(0) += group.number;
        }
        let mut full = Vec::new();
        for (integration, _) in by_integration.into_iter().filter(|(_, number)| *number >= most) {
            for (device, number) in self.from.registry.dead_letter_counts(&integration).await? {
                if number >= most {
                    full.push(FullOfDeadLetters { integration: integration.clone(), device, number });
                }
            }
        }
        Ok(full)
    }

    async fn tidy(&self) {
        self.from.habits.forget(|device| self.from.registry.device_name(device).is_none());
        let learned = self.from.habits.take_new_limits();
        if let Err(error) = self.from.registry.save_silence_limits(&learned).await {
            tracing::warn!(%error, "how long devices are usually silent was not saved; it is learned again");
        }
        if let Err(error) = self.from.registry.tidy_alarms().await {
            tracing::warn!(%error, "alarms about what is gone were not cleared; they are with the next try");
        }
    }

    fn owner(&self, owner: &Owner) -> String {
        match owner {
            Owner::Device(device) => self.name(device),
            Owner::App(token) => {
                self.from.registry.token_name(token).map_or_else(|| owner.to_string(), |name| format!("app {name}"))
            }
        }
    }

    fn name(&self, device: &DeviceId) -> String {
        self.from.registry.device_name(device).map_or_else(|| device.to_string(), |name| name.to_string())
    }
}

/// What was read, or a line in the log.
fn seen<T>(what: &'static str, read: Result<T, impl std::fmt::Display>) -> Option<T> {
    read.inspect_err(
        |error| tracing::warn!(%error, what, "could not be looked at for alarms; the next look tries again"),
    )
    .ok()
}

#[cfg(test)]
mod tests;
