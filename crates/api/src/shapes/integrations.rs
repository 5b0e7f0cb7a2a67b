//! Integrations.

use std::collections::BTreeMap;

use hubward_model::{
    BindingState, BodyFormat, IntegrationId, IntegrationState, OnExisting, OnFull, OnMissing, OnMissingKeys, Tier,
    Timestamp, Transport,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// An integration; `devices` is absent in lists and when there are many.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IntegrationShow {
    /// Its id.
    #[schema(value_type = words::IntegrationId)]
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
    #[schema(value_type = words::BodyFormat)]
    pub body: BodyFormat,
    /// The way up.
    #[schema(value_type = words::Transport)]
    pub transport: Transport,
    /// What it is doing.
    #[schema(value_type = words::IntegrationState)]
    pub state: IntegrationState,
    /// Whether future devices join by themselves.
    pub all_devices: bool,
    /// Its devices; absent when there are more than 1,000, and where it was asked for without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<BoundDevice>>,
    /// When it was made.
    #[schema(value_type = words::Timestamp)]
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
    #[schema(value_type = words::OnExisting)]
    pub on_existing: OnExisting,
    /// What to do when an identity was deleted outside.
    #[schema(value_type = words::OnMissing)]
    pub on_missing: OnMissing,
    /// In the answer to an edit that removed devices: what became of their identities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removal>,
    /// What is in the way, with what to do about it.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// Signals a second accepted by the hub in the last minute.
    #[serde(default)]
    pub rate_per_s: f64,
    /// From receipt to the hub's word, of the latest signals since the server started.
    #[serde(default)]
    pub delay_ms: Option<Delay>,
    /// Signals that wait.
    #[serde(default)]
    pub waiting: u64,
    /// When the oldest of them was received.
    #[serde(default)]
    #[schema(value_type = Option<words::Timestamp>)]
    pub oldest_waiting_at: Option<Timestamp>,
    /// Signals given up.
    #[serde(default)]
    pub dead_letters: u64,
    /// Signals the hub accepted.
    #[serde(default)]
    pub delivered: u64,
    /// How many devices are in each state.
    #[serde(default)]
    pub device_states: BTreeMap<String, u64>,
    /// Rises with every edit.
    #[serde(default)]
    pub version: u64,
    /// When it was last edited.
    #[serde(default)]
    #[schema(value_type = Option<words::Timestamp>)]
    pub updated_at: Option<Timestamp>,
    /// Content type of raw bodies whose publisher named none.
    #[serde(default)]
    pub content_type: Option<String>,
    /// What to do when a backlog is full.
    #[serde(default)]
    #[schema(value_type = Option<words::OnFull>)]
    pub on_full: Option<OnFull>,
    /// Which keys an identity gets that is made again.
    #[serde(default)]
    #[schema(value_type = Option<words::OnMissingKeys>)]
    pub on_missing_keys: Option<OnMissingKeys>,
    /// The hub's tier, if it was said.
    #[serde(default)]
    #[schema(value_type = Option<words::Tier>)]
    pub tier: Option<Tier>,
    /// How many units of it.
    #[serde(default)]
    pub units: Option<u32>,
    /// Bytes of signals that may wait for all its devices together.
    #[serde(default)]
    pub backlog_limit: Option<u64>,
    /// Bytes of signals that may wait for one device.
    #[serde(default)]
    pub device_backlog_limit: Option<u64>,
    /// Seconds that signals of a device that cannot be delivered may wait, where the oldest expire.
    #[serde(default)]
    pub device_backlog_age: Option<u64>,
    /// Signals given up because a limit was reached; `GET …/expired` lists them.
    #[serde(default)]
    pub expired: u64,
}

/// What is in the way.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// A word for it.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// Since when, if that is known.
    #[schema(value_type = Option<words::Timestamp>)]
    pub since: Option<Timestamp>,
    /// When Hubward tries again by itself, if that is known.
    #[schema(value_type = Option<words::Timestamp>)]
    pub next_try_at: Option<Timestamp>,
}

/// How long signals take.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Delay {
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
}

/// What the hub accepted in one minute.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeliveredMinute {
    /// When the minute began.
    #[schema(value_type = words::Timestamp)]
    pub at: Timestamp,
    /// Signals that were accepted in it.
    pub delivered: u64,
}

/// How far the making or removal of an integration is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProgressShow {
    /// Its state.
    #[schema(value_type = words::IntegrationState)]
    pub state: IntegrationState,
    /// How many devices it has.
    pub total: u64,
    /// Devices whose identity is made.
    pub created: u64,
    /// Devices whose identity is still to be made.
    pub creating: u64,
    /// Devices whose identity somebody else has.
    pub conflict: u64,
    /// Devices the hub refused, as far as they stand in `failed_devices`.
    pub failed: u64,
    /// Devices that are being removed.
    pub removing: u64,
    /// The first of those the hub refused.
    pub failed_devices: Vec<ProgressDevice>,
    /// The first of those in conflict.
    pub conflicts: Vec<ProgressDevice>,
    /// Nothing more is to be made.
    pub done: bool,
}

/// A device that could not be made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProgressDevice {
    /// Its name.
    pub device: String,
    /// What it would be called in the hub.
    pub hub_device_id: String,
    /// Why not.
    pub error: Option<String>,
}

/// What the removal of an integration would do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RemovalPreview {
    /// Its name.
    pub name: String,
    /// How many devices stop sending to its hub.
    pub devices: u64,
    /// Identities that would be deleted: those Hubward made.
    pub deletes: u64,
    /// The first of them.
    pub deletes_first: Vec<String>,
    /// Identities that stay: others made them.
    pub leaves: u64,
    /// The first of them.
    pub leaves_first: Vec<String>,
    /// Signals that still wait for this hub.
    pub waiting: u64,
    /// Dead letters that go with it.
    pub dead_letters: u64,
}

/// What to preview before an integration is made.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewWanted {
    /// The message topic.
    pub topic: String,
    /// What the body is.
    #[serde(default)]
    #[schema(value_type = Option<words::BodyFormat>)]
    pub body: Option<BodyFormat>,
    /// Content type of raw bodies.
    #[serde(default)]
    pub content_type: Option<String>,
    /// Template of hub device ids.
    #[serde(default)]
    pub device_id_template: Option<String>,
    /// The hub, to find ids that are taken there by another integration.
    #[serde(default)]
    pub host_name: Option<String>,
    /// Its devices, by name or id.
    #[serde(default)]
    pub devices: Vec<String>,
    /// All devices.
    #[serde(default)]
    pub all_devices: bool,
    /// Whose latest signal to show; else the first device's.
    #[serde(default)]
    pub device: Option<String>,
}

/// What would be made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// What the first devices would be called.
    pub names: Vec<NamePreview>,
    /// How many devices there would be.
    pub total: usize,
    /// How many of the shown ids are taken.
    pub clashes: usize,
    /// One message, exactly as the hub would get it.
    pub message: MessageShow,
}

/// What a device would be called in the hub.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NamePreview {
    /// The device's name.
    pub device: String,
    /// Its id in the hub.
    pub hub_device_id: String,
    /// Who has this id already; another one is chosen then.
    pub clash: Option<String>,
}

/// A message as a hub gets it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MessageShow {
    /// The device's name.
    pub device: String,
    /// There was no signal yet: this one is made up.
    pub sample: bool,
    /// System property message-id.
    pub message_id: String,
    /// System property content-type.
    pub content_type: Option<String>,
    /// System property content-encoding.
    pub content_encoding: Option<String>,
    /// `iothub-creation-time-utc`.
    pub creation_time: Option<String>,
    /// Application properties, in their order.
    pub properties: Vec<(String, String)>,
    /// The body.
    pub body_base64: String,
    /// Bytes by IoT Hub's formula.
    pub size: usize,
    /// What the 4 KB meter counts for it.
    pub units_4k: u64,
}

/// Which tier fits what devices send.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Advice {
    /// How many devices were counted.
    pub devices: usize,
    /// Only some of the devices were counted, and the sum made larger in proportion.
    pub estimated: bool,
    /// How many days were counted.
    pub days: usize,
    /// Signals on the busiest of the last seven days.
    pub signals_per_day: u64,
    /// Bytes of a payload, on average.
    pub average_bytes: u64,
    /// Bytes of the largest payload.
    pub largest_bytes: u64,
    /// What the 4 KB meter of S and B tiers counts a day.
    pub units_4k_per_day: u64,
    /// What the 0.5 KB meter of F1 counts a day.
    pub units_half_k_per_day: u64,
    /// Each tier, the cheapest first.
    pub tiers: Vec<TierFit>,
    /// The first that fits.
    pub best: Option<TierFit>,
}

/// A tier and how much of it would be used.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TierFit {
    /// F1, S1, S2 or S3.
    pub tier: String,
    /// Units that are needed.
    pub units: u64,
    /// Messages a day of so many units.
    pub messages_per_day: u64,
    /// How much of them would be used.
    pub used_percent: u64,
    /// Whether there are so many units.
    pub fits: bool,
}

/// What has to be run in Azure.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AzureScript {
    /// Commands for the Azure CLI that make everything and print the connection string.
    pub az: String,
    /// The hub as a Bicep file, for a resource group that exists.
    pub bicep: String,
}

/// Whether a name is one.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// Which.
    pub field: String,
    /// It is.
    pub ok: bool,
    /// A word for what is wrong.
    pub code: Option<String>,
    /// What is wrong.
    pub message: Option<String>,
    /// What to do.
    pub remedy: Option<String>,
}

/// A device in an integration.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BoundDevice {
    /// The device's name.
    pub device: String,
    /// Its id.
    pub device_id: String,
    /// The identity in the hub.
    pub hub_device_id: String,
    /// What it is doing.
    #[schema(value_type = words::BindingState)]
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
    /// Whether its link to the hub is open.
    #[serde(default)]
    pub attached: bool,
    /// What to do about its state.
    #[serde(default)]
    pub remedy: String,
}

/// What a connection string turned out to be.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
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
    /// How long it took.
    #[serde(default)]
    pub elapsed_ms: u64,
}

/// What became of one test message.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FailedDeletion {
    /// The identity.
    pub hub_device_id: String,
    /// Why.
    pub error: String,
}
