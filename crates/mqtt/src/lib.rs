//! MQTT 3.1.1 and 5.0, both roles: packets, topic names and filters, and a small client.
//!
//! Nothing here opens a socket, runs a timer or keeps a session; the broker does. In reading order:
//!
//! - [`topic`]: names, filters, shared filters, and what matches what;
//! - [`protocol`]: the packets as our own types and the [`Codec`](protocol::Codec) that reads and writes them, so that
//!   the library behind it can be replaced;
//! - [`client`]: a client over any byte stream its caller opened, for `hubward send`, the demo, benchmarks and tests.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests may"))]

pub mod client;
pub mod protocol;
pub mod topic;

pub use protocol::{Qos, Version};
pub use topic::{SharedFilter, Subscription, TopicError, TopicFilter, TopicName};
