//! How an integration differs from its hub.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Read;
use crate::extract::Path;
use crate::shapes::drift::{DriftDifference, DriftOrphan, DriftShow};
use crate::{ApiError, Services};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(drift))
}

/// Say how an integration differs from its hub. The hub is not asked for it: it is looked at all the time, slowly.
#[utoipa::path(get, path = "/integrations/{integration}/drift", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id")), responses((status = 200, body = DriftShow)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn drift(
    State(services): State<Services>,
    _: Read,
    Path(integration): Path<String>,
) -> Result<Json<DriftShow>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    let report = services.relay.provisioner().drift(&integration.id).await;
    let report = report.map_err(|error| ApiError::from_problem(error.problem()))?;
    let difference = |one: hubward_relay::provision::Difference| DriftDifference {
        device: services
            .registry
            .device_name(&one.device)
            .map_or_else(|| one.device.to_string(), |name| name.to_string()),
        hub_device_id: one.hub_device_id,
        what: one.what.to_owned(),
        since: one.since,
    };
    let orphan = |one: hubward_relay::provision::Orphan| DriftOrphan {
        hub_device_id: one.hub_device_id,
        made_at: one.made_at,
        seen: one.seen,
    };
    Ok(Json(DriftShow {
        host_name: report.host_name,
        bound: report.bound,
        by: report.by.map(str::to_owned),
        looked_at: report.looked_at,
        of: report.of,
        complete_at: report.complete_at,
        differences: report.differences.into_iter().map(difference).collect(),
        orphans: report.orphans.into_iter().map(orphan).collect(),
        last_error: report.last_error,
    }))
}
