//! Expired signals.

use hubward_model::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// Signals of one device that an integration gave up because a limit was reached.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExpiredRange {
    /// Its id.
    pub id: String,
    /// The device's name; its id if it is gone.
    pub device: String,
    /// Its id.
    #[schema(value_type = words::DeviceId)]
    pub device_id: DeviceId,
    /// The first of them stands at this offset or after it.
    pub from: u64,
    /// All of them stand before this offset.
    pub to: u64,
    /// How many.
    pub count: u64,
    /// Their bytes, as limits count them.
    pub bytes: u64,
    /// Which limit: `device_backlog_limit`, `backlog_limit` or `device_backlog_age`.
    pub reason: String,
    /// The same in words.
    pub why: String,
    /// When they were given up.
    #[schema(value_type = words::Timestamp)]
    pub at: Timestamp,
}
