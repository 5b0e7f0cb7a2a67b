//! Signals, as `signals`, `watch` and the events show them.

use hubward_model::{MessageId, Offset, Timestamp};
use serde::{Deserialize, Serialize};

/// A signal and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignalLine {
    /// The device's name.
    pub device: String,
    /// Its place in the journal. That it has one means that it is durable.
    pub offset: Offset,
    /// When it was received.
    pub received_at: Timestamp,
    /// The topic, as apps see it.
    pub topic: String,
    /// Quality of service it came with.
    pub qos: u8,
    /// Bytes of the payload.
    pub size: usize,
    /// The payload.
    pub body_base64: String,
    /// The signal number of a Pybytes frame.
    pub signal: Option<u8>,
    /// The value of a Pybytes frame.
    pub value: Option<serde_json::Value>,
    /// Where it goes, and how far it is.
    pub deliveries: Vec<DeliveryLine>,
    /// The device's id.
    pub device_id: String,
    /// Whether it is a test message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
}

/// A signal on its way to one integration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliveryLine {
    /// The integration's name.
    pub integration: String,
    /// `waiting`, `accepted` or `dead_letter`.
    pub state: String,
    /// Its message-id in the hub.
    pub message_id: MessageId,
}
