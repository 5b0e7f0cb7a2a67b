//! The silence of a device: whether an alarm is wanted, and after how long.

use axum::Json;
use axum::extract::State;
use hubward_registry::Silence;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Operate, Read};
use crate::extract::{Body, Path};
use crate::shapes::alarms::{SilenceEdit, SilenceShow};
use crate::{ApiError, Services};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(show, edit))
}

/// Say whether somebody is told when the device is silent for longer than it usually is, and how long that is.
#[utoipa::path(get, path = "/devices/{device}/silence", tag = "alarms",
    params(("device" = String, Path, description = "Name or id")), responses((status = 200, body = SilenceShow)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn show(
    State(services): State<Services>,
    _: Read,
    Path(device): Path<String>,
) -> Result<Json<SilenceShow>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    Ok(Json(shown(services.registry.silence(&device.id).await?)))
}

/// Switch the alarm on or off that tells of a device's silence.
#[utoipa::path(put, path = "/devices/{device}/silence", tag = "alarms",
    params(("device" = String, Path, description = "Name or id")), request_body = SilenceEdit,
    responses((status = 200, body = SilenceShow)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn edit(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(device): Path<String>,
    Body(edit): Body<SilenceEdit>,
) -> Result<Json<SilenceShow>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let silence = services.registry.watch_silence(&device.id, edit.watched).await?;
    let what = if edit.watched { "device.watch_silence" } else { "device.ignore_silence" };
    services.audit(&caller, what, device.id.as_str()).await;
    Ok(Json(shown(silence)))
}

fn shown(silence: Silence) -> SilenceShow {
    SilenceShow { watched: silence.watched, limit_s: silence.limit.map(|limit| limit.as_secs()) }
}
