//! HTTPS: the identity registry, twins, direct methods and queries for services (IoT Hub wire reference, section 2), and
//! the device's own endpoints (section 5).
//!
//! - [`router`]: which request goes where;
//! - [`caller`], [`device_caller`]: who asks, and whether they may;
//! - [`error`]: refusals in the form that all SDKs read; [`body`]: what requests carry;
//! - [`identity_json`], [`twin_json`]: an identity and a twin as JSON, in and out;
//! - [`devices`], [`bulk`], [`statistics`]: the registry; [`twins`], [`methods`], [`commands`], [`query`]: the service side;
//! - [`message_headers`]: messages as HTTP carries them, with their headers' [`spelling`];
//!   [`device_events`], [`device_commands`]: from a device, and to it;
//! - [`absent`]: what this hub has not.

mod absent;
mod body;
mod bulk;
mod caller;
mod commands;
mod device_caller;
mod device_commands;
mod device_events;
mod devices;
mod error;
mod identity_json;
mod message_headers;
mod methods;
mod query;
mod router;
mod spelling;
mod statistics;
mod twin_json;
mod twins;

pub use error::ErrorForm;
pub(crate) use router::router;
pub(crate) use spelling::{Noted, Spelling};

use crate::presence::ConnectionId;

/// The number of the connection a request came on, among its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnWire(pub(crate) ConnectionId);

#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod tests;
