//! What a lane holds. Everything here happens under the lane's lock and waits for nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubward_iothub::message::{D2cMessage, MAX_BATCH_MESSAGES, MAX_MESSAGE_BYTES, encoded_size};
use hubward_model::{BindingState, Draft, Message, Offset, Record, Timestamp};
use tokio::time::Instant;

mod held;

use held::HeldPart;
pub(crate) use held::{Copied, HeldEntry};

use super::sent::{Sent, Tries};
use super::{Look, Shown, Standing};
use crate::deliveries::DeliveryState;
use crate::hub::{Budget, Identity};
use crate::lane::work::{Again, Work};
use crate::plan::LanePlan;

/// Who deals to a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// The main reader: the lane is attached.
    Main,
    /// The catch-up reader of this number. A lane that left a scan and joined another must get nothing from the first.
    Scan(u64),
    /// Nobody: it is detached, and asks for a catch-up reader when it can take more.
    Nobody,
}

/// What became of an offered record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is in the queue; `wake`: it is the first there.
    Taken { wake: bool },
    /// It was dealt before.
    Passed,
    /// Somebody else deals to this lane now.
    Elsewhere,
    /// The lane cannot take it and is detached from here on.
    Detached,
}

/// What a record costs beyond its own bytes: its place in the queue, and its message while under way.
const COST: usize = 640;
/// What a lane may hold that failed and has delivered nothing since.
const PROBATION_BYTES: usize = 64 << 10;
/// A queue that grew larger than this gives its memory back when it is empty.
const KEEP_CAPACITY: usize = 32;

pub(super) struct State {
    /// Dealt and not settled; the first `sending` are in the transfer under way, or on their way to be a dead letter.
    queue: VecDeque<Record>,
    bytes: usize,
    sending: usize,
    feed: Feed,
    /// The first record not yet dealt to it, as far as it knows: an attached lane has seen everything before the head.
    next: Offset,
    /// What it may hold.
    cap: usize,
    /// Signals before it are sent one by one.
    singles_until: Offset,
    /// Where it began.
    begin: Offset,
    settled_end: Offset,
    delivered: u64,
    /// Of those from `begin` on: read, and settled; and their bytes, as limits count them.
    counted: u64,
    settled: u64,
    counted_bytes: u64,
    settled_bytes: u64,
    /// What the journal need not keep for it.
    held: Option<Box<HeldPart>>,
    /// Its oldest signals are being given up: nothing is dealt to it until that is known to be on disk.
    frozen: bool,
    pub(super) dead_letters: u64,
    /// How often the signal at the front was sent.
    pub(super) attempts: u32,
    /// When what is not settled was first sent.
    pub(super) sent: Sent,
    /// It failed and is not dealt to.
    unwell: bool,
    asked: bool,
    pub(super) attached: bool,
    shows: BindingState,
    pub(super) last_error: Option<Arc<str>>,
    /// What the hub's registry said of its identity while it holds, and why.
    pub(super) found: Option<(BindingState, Arc<str>)>,
    pub(super) waits_since: Option<Instant>,
    pub(super) identity: Identity,
    pub(super) again: Vec<Again>,
    pub(super) stop: bool,
    pub(super) relink: bool,
    pub(super) poked: bool,
}

impl State {
    pub(super) fn new(plan: &LanePlan, feed: Feed, cap: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            sending: 0,
            feed,
            next: plan.position,
            cap,
            singles_until: Offset::START,
            begin: plan.position,
            settled_end: plan.position,
            delivered: plan.wanted.delivered,
            counted: 0,
            settled: 0,
            counted_bytes: 0,
            settled_bytes: 0,
            held: plan
                .wanted
                .held
                .filter(|held| feed != Feed::Main && held.until > plan.position)
                .map(|held| HeldPart::new(plan.position, held, plan.position)),
            frozen: false,
            dead_letters: plan.dead_letters,
            attempts: 0,
            sent: Sent::default(),
            unwell: false,
            asked: false,
            attached: false,
            shows: BindingState::Delivering,
            last_error: None,
            found: None,
            waits_since: None,
            identity: plan.identity.clone(),
            again: Vec::new(),
            stop: false,
            relink: false,
            poked: false,
        }
    }

    // ---- dealing

    pub(super) fn offer(&mut self, from: Feed, record: &Record, count: bool, budget: &Budget) -> Offer {
        if count {
            self.count(record.offset, weight(record));
        }
        if self.feed != from {
            return Offer::Elsewhere;
        }
        if record.offset < self.next {
            return Offer::Passed;
        }
        if self.unwell || self.stop || self.frozen || self.bytes >= self.cap.max(self.burst(budget)) {
            self.detach_at(record.offset);
            return Offer::Detached;
        }
        let cost = cost(record);
        self.bytes += cost;
        budget.take(cost);
        self.queue.push_back(kept(record));
        self.next = record.offset.next();
        Offer::Taken { wake: self.queue.len() == 1 }
    }

    fn burst(&self, budget: &Budget) -> usize {
        if self.cap > PROBATION_BYTES { budget.spare_for_a_burst() } else { 0 }
    }

    pub(super) fn count(&mut self, offset: Offset, bytes: u64) {
        if offset >= self.begin {
            self.counted += 1;
            self.counted_bytes += bytes;
        }
    }

    fn detach_at(&mut self, next: Offset) {
        self.feed = Feed::Nobody;
        self.next = next;
        self.asked = false;
    }

    /// It is to stop; what is read from `head` on is not dealt to it any more.
    pub(super) fn dismiss(&mut self, head: Offset) {
        self.stop = true;
        if self.feed == Feed::Main {
            self.detach_at(head.max(self.next));
        }
    }

    /// Whether it has to ask for a catch-up reader now; answers once.
    pub(super) fn becomes_hungry(&mut self) -> bool {
        let hungry = !self.asked && self.is_hungry();
        self.asked |= hungry;
        hungry
    }

    fn is_hungry(&self) -> bool {
        self.feed == Feed::Nobody
            && self.attached
            && !(self.unwell || self.stop || self.frozen)
            && self.bytes <= self.cap / 4
    }

    /// Where it wants a scan to begin. If it wants none now it will ask again when it does.
    pub(super) fn still_asks(&mut self) -> Option<Offset> {
        self.asked = self.is_hungry();
        self.asked.then_some(self.next)
    }

    pub(super) fn join_scan(&mut self, scan: u64) -> Option<Offset> {
        let next = self.still_asks()?;
        self.feed = Feed::Scan(scan);
        Some(next)
    }

    pub(super) fn leave_scan(&mut self, scan: u64, at: Offset, now_attached: bool) {
        if self.feed == Feed::Scan(scan) {
            self.feed = if now_attached { Feed::Main } else { Feed::Nobody };
            self.next = self.next.max(at);
            self.asked = false;
        }
    }

    pub(super) fn misses(&self, scan: u64, to: Offset) -> bool {
        self.feed == Feed::Scan(scan) && self.next < to
    }

    /// What waits behind the transfer under way is dropped, to be read again.
    pub(super) fn shed_if_stuck(&mut self, limit: Duration, budget: &Budget) -> bool {
        let stuck = self.waits_since.is_some_and(|since| since.elapsed() >= limit);
        let Some(first) = self.queue.get(self.sending).map(|record| record.offset) else { return false };
        if !stuck {
            return false;
        }
        let freed: usize = self.queue.drain(self.sending..).map(|record| cost(&record)).sum();
        self.release(freed, budget);
        self.detach_at(first);
        true
    }

    // ---- delivering

    pub(super) fn look(&self) -> Look {
        if self.stop {
            Look::Stop
        } else if self.relink {
            Look::Relink
        } else if !self.again.is_empty() || !(self.unwell || self.queue.is_empty()) {
            Look::Work
        } else {
            Look::Nothing
        }
    }

    pub(super) fn take(&mut self, most: usize, build: impl Fn(&Record) -> D2cMessage) -> Work {
        if let Some(again) = self.again.pop() {
            let message = build(&again.record);
            return Work::Again(Box::new(again), message);
        }
        if self.unwell {
            return Work::Nothing;
        }
        let mut batch = Vec::new();
        let mut size = 0;
        for record in &self.queue {
            if batch.len() == most.min(MAX_BATCH_MESSAGES) || (!batch.is_empty() && record.offset < self.singles_until)
            {
                break;
            }
            let message = build(record);
            let bytes = encoded_size(&message);
            if size + bytes > MAX_MESSAGE_BYTES {
                if batch.is_empty() {
                    // Until it is a dead letter nobody takes it from the lane.
                    self.sending = 1;
                    return Work::TooLarge { size: bytes, record: Box::new(record.clone()) };
                }
                break;
            }
            size += bytes;
            batch.push(message);
        }
        if batch.is_empty() {
            return Work::Nothing;
        }
        self.sending = batch.len();
        self.attempts += 1;
        if let Some(last) = self.queue.get(batch.len() - 1) {
            self.sent.goes(last.offset.next(), Timestamp::now());
        }
        self.waits_since = Some(Instant::now());
        Work::Batch(batch)
    }

    pub(super) fn first(&self) -> Option<&Record> {
        self.queue.front()
    }

    pub(super) fn put_back(&mut self) {
        self.sending = 0;
        self.waits_since = None;
    }

    /// Whether signals of a refused batch are left that are sent one by one.
    pub(super) fn sends_singly(&self) -> bool {
        self.queue.front().is_some_and(|record| record.offset < self.singles_until)
    }

    pub(super) fn put_back_for_singles(&mut self) {
        if let Some(last) = self.sending.checked_sub(1).and_then(|last| self.queue.get(last)) {
            self.singles_until = last.offset.next();
        }
        self.put_back();
    }

    /// Answers those of the settled that somebody asked about: all, or test messages alone. Shows all of them to `see`.
    pub(super) fn settle(
        &mut self,
        count: usize,
        as_: DeliveryState,
        all: bool,
        lane_bytes: usize,
        budget: &Budget,
        mut see: impl FnMut(&Record, Option<Tries>),
    ) -> Vec<Record> {
        let mut asked_about = Vec::new();
        let mut freed = 0;
        let mut settled = 0;
        for record in self.queue.drain(..count.min(self.queue.len())) {
            freed += cost(&record);
            settled += 1;
            self.settled_bytes += weight(&record);
            self.settled_end = record.offset.next();
            see(&record, self.sent.of(record.offset));
            if all || record.only_for.is_some() {
                asked_about.push(record);
            }
        }
        self.sent.settled(self.settled_end);
        self.release(freed, budget);
        if self.queue.is_empty() && self.held(self.next).is_none() {
            self.held = None;
        }
        self.sending = 0;
        self.attempts = 0;
        self.waits_since = None;
        self.settled += settled;
        match as_ {
            DeliveryState::Accepted => {
                self.delivered += settled;
                self.cap = lane_bytes;
                self.shows = BindingState::Delivering;
                self.last_error = None;
            }
            _ => self.dead_letters += settled,
        }
        asked_about
    }

    /// A dead letter was accepted after all.
    pub(super) fn revived(&mut self) {
        self.delivered += 1;
        self.dead_letters = self.dead_letters.saturating_sub(1);
    }

    pub(super) fn give_back(&mut self, shows: BindingState, why: &str, budget: &Budget) {
        if self.feed != Feed::Main {
            // Nothing is lost: from `next` on it is read again.
            self.detach_at(self.next);
        }
        let attached = self.attached;
        self.leave(budget);
        self.attached = attached;
        self.unwell = true;
        self.cap = PROBATION_BYTES.min(self.cap);
        self.shows = shows;
        self.last_error = Some(why.into());
    }

    /// A lane that is well meanwhile knows better.
    pub(super) fn found(&mut self, shows: BindingState, why: &str) {
        if self.unwell {
            self.found = Some((shows, why.into()));
            self.show_found();
        }
    }

    pub(super) fn show_found(&mut self) {
        if let Some((shows, why)) = &self.found {
            self.shows = *shows;
            self.last_error = Some(Arc::clone(why));
        }
    }

    pub(super) fn is_well(&mut self) {
        self.found = None;
        self.shows = BindingState::Delivering;
        self.last_error = None;
    }

    /// Gives back what it holds, so that it can go on at what it had not settled.
    pub(super) fn leave(&mut self, budget: &Budget) {
        self.attached = false;
        self.sending = 0;
        self.waits_since = None;
        if let Some(first) = self.queue.front().map(|record| record.offset) {
            self.queue = VecDeque::new();
            self.release(self.bytes, budget);
            self.detach_at(first);
        }
    }

    pub(super) fn linked(&mut self) {
        self.attached = true;
        self.unwell = false;
        self.waits_since = None;
    }

    fn release(&mut self, bytes: usize, budget: &Budget) {
        self.bytes -= bytes;
        budget.give(bytes);
        if self.queue.is_empty() && self.queue.capacity() > KEEP_CAPACITY {
            self.queue = VecDeque::new();
        }
    }

    pub(super) fn takes_interrupt(&mut self) -> bool {
        std::mem::take(&mut self.poked) || self.stop || self.relink
    }

    // ---- telling

    pub(super) fn standing(&self, head: Offset) -> Standing {
        let attached = self.feed == Feed::Main;
        let seen = if attached { head.max(self.next) } else { self.next };
        let position = self.queue.front().map_or(seen, |record| record.offset);
        Standing {
            position,
            held: self.held(position),
            attached,
            settled_end: self.settled_end,
            delivered: self.delivered,
        }
    }

    pub(super) fn backlog_bytes(&self) -> u64 {
        self.counted_bytes.saturating_sub(self.settled_bytes)
    }

    pub(super) fn is_unwell(&self) -> bool {
        self.unwell
    }

    pub(super) fn shown(&self) -> Shown {
        let waiting = u64::try_from(self.queue.len()).unwrap_or(u64::MAX);
        Shown {
            state: self.shows,
            attached: self.attached,
            delivered: self.delivered,
            backlog: self.counted.saturating_sub(self.settled).max(waiting),
            dead_letters: self.dead_letters,
            last_error: self.last_error.clone(),
        }
    }
}

/// What a signal weighs for limits of what may wait.
pub(crate) fn weight(record: &Record) -> u64 {
    (record.message.payload.len() + record.message.topic.len() + 64) as u64
}

/// What a record costs of the budget.
fn cost(record: &Record) -> usize {
    let message = &record.message;
    let properties: usize =
        message.user_properties.iter().map(|(name, value)| 2 * (name.len() + value.len()) + 96).sum();
    COST + message.payload.len() + message.topic.len() + properties
}

/// The record as a queue keeps it: its own copy, so that a few bytes never keep a whole chunk of the journal in memory;
/// without the note, which is not ours.
fn kept(record: &Record) -> Record {
    let message = &record.message;
    Record {
        offset: record.offset,
        epoch: record.epoch,
        draft: Draft {
            kind: record.kind,
            received_at: record.received_at,
            device: record.device.clone(),
            only_for: record.only_for.clone(),
            message: Message { payload: Bytes::copy_from_slice(&message.payload), ..message.clone() },
            note: Bytes::new(),
        },
    }
}
