//! What was sent against everything at the hub, after all blows.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use serde::Serialize;

/// What was sent, device by device (id in the hub).
#[derive(Debug, Default)]
pub(super) struct Sent {
    devices: BTreeMap<String, Vec<Signal>>,
}

#[derive(Debug)]
struct Signal {
    body: Bytes,
    acknowledged: bool,
    /// Its device has published it so often: again whenever it had no acknowledgement.
    published: u32,
}

/// What is at the hub of one device, in its order: message-id and body.
pub(super) type AtHub = BTreeMap<String, Vec<(String, Bytes)>>;

/// The figures at the end.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    pub(super) sent: u64,
    pub(super) accepted: u64,
    /// More occurrences of what is at the hub, with the same message-id.
    pub(super) repeated: u64,
    /// Signals that their device published again because no acknowledgement came, and that so became two.
    pub(super) sent_again: u64,
    pub(super) dead_letters: u64,
    pub(super) lost: u64,
    pub(super) order_kept: bool,
    /// A message-id over two bodies, a body under more ids than its device published it, or what nobody sent.
    pub(super) mistaken: u64,
}

impl Summary {
    /// Whether everything that was sent is there, once for each time it was published, and in order.
    pub(super) fn is_right(&self) -> bool {
        self.accepted == self.sent
            && self.lost == 0
            && self.dead_letters == 0
            && self.order_kept
            && self.mistaken == 0
            && self.sent > 0
    }
}

impl Sent {
    /// A signal is published, again if it is the last one of its device.
    pub(super) fn publishing(&mut self, device: &str, body: &Bytes) {
        let signals = self.devices.entry(device.to_owned()).or_default();
        match signals.last_mut() {
            Some(last) if last.body == *body => last.published += 1,
            _ => signals.push(Signal { body: body.clone(), acknowledged: false, published: 1 }),
        }
    }

    /// The last signal of this device is acknowledged.
    pub(super) fn acknowledged(&mut self, device: &str) {
        if let Some(signal) = self.devices.get_mut(device).and_then(|signals| signals.last_mut()) {
            signal.acknowledged = true;
        }
    }

    /// How many signals were sent.
    pub(super) fn count(&self) -> usize {
        self.devices.values().map(Vec::len).sum()
    }

    /// Whether each one is at the hub.
    pub(super) fn all_at(&self, hub: &AtHub) -> bool {
        self.devices.iter().all(|(device, signals)| {
            let there: HashSet<&Bytes> = hub.get(device).into_iter().flatten().map(|(_, body)| body).collect();
            signals.iter().all(|signal| there.contains(&signal.body))
        })
    }

    /// Compares.
    pub(super) fn compare(&self, hub: &AtHub, dead_letters: u64) -> Summary {
        let mut summary = Summary { dead_letters, order_kept: true, ..Summary::default() };
        for device in hub.keys().filter(|device| !self.devices.contains_key(*device)) {
            summary.mistaken += hub[device].len() as u64;
        }
        for (device, signals) in &self.devices {
            let events = hub.get(device).map(Vec::as_slice).unwrap_or_default();
            let places: HashMap<&Bytes, usize> =
                signals.iter().enumerate().map(|(place, signal)| (&signal.body, place)).collect();
            let (mut bodies, mut ids) = (HashMap::<&str, &Bytes>::new(), HashMap::<&Bytes, HashSet<&str>>::new());
            let mut last: HashMap<&str, (usize, usize)> = HashMap::new();
            for (at, (id, body)) in events.iter().enumerate() {
                let Some(place) = places.get(body) else {
                    summary.mistaken += 1;
                    continue;
                };
                summary.mistaken += u64::from(id.is_empty());
                match bodies.insert(id, body) {
                    None => {}
                    Some(before) if before == body => summary.repeated += 1,
                    Some(_) => summary.mistaken += 1,
                }
                ids.entry(body).or_default().insert(id);
                last.insert(id, (at, *place));
            }
            summary.sent += signals.len() as u64;
            for signal in signals {
                let times = ids.get(&signal.body).map_or(0, |ids| ids.len() as u64);
                summary.accepted += u64::from(times > 0);
                summary.lost += u64::from(times == 0 && signal.acknowledged);
                summary.sent_again += times.saturating_sub(1).min(u64::from(signal.published - 1));
                summary.mistaken += times.saturating_sub(u64::from(signal.published));
            }
            let mut in_order: Vec<(usize, usize)> = last.into_values().collect();
            in_order.sort_unstable();
            summary.order_kept &= in_order.is_sorted_by_key(|(_, place)| *place);
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> Sent {
        let mut sent = Sent::default();
        for body in ["1", "2", "3"] {
            sent.publishing("d", &Bytes::from(body));
            sent.acknowledged("d");
        }
        sent
    }

    fn summary(sent: &Sent, events: &[(&str, &'static str)]) -> Summary {
        let events = events.iter().map(|(id, body)| ((*id).to_owned(), Bytes::from(*body))).collect();
        sent.compare(&[("d".to_owned(), events)].into(), 0)
    }

    #[test]
    fn everything_once_or_repeated_with_its_message_id_is_right() {
        let found = summary(&sent(), &[("a", "1"), ("b", "2"), ("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!((found.sent, found.accepted, found.repeated, found.lost), (3, 3, 2, 0));
        assert!(found.is_right(), "{found:?}");
    }

    #[test]
    fn what_is_lost_overtaken_or_mistaken_is_not_right() {
        let lost = summary(&sent(), &[("a", "1"), ("c", "3")]);
        assert_eq!((lost.lost, lost.is_right()), (1, false));
        let overtaken = summary(&sent(), &[("b", "2"), ("a", "1"), ("c", "3")]);
        assert_eq!((overtaken.order_kept, overtaken.is_right()), (false, false));
        let renamed = summary(&sent(), &[("a", "1"), ("b", "2"), ("x", "2"), ("c", "3")]);
        assert_eq!((renamed.mistaken, renamed.is_right()), (1, false));
        let confused = summary(&sent(), &[("a", "1"), ("b", "2"), ("b", "3")]);
        assert_eq!((confused.mistaken, confused.is_right()), (1, false));
        let foreign = summary(&sent(), &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
        assert_eq!((foreign.mistaken, foreign.is_right()), (1, false));
        let dead = sent().compare(&AtHub::new(), 1);
        assert_eq!((dead.dead_letters, dead.is_right()), (1, false));
    }

    #[test]
    fn a_signal_may_be_two_if_its_device_published_it_twice() {
        let mut sent = sent();
        sent.publishing("d", &Bytes::from("4"));
        sent.publishing("d", &Bytes::from("4"));
        let found = summary(&sent, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "4")]);
        assert_eq!((found.sent, found.accepted, found.sent_again, found.repeated), (4, 4, 1, 0));
        assert!(found.is_right(), "{found:?}");
    }
}
