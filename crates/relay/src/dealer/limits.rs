//! What may wait: limits of devices and of the integration, charged to those who cause it.
//!
//! At a limit the devices to blame are named, and their senders wait; or, if the user chose so, their oldest signals
//! [expire](super::expiry).

use std::collections::HashSet;
use std::time::Duration;

use hubward_model::{DeviceId, OnFull, Timestamp};
use hubward_registry::{Alarm, AlarmKey, AlarmKind};
use tracing::warn;

use super::expiry::ToExpire;
use super::run::Run;

/// What may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) on_full: OnFull,
    /// Bytes of all devices together, and of one.
    pub(crate) all: u64,
    pub(crate) device: u64,
    /// How long, for a lane that is held.
    pub(crate) age: Duration,
}

/// Below the limit by this share those who waited may go on, and no more is given up.
fn relaxed(limit: u64) -> u64 {
    limit - limit / 8
}

impl Run {
    /// Looks who has more waiting than may be.
    pub(super) fn watch_limits(&mut self) {
        let limits = self.shared.terms().limits;
        let waiting: Vec<(&DeviceId, u64)> =
            self.members.iter().map(|(device, member)| (device, member.lane.backlog_bytes())).collect();
        let all: u64 = waiting.iter().map(|(_, bytes)| bytes).sum();
        self.is_over = all >= if self.is_over { relaxed(limits.all).max(1) } else { limits.all };
        // Where the oldest expire nobody waits, unless that does not get on.
        let factor = match limits.on_full {
            OnFull::Backpressure => 1,
            OnFull::ExpireOldest => 2,
        };
        let hard = limits.device.saturating_mul(factor);
        let soft = |device: &DeviceId| if self.over.contains(device) { relaxed(hard).max(1) } else { hard };
        let all_wait = match limits.on_full {
            OnFull::Backpressure => self.is_over,
            OnFull::ExpireOldest => all >= limits.all.saturating_mul(2),
        };
        let over: HashSet<DeviceId> = waiting
            .iter()
            .filter(|(device, bytes)| all_wait || *bytes >= soft(device))
            .map(|(device, _)| (*device).clone())
            .collect();
        let next = match limits.on_full {
            OnFull::ExpireOldest => self.next_to_expire(&limits, &waiting, all),
            OnFull::Backpressure => None,
        };
        self.end_old_alarm(&over);
        if over != self.over {
            self.tell_over(&limits, &over);
            self.over.clone_from(&over);
            self.tools_over.set(&self.shared.integration, over);
        }
        if let Some(next) = next {
            self.begin_to_expire(next);
        }
    }

    /// Whose oldest signals are to be given up now, and how much of them.
    fn next_to_expire(&self, limits: &Limits, waiting: &[(&DeviceId, u64)], all: u64) -> Option<ToExpire> {
        if self.expiry.is_under_way() || !self.held_tallies.is_empty() || !self.tallies.is_empty() {
            return None;
        }
        let never = Timestamp::from_millis(i64::MIN);
        if let Some((device, bytes)) = waiting.iter().find(|(_, bytes)| *bytes > limits.device) {
            let (device, bytes) = ((*device).clone(), bytes - relaxed(limits.device));
            return Some(ToExpire { device, bytes, before: never, reason: "device_backlog_limit" });
        }
        if all > limits.all {
            let (device, bytes) = waiting.iter().max_by_key(|(_, bytes)| *bytes)?;
            let (device, bytes) = ((*device).clone(), (all - relaxed(limits.all)).min(*bytes));
            return Some(ToExpire { device, bytes, before: never, reason: "backlog_limit" });
        }
        let age = i64::try_from(limits.age.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(Timestamp::now().as_millis().saturating_sub(age));
        let old = self.members.iter().find(|(_, member)| {
            member.lane.is_unwell()
                && member.lane.backlog_bytes() > 0
                && member.oldest.is_none_or(|oldest| oldest < before)
        });
        old.map(|(device, _)| ToExpire { device: device.clone(), bytes: 0, before, reason: "device_backlog_age" })
    }

    /// An alarm that an earlier run raised is over, unless this one finds the same as soon as everything is counted.
    fn end_old_alarm(&mut self, over: &HashSet<DeviceId>) {
        if self.knows_alarm || !self.tallies.is_empty() || !self.held_tallies.is_empty() {
            return;
        }
        self.knows_alarm = true;
        let key = AlarmKey::integration(AlarmKind::BacklogFull, &self.shared.integration);
        if over.is_empty() && self.over.is_empty() && self.shared.ledger.is_alarm_open(&key) {
            self.alarms.push((key, None));
        }
    }

    fn tell_over(&mut self, limits: &Limits, over: &HashSet<DeviceId>) {
        let integration = self.shared.integration.clone();
        let key = AlarmKey::integration(AlarmKind::BacklogFull, &integration);
        match (self.over.is_empty(), over.is_empty()) {
            (true, false) => {
                let first = over.iter().min().map(ToString::to_string).unwrap_or_default();
                warn!(%integration, devices = over.len(), first, "too much waits: their senders wait");
                self.raise(Alarm {
                    key,
                    cause: format!(
                        "more waits than may be ({} bytes of one device, {} of all): senders wait, first of all {first}",
                        limits.device, limits.all
                    ),
                    remedy: "see why signals wait, raise the limits, or let the oldest expire (on_full)".to_owned(),
                });
            }
            (false, true) => self.alarms.push((key, None)),
            _ => {}
        }
    }
}
