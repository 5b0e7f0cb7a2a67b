//! Choices a user makes, and the states shown for them, spelled as in JSON, on the command line and in the database.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word that is none of the allowed ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not a {what}: it is one of {allowed}")]
pub struct WordError {
    what: &'static str,
    word: String,
    allowed: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident ($what:expr) { $($(#[$vdoc:meta])* $variant:ident = $word:expr),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// All values, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = WordError;

            fn from_str(word: &str) -> Result<Self, WordError> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    other => Err(WordError {
                        what: $what,
                        word: other.to_owned(),
                        allowed: Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "),
                    }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// How a device speaks to us.
    DeviceKind ("device kind") {
        /// Any MQTT client; user name = device id.
        Mqtt = "mqtt",
        /// Pycom's firmware; client id = password = device token.
        Pycom = "pycom",
    }
}
words! {
    /// What the body of a D2C message is.
    BodyFormat ("body format") {
        /// The PUBLISH payload, untouched.
        Raw = "raw",
        /// The decoded signal as JSON.
        Json = "json",
    }
}
words! {
    /// The way up to the hub.
    Transport ("transport") {
        /// AMQP over TLS, many devices on one connection.
        Amqp = "amqp",
        /// The same inside a WebSocket on port 443.
        AmqpWs = "amqp-ws",
        /// MQTT over TLS, a connection for each device.
        Mqtt = "mqtt",
        /// The same inside a WebSocket on port 443.
        MqttWs = "mqtt-ws",
        /// One HTTPS request for each batch.
        Https = "https",
    }
}
words! {
    /// What to do when the hub already has an identity of the wanted id.
    OnExisting ("answer to an existing identity") {
        /// Refuse, and name it.
        Refuse = "refuse",
        /// Read its keys and send as it; never delete it.
        Adopt = "adopt",
        /// Make one with another id.
        Rename = "rename",
    }
}
words! {
    /// What to do when an identity was deleted outside.
    OnMissing ("answer to a missing identity") {
        /// Create it again with the same keys.
        Recreate = "recreate",
        /// Hold the lane and its signals.
        Hold = "hold",
        /// Remove the binding.
        Unbind = "unbind",
    }
}
words! {
    /// Which keys an identity gets that is made again.
    OnMissingKeys ("choice of keys for an identity made again") {
        /// Those it had: whoever else has them can use them on.
        Same = "same",
        /// New ones.
        New = "new",
    }
}
words! {
    /// What to do when a backlog reaches its limit.
    OnFull ("answer to a full backlog") {
        /// Slow the devices that are to blame.
        Backpressure = "backpressure",
        /// Drop the oldest signals, counted and alarmed.
        ExpireOldest = "expire-oldest",
    }
}
words! {
    /// A tier of IoT Hub.
    Tier ("tier") {
        /// Free: one unit.
        F1 = "F1",
        /// The smallest that is paid for.
        S1 = "S1",
        /// The middle one.
        S2 = "S2",
        /// The largest.
        S3 = "S3",
    }
}
words! {
    /// State of an integration.
    IntegrationState ("integration state") {
        /// Its identities are being made.
        Creating = "creating",
        /// Signals flow.
        Active = "active",
        /// Paused by a user; the backlog grows.
        Paused = "paused",
        /// The hub as a whole is away or throttles.
        Waiting = "waiting",
        /// A person is needed.
        Attention = "attention",
        /// Its identities are being deleted.
        Removing = "removing",
    }
}
words! {
    /// State of a device in an integration.
    BindingState ("device state") {
        /// Its identity is being made.
        Creating = "creating",
        /// Its lane delivers.
        Delivering = "delivering",
        /// Its lane holds its signals.
        Held = "held",
        /// Its identity is gone from the hub.
        Missing = "missing",
        /// Its identity is disabled in the hub.
        Disabled = "disabled",
        /// The hub has an identity of this id that is not ours.
        Conflict = "conflict",
        /// Its identity is being deleted.
        Removing = "removing",
    }
}
