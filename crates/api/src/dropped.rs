//! What the broker dropped, by reason.

use axum::Json;
use axum::extract::State;
use hubward_broker::{Dropped, Owner};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Services;
use crate::access::Read;
use crate::shapes::dropped::{ClientName, DroppedRow, DroppedShow};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(show))
}

/// Show which messages the MQTT broker dropped since the server started: why, how many, when and whose the last one was,
/// and what to do.
#[utoipa::path(get, path = "/mqtt/dropped", tag = "signals", responses((status = 200, body = DroppedShow)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn show(State(services): State<Services>, _: Read) -> Json<DroppedShow> {
    let items = services.broker.drops().into_iter().map(|one| row(&services, one)).collect();
    Json(DroppedShow { since: services.activity.started_at(), items })
}

fn row(services: &Services, dropped: Dropped) -> DroppedRow {
    DroppedRow {
        reason: dropped.reason.as_str().to_owned(),
        what: dropped.reason.what().to_owned(),
        remedy: dropped.reason.remedy().to_owned(),
        count: dropped.count,
        last_at: dropped.last_at,
        last_owner: dropped.last_owner.map(|owner| name(services, owner)),
    }
}

fn name(services: &Services, owner: Owner) -> ClientName {
    match owner {
        Owner::Device(id) => {
            let name = services.registry.device_name(&id);
            let device = name.map_or_else(|| id.to_string(), |name| name.to_string());
            ClientName { device: Some(device), device_id: Some(id), app: None }
        }
        Owner::App(id) => {
            let app = services.registry.token_name(&id).unwrap_or(id);
            ClientName { device: None, device_id: None, app: Some(app) }
        }
    }
}
