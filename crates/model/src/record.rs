//! What the journal stores.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{DeviceId, Epoch, IntegrationId, Offset, Timestamp};

/// What a record is; only [`Signal`](Kind::Signal) goes to lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An accepted PUBLISH that a device means as data.
    Signal,
    /// What a device tells of itself (Pybytes ping, info, terminal and the like).
    System,
    /// A message for devices, published by an app.
    Command,
    /// State of MQTT sessions; its meaning is in the note, which belongs to the broker.
    Session,
}

/// MQTT's quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Qos {
    /// At most once.
    #[default]
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
    /// Exactly once.
    ExactlyOnce,
}

impl From<Qos> for u8 {
    fn from(qos: Qos) -> u8 {
        qos as u8
    }
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

/// A published message as Hubward keeps it: the topic is ours (no device token in it), the payload untouched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Topic name, for example `devices/{id}/signals/temperature`.
    pub topic: String,
    /// The payload, byte for byte.
    pub payload: Bytes,
    /// Quality of service it was published with.
    pub qos: Qos,
    /// Whether it was published as retained.
    pub retain: bool,
    /// MQTT 5 content type.
    pub content_type: Option<String>,
    /// MQTT 5 user properties, in order, names may repeat.
    pub user_properties: Vec<(String, String)>,
}

/// A record before the journal gave it its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What it is.
    pub kind: Kind,
    /// When Hubward received it.
    pub received_at: Timestamp,
    /// The device it came from or is meant for; none for records of apps and sessions.
    pub device: Option<DeviceId>,
    /// A test message goes to this integration alone; everything else to all that bind the device.
    pub only_for: Option<IntegrationId>,
    /// The message.
    pub message: Message,
    /// Opaque to all but the one who wrote it (the broker); the journal never reads it.
    pub note: Bytes,
}

/// A durable entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub offset: Offset,
    /// The opening of the journal that wrote it.
    pub epoch: Epoch,
    /// What it holds.
    pub draft: Draft,
}

impl std::ops::Deref for Record {
    type Target = Draft;

    fn deref(&self) -> &Draft {
        &self.draft
    }
}
