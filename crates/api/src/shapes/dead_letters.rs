//! Dead letters.

use hubward_model::{MessageId, Offset, Problem, Timestamp};
use serde::{Deserialize, Serialize};

/// A signal that was given up for one integration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetterRow {
    /// Its id.
    pub id: String,
    /// The integration's name.
    pub integration: String,
    /// The device's name.
    pub device: String,
    /// Its place in the journal.
    pub offset: Offset,
    /// Its message-id.
    pub message_id: MessageId,
    /// Why it was given up.
    pub reason: String,
    /// What the hub said.
    pub hub_error: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up.
    pub at: Timestamp,
    /// Bytes of the payload.
    pub size: u64,
}

/// A dead letter with its content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetterShow {
    /// What the list shows.
    #[serde(flatten)]
    pub row: DeadLetterRow,
    /// The topic it came on.
    pub topic: String,
    /// When it was received.
    pub received_at: Timestamp,
    /// The payload.
    pub body_base64: String,
}

/// Which dead letters are meant: some, or all (of an integration or a device).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// These.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// All.
    #[serde(default)]
    pub all: bool,
    /// With `all`: of this integration only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integration: Option<String>,
    /// With `all`: of this device only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// What became of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SelectionDone {
    /// How many were retried and accepted, or discarded.
    pub done: u64,
    /// Those that failed again.
    pub failed: Vec<FailedDeadLetter>,
}

/// A dead letter that failed again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FailedDeadLetter {
    /// Its id.
    pub id: String,
    /// Why.
    #[serde(flatten)]
    pub problem: Problem,
}
