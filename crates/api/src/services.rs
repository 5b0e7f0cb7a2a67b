//! What the handlers work on, and the table of routes.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::middleware;
use axum::{Router, extract::DefaultBodyLimit};
use hubward_broker::BrokerHandle;
use hubward_journal::Journal;
use hubward_model::{DeviceId, Timestamp};
use hubward_registry::Registry;
use hubward_relay::RelayHandle;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::idempotency::{self, Running};
use crate::shapes::events::ChangeEvent;
use crate::shapes::misc::{About, SettingShow};
use crate::webhook::Notifier;
use crate::{Access, ApiError, access, headers};
use crate::{
    alarms, audit, charts, connections, console, dead_letters, devices, drafts, drift, events, expired, health, hubs,
    import, integrations, openapi, overview, previews, rotations, server, session, signals, silence, tokens, users,
    webhook,
};

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

/// Every route, with what the document says of it. `guarded` is put around those that are not open to strangers.
pub(crate) fn routes(
    guarded: impl FnOnce(OpenApiRouter<Services>) -> OpenApiRouter<Services>,
) -> OpenApiRouter<Services> {
    let v1 = OpenApiRouter::new()
        .merge(session::routes())
        .merge(users::routes())
        .merge(tokens::routes())
        .merge(audit::routes())
        .merge(server::routes())
        .merge(overview::routes())
        .merge(devices::routes())
        .merge(rotations::routes())
        .merge(connections::routes())
        .merge(import::routes())
        .merge(signals::routes())
        .merge(charts::routes())
        .merge(integrations::routes())
        .merge(drift::routes())
        .merge(previews::routes())
        .merge(drafts::routes())
        .merge(hubs::routes())
        .merge(dead_letters::routes())
        .merge(alarms::routes())
        .merge(silence::routes())
        .merge(webhook::routes())
        .merge(expired::routes())
        .merge(events::routes());
    OpenApiRouter::new()
        .nest("/api/v1", session::open_routes().merge(guarded(v1)))
        .routes(routes!(openapi::serve))
        .merge(health::routes())
}

/// The whole interface.
pub fn router(services: Services) -> Router {
    let guard = middleware::from_fn_with_state(services.clone(), access::authenticate);
    let again = middleware::from_fn_with_state(services.clone(), idempotency::answer_again);
    // The last one added is the first one asked: who it is comes before what they were answered.
    let (routes, _) = routes(|guarded| guarded.route_layer(again).route_layer(guard)).split_for_parts();
    routes
        .fallback(console::page)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn_with_state(services.clone(), access::check_host))
        .layer(middleware::from_fn(headers::add))
        .with_state(services)
}

async fn no_such_method(method: axum::http::Method, uri: axum::http::Uri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "no_such_method",
        format!("{} cannot be asked for with {method}", uri.path()),
        "the header Allow names the methods",
    )
}
