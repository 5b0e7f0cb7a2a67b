//! Giving up the oldest signals of a device that has more waiting than may be, one device at a time: they are read, noted on
//! disk together with the progress that passes them, and only then passed.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;

use hubward_journal::{Chunk, HoldPosition};
use hubward_model::{DeviceId, IntegrationId, Kind, Offset, Record, Timestamp};
use hubward_registry::{Alarm, AlarmKey, AlarmKind, Error, Held, NewExpired};
use tracing::{error, warn};

use super::held::Follow;
use super::run::Run;
use crate::lane::weight;
use crate::ledger::Ledger;
use crate::records::{Hold, Records};

/// How far giving up is.
pub(super) enum Expiry {
    Idle,
    /// The lane is frozen, and what waits for it is read.
    Reading(Pin<Box<dyn Future<Output = Box<GivenUp>> + Send>>),
    /// To be noted as soon as no progress is being saved: that was taken before, and would undo the note.
    ToNote(Box<GivenUp>),
    Noting,
}

/// What is to expire.
pub(super) struct ToExpire {
    pub(super) device: DeviceId,
    pub(super) reason: &'static str,
    /// So many bytes, and what was received before.
    pub(super) bytes: u64,
    pub(super) before: Timestamp,
}

/// What was found to give up.
pub(super) struct GivenUp {
    device: DeviceId,
    reason: &'static str,
    from: Offset,
    /// All that is given up stands before it.
    to: Offset,
    /// What no longer waits: signals, and bytes.
    count: u64,
    bytes: u64,
    /// Those of them that expire; the others became dead letters before.
    listed: (u64, u64),
    /// When the first that is left was received.
    oldest: Option<Timestamp>,
    /// Where in the hold file what is left begins.
    place: Option<HoldPosition>,
    /// Dead letters that a run recorded whose progress was lost: on show already.
    buried: HashSet<Offset>,
}

impl Expiry {
    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self, Self::Idle)
    }

    pub(super) fn is_reading(&self) -> bool {
        matches!(self, Self::Reading(_))
    }

    /// Waits until everything is read. May be given up at any time.
    pub(super) async fn read(&mut self) -> Box<GivenUp> {
        match self {
            Self::Reading(reading) => reading.await,
            _ => std::future::pending().await,
        }
    }

    /// What is to be noted now, if anything is.
    pub(super) fn take_to_note(&mut self) -> Option<Box<GivenUp>> {
        match std::mem::replace(self, Self::Idle) {
            Self::ToNote(given_up) => {
                *self = Self::Noting;
                Some(given_up)
            }
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Run {
    pub(super) fn begin_to_expire(&mut self, what: ToExpire) {
        let Some(member) = self.members.get(&what.device) else { return };
        // A lane with a transfer under way gets on by itself, or is tried again.
        let Some((position, held)) = member.lane.freeze(self.head) else { return };
        let job = Job {
            records: self.records.clone(),
            hold: self.hold.clone(),
            ledger: self.shared.ledger.clone(),
            integration: self.shared.integration.clone(),
            position,
            held,
            end: self.counted_to,
            what,
        };
        self.expiry = Expiry::Reading(Box::pin(job.run()));
    }

    /// What is to be given up was read; it is noted next, if anything expires.
    pub(super) fn found_to_expire(&mut self, found: Box<GivenUp>) {
        if found.listed.0 == 0 {
            self.expired(*found, true);
        } else {
            self.expiry = Expiry::ToNote(found);
            self.save_if_due();
        }
    }

    /// Signals were given up, or could not be noted.
    pub(super) fn expired(&mut self, given_up: GivenUp, noted: bool) {
        self.expiry = Expiry::Idle;
        let GivenUp { device, reason, count, bytes, listed: (listed, _), to, oldest, place, .. } = given_up;
        let passes = noted && count > 0;
        if let Some(member) = self.members.get_mut(&device) {
            member.oldest = oldest;
            if listed > 0 && passes {
                member.saved.settled = Some(to);
            }
        }
        let leaving = self.leaving.get(&device).map(|(member, _)| member);
        match self.members.get(&device).or(leaving) {
            Some(member) if passes => member.lane.thaw(to, place, count, bytes),
            Some(member) => member.lane.thaw(Offset::START, None, 0, 0),
            None if passes => self.passes_without_lane(&device, to),
            None => {}
        }
        self.finish_copy();
        if listed == 0 || !passes {
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

    /// The lane left meanwhile: what stands for its binding passes what expired as well.
    fn passes_without_lane(&mut self, device: &DeviceId, to: Offset) {
        if let Some(lane) = self.departed.get_mut(device) {
            lane.settled = lane.settled.max(Some(to));
        }
        if let Some(absent) = self.absent.get_mut(device) {
            absent.position = absent.position.max(to);
            absent.wanted.settled = absent.wanted.settled.max(Some(to));
        }
    }
}

impl GivenUp {
    /// Takes the next of the device; answers whether to go on.
    fn take(&mut self, what: &ToExpire, record: &Record) -> bool {
        if self.bytes >= what.bytes && record.received_at >= what.before {
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

    /// Puts on disk what expires, and that progress passed it.
    pub(super) async fn note(&self, ledger: &Ledger, integration: IntegrationId) -> Result<(), Error> {
        let (count, bytes) = self.listed;
        let new = NewExpired {
            integration,
            device: self.device.clone(),
            from: self.from,
            to: self.to,
            count,
            bytes,
            reason: self.reason,
            at: Timestamp::now(),
        };
        let noted = ledger.add_expired(new).await;
        if let Err(failure) = &noted {
            error!(device = %self.device, error = %failure, "what expired could not be noted: kept");
        }
        noted
    }
}

/// Reads what is to be given up.
struct Job {
    records: Records,
    hold: Hold,
    ledger: Ledger,
    integration: IntegrationId,
    position: Offset,
    held: Option<Held>,
    end: Offset,
    what: ToExpire,
}

impl Job {
    async fn run(self) -> Box<GivenUp> {
        let ToExpire { device, reason, .. } = &self.what;
        let nothing = || GivenUp {
            device: device.clone(),
            reason,
            from: self.position,
            to: self.position,
            count: 0,
            bytes: 0,
            listed: (0, 0),
            oldest: None,
            place: None,
            buried: HashSet::new(),
        };
        let buried = match self.ledger.buried_from(&self.integration, device, self.position).await {
            Ok(buried) => buried,
            Err(failure) => {
                error!(%device, error = %failure, "what is to expire cannot be told from dead letters: kept");
                return Box::new(nothing());
            }
        };
        let mut given_up = GivenUp { buried, ..nothing() };
        let read = self.read(&mut given_up).await;
        Box::new(if read { given_up } else { nothing() })
    }

    /// Reads what waits, the oldest first, in the hold file and then in the journal.
    async fn read(&self, given_up: &mut GivenUp) -> bool {
        let mut from = self.position;
        if let Some(held) = self.held {
            let mut follow = Follow { next: self.position, until: held.until };
            let mut place = HoldPosition::from_raw(held.from);
            loop {
                let chunk = match self.hold.read(place).await {
                    Ok(chunk) => chunk,
                    Err(failure) => {
                        error!(device = %self.what.device, error = %failure, "the hold file cannot be read");
                        return false;
                    }
                };
                if chunk.records.is_empty() {
                    break;
                }
                for (at, record) in &chunk.records {
                    if record.device.as_ref() != Some(&self.what.device) || !follow.takes(record) {
                        // What a copy on its way has added for this device will be needed: nothing moves past that.
                        continue;
                    }
                    given_up.place = Some(*at);
                    if !given_up.take(&self.what, record) {
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
                    error!(device = %self.what.device, error = %failure, "the journal cannot be read");
                    return false;
                }
            };
            for record in records.iter().take_while(|record| record.offset < self.end) {
                let ours = record.kind == Kind::Signal
                    && record.device.as_ref() == Some(&self.what.device)
                    && record.only_for.as_ref().is_none_or(|only| *only == self.integration);
                if ours && !given_up.take(&self.what, record) {
                    return true;
                }
            }
        }
        true
    }
}
