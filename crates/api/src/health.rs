//! Whether the server lives and serves, and its metrics.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, extract::Request};

use hubward_journal::Health;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Peer, check_metrics};
use crate::shapes::misc::Health as HealthShown;
use crate::{ApiError, Services, metrics};

/// Routes of the root, open to everybody but for the metrics page.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready)).routes(routes!(page))
}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "server", security(()), responses((status = 200, body = HealthShown)))]
pub(crate) async fn alive() -> Json<HealthShown> {
    Json(HealthShown { status: "ok".to_owned(), checks: BTreeMap::new() })
}

/// Whether the server takes signals and keeps them.
///
/// Green while hubs are down, red when the journal takes nothing, the registry
/// does not answer or the server stops.
#[utoipa::path(get, path = "/readyz", tag = "server", security(()),
    responses((status = 200, body = HealthShown), (status = 503, description = "A part fails", body = HealthShown)))]
pub(crate) async fn ready(State(services): State<Services>) -> Response {
    let mut checks = BTreeMap::new();
    let mut ready = true;
    let mut check = |part: &str, problem: Option<String>| {
        ready &= problem.is_none();
        checks.insert(part.to_owned(), problem.unwrap_or_else(|| "ok".to_owned()));
    };
    check("server", services.stop.is_cancelled().then(|| "stopping".to_owned()));
    check("journal", journal_problem(services.journal.info().health));
    check("registry", services.registry.tokens().await.err().map(|_| "does not answer".to_owned()));
    let (status, word) = if ready { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "failing") };
    (status, Json(HealthShown { status: word.to_owned(), checks })).into_response()
}

fn journal_problem(health: Health) -> Option<String> {
    match health {
        Health::Good => None,
        Health::DiskFull => Some("no space is left on the disk".to_owned()),
        Health::LimitReached => Some("the journal is full: its limit is reached".to_owned()),
        Health::ReadOnly => Some("the file system is read-only".to_owned()),
        Health::Failed(reason) => Some(reason),
        Health::Closed => Some("closed".to_owned()),
    }
}

/// Figures in Prometheus' text form. From this machine open; from elsewhere with a token of scope metrics.
#[utoipa::path(get, path = "/metrics", tag = "server", security((), ("token" = ["metrics"])),
    responses((status = 200, description = "Metrics", content_type = "text/plain", body = String)))]
pub(crate) async fn page(
    State(services): State<Services>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    _: Request,
) -> Result<Response, ApiError> {
    check_metrics(&services, peer.map(|Extension(peer)| peer), &headers).await?;
    let text = metrics::page(&services).await;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
