//! How a local hub is to be run.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::Clock;
use crate::limits::LimitOptions;
use crate::rest::ErrorForm;

/// What [`LocalHub::start`](crate::LocalHub::start) needs to know; [`Options::new`] gives defaults for all but the folder.
#[derive(Debug, Clone)]
pub struct Options {
    /// The hub's name: 3 to 50 letters, digits and hyphens. Also the Event Hubs-compatible name (`EntityPath`).
    pub name: String,
    /// The host that the connection strings name.
    pub host_name: String,
    /// Folder of the hub's own: certificate authority, keys, identities, events.
    pub data: PathBuf,
    /// Where the identity registry is served, over HTTPS.
    pub https: SocketAddr,
    /// Where MQTT over TLS is served, to devices.
    pub mqtts: SocketAddr,
    /// Where AMQP over TLS is served, to devices and to readers of events.
    pub amqps: SocketAddr,
    /// Where readers of events may come without TLS (the emulator mode of the Event Hubs SDKs).
    pub amqp: Option<SocketAddr>,
    /// Where the hub is governed: faults, clock, usage. A loopback address.
    pub admin: Option<SocketAddr>,
    /// How refusals are written over HTTPS.
    pub error_form: ErrorForm,
    /// The tier's quota and throttles; by default there are none.
    pub limits: LimitOptions,
    /// At most so many identities; none: what the tier allows.
    pub device_cap: Option<usize>,
    /// What the hub takes for the time.
    pub clock: Clock,
    /// Events are kept at least so long.
    pub retention: Duration,
    /// Events may take up so many bytes on disk.
    pub limit_bytes: u64,
    /// Size of one file of events.
    pub segment_bytes: u64,
    /// How long feedback on messages to devices waits for more of it, unless there is enough for a message.
    pub feedback_delay: Duration,
    /// Slows every commit of events; for tests.
    pub commit_delay: Option<Duration>,
}

impl Options {
    /// A hub called `hubward` on `localhost` with its data in `data`, listening on free loopback ports.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let free_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            name: "hubward".to_owned(),
            host_name: "localhost".to_owned(),
            data: data.into(),
            https: free_port,
            mqtts: free_port,
            amqps: free_port,
            amqp: Some(free_port),
            admin: Some(free_port),
            error_form: ErrorForm::default(),
            limits: LimitOptions::default(),
            device_cap: None,
            clock: Clock::system(),
            retention: Duration::from_secs(24 * 60 * 60),
            limit_bytes: 10 << 30,
            segment_bytes: 64 << 20,
            feedback_delay: Duration::from_secs(15),
            commit_delay: None,
        }
    }
}
