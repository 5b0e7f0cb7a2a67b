//! Device-to-cloud messages of many devices over one AMQP connection.
//!
//! A [`Connection`] carries up to [`Target::max_identities`] devices: for each a SAS token of its own key, put on the
//! node `$cbs`, and a link to its own address. Tokens of all devices travel without waiting for one another; a device's
//! link is asked for as soon as its token is accepted, and its token is renewed on the open connection before it ends.
//!
//! One task drives a connection: whoever opens it gets a [`Driver`] and runs it. Everything else talks to that task by a
//! queue, which it empties in one go and answers with one write. When the connection ends, for whatever reason, every
//! wait on it ends.
//!
//! Nothing is sent twice here, and no connection is opened again: that is the caller's business.

mod connection;
mod core;
mod driver;
mod encode;
mod node;
mod refusal;
mod wire;

pub use crate::link::{AttachError, Carrier, Closed, DetachError, Identity, OpenError, SendError, Target, Timeouts};
pub use connection::{Connection, Sender};
pub use driver::Driver;

pub(crate) use crate::link::{Stream, plain, tls};
pub(crate) use node::{Answer, Node};
pub(crate) use refusal::refusal;
pub(crate) use wire::{Manner, Wire};

#[cfg(test)]
pub(crate) mod fake_hub;
#[cfg(test)]
mod tests;
