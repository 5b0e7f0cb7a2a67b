//! How an integration differs from its hub.

use hubward_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// How an integration differs from its hub, as far as that was looked at.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DriftShow {
    /// The hub's host name.
    pub host_name: String,
    /// Devices of the integration whose identity should exist.
    pub bound: u64,
    /// How the hub is looked at: `list` (all at once), `query` (which there are, then one after the other), `get` (one after
    /// the other); null before the first look.
    pub by: Option<String>,
    /// How many identities of this hub, over all its integrations, were looked at in the round under way.
    pub looked_at: u64,
    /// Of how many.
    pub of: u64,
    /// When all of them had been looked at last.
    #[schema(value_type = Option<words::Timestamp>)]
    pub complete_at: Option<Timestamp>,
    /// What differs.
    pub differences: Vec<DriftDifference>,
    /// Identities that Hubward made and that no device sends as any more; at most 100.
    pub orphans: Vec<DriftOrphan>,
    /// Why the hub could not be asked last, if it could not.
    pub last_error: Option<String>,
}

/// An identity that is not as Hubward knows it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DriftDifference {
    /// The device's name.
    pub device: String,
    /// Its id in the hub.
    pub hub_device_id: String,
    /// `missing`, `other_keys`, `made_again`, `disabled` or `no_keys`.
    pub what: String,
    /// Since when that is known.
    #[schema(value_type = words::Timestamp)]
    pub since: Timestamp,
}

/// An identity of ours that nobody uses.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DriftOrphan {
    /// Its id in the hub.
    pub hub_device_id: String,
    /// When Hubward made it.
    #[schema(value_type = words::Timestamp)]
    pub made_at: Timestamp,
    /// Whether it was seen in the hub; null: not looked for yet.
    pub seen: Option<bool>,
}
