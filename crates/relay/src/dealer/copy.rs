//! Copying what lanes still need of old segments to the integration's hold file, so that the journal may let them go.
//!
//! A copy reads the journal once, from the first place a lane needs, and adds to the hold file what is for lanes that have
//! not come so far. When all of it is on disk the dealer decides, in its own task, for every lane at once: what it was
//! not dealt yet it gets from the hold file, first, and in order. If the main reader itself had not come so far (its hub
//! is away, or it is paused) it goes on behind what was copied. Only when that is saved the journal's pin follows.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use hubward_journal::{Chunk, HoldError, HoldPosition, ReadError};
use hubward_model::{DeviceId, Kind, Offset, Record};
use hubward_registry::Held;
use tracing::error;

use super::held::Follow;
use super::run::Run;
use crate::lane;
use crate::plan::Reach;
use crate::records::{Hold, Reads, kept};

/// A copy on its way.
pub(super) struct Copy {
    reads: Reads,
    until: Offset,
    targets: HashMap<DeviceId, Target>,
    appending: Option<Appending>,
    read_all: bool,
}

/// A lane that needs something of it.
struct Target {
    /// From here on.
    begin: Offset,
    /// Everything of the device before it was copied.
    next: Offset,
    /// Behind the last that was copied.
    after: Offset,
    first: Option<HoldPosition>,
}

type Appending = Pin<Box<dyn Future<Output = (Vec<DeviceId>, Result<HoldPosition, HoldError>)> + Send>>;

/// A binding that has no lane, because its identity is not made yet or cannot be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Absent {
    /// Where its lane will begin.
    pub(crate) position: Offset,
    pub(crate) saved: hubward_registry::Lane,
    /// What is to be saved for it now.
    pub(crate) wanted: hubward_registry::Lane,
    /// Behind the last of what stands in the hold file for it, as soon as that was copied or looked up since the start.
    pub(crate) last: Option<Offset>,
}

impl Absent {
    /// The first offset it will need of the journal.
    pub(crate) fn needs(&self) -> Offset {
        self.reach().needs
    }

    /// How far it is.
    pub(super) fn reach(&self) -> Reach {
        Reach::new(self.position, &self.wanted)
    }

    /// Its part of the hold file, if it is not known where that ends, and how to follow it there.
    pub(super) fn unknown_end(&self) -> Option<(Held, Follow)> {
        let held = self.wanted.held.filter(|held| held.until > self.position && self.last.is_none())?;
        Some((held, Follow { next: self.position, until: held.until }))
    }

    /// The hold file was followed for it, to its end.
    pub(super) fn followed_held(&mut self, follow: Follow) {
        if self.unknown_end().is_some_and(|(held, _)| held.until == follow.until) {
            self.last = Some(follow.next);
        }
    }
}

/// What a copy did.
pub(super) enum Copied {
    Read(Result<Chunk, ReadError>),
    Appended(Vec<DeviceId>, Result<HoldPosition, HoldError>),
}

impl Copy {
    /// The next step. May be given up at any time.
    pub(super) async fn next(&mut self) -> Copied {
        if let Some(appending) = &mut self.appending {
            let (devices, appended) = appending.await;
            self.appending = None;
            return Copied::Appended(devices, appended);
        }
        if self.read_all {
            // It is finished as soon as the dealer may.
            return std::future::pending().await;
        }
        Copied::Read(self.reads.next().await)
    }

    /// Takes what concerns somebody.
    fn take(&mut self, records: &[Record], integration: &hubward_model::IntegrationId, hold: &Hold) {
        let (mut devices, mut kept_records) = (Vec::new(), Vec::new());
        for record in records.iter().take_while(|record| record.offset < self.until) {
            let for_us = record.kind == Kind::Signal && record.only_for.as_ref().is_none_or(|only| only == integration);
            let Some(device) = record.device.as_ref().filter(|_| for_us) else { continue };
            let Some(target) = self.targets.get_mut(device).filter(|target| record.offset >= target.next) else {
                continue;
            };
            devices.push(device.clone());
            kept_records.push(kept(record, target.after));
            target.next = record.offset.next();
            target.after = target.next;
        }
        if !devices.is_empty() {
            let hold = hold.clone();
            self.appending = Some(Box::pin(async move { (devices, hold.append(kept_records).await) }));
        }
    }
}

impl Run {
    /// Begins to copy what is to go and somebody needs.
    pub(super) fn begin_copy(&mut self) {
        let until = *self.to_go.borrow();
        if self.copy.is_some() || until <= self.pinned_from || !self.held_tallies.is_empty() {
            return;
        }
        let target = |begin: Offset, after: Option<Offset>| Target {
            begin,
            next: begin,
            after: after.unwrap_or(begin),
            first: None,
        };
        let lanes = self.members.iter().map(|(device, member)| {
            (device, target(member.lane.standing(self.head).needs(), member.lane.held_last(self.head)))
        });
        // Where an absent one's part of the hold file ends is looked up first, if it is older than this start.
        let known =
            self.absent.iter().filter(|(device, absent)| absent.unknown_end().is_none() && !self.is_leaving(device));
        let absent = known.map(|(device, absent)| (device, target(absent.needs(), absent.last)));
        let targets: HashMap<DeviceId, Target> = lanes
            .chain(absent)
            .filter(|(_, target)| target.begin < until)
            .map(|(device, target)| (device.clone(), target))
            .collect();
        if targets.is_empty() && self.head >= until {
            return;
        }
        let from = targets.values().map(|target| target.begin).min().unwrap_or(until);
        let read_all = from >= until;
        let reads = self.records.reads(from);
        self.copy = Some(Copy { reads, until, targets, appending: None, read_all });
        self.finish_copy();
    }

    /// A copy did a step.
    pub(super) fn copied(&mut self, copied: Copied) {
        let Some(copy) = &mut self.copy else { return };
        match copied {
            Copied::Read(Ok(chunk)) => {
                let mut lost = None;
                match chunk {
                    Chunk::Records(records) => copy.take(&records, &self.shared.integration, &self.hold),
                    Chunk::Gap { from, to } => lost = Some((from, to)),
                }
                copy.read_all = copy.reads.position() >= copy.until;
                if let Some((from, to)) = lost {
                    self.gap(from, to);
                }
            }
            Copied::Read(Err(failure)) => self.failed_to_read(&failure),
            Copied::Appended(devices, Ok(first)) => {
                let mut place = first;
                for device in devices {
                    if let Some(target) = copy.targets.get_mut(&device) {
                        target.first.get_or_insert(place);
                    }
                    place = place.next();
                }
                self.hold_end = self.hold_end.max(place);
            }
            Copied::Appended(_, Err(failure)) => {
                error!(integration = %self.shared.integration, error = %failure, "signals could not be copied to the hold file");
                // What was added is left out by those who read, and tried again.
                self.copy = None;
                return;
            }
        }
        self.finish_copy();
    }

    /// All of it is on disk: decides what each lane gets from where.
    pub(super) fn finish_copy(&mut self) {
        let Some(copy) = &self.copy else { return };
        let until = copy.until;
        // Who reads the journal from behind what is copied, to count it or to give it up, finds it there until it is done.
        if !copy.read_all || copy.appending.is_some() || !self.tallies.is_empty() || self.expiry.is_under_way() {
            return;
        }
        let overtaken = self.head < until;
        if overtaken {
            if self.counted_to < until {
                // What is passed by must be counted; the census, or the main reader, is on its way there.
                return;
            }
            let uncovered = |(device, member): (&DeviceId, &super::run::Member)| {
                member.lane.standing(self.head).needs() < until && !copy.targets.contains_key(device)
            };
            if self.members.iter().any(uncovered) {
                self.copy = None;
                return;
            }
        }
        let Some(copy) = self.copy.take() else { return };
        for (device, target) in copy.targets {
            let copied = lane::Copied { begin: target.begin, last: target.after, first: target.first };
            if let Some(member) = self.members.get(&device) {
                member.lane.cover(self.head, until, copied);
            } else if let Some(absent) = self.absent.get_mut(&device) {
                absent.cover(until, copied);
            }
        }
        if overtaken {
            self.pending = None;
            self.main = self.records.reads(until);
            self.advance(until);
        }
        self.shared.note_change();
        self.save_if_due();
    }
}

impl Absent {
    fn cover(&mut self, until: Offset, copied: lane::Copied) {
        let lane::Copied { begin, last, first } = copied;
        if self.needs() != begin {
            return;
        }
        self.last = Some(last);
        let held = self.wanted.held.filter(|held| held.until > self.position);
        match (held, first) {
            (Some(held), _) => self.wanted.held = Some(Held { until, ..held }),
            (None, Some(first)) => self.wanted.held = Some(Held { until, from: first.to_raw() }),
            (None, None) => {
                self.position = until;
                self.wanted.held = None;
            }
        }
        self.wanted.settled = Some(self.position);
    }
}
