//! Why an integration was not made, changed or removed as asked.

use hubward_iothub::connection_string::ConnectionStringError;
use hubward_iothub::endpoints::EndpointsError;
use hubward_iothub::login::LoginError;
use hubward_iothub::registry::RegistryError;
use hubward_iothub::rules::RuleError;
use hubward_iothub::tls::CaError;
use hubward_model::{NameError, Problem, Transport};

use crate::error::RelayError;

/// How many names a text lists before it only counts.
const SHOWN: usize = 20;

/// Why an integration was not made, changed or removed as asked.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// A name or the message topic.
    #[error("{error}")]
    Name {
        /// What is wrong with it.
        error: NameError,
        /// The field of the request.
        field: &'static str,
    },
    /// A limit of what may wait is too small.
    #[error("{field} is less than {least}")]
    Limit {
        /// The field of the request.
        field: &'static str,
        /// The least it may be.
        least: &'static str,
    },
    /// The connection string, or what it leads to.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The text with the endpoints.
    #[error(transparent)]
    Endpoints(#[from] EndpointsError),
    /// The CA certificate.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// An id in the hub.
    #[error(transparent)]
    HubDeviceId(#[from] RuleError),
    /// The template of ids in the hub.
    #[error("the template {template:?} {reason}")]
    Template {
        /// The template.
        template: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No device, and not all of them.
    #[error("no device is named")]
    NoDevices,
    /// There is no such device.
    #[error("there is no device {device:?}")]
    UnknownDevice {
        /// Name or id as asked for.
        device: String,
    },
    /// A device was named twice.
    #[error("the device {device:?} is named twice")]
    DeviceTwice {
        /// Its name.
        device: String,
    },
    /// A device that is not in the integration.
    #[error("the device {device:?} is not in the integration {integration:?}")]
    NotBound {
        /// Its name.
        device: String,
        /// The integration's.
        integration: String,
    },
    /// A hub device id that is a secret.
    #[error("the hub device id of {device:?} is a device token, which is a secret and may not leave this server")]
    TokenAsId {
        /// The device's name.
        device: String,
    },
    /// A way up that is not there yet.
    #[error("the transport {0} is not available in this version")]
    Transport(Transport),
    /// The connection string is another hub's.
    #[error("the connection string is of {given}, but the integration sends to {host}")]
    OtherHub {
        /// Where the integration sends.
        host: String,
        /// What the string names.
        given: String,
    },
    /// Identities of these ids are in the hub already, and not ours.
    #[error("{} already in the hub, not made by Hubward: {}", count(.ids.len(), "identity is", "identities are"), list(.ids))]
    Conflict {
        /// Their ids.
        ids: Vec<String>,
    },
    /// The hub has as many devices as it may have.
    #[error("the hub takes no more devices: {made} of {all} identities were made, not: {}", list(.not_made))]
    DeviceCap {
        /// How many were made.
        made: usize,
        /// How many were asked for.
        all: usize,
        /// The ids of the others.
        not_made: Vec<String>,
    },
    /// The hub refused some identities for other reasons.
    #[error("{made} of {all} identities were made, not: {}", list(.refused))]
    Refused {
        /// How many were made.
        made: usize,
        /// How many were asked for.
        all: usize,
        /// Ids of the others, each with the hub's words.
        refused: Vec<String>,
    },
    /// Signals wait that would be lost.
    #[error("{signals} signals still wait to be sent, of {}", list(.devices))]
    Backlog {
        /// How many.
        signals: u64,
        /// Names of the devices, each with its count.
        devices: Vec<String>,
    },
    /// It is being removed.
    #[error("the integration {0:?} is being removed")]
    BeingRemoved(String),
    /// The identity registry of the hub.
    #[error(transparent)]
    Hub(#[from] RegistryError),
    /// Our registry.
    #[error(transparent)]
    Registry(#[from] hubward_registry::Error),
    /// The lanes.
    #[error(transparent)]
    Lanes(#[from] RelayError),
    /// The server stops; what was begun is finished by the next start.
    #[error("the server is stopping")]
    Stopping,
}

impl From<ConnectionStringError> for ProvisionError {
    fn from(error: ConnectionStringError) -> Self {
        Self::Login(error.into())
    }
}

impl ProvisionError {
    /// The same for API and CLI.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let text = self.to_string();
        match self {
            Self::Name { error, field } => error.problem(field),
            Self::Login(error) => Problem::new(error.code(), text, error.remedy()).with_field(error.field()),
            Self::Endpoints(_) => {
                Problem::new("bad_endpoint", text, "write https=HOST:PORT,amqps=HOST:PORT,mqtts=HOST:PORT, any of them")
                    .with_field("hub_endpoint")
            }
            Self::Ca(_) => Problem::new("bad_ca", text, "give the PEM file of the CA that signed the hub's certificate")
                .with_field("hub_ca"),
            Self::HubDeviceId(error) => Problem::new(error.code(), text, error.remedy()).with_field(error.field()),
            Self::Template { .. } => {
                Problem::new("bad_template", text, "write it of {name}, {id} and letters, for example {name}-{id}")
                    .with_field("device_id_template")
            }
            Self::NoDevices => Problem::new("no_devices", text, "name at least one device, or take all of them (--all-devices)")
                .with_field("devices"),
            Self::UnknownDevice { .. } => {
                Problem::new("unknown_device", text, "see `hubward device list` for their names").with_field("device")
            }
            Self::DeviceTwice { .. } => Problem::new("device_twice", text, "name it once").with_field("device"),
            Self::NotBound { integration, .. } => {
                Problem::new("not_bound", text, format!("see `hubward integration show {integration}`")).with_field("device")
            }
            Self::TokenAsId { .. } => {
                Problem::new("bad_hub_device_id", text, "choose another id").with_field("hub_device_id")
            }
            Self::Limit { field, least } => {
                Problem::new("limit_too_small", text, format!("give {least} or more")).with_field(field)
            }
            Self::Transport(_) => Problem::new("transport_not_available", text, "use amqp").with_field("transport"),
            Self::OtherHub { .. } => {
                Problem::new("other_hub", text, "an integration stays with its hub: make a new one for another")
                    .with_field("connection_string")
            }
            Self::Conflict { .. } => Problem::new(
                "conflict",
                text,
                "adopt them (--on-existing adopt: send as them, never delete them), let other ids be made (rename), or name \
                 other ids (--device NAME=HUB_ID)",
            )
            .with_field("device"),
            Self::DeviceCap { .. } => Problem::new(
                "device_cap",
                text,
                "what was made sends; choose a larger tier or delete devices of the hub, then: hubward integration reconcile",
            ),
            Self::Refused { .. } => Problem::new(
                "identities_refused",
                text,
                "what was made sends; put right what the hub says, then: hubward integration reconcile",
            ),
            Self::Backlog { .. } => Problem::new(
                "backlog",
                text,
                "wait until they are sent, or lose them on purpose with --discard-backlog",
            )
            .with_field("discard_backlog"),
            Self::BeingRemoved(_) => Problem::new("being_removed", text, "wait until it is gone"),
            Self::Hub(error) => hub_problem(error, text),
            Self::Registry(error) => error.problem(),
            Self::Lanes(error) => error.problem(),
            Self::Stopping => Problem::new("stopping", text, "what was begun is finished by the next start"),
        }
    }
}

fn hub_problem(error: &RegistryError, text: String) -> Problem {
    use hubward_iothub::fault::Cause;
    match error.cause() {
        Some(Cause::Unauthorized) => Problem::new(
            "wrong_key",
            text,
            "the policy's key was changed: give the new connection string with hubward integration edit",
        ),
        Some(Cause::Throttled) => Problem::new("throttled", text, "wait a minute and try again"),
        Some(Cause::Quota) => Problem::new("quota", text, "choose a larger tier, or delete devices of the hub"),
        Some(Cause::HubGone) => Problem::new("hub_disabled", text, "look in the portal whether the hub is active"),
        _ => Problem::new("no_answer", text, "look whether the hub can be reached, then try again"),
    }
}

/// `a, b and 7 more`
pub(super) fn list(items: &[String]) -> String {
    let shown = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
