//! One device in one integration: a queue that the dealer fills, and a task that empties it into the hub.

mod sent;
mod state;
mod task;
#[cfg(test)]
mod tests;
mod work;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_journal::HoldPosition;
use hubward_model::{BindingState, DeviceId, Offset, Record};
use hubward_registry::Held;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::deliveries::{DeliveryEvent, DeliveryState};
use crate::hub::Identity;
use crate::message::{self, Sender};
use crate::plan::LanePlan;
use crate::shared::{Shared, Terms};
use crate::trace;
pub(crate) use sent::Tries;
use state::State;
pub(crate) use state::{Copied, Feed, HeldEntry, Offer, weight};
pub(crate) use task::run;
pub(crate) use work::{Again, Work};

/// One device in one integration.
pub(crate) struct Lane {
    pub(crate) device: DeviceId,
    pub(crate) shared: Arc<Shared>,
    pybytes: bool,
    state: Mutex<State>,
    wake: Notify,
}

/// Where a lane stands, for progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Everything before it is settled.
    pub(crate) position: Offset,
    /// What it needs of its integration's hold file.
    pub(crate) held: Option<Held>,
    /// It is dealt to by the main reader, so the low-water offset may speak for it.
    pub(crate) attached: bool,
    /// The exclusive end of the last signal it settled.
    pub(crate) settled_end: Offset,
    pub(crate) delivered: u64,
}

impl Standing {
    /// The first offset it needs of the journal.
    pub(crate) fn needs(&self) -> Offset {
        self.held.map_or(self.position, |held| held.until)
    }

    /// What is saved of a lane that no low-water offset speaks for.
    pub(crate) fn saved(&self) -> hubward_registry::Lane {
        hubward_registry::Lane { settled: Some(self.position), delivered: self.delivered, held: self.held }
    }
}

/// What a lane shows.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) state: BindingState,
    pub(crate) attached: bool,
    pub(crate) delivered: u64,
    pub(crate) backlog: u64,
    pub(crate) dead_letters: u64,
    pub(crate) last_error: Option<Arc<str>>,
}

impl Lane {
    /// A lane that goes on at its plan's position. It is attached to the main reader if that has not passed it.
    pub(crate) fn new(shared: Arc<Shared>, plan: &LanePlan, head: Offset) -> Arc<Self> {
        // What stands behind the main reader it gets from that, though it may stand in the hold file too.
        let feed = if plan.position < head { Feed::Nobody } else { Feed::Main };
        let cap = shared.options.lane_bytes;
        let state = Mutex::new(State::new(plan, feed, cap));
        Arc::new(Self { device: plan.device.clone(), pybytes: plan.pybytes, shared, state, wake: Notify::new() })
    }

    // ---- the dealer's side

    /// Offers a record of this device. With `count` it is counted into the backlog.
    pub(crate) fn offer(&self, from: Feed, record: &Record, count: bool) -> Offer {
        self.lock().offer(from, record, count, &self.shared.hub.budget)
    }

    /// Counts a record into the backlog, nothing else.
    pub(crate) fn count(&self, record: &Record) {
        self.lock().count(record.offset, weight(record));
    }

    /// Where in the hold file it wants to go on, if it wants to go on there now.
    pub(crate) fn wants_held(&self) -> Option<HoldPosition> {
        self.lock().wants_held()
    }

    /// Offers a record from the hold file.
    pub(crate) fn offer_held(&self, scan: u64, record: &Record, entry: HeldEntry) -> Offer {
        self.lock().offer_held(scan, record, entry, &self.shared.hub.budget)
    }

    /// The scan of this number read the hold file up to `place`; `all`: to its end.
    pub(crate) fn noted_held(&self, scan: u64, place: HoldPosition, all: bool) {
        self.lock().noted_held(scan, place, all);
    }

    /// The scan of the hold file that served the lane ended at `place`; `all`: there is no more.
    pub(crate) fn leave_held(&self, scan: u64, place: HoldPosition, all: bool) {
        let hungry = {
            let mut state = self.lock();
            state.noted_held(scan, place, all);
            state.leave_scan(scan, Offset::START, false);
            state.becomes_hungry()
        };
        self.tell_if(hungry);
    }

    /// Behind the last of what stands in the hold file for it.
    pub(crate) fn held_last(&self, head: Offset) -> Option<Offset> {
        self.lock().held_last(head)
    }

    /// The hold file was followed up to this offset.
    pub(crate) fn followed_held(&self, last: Offset) {
        self.lock().followed_held(last);
    }

    /// What it needs before `until` was copied to the hold file.
    pub(crate) fn cover(&self, head: Offset, until: Offset, copied: Copied) {
        let hungry = {
            let mut state = self.lock();
            state.cover(head, until, copied);
            state.becomes_hungry()
        };
        self.tell_if(hungry);
    }

    /// Its oldest signals are to be given up; see `State`.
    pub(crate) fn freeze(&self, head: Offset) -> Option<(Offset, Option<Held>)> {
        self.lock().freeze(head, &self.shared.hub.budget)
    }

    /// So many signals before `to` were given up.
    pub(crate) fn thaw(&self, to: Offset, place: Option<HoldPosition>, count: u64, bytes: u64) {
        let hungry = {
            let mut state = self.lock();
            state.thaw(to, place, count, bytes);
            state.becomes_hungry()
        };
        self.tell_if(hungry);
    }

    /// Bytes of its signals that wait, as limits count them.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.lock().backlog_bytes()
    }

    /// Whether it is held, for a reason of its own.
    pub(crate) fn is_unwell(&self) -> bool {
        self.lock().is_unwell()
    }

    /// Whether the scan of this number serves it and has not come to `to`.
    pub(crate) fn misses(&self, scan: u64, to: Offset) -> bool {
        self.lock().misses(scan, to)
    }

    /// Wakes the task.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Where it wants a scan to begin, if it wants one now.
    pub(crate) fn still_asks(&self) -> Option<Offset> {
        self.lock().still_asks()
    }

    /// The scan of this number takes the lane on, if it wants one now; answers where to begin.
    pub(crate) fn join_scan(&self, scan: u64) -> Option<Offset> {
        self.lock().join_scan(scan)
    }

    /// The scan that served the lane ended at `at`; everything before was offered.
    pub(crate) fn leave_scan(&self, scan: u64, at: Offset, now_attached: bool) {
        let hungry = {
            let mut state = self.lock();
            state.leave_scan(scan, at, now_attached);
            state.becomes_hungry()
        };
        // It may need less of the journal although it settled nothing.
        self.shared.note_change();
        self.tell_if(hungry);
    }

    /// Where it stands; `head` is the main reader's.
    pub(crate) fn standing(&self, head: Offset) -> Standing {
        self.lock().standing(head)
    }

    /// Takes back what waits behind the transfer under way if the lane has been stuck since before `limit`.
    pub(crate) fn shed_if_stuck(&self, limit: Duration) {
        let hungry = {
            let mut state = self.lock();
            state.shed_if_stuck(limit, &self.shared.hub.budget) && state.becomes_hungry()
        };
        self.tell_if(hungry);
    }

    /// Its task has ended: what it held is given back.
    pub(crate) fn leave(&self) {
        self.lock().leave(&self.shared.hub.budget);
    }

    /// Ends the lane after the transfer under way.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_one();
    }

    /// The same for good: from now on nobody deals to it, so that it does not stand where the main reader has come to.
    pub(crate) fn dismiss(&self, head: Offset) {
        self.lock().dismiss(head);
        self.wake.notify_one();
    }

    /// Opens a new link, with `identity` if there is one.
    pub(crate) fn relink(&self, identity: Option<Identity>) {
        let mut state = self.lock();
        if let Some(identity) = identity {
            state.identity = identity;
        }
        state.relink = true;
        drop(state);
        self.wake.notify_one();
    }

    /// Ends the pause it is in, if it is in one.
    pub(crate) fn poke(&self) {
        self.lock().poked = true;
        self.wake.notify_one();
    }

    /// What asking the hub's registry found of its identity: shown as long as it holds, whatever the hub says on the wire.
    pub(crate) fn found(&self, shows: BindingState, why: &str) {
        self.lock().found(shows, why);
    }

    /// What was found of its identity is over: it tries again now.
    pub(crate) fn look_again(&self) {
        let mut state = self.lock();
        state.found = None;
        state.poked = true;
        drop(state);
        self.wake.notify_one();
    }

    /// Sends a dead letter again, before anything else.
    pub(crate) fn again(&self, again: Again) {
        let mut state = self.lock();
        state.again.push(again);
        state.poked = true;
        drop(state);
        self.wake.notify_one();
    }

    pub(crate) fn identity(&self) -> Identity {
        self.lock().identity.clone()
    }

    /// Dead letters were discarded or accepted: this many are left.
    pub(crate) fn set_dead_letters(&self, count: u64) {
        let mut state = self.lock();
        state.dead_letters = count;
        state.poked = true;
        drop(state);
        self.wake.notify_one();
    }

    pub(crate) fn shown(&self) -> Shown {
        self.lock().shown()
    }

    /// How the signal at `offset` was tried, if it was and is not settled.
    pub(crate) fn tries(&self, offset: Offset) -> Option<Tries> {
        self.lock().sent.of(offset)
    }

    /// Whether everything before `offset` is settled here; `head` was read before.
    pub(crate) fn has_settled_before(&self, offset: Offset, head: Offset) -> bool {
        self.lock().standing(head).position >= offset
    }

    // ---- the task's side

    /// What there is to do.
    fn look(&self) -> Look {
        self.lock().look()
    }

    /// The next work, built by the settings of now: of at most so many messages.
    fn take(&self, terms: &Terms, most: usize) -> Work {
        let name = if terms.message.topic.wants_name() { self.shared.ledger.device_name(&self.device) } else { None };
        let sender =
            Sender { journal: &self.shared.journal, device: &self.device, name: name.as_ref(), pybytes: self.pybytes };
        self.lock().take(most, |record| message::build(record, &sender, &terms.message))
    }

    /// The transfer was not taken; it is sent again.
    fn put_back(&self) {
        self.lock().put_back();
    }

    /// The hub refused the transfer for good: its signals are sent one by one.
    fn put_back_for_singles(&self) {
        self.lock().put_back_for_singles();
    }

    /// Whether signals of a refused batch are left that are sent one by one.
    fn sends_singly(&self) -> bool {
        self.lock().sends_singly()
    }

    /// The first `count` signals are settled: accepted by the hub, or dead letters for the reason in `word`.
    fn settle(&self, count: usize, word: Result<(), &str>) {
        let as_ = if word.is_ok() { DeliveryState::Accepted } else { DeliveryState::DeadLetter };
        let listened = self.shared.events.receiver_count() > 0;
        let mut seen = Vec::with_capacity(count);
        let (settled, hungry) = {
            let mut state = self.lock();
            let (cap, budget) = (self.shared.options.lane_bytes, &self.shared.hub.budget);
            let see = |record: &Record, tries: Option<Tries>| seen.push((record.offset, record.received_at, tries));
            let settled = state.settle(count, as_, listened, cap, budget, see);
            (settled, state.becomes_hungry())
        };
        let now = hubward_model::Timestamp::now();
        if word.is_ok() {
            self.shared.accepted(seen.iter().map(|(_, received_at, _)| *received_at), now);
        }
        let device = trace::hash(&self.device);
        self.shared.trace.note(seen.into_iter().map(|(offset, received_at, tries)| trace::Entry {
            offset,
            device,
            received_at,
            durable_at: self.shared.records.committed_at(offset),
            first_sent_at: tries.map(|tries| tries.first),
            settled_at: now,
            attempts: tries.map_or(0, |tries| tries.attempts),
            state: as_,
            refused: tries.and_then(|tries| tries.refused),
        }));
        self.shared.note_change();
        self.tell_if(hungry);
        for record in settled {
            if message::is_test(&record) {
                self.shared.trials.tell(record.offset, word.map_err(str::to_owned));
            }
            if listened {
                self.event(&record, as_);
            }
        }
    }

    fn event(&self, record: &Record, state: DeliveryState) {
        // Without listeners there is nobody to tell.
        drop(self.shared.events.send(DeliveryEvent {
            device: self.device.clone(),
            offset: record.offset,
            integration: self.shared.integration.clone(),
            state,
            message_id: message::message_id(record, &self.shared.journal),
            at: hubward_model::Timestamp::now(),
        }));
    }

    /// The lane cannot deliver: it gives back all it holds and shows why.
    fn give_back(&self, shows: BindingState, why: &str) {
        self.lock().give_back(shows, why, &self.shared.hub.budget);
    }

    /// Its identity is refused: as `give_back`; what was found of it already is the better word.
    fn give_back_refused(&self, shows: BindingState, why: &str) {
        let mut state = self.lock();
        state.give_back(shows, why, &self.shared.hub.budget);
        state.show_found();
    }

    /// Its identity is taken again.
    fn is_well(&self) {
        self.lock().is_well();
    }

    /// Its link is up: it may be dealt to.
    fn linked(&self) {
        let hungry = {
            let mut state = self.lock();
            state.linked();
            state.becomes_hungry()
        };
        self.tell_if(hungry);
    }

    fn unlinked(&self) {
        self.lock().attached = false;
    }

    /// The hub refused what was under way; the word for it.
    fn note_refusal(&self, finding: &'static str) {
        self.lock().sent.refused(finding);
    }

    fn note_error(&self, why: &str) {
        self.lock().last_error = Some(why.into());
    }

    /// A link is about to be opened: from now on the lane waits for the hub. Answers whose link.
    fn begins_to_link(&self) -> Identity {
        let mut state = self.lock();
        state.relink = false;
        state.attached = false;
        state.waits_since = Some(Instant::now());
        state.identity.clone()
    }

    /// No link can be opened: dead letters that wait to be sent again are told so.
    fn refuse_again(&self, why: &str) {
        for again in std::mem::take(&mut self.lock().again) {
            // Who no longer waits needs no word.
            drop(again.word.send(Err(why.to_owned())));
        }
    }

    /// The signal at the front, and how often it was sent.
    fn first(&self) -> Option<(Record, u32)> {
        let state = self.lock();
        state.first().map(|record| (record.clone(), state.attempts))
    }

    fn has_room_for_dead_letters(&self) -> bool {
        self.lock().dead_letters < self.shared.options.dead_letters_per_device
    }

    /// A dead letter was accepted after all.
    fn revived(&self) {
        self.lock().revived();
        self.shared.note_change();
    }

    /// Waits until somebody wakes the lane.
    async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits until something ends a wait: stop, another link wanted, or a poke.
    async fn interrupted(&self) {
        while !self.lock().takes_interrupt() {
            self.wake.notified().await;
        }
    }

    fn tell_if(&self, hungry: bool) {
        if hungry {
            self.shared.hungry.ask(self.device.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is to do for the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Nothing,
    Work,
    Relink,
    Stop,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("device", &self.device).finish_non_exhaustive()
    }
}
