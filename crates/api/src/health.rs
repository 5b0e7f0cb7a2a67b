//! Whether the server lives and serves, and its metrics.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, extract::Request};

use hubward_journal::Health;
use metrics::{counter, gauge};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Peer, check_metrics};
use crate::shapes::misc::Health as HealthShown;
use crate::{ApiError, Services};

/// Routes of the root, open to everybody but for the metrics page.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready)).routes(routes!(metrics))
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
        Health::Failed(reason) => Some(reason),
        Health::Closed => Some("closed".to_owned()),
    }
}

/// Figures that somebody keeps already are taken when they are asked for.
fn take_figures(services: &Services) {
    let info = services.journal.info();
    counter!("hubward_journal_records_total").absolute(info.records);
    counter!("hubward_journal_commits_total").absolute(info.commits);
    counter!("hubward_journal_failed_commits_total").absolute(info.failed_commits);
    counter!("hubward_journal_refused_total", "reason" => "full").absolute(info.refused_full);
    counter!("hubward_journal_refused_total", "reason" => "failed").absolute(info.refused_failed);
    counter!("hubward_journal_removed_segments_total").absolute(info.removed_segments);
    counter!("hubward_journal_damaged_gaps_total").absolute(info.damaged_gaps);
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    for (name, value) in [
        ("hubward_journal_bytes", info.bytes),
        ("hubward_journal_limit_bytes", info.limit_bytes),
        ("hubward_journal_pending_bytes", info.pending_bytes),
    ] {
        gauge!(name).set(value as f64);
    }
}

/// Figures in Prometheus' text form. From this machine open; from elsewhere with a token of scope metrics.
#[utoipa::path(get, path = "/metrics", tag = "server", security((), ("token" = ["metrics"])),
    responses((status = 200, description = "Metrics", content_type = "text/plain", body = String)))]
pub(crate) async fn metrics(
    State(services): State<Services>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    _: Request,
) -> Result<Response, ApiError> {
    check_metrics(&services, peer.map(|Extension(peer)| peer), &headers).await?;
    take_figures(&services);
    let text = services.metrics.render();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
