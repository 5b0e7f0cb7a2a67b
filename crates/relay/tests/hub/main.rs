//! The relay with a real journal, registry and AMQP, against the local hub.
#![allow(clippy::unwrap_used, reason = "a test that fails to begin has failed")]

mod delivery;
mod findings;
mod kit;
