//! Many devices get new secrets at once.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use hubward_broker::Owner;
use hubward_registry::NewCredential;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Operate;
use crate::devices::{checked_overlap, credentials};
use crate::extract::Body;
use crate::shapes::devices::{NotRotated, Rotate, Rotated};
use crate::{ApiError, Services};

/// So many at a time: each is a write of its own.
const MOST: usize = 1_000;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(rotate_many))
}

/// Give many devices a new secret each. They stand in this answer alone; the old ones end at once, or after an overlap.
///
/// When a device is not known none is rotated. What fails later is named beside what was made, so that no new secret is lost.
#[utoipa::path(post, path = "/device-credentials/rotate", tag = "devices", request_body = Rotate,
    responses((status = 200, body = Rotated)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn rotate_many(
    State(services): State<Services>,
    Operate(caller): Operate,
    Body(wanted): Body<Rotate>,
) -> Result<Json<Rotated>, ApiError> {
    if wanted.devices.is_empty() || wanted.devices.len() > MOST {
        let message = format!("{} devices are to be rotated; an answer has 1 to {MOST}", wanted.devices.len());
        return Err(ApiError::bad_request("bad_devices", message, "ask for them in parts").field("devices"));
    }
    let overlap = checked_overlap(wanted.overlap)?;
    let mut devices = Vec::with_capacity(wanted.devices.len());
    for name in &wanted.devices {
        let device = services.registry.find_device(name).await?;
        // Named twice, its first new secret would count for nothing.
        if !devices.contains(&device.id) {
            devices.push(device.id);
        }
    }
    let mut answer = Rotated::default();
    for id in devices {
        match services.registry.rotate_device(&id, NewCredential::Random, overlap).await {
            Ok(made) => {
                if overlap == Duration::ZERO {
                    services.broker.disconnect_owner(&Owner::Device(id.clone()));
                }
                services.audit(&caller, "device.rotate", id.as_str()).await;
                answer.rotated.push(credentials(&made));
            }
            Err(error) => {
                let error = ApiError::from(error);
                answer.failed.push(NotRotated { id, code: error.problem.code, message: error.problem.message });
            }
        }
    }
    Ok(Json(answer))
}
