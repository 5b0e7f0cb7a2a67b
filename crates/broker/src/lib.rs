//! The MQTT broker: who may connect, what they may say, and who hears it.
//!
//! It never acknowledges what is not durable, never drops silently, and knows neither the registry nor the relay: who a
//! client is says an [`Authenticator`], what was published goes to the journal, and everybody reads it from there.
//! In reading order, along a message's way:
//!
//! - [`auth`]: who connects, by a trait that the user of this crate implements; `access`: what that one may do, and how
//!   topics on the wire become topics in records;
//! - [`broker`](Broker): listeners, the handle, the orderly stop;
//! - `connection`: one task per client: handshake, PUBLISH into the journal, acknowledgements out of the ledger,
//!   deliveries; `ledger`, `pool`, `stream` are its parts;
//! - `session`: what outlives a connection; `durable`: what of it outlives the process; `inbox`: how messages get from the router to a connection;
//! - `router`: committed records to subscribers; `tree`, `retained`, `wills`;
//! - `note`: what the broker writes into a record for itself;
//! - [`dropped`](Dropped): what was dropped, and why; `stats`: counters.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests may"))]

mod access;
pub mod admission;
pub mod auth;
mod broker;
mod connection;
mod dropped;
mod durable;
mod events;
mod inbox;
mod ledger;
mod note;
mod options;
mod outgoing;
mod pool;
mod retained;
mod router;
mod session;
mod shared;
mod stats;
mod stream;
mod tree;
mod wills;

#[cfg(test)]
mod tests;

pub use admission::Admission;
pub use auth::{Authenticator, ClientKind, Grant, Login, Owner, Refusal};
pub use broker::{Broker, BrokerError, BrokerHandle, Listener};
pub use dropped::{DropReason, Dropped};
pub use events::BrokerEvent;
pub use options::Options;
