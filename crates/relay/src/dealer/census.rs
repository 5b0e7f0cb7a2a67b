//! Counting the backlog: signals that wait, though nobody deals them yet.
//!
//! Each signal of a lane is counted once: by the main reader when it passes it, or, while that stands still, by the census
//! reader that runs ahead of it to the end of the journal. A lane that begins behind them has the part before counted
//! apart, in a tally.

use std::collections::HashMap;
use std::sync::Arc;

use hubward_journal::Chunk;
use hubward_model::{DeviceId, Offset};

use super::deal::addressee;
use super::run::Run;
use crate::lane::Lane;
use crate::records::Reads;

/// Counts what lies before the census for lanes that begin there.
pub(super) struct Tally {
    pub(super) reads: Reads,
    until: Offset,
    /// Each from its own place on.
    lanes: HashMap<DeviceId, (Arc<Lane>, Offset)>,
}

impl Run {
    /// Runs a census while the main reader stands still, or has more than it can deal.
    pub(super) fn keep_census(&mut self) {
        let waits = self.pending.is_some() || self.stands_still();
        if waits && self.census.is_none() && self.counted_to < self.records.durable() {
            self.census = Some(self.records.reads(self.counted_to));
        }
    }

    /// The census got a chunk.
    pub(super) fn counted(&mut self, chunk: Chunk) {
        if let Chunk::Records(records) = chunk {
            for record in records.iter().filter(|record| record.offset >= self.counted_to) {
                if let Some(member) = addressee(&self.members, &self.shared.integration, record) {
                    member.lane.count(record);
                }
            }
        }
        if let Some(census) = &self.census {
            self.counted_to = self.counted_to.max(census.position());
        }
        self.finish_copy();
    }

    /// Counts what lies between the places of `lanes` and the census.
    pub(super) fn begin_tally(&mut self, from: Offset, lanes: HashMap<DeviceId, (Arc<Lane>, Offset)>) {
        if from < self.counted_to {
            self.tallies.push_back(Tally { reads: self.records.reads(from), until: self.counted_to, lanes });
        }
    }

    /// The first tally got a chunk.
    pub(super) fn tallied(&mut self, chunk: Chunk) {
        let Some(tally) = self.tallies.front() else { return };
        if let Chunk::Records(records) = chunk {
            for record in records.iter().take_while(|record| record.offset < tally.until) {
                let for_us = record.kind == hubward_model::Kind::Signal
                    && record.only_for.as_ref().is_none_or(|only| *only == self.shared.integration);
                let of = record.device.as_ref().filter(|_| for_us).and_then(|device| tally.lanes.get(device));
                if let Some((lane, _)) = of.filter(|(_, from)| record.offset >= *from) {
                    lane.count(record);
                }
            }
        }
        if tally.reads.position() >= tally.until {
            self.tallies.pop_front();
        }
    }
}
