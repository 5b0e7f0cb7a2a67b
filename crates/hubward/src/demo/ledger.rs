//! What was sent against what was read back from the hub.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

/// Sent and read signals, device by device.
#[derive(Default)]
pub(super) struct Ledger {
    devices: HashMap<String, Lane>,
    seen: HashSet<String>,
    delays: Vec<Duration>,
    repeated: u64,
}

#[derive(Default)]
struct Lane {
    name: String,
    /// Published and not read yet, in order.
    open: VecDeque<(Bytes, Instant)>,
    sent: u64,
    acknowledged: u64,
    read: u64,
}

/// What an event of the hub was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// The first time that this signal is read.
    New { name: String, delay: Duration },
    /// A signal that was read before.
    Repeated { name: String },
    /// Not one of ours.
    Foreign,
}

/// The figures at the end.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) repeated: u64,
    pub(super) lost: u64,
    pub(super) median_ms: Option<u64>,
    pub(super) longest_ms: Option<u64>,
}

impl Ledger {
    /// A device whose signals will be sent.
    pub(super) fn expect(&mut self, hub_device_id: &str, name: &str) {
        self.devices.insert(hub_device_id.to_owned(), Lane { name: name.to_owned(), ..Lane::default() });
    }

    /// A signal is about to be published.
    pub(super) fn publishing(&mut self, hub_device_id: &str, body: Bytes, at: Instant) {
        if let Some(lane) = self.devices.get_mut(hub_device_id) {
            lane.sent += 1;
            lane.open.push_back((body, at));
        }
    }

    /// The oldest one that was not is acknowledged.
    pub(super) fn acknowledged(&mut self, hub_device_id: &str) {
        if let Some(lane) = self.devices.get_mut(hub_device_id) {
            lane.acknowledged += 1;
        }
    }

    /// The hub gave a message.
    pub(super) fn read(&mut self, hub_device_id: &str, message_id: &str, body: &Bytes, at: Instant) -> Read {
        let Some(lane) = self.devices.get_mut(hub_device_id) else { return Read::Foreign };
        if !self.seen.insert(message_id.to_owned()) {
            self.repeated += 1;
            return Read::Repeated { name: lane.name.clone() };
        }
        let Some(place) = lane.open.iter().position(|(sent, _)| sent == body) else { return Read::Foreign };
        let Some((_, sent_at)) = lane.open.remove(place) else { return Read::Foreign };
        lane.read += 1;
        let delay = at.saturating_duration_since(sent_at);
        self.delays.push(delay);
        Read::New { name: lane.name.clone(), delay }
    }

    /// Signals that were sent and not read yet.
    pub(super) fn waiting(&self) -> usize {
        self.devices.values().map(|lane| lane.open.len()).sum()
    }

    /// Signals that were acknowledged and never read.
    pub(super) fn lost(&self) -> u64 {
        self.devices.values().map(|lane| lane.acknowledged.saturating_sub(lane.read)).sum()
    }

    /// The figures.
    pub(super) fn summary(&self) -> Summary {
        let mut delays: Vec<u64> =
            self.delays.iter().map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)).collect();
        delays.sort_unstable();
        Summary {
            sent: self.devices.values().map(|lane| lane.sent).sum(),
            accepted: self.devices.values().map(|lane| lane.read).sum(),
            repeated: self.repeated,
            lost: self.lost(),
            median_ms: delays.get(delays.len() / 2).copied(),
            longest_ms: delays.last().copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_and_never_read_is_lost() {
        let mut ledger = Ledger::default();
        ledger.expect("hub-a", "a");
        let start = Instant::now();
        for body in ["1", "2", "3"] {
            ledger.publishing("hub-a", Bytes::from(body), start);
        }
        ledger.acknowledged("hub-a");
        ledger.acknowledged("hub-a");
        let later = start + Duration::from_millis(7);
        let read = ledger.read("hub-a", "m1", &Bytes::from("1"), later);
        assert_eq!(read, Read::New { name: "a".into(), delay: Duration::from_millis(7) });
        assert_eq!(ledger.read("hub-a", "m1", &Bytes::from("1"), later), Read::Repeated { name: "a".into() });
        assert_eq!(ledger.read("hub-b", "m2", &Bytes::from("2"), later), Read::Foreign);
        let summary = ledger.summary();
        assert_eq!((summary.sent, summary.accepted, summary.repeated, summary.lost), (3, 1, 1, 1));
        assert_eq!(ledger.waiting(), 2);
    }
}
