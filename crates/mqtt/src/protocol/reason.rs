//! Reason codes of MQTT 5.0, and what they are for a 3.1.1 client.

use std::fmt;

/// A reason code (MQTT 5.0, 2.4). Codes from 0x80 are refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(pub u8);

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:expr, $text:expr;)+) => {
        impl Reason {
            $($(#[$doc])* pub const $name: Self = Self($code);)+

            /// What it means.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self.0 {
                    $($code => $text,)+
                    code if code < 0x80 => "accepted",
                    _ => "refused",
                }
            }
        }
    };
}

reasons! {
    /// Done.
    SUCCESS = 0x00, "success";
    /// DISCONNECT that leaves the will standing.
    DISCONNECT_WITH_WILL = 0x04, "disconnected, send the will";
    /// Accepted, and nobody has subscribed.
    NO_SUBSCRIBERS = 0x10, "no matching subscribers";
    /// There was no such subscription.
    NO_SUBSCRIPTION = 0x11, "no subscription existed";
    /// No better reason.
    UNSPECIFIED = 0x80, "unspecified error";
    /// Against the format.
    MALFORMED_PACKET = 0x81, "malformed packet";
    /// Against the rules.
    PROTOCOL_ERROR = 0x82, "protocol error";
    /// A rule of ours.
    IMPLEMENTATION_SPECIFIC = 0x83, "implementation specific error";
    /// A version we do not speak.
    UNSUPPORTED_PROTOCOL_VERSION = 0x84, "unsupported protocol version";
    /// The client id is not allowed.
    CLIENT_ID_NOT_VALID = 0x85, "client identifier not valid";
    /// User name or password wrong.
    BAD_CREDENTIALS = 0x86, "bad user name or password";
    /// Not allowed.
    NOT_AUTHORIZED = 0x87, "not authorized";
    /// The server cannot serve now.
    SERVER_UNAVAILABLE = 0x88, "server unavailable";
    /// Too much to do.
    SERVER_BUSY = 0x89, "server busy";
    /// The server stops.
    SERVER_SHUTTING_DOWN = 0x8b, "server shutting down";
    /// A way of authentication we do not offer.
    BAD_AUTHENTICATION_METHOD = 0x8c, "bad authentication method";
    /// Nothing was heard for one and a half times the keepalive.
    KEEP_ALIVE_TIMEOUT = 0x8d, "keep alive timeout";
    /// The same client connected again.
    SESSION_TAKEN_OVER = 0x8e, "session taken over";
    /// The filter is malformed or not allowed.
    TOPIC_FILTER_INVALID = 0x8f, "topic filter invalid";
    /// The name is malformed or not allowed.
    TOPIC_NAME_INVALID = 0x90, "topic name invalid";
    /// The packet id is in use.
    PACKET_ID_IN_USE = 0x91, "packet identifier in use";
    /// The packet id is unknown.
    PACKET_ID_NOT_FOUND = 0x92, "packet identifier not found";
    /// More unacknowledged than announced.
    RECEIVE_MAXIMUM_EXCEEDED = 0x93, "receive maximum exceeded";
    /// A topic alias we did not allow.
    TOPIC_ALIAS_INVALID = 0x94, "topic alias invalid";
    /// Larger than announced.
    PACKET_TOO_LARGE = 0x95, "packet too large";
    /// A limit is reached.
    QUOTA_EXCEEDED = 0x97, "quota exceeded";
    /// A person or a rule closed it.
    ADMINISTRATIVE_ACTION = 0x98, "administrative action";
    /// No subscription of this kind.
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9e, "shared subscriptions not supported";
}

impl Reason {
    /// Whether it refuses.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// The CONNACK return code of MQTT 3.1.1 that comes nearest (3.2.2.3 there).
    #[must_use]
    pub fn connect_return_code(self) -> u8 {
        match self {
            Self::SUCCESS => 0,
            Self::UNSUPPORTED_PROTOCOL_VERSION => 1,
            Self::CLIENT_ID_NOT_VALID => 2,
            Self::BAD_CREDENTIALS => 4,
            Self::NOT_AUTHORIZED | Self::TOPIC_NAME_INVALID => 5,
            _ => 3,
        }
    }

    /// The reason code that says what a CONNACK return code of MQTT 3.1.1 says.
    #[must_use]
    pub fn of_connect_return_code(code: u8) -> Self {
        match code {
            0 => Self::SUCCESS,
            1 => Self::UNSUPPORTED_PROTOCOL_VERSION,
            2 => Self::CLIENT_ID_NOT_VALID,
            3 => Self::SERVER_UNAVAILABLE,
            4 => Self::BAD_CREDENTIALS,
            5 => Self::NOT_AUTHORIZED,
            _ => Self::UNSPECIFIED,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02x})", self.text(), self.0)
    }
}
