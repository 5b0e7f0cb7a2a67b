//! The connection history of a device.

use axum::Json;
use axum::extract::State;
use hubward_model::Timestamp;
use hubward_registry::{Connection, Ended};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Read;
use crate::extract::Path;
use crate::paging::{Direction, List, Paging};
use crate::shapes::Page;
use crate::shapes::devices::ConnectionRow;
use crate::{ApiError, Services};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoFilter {}

/// List a device's connections, and logins that were refused, the newest first. The last hundred are kept.
#[utoipa::path(get, path = "/devices/{device}/connections", tag = "devices",
    params(("device" = String, Path, description = "Name or id"), Paging),
    responses((status = 200, body = Page<ConnectionRow>)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn list(
    State(services): State<Services>,
    _: Read,
    Path(device): Path<String>,
    list: List<NoFilter>,
) -> Result<Json<Page<ConnectionRow>>, ApiError> {
    let NoFilter {} = list.filter;
    let sort = list.sort(&[("connected_at", Direction::Desc)])?;
    if !sort.descending {
        return Err(ApiError::bad_request(
            "bad_sort",
            "the connection history has one order: the newest first",
            "leave the order out",
        )
        .field("order"));
    }
    let device = services.registry.find_device(&device).await?;
    let before: Option<String> = list.after(sort)?;
    let limit = u32::try_from(list.limit).unwrap_or(u32::MAX);
    let found = services.registry.connections(&device.id, before.as_deref(), limit).await?;
    let next = found.last().filter(|_| found.len() == list.limit).map(|last| sort.cursor(&last.id));
    Ok(Json(Page { items: found.into_iter().map(row).collect(), next }))
}

fn row(connection: Connection) -> ConnectionRow {
    let (outcome, ended_at, reason) = match connection.ended {
        Ended::Open => ("open", None, None),
        Ended::At { at, reason } => ("ended", at, Some(reason)),
        Ended::Refused { reason } => ("refused", Some(connection.connected_at), Some(reason)),
    };
    let until = if outcome == "open" { Some(Timestamp::now()) } else { ended_at };
    let millis = |until: Timestamp| until.as_millis().saturating_sub(connection.connected_at.as_millis());
    ConnectionRow {
        id: connection.id,
        outcome: outcome.to_owned(),
        connected_at: connection.connected_at,
        ended_at,
        duration_ms: until.and_then(|until| u64::try_from(millis(until)).ok()),
        peer: connection.peer,
        protocol: connection.protocol,
        keep_alive_s: connection.keep_alive,
        words: reason.as_deref().map(|reason| words(reason).to_owned()),
        reason,
    }
}

/// The broker's reasons in sentences.
pub(crate) fn words(reason: &str) -> &str {
    match reason {
        "disconnected" => "The device said goodbye.",
        "connection lost" => "The connection broke without a goodbye: power, network, or the device restarted.",
        "keepalive timeout" => "Nothing was heard for one and a half times the keep-alive.",
        "connected again" => "The same client connected again and took its place.",
        "credentials revoked" => "Its secret was rotated, or the device was edited or removed.",
        "closed by an operator" => "An operator closed it here.",
        "server stops" => "The server was stopped.",
        "server ended" => "The server ended without closing it: it was killed or the machine went down.",
        "client does not read" => "The device took nothing that was sent to it for too long.",
        "journal full" => "The journal was full, so nothing could be acknowledged.",
        "journal failed" => "The journal could not be written.",
        "wrong user name or password" => "Wrong user name or password.",
        "not allowed in" => "The credentials are right, but this client may not connect.",
        "logins cannot be checked now" => "The server could not check logins at that moment.",
        other => other,
    }
}
