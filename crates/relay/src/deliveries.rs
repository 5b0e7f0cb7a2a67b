//! What became of a signal, for `signals`, `watch` and `trace`.

use std::fmt;

use hubward_model::{DeviceId, IntegrationId, IntegrationName, MessageId, Offset, Timestamp};
use serde::{Deserialize, Serialize};

/// State of one signal in one integration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// The hub has it.
    Accepted,
    /// It waits: in the journal, or on its way.
    Waiting,
    /// It could not be delivered and is kept as a dead letter. (Of discarded ones nothing is kept: they show as accepted.)
    DeadLetter,
    /// It was given up because a limit was reached; `integration expired` lists the range it is in.
    Expired,
}

impl DeliveryState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Waiting => "waiting",
            Self::DeadLetter => "dead_letter",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One signal in one integration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The integration.
    pub integration: IntegrationId,
    /// Its name.
    pub name: IntegrationName,
    /// What became of the signal there.
    pub state: DeliveryState,
    /// Its id at the hub.
    pub message_id: MessageId,
}

/// A signal was accepted, or became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryEvent {
    /// The device it is from.
    pub device: DeviceId,
    /// Where its record stands.
    pub offset: Offset,
    /// The integration.
    pub integration: IntegrationId,
    /// What became of it.
    pub state: DeliveryState,
    /// Its id at the hub.
    pub message_id: MessageId,
    /// When.
    pub at: Timestamp,
}
