//! All identities: read from memory, written to disk before anybody sees the change.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::command::{Command, Refused, Stamps};
use super::log::{Entry, Log, Map};
use super::record::Identity;
use crate::Clock;
use crate::change_log::LogError;

/// Identities a hub may have (reference, 7.3).
const DEFAULT_CAP: usize = 1_000_000;
/// Milliseconds from the year 1 to 1970: generation ids count from there, in tenths of microseconds, as .NET does.
const EPOCH_MILLIS: i64 = 62_135_596_800_000;

/// The identity registry.
pub(crate) struct Identities {
    map: RwLock<Map>,
    writer: Mutex<Writer>,
    cap: usize,
    clock: Clock,
}

struct Writer {
    log: Log,
    last_generation: i64,
    /// A write failed: what the file holds is not known, so nothing more is written to it.
    failed: bool,
}

/// What became of one command: the identity as it is now (nothing: deleted), or why it was refused.
pub(crate) type Outcome = Result<Option<Arc<Identity>>, Refused>;

/// The disk failed; whether the commands were done is not known before the next start.
#[derive(Debug, thiserror::Error)]
#[error("the identity registry cannot be written any more")]
pub(crate) struct NotStored;

impl Identities {
    /// Opens the registry kept in the file at `path`.
    pub(crate) fn open(path: &Path, cap: Option<usize>, clock: Clock) -> Result<Self, LogError> {
        let (log, map) = Log::open(path)?;
        let last_generation =
            map.values().filter_map(|identity| identity.generation_id.parse().ok()).max().unwrap_or(0);
        Ok(Self {
            map: RwLock::new(map),
            writer: Mutex::new(Writer { log, last_generation, failed: false }),
            cap: cap.unwrap_or(DEFAULT_CAP),
            clock,
        })
    }

    /// The identity of `id`.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Identity>> {
        self.map().get(id).cloned()
    }

    /// Up to `limit` identities in the order of their ids, from the first after `after`.
    pub(crate) fn page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<Identity>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.map().range::<str, _>((from, Unbounded)).take(limit).map(|(_, identity)| identity.clone()).collect()
    }

    /// How many there are, and how many of them are enabled.
    pub(crate) fn count(&self) -> (usize, usize) {
        let map = self.map();
        (map.len(), map.values().filter(|identity| identity.is_enabled()).count())
    }

    /// Does `commands`, in order, each on its own: one refused does not stop the others. What was done is durable when
    /// it returns, and visible only then. Blocks on the disk; runs to its end once begun.
    pub(crate) fn run(&self, commands: &[Command]) -> Result<Vec<Outcome>, NotStored> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.failed {
            return Err(NotStored);
        }
        let (outcomes, entries) = self.decide(commands, &mut writer.last_generation);
        if entries.is_empty() {
            return Ok(outcomes);
        }
        let fail = |writer: &mut Writer, error: LogError| {
            tracing::error!(%error, "the identity registry cannot be written");
            writer.failed = true;
            NotStored
        };
        if let Err(error) = writer.log.append(&entries) {
            return Err(fail(&mut writer, error));
        }
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            entry.apply(&mut map);
        }
        drop(map);
        if let Err(error) = writer.log.compact(&self.map()) {
            return Err(fail(&mut writer, error));
        }
        Ok(outcomes)
    }

    fn decide(&self, commands: &[Command], last_generation: &mut i64) -> (Vec<Outcome>, Vec<Entry>) {
        let map = self.map();
        let mut count = map.len();
        // What earlier commands of this call made of an id.
        let mut made: HashMap<&str, Option<Arc<Identity>>> = HashMap::new();
        let mut entries = Vec::new();
        let mut stamps = || {
            let now = self.clock.now();
            *last_generation = ((now.as_millis() + EPOCH_MILLIS) * 10_000).max(*last_generation + 1);
            Stamps { etag: new_etag(), generation_id: last_generation.to_string(), now }
        };
        let outcomes = commands
            .iter()
            .map(|command| {
                let id = command.device_id();
                let current = match made.get(id) {
                    Some(made) => made.clone(),
                    None => map.get(id).cloned(),
                };
                let after = command.decide(current.as_deref(), count, self.cap, &mut stamps)?.map(Arc::new);
                match (&current, &after) {
                    (None, Some(_)) => count += 1,
                    (Some(_), None) => count -= 1,
                    _ => {}
                }
                entries.push(match &after {
                    Some(identity) => Entry::Put(identity.clone()),
                    None => Entry::Delete(id.into()),
                });
                made.insert(id, after.clone());
                Ok(after)
            })
            .collect();
        (outcomes, entries)
    }

    fn map(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bare etag as the real ones look: base64 of a number.
fn new_etag() -> String {
    let mut bytes = [0u8; 4];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    STANDARD.encode(u32::from_le_bytes(bytes).to_string())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
