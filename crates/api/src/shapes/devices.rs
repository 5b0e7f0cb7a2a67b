//! Devices.

use hubward_model::{BindingState, DeviceId, DeviceKind, IntegrationId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// A device in the list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeviceRow {
    /// Its public id.
    #[schema(value_type = words::DeviceId)]
    pub id: DeviceId,
    /// Its name.
    pub name: String,
    /// How it speaks to us.
    #[schema(value_type = words::DeviceKind)]
    pub kind: DeviceKind,
    /// Whether a connection of it is open.
    pub connected: bool,
    /// When it was last heard of.
    #[schema(value_type = Option<words::Timestamp>)]
    pub last_seen: Option<Timestamp>,
    /// Signals received from it.
    pub signals: u64,
    /// `connected`, `late` (silent for much longer than usual, connected or not), `idle` (it was here), `never_seen`, or
    /// `refused` (its last login was).
    #[serde(default)]
    pub state: String,
    /// Signals received from it in the last hour.
    #[serde(default)]
    pub signals_last_hour: u64,
    /// Signals of it that wait for a hub.
    #[serde(default)]
    pub waiting: u64,
    /// Signals of it that were given up.
    #[serde(default)]
    pub dead_letters: u64,
    /// Names of the integrations it is in.
    #[serde(default)]
    pub integration_names: Vec<String>,
    /// Logins refused in the last hour, since the last that succeeded.
    #[serde(default)]
    pub refused_last_hour: u64,
    /// When it was added.
    #[schema(value_type = Option<words::Timestamp>)]
    pub added_at: Option<Timestamp>,
}

/// Devices, and how many there are of the asked-for kind.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DevicePage {
    /// The entries.
    pub items: Vec<DeviceRow>,
    /// What to give as `cursor` for the next part; null at the end.
    pub next: Option<String>,
    /// How many there are in all parts.
    #[serde(default)]
    pub total: usize,
}

/// A device with all that is known of it, except its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeviceShow {
    /// What the list shows.
    #[serde(flatten)]
    pub row: DeviceRow,
    /// The user name it logs in with; none: not checked (Pycom).
    pub username: Option<String>,
    /// Its own uplink filters; empty: the kind's own.
    pub topics: Vec<String>,
    /// When it was added.
    #[schema(value_type = words::Timestamp)]
    pub created_at: Timestamp,
    /// The integrations that republish it.
    pub integrations: Vec<DeviceBinding>,
    /// What a Pycom board told of itself.
    #[serde(default)]
    pub told: Told,
    /// Until when the secret before the present one counts too; none: it does not.
    #[serde(default)]
    #[schema(value_type = Option<words::Timestamp>)]
    pub old_until: Option<Timestamp>,
    /// The old secret counts, and the device was not seen with the new one yet.
    #[serde(default)]
    pub still_on_old: bool,
}

/// What a Pycom board told of itself, the last of each; each with `at`. Null: it told nothing of the kind.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Told {
    /// `device` (the board), `firmware`, `app_release`.
    pub info: Option<serde_json::Value>,
    /// `mac`, `ip`.
    pub network: Option<serde_json::Value>,
    /// `networks` (each with `bssid`, `channel`, `rssi`), `lora_rssi`.
    pub scan: Option<serde_json::Value>,
    /// `level` in percent.
    pub battery: Option<serde_json::Value>,
}

/// What the removal of a device would do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeviceRemoval {
    /// Its name.
    pub device: String,
    /// Signals received from it, which are no longer shown.
    pub signals: u64,
    /// What becomes of it in each integration.
    pub integrations: Vec<LeavesIntegration>,
    /// Signals that wait for a hub.
    pub waiting: u64,
    /// Dead letters that go with it.
    pub dead_letters: u64,
}

/// What becomes of a device that is removed in one integration.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LeavesIntegration {
    /// The integration's name.
    pub integration: String,
    /// Its hub.
    pub host_name: String,
    /// The identity there.
    pub hub_device_id: String,
    /// `deleted`, `left` (others made it) or `none` (it was never made).
    pub identity: String,
    /// Signals that wait for this hub.
    pub waiting: u64,
    /// Dead letters.
    pub dead_letters: u64,
}

/// What to put on a device, its secret apart.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Snippets {
    /// How it speaks.
    #[schema(value_type = words::DeviceKind)]
    pub kind: DeviceKind,
    /// Its user name; null: any.
    pub username: Option<String>,
    /// `any`, or `token`: the client id is the token.
    pub client_id: String,
    /// This server's addresses, the best first.
    pub hosts: Vec<String>,
    /// MQTT in clear text; null: not listening.
    pub mqtt_port: Option<u16>,
    /// MQTT over TLS.
    pub mqtts_port: Option<u16>,
    /// MQTT over WebSocket.
    pub ws_port: Option<u16>,
    /// MQTT over WebSocket over TLS.
    pub wss_port: Option<u16>,
    /// Other machines cannot reach it.
    pub loopback_only: bool,
    /// Topics or filters it may publish on; `{token}` stands where its token belongs.
    pub publish: Vec<String>,
    /// What it may subscribe to.
    pub subscribe: Vec<String>,
    /// A topic to begin with.
    pub example_topic: String,
}

/// A connection of a device, or a login that was refused.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ConnectionRow {
    /// Its id.
    pub id: String,
    /// `open`, `ended` or `refused`.
    pub outcome: String,
    /// When it began.
    #[schema(value_type = words::Timestamp)]
    pub connected_at: Timestamp,
    /// When it ended; null: it did not, or nobody saw it.
    #[schema(value_type = Option<words::Timestamp>)]
    pub ended_at: Option<Timestamp>,
    /// How long it was open, until now if it is.
    pub duration_ms: Option<u64>,
    /// From where.
    pub peer: String,
    /// `MQTT 3.1.1` or `MQTT 5.0`.
    pub protocol: Option<String>,
    /// The client's keep-alive; 0: none.
    pub keep_alive_s: Option<u16>,
    /// Why it ended or was refused.
    pub reason: Option<String>,
    /// The same in a sentence.
    pub words: Option<String>,
}

/// How many connections were closed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Disconnected {
    /// It.
    pub disconnected: usize,
}

/// A file of devices.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Csv {
    /// Its text; the first line names the columns: name, kind, token, username, password, topics.
    pub csv: String,
}

/// What a file of devices would do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CsvChecked {
    /// The columns that were found.
    pub columns: Vec<String>,
    /// Line by line.
    pub lines: Vec<CsvLine>,
    /// Lines that can be added.
    pub ok: usize,
    /// Lines whose device is there already.
    pub exists: usize,
    /// Lines that cannot be added.
    pub refused: usize,
}

/// One line of a file of devices.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct CsvLine {
    /// Its number in the file, from 1.
    pub line: usize,
    /// The device's name.
    pub name: String,
    /// Its kind.
    #[schema(value_type = Option<words::DeviceKind>)]
    pub kind: Option<DeviceKind>,
    /// `ok` (checked), `added`, `exists` or `refused`.
    pub outcome: String,
    /// The device's id, once added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::DeviceId>)]
    pub id: Option<DeviceId>,
    /// Its user name, once added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password that was made, this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The token that was made, this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A word for what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Which column is to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl std::fmt::Debug for CsvLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvLine").field("line", &self.line).field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// An integration of a device.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeviceBinding {
    /// The integration's name.
    pub integration: String,
    /// The identity in its hub.
    pub hub_device_id: String,
    /// State of the device in it.
    #[schema(value_type = words::BindingState)]
    pub state: BindingState,
    /// Its id.
    #[schema(value_type = Option<words::IntegrationId>)]
    pub integration_id: Option<IntegrationId>,
    /// Its hub.
    #[serde(default)]
    pub host_name: String,
    /// Signals the hub accepted.
    #[serde(default)]
    pub delivered: u64,
    /// Signals that wait.
    #[serde(default)]
    pub waiting: u64,
    /// Signals given up.
    #[serde(default)]
    pub dead_letters: u64,
    /// What is wrong, if something is.
    pub last_error: Option<String>,
}

/// A device to add.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// Its name.
    pub name: String,
    /// How it speaks to us; `mqtt` if not said.
    #[serde(default)]
    #[schema(value_type = Option<words::DeviceKind>)]
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
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Credentials {
    /// The device's id.
    #[schema(value_type = words::DeviceId)]
    pub id: DeviceId,
    /// Its name.
    pub name: String,
    /// How it speaks to us.
    #[schema(value_type = words::DeviceKind)]
    pub kind: DeviceKind,
    /// User name (kind mqtt: always; kind pycom: null means that it is not checked).
    pub username: Option<String>,
    /// The password (kind mqtt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The token (kind pycom): client id and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// After a rotation with an overlap: until when the secret before this one counts too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Timestamp>)]
    pub old_until: Option<Timestamp>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Which devices get new secrets.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// Their names or ids; 1 to 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    pub devices: Vec<String>,
    /// Seconds for which the old secrets count beside the new ones; 0, the default, ends them at once. At most 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 2_592_000)]
    pub overlap: Option<u64>,
}

/// New secrets of many devices, shown once.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Rotated {
    /// Those that have one.
    pub rotated: Vec<Credentials>,
    /// Those that keep the old one, and why.
    pub failed: Vec<NotRotated>,
}

/// A device that was not rotated.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NotRotated {
    /// The device.
    #[schema(value_type = words::DeviceId)]
    pub id: DeviceId,
    /// A word for why.
    pub code: String,
    /// Why.
    pub message: String,
}

/// What to change of a device; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceEdit {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New uplink filters; an empty list returns to the kind's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<String>>,
    /// Another user name; an empty text: none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}
