//! Integrations.

use hubward_model::{
    BindingState, BodyFormat, IntegrationId, IntegrationState, OnExisting, OnMissing, Timestamp, Transport,
};
use serde::{Deserialize, Serialize};

/// An integration; `devices` is absent in lists.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IntegrationShow {
    /// Its id.
    pub id: IntegrationId,
    /// Its name.
    pub name: String,
    /// The kind of destination: `azure-iot-hub`.
    pub service: String,
    /// The hub's name.
    pub hub: String,
    /// The hub's host name.
    pub host_name: String,
    /// The message topic.
    pub topic: String,
    /// What the body is.
    pub body: BodyFormat,
    /// The way up.
    pub transport: Transport,
    /// What it is doing.
    pub state: IntegrationState,
    /// Whether future devices join by themselves.
    pub all_devices: bool,
    /// Its devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<BoundDevice>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// What is wrong, if something is.
    pub last_error: Option<String>,
    /// How many devices it has.
    pub device_count: usize,
    /// The shared access policy it was made with.
    pub policy: String,
    /// Template of hub device ids.
    pub device_id_template: String,
    /// What to do when the hub has such an identity already.
    pub on_existing: OnExisting,
    /// What to do when an identity was deleted outside.
    pub on_missing: OnMissing,
    /// In the answer to an edit that removed devices: what became of their identities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removal>,
}

/// A device in an integration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BoundDevice {
    /// The device's name.
    pub device: String,
    /// Its id.
    pub device_id: String,
    /// The identity in the hub.
    pub hub_device_id: String,
    /// What it is doing.
    pub state: BindingState,
    /// Whether Hubward made the identity (and may delete it).
    pub made_by_us: bool,
    /// Signals the hub accepted since the binding was made.
    pub delivered: u64,
    /// Signals that wait.
    pub backlog: u64,
    /// Signals given up.
    pub dead_letters: u64,
    /// What is wrong, if something is.
    pub last_error: Option<String>,
}

/// Which connection string to check.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The connection string, as it was pasted.
    pub connection_string: String,
    /// A certificate (PEM) to trust besides the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_ca: Option<String>,
    /// Other addresses: `https=HOST:PORT,amqps=HOST:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_endpoint: Option<String>,
}

/// What a connection string turned out to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoginFound {
    /// The hub's name.
    pub hub: String,
    /// The hub's host name.
    pub host_name: String,
    /// The shared access policy.
    pub policy: String,
    /// May it read the identity registry.
    pub can_read: bool,
    /// May it write there.
    pub can_write: bool,
    /// How many identities the hub has.
    pub identities: u64,
    /// What could be better, though it works.
    #[serde(default)]
    pub advice: Vec<String>,
}

/// A device to bind.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// Its name or id.
    pub device: String,
    /// The identity to use; else the template says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_device_id: Option<String>,
}

/// An integration to make.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewIntegration {
    /// Its name.
    pub name: String,
    /// The connection string.
    pub connection_string: String,
    /// The message topic.
    pub topic: String,
    /// Its devices.
    #[serde(default)]
    pub devices: Vec<Bind>,
    /// All devices, future ones too.
    #[serde(default)]
    pub all_devices: bool,
    /// What the body is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyFormat>,
    /// The way up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Template of hub device ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id_template: Option<String>,
    /// What to do when the hub has such an identity already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_existing: Option<OnExisting>,
    /// What to do when an identity was deleted outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_missing: Option<OnMissing>,
    /// A certificate (PEM) to trust besides the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_ca: Option<String>,
    /// Other addresses: `https=HOST:PORT,amqps=HOST:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_endpoint: Option<String>,
}

/// What to change of an integration; what is absent stays.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntegrationEdit {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A new connection string, of the same hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_string: Option<String>,
    /// A new message topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// What the body shall be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyFormat>,
    /// Another way up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// All devices, future ones too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_devices: Option<bool>,
    /// Template for devices added from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id_template: Option<String>,
    /// What to do when the hub has such an identity already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_existing: Option<OnExisting>,
    /// What to do when an identity was deleted outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_missing: Option<OnMissing>,
    /// A certificate (PEM) to trust besides the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_ca: Option<String>,
    /// Other addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_endpoint: Option<String>,
    /// Devices that join.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_devices: Vec<Bind>,
    /// Devices that leave, by name or id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_devices: Vec<String>,
    /// Do not wait for the backlog of those that leave: discard and count it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub discard_backlog: bool,
}

/// What became of one test message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TestOutcome {
    /// The device's name.
    pub device: String,
    /// Whether the hub took it.
    pub accepted: bool,
    /// Its message-id.
    pub message_id: Option<String>,
    /// From the journal to the hub's word.
    pub delay_ms: Option<u64>,
    /// Why not.
    pub error: Option<String>,
}

/// What a removal did in the hub.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Removal {
    /// How many identities were deleted.
    pub deleted: u64,
    /// How many were gone already.
    pub already_gone: u64,
    /// Identities that were left, because others made them or because it was asked.
    pub left: Vec<String>,
    /// Identities that could not be deleted.
    pub failed: Vec<FailedDeletion>,
    /// Identities of hubs that are away: they are deleted when those are back.
    #[serde(default)]
    pub later: Vec<String>,
    /// Signals that were discarded.
    #[serde(default)]
    pub discarded: u64,
}

/// An identity that could not be deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FailedDeletion {
    /// The identity.
    pub hub_device_id: String,
    /// Why.
    pub error: String,
}
