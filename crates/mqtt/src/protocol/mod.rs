//! The packets of MQTT as our own types, and the one trait behind which they are read and written.
//!
//! In reading order: `packet` (what can be said), `reason` (the reason codes), [`Codec`], `core_codec` (the codec we use:
//! `mqtt-protocol-core`, but for PUBLISH and its acknowledgements), `publish` (those, by hand, because they are nearly all
//! of the traffic; a property test holds both to the same bytes).
//!
//! A codec knows bytes and one packet at a time. Who may send what when, packet ids in use, windows and sessions are the
//! business of the broker and of the [`client`](crate::client).

mod core_codec;
mod packet;
mod publish;
mod reason;

use bytes::BytesMut;

pub use core_codec::CoreCodec;
pub use packet::{
    Ack, AckKind, ConnAck, Connect, Disconnect, Packet, PacketId, Publish, PublishProperties, Qos, QosError,
    RetainHandling, Secret, SubAck, Subscribe, SubscribeEntry, Unsubscribe, Version, Will,
};
pub use reason::Reason;

/// Reads and writes the packets of one connection.
pub trait Codec: Send {
    /// The version spoken; what a server assumes until it has seen CONNECT is of no consequence.
    fn version(&self) -> Version;

    /// Reads the packet at the front of `input`.
    ///
    /// # Errors
    /// The bytes are no packet that the peer may send; the connection cannot go on.
    fn decode(&mut self, input: &[u8]) -> Result<Decoded, DecodeError>;

    /// Appends `packet` to `output`.
    ///
    /// # Errors
    /// The packet cannot be written, for example a text is too long for the wire; `output` is as it was.
    fn encode(&mut self, packet: &Packet, output: &mut BytesMut) -> Result<(), EncodeError>;
}

/// What stood at the front of the input.
#[derive(Debug)]
pub enum Decoded {
    /// A packet, and how many bytes it took.
    Packet(Packet, usize),
    /// Not all of a packet yet.
    Incomplete {
        /// How many bytes it takes in all, as far as is known: at least one more than there are.
        wanted: usize,
    },
}

/// Why bytes are no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Against the format.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// Against the rules of the protocol.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// Larger than we allow.
    #[error("a packet of {size} bytes, at most {limit}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The largest that is allowed.
        limit: usize,
    },
    /// A CONNECT of a version we do not speak.
    #[error("MQTT protocol level {0} is not spoken here, only 4 (3.1.1) and 5 (5.0)")]
    Version(u8),
    /// The first bytes are another protocol's.
    #[error("{0} spoken to an MQTT port")]
    Foreign(&'static str),
}

impl DecodeError {
    /// The MQTT 5 reason code that says it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) | Self::Foreign(_) => Reason::MALFORMED_PACKET,
            Self::Protocol(_) => Reason::PROTOCOL_ERROR,
            Self::TooLarge { .. } => Reason::PACKET_TOO_LARGE,
            Self::Version(_) => Reason::UNSUPPORTED_PROTOCOL_VERSION,
        }
    }
}

/// Why a packet cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A text or binary of more than 65,535 bytes where only that many fit.
    #[error("{0} is longer than 65535 bytes")]
    TooLong(&'static str),
    /// More than 256 MiB.
    #[error("a packet of {0} bytes is larger than MQTT allows")]
    TooLarge(usize),
    /// A combination the format cannot express.
    #[error("{0} cannot be written")]
    Invalid(&'static str),
}

#[cfg(test)]
mod tests;
