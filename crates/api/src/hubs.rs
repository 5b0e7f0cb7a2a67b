//! Hubs, over all integrations that send to them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hubward_model::Timestamp;
use hubward_relay::HubShown;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Operate, Read};
use crate::extract::Path;
use crate::integrations::cause;
use crate::shapes::Page;
use crate::shapes::overview::{HubQuota, HubShow, HubUsed, Reconnected};
use crate::{ApiError, Services};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(reconnect))
}

/// List the hubs that integrations send to.
#[utoipa::path(get, path = "/hubs", tag = "integrations", responses((status = 200, body = Page<HubShow>)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn list(State(services): State<Services>, _: Read) -> Result<Json<Page<HubShow>>, ApiError> {
    let mut items = Vec::new();
    for hub in hubs(&services).await? {
        items.push(shown(&services, hub).await);
    }
    Ok(Json(Page::all(items)))
}

/// Show a hub.
#[utoipa::path(get, path = "/hubs/{host}", tag = "integrations", params(("host" = String, Path, description = "Its host name")),
    responses((status = 200, body = HubShow)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn show(
    State(services): State<Services>,
    _: Read,
    Path(host): Path<String>,
) -> Result<Json<HubShow>, ApiError> {
    let hub = find(&services, &host).await?;
    Ok(Json(shown(&services, hub).await))
}

/// End all pauses of a hub: the next tries are made now.
#[utoipa::path(post, path = "/hubs/{host}/reconnect", tag = "integrations",
    params(("host" = String, Path, description = "Its host name")), responses((status = 200, body = Reconnected)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn reconnect(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(host): Path<String>,
) -> Result<Json<Reconnected>, ApiError> {
    let hub = find(&services, &host).await?;
    for integration in &hub.integrations {
        services.relay.retry_now(integration).await;
    }
    services.audit(&caller, "hub.reconnect", &hub.host_name).await;
    Ok(Json(Reconnected { integrations: hub.integrations.len() }))
}

async fn hubs(services: &Services) -> Result<Vec<HubShown>, ApiError> {
    services.relay.hubs().await.map_err(|error| ApiError::from_problem(error.problem()))
}

async fn find(services: &Services, host: &str) -> Result<HubShown, ApiError> {
    let found = hubs(services).await?.into_iter().find(|hub| hub.host_name.eq_ignore_ascii_case(host));
    found.ok_or_else(|| {
        let message = format!("no integration sends to the hub {host:?}");
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message, "list the hubs for their host names")
    })
}

async fn shown(services: &Services, hub: HubShown) -> HubShow {
    let mut integrations = Vec::with_capacity(hub.integrations.len());
    let mut own_ca = false;
    for id in &hub.integrations {
        match services.registry.integration(id).await {
            Ok(found) => {
                own_ca |= found.settings.hub_ca.is_some();
                integrations.push(found.name.to_string());
            }
            Err(_) => integrations.push(id.to_string()),
        }
    }
    let clock = services.relay.provisioner().clock_of(&hub.host_name);
    let now = Timestamp::now().as_millis();
    let since = now.div_euclid(Timestamp::DAY) * Timestamp::DAY;
    // A tenth of an hour at least: the first minutes of a day say nothing about the rest of it.
    let passed = u64::try_from(now - since).unwrap_or(0).max(360_000);
    let day = Timestamp::DAY.unsigned_abs();
    let forecast = |used: u64| {
        let whole = u128::from(used) * u128::from(day) / u128::from(passed);
        u64::try_from(whole).unwrap_or(u64::MAX).max(used)
    };
    let quota = hub.capacity.map(|capacity| {
        let (used, all) = (hub.used_today.metered(capacity.tier()), capacity.messages_per_day());
        HubQuota {
            tier: capacity.tier(),
            units: capacity.units(),
            messages_per_day: all,
            used,
            used_percent: percent(used, all),
            forecast_percent: percent(forecast(used), all),
        }
    });
    HubShow {
        host_name: hub.host_name,
        integrations,
        connections: hub.connections,
        links: hub.links,
        lanes: hub.lanes,
        away_since: hub.away_since,
        throttled: hub.throttled,
        holding: hub.holding.map(cause),
        used_today: HubUsed {
            messages: hub.used_today.messages,
            units_4k: hub.used_today.units_4k,
            forecast_units_4k: forecast(hub.used_today.units_4k),
            quota,
            since: Timestamp::from_millis(since),
        },
        last_error: hub.last_error,
        clock_offset_s: clock.map(|clock| clock.ahead),
        clock_seen_at: clock.map(|clock| clock.at),
        own_ca,
        sends_per_s: hub.pace.sends,
        links_per_s: hub.pace.links,
        pace_given: hub.pace.given,
    }
}

/// With two digits: the first messages of a day are less than a hundredth.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn percent(used: u64, all: u64) -> f64 {
    (used as f64 * 10_000.0 / all as f64).round() / 100.0
}
