//! What may wait: limits of devices and of the integration, charged to those who cause it.
//!
//! At a limit the devices to blame are named, and their senders wait; or, if the user chose so, their oldest signals
//! expire: counted, listed, and on disk before progress passes them.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hubward_journal::{Chunk, HoldPosition};
use hubward_model::{DeviceId, IntegrationId, Kind, Offset, OnFull, Record, Timestamp};
use hubward_registry::{Alarm, AlarmKey, AlarmKind, Held, NewExpired};
use tracing::{error, warn};

use super::held::Follow;
use super::run::Run;
use crate::lane::weight;
use crate::ledger::Ledger;
use crate::records::{Hold, Records};

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

/// Signals being given up.
pub(super) type Expiring = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What became of it.
pub(super) struct Outcome {
    device: DeviceId,
    reason: &'static str,
    /// What no longer waits: signals, and bytes.
    count: u64,
    bytes: u64,
    /// How many of them expired; the others had become dead letters before.
    listed: u64,
    /// All that was given up stands before it.
    to: Offset,
    /// When the first that is left was received.
    oldest: Option<Timestamp>,
    /// Where in the hold file what is left begins.
    place: Option<HoldPosition>,
    noted: bool,
}

/// What is to be given up.
struct Job {
    records: Records,
    hold: Hold,
    ledger: Ledger,
    integration: IntegrationId,
    device: DeviceId,
    position: Offset,
    held: Option<Held>,
    end: Offset,
    reason: &'static str,
    /// So many bytes, and what was received before.
    bytes: u64,
    before: Timestamp,
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
        if let Some((device, bytes, before, reason)) = next {
            self.begin_to_expire(device, bytes, before, reason);
        }
    }

    /// Whose oldest signals are to be given up now, and how much of them.
    fn next_to_expire(
        &self,
        limits: &Limits,
        waiting: &[(&DeviceId, u64)],
        all: u64,
    ) -> Option<(DeviceId, u64, Timestamp, &'static str)> {
        if self.expiring.is_some() || !self.held_tallies.is_empty() || !self.tallies.is_empty() {
            return None;
        }
        let never = Timestamp::from_millis(i64::MIN);
        if let Some((device, bytes)) = waiting.iter().find(|(_, bytes)| *bytes > limits.device) {
            return Some(((*device).clone(), bytes - relaxed(limits.device), never, "device_backlog_limit"));
        }
        if all > limits.all {
            let (device, bytes) = waiting.iter().max_by_key(|(_, bytes)| *bytes)?;
            let wanted = (all - relaxed(limits.all)).min(*bytes);
            return Some(((*device).clone(), wanted, never, "backlog_limit"));
        }
        let age = i64::try_from(limits.age.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(Timestamp::now().as_millis().saturating_sub(age));
        let old = self.members.iter().find(|(_, member)| {
            member.lane.is_unwell()
                && member.lane.backlog_bytes() > 0
                && member.oldest.is_none_or(|oldest| oldest < before)
        });
        old.map(|(device, _)| (device.clone(), 0, before, "device_backlog_age"))
    }

    fn begin_to_expire(&mut self, device: DeviceId, bytes: u64, before: Timestamp, reason: &'static str) {
        let Some(member) = self.members.get(&device) else { return };
        // A lane with a transfer under way gets on by itself, or is tried again.
        let Some((position, held)) = member.lane.freeze(self.head) else { return };
        let job = Job {
            records: self.records.clone(),
            hold: self.hold.clone(),
            ledger: self.shared.ledger.clone(),
            integration: self.shared.integration.clone(),
            device,
            position,
            held,
            end: self.counted_to,
            reason,
            bytes,
            before,
        };
        self.expiring = Some(Box::pin(job.run()));
    }

    /// Signals were given up, or could not be.
    pub(super) fn expired(&mut self, outcome: Outcome) {
        self.expiring = None;
        let Outcome { device, reason, count, bytes, listed, to, oldest, place, noted } = outcome;
        let Some(member) = self.members.get_mut(&device) else { return };
        member.oldest = oldest;
        if !noted || count == 0 {
            member.lane.thaw(Offset::START, None, 0, 0);
            self.finish_copy();
            return;
        }
        member.lane.thaw(to, place, count, bytes);
        self.finish_copy();
        if listed == 0 {
            return;
        }
        let integration = self.shared.integration.clone();
        warn!(%integration, %device, count = listed, bytes, reason, "the oldest signals expired");
        let label = integration.as_str().to_owned();
        metrics::counter!("hubward_expired_total", "integration" => label, "reason" => reason).increment(listed);
        self.shared.note_change();
        self.raise(Alarm {
            key: AlarmKey::binding(AlarmKind::Expired, &integration, &device),
            cause: format!("the oldest signals expired: {listed} at the limit {reason}, and perhaps more before"),
            remedy: "see `hubward integration expired`; see why the device's signals wait, or raise the limit"
                .to_owned(),
        });
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

/// Gathers what is to be given up.
struct Gathered {
    /// Dead letters that a run recorded whose progress was lost: on show already.
    buried: HashSet<Offset>,
    count: u64,
    bytes: u64,
    /// Signals and bytes without the buried.
    listed: (u64, u64),
    to: Offset,
    oldest: Option<Timestamp>,
    place: Option<HoldPosition>,
}

impl Gathered {
    /// Takes the next of the device; answers whether to go on.
    fn take(&mut self, job: &Job, record: &Record) -> bool {
        if self.bytes >= job.bytes && record.received_at >= job.before {
            self.oldest = Some(record.received_at);
            return false;
        }
        self.count += 1;
        self.bytes += weight(record);
        if !self.buried.contains(&record.offset) {
            self.listed.0 += 1;
            self.listed.1 += weight(record);
        }
        self.to = record.offset.next();
        true
    }
}

impl Job {
    async fn run(self) -> Outcome {
        let mut gathered = Gathered {
            buried: HashSet::new(),
            count: 0,
            bytes: 0,
            listed: (0, 0),
            to: self.position,
            oldest: None,
            place: None,
        };
        let noted = match self.ledger.buried_from(&self.integration, &self.device, self.position).await {
            Ok(buried) => {
                gathered.buried = buried;
                self.gather(&mut gathered).await && self.note(&gathered).await
            }
            Err(failure) => {
                error!(device = %self.device, error = %failure, "what is to expire cannot be told from dead letters: kept");
                false
            }
        };
        let Gathered { count, bytes, listed: (listed, _), to, oldest, place, .. } = gathered;
        Outcome { device: self.device, reason: self.reason, count, bytes, listed, to, oldest, place, noted }
    }

    /// Puts on disk what is given up; answers whether progress may pass it.
    async fn note(&self, gathered: &Gathered) -> bool {
        let (count, bytes) = gathered.listed;
        if count == 0 {
            return true;
        }
        let new = NewExpired {
            integration: self.integration.clone(),
            device: self.device.clone(),
            from: self.position,
            to: gathered.to,
            count,
            bytes,
            reason: self.reason,
            at: Timestamp::now(),
        };
        match self.ledger.add_expired(new).await {
            Ok(()) => true,
            Err(failure) => {
                error!(device = %self.device, error = %failure, "what expired could not be noted: kept");
                false
            }
        }
    }

    /// Reads what waits, the oldest first, in the hold file and then in the journal.
    async fn gather(&self, gathered: &mut Gathered) -> bool {
        let mut from = self.position;
        if let Some(held) = self.held {
            let mut follow = Follow { next: self.position, until: held.until };
            let mut place = HoldPosition::from_raw(held.from);
            loop {
                let chunk = match self.hold.read(place).await {
                    Ok(chunk) => chunk,
                    Err(failure) => {
                        error!(device = %self.device, error = %failure, "the hold file cannot be read");
                        return false;
                    }
                };
                if chunk.records.is_empty() {
                    break;
                }
                for (at, record) in &chunk.records {
                    if record.device.as_ref() != Some(&self.device) || !follow.takes(record) {
                        // What a copy on its way has added for this device will be needed: nothing moves past that.
                        continue;
                    }
                    gathered.place = Some(*at);
                    if !gathered.take(self, record) {
                        return true;
                    }
                }
                place = chunk.next;
            }
            from = held.until;
        }
        let mut reads = self.records.reads(from);
        while reads.position() < self.end {
            let records = match reads.next().await {
                Ok(Chunk::Records(records)) => records,
                Ok(Chunk::Gap { .. }) => continue,
                Err(failure) => {
                    error!(device = %self.device, error = %failure, "the journal cannot be read");
                    return false;
                }
            };
            for record in records.iter().take_while(|record| record.offset < self.end) {
                let ours = record.kind == Kind::Signal
                    && record.device.as_ref() == Some(&self.device)
                    && record.only_for.as_ref().is_none_or(|only| *only == self.integration);
                if ours && !gathered.take(self, record) {
                    return true;
                }
            }
        }
        true
    }
}
