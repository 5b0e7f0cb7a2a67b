//! Dropped messages.

use hubward_model::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// What the MQTT broker dropped since the server started.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DroppedShow {
    /// When the server started: nothing before it counts.
    #[schema(value_type = words::Timestamp)]
    pub since: Timestamp,
    /// One for each reason for which something was dropped.
    pub items: Vec<DroppedRow>,
}

/// What was dropped for one reason.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DroppedRow {
    /// Why, as the metric `hubward_mqtt_dropped_total` has it.
    #[schema(value_type = words::DropReason)]
    pub reason: String,
    /// What was dropped and why, as a clause.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// How many.
    pub count: u64,
    /// When the last one was.
    #[schema(value_type = words::Timestamp)]
    pub last_at: Timestamp,
    /// Whose the last one was: who sent it, or whom it was for; null: nobody can say.
    pub last_owner: Option<ClientName>,
}

/// A client of the MQTT broker: a device, or an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientName {
    /// The device's name; its id if it is gone. Null: it is an app.
    pub device: Option<String>,
    /// Its id.
    #[schema(value_type = Option<words::DeviceId>)]
    pub device_id: Option<DeviceId>,
    /// The name of the app's API token; its id if it was revoked. Null: it is a device.
    pub app: Option<String>,
}
