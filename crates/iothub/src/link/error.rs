use std::fmt;

use crate::fault::HubRefusal;

/// Why a connection could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The host name cannot stand in a certificate.
    #[error("{0:?} is no host name")]
    HostName(String),
    /// The name is unknown, or the host refuses the connection.
    #[error("no connection to {host}:{port}: {reason}")]
    Unreachable {
        /// The host tried.
        host: String,
        /// The port tried.
        port: u16,
        /// What the system said.
        reason: String,
    },
    /// The TLS handshake failed.
    #[error("no TLS connection to {host}: {reason}")]
    Tls {
        /// The name in the certificate.
        host: String,
        /// Why.
        reason: String,
    },
    /// The host takes TLS but no WebSocket to an IoT Hub.
    #[error("no WebSocket to {host}: {reason}")]
    WebSocket {
        /// The host asked.
        host: String,
        /// What it answered.
        reason: String,
    },
    /// The hub did not answer in time.
    #[error("the hub was silent for {0} s while the connection was opened")]
    Silent(u64),
    /// The connection ended while it was opened.
    #[error("the connection ended while it was opened: {0}")]
    Ended(#[from] Closed),
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// We closed it.
    #[error("closed by us")]
    ByUs,
    /// The hub closed it.
    #[error("closed by the hub: {}", Shown(.0.as_ref()))]
    ByHub(Option<HubRefusal>),
    /// The network failed.
    #[error("connection lost: {0}")]
    Network(String),
    /// The hub sent nothing for too long.
    #[error("the hub was silent for longer than agreed")]
    Silent,
    /// One of the two does not keep to the protocol.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// The driver was dropped.
    #[error("nobody drives the connection any more")]
    Dropped,
}

/// Why a device got no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// There is no connection to be had.
    #[error(transparent)]
    NotOpened(#[from] OpenError),
    /// The hub refused its token or its link.
    #[error("the hub refused the device: {}", Shown(Some(.0)))]
    Refused(HubRefusal),
    /// The connection has carried as many identities as a hub allows.
    #[error("a connection carries at most {0} identities")]
    TooManyIdentities(usize),
    /// The device has a link on this connection already.
    #[error("the device has a link on this connection already")]
    InUse,
    /// The hub did not answer in time.
    #[error("the hub did not answer")]
    Silent,
    /// The connection ended.
    #[error(transparent)]
    ConnectionLost(#[from] Closed),
}

/// Why a message was not accepted, or the link has gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The hub refused these messages; the link goes on.
    #[error("the hub refused the message: {}", Shown(Some(.0)))]
    Refused(HubRefusal),
    /// The hub closed the link.
    #[error("the hub closed the device's link: {}", Shown(Some(.0)))]
    LinkLost(HubRefusal),
    /// The connection ended. Whether the hub has the messages is unknown.
    #[error(transparent)]
    ConnectionLost(#[from] Closed),
    /// The hub said nothing in time. Whether it has the messages is unknown.
    #[error("the hub did not say whether it accepted the message")]
    NoDisposition,
    /// More than the hub takes; nothing was sent.
    #[error("{size} {unit}, where the hub takes {limit}")]
    TooLarge {
        /// What was to be sent.
        size: u64,
        /// What the hub takes.
        limit: u64,
        /// Of what: bytes or messages.
        unit: &'static str,
    },
}

/// Why not all messages of a call were accepted, and how many were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct NotSent {
    /// So many, from the first on, were accepted all the same. Always 0 over AMQP, where a batch is accepted as a whole.
    pub accepted: usize,
    /// Why the next was not.
    pub error: SendError,
}

impl From<SendError> for NotSent {
    fn from(error: SendError) -> Self {
        Self { accepted: 0, error }
    }
}

/// Why a link was not closed in order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetachError {
    /// The hub did not confirm in time: it may still believe in the link.
    #[error("the hub did not confirm that the link is closed")]
    Silent,
    /// The connection ended, and the link with it.
    #[error(transparent)]
    ConnectionLost(#[from] Closed),
}

/// A refusal for a sentence.
struct Shown<'a>(Option<&'a HubRefusal>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("no reason given"),
            Some(refusal) if refusal.condition.is_empty() => f.write_str(&refusal.description),
            Some(refusal) if refusal.description.is_empty() => f.write_str(&refusal.condition),
            Some(refusal) => write!(f, "{} ({})", refusal.description, refusal.condition),
        }
    }
}
