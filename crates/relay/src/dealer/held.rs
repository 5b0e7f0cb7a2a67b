//! Reading hold files: for lanes that need what stands there before they go on in the journal, and to count it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hubward_journal::{HeldChunk, HoldError, HoldPosition};
use hubward_model::{DeviceId, Offset, Record};
use tokio::time::sleep;
use tracing::error;

use super::run::Run;
use super::scan::{NEAR, TURN};
use crate::lane::{HeldEntry, Lane, Offer};
use crate::records::{Hold, kept_after};

/// How long to wait before a hold file that could not be read is tried again.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// So often, in chunks, lanes are told how far it has come.
const NOTE_EVERY: usize = 16;

type Reading = Pin<Box<dyn Future<Output = Result<HeldChunk, HoldError>> + Send>>;

/// A reader of a hold file.
pub(super) struct HeldReads {
    hold: Hold,
    place: HoldPosition,
    reading: Option<Reading>,
}

/// A reader of the hold file, and the lanes it serves.
pub(super) struct HeldScan {
    pub(super) reads: HeldReads,
    number: u64,
    lanes: HashMap<DeviceId, Arc<Lane>>,
    chunks: usize,
    over_damage: bool,
}

/// Counts what stands in the hold file for lanes that begin there, and finds where it ends; also for bindings without lane.
pub(super) struct HeldTally {
    pub(super) reads: HeldReads,
    lanes: HashMap<DeviceId, (Option<Arc<Lane>>, Follow)>,
}

/// Follows one device's records through a hold file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Follow {
    /// What comes next stands at this offset or after it.
    pub(crate) next: Offset,
    /// What it needs there stands before this offset.
    pub(crate) until: Offset,
}

impl Follow {
    /// Whether `record` is the next; others are of a copy that was given up, or were had before.
    pub(crate) fn takes(&mut self, record: &Record) -> bool {
        let takes = record.offset >= self.next && record.offset < self.until && kept_after(record) <= self.next;
        if takes {
            self.next = record.offset.next();
        }
        takes
    }
}

impl HeldReads {
    fn new(hold: Hold, place: HoldPosition) -> Self {
        Self { hold, place, reading: None }
    }

    /// The next entries; none: the end. May be given up at any time.
    pub(super) async fn next(&mut self) -> Result<HeldChunk, HoldError> {
        let (hold, place) = (&self.hold, self.place);
        let reading = self.reading.get_or_insert_with(|| {
            let hold = hold.clone();
            Box::pin(async move {
                let read = hold.read(place).await;
                if read.is_err() {
                    sleep(READ_AGAIN).await;
                }
                read
            })
        });
        let read = reading.await;
        self.reading = None;
        if let Ok(chunk) = &read {
            self.place = chunk.next;
        }
        read
    }
}

impl Run {
    /// Gives lanes that ask for what stands in the hold file a reader.
    pub(super) fn begin_held_scan(&mut self) {
        if let Some(scan) = &mut self.held_scan {
            let at = scan.reads.place;
            scan.gather(&mut self.hungry, &self.members, |place| place >= at);
            return;
        }
        let wanted = |device: &DeviceId| self.members.get(device).and_then(|member| member.lane.wants_held());
        let Some(from) = self.hungry.iter().find_map(wanted) else { return };
        self.scans_begun += 1;
        let mut scan = HeldScan {
            reads: HeldReads::new(self.hold.clone(), from),
            number: self.scans_begun,
            lanes: HashMap::new(),
            chunks: 0,
            over_damage: false,
        };
        let near = |place: HoldPosition| place.to_raw().abs_diff(from.to_raw()) <= NEAR;
        if let Some(first) = scan.gather(&mut self.hungry, &self.members, near) {
            scan.reads.place = first;
            self.held_scan = Some(scan);
        }
    }

    /// The hold file was read on.
    pub(super) fn held_scanned(&mut self, read: Result<HeldChunk, HoldError>) {
        let Some(scan) = &mut self.held_scan else { return };
        match read {
            Ok(chunk) => {
                if chunk.damaged {
                    scan.over_damage = true;
                    self.damaged_hold();
                }
                let Some(scan) = &mut self.held_scan else { return };
                let is_end = chunk.records.is_empty() && chunk.next >= self.hold_end;
                self.hold_end = self.hold_end.max(chunk.next);
                scan.deal(&chunk);
                scan.chunks += 1;
                let others_wait = scan.chunks >= TURN && !self.hungry.is_empty();
                if is_end || others_wait || scan.lanes.is_empty() {
                    if let Some(scan) = self.held_scan.take() {
                        let place = scan.reads.place;
                        scan.lanes.values().for_each(|lane| lane.leave_held(scan.number, place, is_end));
                    }
                } else if scan.chunks.is_multiple_of(NOTE_EVERY) {
                    let place = scan.reads.place;
                    scan.lanes.values().for_each(|lane| lane.noted_held(scan.number, place, false));
                }
            }
            Err(failure) => self.failed_to_read_hold(&failure),
        }
        self.begin_scans();
    }

    /// Counts what stands in the hold file for these lanes.
    pub(super) fn begin_held_tally(
        &mut self,
        lanes: HashMap<DeviceId, (Option<Arc<Lane>>, Follow)>,
        from: HoldPosition,
    ) {
        if !lanes.is_empty() {
            self.held_tallies.push_back(HeldTally { reads: HeldReads::new(self.hold.clone(), from), lanes });
        }
    }

    /// Looks up where the parts of bindings without lane end, as far as that is not known.
    pub(super) fn look_up_ends(&mut self) {
        let unknown = self.absent.iter().filter(|(device, _)| !self.is_leaving(device));
        let ends: Vec<_> =
            unknown.filter_map(|(device, absent)| Some((device.clone(), absent.unknown_end()?))).collect();
        let sought = |device: &DeviceId| {
            self.held_tallies.iter().any(|tally| tally.lanes.get(device).is_some_and(|(lane, _)| lane.is_none()))
        };
        let ends: Vec<_> = ends.into_iter().filter(|(device, _)| !sought(device)).collect();
        let Some(from) = ends.iter().map(|(_, (held, _))| held.from).min() else { return };
        let lanes = ends.into_iter().map(|(device, (_, follow))| (device, (None, follow))).collect();
        self.begin_held_tally(lanes, HoldPosition::from_raw(from));
    }

    /// The first of them got a chunk.
    pub(super) fn held_tallied(&mut self, read: Result<HeldChunk, HoldError>) {
        let Some(tally) = self.held_tallies.front_mut() else { return };
        match read {
            Ok(chunk) => {
                for (_, record) in &chunk.records {
                    let of = record.device.as_ref().and_then(|device| tally.lanes.get_mut(device));
                    if let Some((lane, follow)) = of
                        && follow.takes(record)
                        && let Some(lane) = lane
                    {
                        lane.count(record);
                    }
                }
                if chunk.records.is_empty() {
                    for (device, (lane, follow)) in &tally.lanes {
                        match lane {
                            Some(lane) => lane.followed_held(follow.next),
                            None => {
                                if let Some(absent) = self.absent.get_mut(device) {
                                    absent.followed_held(*follow);
                                }
                            }
                        }
                    }
                    self.held_tallies.pop_front();
                }
            }
            Err(failure) => self.failed_to_read_hold(&failure),
        }
    }

    fn failed_to_read_hold(&self, failure: &HoldError) {
        error!(integration = %self.shared.integration, error = %failure, "the hold file cannot be read");
    }

    fn damaged_hold(&mut self) {
        error!(integration = %self.shared.integration, "entries of the hold file are damaged: skipped");
        let cause = "entries of the hold file cannot be read: signals among them are lost".to_owned();
        self.damaged(cause, "look at the disk and the system's log; what devices send from now on is kept anew");
    }
}

impl HeldScan {
    /// Takes on those that ask and whose place is `fit`; answers the first place.
    fn gather(
        &mut self,
        hungry: &mut std::collections::VecDeque<DeviceId>,
        members: &HashMap<DeviceId, super::run::Member>,
        fit: impl Fn(HoldPosition) -> bool,
    ) -> Option<HoldPosition> {
        let mut first = None;
        hungry.retain(|device| {
            let Some(lane) = members.get(device).map(|member| &member.lane) else { return false };
            let Some(place) = lane.wants_held() else { return true };
            if !fit(place) {
                return true;
            }
            if lane.join_scan(self.number).is_some() {
                first = Some(first.map_or(place, |first: HoldPosition| first.min(place)));
                self.lanes.insert(device.clone(), Arc::clone(lane));
            }
            false
        });
        first
    }

    /// A lane is leaving.
    pub(super) fn leave(&mut self, device: &DeviceId) {
        self.lanes.remove(device);
    }

    fn deal(&mut self, chunk: &HeldChunk) {
        let mut woken = HashMap::new();
        for (place, record) in &chunk.records {
            let Some(device) = record.device.as_ref() else { continue };
            let Some(lane) = self.lanes.get(device) else { continue };
            let entry = HeldEntry { place: *place, after: kept_after(record), over_damage: self.over_damage };
            match lane.offer_held(self.number, record, entry) {
                Offer::Taken { wake } => {
                    if wake {
                        woken.insert(device.clone(), Arc::clone(lane));
                    }
                }
                Offer::Passed => {}
                Offer::Detached | Offer::Elsewhere => {
                    self.lanes.remove(device);
                }
            }
        }
        woken.values().for_each(|lane| lane.wake());
    }
}
