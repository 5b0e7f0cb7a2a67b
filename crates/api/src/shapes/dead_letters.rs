//! Dead letters.

use hubward_model::{DeviceId, IntegrationId, MessageId, Offset, Problem, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

use super::integrations::MessageShow;

/// A signal that was given up for one integration.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterRow {
    /// Its id.
    pub id: String,
    /// The integration's name.
    pub integration: String,
    /// The device's name.
    pub device: String,
    /// Its place in the journal.
    #[schema(value_type = words::Offset)]
    pub offset: Offset,
    /// Its message-id.
    #[schema(value_type = words::MessageId)]
    pub message_id: MessageId,
    /// Why it was given up.
    pub reason: String,
    /// What the hub said.
    pub hub_error: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up.
    #[schema(value_type = words::Timestamp)]
    pub at: Timestamp,
    /// Bytes of the payload.
    pub size: u64,
    /// A word for the reason, to group by.
    #[serde(default)]
    pub code: String,
    /// What to do.
    #[serde(default)]
    pub remedy: String,
    /// The integration's id.
    #[schema(value_type = Option<words::IntegrationId>)]
    pub integration_id: Option<IntegrationId>,
    /// The device's id.
    #[schema(value_type = Option<words::DeviceId>)]
    pub device_id: Option<DeviceId>,
}

/// Dead letters of one integration with one reason.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterGroup {
    /// The integration's name.
    pub integration: String,
    /// Its id.
    #[schema(value_type = words::IntegrationId)]
    pub integration_id: IntegrationId,
    /// A word for the reason.
    pub code: String,
    /// The reason in words.
    pub reason: String,
    /// What to do.
    pub remedy: String,
    /// How many.
    pub count: u64,
    /// When the latest was given up.
    #[schema(value_type = words::Timestamp)]
    pub latest_at: Timestamp,
}

/// A dead letter with its content.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterShow {
    /// What the list shows.
    #[serde(flatten)]
    pub row: DeadLetterRow,
    /// The topic it came on.
    pub topic: String,
    /// When it was received.
    #[schema(value_type = words::Timestamp)]
    pub received_at: Timestamp,
    /// The payload.
    pub body_base64: String,
    /// MQTT 5 user properties it came with.
    #[serde(default)]
    pub user_properties: Vec<(String, String)>,
    /// The message as the hub would get it now; absent when the integration is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageShow>,
}

/// Which dead letters are meant: some, or all (of an integration or a device).
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
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
    /// With `all`: with this code only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// With `all`: given up at this time or after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Timestamp>)]
    pub since: Option<Timestamp>,
    /// With `all`: given up before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Timestamp>)]
    pub until: Option<Timestamp>,
}

/// What became of them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SelectionDone {
    /// How many were retried and accepted, or discarded.
    pub done: u64,
    /// Those that failed again.
    pub failed: Vec<FailedDeadLetter>,
}

/// A dead letter that failed again.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FailedDeadLetter {
    /// Its id.
    pub id: String,
    /// Why.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub problem: Problem,
}
