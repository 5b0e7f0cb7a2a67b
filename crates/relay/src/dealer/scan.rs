//! Catch-up readers: they serve detached lanes until those meet the main reader.
//!
//! A scan begins where the first lane in need wants to go on, and serves all detached lanes whose place is near. It ends
//! when it meets the main reader (its lanes are attached from there on: both places are known here, in one task, so no
//! record is skipped or dealt twice), when no lane is left in it (a lane that can take no more leaves and asks again
//! later), or when it had its turn and others wait.

use std::collections::HashMap;
use std::sync::Arc;

use hubward_journal::Chunk;
use hubward_model::{DeviceId, Offset, Record};

use super::run::Run;
use crate::lane::{Feed, Lane, Offer};
use crate::records::Reads;

/// How many scans an integration has at a time.
const SCANS: usize = 2;
/// Lanes whose places are no further apart than this share a scan.
pub(super) const NEAR: u64 = 50_000;
/// How many chunks a scan may read while others wait.
pub(super) const TURN: usize = 256;

/// A catch-up reader and the lanes it serves.
pub(super) struct Scan {
    pub(super) reads: Reads,
    number: u64,
    lanes: HashMap<DeviceId, Arc<Lane>>,
    chunks: usize,
}

impl Run {
    /// Gives lanes that ask a scan, as far as there are any to give.
    pub(super) fn begin_scans(&mut self) {
        if self.stands_still() {
            return;
        }
        self.begin_held_scan();
        self.join_running_scans();
        while self.scans.len() < SCANS {
            let Some(from) = self.first_in_need() else { return };
            self.scans_begun += 1;
            let Run { hungry, members, scans_begun: number, .. } = self;
            let mut lanes = HashMap::new();
            let mut begin = from;
            hungry.retain(|device| {
                let Some(lane) = members.get(device).map(|member| &member.lane) else { return false };
                let Some(next) = lane.still_asks() else { return false };
                if lane.wants_held().is_some() {
                    return true;
                }
                if from.lag(next) > NEAR || next.lag(from) > NEAR {
                    return true;
                }
                if let Some(next) = lane.join_scan(*number) {
                    begin = begin.min(next);
                    lanes.insert(device.clone(), Arc::clone(lane));
                }
                false
            });
            let number = self.scans_begun;
            if begin >= self.head {
                // Nothing lies between it and the main reader.
                lanes.values().for_each(|lane| lane.leave_scan(number, begin, true));
            } else if !lanes.is_empty() {
                self.scans.push(Scan { number, reads: self.records.reads(begin), lanes, chunks: 0 });
            }
        }
    }

    /// Where the lane that has asked for longest wants to begin.
    fn first_in_need(&mut self) -> Option<Offset> {
        let Run { hungry, members, .. } = self;
        hungry.retain(|device| members.get(device).is_some_and(|member| member.lane.still_asks().is_some()));
        // What stands in the hold file comes first, by another reader.
        let lanes = hungry.iter().filter_map(|device| members.get(device)).map(|member| &member.lane);
        lanes.filter(|lane| lane.wants_held().is_none()).find_map(|lane| lane.still_asks())
    }

    /// Lanes that ask and lie a little ahead of a scan come along.
    fn join_running_scans(&mut self) {
        let Run { scans, hungry, members, .. } = self;
        for scan in scans {
            let at = scan.reads.position();
            hungry.retain(|device| {
                let Some(lane) = members.get(device).map(|member| &member.lane) else { return false };
                let Some(next) = lane.still_asks() else { return false };
                if lane.wants_held().is_some() || next < at || at.lag(next) > NEAR {
                    return true;
                }
                if lane.join_scan(scan.number).is_some() {
                    scan.lanes.insert(device.clone(), Arc::clone(lane));
                }
                false
            });
        }
    }

    /// A scan got a chunk.
    pub(super) fn scanned(&mut self, which: usize, chunk: Chunk) {
        let head = self.head;
        let scan = &mut self.scans[which];
        match chunk {
            Chunk::Records(records) => scan.deal(&records, head, &self.shared.integration),
            Chunk::Gap { from, to } if scan.lanes.values().any(|lane| lane.misses(scan.number, to)) => {
                self.gap(from, to)
            }
            // Nobody it serves needs what is gone.
            Chunk::Gap { .. } => scan.lanes.clear(),
        }
        let scan = &mut self.scans[which];
        scan.chunks += 1;
        let at = scan.reads.position();
        let met = at >= head;
        let had_its_turn = scan.chunks >= TURN && !self.hungry.is_empty();
        if met || had_its_turn || scan.lanes.is_empty() {
            let scan = self.scans.swap_remove(which);
            // Meeting: what the scan read beyond the head was not dealt, the main reader deals it.
            let end = if met { head } else { at };
            scan.lanes.values().for_each(|lane| lane.leave_scan(scan.number, end, met));
        }
        self.begin_scans();
    }

    /// A lane is leaving: no scan serves it any more.
    pub(super) fn leave_scans(&mut self, device: &DeviceId) {
        for scan in &mut self.scans {
            scan.lanes.remove(device);
        }
        if let Some(scan) = &mut self.held_scan {
            scan.leave(device);
        }
    }
}

impl Scan {
    fn deal(&mut self, records: &[Record], head: Offset, integration: &hubward_model::IntegrationId) {
        let mut woken = HashMap::new();
        for record in records.iter().take_while(|record| record.offset < head) {
            let for_us = record.kind == hubward_model::Kind::Signal
                && record.only_for.as_ref().is_none_or(|only| only == integration);
            let Some(device) = record.device.as_ref().filter(|_| for_us) else { continue };
            let Some(lane) = self.lanes.get(device) else { continue };
            match lane.offer(Feed::Scan(self.number), record, false) {
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
