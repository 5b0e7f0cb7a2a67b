//! Alarms, the silence of devices, and the webhook that tells of them.

use hubward_model::{DeviceId, IntegrationId, Timestamp};
use hubward_registry::RaisedAlarm;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// Something that needs somebody's eye.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmShow {
    /// Its id.
    pub id: String,
    /// What it is about, as a word.
    #[schema(value_type = words::AlarmKind)]
    pub kind: String,
    /// The same in a few words.
    pub title: String,
    /// The integration it concerns; null: none.
    pub integration: Option<String>,
    /// Its id.
    #[schema(value_type = Option<words::IntegrationId>)]
    pub integration_id: Option<IntegrationId>,
    /// The device it concerns; null: none.
    pub device: Option<String>,
    /// Its id.
    #[schema(value_type = Option<words::DeviceId>)]
    pub device_id: Option<DeviceId>,
    /// What was noticed.
    pub cause: String,
    /// What to do.
    pub remedy: String,
    /// It tells of something that happened and does not last: acknowledging it ends it.
    pub happened: bool,
    /// When it was raised.
    #[schema(value_type = words::Timestamp)]
    pub since: Timestamp,
    /// When its text last changed.
    #[schema(value_type = words::Timestamp)]
    pub updated_at: Timestamp,
    /// When somebody acknowledged it; null: nobody did.
    #[schema(value_type = Option<words::Timestamp>)]
    pub acknowledged_at: Option<Timestamp>,
    /// Who did.
    pub acknowledged_by: Option<String>,
    /// When it was over; null: it is open.
    #[schema(value_type = Option<words::Timestamp>)]
    pub cleared_at: Option<Timestamp>,
}

impl From<RaisedAlarm> for AlarmShow {
    fn from(alarm: RaisedAlarm) -> Self {
        Self {
            id: alarm.id,
            kind: alarm.key.kind.as_str().to_owned(),
            title: alarm.key.kind.title().to_owned(),
            integration: alarm.integration_name,
            integration_id: alarm.key.integration,
            device: alarm.device_name,
            device_id: alarm.key.device,
            cause: alarm.cause,
            remedy: alarm.remedy,
            happened: alarm.key.kind.is_event(),
            since: alarm.since,
            updated_at: alarm.updated_at,
            acknowledged_at: alarm.acknowledged_at,
            acknowledged_by: alarm.acknowledged_by,
            cleared_at: alarm.cleared_at,
        }
    }
}

/// How many alarms are open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmTotals {
    /// All.
    pub open: u64,
    /// Those that nobody has acknowledged.
    pub unacknowledged: u64,
}

/// Event `alarm`, and what a webhook is sent: an alarm, after something happened to it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AlarmChanged {
    /// `raised`, `updated`, `acknowledged` or `cleared`; of a webhook's test `test`.
    pub event: String,
    /// The alarm.
    pub alarm: AlarmShow,
}

/// What is known of a device's silence.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SilenceShow {
    /// Whether an alarm is wanted when the device is silent.
    pub watched: bool,
    /// After so many seconds without a signal; null: not learned yet.
    pub limit_s: Option<u64>,
}

/// Whether an alarm is wanted.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SilenceEdit {
    /// It is.
    pub watched: bool,
}

/// The webhook that is told of alarms. Its address may hold a secret: only scheme, host and port are shown.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WebhookShow {
    /// Scheme, host and port.
    pub target: String,
    /// Whether a private certificate authority is trusted there.
    pub own_ca: bool,
    /// When it was set.
    #[schema(value_type = words::Timestamp)]
    pub created_at: Timestamp,
    /// Notices it took since then.
    pub sent: u64,
    /// Notices that wait.
    pub waiting: u64,
    /// Notices it was never told: too many waited, or it was away for a day.
    pub dropped: u64,
    /// When it last took one.
    #[schema(value_type = Option<words::Timestamp>)]
    pub last_sent_at: Option<Timestamp>,
    /// Since when it takes none; null: it does.
    #[schema(value_type = Option<words::Timestamp>)]
    pub failing_since: Option<Timestamp>,
    /// Why.
    pub last_error: Option<String>,
    /// Only in the answer that sets it without a secret of one's own: the key that signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// A webhook to set.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookEdit {
    /// Where alarms are sent by POST: `https://HOST[:PORT]/…`, on a host that the server was allowed at its start.
    #[schema(max_length = 2048)]
    pub url: String,
    /// The key that signs, 16 to 256 characters; none: a random one is made and answered once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 16, max_length = 256)]
    pub secret: Option<String>,
    /// Certificates of a private authority, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// The target took a test notice.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WebhookTested {
    /// The status it answered with.
    pub status: u16,
    /// After how many milliseconds.
    pub took_ms: u64,
}
