//! Reads the journal along and keeps what pages show at once: counts, signals by number or topic, what boards told of
//! themselves, daily traffic. Every durable record counts once, over restarts and kills: what was counted is saved
//! together with up to where.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hubward_alarms::Habits;
use hubward_api::{Activity as _, series};
use hubward_journal::{Chunk, Journal, Reader};
use hubward_model::{DeviceId, Kind, Offset, Problem, Record, Timestamp, pybytes};
use hubward_registry::{Activity, Observed, Registry, SeriesSeen, Told, Traffic, TrafficSeen};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::PartEnd;
use super::activity::ActivityCounter;
use super::storage::Storage;

/// How often the counts are saved, unless saving takes long.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// A save that took long is followed by so many times as long without one: the registry has other writers.
const REST: u32 = 15;
/// How often devices that are gone are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);
const HOUR: i64 = 3_600_000;

/// Starts to read along where the last run ended; answers what is counted, and how long devices are usually silent.
pub(super) async fn start(
    storage: &Storage,
    stop: CancellationToken,
    parts: &mut JoinSet<PartEnd>,
) -> Result<(Arc<ActivityCounter>, Arc<Habits>), Problem> {
    let (registry, journal) = (&storage.registry, &storage.journal);
    let storage_failed = |error: hubward_registry::Error| error.problem();
    let known = registry.devices().await.map_err(storage_failed)?;
    let counted_to = match registry.observed_up_to(journal.id()).await.map_err(storage_failed)? {
        Some(position) => position,
        // Counted by a version that did not say up to where.
        None if known.iter().any(|device| device.signals > 0) => journal.durable(),
        None => journal.oldest(),
    };
    let limits = registry.silence_limits().await.map_err(storage_failed)?;
    let last: HashMap<&DeviceId, _> = known.iter().map(|device| (&device.id, device.last_seen)).collect();
    let habits = Arc::new(Habits::new(limits, |device| last.get(device).copied().flatten()));
    let totals = known.iter().map(|device| (device.id.clone(), device.signals, device.last_seen));
    let counter = Arc::new(ActivityCounter::new(totals, Arc::clone(&habits)));
    let hour_ago = Timestamp::from_millis(Timestamp::now().as_millis() - HOUR);
    // The last hour is counted anew; what is not counted at all yet may be older.
    let recent = journal.offset_at(hour_ago).await.unwrap_or(counted_to);
    let task = Task {
        counter: Arc::clone(&counter),
        reader: journal.reader(counted_to.min(recent)),
        counted_to,
        registry: registry.clone(),
        journal: journal.clone(),
        pending: Pending::default(),
    };
    parts.spawn(task.run(stop));
    Ok((counter, habits))
}

struct Task {
    counter: Arc<ActivityCounter>,
    reader: Reader,
    /// What is before it was counted by an earlier run.
    counted_to: Offset,
    registry: Registry,
    journal: Journal,
    pending: Pending,
}

/// What was counted and not saved.
#[derive(Default)]
struct Pending {
    active: HashSet<DeviceId>,
    series: HashMap<DeviceId, HashMap<String, Seen>>,
    told: HashMap<(DeviceId, &'static str), Told>,
    traffic: HashMap<(Option<DeviceId>, i64), Traffic>,
    first_signal: Option<(Timestamp, DeviceId)>,
    anything: bool,
}

struct Seen {
    number: u64,
    at: Timestamp,
    offset: Offset,
    value: Value,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) -> PartEnd {
        let mut save_at = Instant::now() + SAVE_EVERY;
        let mut forget = tokio::time::interval(FORGET_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(save_at) => {
                    let begun = Instant::now();
                    self.save().await;
                    save_at = Instant::now() + SAVE_EVERY.max(begun.elapsed() * REST);
                }
                _ = forget.tick() => self.counter.forget(|device| self.registry.device_name(device).is_none()),
                chunk = self.reader.next() => match chunk {
                    Ok(Chunk::Records(records)) => self.count(&records),
                    Ok(Chunk::Gap { .. }) => {}
                    Err(error) => return ("observer", Err(error.to_string())),
                },
            }
        }
        self.save().await;
        ("observer", Ok(()))
    }

    fn count(&mut self, records: &[Record]) {
        for record in records {
            let Some(device) = &record.device else { continue };
            let fresh = record.offset >= self.counted_to;
            match record.kind {
                Kind::Signal if record.only_for.is_none() => {
                    self.counter.signal(device, record.received_at, fresh);
                    if fresh {
                        self.pending.signal(device, record);
                    }
                }
                Kind::System if fresh => self.pending.told(device, record),
                _ => {}
            }
        }
    }

    async fn save(&mut self) {
        if !self.pending.anything {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        let observed = pending.observed(&self.counter);
        let position = self.reader.position();
        if let Err(error) = self.registry.save_observed(self.journal.id(), position, &observed).await {
            tracing::warn!(%error, "what devices did was not saved; it is saved with the next");
            // Read again from where the last save went: nothing is counted twice, for nothing of it was saved.
            self.pending = pending;
        }
    }
}

impl Pending {
    fn signal(&mut self, device: &DeviceId, record: &Record) {
        self.anything = true;
        if !self.active.contains(device) {
            self.active.insert(device.clone());
        }
        self.first_signal.get_or_insert_with(|| (record.received_at, device.clone()));
        let day = record.received_at.as_millis().div_euclid(Timestamp::DAY);
        let bytes = record.message.payload.len() as u64;
        self.traffic.entry((None, day)).or_default().count(bytes);
        self.traffic.entry((Some(device.clone()), day)).or_default().count(bytes);
        let Some(key) = series::key(record) else { return };
        let of_device = match self.series.get_mut(device) {
            Some(of_device) => of_device,
            None => self.series.entry(device.clone()).or_default(),
        };
        let number = of_device.get(&key).map_or(0, |seen| seen.number) + 1;
        let seen = Seen { number, at: record.received_at, offset: record.offset, value: series::value(record) };
        of_device.insert(key, seen);
    }

    /// Frames that are no signals but tell of the board itself.
    fn told(&mut self, device: &DeviceId, record: &Record) {
        if !series::is_pybytes(record) {
            return;
        }
        let Ok(frame) = pybytes::decode(&record.message.payload) else { return };
        let what = match frame.body {
            pybytes::Body::Info(_) => "info",
            pybytes::Body::NetworkInfo { .. } => "network",
            pybytes::Body::ScanInfo(_) => "scan",
            pybytes::Body::Battery(_) => "battery",
            _ => return,
        };
        self.anything = true;
        let detail = pybytes::describe(&record.message.payload);
        self.told.insert((device.clone(), what), Told { what: what.to_owned(), at: record.received_at, detail });
    }

    fn observed(&self, counter: &ActivityCounter) -> Observed {
        let activity = self.active.iter().filter_map(|device| {
            let (signals, last_seen) = counter.signals(device);
            Some(Activity { device: device.clone(), last_seen: last_seen?, signals })
        });
        let series = self.series.iter().flat_map(|(device, seen)| {
            seen.iter().map(|(key, seen)| SeriesSeen {
                device: device.clone(),
                key: key.clone(),
                number: seen.number,
                last_at: seen.at,
                last_offset: seen.offset,
                last_value: seen.value.clone(),
            })
        });
        let traffic = self.traffic.iter().map(|((device, day), traffic)| TrafficSeen {
            device: device.clone(),
            at: Timestamp::from_millis(day * Timestamp::DAY),
            traffic: *traffic,
        });
        Observed {
            activity: activity.collect(),
            series: series.collect(),
            told: self.told.iter().map(|((device, _), told)| (device.clone(), told.clone())).collect(),
            traffic: traffic.collect(),
            first_signal: self.first_signal.clone(),
        }
    }
}
