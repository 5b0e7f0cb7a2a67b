//! Signals that a limit cost: the ranges an integration gave up.

use axum::Json;
use axum::extract::State;
use hubward_model::{DeviceId, Timestamp};
use hubward_registry::Expired;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Read;
use crate::extract::Path;
use crate::paging::{Direction, List, Paging};
use crate::shapes::Page;
use crate::shapes::expired::ExpiredRange;
use crate::{ApiError, Services};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpiredParams {
    /// Only those of this device.
    device: Option<String>,
}

/// List the ranges of signals that an integration gave up because a limit was reached, the newest first.
#[utoipa::path(get, path = "/integrations/{integration}/expired", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id"), Paging, ExpiredParams),
    responses((status = 200, body = Page<ExpiredRange>)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn list(
    State(services): State<Services>,
    _: Read,
    Path(integration): Path<String>,
    list: List<ExpiredParams>,
) -> Result<Json<Page<ExpiredRange>>, ApiError> {
    let sort = list.sort(&[("at", Direction::Desc)])?;
    let integration = services.registry.find_integration(&integration).await?;
    let device: Option<DeviceId> = match &list.filter.device {
        Some(name) => Some(services.registry.find_device(name).await?.id),
        None => None,
    };
    let before: Option<(i64, String)> = list.after(sort)?;
    let before = before.as_ref().map(|(at, id)| (Timestamp::from_millis(*at), id.as_str()));
    let limit = u32::try_from(list.limit).unwrap_or(u32::MAX);
    let ranges = services.registry.expired(&integration.id, device.as_ref(), before, limit).await?;
    let full = u32::try_from(ranges.len()).is_ok_and(|length| length == limit);
    let next = ranges.last().filter(|_| full).map(|last| sort.cursor(&(last.at.as_millis(), &last.id)));
    Ok(Json(Page { items: ranges.into_iter().map(|range| shown(&services, range)).collect(), next }))
}

fn shown(services: &Services, range: Expired) -> ExpiredRange {
    let name = services.registry.device_name(&range.device);
    ExpiredRange {
        id: range.id,
        device: name.map_or_else(|| range.device.to_string(), |name| name.to_string()),
        device_id: range.device,
        from: range.from.to_raw(),
        to: range.to.to_raw(),
        count: range.count,
        bytes: range.bytes,
        why: match range.reason.as_str() {
            "backlog_limit" => "more waited for the integration than may",
            "device_backlog_age" => "it waited for longer than may be while the device could not be delivered",
            _ => "more waited for the device than may",
        }
        .to_owned(),
        reason: range.reason,
        at: range.at,
    }
}
