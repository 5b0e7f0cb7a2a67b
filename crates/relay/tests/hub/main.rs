//! The relay with a real journal, registry and AMQP, against the local hub.

mod delivery;
mod findings;
mod kit;
