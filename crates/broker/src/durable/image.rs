//! What the journal says of one persistent session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hubward_journal::Waiter;
use hubward_model::{Offset, Timestamp};
use hubward_mqtt::protocol::PacketId;
use hubward_mqtt::{Qos, TopicFilter};

use crate::auth::Owner;
use crate::inbox::SharedPick;
use crate::note::GroupId;
use crate::session::Held;

/// A persistent session as a restart would find it.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) owner: Owner,
    /// Seconds that it outlives its connection.
    pub(crate) keep: u32,
    /// When it is forgotten; none while there is a connection.
    pub(crate) expires: Option<Timestamp>,
    pub(crate) subscriptions: Vec<Held>,
    /// Packet ids of quality of service 2 received and not released.
    pub(crate) unreleased: BTreeMap<u16, Taken>,
    pub(crate) out: Out,
    /// What of the groups' latest messages it took: sent to it, acknowledged or not.
    pub(crate) took: Took,
}

/// Messages of shared subscriptions, each by the subscription and its record.
pub(crate) type Took = BTreeSet<(Offset, GroupId)>;

/// Drops what is known of messages before `dealt`.
pub(crate) fn forget_took(took: &mut Took, dealt: Offset) {
    if took.first().is_some_and(|(first, _)| *first < dealt) {
        took.retain(|(offset, _)| *offset >= dealt);
    }
}

/// The record of a message of quality of service 2 that was received.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) offset: Offset,
    /// Who hears whether it became durable; none: it is.
    pub(crate) waiter: Option<Arc<Waiter>>,
}

impl Taken {
    /// Whether its record is known not to count.
    fn has_failed(&self) -> bool {
        self.waiter.as_ref().is_some_and(|waiter| waiter.progress().has_failed(self.offset))
    }
}

/// What a session still has to send.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Out {
    /// What its own subscriptions mean of the records from here on was not sent.
    pub(crate) position: Offset,
    /// Messages of shared subscriptions that were not sent.
    pub(crate) picks: Vec<SharedPick>,
    /// Sent and not acknowledged, in the order they were sent.
    pub(crate) flights: Vec<Flight>,
    pub(crate) last_id: u16,
    /// What shared subscriptions mean of records before it is in `picks`, or was sent.
    pub(crate) dealt: Offset,
}

/// A message sent and not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) id: PacketId,
    pub(crate) qos: Qos,
    /// Received by the client; its release is awaited.
    pub(crate) released: bool,
    pub(crate) retain: bool,
    /// The shared subscription by which it came, if it came by one.
    pub(crate) group: Option<GroupId>,
    pub(crate) offset: Offset,
    pub(crate) ids: Vec<u32>,
}

/// A change of a session that a record stands for.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// All of it, whatever it was before.
    State(Box<Image>),
    /// It is no more.
    Ended,
    /// A connection has it, and it outlives that one so many seconds.
    Opened { keep: u32 },
    /// Its connection ended.
    Closed { expires: Timestamp, out: Out },
    /// New subscriptions, or new options of old ones.
    Subscribed(Vec<Held>),
    /// Subscriptions that ended: filter and group.
    Unsubscribed(Vec<(TopicFilter, Option<String>)>),
    /// What it has to send.
    Outgoing(Out),
    /// A message of quality of service 2 came.
    Received(PacketId),
    /// A packet id was released.
    Released(PacketId),
}

impl Image {
    pub(crate) fn new(owner: Owner, keep: u32, position: Offset) -> Self {
        let out = Out { position, dealt: position, ..Out::default() };
        let (subscriptions, unreleased, took) = (Vec::new(), BTreeMap::new(), Took::new());
        Self { owner, keep, expires: None, subscriptions, unreleased, out, took }
    }

    /// Takes over what the record at `offset` says. [`Ended`](Change::Ended) is for who keeps the image.
    pub(crate) fn apply(&mut self, change: &Change, offset: Offset, waiter: Option<&Arc<Waiter>>) {
        match change {
            Change::State(image) => {
                let took = std::mem::take(&mut self.took);
                self.clone_from(image);
                self.took.extend(took);
            }
            Change::Ended => {}
            Change::Opened { keep } => {
                self.keep = *keep;
                self.expires = None;
            }
            Change::Closed { expires, out } => {
                self.expires = Some(*expires);
                self.sends(out);
            }
            Change::Subscribed(list) => list.iter().for_each(|held| self.subscribe(held)),
            Change::Unsubscribed(list) => {
                let gone = |held: &Held| list.iter().any(|(filter, group)| held.is(filter, group.as_deref()));
                self.subscriptions.retain(|held| !gone(held));
            }
            Change::Outgoing(out) => self.sends(out),
            Change::Received(id) => {
                self.unreleased.insert(id.get(), Taken { offset, waiter: waiter.cloned() });
            }
            Change::Released(id) => {
                self.unreleased.remove(&id.get());
            }
        }
    }

    fn sends(&mut self, out: &Out) {
        self.took.extend(out.flights.iter().filter_map(|flight| Some((flight.offset, flight.group?))));
        self.out.clone_from(out);
    }

    fn subscribe(&mut self, held: &Held) {
        match self.subscriptions.iter_mut().find(|old| old.is(&held.filter, held.group.as_deref())) {
            Some(old) => *old = held.clone(),
            None => self.subscriptions.push(held.clone()),
        }
    }

    /// Forgets packet ids whose records are known not to have become durable: their messages come again.
    pub(crate) fn settle(&mut self) {
        self.unreleased.retain(|_, taken| !taken.has_failed());
    }

    /// Whether something before `end` may wait for it, or was sent and is not known to have arrived.
    pub(crate) fn may_wait(&self, end: Offset) -> bool {
        let unread = !self.subscriptions.is_empty() && self.out.position < end;
        unread || !self.out.picks.is_empty() || self.out.flights.iter().any(|flight| !flight.released)
    }

    /// Whether a member of a group is among its subscriptions.
    pub(crate) fn is_shared(&self) -> bool {
        self.subscriptions.iter().any(|held| held.group.is_some())
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.owner == other.owner
            && self.keep == other.keep
            && self.expires == other.expires
            && self.subscriptions == other.subscriptions
            && self.unreleased.keys().eq(other.unreleased.keys())
            && self.out == other.out
            && self.took == other.took
    }
}
