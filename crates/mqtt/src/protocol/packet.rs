//! What can be said in MQTT, for both versions in one form: what only 5.0 has is absent in 3.1.1.

use std::fmt;
use std::num::NonZeroU16;

use bytes::Bytes;

use super::Reason;

/// A packet id: never 0.
pub type PacketId = NonZeroU16;

/// The versions we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Version {
    /// MQTT 3.1.1.
    #[default]
    V311,
    /// MQTT 5.0.
    V5,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Qos {
    /// At most once.
    #[default]
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
    /// Exactly once.
    ExactlyOnce,
}

/// A number that is no quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a quality of service: it is 0, 1 or 2")]
pub struct QosError(pub u8);

impl TryFrom<u8> for Qos {
    type Error = QosError;

    fn try_from(number: u8) -> Result<Self, QosError> {
        match number {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            other => Err(QosError(other)),
        }
    }
}

impl From<Qos> for u8 {
    fn from(qos: Qos) -> u8 {
        qos as u8
    }
}

/// Bytes that nobody may see in a log: a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes, for the one who checks or sends them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Any packet.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet {
    /// A client introduces itself.
    Connect(Box<Connect>),
    /// The server's answer.
    ConnAck(Box<ConnAck>),
    /// A message, in either direction.
    Publish(Publish),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(Ack),
    /// A client asks for messages.
    Subscribe(Box<Subscribe>),
    /// The server's answer.
    SubAck(Box<SubAck>),
    /// A client asks for no more of them.
    Unsubscribe(Box<Unsubscribe>),
    /// The server's answer.
    UnsubAck(Box<SubAck>),
    /// Are you there?
    PingReq,
    /// I am.
    PingResp,
    /// The last packet of a connection.
    Disconnect(Disconnect),
    /// Extended authentication, which nobody here speaks.
    Auth,
}

impl Packet {
    /// The packet's name in the specification.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "CONNECT",
            Self::ConnAck(_) => "CONNACK",
            Self::Publish(_) => "PUBLISH",
            Self::Ack(ack) => ack.kind.name(),
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::SubAck(_) => "SUBACK",
            Self::Unsubscribe(_) => "UNSUBSCRIBE",
            Self::UnsubAck(_) => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect(_) => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }
}

/// CONNECT. Its `Debug` shows neither password nor client id: a Pycom device's client id is its secret.
#[derive(Clone, PartialEq, Default)]
pub struct Connect {
    /// The version wanted.
    pub version: Version,
    /// Clean session (3.1.1), clean start (5.0).
    pub clean_start: bool,
    /// Keepalive in seconds; 0: none.
    pub keep_alive: u16,
    /// The client id, which may be empty.
    pub client_id: String,
    /// The user name.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// What to publish when the connection ends unexpectedly.
    pub will: Option<Box<Will>>,
    /// 5.0: how long the session outlives the connection, in seconds.
    pub session_expiry: Option<u32>,
    /// 5.0: how many unacknowledged PUBLISH the client takes.
    pub receive_maximum: Option<u16>,
    /// 5.0: the largest packet the client takes.
    pub maximum_packet_size: Option<u32>,
    /// 5.0: how many topic aliases the client knows.
    pub topic_alias_maximum: Option<u16>,
    /// 5.0: a way of extended authentication, which is refused.
    pub authentication_method: Option<String>,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("will", &self.will.is_some())
            .field("session_expiry", &self.session_expiry)
            .finish_non_exhaustive()
    }
}

/// A will. Its `Debug` shows no topic: a Pycom device's topics hold its secret.
#[derive(Clone, PartialEq, Default)]
pub struct Will {
    /// Where to publish it.
    pub topic: String,
    /// What to publish.
    pub payload: Bytes,
    /// With which quality of service.
    pub qos: Qos,
    /// Whether as retained.
    pub retain: bool,
    /// 5.0: how many seconds after the connection ended.
    pub delay: u32,
    /// 5.0: properties of the message.
    pub properties: Option<Box<PublishProperties>>,
}

impl fmt::Debug for Will {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will").field("qos", &self.qos).field("delay", &self.delay).finish_non_exhaustive()
    }
}

/// CONNACK.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnAck {
    /// Whether the server still had the session.
    pub session_present: bool,
    /// Accepted, or why not; return codes of 3.1.1 are translated.
    pub reason: Reason,
    /// 5.0: how long the session will be kept, if not as asked.
    pub session_expiry: Option<u32>,
    /// 5.0: how many unacknowledged PUBLISH the server takes; 65,535 if absent.
    pub receive_maximum: Option<u16>,
    /// 5.0: the largest packet the server takes.
    pub maximum_packet_size: Option<u32>,
    /// 5.0: the client id the server chose.
    pub assigned_client_id: Option<String>,
    /// 5.0: the keepalive the server wants instead.
    pub server_keep_alive: Option<u16>,
    /// 5.0: why, in words.
    pub reason_string: Option<String>,
}

impl ConnAck {
    /// An answer with `reason` and nothing else.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self {
            session_present: false,
            reason,
            session_expiry: None,
            receive_maximum: None,
            maximum_packet_size: None,
            assigned_client_id: None,
            server_keep_alive: None,
            reason_string: None,
        }
    }
}

/// PUBLISH. Its `Debug` shows neither topic nor payload: a Pycom device's topics hold its secret.
#[derive(Clone, PartialEq, Default)]
pub struct Publish {
    /// Where to.
    pub topic: String,
    /// The message.
    pub payload: Bytes,
    /// Quality of service.
    pub qos: Qos,
    /// Keep it for later subscribers (client), or it was kept (server).
    pub retain: bool,
    /// Sent before.
    pub dup: bool,
    /// Present for quality of service 1 and 2.
    pub packet_id: Option<PacketId>,
    /// 5.0: properties, if there are any.
    pub properties: Option<Box<PublishProperties>>,
}

impl Publish {
    /// A message with quality of service 0.
    #[must_use]
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), payload: payload.into(), ..Self::default() }
    }

    /// The same with another quality of service.
    #[must_use]
    pub fn with_qos(mut self, qos: Qos) -> Self {
        self.qos = qos;
        self
    }

    /// The same, retained or not.
    #[must_use]
    pub fn with_retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// The same with these properties (5.0).
    #[must_use]
    pub fn with_properties(mut self, properties: PublishProperties) -> Self {
        self.properties = Some(Box::new(properties));
        self
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("size", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("dup", &self.dup)
            .field("packet_id", &self.packet_id)
            .finish_non_exhaustive()
    }
}

/// Properties of a message (MQTT 5.0, 3.3.2.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishProperties {
    /// Whether the payload is said to be UTF-8 text.
    pub payload_is_text: Option<bool>,
    /// Seconds until the message is of no use.
    pub message_expiry: Option<u32>,
    /// Content type.
    pub content_type: Option<String>,
    /// Where an answer is expected.
    pub response_topic: Option<String>,
    /// What the answer should carry.
    pub correlation_data: Option<Bytes>,
    /// User properties, in order; names may repeat.
    pub user_properties: Vec<(String, String)>,
    /// Ids of the subscriptions it matched; from a server only.
    pub subscription_ids: Vec<u32>,
    /// A number standing for the topic.
    pub topic_alias: Option<u16>,
}

impl PublishProperties {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AckKind {
    /// Quality of service 1: taken.
    PubAck,
    /// Quality of service 2: taken.
    PubRec,
    /// Quality of service 2: the sender forgets the message.
    PubRel,
    /// Quality of service 2: the packet id is free.
    PubComp,
}

impl AckKind {
    /// The packet's name in the specification.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
        }
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Which of them.
    pub kind: AckKind,
    /// The message's packet id.
    pub packet_id: PacketId,
    /// 5.0: how it went; success in 3.1.1.
    pub reason: Reason,
}

/// What to send of retained messages when subscribing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetainHandling {
    /// All that match.
    #[default]
    Send,
    /// All that match, if the subscription is new.
    SendIfNew,
    /// None.
    DoNotSend,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeEntry {
    /// The filter as sent.
    pub filter: String,
    /// The highest quality of service wanted.
    pub qos: Qos,
    /// 5.0: not the client's own messages.
    pub no_local: bool,
    /// 5.0: leave the retain flag as published.
    pub retain_as_published: bool,
    /// 5.0: what of retained messages.
    pub retain_handling: RetainHandling,
}

impl SubscribeEntry {
    /// A filter with the options that 3.1.1 has.
    #[must_use]
    pub fn new(filter: impl Into<String>, qos: Qos) -> Self {
        Self {
            filter: filter.into(),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }
    }
}

/// SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Its packet id.
    pub packet_id: PacketId,
    /// What is asked for.
    pub entries: Vec<SubscribeEntry>,
    /// 5.0: a number that comes with the messages.
    pub subscription_id: Option<u32>,
}

/// SUBACK or UNSUBACK: an answer for each filter, in order. UNSUBACK of 3.1.1 has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// The packet id answered.
    pub packet_id: PacketId,
    /// The answers: the quality of service granted, or a refusal.
    pub reasons: Vec<Reason>,
}

/// UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Its packet id.
    pub packet_id: PacketId,
    /// What is no longer wanted.
    pub filters: Vec<String>,
}

/// DISCONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect {
    /// 5.0: why.
    pub reason: Reason,
    /// 5.0: another session expiry, in seconds; from a client only.
    pub session_expiry: Option<u32>,
}

impl Disconnect {
    /// For this reason.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self { reason, session_expiry: None }
    }
}
