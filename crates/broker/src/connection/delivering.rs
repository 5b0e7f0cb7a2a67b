//! Messages out: subscriptions, deliveries from the inbox or from the journal, and their acknowledgements.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hubward_journal::{Chunk, ReadError, Reader};
use hubward_model::{Offset, Record, Timestamp, pybytes};
use hubward_mqtt::protocol::{
    Ack, AckKind, Packet, PacketId, Publish, PublishProperties, Reason, RetainHandling, SubAck, Subscribe,
    SubscribeEntry, Unsubscribe,
};
use hubward_mqtt::{Qos, SharedFilter, Subscription, TopicFilter, Version};
use tokio::sync::Semaphore;
use tracing::warn;

use super::End;
use super::client::Client;
use super::publishing::Parked;
use crate::dropped::DropReason;
use crate::durable::{Change, Flight};
use crate::options::{MAX_INBOX_BYTES, MAX_OUTPUT, MAX_SUBSCRIPTION_BYTES, MAX_SUBSCRIPTIONS};
use crate::outgoing::{Delivery, Outgoing};
use crate::router::is_routed;
use crate::session::{Held, InFlight};
use crate::stats;
use crate::stream::Stream;
use crate::tree::Options;

/// Reads from the journal what the inbox did not hold.
pub(super) struct CatchUp {
    reader: Reader,
    /// A batch that was read, and how much of it was dealt with.
    chunk: Option<(Arc<[Record]>, usize)>,
    /// Records before it were published while there was no connection: quality of service 0 is not for them.
    online_from: Offset,
}

impl CatchUp {
    /// The next batch. A bounded number of connections read at the same time.
    pub(super) async fn next(catch_up: &mut Option<Box<Self>>, turns: &Semaphore) -> Option<Result<Chunk, ReadError>> {
        let catch_up = catch_up.as_mut()?;
        // The semaphore is never closed.
        let _turn = turns.acquire().await.ok()?;
        Some(catch_up.reader.next().await)
    }
}

impl<S: Stream> Client<S> {
    /// Begins where an earlier connection of the session ended: what it sent without an answer is sent again, and what
    /// came meanwhile is read from the journal.
    pub(super) fn resume(&mut self) {
        let position = self.shared.routing().position;
        {
            let mut inbox = self.session.inbox();
            inbox.slot = Some(self.slot.clone());
            if inbox.behind().is_none() {
                inbox.caught_up(position);
            }
        }
        self.start_catching_up(position);
        let in_flight = std::mem::take(&mut self.state.in_flight);
        for InFlight { flight, message } in &in_flight {
            let packet = match message {
                Some(message) if !flight.released => {
                    Packet::Publish(self.packet(message, flight.qos, flight.retain, &flight.ids, Some(flight.id), true))
                }
                _ => Packet::Ack(Ack { kind: AckKind::PubRel, packet_id: flight.id, reason: Reason::SUCCESS }),
            };
            self.wire.queue(&packet);
        }
        self.state.in_flight = in_flight;
    }

    fn start_catching_up(&mut self, online_from: Offset) {
        if self.catch_up.is_some() {
            return;
        }
        let routing = self.shared.routing();
        let mut inbox = self.session.inbox();
        let Some(from) = inbox.behind() else { return };
        if from >= routing.position {
            // Nothing is there to read: waiting for it would keep others from reading.
            inbox.caught_up(from);
            return;
        }
        drop(inbox);
        drop(routing);
        let reader = self.shared.journal.reader(from);
        self.catch_up = Some(Box::new(CatchUp { reader, chunk: None, online_from }));
    }

    /// Whether the journal must be read for this client, and can be.
    pub(super) fn wants_to_read_journal(&self) -> bool {
        self.pending.is_empty() && self.catch_up.as_ref().is_some_and(|catch_up| catch_up.chunk.is_none())
    }

    /// A batch came from the journal.
    pub(super) fn take_chunk(&mut self, chunk: Option<Result<Chunk, ReadError>>) {
        let Some(catch_up) = &mut self.catch_up else { return };
        match chunk {
            Some(Ok(Chunk::Records(records))) => catch_up.chunk = Some((records, 0)),
            Some(Ok(Chunk::Gap { from, to })) => {
                warn!(owner = %self.access.owner, %from, %to, "messages for a session are gone from the journal");
                self.dropped(DropReason::JournalGap, 1);
                self.join_router();
            }
            Some(Err(error)) => {
                warn!(owner = %self.access.owner, %error, "messages for a session cannot be read from the journal");
                self.dropped(DropReason::JournalGap, 1);
                let position = self.shared.routing().position;
                self.session.inbox().caught_up(position);
                self.catch_up = None;
            }
            None => {}
        }
    }

    /// Goes over from reading the journal to the inbox, if everything the router dealt has been read.
    fn join_router(&mut self) {
        let Some(catch_up) = &self.catch_up else { return };
        let position = catch_up.reader.position();
        let routing = self.shared.routing();
        let mut inbox = self.session.inbox();
        if position >= routing.position {
            inbox.caught_up(position);
            drop(inbox);
            drop(routing);
            self.catch_up = None;
        } else {
            inbox.reading_from(position);
        }
    }

    /// Sends what can be sent now.
    pub(super) fn deliver(&mut self) {
        loop {
            while let Some(delivery) = self.pending.pop_front() {
                if !self.has_window(&delivery) {
                    self.pending.push_front(delivery);
                    return;
                }
                self.send(delivery);
            }
            if self.pending.capacity() > 0 {
                self.pending = std::collections::VecDeque::new();
            }
            if self.wire.unwritten() >= MAX_OUTPUT / 2 {
                return;
            }
            let (queued, behind) = {
                let mut inbox = self.session.inbox();
                (inbox.take(), inbox.behind())
            };
            if !queued.is_empty() {
                self.pending = queued;
                continue;
            }
            if self.catch_up.is_some() {
                if !self.deliver_from_journal() {
                    return;
                }
            } else if behind.is_some() {
                self.start_catching_up(Offset::START);
                return;
            } else {
                return;
            }
        }
    }

    /// Picks this session's messages out of a batch of the journal. Says whether there are some to send.
    fn deliver_from_journal(&mut self) -> bool {
        let Some(catch_up) = &mut self.catch_up else { return false };
        let Some((records, done)) = &mut catch_up.chunk else { return false };
        while let Some(record) = records.get(*done) {
            *done += 1;
            let online = record.offset >= catch_up.online_from;
            let found = matching(&self.state.subscriptions, &self.session, record, online);
            if !found.is_empty() {
                self.pending.extend(found);
                // What is not sent when the connection ends is read again from here.
                self.session.inbox().reading_from(record.offset.next());
                return true;
            }
        }
        catch_up.chunk = None;
        self.join_router();
        false
    }

    fn has_window(&self, delivery: &Delivery) -> bool {
        if self.wire.unwritten() >= MAX_OUTPUT {
            return false;
        }
        if self.effective_qos(delivery) == Qos::AtMostOnce {
            return true;
        }
        let in_flight = &self.state.in_flight;
        let bytes = || in_flight.iter().flat_map(|sent| &sent.message).map(|m| m.size()).sum::<usize>();
        in_flight.len() < self.max_in_flight && (in_flight.is_empty() || bytes() < MAX_INBOX_BYTES)
    }

    /// Pycom's firmware knows no PUBREL, and is never sent anything but quality of service 0.
    fn effective_qos(&self, delivery: &Delivery) -> Qos {
        if self.access.is_pycom() { Qos::AtMostOnce } else { delivery.qos }
    }

    fn send(&mut self, delivery: Delivery) {
        let qos = self.effective_qos(&delivery);
        let Delivery { message, retain, ids, group, .. } = delivery;
        if self.access.is_pycom() && message.payload.is_empty() {
            // An empty message ends the firmware's only I/O thread.
            self.dropped(DropReason::EmptyToPycom, 1);
            return;
        }
        if message.remaining(Timestamp::now()) == Some(0) {
            self.dropped(DropReason::Expired, 1);
            return;
        }
        let id = (qos > Qos::AtMostOnce).then(|| self.free_id());
        let packet = Packet::Publish(self.packet(&message, qos, retain, &ids, id, false));
        // Under a packet id that a restart does not know it would be sent twice.
        let secured = self.durable && qos == Qos::ExactlyOnce;
        let fits = match secured {
            true => self.wire.fits(&packet, self.max_packet),
            false => self.wire.queue_within(&packet, self.max_packet),
        };
        if !fits {
            self.dropped(DropReason::LargerThanClientTakes, 1);
            return;
        }
        self.shared.stats.delivered.increment(1);
        if let Some(id) = id {
            let flight = Flight { id, qos, released: false, retain, group, offset: message.offset, ids };
            self.state.in_flight.push_back(InFlight { flight, message: Some(message) });
            self.is_unsaved();
        }
        if secured {
            self.hold_back(packet);
        }
    }

    fn packet(
        &self,
        message: &Outgoing,
        qos: Qos,
        retain: bool,
        ids: &[u32],
        packet_id: Option<PacketId>,
        dup: bool,
    ) -> Publish {
        let properties = if self.version == Version::V5 { self.properties(message, ids) } else { None };
        Publish {
            topic: self.access.wire_topic(&message.topic).into_owned(),
            payload: message.payload.clone(),
            qos,
            retain: retain && !self.access.is_pycom(),
            dup,
            packet_id,
            properties,
        }
    }

    fn properties(&self, message: &Outgoing, ids: &[u32]) -> Option<Box<PublishProperties>> {
        let expiry = message.remaining(Timestamp::now());
        if message.properties.is_none() && ids.is_empty() && expiry.is_none() {
            return None;
        }
        let mut properties = message.properties.clone().unwrap_or_default();
        properties.subscription_ids = ids.to_vec();
        properties.message_expiry = expiry;
        Some(properties)
    }

    fn free_id(&mut self) -> PacketId {
        loop {
            self.state.last_id = self.state.last_id.wrapping_add(1);
            if let Some(id) = PacketId::new(self.state.last_id)
                && !self.state.in_flight.iter().any(|sent| sent.flight.id == id)
            {
                return id;
            }
        }
    }

    /// The client acknowledges a message of ours.
    pub(super) fn acknowledged(&mut self, Ack { kind, packet_id, reason }: Ack) {
        let in_flight = &mut self.state.in_flight;
        let found = in_flight.iter().position(|sent| sent.flight.id == packet_id);
        match (kind, found) {
            (AckKind::PubRec, Some(index)) if !reason.is_error() => {
                in_flight[index].flight.released = true;
                in_flight[index].message = None;
                let release = Packet::Ack(Ack { kind: AckKind::PubRel, packet_id, reason: Reason::SUCCESS });
                // After a restart that did not know of it the message would be sent once more, as a new one.
                if self.durable { self.hold_back(release) } else { self.wire.queue(&release) }
            }
            (AckKind::PubRec, None) if !reason.is_error() => {
                let reason = Reason::PACKET_ID_NOT_FOUND;
                self.wire.queue(&Packet::Ack(Ack { kind: AckKind::PubRel, packet_id, reason }));
            }
            (_, Some(index)) => {
                in_flight.remove(index);
                self.is_unsaved();
            }
            (_, None) => {}
        }
    }

    /// A PING of Pycom's firmware: only a PONG feeds its watchdog.
    pub(super) fn pong(&mut self) {
        let subscribed = !self.state.subscriptions.is_empty();
        if let Some(topic) = self.access.pycom_down().filter(|_| subscribed) {
            self.wire.queue(&Packet::Publish(Publish::new(topic, Bytes::from_static(pybytes::PONG))));
        }
    }

    /// SUBSCRIBE: answered for each filter, and then with the retained messages.
    pub(super) fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), End> {
        let Subscribe { packet_id, entries, subscription_id } = subscribe;
        let mut reasons = Vec::with_capacity(entries.len());
        let (mut made, mut retained) = (Vec::new(), Vec::new());
        for entry in entries {
            let reason = match self.subscribe_one(&entry, subscription_id, &mut made, &mut retained)? {
                Ok(qos) => Reason(qos.into()),
                Err(reason) => reason,
            };
            reasons.push(reason);
        }
        self.after_suback.push_back(retained);
        self.answer_durably(Change::Subscribed(made), Packet::SubAck(Box::new(SubAck { packet_id, reasons })))
    }

    /// Answers when the change of a session that outlives the process is durable; else at once.
    fn answer_durably(&mut self, change: Change, answer: Packet) -> Result<(), End> {
        let nothing = match &change {
            Change::Subscribed(list) => list.is_empty(),
            Change::Unsubscribed(list) => list.is_empty(),
            _ => false,
        };
        if !self.durable || nothing {
            self.answer(&answer);
            return Ok(());
        }
        self.record(Parked::session(self.session.id, change, Box::new([answer])))
    }

    /// Sends a packet whose time has come. After a SUBACK come the retained messages.
    pub(super) fn answer(&mut self, packet: &Packet) {
        self.wire.queue(packet);
        if let Packet::SubAck(_) = packet {
            self.pending.extend(self.after_suback.pop_front().unwrap_or_default());
        }
    }

    fn subscribe_one(
        &mut self,
        entry: &SubscribeEntry,
        id: Option<u32>,
        made: &mut Vec<Held>,
        retained: &mut Vec<Delivery>,
    ) -> Result<Result<Qos, Reason>, End> {
        let Ok(subscription) = entry.filter.parse::<Subscription>() else {
            stats::refused("filter_malformed");
            return Ok(Err(Reason::TOPIC_FILTER_INVALID));
        };
        let shared = matches!(subscription, Subscription::Shared(_));
        if shared && entry.no_local {
            let text = "a shared subscription without its own messages";
            return Err(End::Violation(Reason::PROTOCOL_ERROR, text));
        }
        let filter = match self.access.subscription(&subscription) {
            Ok(_) if self.access.names_a_token(&subscription, self.shared.auth.as_ref()) => {
                stats::refused("subscribe_token");
                return Ok(Err(Reason::NOT_AUTHORIZED));
            }
            Ok(filter) => filter,
            Err(reason) => {
                stats::refused("subscribe_topic");
                self.tell_refused("subscription", subscription.filter().as_str());
                return Ok(Err(reason));
            }
        };
        let qos = if self.access.is_pycom() { Qos::AtMostOnce } else { entry.qos };
        let options = Options { qos, no_local: entry.no_local, retain_as_published: entry.retain_as_published, id };
        let group = match subscription {
            Subscription::Shared(SharedFilter { group, .. }) => Some(group),
            Subscription::Plain(_) => None,
        };
        let size = |filter: &TopicFilter, group: Option<&str>| filter.as_str().len() + group.map_or(0, str::len);
        let held = &self.state.subscriptions;
        let found = held.iter().position(|held| held.is(&filter, group.as_deref()));
        let bytes: usize = held.iter().map(|held| size(&held.filter, held.group.as_deref())).sum();
        if found.is_none()
            && (held.len() >= MAX_SUBSCRIPTIONS || bytes + size(&filter, group.as_deref()) > MAX_SUBSCRIPTION_BYTES)
        {
            stats::refused("too_many_subscriptions");
            return Ok(Err(Reason::QUOTA_EXCEEDED));
        }
        let mut routing = self.shared.routing();
        routing.tree.insert(&filter, group.as_deref(), self.session.clone(), options);
        let wanted = match entry.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => found.is_none(),
            RetainHandling::DoNotSend => false,
        };
        // A command that resets a board, retained, would reset it for ever.
        if wanted && !shared && !self.access.is_pycom() {
            retained.extend(routing.retained.matching(&filter).into_iter().map(|message| Delivery {
                qos: qos.min(message.qos),
                message,
                retain: true,
                ids: id.into_iter().collect(),
                group: None,
                kept: true,
            }));
        }
        let since = routing.position;
        drop(routing);
        match found {
            Some(index) => {
                let held = &mut self.state.subscriptions[index];
                held.options = options;
                made.push(held.clone());
            }
            None => {
                let held = Held::new(filter, group, options, since);
                made.push(held.clone());
                self.state.subscriptions.push(held);
            }
        }
        Ok(Ok(qos))
    }

    /// UNSUBSCRIBE: answered for each filter.
    pub(super) fn unsubscribe(&mut self, unsubscribe: Unsubscribe) -> Result<(), End> {
        let Unsubscribe { packet_id, filters } = unsubscribe;
        let mut reasons = Vec::with_capacity(filters.len());
        let mut ended = Vec::new();
        for text in filters {
            let found = self.held(&text);
            reasons.push(if found.is_some() { Reason::SUCCESS } else { Reason::NO_SUBSCRIPTION });
            if let Some(index) = found {
                let Held { filter, group, .. } = self.state.subscriptions.remove(index);
                self.shared.routing().tree.remove(&filter, group.as_deref(), &self.session);
                ended.push((filter, group));
            }
        }
        let answer = Packet::UnsubAck(Box::new(SubAck { packet_id, reasons }));
        self.answer_durably(Change::Unsubscribed(ended), answer)
    }

    /// The subscription that a filter on the wire means.
    fn held(&self, text: &str) -> Option<usize> {
        let subscription = text.parse::<Subscription>().ok()?;
        let filter = self.access.subscription(&subscription).ok()?;
        let group = match &subscription {
            Subscription::Shared(shared) => Some(shared.group.as_str()),
            Subscription::Plain(_) => None,
        };
        self.state.subscriptions.iter().position(|held| held.is(&filter, group))
    }
}

/// The messages that a record means for a session that reads the journal by itself.
fn matching(subscriptions: &[Held], session: &crate::session::Session, record: &Record, online: bool) -> Vec<Delivery> {
    if !is_routed(record) {
        return Vec::new();
    }
    let topic = Cow::from(record.message.topic.as_str());
    let (picks, plain_from) = {
        let mut inbox = session.inbox();
        (inbox.shared_at(record.offset), inbox.plain_from())
    };
    let fresh = record.offset >= plain_from;
    let plain =
        |held: &&Held| fresh && held.group.is_none() && record.offset >= held.since && held.filter.matches_str(&topic);
    if picks.is_empty() && !subscriptions.iter().any(|held| plain(&held)) {
        return Vec::new();
    }
    let message = Arc::new(Outgoing::of(record));
    let own = Delivery::merge(&message, session.id, subscriptions.iter().filter(plain).map(|held| &held.options));
    let shared = picks.into_iter().map(|pick| Delivery {
        message: message.clone(),
        qos: pick.qos,
        retain: false,
        ids: pick.ids,
        group: Some(pick.group),
        kept: false,
    });
    shared.chain(own).filter(|delivery| online || delivery.qos > Qos::AtMostOnce).collect()
}
