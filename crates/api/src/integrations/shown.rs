//! An integration as it is shown: in sum, with its devices, or its devices by the page.

use axum::Json;
use axum::extract::State;
use hubward_model::{BindingState, Capacity, DeviceId, IntegrationId, Timestamp};
use hubward_registry::{BindingsPage, Integration};
use hubward_relay::summary::remedy_of;
use hubward_relay::{DeviceStatus, IntegrationSummary};
use serde::Deserialize;
use utoipa::IntoParams;

use super::failed;
use crate::access::Read;
use crate::extract::Path;
use crate::openapi::words;
use crate::paging::{Direction, List, Paging};
use crate::shapes::Page;
use crate::shapes::integrations::{BoundDevice, Cause, Delay, IntegrationShow};
use crate::{ApiError, Services};

/// Devices that an integration is shown with; one that has more is shown without, and they are listed apart.
const LISTED: u32 = 1_000;
/// Devices that are looked through at a time for those that were searched for, and how often in one answer.
const CHUNK: usize = 200;
const CHUNKS: usize = 10;

/// An integration with its devices, unless there are more than [`LISTED`].
pub(super) async fn shown(services: &Services, id: &IntegrationId) -> Result<IntegrationShow, ApiError> {
    let page = BindingsPage { integration: id, made_by_us: None, state: None, after: None, limit: LISTED + 1 };
    let mut shown = summary(services, id).await?;
    if shown.device_count > LISTED as usize {
        return Ok(shown);
    }
    let bindings = services.registry.bindings_page(&page).await?;
    let statuses = services.relay.device_statuses(id, bindings).into_iter();
    let mut devices: Vec<BoundDevice> = statuses.map(|status| bound_device(services, status)).collect();
    devices.sort_by(|a, b| a.device.cmp(&b.device));
    shown.device_count = devices.len();
    shown.devices = Some(devices);
    Ok(shown)
}

fn bound_device(services: &Services, bound: DeviceStatus) -> BoundDevice {
    BoundDevice {
        device: device_name(services, &bound.device),
        device_id: bound.device.to_string(),
        hub_device_id: bound.hub_device_id,
        state: bound.state,
        made_by_us: bound.made_by_us,
        delivered: bound.delivered,
        backlog: bound.backlog,
        dead_letters: bound.dead_letters,
        last_error: bound.last_error,
        attached: bound.attached,
        remedy: remedy_of(bound.state).to_owned(),
    }
}

/// An integration without its devices: a handful of rows, however many it has.
pub(crate) async fn summary(services: &Services, id: &IntegrationId) -> Result<IntegrationShow, ApiError> {
    let summary: IntegrationSummary = services.relay.summary(id).await.map_err(failed)?;
    let oldest_waiting_at = match summary.waits_from {
        Some(from) => waits_since(services, from).await,
        None => None,
    };
    let expired = services.registry.expired_total(id).await?.signals;
    let integration = summary.integration;
    let host = integration.host_name;
    let settings = integration.settings;
    let last_error =
        summary.cause.as_ref().map(|cause| cause.message.clone()).or_else(|| summary.hub.last_error.clone());
    Ok(IntegrationShow {
        id: integration.id,
        name: integration.name.to_string(),
        service: Integration::SERVICE.to_owned(),
        hub: host.split(['.', ':']).next().unwrap_or(&host).to_owned(),
        host_name: host,
        topic: settings.topic.to_string(),
        body: settings.body,
        transport: settings.transport,
        state: summary.state,
        all_devices: settings.all_devices,
        device_count: usize::try_from(summary.devices).unwrap_or(usize::MAX),
        devices: None,
        created_at: integration.created_at,
        last_error: last_error.or(integration.last_error),
        policy: integration.policy,
        device_id_template: settings.device_id_template,
        on_existing: settings.on_existing,
        on_missing: settings.on_missing,
        removed: None,
        cause: summary.cause.map(cause),
        rate_per_s: summary.rate,
        delay_ms: summary.delay_ms.map(|(p50, p99)| Delay { p50, p99 }),
        waiting: summary.waiting,
        oldest_waiting_at,
        dead_letters: summary.dead_letters,
        delivered: summary.delivered,
        device_states: summary.states.into_iter().map(|(state, count)| (state.to_owned(), count)).collect(),
        version: integration.version,
        updated_at: Some(integration.updated_at),
        content_type: settings.content_type,
        on_full: Some(settings.on_full),
        on_missing_keys: Some(settings.on_missing_keys),
        tier: settings.capacity.map(Capacity::tier),
        units: settings.capacity.map(Capacity::units),
        backlog_limit: Some(settings.backlog_limit),
        device_backlog_limit: Some(settings.device_backlog_limit),
        device_backlog_age: Some(settings.device_backlog_age.as_secs()),
        expired,
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DevicesFilter {
    /// Only devices whose name or id holds this.
    q: Option<String>,
    /// Only devices in this state.
    #[param(value_type = Option<words::BindingState>)]
    state: Option<BindingState>,
}

/// List the devices of an integration with their ids in the hub, by hub device id; by name if some are searched for.
///
/// One answer looks at a bounded number of devices: few items with a `next` mean that it goes on there.
#[utoipa::path(get, path = "/integrations/{integration}/devices", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id"), Paging, DevicesFilter),
    responses((status = 200, body = Page<BoundDevice>)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn devices(
    State(services): State<Services>,
    _: Read,
    Path(integration): Path<String>,
    list: List<DevicesFilter>,
) -> Result<Json<Page<BoundDevice>>, ApiError> {
    let id = services.registry.find_integration(&integration).await?.id;
    let sort = list.sort(&[("hub_device_id", Direction::Asc)])?;
    if sort.descending {
        let message = "the devices of an integration have one order: rising";
        return Err(ApiError::bad_request("bad_sort", message, "leave the order out").field("order"));
    }
    let after: Option<String> = list.after(sort)?;
    let wanted = list.filter.q.as_deref().unwrap_or_default().to_lowercase();
    let fits = |status: &DeviceStatus| list.filter.state.is_none_or(|state| state == status.state);
    let mut items: Vec<BoundDevice> = Vec::new();
    let mut last = after;
    if wanted.is_empty() {
        for _ in 0..CHUNKS {
            let page = BindingsPage {
                integration: &id,
                made_by_us: None,
                state: None,
                after: last.as_deref(),
                limit: u32::try_from(CHUNK).unwrap_or(u32::MAX),
            };
            let bindings = services.registry.bindings_page(&page).await?;
            let whole = bindings.len() < CHUNK;
            for status in services.relay.device_statuses(&id, bindings) {
                if items.len() == list.limit {
                    return Ok(Json(Page { items, next: last.map(|last| sort.cursor(&last)) }));
                }
                last = Some(status.hub_device_id.clone());
                if fits(&status) {
                    items.push(bound_device(&services, status));
                }
            }
            if whole {
                return Ok(Json(Page::all(items)));
            }
        }
        return Ok(Json(Page { items, next: last.map(|last| sort.cursor(&last)) }));
    }
    let mut found: Vec<(String, DeviceId)> = services.registry.choose_devices(|card| {
        let name = card.name.as_str();
        let fits = (name.to_lowercase().contains(&wanted) || card.id.as_str().contains(&wanted))
            && last.as_deref().is_none_or(|last| name > last);
        fits.then(|| (name.to_owned(), card.id.clone()))
    });
    found.sort_unstable();
    let more = found.len() > CHUNK * CHUNKS;
    for chunk in found.chunks(CHUNK).take(CHUNKS) {
        let ids: Vec<DeviceId> = chunk.iter().map(|(_, id)| id.clone()).collect();
        let bindings = services.registry.bindings_among(&id, &ids).await?;
        let mut statuses = services.relay.device_statuses(&id, bindings);
        statuses.sort_by_key(|status| ids.iter().position(|id| *id == status.device));
        for status in statuses {
            if items.len() == list.limit {
                return Ok(Json(Page { items, next: last.map(|last| sort.cursor(&last)) }));
            }
            last = chunk.iter().find(|(_, id)| *id == status.device).map(|(name, _)| name.clone());
            if fits(&status) {
                items.push(bound_device(&services, status));
            }
        }
        last = chunk.last().map(|(name, _)| name.clone());
    }
    Ok(Json(Page { items, next: last.filter(|_| more).map(|last| sort.cursor(&last)) }))
}

/// When the first record from an offset on was received. What is held outside the journal shows no time.
async fn waits_since(services: &Services, from: hubward_model::Offset) -> Option<Timestamp> {
    services.journal.read_at(from).await.ok().flatten().map(|record| record.received_at)
}

/// What is in the way, as it is shown.
pub(crate) fn cause(cause: hubward_relay::Cause) -> Cause {
    Cause {
        code: cause.code,
        message: cause.message,
        remedy: cause.remedy,
        since: cause.since,
        next_try_at: cause.next_try_at,
    }
}

pub(super) fn device_name(services: &Services, device: &DeviceId) -> String {
    services.registry.device_name(device).map_or_else(|| device.to_string(), |name| name.to_string())
}
