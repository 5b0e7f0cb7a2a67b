//! Devices.

use hubward_model::{BindingState, DeviceId, DeviceKind, Timestamp};
use serde::{Deserialize, Serialize};

/// A device in the list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Its public id.
    pub id: DeviceId,
    /// Its name.
    pub name: String,
    /// How it speaks to us.
    pub kind: DeviceKind,
    /// Whether a connection of it is open.
    pub connected: bool,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// Signals received from it.
    pub signals: u64,
}

/// A device with all that is known of it, except its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceShow {
    /// What the list shows.
    #[serde(flatten)]
    pub row: DeviceRow,
    /// The user name it logs in with; none: not checked (Pycom).
    pub username: Option<String>,
    /// Its own uplink filters; empty: the kind's own.
    pub topics: Vec<String>,
    /// When it was added.
    pub created_at: Timestamp,
    /// The integrations that republish it.
    pub integrations: Vec<DeviceBinding>,
}

/// An integration of a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceBinding {
    /// The integration's name.
    pub integration: String,
    /// The identity in its hub.
    pub hub_device_id: String,
    /// State of the device in it.
    pub state: BindingState,
}

/// A device to add.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// Its name.
    pub name: String,
    /// How it speaks to us; `mqtt` if not said.
    #[serde(default)]
    pub kind: Option<DeviceKind>,
    /// A user name of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// A password it has already (kind mqtt); else one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A token it has already (kind pycom); else one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Uplink filters of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
}

/// A device's credentials, shown once: in the answer that makes them.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// The device's id.
    pub id: DeviceId,
    /// Its name.
    pub name: String,
    /// How it speaks to us.
    pub kind: DeviceKind,
    /// User name (kind mqtt: always; kind pycom: null means that it is not checked).
    pub username: Option<String>,
    /// The password (kind mqtt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The token (kind pycom): client id and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What to change of a device; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceEdit {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New uplink filters; an empty list returns to the kind's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<String>>,
}
