//! What the broker tells the console.

use std::net::SocketAddr;

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
    },
    /// A client's connection ended.
    Disconnected {
        /// Who.
        owner: Owner,
        /// Why.
        reason: &'static str,
    },
    /// A client was refused.
    Refused {
        /// From where.
        peer: SocketAddr,
        /// Why.
        reason: &'static str,
    },
    /// Messages were dropped.
    Dropped {
        /// Whose.
        owner: Owner,
        /// Why.
        reason: &'static str,
        /// How many since the last such event of this connection.
        count: u64,
    },
}
