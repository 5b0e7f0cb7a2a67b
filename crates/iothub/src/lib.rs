//! A client for Azure IoT Hub: connection strings, SAS tokens, identity registry, device-to-cloud messages.
//!
//! It speaks to the hub as Microsoft's SDKs do, for many devices at once, and sorts what the hub refuses into whose fault
//! it is and what to do. It keeps no state on disk, retries nothing by itself, and never turns a TLS check off. In
//! reading order:
//!
//! - [`connection_string`]: connection strings as types, refused with code, field and remedy;
//! - [`endpoints`]: which hosts may be named, and where a hub is really reached;
//! - [`rules`]: what Azure allows as names of hubs and resource groups, and as ids of devices;
//! - [`clock`], [`sas`]: tokens and their renewal;
//! - [`tls`]: how the hub's certificate is checked;
//! - [`fault`]: refusals, sorted;
//! - [`registry`]: the identity registry over HTTPS;
//! - [`login`]: the check of a connection string before anything is stored;
//! - [`message`]: a device-to-cloud message and its size;
//! - [`link`]: what all ways up share: target, identity, errors;
//! - [`amqp`]: messages of many devices over one connection, also in a WebSocket;
//! - [`mqtt`]: a connection for each device, also in a WebSocket;
//! - [`https`]: a request for each message or batch;
//! - [`reader`]: what arrived, read from the Event Hubs-compatible endpoint.

pub mod amqp;
pub mod clock;
pub mod connection_string;
pub mod endpoints;
pub mod fault;
pub mod https;
pub mod link;
pub mod login;
pub mod message;
pub mod mqtt;
pub mod reader;
pub mod registry;
pub mod rules;
pub mod sas;
pub mod tls;

#[cfg(test)]
mod test_server;
