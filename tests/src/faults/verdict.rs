//! Whether what is at the hub is what was sent: every rule that holds whatever was broken.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use super::findings::GivenUp;
use super::story::{Signal, Story};
use crate::events::Arrivals;

/// What a case's plan names; everything else must not be.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// A body with one of these texts in it may be a dead letter instead of arriving.
    pub dead_letters: Vec<String>,
    /// These devices (ids in the hub) may have signals expired.
    pub expiries: BTreeSet<String>,
    /// These signals (id in the hub, body) may be lost: they were damaged on disk.
    pub damaged: BTreeSet<(String, Bytes)>,
}

/// What must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the first line of each says it; the fields say where")]
pub enum Violation {
    /// It was acknowledged, and is neither at the hub nor given up as the plan names.
    Lost { device: String, body: String },
    /// It was given up, and the plan does not name it.
    DeadLetter { device: String, body: String, reason: String },
    /// Signals of this device expired, and the plan does not name it.
    Expired { device: String, count: u64 },
    /// By the last occurrence of each message-id it comes before one that was sent earlier.
    Order { device: String, earlier: String, later: String },
    /// One signal has two message-ids.
    TwoIds { device: String, body: String, ids: (String, String) },
    /// One message-id has two bodies.
    TwoBodies { device: String, id: String, bodies: (String, String) },
    /// Nobody sent it as this device.
    Unknown { device: String, body: String },
    /// It has no message-id.
    NoId { device: String, body: String },
}

/// Compares what was sent with what is at the hub and what was given up. Nothing is wrong if nothing is answered.
#[must_use]
pub fn judge(story: &Story, arrivals: &Arrivals, given_up: &GivenUp, allowed: &Allowed) -> Vec<Violation> {
    let lanes = story.lanes();
    let bodies: BTreeMap<&str, BTreeSet<&[u8]>> =
        lanes.iter().map(|(device, sent)| (&**device, sent.iter().map(|one| &*one.body).collect())).collect();
    let mut violations = Vec::new();
    for event in &arrivals.events {
        let known = bodies.get(&*event.device_id).is_some_and(|sent| sent.contains(&*event.body));
        let (device, body) = (event.device_id.clone(), text(&event.body));
        if !known {
            violations.push(Violation::Unknown { device: device.clone(), body: body.clone() });
        }
        if event.message_id.is_empty() {
            violations.push(Violation::NoId { device, body });
        }
    }
    for (device, count) in &given_up.expired {
        if *count > 0 && !allowed.expiries.contains(device) {
            violations.push(Violation::Expired { device: device.clone(), count: *count });
        }
    }
    for letter in &given_up.dead_letters {
        let named = allowed.dead_letters.iter().any(|part| text(&letter.body).contains(part));
        if !named {
            let (device, body, reason) = (letter.device.clone(), text(&letter.body), letter.reason.clone());
            violations.push(Violation::DeadLetter { device, body, reason });
        }
    }
    for (device, sent) in &lanes {
        ids(device, arrivals, &mut violations);
        lost(device, sent, arrivals, given_up, allowed, &mut violations);
        order(device, sent, arrivals, &mut violations);
    }
    violations
}

fn ids(device: &str, arrivals: &Arrivals, violations: &mut Vec<Violation>) {
    let (mut bodies, mut ids) = (HashMap::<&str, &[u8]>::new(), HashMap::<&[u8], &str>::new());
    for event in arrivals.events.iter().filter(|event| event.device_id == device && !event.message_id.is_empty()) {
        let (id, body) = (event.message_id.as_str(), event.body.as_slice());
        let first = *bodies.entry(id).or_insert(body);
        if first != body {
            let bodies = (text(first), text(body));
            violations.push(Violation::TwoBodies { device: device.to_owned(), id: id.to_owned(), bodies });
        }
        let first = *ids.entry(body).or_insert(id);
        if first != id {
            let ids = (first.to_owned(), id.to_owned());
            violations.push(Violation::TwoIds { device: device.to_owned(), body: text(body), ids });
        }
    }
}

fn lost(
    device: &str,
    sent: &[Signal],
    arrivals: &Arrivals,
    given_up: &GivenUp,
    allowed: &Allowed,
    violations: &mut Vec<Violation>,
) {
    let at_hub: BTreeSet<&[u8]> =
        arrivals.events.iter().filter(|event| event.device_id == device).map(|event| event.body.as_slice()).collect();
    let letters: BTreeSet<&[u8]> =
        given_up.dead_letters.iter().filter(|letter| letter.device == device).map(|letter| &*letter.body).collect();
    let mut missing: Vec<&Signal> = sent
        .iter()
        .filter(|signal| signal.acknowledged)
        .filter(|signal| !at_hub.contains(&*signal.body) && !letters.contains(&*signal.body))
        .filter(|signal| !allowed.damaged.contains(&(device.to_owned(), signal.body.clone())))
        .collect();
    if allowed.expiries.contains(device) {
        // Which ones expired is known by their number: the oldest of those that are missing.
        let expired = given_up.expired.get(device).copied().unwrap_or_default();
        let expired = usize::try_from(expired).unwrap_or(usize::MAX).min(missing.len());
        missing.drain(..expired);
    }
    let lost = missing.into_iter().map(|one| Violation::Lost { device: device.to_owned(), body: text(&one.body) });
    violations.extend(lost);
}

fn order(device: &str, sent: &[Signal], arrivals: &Arrivals, violations: &mut Vec<Violation>) {
    let places: HashMap<&[u8], usize> = sent.iter().enumerate().map(|(place, one)| (&*one.body, place)).collect();
    // A later occurrence takes the place of an earlier one of the same message-id.
    let mut last: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (at, event) in arrivals.events.iter().enumerate().filter(|(_, event)| event.device_id == device) {
        if let Some(place) = places.get(event.body.as_slice()) {
            last.insert(&event.message_id, (at, *place));
        }
    }
    let mut in_order: Vec<(usize, usize)> = last.into_values().collect();
    in_order.sort_unstable();
    for pair in in_order.windows(2) {
        let ((_, earlier), (_, later)) = (pair[0], pair[1]);
        if later < earlier {
            let (earlier, later) = (text(&sent[earlier].body), text(&sent[later].body));
            violations.push(Violation::Order { device: device.to_owned(), earlier, later });
        }
    }
}

/// A body for people: the bodies of the suite begin with what names them.
fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned()
}
