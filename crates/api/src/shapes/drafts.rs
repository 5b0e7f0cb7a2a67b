//! Wizards that were begun.

use hubward_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

use super::integrations::LoginFound;

/// A wizard that was begun.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DraftShow {
    /// Its id.
    pub id: String,
    /// What was typed, as the page keeps it.
    pub data: serde_json::Value,
    /// What the login found, once there was one.
    pub login: Option<LoginFound>,
    /// Rises with every change.
    pub version: u64,
    /// When it was begun.
    #[schema(value_type = words::Timestamp)]
    pub created_at: Timestamp,
    /// When it was last touched.
    #[schema(value_type = words::Timestamp)]
    pub updated_at: Timestamp,
}

/// What was typed so far. No connection string: that goes to the login.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DraftData {
    /// Anything, at most 64 KB of JSON.
    pub data: serde_json::Value,
}

/// A draft that is gone.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DraftRemoved {
    /// Its id.
    pub removed: String,
}
