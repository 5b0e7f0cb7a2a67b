//! The same message from Microsoft's SDKs and from Hubward, compared field by field as it stands on the wire.
//!
//! A tap stands between them and a local hub: it ends TLS, notes what the client sends, and passes it on. Connections are
//! taken apart into named fields; what is random or a signature is named by its kind. Every field that differs stands in
//! `differences.txt` with the reason, and a difference that is not there fails, as does one there that is gone.
//!
//! The SDKs insist on the ports 443, 5671 and 8883: this runs in a network of its own, by `scripts/test parity`.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

mod amqp;
mod fields;
mod http;
mod mqtt;
mod send;
mod tap;

use std::collections::BTreeSet;

use fields::Fields;
use send::{Place, Way};

/// Who sends over what, and against whom Hubward is held.
const PAIRS: [(Way, &str); 4] = [(Way::Amqp, "node"), (Way::Mqtt, "node"), (Way::Mqtt, "python"), (Way::Https, "node")];
const DIFFERENCES: &str = include_str!("differences.txt");

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Microsoft's SDKs and ports of its own: scripts/test parity"]
async fn hubward_sends_what_microsofts_sdks_send_but_for_known_differences() {
    let place = Place::start().await;
    let mut found = BTreeSet::new();
    let mut shown = Vec::new();
    for (way, sdk) in PAIRS {
        let theirs = place.record_sdk(way, sdk).await;
        let ours = place.record_hubward(way).await;
        assert!(theirs.len() > 10 && ours.len() > 10, "{way:?} {sdk}: too little was seen: {theirs:?} {ours:?}");
        for field in fields::differing(&theirs, &ours) {
            let value = |fields: &Fields| fields.get(&field).cloned().unwrap_or_else(|| "absent".to_owned());
            shown.push(format!("{way} {sdk} {field}: {sdk} {}, hubward {}", value(&theirs), value(&ours)));
            found.insert(format!("{way} {sdk} {field}"));
        }
    }
    let mut known = BTreeSet::new();
    for line in DIFFERENCES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (difference, reason) = line.split_once('|').unwrap_or_else(|| panic!("no reason: {line}"));
        assert!(reason.trim().len() > 10, "no reason: {line}");
        known.insert(difference.trim().to_owned());
    }
    let new: Vec<_> = found.difference(&known).collect();
    let gone: Vec<_> = known.difference(&found).collect();
    let shown = shown.join("\n");
    assert!(new.is_empty(), "differences that are not in differences.txt: {new:#?}\nall:\n{shown}");
    assert!(gone.is_empty(), "differences of differences.txt that are none any more: {gone:#?}");
    println!("{} fields differ, each for a reason:\n{shown}", found.len());
}
