//! Messages in: from PUBLISH to the journal, and acknowledgements out of the ledger.

use std::time::Duration;

use hubward_journal::{AppendError, Full, Waiter};
use hubward_model::{DeviceId, Draft, Kind, Message, Offset, Timestamp, pybytes};
use hubward_mqtt::protocol::{Ack, AckKind, Packet, PacketId, Publish, Reason};
use hubward_mqtt::{Qos, TopicName, Version};
use tokio::time::Instant;
use tracing::{error, warn};

use super::End;
use super::client::Client;
use crate::access::{Ingress, loggable};
use crate::dropped::DropReason;
use crate::durable::{Change, Event};
use crate::ledger::{Promise, Settled};
use crate::note::{Note, SessionId};
use crate::options::{FULL_RETRY, MAX_UNRELEASED};
use crate::outgoing::record_qos;
use crate::stats;
use crate::stream::Stream;

/// What a record takes beside payload and topic, for the budget of uncommitted bytes.
const RECORD_OVERHEAD: usize = 64;

/// A limit is reached: a packet waits, and reading pauses.
#[derive(Debug)]
pub(super) struct Blocked {
    since: Instant,
    limit: Duration,
    /// What waits. None after the pause took too long: reading goes on, and what does not fit is dropped.
    pub(super) parked: Option<Box<Parked>>,
    pub(super) on: On,
}

impl Blocked {
    pub(super) fn deadline(&self) -> Option<Instant> {
        let end = self.parked.as_ref().map(|_| self.since + self.limit);
        match self.on {
            On::Time(retry) => Some(end.map_or(retry, |end| end.min(retry))),
            On::Own | On::Queue | On::Admission => end,
        }
    }
}

/// What must change before a parked record is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    /// Records of this connection become durable.
    Own,
    /// The journal's queue has room.
    Queue,
    /// Less of the device waits for its hub.
    Admission,
    /// The journal is full for another reason: try again then.
    Time(Instant),
}

/// A record on its way to the journal.
#[derive(Debug)]
pub(super) struct Parked {
    draft: Draft,
    promise: Option<Promise>,
    /// What it means for the session, if that outlives the process.
    change: Option<Box<Change>>,
    /// What must not leave before it is durable.
    packets: Option<Box<[Packet]>>,
}

impl Parked {
    /// A record of the session `id` that means `change`.
    pub(super) fn session(id: SessionId, change: Change, packets: Box<[Packet]>) -> Self {
        let event = Event::Session(id, change);
        let draft = event.draft();
        let change = match event {
            Event::Session(_, change) => Some(Box::new(change)),
            _ => None,
        };
        Self { draft, promise: None, change, packets: Some(packets) }
    }

    /// Whether the client waits for something that depends on it.
    fn is_awaited(&self) -> bool {
        self.promise.is_some() || self.packets.is_some()
    }

    /// Whose signal it is, if it is one.
    pub(super) fn signals_of(&self) -> Option<&DeviceId> {
        self.draft.device.as_ref().filter(|_| self.draft.kind == Kind::Signal)
    }

    fn size(&self) -> usize {
        self.draft.message.payload.len() + self.draft.message.topic.len() + RECORD_OVERHEAD
    }
}

/// Why a record cannot be appended now.
enum Refused {
    Wait(Box<Parked>, On),
    Never(Box<Parked>, DropReason),
}

impl<S: Stream> Client<S> {
    /// Takes a PUBLISH in.
    pub(super) fn publish(&mut self, mut publish: Publish) -> Result<(), End> {
        self.shared.stats.received[usize::from(u8::from(publish.qos))].increment(1);
        let mut note = Note::default();
        if let Some(properties) = &mut publish.properties {
            if properties.topic_alias.is_some() {
                return Err(End::Violation(Reason::TOPIC_ALIAS_INVALID, "a topic alias, which was not offered"));
            }
            note.keep(properties);
        }
        if TopicName::check(&publish.topic).is_err() {
            return Err(End::Violation(Reason::TOPIC_NAME_INVALID, "a malformed topic name"));
        }
        if let Some(id) = publish.packet_id
            && publish.qos == Qos::ExactlyOnce
            && self.state.unreleased.contains_key(&id)
        {
            self.repeated(id);
            return Ok(());
        }
        if publish.qos > Qos::AtMostOnce
            && self.version == Version::V5
            && self.unacknowledged >= usize::from(self.shared.options.receive_maximum)
        {
            return Err(End::Violation(Reason::RECEIVE_MAXIMUM_EXCEEDED, "more unacknowledged than it may"));
        }
        let Some(ingress) = self.access.ingress(&publish.topic, &publish.payload, self.shared.auth.as_ref()) else {
            return self.refuse_topic(&publish);
        };
        let received_at = Timestamp::now();
        if let Some(presence) = &self.presence {
            presence.seen(received_at);
        }
        if pybytes::is_ping(&publish.payload) && self.access.is_plain_uplink(&publish.topic) {
            self.pong();
        }
        if self.access.is_app() {
            note.session = Some(self.session.id);
        }
        let promise = publish.packet_id.map(|packet_id| {
            let kind = if publish.qos == Qos::ExactlyOnce { AckKind::PubRec } else { AckKind::PubAck };
            Promise { kind, packet_id, reason: Reason::SUCCESS }
        });
        if let Some(Promise { kind: AckKind::PubRec, packet_id, .. }) = promise {
            if self.state.unreleased.len() >= MAX_UNRELEASED {
                return Err(End::Violation(Reason::QUOTA_EXCEEDED, "too many unreleased packet ids"));
            }
            note.session = Some(self.session.id);
            note.received = Some(packet_id);
        }
        let Ingress { topic, kind, device } = ingress;
        let (content_type, user_properties) = match publish.properties {
            Some(properties) => (properties.content_type, properties.user_properties),
            None => (None, Vec::new()),
        };
        let draft = Draft {
            kind,
            received_at,
            device,
            only_for: None,
            message: Message {
                topic,
                payload: publish.payload,
                qos: record_qos(publish.qos),
                retain: publish.retain,
                content_type,
                user_properties,
            },
            note: note.encode(),
        };
        let change = note.received.map(|id| Box::new(Change::Received(id)));
        self.record(Parked { draft, promise, change, packets: None })
    }

    /// PUBREL: the packet id is free when that is durable.
    pub(super) fn release(&mut self, packet_id: PacketId) -> Result<(), End> {
        let promise = Promise { kind: AckKind::PubComp, packet_id, reason: Reason::SUCCESS };
        match self.state.unreleased.get(&packet_id) {
            // Its PUBREC has not left: the client answers something it was not told.
            Some(false) => Err(End::Violation(Reason::PROTOCOL_ERROR, "PUBREL before PUBREC")),
            // Not known, or released already: then this waits behind that release.
            None => {
                let reason = match self.version {
                    Version::V5 if !self.ledger.owes(AckKind::PubComp, packet_id) => Reason::PACKET_ID_NOT_FOUND,
                    _ => Reason::SUCCESS,
                };
                self.ledger.answer(Promise { reason, ..promise });
                Ok(())
            }
            Some(true) => {
                let change = Change::Released(packet_id);
                let parked = Parked::session(self.session.id, change, Box::new([]));
                self.record(Parked { promise: Some(promise), packets: None, ..parked })
            }
        }
    }

    /// Acknowledges what has become durable, and answers what has failed. Says whether there was anything.
    pub(super) fn settle(&mut self) -> Result<bool, End> {
        if self.ledger.is_empty() {
            return Ok(false);
        }
        let progress = self.waiter.progress();
        let mut durable = 0;
        let mut failed = 0;
        let mut any = false;
        let mut result = Ok(());
        while let Some(settled) = self.ledger.settle(&progress) {
            any = true;
            if settled.failed {
                failed += u64::from(settled.records);
                result = result.and(self.settle_failed(&settled));
            } else {
                durable += u64::from(settled.records);
                if let Some(promise) = settled.promise {
                    self.keep(promise);
                }
                for packet in settled.packets.into_iter().flatten() {
                    self.answer(&packet);
                }
            }
        }
        if durable > 0 {
            self.shared.stats.durable.increment(durable);
        }
        if failed > 0 {
            error!(owner = %self.access.owner, records = failed, "the journal failed; nothing of this was acknowledged");
        }
        if progress.failed_from.is_some() {
            self.waiter = Waiter::new();
        }
        result.map(|()| any)
    }

    /// Sends an acknowledgement whose time has come.
    fn keep(&mut self, Promise { kind, packet_id, reason }: Promise) {
        match kind {
            AckKind::PubRec if !reason.is_error() => {
                self.state.unreleased.insert(packet_id, true);
            }
            _ => self.unacknowledged = self.unacknowledged.saturating_sub(1),
        }
        self.wire.queue(&Packet::Ack(Ack { kind, packet_id, reason }));
    }

    fn settle_failed(&mut self, settled: &Settled) -> Result<(), End> {
        if settled.packets.is_some() {
            return Err(End::JournalFailed);
        }
        let Some(promise) = settled.promise else {
            self.dropped(DropReason::JournalFailed, settled.records.into());
            return Ok(());
        };
        self.undo(promise);
        match (self.version, promise.kind) {
            (Version::V5, AckKind::PubAck | AckKind::PubRec) => {
                self.keep(Promise { reason: Reason::UNSPECIFIED, ..promise });
                Ok(())
            }
            _ => Err(End::JournalFailed),
        }
    }

    /// What was noted in the session for a record that did not become durable.
    pub(super) fn undo(&mut self, promise: Promise) {
        match promise.kind {
            AckKind::PubRec => {
                self.state.unreleased.remove(&promise.packet_id);
            }
            AckKind::PubComp => {
                self.state.unreleased.insert(promise.packet_id, true);
            }
            AckKind::PubAck | AckKind::PubRel => {}
        }
        self.session.with_image(|image| match promise.kind {
            AckKind::PubRec => {
                image.unreleased.remove(&promise.packet_id.get());
            }
            AckKind::PubComp => {
                image.apply(&Change::Received(promise.packet_id), Offset::START, None);
            }
            AckKind::PubAck | AckKind::PubRel => {}
        });
    }

    /// A limit was reached; perhaps it is no more.
    pub(super) fn retry_blocked(&mut self) -> Result<(), End> {
        let Some(blocked) = &mut self.blocked else { return Ok(()) };
        if matches!(blocked.on, On::Time(retry) if retry > Instant::now()) {
            return Ok(());
        }
        let Some(parked) = blocked.parked.take() else { return Ok(()) };
        match self.append(*parked) {
            Ok(()) => {
                self.blocked = None;
                self.listen_again();
                Ok(())
            }
            Err(Refused::Wait(parked, on)) => {
                if let Some(blocked) = &mut self.blocked {
                    blocked.parked = Some(parked);
                    blocked.on = on;
                }
                Ok(())
            }
            Err(Refused::Never(parked, reason)) => {
                self.blocked = None;
                self.listen_again();
                self.lose(&parked, reason)
            }
        }
    }

    /// A pause that took too long ends: what waited is dropped, or the connection closed so that it is sent again.
    pub(super) fn pause_is_over(&mut self, now: Instant) -> Result<(), End> {
        let Some(blocked) = &mut self.blocked else { return Ok(()) };
        if blocked.parked.is_none() || blocked.since + blocked.limit > now {
            return Ok(());
        }
        let parked = blocked.parked.take();
        let on = std::mem::replace(&mut blocked.on, On::Own);
        self.listen_again();
        let why = match on {
            On::Admission => "too much of the device waits for its hub",
            On::Own | On::Queue | On::Time(_) => "the journal takes nothing",
        };
        warn!(owner = %self.access.owner, why, "QoS 0 messages are dropped from now on");
        match parked {
            Some(parked) => self.overflow(&parked, on),
            None => Ok(()),
        }
    }

    /// Hands a record to the journal, or waits until it can.
    pub(super) fn record(&mut self, parked: Parked) -> Result<(), End> {
        match self.append(parked) {
            Ok(()) => {
                self.blocked = None;
                Ok(())
            }
            Err(Refused::Never(parked, reason)) => self.lose(&parked, reason),
            // The pause is behind us: nothing waits any more.
            Err(Refused::Wait(parked, on)) if self.blocked.is_some() => self.overflow(&parked, on),
            Err(Refused::Wait(parked, on)) => {
                let most = self.shared.options.pause_limit;
                let limit = self.keep_alive.map_or(most, |time| most.min(time / 2));
                self.blocked = Some(Box::new(Blocked { since: Instant::now(), limit, parked: Some(parked), on }));
                Ok(())
            }
        }
    }

    /// The one place where a connection's records enter the journal.
    fn append(&mut self, parked: Parked) -> Result<(), Refused> {
        let size = parked.size();
        let options = &self.shared.options;
        let waits_for_acknowledgement = parked.promise.is_some_and(|promise| promise.kind != AckKind::PubComp);
        let window = usize::from(options.receive_maximum);
        if (waits_for_acknowledgement && self.ledger.promises() >= window)
            || (self.ledger.bytes() > 0 && self.ledger.bytes() + size > options.connection_bytes)
        {
            return Err(Refused::Wait(Box::new(parked), On::Own));
        }
        if !self.draining && parked.signals_of().is_some_and(|device| !self.shared.may_publish(device)) {
            return Err(Refused::Wait(Box::new(parked), On::Admission));
        }
        // The journal keeps nothing of what it refuses, and a refused record must wait here: two reference counts and
        // a topic are copied for that.
        let journal = &self.shared.journal;
        let appended = match &parked.change {
            Some(change) => self.session.append(journal, parked.draft.clone(), change, &self.waiter),
            None => journal.append(parked.draft.clone(), &self.waiter),
        };
        match appended {
            Ok(offset) => {
                match parked.packets {
                    Some(packets) => self.ledger.session(offset, size, packets),
                    None => self.ledger.record(offset, size, parked.promise),
                }
                if let Some(promise) = parked.promise {
                    self.note_promise(promise);
                }
                Ok(())
            }
            Err(AppendError::Full { why: Full::Queue }) => Err(Refused::Wait(Box::new(parked), On::Queue)),
            Err(AppendError::Full { .. }) => {
                Err(Refused::Wait(Box::new(parked), On::Time(Instant::now() + FULL_RETRY)))
            }
            Err(AppendError::TooLarge { .. }) => Err(Refused::Never(Box::new(parked), DropReason::TooLarge)),
            Err(error) => {
                error!(owner = %self.access.owner, %error, "the journal took nothing");
                Err(Refused::Never(Box::new(parked), DropReason::JournalFailed))
            }
        }
    }

    fn note_promise(&mut self, promise: Promise) {
        match promise.kind {
            AckKind::PubAck => self.unacknowledged += 1,
            AckKind::PubRec => {
                self.unacknowledged += 1;
                self.state.unreleased.insert(promise.packet_id, false);
            }
            AckKind::PubComp => {
                self.state.unreleased.remove(&promise.packet_id);
            }
            AckKind::PubRel => {}
        }
    }

    /// A record does not fit, and waiting has not helped.
    fn overflow(&mut self, parked: &Parked, on: On) -> Result<(), End> {
        if parked.is_awaited() {
            return Err(End::Overloaded);
        }
        let reason = if on == On::Admission { DropReason::BacklogFull } else { DropReason::JournalFull };
        self.dropped(reason, 1);
        Ok(())
    }

    /// The journal will not take a record at all.
    fn lose(&mut self, parked: &Parked, reason: DropReason) -> Result<(), End> {
        if parked.packets.is_some() {
            return Err(End::JournalFailed);
        }
        let Some(promise) = parked.promise else {
            self.dropped(reason, 1);
            return Ok(());
        };
        match (self.version, promise.kind) {
            (Version::V5, AckKind::PubAck | AckKind::PubRec) => {
                let code = if reason == DropReason::TooLarge { Reason::QUOTA_EXCEEDED } else { Reason::UNSPECIFIED };
                self.unacknowledged += 1;
                self.ledger.answer(Promise { reason: code, ..promise });
                Ok(())
            }
            _ => Err(End::JournalFailed),
        }
    }

    /// A message of quality of service 2 came again before it was released: it is not recorded twice.
    fn repeated(&mut self, packet_id: PacketId) {
        self.shared.stats.duplicates.increment(1);
        // While its record is not durable no PUBREC may leave; the first one's is on its way.
        if self.state.unreleased.get(&packet_id) == Some(&true) && !self.ledger.owes(AckKind::PubRec, packet_id) {
            self.ledger.answer(Promise { kind: AckKind::PubRec, packet_id, reason: Reason::SUCCESS });
        }
    }

    /// A message on a topic that is not the client's own.
    fn refuse_topic(&mut self, publish: &Publish) -> Result<(), End> {
        stats::refused("publish_topic");
        self.dropped(DropReason::NotAllowed, 1);
        self.tell_refused("message", &publish.topic);
        let kind = match (self.version, publish.qos) {
            (Version::V5, Qos::AtLeastOnce) => AckKind::PubAck,
            (Version::V5, Qos::ExactlyOnce) => AckKind::PubRec,
            _ => return Err(End::Violation(Reason::NOT_AUTHORIZED, "a message on a topic that is not its own")),
        };
        if let Some(packet_id) = publish.packet_id {
            self.unacknowledged += 1;
            self.ledger.answer(Promise { kind, packet_id, reason: Reason::NOT_AUTHORIZED });
        }
        Ok(())
    }

    /// Logs a refused topic, once for a connection, and without a secret that may be in it.
    pub(super) fn tell_refused(&mut self, what: &'static str, topic: &str) {
        if !self.told_refused {
            self.told_refused = true;
            warn!(owner = %self.access.owner, topic = loggable(topic), "a {what} was refused: the topic is not its own");
        }
    }

    /// Counts messages of the client's, or for it, that are dropped.
    pub(super) fn dropped(&self, reason: DropReason, count: u64) {
        self.shared.drops.note(reason, Some(&self.access.owner), count);
    }
}
