//! The JSON of the interface, as types that both sides use: the server writes them, the commands read them.
//!
//! Scripts rely on the names. A field may be added; none is renamed or taken away.

pub mod access;
pub mod alarms;
pub mod dead_letters;
pub mod devices;
pub mod drafts;
pub mod drift;
pub mod dropped;
pub mod events;
pub mod expired;
pub mod integration_requests;
pub mod integrations;
pub mod misc;
pub mod overview;
pub mod signals;

use serde::{Deserialize, Serialize};

/// A part of a list.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// What to give as `cursor` (signals: `from`) for the next part; null at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A list that is complete.
    #[must_use]
    pub fn all(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}
