//! Alarms: what needs somebody's eye.

use axum::Json;
use axum::extract::State;
use hubward_model::Timestamp;
use hubward_registry::{AlarmFilter, AlarmKind};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Operate, Read};
use crate::extract::Path;
use crate::openapi::words;
use crate::paging::{Direction, List, Paging};
use crate::shapes::Page;
use crate::shapes::alarms::{AlarmShow, AlarmTotals};
use crate::{ApiError, Services};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(totals))
        .routes(routes!(show))
        .routes(routes!(acknowledge))
}

/// Which alarms of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AlarmState {
    /// Those that last.
    #[default]
    Open,
    /// Those that are over.
    Cleared,
    /// Both.
    All,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    /// Open ones (if not said), cleared ones, or all.
    #[param(inline)]
    state: Option<AlarmState>,
    /// Only those that somebody has acknowledged, or only those that nobody has.
    acknowledged: Option<bool>,
    /// Only those of this kind.
    #[param(value_type = Option<words::AlarmKind>)]
    kind: Option<String>,
    /// Only those about this integration.
    integration: Option<String>,
    /// Only those about this device.
    device: Option<String>,
}

/// List alarms, the newest first: what was noticed, since when, why, and what to do.
#[utoipa::path(get, path = "/alarms", tag = "alarms", params(Paging, ListParams),
    responses((status = 200, body = Page<AlarmShow>)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn list(
    State(services): State<Services>,
    _: Read,
    list: List<ListParams>,
) -> Result<Json<Page<AlarmShow>>, ApiError> {
    let sort = list.sort(&[("since", Direction::Desc)])?;
    let params = &list.filter;
    let mut filter = AlarmFilter {
        open: match params.state.unwrap_or_default() {
            AlarmState::Open => Some(true),
            AlarmState::Cleared => Some(false),
            AlarmState::All => None,
        },
        acknowledged: params.acknowledged,
        kind: params.kind.as_deref().map(kind).transpose()?,
        oldest_first: !sort.descending,
        after: list.after::<(Timestamp, String)>(sort)?,
        ..AlarmFilter::default()
    };
    if let Some(integration) = &params.integration {
        filter.integration = Some(services.registry.find_integration(integration).await?.id);
    }
    if let Some(device) = &params.device {
        filter.device = Some(services.registry.find_device(device).await?.id);
    }
    let limit = u32::try_from(list.limit).unwrap_or(u32::MAX);
    let alarms = services.registry.alarms_page(&filter, limit).await?;
    let full = alarms.len() >= list.limit;
    let next = alarms.last().filter(|_| full).map(|last| sort.cursor(&(last.since, &last.id)));
    Ok(Json(Page { items: alarms.into_iter().map(AlarmShow::from).collect(), next }))
}

fn kind(word: &str) -> Result<AlarmKind, ApiError> {
    word.parse().map_err(|error: hubward_registry::UnknownKind| {
        let words: Vec<&str> = AlarmKind::ALL.iter().map(|kind| kind.as_str()).collect();
        ApiError::bad_request("bad_kind", error.to_string(), format!("use one of {}", words.join(", "))).field("kind")
    })
}

/// Say how many alarms are open.
#[utoipa::path(get, path = "/alarms/totals", tag = "alarms", responses((status = 200, body = AlarmTotals)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn totals(State(services): State<Services>, _: Read) -> Json<AlarmTotals> {
    Json(open_alarms(&services))
}

/// Show an alarm, open or cleared.
#[utoipa::path(get, path = "/alarms/{id}", tag = "alarms", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = AlarmShow)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn show(
    State(services): State<Services>,
    _: Read,
    Path(id): Path<String>,
) -> Result<Json<AlarmShow>, ApiError> {
    Ok(Json(services.registry.alarm(&id).await?.into()))
}

/// Acknowledge an alarm: somebody has seen it. One that only tells of something that happened ends with that.
#[utoipa::path(post, path = "/alarms/{id}/acknowledge", tag = "alarms",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = AlarmShow)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn acknowledge(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(id): Path<String>,
) -> Result<Json<AlarmShow>, ApiError> {
    let alarm = services.registry.acknowledge_alarm(&id, &caller.name).await?;
    services.audit(&caller, "alarm.acknowledge", alarm.key.kind.as_str()).await;
    Ok(Json(alarm.into()))
}

/// How many alarms are open.
pub(crate) fn open_alarms(services: &Services) -> AlarmTotals {
    let counts = services.registry.alarm_counts();
    AlarmTotals { open: counts.open, unacknowledged: counts.unacknowledged }
}
