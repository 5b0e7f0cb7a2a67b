//! What the broker tells the console.

use std::net::SocketAddr;

use hubward_mqtt::Version;

use crate::Owner;

/// Something a person may want to see. No secret is in it.
#[derive(Debug, Clone)]
pub enum BrokerEvent {
    /// A client connected.
    Connected {
        /// Who.
        owner: Owner,
        /// From where.
        peer: SocketAddr,
        /// Tells it from every other connection since the broker started.
        connection: u64,
        /// How it speaks.
        version: Version,
        /// Its keep-alive in seconds; 0: none.
        keep_alive: u16,
    },
    /// A client's connection ended.
    Disconnected {
        /// Who.
        owner: Owner,
        /// From where.
        peer: SocketAddr,
        /// Which connection.
        connection: u64,
        /// Why.
        reason: &'static str,
    },
    /// A client was refused.
    Refused {
        /// From where.
        peer: SocketAddr,
        /// What it called itself, as far as that may be shown.
        who: Option<String>,
        /// Why.
        reason: &'static str,
    },
}
