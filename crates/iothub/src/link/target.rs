use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::clock::Clock;
use crate::connection_string::SharedAccessKey;
use crate::sas::Lifetime;

/// Which hub, where it is reached, and how patiently.
#[derive(Clone, Debug)]
pub struct Target {
    /// The hub's name as in the connection string, without port. TLS and tokens go by it.
    pub host_name: String,
    /// Where it is reached.
    pub address: (String, u16),
    /// What carries the protocol there.
    pub carrier: Carrier,
    /// How its certificate is checked.
    pub tls: Arc<ClientConfig>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// How long tokens live, and when they are renewed.
    pub lifetime: Lifetime,
    /// The time of day that tokens are made by.
    pub clock: Clock,
}

impl Target {
    /// A hub with the usual patience and the usual tokens.
    #[must_use]
    pub fn new(host_name: impl Into<String>, address: (String, u16), tls: Arc<ClientConfig>) -> Self {
        Self {
            host_name: host_name.into(),
            address,
            carrier: Carrier::Tls,
            tls,
            timeouts: Timeouts::default(),
            lifetime: Lifetime::default(),
            clock: Clock::system(),
        }
    }

    /// How many identities one AMQP connection may carry over its whole life: the hub allows 999 tokens, Microsoft's .NET
    /// SDK stays at 995; in a WebSocket half as many.
    #[must_use]
    pub fn max_identities(&self) -> usize {
        match self.carrier {
            Carrier::Tls => 995,
            Carrier::WebSocket => 495,
        }
    }

    /// The same in a WebSocket, for networks that let only HTTPS out; `address` is then the hub's HTTPS endpoint.
    #[must_use]
    pub fn in_web_socket(mut self) -> Self {
        self.carrier = Carrier::WebSocket;
        self
    }
}

/// What carries AMQP or MQTT to the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// TLS alone (ports 5671 and 8883).
    Tls,
    /// A WebSocket inside TLS (port 443).
    WebSocket,
}

/// How long to wait for the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For name, TCP, TLS, WebSocket, and the AMQP open with the links to `$cbs` or the MQTT CONNECT, all together.
    pub open: Duration,
    /// For a device's token and link, from the moment its token is sent.
    pub attach: Duration,
    /// For the hub's word on a message, credit included; of HTTPS for one request.
    pub disposition: Duration,
    /// For the confirmation that a link or the connection is closed.
    pub close: Duration,
    /// AMQP: the pause between frames that we promise to notice; the hub gets twice that before it is given up. MQTT: how
    /// long the answer to a PING may take.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            open: Duration::from_secs(30),
            attach: Duration::from_secs(30),
            disposition: Duration::from_secs(60),
            close: Duration::from_secs(5),
            idle: Duration::from_secs(60),
        }
    }
}

/// A device of the hub and its key.
#[derive(Clone)]
pub struct Identity {
    /// The device's id in the hub.
    pub device_id: Arc<str>,
    /// One of its two keys.
    pub key: SharedAccessKey,
}

impl Identity {
    /// A device and one of its keys.
    #[must_use]
    pub fn new(device_id: &str, key: SharedAccessKey) -> Self {
        Self { device_id: device_id.into(), key }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("device_id", &self.device_id).finish_non_exhaustive()
    }
}
