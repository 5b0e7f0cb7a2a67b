//! What is asked of integrations: to check a connection string, to make one, to change one.

use hubward_model::{BodyFormat, OnExisting, OnFull, OnMissing, OnMissingKeys, Transport};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// Which connection string to check.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
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

/// A device to bind.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// Its name or id.
    pub device: String,
    /// The identity to use; else the template says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_device_id: Option<String>,
}

/// An integration to make.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
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
    #[schema(value_type = Option<words::BodyFormat>)]
    pub body: Option<BodyFormat>,
    /// The way up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Transport>)]
    pub transport: Option<Transport>,
    /// Template of hub device ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id_template: Option<String>,
    /// What to do when the hub has such an identity already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnExisting>)]
    pub on_existing: Option<OnExisting>,
    /// What to do when an identity was deleted outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnMissing>)]
    pub on_missing: Option<OnMissing>,
    /// Which keys an identity gets that is made again: `same` or `new`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnMissingKeys>)]
    pub on_missing_keys: Option<OnMissingKeys>,
    /// What to do when a backlog is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnFull>)]
    pub on_full: Option<OnFull>,
    /// Bytes of signals that may wait for all its devices together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog_limit: Option<u64>,
    /// Bytes of signals that may wait for one device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_backlog_limit: Option<u64>,
    /// Seconds that signals of a device that cannot be delivered may wait, where the oldest expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_backlog_age: Option<u64>,
    /// Content type of raw bodies whose publisher named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// A certificate (PEM) to trust besides the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_ca: Option<String>,
    /// Other addresses: `https=HOST:PORT,amqps=HOST:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_endpoint: Option<String>,
    /// The hub's tier: `F1`, `S1`, `S2` or `S3`. Known, signals go as fast as it allows; unknown, the pace is learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// How many units of it; 1 if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 200)]
    pub units: Option<u32>,
}

/// An integration to make with the connection string of a draft's login.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DraftCreate {
    /// Its name.
    pub name: String,
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
    #[schema(value_type = Option<words::BodyFormat>)]
    pub body: Option<BodyFormat>,
    /// The way up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Transport>)]
    pub transport: Option<Transport>,
    /// Template of hub device ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id_template: Option<String>,
    /// What to do when the hub has such an identity already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnExisting>)]
    pub on_existing: Option<OnExisting>,
    /// What to do when an identity was deleted outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnMissing>)]
    pub on_missing: Option<OnMissing>,
    /// Which keys an identity gets that is made again: `same` or `new`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnMissingKeys>)]
    pub on_missing_keys: Option<OnMissingKeys>,
    /// What to do when a backlog is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnFull>)]
    pub on_full: Option<OnFull>,
    /// Bytes of signals that may wait for all its devices together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog_limit: Option<u64>,
    /// Bytes of signals that may wait for one device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_backlog_limit: Option<u64>,
    /// Seconds that signals of a device that cannot be delivered may wait, where the oldest expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_backlog_age: Option<u64>,
    /// Content type of raw bodies whose publisher named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The hub's tier: `F1`, `S1`, `S2` or `S3`. Known, signals go as fast as it allows; unknown, the pace is learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// How many units of it; 1 if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 200)]
    pub units: Option<u32>,
}

impl DraftCreate {
    /// The same with a connection string.
    #[must_use]
    pub fn with(self, connection_string: String) -> NewIntegration {
        NewIntegration {
            name: self.name,
            connection_string,
            topic: self.topic,
            devices: self.devices,
            all_devices: self.all_devices,
            body: self.body,
            transport: self.transport,
            device_id_template: self.device_id_template,
            on_existing: self.on_existing,
            on_missing: self.on_missing,
            on_missing_keys: self.on_missing_keys,
            on_full: self.on_full,
            backlog_limit: self.backlog_limit,
            device_backlog_limit: self.device_backlog_limit,
            device_backlog_age: self.device_backlog_age,
            content_type: self.content_type,
            hub_ca: None,
            hub_endpoint: None,
            tier: self.tier,
            units: self.units,
        }
    }
}

/// What to change of an integration; what is absent stays.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
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
    #[schema(value_type = Option<words::BodyFormat>)]
    pub body: Option<BodyFormat>,
    /// Another way up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Transport>)]
    pub transport: Option<Transport>,
    /// All devices, future ones too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_devices: Option<bool>,
    /// Template for devices added from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id_template: Option<String>,
    /// What to do when the hub has such an identity already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnExisting>)]
    pub on_existing: Option<OnExisting>,
    /// What to do when an identity was deleted outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnMissing>)]
    pub on_missing: Option<OnMissing>,
    /// Which keys an identity gets that is made again: `same` or `new`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnMissingKeys>)]
    pub on_missing_keys: Option<OnMissingKeys>,
    /// What to do when a backlog is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OnFull>)]
    pub on_full: Option<OnFull>,
    /// Bytes of signals that may wait for all its devices together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog_limit: Option<u64>,
    /// Bytes of signals that may wait for one device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_backlog_limit: Option<u64>,
    /// Seconds that signals of a device that cannot be delivered may wait, where the oldest expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_backlog_age: Option<u64>,
    /// Content type of raw bodies; an empty text: none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// A certificate (PEM) to trust besides the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_ca: Option<String>,
    /// Other addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_endpoint: Option<String>,
    /// The hub's tier: `F1`, `S1`, `S2` or `S3`; an empty text: not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// How many units of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 200)]
    pub units: Option<u32>,
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
