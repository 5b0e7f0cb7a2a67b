//! Counts the signals of each device, from the journal: every durable signal once, over restarts.
//!
//! The counts are saved in the registry every few seconds, and with them, in a small file, up to where they go. After a
//! kill the rest is counted again from there.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hubward_api::Activity;
use hubward_journal::{Chunk, Journal, Reader};
use hubward_model::{DeviceId, Kind, Offset, Problem, Record, Timestamp};
use hubward_registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::storage::Storage;
use super::{PartEnd, private_file};

/// How often the counts are saved.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// The file in the data folder that says up to where they go.
const FILE: &str = "activity";

/// The counts.
pub struct ActivityCounter {
    devices: Mutex<HashMap<DeviceId, Count>>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    signals: u64,
    last: Option<Timestamp>,
}

impl Activity for ActivityCounter {
    fn signals(&self, device: &DeviceId) -> (u64, Option<Timestamp>) {
        let count = self.lock().get(device).copied().unwrap_or_default();
        (count.signals, count.last)
    }
}

impl ActivityCounter {
    /// Goes on where the last run ended.
    pub(super) async fn start(
        storage: &Storage,
        data: &Path,
        stop: CancellationToken,
        parts: &mut JoinSet<PartEnd>,
    ) -> Result<Arc<Self>, Problem> {
        let known = storage.registry.devices().await.map_err(|error| error.problem())?;
        let nothing_counted = known.iter().all(|device| device.signals == 0);
        let counts = known.into_iter().map(|d| (d.id, Count { signals: d.signals, last: d.last_seen })).collect();
        let counter = Arc::new(Self { devices: Mutex::new(counts) });
        let file = data.join(FILE);
        let start = if nothing_counted { storage.journal.oldest() } else { storage.journal.durable() };
        let from = read_position(&file, &storage.journal).unwrap_or(start);
        let task = Task {
            counter: Arc::clone(&counter),
            reader: storage.journal.reader(from),
            registry: storage.registry.clone(),
            journal: storage.journal.clone(),
            file,
            changed: HashSet::new(),
        };
        parts.spawn(task.run(stop));
        Ok(counter)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<DeviceId, Count>> {
        // A count is a number: nothing is half done when a holder of the lock panics.
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, records: &[Record], changed: &mut HashSet<DeviceId>) {
        let mut devices = self.lock();
        for record in records {
            let Some(device) = record.device.as_ref().filter(|_| record.kind == Kind::Signal) else { continue };
            if record.only_for.is_some() {
                continue;
            }
            let count = devices.entry(device.clone()).or_default();
            count.signals += 1;
            count.last = count.last.max(Some(record.received_at));
            changed.insert(device.clone());
        }
    }
}

struct Task {
    counter: Arc<ActivityCounter>,
    reader: Reader,
    registry: Registry,
    journal: Journal,
    file: PathBuf,
    changed: HashSet<DeviceId>,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) -> PartEnd {
        let mut save = tokio::time::interval(SAVE_EVERY);
        save.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = save.tick() => self.save().await,
                chunk = self.reader.next() => match chunk {
                    Ok(Chunk::Records(records)) => self.counter.add(&records, &mut self.changed),
                    Ok(Chunk::Gap { .. }) => {}
                    Err(error) => return ("activity", Err(error.to_string())),
                },
            }
        }
        self.save().await;
        ("activity", Ok(()))
    }

    async fn save(&mut self) {
        if self.changed.is_empty() {
            return;
        }
        let position = self.reader.position();
        let activities: Vec<hubward_registry::Activity> = {
            let devices = self.counter.lock();
            let of = |device: &DeviceId| {
                let count = devices.get(device)?;
                let last_seen = count.last?;
                Some(hubward_registry::Activity { device: device.clone(), last_seen, signals: count.signals })
            };
            self.changed.iter().filter_map(of).collect()
        };
        match self.registry.save_activity(&activities).await {
            Ok(()) => self.changed.clear(),
            Err(error) => {
                tracing::warn!(%error, "the counts of signals were not saved; they are saved with the next");
                return;
            }
        }
        let text = format!("{} {position}\n", self.journal.id());
        if let Err(error) = private_file::write(&self.file, text.as_bytes()) {
            tracing::warn!(%error, "the position of the counts was not saved");
        }
    }
}

/// Up to where the saved counts go, if they are counts of this journal.
fn read_position(file: &Path, journal: &Journal) -> Option<Offset> {
    let text = std::fs::read_to_string(file).ok()?;
    let (id, position) = text.trim().split_once(' ')?;
    if id == journal.id().as_str() { position.parse().ok() } else { None }
}
