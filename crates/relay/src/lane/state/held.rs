//! What of a lane's signals stands in its integration's hold file.

use std::collections::VecDeque;

use hubward_journal::HoldPosition;
use hubward_model::{Offset, Record};
use hubward_registry::Held;

use super::{Feed, Offer, Standing, State};
use crate::hub::Budget;

/// Places remembered at most; between them a little is read twice.
const PLACES: usize = 32;

/// Everything it needs before `until` stands in the hold file.
#[derive(Debug, Clone)]
pub(super) struct HeldPart {
    until: Offset,
    /// Behind the last of it: what is added goes on there.
    last: Offset,
    /// Where reading begins for what stands from an offset on; rising.
    places: VecDeque<(Offset, HoldPosition)>,
    /// A reader saw an entry there that stands at `until` or after it: of a copy on its way, which will be needed.
    ahead: Option<HoldPosition>,
}

impl HeldPart {
    pub(super) fn new(position: Offset, held: Held, last: Offset) -> Box<Self> {
        let places = VecDeque::from([(position, HoldPosition::from_raw(held.from))]);
        Box::new(Self { until: held.until, last, places, ahead: None })
    }

    fn place(&self, next: Offset) -> HoldPosition {
        let before = self.places.iter().take_while(|(offset, _)| *offset <= next).last();
        before.or(self.places.front()).map_or(HoldPosition::START, |(_, place)| *place)
    }

    /// What stands from `next` on is found from `place` on.
    fn note(&mut self, next: Offset, place: HoldPosition) {
        let place = self.ahead.map_or(place, |ahead| ahead.min(place));
        if self.places.back().is_none_or(|(offset, known)| *offset <= next && *known < place) {
            if self.places.len() == PLACES {
                let mut keep = false;
                self.places.retain(|_| {
                    keep = !keep;
                    keep
                });
            }
            self.places.push_back((next, place));
        }
    }
}

/// What was copied of a lane's signals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copied {
    /// From here on.
    pub(crate) begin: Offset,
    /// Behind the last of them.
    pub(crate) last: Offset,
    /// Where the first of them stands; none: there is none.
    pub(crate) first: Option<HoldPosition>,
}

/// What an offer from the hold file says beside the record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldEntry {
    /// Where it stands there.
    pub(crate) place: HoldPosition,
    /// Nothing of this device stands between this offset and the record's.
    pub(crate) after: Offset,
    /// Entries were damaged: what follows counts though something is missing before it.
    pub(crate) over_damage: bool,
}

impl State {
    /// What it needs of the hold file from `position` on.
    pub(super) fn held(&self, position: Offset) -> Option<Held> {
        let held = self.held.as_ref().filter(|held| held.until > position)?;
        Some(Held { until: held.until, from: held.place(position).to_raw() })
    }

    /// Behind the last of what stands in the hold file for it, while it needs some of that.
    pub(crate) fn held_last(&self, head: Offset) -> Option<Offset> {
        let position = self.standing(head).position;
        self.held.as_ref().filter(|held| held.until > position).map(|held| held.last)
    }

    /// The hold file was followed up to this offset.
    pub(crate) fn followed_held(&mut self, last: Offset) {
        if let Some(held) = &mut self.held {
            held.last = held.last.max(last);
        }
    }

    /// Where in the hold file it wants to go on, if it asks for a reader and goes on there.
    pub(crate) fn wants_held(&mut self) -> Option<HoldPosition> {
        let next = self.still_asks()?;
        self.held.as_ref().filter(|held| held.until > next).map(|held| held.place(next))
    }

    pub(crate) fn offer_held(&mut self, scan: u64, record: &Record, entry: HeldEntry, budget: &Budget) -> Offer {
        if self.feed != Feed::Scan(scan) {
            return Offer::Elsewhere;
        }
        let Some(held) = &mut self.held else { return Offer::Passed };
        if record.offset >= held.until {
            held.ahead.get_or_insert(entry.place);
            return Offer::Passed;
        }
        // Entries of a copy that was given up half way stand there too.
        let follows = entry.after <= self.next || entry.over_damage;
        if record.offset < self.next || !follows {
            return Offer::Passed;
        }
        held.ahead = held.ahead.filter(|ahead| *ahead > entry.place);
        let offer = self.offer(Feed::Scan(scan), record, false, budget);
        if offer == Offer::Detached
            && let Some(held) = &mut self.held
        {
            held.note(record.offset, entry.place);
        }
        offer
    }

    /// The hold file was read for it up to `place`; `all`: to its end.
    pub(crate) fn noted_held(&mut self, scan: u64, place: HoldPosition, all: bool) {
        if self.feed != Feed::Scan(scan) {
            return;
        }
        let Some(held) = &mut self.held else { return };
        if all {
            self.next = self.next.max(held.until);
        } else if held.until > self.next {
            held.note(self.next, place);
        }
    }

    /// All it needs before `until` was copied. Before the begin of that it had been dealt it, or has it in the hold file. What it was not dealt it gets from there.
    pub(crate) fn cover(&mut self, head: Offset, until: Offset, copied: Copied) {
        let Copied { begin, last, first } = copied;
        let position = self.standing(head).position;
        if position >= until {
            return;
        }
        let seen = if self.feed == Feed::Main { head.max(self.next) } else { self.next };
        let held = self.held.take().filter(|held| held.until > position);
        let nothing_waits = first.is_none() && held.is_none() && self.queue.is_empty() && !self.frozen;
        if nothing_waits && seen >= begin {
            // It passes what concerns others.
            if let Feed::Scan(_) = self.feed {
                self.feed = Feed::Nobody;
                self.asked = false;
            }
            self.next = seen.max(until);
            return;
        }
        self.held = match (held, first) {
            (Some(mut held), _) => {
                held.until = until;
                held.last = held.last.max(last);
                Some(held)
            }
            (None, Some(first)) => Some(HeldPart::new(position, Held { until, from: first.to_raw() }, last)),
            // What it still has in its queue stands before `begin`: nobody copied that, so the journal keeps it.
            (None, None) => None,
        };
        if seen < until {
            self.detach_at(seen);
        }
    }

    /// Its oldest signals are being given up: nothing is dealt to it meanwhile. Answers where it stands; none if it has a
    /// transfer under way.
    pub(crate) fn freeze(&mut self, head: Offset, budget: &Budget) -> Option<(Offset, Option<Held>)> {
        if self.sending > 0 || self.frozen || self.stop {
            return None;
        }
        let Standing { position, held, .. } = self.standing(head);
        let attached = self.attached;
        self.leave(budget);
        self.attached = attached;
        self.detach_at(position);
        self.frozen = true;
        Some((position, held))
    }

    /// So many signals before `to` were given up, and that is on disk.
    pub(crate) fn thaw(&mut self, to: Offset, place: Option<HoldPosition>, count: u64, bytes: u64) {
        self.frozen = false;
        self.next = self.next.max(to);
        if let (Some(held), Some(place)) = (&mut self.held, place) {
            held.note(self.next, place);
        }
        if count > 0 {
            // It may stand ahead of the main reader: then this alone says so.
            self.settled_end = self.settled_end.max(to);
        }
        self.settled += count;
        self.settled_bytes += bytes;
        if self.held(self.next).is_none() {
            self.held = None;
        }
    }
}
