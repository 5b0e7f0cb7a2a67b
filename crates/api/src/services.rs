//! What the handlers work on, and who does for them what the interface does not do itself.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hubward_broker::BrokerHandle;
use hubward_journal::Journal;
use hubward_model::{DeviceId, Problem, Timestamp};
use hubward_registry::Registry;
use hubward_relay::RelayHandle;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::Access;
use crate::running::Running;
use crate::shapes::alarms::WebhookTested;
use crate::shapes::events::ChangeEvent;
use crate::shapes::misc::{About, SettingShow};

/// Bytes of the largest request body; the largest that is wanted is an integration with ten thousand devices.
pub const BODY_BYTES: usize = 2 * 1024 * 1024;

/// What the server knows of a device's signals right now.
pub trait Activity: Send + Sync + 'static {
    /// Signals received from it, and the time of the last.
    fn signals(&self, device: &DeviceId) -> (u64, Option<Timestamp>);
    /// Signals received from it in the last hour.
    fn last_hour(&self, device: &DeviceId) -> u64;
    /// Signals received from all devices in the last hour.
    fn last_hour_of_all(&self) -> u64;
    /// How often its login was refused in the last hour, if no login succeeded since.
    fn refused(&self, device: &DeviceId) -> u64;
    /// Whether it is silent for much longer than is usual for it; one whose habits are not known is not.
    fn late(&self, device: &DeviceId) -> bool;
    /// When the server started.
    fn started_at(&self) -> Timestamp;
}

/// The part of the server that sends notices.
pub trait Notifier: Send + Sync + 'static {
    /// Whether notices may go to `url`, with certificates of a private authority if there is one. Answers scheme, host
    /// and port, which are for people.
    ///
    /// # Errors
    /// It is no address, the operator did not allow its host, or the certificates are none.
    fn check(&self, url: &SecretString, ca: Option<&str>) -> Result<String, Problem>;

    /// Sends a test notice to the target that is set and waits for its answer.
    fn test(&self) -> BoxFuture<'static, Result<WebhookTested, Problem>>;
}

/// The local hub that the server runs itself: strings that name its host need no certificate or endpoint.
#[derive(Debug, Clone)]
pub struct OwnHub {
    /// What stands in `HostName`, with the port.
    pub host_name: String,
    /// Its certificate authority, PEM.
    pub ca: String,
    /// Its addresses: `amqps=HOST:PORT,…`.
    pub endpoint: String,
    /// The string of its policy `registryReadWrite`; it never leaves the server.
    pub connection_string: SecretString,
}

/// What the handlers work on. A clone is cheap.
#[derive(Clone)]
pub struct Services {
    /// Devices, integrations, tokens, users.
    pub registry: Registry,
    /// The history of signals.
    pub journal: Journal,
    /// Who is connected.
    pub broker: BrokerHandle,
    /// Integrations at work.
    pub relay: RelayHandle,
    /// Signals counted.
    pub activity: Arc<dyn Activity>,
    /// Who sends notices of alarms.
    pub notifier: Arc<dyn Notifier>,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// How the interface is reached.
    pub access: Access,
    /// The local hub, if the server runs one.
    pub own_hub: Option<OwnHub>,
    /// The server's addresses.
    pub about: Arc<About>,
    /// The settings it was started with, and limits that are built in.
    pub settings: Arc<[SettingShow]>,
    /// What changed, for those who listen; see [`changes`](crate::changes).
    pub changes: broadcast::Sender<ChangeEvent>,
    /// Creates that are being worked on under a name.
    pub running: Running,
    /// Fires when the server stops: long answers end.
    pub stop: CancellationToken,
}
