//! Whether the server lives and serves, and its metrics.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, extract::Request};

use crate::access::{Peer, check_metrics};
use crate::shapes::misc::Health;
use crate::{ApiError, Services};

/// The process answers.
pub(crate) async fn alive() -> Json<Health> {
    Json(Health { status: "ok".to_owned(), checks: BTreeMap::new() })
}

/// The server takes signals and keeps them: green while hubs are down, red when the journal takes nothing, the registry
/// does not answer or the server stops.
pub(crate) async fn ready(State(services): State<Services>) -> Response {
    let mut checks = BTreeMap::new();
    let mut ready = true;
    let mut check = |part: &str, problem: Option<String>| {
        ready &= problem.is_none();
        checks.insert(part.to_owned(), problem.unwrap_or_else(|| "ok".to_owned()));
    };
    check("server", services.stop.is_cancelled().then(|| "stopping".to_owned()));
    check("journal", (!services.journal.has_room()).then(|| "takes no records right now".to_owned()));
    check("registry", services.registry.tokens().await.err().map(|_| "does not answer".to_owned()));
    let (status, word) = if ready { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "failing") };
    (status, Json(Health { status: word.to_owned(), checks })).into_response()
}

/// Prometheus' text form.
pub(crate) async fn metrics(
    State(services): State<Services>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    _: Request,
) -> Result<Response, ApiError> {
    check_metrics(&services, peer.map(|Extension(peer)| peer), &headers)?;
    let text = services.metrics.render();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
