//! What is asked for, and what is answered.

use std::time::Duration;

use hubward_model::{BodyFormat, Capacity, OnExisting, OnFull, OnMissing, OnMissingKeys, Transport};
use hubward_registry::{Integration, SecretString};
use serde::Serialize;

use super::ProvisionError;

/// How a hub is reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// The connection string, as it was pasted.
    pub connection_string: SecretString,
    /// Certificates (PEM) to trust besides the public ones.
    pub hub_ca: Option<String>,
    /// Other addresses: `https=HOST:PORT,amqps=HOST:PORT`.
    pub hub_endpoint: Option<String>,
}

/// A device to bind.
#[derive(Debug, Clone)]
pub struct Bind {
    /// Its name or id.
    pub device: String,
    /// Its id in the hub; else the template says it.
    pub hub_device_id: Option<String>,
}

/// An integration to make.
#[derive(Debug, Clone)]
pub struct Create {
    /// Its name.
    pub name: String,
    /// Its hub.
    pub access: Access,
    /// The message topic.
    pub topic: String,
    /// Its devices.
    pub devices: Vec<Bind>,
    /// All devices, future ones too.
    pub all_devices: bool,
    /// What the body is.
    pub body: BodyFormat,
    /// The way up.
    pub transport: Transport,
    /// Content type of raw bodies where the PUBLISH has none.
    pub content_type: Option<String>,
    /// Template of ids in the hub.
    pub device_id_template: Option<String>,
    /// What to do when the hub has an identity of that id already.
    pub on_existing: OnExisting,
    /// What to do when an identity was deleted outside.
    pub on_missing: OnMissing,
    /// Which keys an identity gets that is made again.
    pub on_missing_keys: OnMissingKeys,
    /// What to do when a backlog is full.
    pub on_full: OnFull,
    /// The hub's tier and units, where they are known: else the pace is learned from refusals.
    pub capacity: Option<Capacity>,
    /// How much may wait.
    pub limits: WaitLimits,
}

impl Create {
    /// The defaults: raw bodies by AMQP, nothing adopted, no device yet.
    #[must_use]
    pub fn new(name: &str, connection_string: SecretString, topic: &str) -> Self {
        Self {
            name: name.to_owned(),
            access: Access { connection_string, hub_ca: None, hub_endpoint: None },
            topic: topic.to_owned(),
            devices: Vec::new(),
            all_devices: false,
            body: BodyFormat::Raw,
            transport: Transport::Amqp,
            content_type: None,
            device_id_template: None,
            on_existing: OnExisting::Refuse,
            on_missing: OnMissing::Recreate,
            on_missing_keys: OnMissingKeys::Same,
            on_full: OnFull::Backpressure,
            capacity: None,
            limits: WaitLimits::default(),
        }
    }
}

/// How much may wait; what is `None` stays, or is the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct WaitLimits {
    /// Bytes of signals of all devices together.
    pub backlog: Option<u64>,
    /// Bytes of signals of one device.
    pub device: Option<u64>,
    /// How long signals of a device that cannot be delivered may wait, where the oldest expire.
    pub device_age: Option<Duration>,
}

/// The least that may wait for one device: a few of the largest signals.
const LEAST_DEVICE_BACKLOG: u64 = 1 << 20;

impl WaitLimits {
    pub(super) fn check(&self) -> Result<(), ProvisionError> {
        for (field, bytes) in [("backlog_limit", self.backlog), ("device_backlog_limit", self.device)] {
            if bytes.is_some_and(|bytes| bytes < LEAST_DEVICE_BACKLOG) {
                return Err(ProvisionError::Limit { field, least: "1 MiB" });
            }
        }
        if self.device_age.is_some_and(|age| age < Duration::from_secs(60)) {
            return Err(ProvisionError::Limit { field: "device_backlog_age", least: "a minute" });
        }
        Ok(())
    }
}

/// What to change about an integration; what is `None` or empty stays.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// A new name.
    pub name: Option<String>,
    /// A new connection string, of the same hub.
    pub connection_string: Option<SecretString>,
    /// Other certificates (PEM) to trust; an empty text: none any more.
    pub hub_ca: Option<String>,
    /// Other addresses; an empty text: the standard ones.
    pub hub_endpoint: Option<String>,
    /// A new message topic.
    pub topic: Option<String>,
    /// What the body shall be.
    pub body: Option<BodyFormat>,
    /// Another way up.
    pub transport: Option<Transport>,
    /// Another content type; an empty text: none any more.
    pub content_type: Option<String>,
    /// Whether all devices belong to it, future ones too.
    pub all_devices: Option<bool>,
    /// Template for devices bound from now on.
    pub device_id_template: Option<String>,
    /// What to do when the hub has an identity of that id already.
    pub on_existing: Option<OnExisting>,
    /// What to do when an identity was deleted outside.
    pub on_missing: Option<OnMissing>,
    /// Which keys an identity gets that is made again.
    pub on_missing_keys: Option<OnMissingKeys>,
    /// What to do when a backlog is full.
    pub on_full: Option<OnFull>,
    /// The hub's tier and units; `Some(None)`: not known any more.
    pub capacity: Option<Option<Capacity>>,
    /// How much may wait.
    pub limits: WaitLimits,
    /// Devices that join.
    pub add_devices: Vec<Bind>,
    /// Devices that leave, by name or id.
    pub remove_devices: Vec<String>,
    /// What waits of those that leave is lost on purpose.
    pub discard_backlog: bool,
    /// Refuse if the integration is no longer at this version.
    pub expected_version: Option<u64>,
}

/// What an edit came to.
#[derive(Debug, Clone)]
pub struct EditReport {
    /// The integration, as it is now.
    pub integration: Integration,
    /// What became of the identities of devices that left.
    pub removed: Removal,
}

/// How an integration is removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// The identities stay in the hub.
    pub keep_identities: bool,
    /// What waits is lost on purpose.
    pub discard_backlog: bool,
}

/// What became of identities when their bindings were removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// Deleted in the hub.
    pub deleted: u64,
    /// Not there any more.
    pub already_gone: u64,
    /// Left in the hub: adopted, made again by somebody else, or kept on request.
    pub left: Vec<String>,
    /// The hub would not delete them.
    pub failed: Vec<Failed>,
    /// The hub is away: they are deleted when it is back.
    pub later: Vec<String>,
    /// Signals that were lost on purpose.
    pub discarded: u64,
}

impl Removal {
    /// Adds what another removal came to.
    pub(super) fn add(&mut self, other: Self) {
        self.deleted += other.deleted;
        self.already_gone += other.already_gone;
        self.left.extend(other.left);
        self.failed.extend(other.failed);
        self.later.extend(other.later);
        self.discarded += other.discarded;
    }
}

/// An identity that the hub would not delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Its id.
    pub hub_device_id: String,
    /// The hub's words.
    pub error: String,
}
