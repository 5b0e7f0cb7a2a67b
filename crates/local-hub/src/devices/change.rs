//! What is written of devices: each change says what is so from then on, so that reading it twice harms nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hubward_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::feedback::Record;
use super::queue::{Ack, Waiting};
use super::twin::Twin;

/// One change.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// A device's twin.
    Twin { device: Arc<str>, generation: Arc<str>, twin: Arc<Twin> },
    /// What a device has subscribed to for good, with which quality of service; nothing: it has no session.
    Session { device: Arc<str>, generation: Arc<str>, subscriptions: Option<Subscriptions> },
    /// A message waits for a device.
    Message { device: Arc<str>, generation: Arc<str>, message: MessageEntry },
    /// It was given back so often.
    GivenBack { device: Arc<str>, sequence: u64, deliveries: u32 },
    /// It waits no longer; the sender may want to hear of it.
    Gone { device: Arc<str>, sequence: u64, feedback: Option<Record> },
    /// Feedback, in a rewritten file only.
    Feedback(Record),
    /// Feedback that is done with.
    Heard(Vec<u64>),
    /// When a device was last connected or not, and last active.
    Seen { device: Arc<str>, state_changed_at: Option<Timestamp>, last_activity: Option<Timestamp> },
    /// Nothing is known of a device any more: its identity is gone.
    Forgotten { device: Arc<str> },
}

/// Topic filters, with their quality of service.
pub(super) type Subscriptions = BTreeMap<String, u8>;

/// A waiting message on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MessageEntry {
    sequence: u64,
    enqueued_at: Timestamp,
    expires_at: Timestamp,
    ack: Ack,
    deliveries: u32,
    /// The AMQP message, in base64.
    message: String,
}

impl MessageEntry {
    pub(super) fn of(waiting: &Waiting) -> Self {
        Self {
            sequence: waiting.sequence,
            enqueued_at: waiting.enqueued_at,
            expires_at: waiting.expires_at,
            ack: waiting.ack,
            deliveries: waiting.deliveries,
            message: STANDARD.encode(waiting.message.to_bytes()),
        }
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The message; nothing if it cannot be read.
    pub(super) fn into_waiting(self) -> Option<Waiting> {
        let bytes = STANDARD.decode(self.message).ok()?;
        let times = (self.enqueued_at, self.expires_at);
        Waiting::restored(self.sequence, times, self.ack, self.deliveries, bytes.into())
    }
}
