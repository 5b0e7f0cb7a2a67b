use crate::frame::FrameError;
use crate::performative::{Error, condition};
use crate::sasl::SaslCode;
use crate::types::{DecodeError, Symbol};

/// How the peer broke the protocol. The connection is over; what it should be told lies in the output.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProtocolError {
    /// The first 8 bytes are no header that fits.
    #[error("these bytes open no connection we speak: {}", .0.escape_ascii())]
    Header([u8; 8]),
    /// The frame cannot be.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame's content cannot be read.
    #[error("a frame cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    /// A frame that must not come now.
    #[error("{what} was not expected here")]
    Unexpected {
        /// The frame.
        what: &'static str,
    },
    /// The server offers no mechanism that we were told to use.
    #[error("the server does not offer sasl {wanted}, only {offered}")]
    NoMechanism {
        /// Ours.
        wanted: Symbol,
        /// The server's.
        offered: String,
    },
    /// The client wants a mechanism that we do not offer, or gave it a bad first message.
    #[error("the client cannot log in by sasl {0}")]
    Mechanism(Symbol),
    /// The server refused the login.
    #[error("the server refused the login with sasl code {0:?}")]
    LoginRefused(SaslCode),
    /// A frame on a channel without AMQP session, or beyond our maximum.
    #[error("channel {0} is not in use or not allowed")]
    Channel(u16),
    /// A channel with an AMQP session already.
    #[error("channel {0} is in use")]
    ChannelInUse(u16),
    /// A frame for a link that is not attached, or a handle beyond our maximum.
    #[error("handle {0} is not attached or not allowed")]
    Handle(u32),
    /// A handle with a link already.
    #[error("handle {0} is in use")]
    HandleInUse(u32),
    /// A delivery whose transfers contradict each other.
    #[error("the transfers of a delivery contradict each other")]
    Delivery,
}

impl ProtocolError {
    /// What the peer is told in the close frame.
    pub fn to_error(&self) -> Error {
        let condition = match self {
            ProtocolError::Header(_) | ProtocolError::Frame(_) => condition::FRAMING_ERROR,
            ProtocolError::Decode(DecodeError::Missing { .. }) => condition::INVALID_FIELD,
            ProtocolError::Decode(_) => condition::DECODE_ERROR,
            ProtocolError::Unexpected { .. } => condition::ILLEGAL_STATE,
            ProtocolError::NoMechanism { .. } | ProtocolError::Mechanism(_) | ProtocolError::LoginRefused(_) => {
                condition::UNAUTHORIZED_ACCESS
            }
            ProtocolError::Channel(_) | ProtocolError::ChannelInUse(_) => condition::NOT_ALLOWED,
            ProtocolError::Handle(_) => condition::UNATTACHED_HANDLE,
            ProtocolError::HandleInUse(_) => condition::HANDLE_IN_USE,
            ProtocolError::Delivery => condition::INVALID_FIELD,
        };
        Error::new(condition, self.to_string())
    }
}
