//! How a running hub is reached: the addresses, and the connection strings for them.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::names::Names;
use crate::policies::Policies;

/// What scripts and tools need to use the hub. Holds its keys: a file it is written to is for its owner only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubInfo {
    /// The hub's name.
    pub name: String,
    /// The host in the connection strings.
    pub host_name: String,
    /// Where the identity registry listens.
    pub https: String,
    /// Where AMQP over TLS listens.
    pub amqps: String,
    /// Where readers of events are served without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amqp: Option<String>,
    /// Where MQTT over TLS listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtts: Option<String>,
    /// Where the hub itself is governed, with the token in `admin.json` of its data folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// The certificate to trust.
    pub ca_file: PathBuf,
    /// Connection strings, keys in clear.
    pub connection_strings: ConnectionStrings,
}

/// The hub's connection strings, by policy and by endpoint.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStrings {
    /// All rights.
    pub iothubowner: String,
    /// The service side.
    pub service: String,
    /// The device side, for any device.
    pub device: String,
    /// Reads the identity registry.
    #[serde(rename = "registryRead")]
    pub registry_read: String,
    /// Reads and writes the identity registry.
    #[serde(rename = "registryReadWrite")]
    pub registry_read_write: String,
    /// Events without TLS, in the Event Hubs SDKs' emulator mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eventhubs: Option<String>,
    /// Events over TLS.
    pub eventhubs_tls: String,
}

/// Where the hub listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) https: SocketAddr,
    pub(crate) amqps: SocketAddr,
    pub(crate) mqtts: SocketAddr,
    pub(crate) amqp: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
}

impl HubInfo {
    pub(crate) fn new(names: &Names, policies: &Policies, bound: Bound, ca_file: PathBuf) -> Self {
        let host = if names.host.contains(':') { format!("[{}]", names.host) } else { names.host.clone() };
        let with_port = |port: u16, standard: u16| {
            if port == standard { host.clone() } else { format!("{host}:{port}") }
        };
        let key = |policy: &str| policies.get(policy).map_or("", |policy| &policy.keys[0]);
        let service = |policy: &str| {
            let host = with_port(bound.https.port(), 443);
            format!("HostName={host};SharedAccessKeyName={policy};SharedAccessKey={}", key(policy))
        };
        let events = |host: String, extra: &str| {
            let (key, entity) = (key("service"), &names.hub);
            format!(
                "Endpoint=sb://{host}/;SharedAccessKeyName=service;SharedAccessKey={key};{extra}EntityPath={entity}"
            )
        };
        Self {
            name: names.hub.clone(),
            host_name: names.host.clone(),
            https: bound.https.to_string(),
            amqps: bound.amqps.to_string(),
            amqp: bound.amqp.map(|address| address.to_string()),
            mqtts: Some(bound.mqtts.to_string()),
            admin: bound.admin.map(|address| address.to_string()),
            ca_file,
            connection_strings: ConnectionStrings {
                iothubowner: service("iothubowner"),
                service: service("service"),
                device: service("device"),
                registry_read: service("registryRead"),
                registry_read_write: service("registryReadWrite"),
                eventhubs: bound.amqp.map(|plain| {
                    // Without TLS the port always stands in it: the SDKs' own default is another for each.
                    events(format!("{host}:{}", plain.port()), "UseDevelopmentEmulator=true;")
                }),
                eventhubs_tls: events(with_port(bound.amqps.port(), 5671), ""),
            },
        }
    }
}

impl std::fmt::Debug for HubInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubInfo")
            .field("name", &self.name)
            .field("host_name", &self.host_name)
            .field("https", &self.https)
            .field("amqps", &self.amqps)
            .field("amqp", &self.amqp)
            .field("mqtts", &self.mqtts)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ConnectionStrings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectionStrings")
    }
}
