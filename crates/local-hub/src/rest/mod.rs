//! The identity registry over HTTPS (IoT Hub wire reference, section 2).
//!
//! - [`router`]: which request goes where;
//! - [`caller`]: who asks, and whether they may;
//! - [`error`]: refusals in the form that all SDKs read;
//! - [`identity_json`]: an identity as JSON, in and out;
//! - [`devices`], [`bulk`], [`query`], [`statistics`]: the requests.

mod bulk;
mod caller;
mod devices;
mod error;
mod identity_json;
mod query;
mod router;
mod statistics;

pub(crate) use router::router;

#[cfg(test)]
mod tests;
