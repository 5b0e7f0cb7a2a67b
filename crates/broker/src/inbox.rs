//! How messages get from the router to a connection.
//!
//! In the normal case the router puts them into a bounded queue. When the session has no connection, or its queue is
//! full, only the offset is remembered from which on its messages must be read from the journal: a session's queue is a
//! position with filters, not a copy. A connection that has read that far says so under the router's lock, so no record
//! is skipped or dealt twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use hubward_model::Offset;
use hubward_mqtt::Qos;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::dropped::DropReason;
use crate::durable::Out;
use crate::note::GroupId;
use crate::options::{MAX_INBOX, MAX_INBOX_BYTES, MAX_SHARED_PENDING};
use crate::outgoing::Delivery;

/// Asks a connection to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Control {
    /// The server stops.
    Stop = 1,
    /// An operator wants it closed.
    Closed = 2,
    /// The same client connected again.
    TakenOver = 3,
    /// Its credentials are gone.
    Kicked = 4,
}

/// The place of one connection in a session.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) notify: Notify,
    control: AtomicU8,
    /// What it has to send is to be written.
    save: AtomicBool,
    /// The connection's number, once it was let in.
    pub(crate) number: AtomicU64,
    /// Cancelled when the connection is closed and everything it read is in the journal.
    pub(crate) done: CancellationToken,
}

impl Slot {
    /// Asks the connection to end; the strongest reason counts.
    pub(crate) fn ask(&self, control: Control) {
        self.control.fetch_max(control as u8, Ordering::AcqRel);
        self.notify.notify_one();
    }

    /// Asks the connection to write what it has to send.
    pub(crate) fn ask_to_save(&self) {
        self.save.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Whether it was asked to, since it was asked this.
    pub(crate) fn is_to_save(&self) -> bool {
        self.save.swap(false, Ordering::AcqRel)
    }

    /// What was asked.
    pub(crate) fn asked(&self) -> Option<Control> {
        match self.control.load(Ordering::Acquire) {
            1 => Some(Control::Stop),
            2 => Some(Control::Closed),
            3 => Some(Control::TakenOver),
            4 => Some(Control::Kicked),
            _ => None,
        }
    }
}

/// A message of a shared subscription that waits in the journal for its member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedPick {
    pub(crate) group: GroupId,
    pub(crate) offset: Offset,
    pub(crate) qos: Qos,
    pub(crate) ids: Vec<u32>,
}

impl SharedPick {
    /// What of a delivery by a shared subscription is remembered.
    pub(crate) fn of(delivery: &Delivery) -> Option<Self> {
        let group = delivery.group?;
        Some(Self { group, offset: delivery.message.offset, qos: delivery.qos, ids: delivery.ids.clone() })
    }
}

/// What waits for a session.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) slot: Option<Arc<Slot>>,
    queue: VecDeque<Delivery>,
    bytes: usize,
    /// From here on messages must be read from the journal.
    behind: Option<Offset>,
    /// Messages before it have been read from the journal already.
    tail_from: Offset,
    /// What plain subscriptions mean of records before it was sent already, though they are read once more.
    plain_from: Offset,
    /// Messages of shared subscriptions among those to be read, by offset.
    shared: VecDeque<SharedPick>,
    /// Exclusive end of the messages of shared subscriptions that the router dealt to it.
    pub(crate) last_shared: Offset,
}

impl Inbox {
    /// Takes a message from the router. An error says why it is dropped.
    pub(crate) fn offer(&mut self, delivery: Delivery) -> Result<(), DropReason> {
        let offset = delivery.message.offset;
        if delivery.group.is_some() {
            self.last_shared = offset.next();
        }
        let Some(slot) = &self.slot else {
            return if delivery.qos > Qos::AtMostOnce { self.fall_behind(offset, &delivery) } else { Ok(()) };
        };
        if self.behind.is_some() {
            return self.fall_behind(offset, &delivery);
        }
        if offset < self.tail_from && delivery.group.is_none() {
            // Read from the journal already.
        } else if self.queue.len() >= MAX_INBOX || self.bytes >= MAX_INBOX_BYTES {
            return self.fall_behind(offset, &delivery);
        } else {
            self.bytes += delivery.message.size();
            self.queue.push_back(delivery);
            if self.queue.len() == 1 {
                slot.notify.notify_one();
            }
        }
        Ok(())
    }

    fn fall_behind(&mut self, offset: Offset, delivery: &Delivery) -> Result<(), DropReason> {
        if let Some(pick) = SharedPick::of(delivery) {
            if self.shared.len() >= MAX_SHARED_PENDING {
                return Err(DropReason::SharedQueueFull);
            }
            self.shared.push_back(pick);
        }
        self.behind.get_or_insert(offset);
        Ok(())
    }

    /// Takes back what a session without a connection has still to send: it is read from the journal, up to `end` and
    /// what comes then.
    pub(crate) fn put_back(&mut self, out: &Out, end: Offset) {
        self.queue = VecDeque::new();
        self.bytes = 0;
        self.plain_from = out.position;
        self.shared = out.picks.iter().cloned().collect();
        let first = out.picks.first().map_or(out.position, |pick| pick.offset.min(out.position));
        self.behind = (first < end).then_some(first);
        self.slot = None;
    }

    /// A message of a shared subscription that no member had: it waits in the journal. An error says why it is dropped.
    pub(crate) fn deal_again(&mut self, delivery: &Delivery) -> Result<(), DropReason> {
        let Some(pick) = SharedPick::of(delivery).filter(|pick| pick.qos > Qos::AtMostOnce) else { return Ok(()) };
        let offset = pick.offset;
        self.last_shared = self.last_shared.max(offset.next());
        if self.shared.len() >= MAX_SHARED_PENDING {
            return Err(DropReason::SharedQueueFull);
        }
        let at = self.shared.partition_point(|pick| pick.offset <= offset);
        self.shared.insert(at, pick);
        self.behind = Some(self.behind.map_or(offset, |behind| behind.min(offset)));
        Ok(())
    }

    /// What it holds, in order.
    pub(crate) fn queued(&self) -> impl Iterator<Item = &Delivery> {
        self.queue.iter()
    }

    /// Messages of shared subscriptions that must be read from the journal.
    pub(crate) fn picks(&self) -> impl Iterator<Item = &SharedPick> {
        self.shared.iter()
    }

    /// What plain subscriptions mean of records before it was sent already.
    pub(crate) fn plain_from(&self) -> Offset {
        self.plain_from
    }

    /// All that is queued.
    pub(crate) fn take(&mut self) -> VecDeque<Delivery> {
        self.bytes = 0;
        std::mem::take(&mut self.queue)
    }

    pub(crate) fn behind(&self) -> Option<Offset> {
        self.behind
    }

    /// Says from where on a connection that reads the journal has still to read.
    pub(crate) fn reading_from(&mut self, offset: Offset) {
        self.behind = Some(offset);
    }

    /// The connection has read everything before `position` from the journal.
    pub(crate) fn caught_up(&mut self, position: Offset) {
        self.behind = None;
        self.tail_from = position;
    }

    /// The shared messages at `offset`, and forgets older ones.
    pub(crate) fn shared_at(&mut self, offset: Offset) -> Vec<SharedPick> {
        let mut found = Vec::new();
        while self.shared.front().is_some_and(|pick| pick.offset <= offset) {
            found.extend(self.shared.pop_front().filter(|pick| pick.offset == offset));
        }
        found
    }

    /// Forgets everything; says whether messages were waiting.
    pub(crate) fn clear(&mut self) -> bool {
        let waiting = self.behind.is_some();
        *self = Self { slot: self.slot.take(), ..Self::default() };
        waiting
    }
}
