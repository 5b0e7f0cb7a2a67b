//! MQTT and AMQP inside WebSockets, on the HTTPS listener.
//!
//! - [`upgrade`]: the request that asks for it, and the connection that goes on as something else;
//! - [`stream`]: the WebSocket as a stream of bytes.

mod stream;
mod upgrade;

pub(crate) use stream::Stream;
pub(crate) use upgrade::{Carrier, PeerCertificate, routes};

#[cfg(test)]
mod tests;
