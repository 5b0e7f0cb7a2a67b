//! What `/api/v1/events` sends, besides [signals](super::signals::SignalLine).

use hubward_model::{MessageId, Offset, Timestamp};
use serde::{Deserialize, Serialize};

/// Event `delivery`: how far a signal is on its way to one integration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliveryEvent {
    /// The device's name.
    pub device: String,
    /// The signal's place in the journal.
    pub offset: Offset,
    /// The integration's name.
    pub integration: String,
    /// `accepted`, `waiting` or `dead_letter`.
    pub state: String,
    /// Its message-id.
    pub message_id: MessageId,
    /// When.
    pub at: Timestamp,
}

/// Event `lagged`: the listener was too slow and missed some events of one kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lagged {
    /// Which kind.
    pub kind: String,
    /// How many, at least.
    pub missed: u64,
}
