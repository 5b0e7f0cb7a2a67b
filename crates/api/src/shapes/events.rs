//! What `/api/v1/events` sends, besides [signals](super::signals::SignalLine).

use hubward_model::{MessageId, Offset, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// Event `delivery`: how far a signal is on its way to one integration.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeliveryEvent {
    /// The device's name.
    pub device: String,
    /// The signal's place in the journal.
    #[schema(value_type = words::Offset)]
    pub offset: Offset,
    /// The integration's name.
    pub integration: String,
    /// `accepted`, `waiting` or `dead_letter`.
    pub state: String,
    /// Its message-id.
    #[schema(value_type = words::MessageId)]
    pub message_id: MessageId,
    /// When.
    #[schema(value_type = words::Timestamp)]
    pub at: Timestamp,
}

/// Event `connection`: a device came or went, or its login was refused.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ConnectionEvent {
    /// The device's name.
    pub device: String,
    /// Its id.
    pub device_id: String,
    /// Whether it came.
    pub connected: bool,
    /// Whether its login was refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// Why it went or was refused.
    pub reason: Option<String>,
    /// The same in a sentence.
    pub words: Option<String>,
    /// From where.
    pub peer: String,
}

/// Event `change`: something is different from before; whoever shows it asks for it again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeEvent {
    /// `integration`, `hub`, `device`; `devices`: more than are named one by one; `server`: the journal, or the steps of a
    /// first start; `dropped`: the broker dropped messages; `webhook`; `login`: a wizard's login has come to another stage; `everything`: the first event of each listener, and whenever it is not known what changed.
    pub what: String,
    /// Its id; of a hub its host name, of a login its draft.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its state now; `removed`: it is gone. Of a login the stage that is good now: `hub`, then `key`.
    pub state: Option<String>,
    /// How many devices changed.
    pub number: Option<usize>,
}

/// Event `lagged`: the listener was too slow and missed some events of one kind.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Lagged {
    /// Which kind.
    pub kind: String,
    /// How many, at least.
    pub missed: u64,
}
