//! A local IoT Hub: the service side of Azure IoT Hub on loopback.
//!
//! It answers as the real hub does, as far as the IoT Hub wire reference (cited as "reference" with the section) says how
//! that is; what the reference calls UNCONFIRMED stands in one commented place each and is logged when met.
//! It verifies tokens with code of its own, never with the client's signer, so that the two check each other.
//!
//! Not here: modules of devices, certificate authorities of devices, file upload; they are refused by name.
//!
//! In reading order:
//!
//! - `hub`: a hub started and stopped; `options`: how; `info`: how it is then reached;
//! - `names`, `folder`, `change_log`, `certificates`, `policies`, `clock`: what a hub is and keeps;
//! - `sas`: tokens taken apart and verified; `access`: what they allow;
//! - `identity`: the identity registry, `presence`: which device is connected where; `devices`: twins, messages to
//!   devices, direct methods;
//! - `state`: what the endpoints share;
//! - `accept`: taking connections in; `stream`: their bytes; `https` and `rest`: the registry's REST interface;
//! - `limits`: a tier's quota and throttles; `faults`: what goes wrong on demand;
//!   `admin`: the hub governed, over HTTP on a port of its own;
//! - `events`: accepted events on disk;
//! - `amqp`: devices and services by AMQP, and readers of events; `mqtt`: devices by MQTT; `ws`: both inside WebSockets.

mod accept;
mod access;
mod admin;
mod amqp;
mod certificates;
mod change_log;
mod client_certificates;
mod clock;
mod devices;
mod events;
mod faults;
mod folder;
mod https;
mod hub;
mod identity;
mod info;
mod limits;
mod mqtt;
mod names;
mod options;
mod policies;
mod presence;
mod rest;
mod sas;
mod state;
mod stream;
#[cfg(test)]
mod testkit;
mod ws;

/// Parsers of what strangers send, for the fuzz targets; no interface.
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::mqtt::read_anything as read_mqtt;
}

pub use admin::AdminFile;
pub use clock::Clock;
pub use events::Event;
pub use faults::{FaultKind, FaultSpec, FaultView, Outage, WrongCertificate};
pub use hub::{LocalHub, ReadEventsError, StartError};
pub use hubward_model::Tier;
pub use info::{ConnectionStrings, HubInfo};
pub use limits::{LimitOptions, Metering};
pub use options::Options;
pub use rest::ErrorForm;
