//! What every device sent, in its order, and what was acknowledged of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What was sent so far, by the device's id in the hub. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Story(Arc<Mutex<BTreeMap<String, Vec<Signal>>>>);

/// A signal that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Its payload: no other signal has the same.
    pub body: Bytes,
    /// Whether the server acknowledged it. If not, its fate is unknown: it may arrive or not.
    pub acknowledged: bool,
}

impl Story {
    /// A signal is about to be sent; answers its place.
    pub fn sends(&self, device: &str, body: Bytes) -> usize {
        let mut all = self.all();
        let signals = all.entry(device.to_owned()).or_default();
        signals.push(Signal { body, acknowledged: false });
        signals.len() - 1
    }

    /// The signal at this place is acknowledged.
    pub fn acknowledged(&self, device: &str, place: usize) {
        if let Some(signal) = self.all().get_mut(device).and_then(|signals| signals.get_mut(place)) {
            signal.acknowledged = true;
        }
    }

    /// How many signals of this device were sent.
    pub fn sent(&self, device: &str) -> usize {
        self.all().get(device).map_or(0, Vec::len)
    }

    /// How many signals were acknowledged, of all devices.
    pub fn count_acknowledged(&self) -> usize {
        self.all().values().flatten().filter(|signal| signal.acknowledged).count()
    }

    /// How many signals of this device were acknowledged.
    pub fn acknowledged_of(&self, device: &str) -> usize {
        self.all().get(device).map_or(0, |signals| signals.iter().filter(|signal| signal.acknowledged).count())
    }

    /// The signals of every device as they stand now.
    pub fn lanes(&self) -> BTreeMap<String, Vec<Signal>> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Signal>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
