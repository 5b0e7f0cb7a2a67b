//! What became of messages to devices, for the services that sent them (reference, 6.5).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hubward_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::queue::{Fate, LOCK, Settle, after};
use super::store::Failed;

/// A feedback message carries so many records at most, and leaves as soon as there are so many.
const BATCH: usize = 64;
/// Records live so long; the service's default.
const TTL: Duration = Duration::from_secs(60 * 60);
/// A feedback message given back so often is dropped; the service's default.
const MAX_DELIVERIES: u32 = 10;
/// Records nobody fetches are kept up to this many.
const MAX_RECORDS: usize = 100_000;

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its number in the hub.
    pub(super) number: u64,
    pub(super) original_message_id: Option<String>,
    /// When it came to this.
    pub(super) at: Timestamp,
    pub(super) fate: Fate,
    pub(super) device_id: String,
    pub(super) generation_id: String,
}

/// A feedback message, locked for whoever received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Feedback {
    /// Says which one is settled.
    pub(crate) lock_token: Uuid,
    /// A JSON array of records.
    pub(crate) body: Bytes,
    /// When its first record came to be.
    pub(crate) enqueued_at: Timestamp,
    /// Its number.
    pub(crate) sequence_number: u64,
}

/// All feedback of the hub.
#[derive(Debug)]
pub(super) struct FeedbackQueue {
    /// Not in a message yet.
    loose: VecDeque<Record>,
    batches: Vec<Batch>,
    /// How long records wait for others.
    delay: Duration,
}

#[derive(Debug)]
struct Batch {
    records: Vec<Record>,
    deliveries: u32,
    lock: Option<(Uuid, Timestamp)>,
}

impl FeedbackQueue {
    pub(super) fn new(delay: Duration) -> Self {
        Self { loose: VecDeque::new(), batches: Vec::new(), delay }
    }

    /// Adds a record; answers the numbers of records that had to go for it.
    pub(super) fn push(&mut self, record: Record) -> Option<u64> {
        self.loose.push_back(record);
        if self.loose.len() <= MAX_RECORDS {
            return None;
        }
        let oldest = self.loose.pop_front()?;
        tracing::warn!(
            device = oldest.device_id,
            "feedback that nobody fetched is dropped: over {MAX_RECORDS} records"
        );
        Some(oldest.number)
    }

    pub(super) fn forget(&mut self, numbers: &[u64]) {
        self.loose.retain(|record| !numbers.contains(&record.number));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.batches.iter().flat_map(|batch| &batch.records).chain(&self.loose)
    }

    /// The next feedback message, if one is ripe.
    pub(super) fn receive(&mut self, now: Timestamp) -> Option<Feedback> {
        let free = self.batches.iter().position(|batch| batch.lock.is_none());
        let place = match free {
            Some(place) => place,
            None => {
                if !self.is_ripe(now) {
                    return None;
                }
                let records = self.loose.drain(..self.loose.len().min(BATCH)).collect();
                self.batches.push(Batch { records, deliveries: 0, lock: None });
                self.batches.len() - 1
            }
        };
        let batch = &mut self.batches[place];
        let token = Uuid::new_v4();
        batch.lock = Some((token, after(now, LOCK)));
        let first = batch.records.first()?;
        Some(Feedback {
            lock_token: token,
            body: body(&batch.records),
            enqueued_at: first.at,
            sequence_number: first.number,
        })
    }

    /// Settles a message; answers the numbers of the records that are done with.
    pub(super) fn settle(&mut self, token: Uuid, how: Settle) -> Result<Vec<u64>, Failed> {
        let locked = |batch: &Batch| batch.lock.is_some_and(|(lock, _)| lock == token);
        let place = self.batches.iter().position(locked).ok_or(Failed::LockLost)?;
        if how == Settle::Abandon {
            let batch = &mut self.batches[place];
            batch.lock = None;
            batch.deliveries += 1;
            if batch.deliveries < MAX_DELIVERIES {
                return Ok(Vec::new());
            }
        }
        Ok(self.batches.remove(place).records.into_iter().map(|record| record.number).collect())
    }

    /// Frees locks that have run out; answers the numbers of the records that were too old.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Vec<u64> {
        for batch in &mut self.batches {
            if batch.lock.is_some_and(|(_, until)| until <= now) {
                batch.lock = None;
            }
        }
        let old = |record: &Record| after(record.at, TTL) <= now;
        let mut gone = Vec::new();
        while let Some(record) = self.loose.pop_front_if(|record| old(record)) {
            gone.push(record.number);
        }
        self.batches.retain(|batch| {
            let keep = batch.lock.is_some() || !batch.records.last().is_some_and(old);
            if !keep {
                gone.extend(batch.records.iter().map(|record| record.number));
            }
            keep
        });
        gone
    }

    /// When a sweep or a receiver has something to do next.
    pub(super) fn next_sweep(&self, now: Timestamp) -> Option<Timestamp> {
        let locks = self.batches.iter().map(|batch| match batch.lock {
            Some((_, until)) => until,
            None => batch.records.last().map_or(now, |record| after(record.at, TTL)),
        });
        let first = self.loose.front().map(|record| {
            let ripe = after(record.at, self.delay);
            if ripe > now { ripe } else { after(record.at, TTL) }
        });
        locks.chain(first).min()
    }

    fn is_ripe(&self, now: Timestamp) -> bool {
        self.loose.len() >= BATCH || self.loose.front().is_some_and(|first| after(first.at, self.delay) <= now)
    }
}

fn body(records: &[Record]) -> Bytes {
    let records: Vec<_> = records
        .iter()
        .map(|record| {
            json!({
                "originalMessageId": record.original_message_id,
                "description": format!("{:?}", record.fate),
                "deviceGenerationId": record.generation_id,
                "deviceId": record.device_id,
                "enqueuedTimeUtc": record.at.to_string(),
                "statusCode": format!("{:?}", record.fate),
            })
        })
        .collect();
    serde_json::Value::Array(records).to_string().into()
}
