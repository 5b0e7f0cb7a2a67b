//! A small MQTT client over a byte stream that its caller opened.
//!
//! It is for `hubward send`, the demo, benchmarks and tests: it pipelines within a window, speaks all qualities of
//! service, and answers what must be answered. It does not reconnect, keeps no session, and runs no timer: whoever is
//! idle for longer than its keepalive calls [`Client::ping`].

mod framed;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::io::{AsyncRead, AsyncWrite};

pub use framed::Framed;

use crate::protocol::{
    Ack, AckKind, ConnAck, Connect, CoreCodec, Disconnect, Packet, PacketId, Publish, Qos, Reason, Secret, Subscribe,
    SubscribeEntry, Unsubscribe, Version, Will,
};

/// Largest packet the client takes.
const MAX_PACKET: usize = 16 * 1024 * 1024;
/// Bytes queued by [`Client::send`] before it writes by itself.
const WRITE_AT: usize = 16 * 1024;
/// How many unacknowledged messages a client allows itself unless told otherwise.
const DEFAULT_WINDOW: u16 = 1_000;

/// How to introduce oneself.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// The version to speak.
    pub version: Version,
    /// The client id; may be empty.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// Keepalive in seconds; 0: none.
    pub keep_alive: u16,
    /// Begin without an earlier session.
    pub clean_start: bool,
    /// 5.0: how long the session outlives the connection, in seconds.
    pub session_expiry: Option<u32>,
    /// 5.0: how many unacknowledged messages we take.
    pub receive_maximum: Option<u16>,
    /// What the server shall publish when we vanish.
    pub will: Option<Will>,
    /// How many unacknowledged messages we send; the server's receive maximum if that is less.
    pub window: u16,
    /// How many bytes are read at a time: a buffer of this size is kept while the client waits for the server.
    pub read_at_once: usize,
}

impl ConnectOptions {
    /// A clean start without login, keepalive and will.
    #[must_use]
    pub fn new(version: Version, client_id: impl Into<String>) -> Self {
        Self {
            version,
            client_id: client_id.into(),
            username: None,
            password: None,
            keep_alive: 0,
            clean_start: true,
            session_expiry: None,
            receive_maximum: None,
            will: None,
            window: DEFAULT_WINDOW,
            read_at_once: framed::READ,
        }
    }

    /// The same with a user name and a password.
    #[must_use]
    pub fn with_login(mut self, username: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.username = Some(username.into());
        self.password = Some(password.into());
        self
    }

    fn packet(self) -> Connect {
        Connect {
            version: self.version,
            clean_start: self.clean_start,
            keep_alive: self.keep_alive,
            client_id: self.client_id,
            username: self.username,
            password: self.password,
            will: self.will.map(Box::new),
            session_expiry: self.session_expiry,
            receive_maximum: self.receive_maximum,
            ..Connect::default()
        }
    }
}

/// What came from the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message; it is acknowledged already.
    Message(Publish),
    /// Our message was taken (`PUBACK`, `PUBCOMP`) or refused.
    Acknowledged {
        /// The message's packet id.
        packet_id: PacketId,
        /// How it went.
        reason: Reason,
    },
    /// The server says why it closes (5.0).
    Disconnected {
        /// Why.
        reason: Reason,
    },
}

/// What the server made of one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribeResult {
    /// Subscribed, with at most this quality of service.
    Granted(Qos),
    /// Refused.
    Refused(Reason),
}

/// Why the client cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The stream failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The stream ended.
    #[error("the server closed the connection")]
    Closed,
    /// The server refused CONNECT.
    #[error("the server refused the connection: {0}")]
    Refused(Reason),
    /// The server refused a message.
    #[error("the server refused the message: {0}")]
    NotTaken(Reason),
    /// The server closed and said why.
    #[error("the server ended the connection: {0}")]
    Disconnected(Reason),
    /// What the server sent is not MQTT.
    #[error("the server's answer cannot be read: {0}")]
    Decode(#[from] crate::protocol::DecodeError),
    /// What we were asked to send cannot be sent.
    #[error("the packet cannot be sent: {0}")]
    Encode(#[from] crate::protocol::EncodeError),
    /// The server sent something else than it had to.
    #[error("the server sent {0}, which was not expected")]
    Unexpected(&'static str),
}

/// What an outgoing message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Ack,
    Rec,
    Comp,
}

/// A connected client.
#[derive(Debug)]
pub struct Client<S> {
    framed: Framed<S>,
    sent: HashMap<PacketId, Awaits>,
    /// Incoming messages of quality of service 2 that were handed out and not released.
    received: HashSet<PacketId>,
    events: VecDeque<Event>,
    last_id: u16,
    window: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Client<S> {
    /// Sends CONNECT and waits for the answer.
    ///
    /// # Errors
    /// The server refuses, or the stream fails.
    pub async fn connect(stream: S, options: ConnectOptions) -> Result<(Self, ConnAck), ClientError> {
        let window = options.window.max(1);
        let codec = Box::new(CoreCodec::client(options.version, MAX_PACKET));
        let mut framed = Framed::new(stream, codec).reading(options.read_at_once);
        framed.send(&Packet::Connect(Box::new(options.packet()))).await?;
        let connack = match framed.receive().await? {
            Some(Packet::ConnAck(connack)) if connack.reason.is_error() => {
                return Err(ClientError::Refused(connack.reason));
            }
            Some(Packet::ConnAck(connack)) => *connack,
            Some(other) => return Err(ClientError::Unexpected(other.name())),
            None => return Err(ClientError::Closed),
        };
        let window = usize::from(window.min(connack.receive_maximum.unwrap_or(u16::MAX)));
        let client = Self {
            framed,
            sent: HashMap::new(),
            received: HashSet::new(),
            events: VecDeque::new(),
            last_id: 0,
            window,
        };
        Ok((client, connack))
    }

    /// Publishes, and waits for the acknowledgement if there is one (PUBACK, PUBCOMP).
    ///
    /// # Errors
    /// The server refuses the message, or the connection fails.
    pub async fn publish(&mut self, publish: Publish) -> Result<(), ClientError> {
        let Some(id) = self.send(publish).await? else { return self.flush().await };
        loop {
            let found = self
                .events
                .iter()
                .position(|event| matches!(event, Event::Acknowledged { packet_id, .. } if *packet_id == id));
            if let Some(Event::Acknowledged { reason, .. }) = found.and_then(|index| self.events.remove(index)) {
                return if reason.is_error() { Err(ClientError::NotTaken(reason)) } else { Ok(()) };
            }
            self.pump().await?;
        }
    }

    /// Queues a message. It leaves with the next flush, at the latest when the client next waits for the server; the
    /// acknowledgement comes by [`next`](Self::next). Waits only while the window is full.
    ///
    /// # Errors
    /// The connection fails, or the message cannot be written.
    pub async fn send(&mut self, mut publish: Publish) -> Result<Option<PacketId>, ClientError> {
        let id = if publish.qos == Qos::AtMostOnce {
            publish.packet_id = None;
            None
        } else {
            while self.sent.len() >= self.window {
                self.pump().await?;
            }
            let id = self.free_id();
            publish.packet_id = Some(id);
            Some(id)
        };
        let state = if publish.qos == Qos::AtLeastOnce { Awaits::Ack } else { Awaits::Rec };
        self.framed.queue(&Packet::Publish(publish))?;
        if let Some(id) = id {
            self.sent.insert(id, state);
        }
        if self.framed.queued() >= WRITE_AT {
            self.framed.flush().await?;
        }
        Ok(id)
    }

    /// Writes what is queued.
    ///
    /// # Errors
    /// The stream fails.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.framed.flush().await
    }

    /// Subscribes and waits for the answer.
    ///
    /// # Errors
    /// The connection fails; a refused filter is no error.
    pub async fn subscribe(&mut self, filters: &[(&str, Qos)]) -> Result<Vec<SubscribeResult>, ClientError> {
        let entries = filters.iter().map(|(filter, qos)| SubscribeEntry::new(*filter, *qos)).collect();
        self.subscribe_with(entries, None).await
    }

    /// The same with the options of 5.0.
    ///
    /// # Errors
    /// The connection fails; a refused filter is no error.
    pub async fn subscribe_with(
        &mut self,
        entries: Vec<SubscribeEntry>,
        subscription_id: Option<u32>,
    ) -> Result<Vec<SubscribeResult>, ClientError> {
        let packet_id = self.free_id();
        self.framed.queue(&Packet::Subscribe(Box::new(Subscribe { packet_id, entries, subscription_id })))?;
        loop {
            match self.receive().await? {
                Packet::SubAck(suback) if suback.packet_id == packet_id => {
                    return Ok(suback.reasons.into_iter().map(granted).collect());
                }
                other => self.take(other)?,
            }
        }
    }

    /// Unsubscribes and waits for the answer; 3.1.1 gives no reasons.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn unsubscribe(&mut self, filters: &[&str]) -> Result<Vec<Reason>, ClientError> {
        let packet_id = self.free_id();
        let filters = filters.iter().map(|&filter| filter.to_owned()).collect();
        self.framed.queue(&Packet::Unsubscribe(Box::new(Unsubscribe { packet_id, filters })))?;
        loop {
            match self.receive().await? {
                Packet::UnsubAck(unsuback) if unsuback.packet_id == packet_id => return Ok(unsuback.reasons),
                other => self.take(other)?,
            }
        }
    }

    /// The next event; writes first what is queued. May be dropped at any time without losing anything.
    ///
    /// # Errors
    /// The connection failed or ended.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.pump().await?;
        }
    }

    /// Sends PINGREQ and waits for PINGRESP.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn ping(&mut self) -> Result<(), ClientError> {
        self.framed.queue(&Packet::PingReq)?;
        loop {
            match self.receive().await? {
                Packet::PingResp => return Ok(()),
                other => self.take(other)?,
            }
        }
    }

    /// How many messages were sent and are not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.sent.len()
    }

    /// Says goodbye: the will is not published.
    ///
    /// # Errors
    /// The stream fails.
    pub async fn disconnect(mut self) -> Result<(), ClientError> {
        self.framed.send(&Packet::Disconnect(Disconnect::new(Reason::SUCCESS))).await?;
        self.framed.shutdown().await
    }

    /// Says goodbye and waits until the server has closed the connection as well: from then on it knows that this client
    /// is gone. May wait for ever; give it a limit.
    ///
    /// # Errors
    /// The stream fails.
    pub async fn leave(mut self) -> Result<(), ClientError> {
        self.framed.send(&Packet::Disconnect(Disconnect::new(Reason::SUCCESS))).await?;
        self.framed.shutdown().await?;
        // Whatever is still on its way to us is for nobody.
        while self.framed.receive().await?.is_some() {}
        Ok(())
    }

    /// The stream, without a goodbye.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.framed.into_inner()
    }

    fn free_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last_id)
                && !self.sent.contains_key(&id)
            {
                return id;
            }
        }
    }

    async fn receive(&mut self) -> Result<Packet, ClientError> {
        self.framed.flush().await?;
        self.framed.receive().await?.ok_or(ClientError::Closed)
    }

    /// Takes in one packet.
    async fn pump(&mut self) -> Result<(), ClientError> {
        let packet = self.receive().await?;
        self.take(packet)
    }

    fn take(&mut self, packet: Packet) -> Result<(), ClientError> {
        match packet {
            Packet::Publish(publish) => self.take_publish(publish)?,
            Packet::Ack(ack) => self.take_ack(ack)?,
            Packet::PingResp => {}
            Packet::Disconnect(Disconnect { reason, .. }) => self.events.push_back(Event::Disconnected { reason }),
            other => return Err(ClientError::Unexpected(other.name())),
        }
        Ok(())
    }

    fn take_publish(&mut self, publish: Publish) -> Result<(), ClientError> {
        let Some(packet_id) = publish.packet_id else {
            self.events.push_back(Event::Message(publish));
            return Ok(());
        };
        if publish.qos == Qos::ExactlyOnce {
            self.answer(AckKind::PubRec, packet_id)?;
            if self.received.insert(packet_id) {
                self.events.push_back(Event::Message(publish));
            }
        } else {
            self.answer(AckKind::PubAck, packet_id)?;
            self.events.push_back(Event::Message(publish));
        }
        Ok(())
    }

    fn take_ack(&mut self, ack: Ack) -> Result<(), ClientError> {
        let Ack { kind, packet_id, reason } = ack;
        if kind == AckKind::PubRel {
            self.received.remove(&packet_id);
            return self.answer(AckKind::PubComp, packet_id);
        }
        match (self.sent.get(&packet_id), kind) {
            (Some(Awaits::Rec), AckKind::PubRec) if !reason.is_error() => {
                self.sent.insert(packet_id, Awaits::Comp);
                self.answer(AckKind::PubRel, packet_id)
            }
            (Some(Awaits::Ack), AckKind::PubAck)
            | (Some(Awaits::Rec), AckKind::PubRec)
            | (Some(Awaits::Comp), AckKind::PubComp) => {
                self.sent.remove(&packet_id);
                self.events.push_back(Event::Acknowledged { packet_id, reason });
                Ok(())
            }
            // The answer to a repeated PUBLISH.
            (Some(Awaits::Comp), AckKind::PubRec) => Ok(()),
            _ => Err(ClientError::Unexpected(kind.name())),
        }
    }

    fn answer(&mut self, kind: AckKind, packet_id: PacketId) -> Result<(), ClientError> {
        self.framed.queue(&Packet::Ack(Ack { kind, packet_id, reason: Reason::SUCCESS }))
    }
}

fn granted(reason: Reason) -> SubscribeResult {
    match Qos::try_from(reason.0) {
        Ok(qos) => SubscribeResult::Granted(qos),
        Err(_) => SubscribeResult::Refused(reason),
    }
}
