//! Where any signal is and was: the exact times of the latest deliveries, and the state of all others.
//!
//! Lanes note what they settle; the dealer writes it to the integration's ring with each save of its progress. Nothing waits
//! for it, and little of it is in memory.
//!
//! - [`answer`]: what is told of a signal; `entry`, `ring`: the file of an integration.

pub mod answer;
mod entry;
mod ring;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hubward_model::{DeviceId, IntegrationId, Offset};
use tokio::task::spawn_blocking;
use tracing::warn;

pub use answer::{Refused, TraceAnswer, TracedDelivery};
pub(crate) use entry::{Entry, hash};
use ring::{KEPT, Ring};

/// What may wait in memory to be written; the oldest go when more comes. It is also all there is without a folder.
const WAITING: usize = 20_000;

/// The traces of all integrations. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Traces {
    folder: Option<Arc<Path>>,
    known: Arc<Mutex<HashMap<IntegrationId, Arc<Trace>>>>,
}

/// The latest deliveries of one integration.
#[derive(Debug)]
pub(crate) struct Trace {
    path: Option<PathBuf>,
    waiting: Mutex<Vec<Entry>>,
    /// Opened with the first that is written or looked for.
    ring: Mutex<Option<Ring>>,
}

impl Traces {
    /// Traces kept in `folder`; without one only the latest, in memory.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder: folder.map(Arc::from), known: Arc::default() }
    }

    /// The trace of an integration.
    pub(crate) fn of(&self, integration: &IntegrationId) -> Arc<Trace> {
        let trace = || {
            let path = self.folder.as_ref().map(|folder| folder.join(integration.as_str()));
            Arc::new(Trace { path, waiting: Mutex::default(), ring: Mutex::default() })
        };
        Arc::clone(self.known().entry(integration.clone()).or_insert_with(trace))
    }

    /// The integration is gone, and with it its trace.
    pub(crate) fn remove(&self, integration: &IntegrationId) {
        let trace = self.known().remove(integration);
        if let Some(trace) = trace {
            // Who still has it writes nothing any more.
            lock(&trace.waiting).clear();
            *lock(&trace.ring) = None;
        }
        if let Some(folder) = &self.folder {
            remove_file(&folder.join(integration.as_str()));
        }
    }

    /// Removes what integrations left that were removed while nobody looked. Blocks.
    pub(crate) fn keep_only(&self, integrations: &[IntegrationId]) {
        let Some(entries) = self.folder.as_ref().and_then(|folder| std::fs::read_dir(folder).ok()) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if !integrations.iter().any(|id| name == *id.as_str()) {
                remove_file(&entry.path());
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<IntegrationId, Arc<Trace>>> {
        lock(&self.known)
    }
}

impl Trace {
    /// Notes what was settled.
    pub(crate) fn note(&self, settled: impl IntoIterator<Item = Entry>) {
        let mut waiting = lock(&self.waiting);
        waiting.extend(settled);
        let over = waiting.len().saturating_sub(WAITING);
        if over > 0 {
            // Not one by one: what comes after would be moved each time.
            let over = over.max(WAITING / 4).min(waiting.len());
            waiting.drain(..over);
        }
    }

    /// Writes what was noted. What cannot be written is told and forgotten.
    pub(crate) async fn write(self: Arc<Self>) {
        if self.path.is_none() || lock(&self.waiting).is_empty() {
            return;
        }
        // The blocking pool ends with the runtime alone.
        drop(spawn_blocking(move || self.write_now()).await);
    }

    fn write_now(&self) {
        // Whoever looks meanwhile waits here and finds it in the ring.
        let mut ring = lock(&self.ring);
        let entries = std::mem::take(&mut *lock(&self.waiting));
        let written = self.ring(&mut ring, true).and_then(|ring| ring.write(&entries));
        if let Err(error) = written {
            let path = self.path.as_deref().unwrap_or(Path::new(""));
            warn!(%error, path = %path.display(), "times of deliveries could not be written for `trace`");
        }
    }

    /// The latest delivery of a device's record, if it is among those kept.
    pub(crate) async fn find(self: Arc<Self>, device: DeviceId, offset: Offset) -> Option<Entry> {
        spawn_blocking(move || self.find_now(hash(&device), offset)).await.ok().flatten()
    }

    fn find_now(&self, device: u64, offset: Offset) -> Option<Entry> {
        let mut ring = lock(&self.ring);
        let fits = |entry: &&Entry| entry.device == device && entry.offset == offset;
        if let Some(entry) = lock(&self.waiting).iter().rev().find(fits) {
            return Some(*entry);
        }
        match self.ring(&mut ring, false).and_then(|ring| ring.find(device, offset)) {
            Ok(entry) => entry,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                warn!(%error, "the trace cannot be read");
                None
            }
        }
    }

    /// The ring; without `make` only one that is there.
    fn ring<'a>(&self, ring: &'a mut Option<Ring>, make: bool) -> io::Result<&'a mut Ring> {
        let path = self.path.as_deref().ok_or(io::ErrorKind::NotFound)?;
        if !path.exists() {
            // Removed, or never made.
            *ring = None;
        }
        if ring.is_none() {
            if !make && !path.exists() {
                return Err(io::ErrorKind::NotFound.into());
            }
            *ring = Some(Ring::open(path, KEPT)?);
        }
        ring.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn remove_file(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!(%error, path = %path.display(), "a trace that nobody needs could not be removed");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use hubward_model::Timestamp;

    use super::*;
    use crate::deliveries::DeliveryState;

    fn entry(device: &DeviceId, offset: u64) -> Entry {
        Entry {
            offset: Offset::from_raw(offset),
            device: hash(device),
            received_at: Timestamp::from_millis(1),
            durable_at: None,
            first_sent_at: None,
            settled_at: Timestamp::from_millis(2),
            attempts: 1,
            state: DeliveryState::Accepted,
            refused: None,
        }
    }

    #[tokio::test]
    async fn a_delivery_is_found_before_it_is_written_after_and_after_a_restart_until_its_integration_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        let (device, id) = ("d".parse::<DeviceId>().unwrap(), IntegrationId::random());
        let traces = Traces::new(Some(path.clone()));
        let found = async |traces: &Traces| traces.of(&id).find(device.clone(), Offset::from_raw(4)).await.is_some();
        assert!(!found(&traces).await);
        traces.of(&id).note([entry(&device, 4)]);
        assert!(found(&traces).await);
        traces.of(&id).write().await;
        assert!(found(&traces).await && lock(&traces.of(&id).waiting).is_empty());
        let again = Traces::new(Some(path.clone()));
        assert!(found(&again).await);
        again.keep_only(std::slice::from_ref(&id));
        assert!(path.join(id.as_str()).exists());
        again.remove(&id);
        assert!(!path.join(id.as_str()).exists() && !found(&again).await);
        assert!(!path.join(id.as_str()).exists(), "looking makes nothing");
        traces.of(&id).note([entry(&device, 5)]);
        traces.of(&id).write().await;
        assert!(path.join(id.as_str()).exists());
        again.keep_only(&[]);
        assert!(!path.join(id.as_str()).exists());
    }

    #[tokio::test]
    async fn without_a_folder_the_latest_are_in_memory_and_bounded() {
        let (device, id) = ("d".parse::<DeviceId>().unwrap(), IntegrationId::random());
        let trace = Traces::new(None).of(&id);
        for offset in 0..2 * WAITING as u64 {
            trace.note([entry(&device, offset)]);
        }
        Arc::clone(&trace).write().await;
        assert!(lock(&trace.waiting).len() <= WAITING);
        let last = Offset::from_raw(2 * WAITING as u64 - 1);
        assert!(Arc::clone(&trace).find(device.clone(), last).await.is_some());
        assert!(trace.find(device, Offset::START).await.is_none());
    }
}
