//! Integrations: login, add, list, show, edit, pause, resume, reconcile, test, remove. The work is the relay's.

mod shown;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hubward_model::{BindingState, Capacity, DeviceId, IntegrationState, Tier};
use hubward_registry::{BindingsPage, Device, Integration, SecretString};
use hubward_relay::RelayError;
use hubward_relay::provision::{self, Access as HubAccess, LoginReport, LoginStage};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use shown::{cause, summary};
use shown::{device_name, shown};

use crate::access::{Caller, Operate, Read};
use crate::etag::{ETag, IfMatch, Tagged};
use crate::extract::{Body, Params, Path};
use crate::paging::{Direction, List, Paging};
use crate::shapes::Page;
use crate::shapes::integration_requests::{Bind, IntegrationEdit, Login, NewIntegration};
use crate::shapes::integrations::{
    DeliveredMinute, FailedDeletion, IntegrationShow, LoginFound, ProgressDevice, ProgressShow, Removal,
    RemovalPreview, TestOutcome,
};
use crate::{ApiError, Services};

/// How many devices that failed are named.
const NAMED: u32 = 100;
/// How many identities a preview of a removal names.
const FIRST: u32 = 20;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(login))
        .routes(routes!(show, edit, remove))
        .routes(routes!(shown::devices))
        .routes(routes!(progress))
        .routes(routes!(delivered))
        .routes(routes!(removal))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(reconcile))
        .routes(routes!(test))
}

/// Check a connection string against its hub. Nothing is stored, nothing is left in the hub.
#[utoipa::path(post, path = "/integrations/login", tag = "integrations", request_body = Login,
    responses((status = 200, body = LoginFound)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn login(
    State(services): State<Services>,
    _: Operate,
    Body(login): Body<Login>,
) -> Result<Json<LoginFound>, ApiError> {
    let access = access(&services, login.connection_string, login.hub_ca, login.hub_endpoint);
    let begun = std::time::Instant::now();
    let found = services.relay.provisioner().login(access).await.map_err(refused)?;
    Ok(Json(login_found(found, begun)))
}

/// Checks a connection string, and tells of each stage when it is good; answers the way that it leads as well.
pub(crate) async fn log_in_in_stages(
    services: &Services,
    login: Login,
    told: impl Fn(LoginStage) + Send + Sync,
) -> Result<(HubAccess, LoginFound), ApiError> {
    let access = access(services, login.connection_string, login.hub_ca, login.hub_endpoint);
    let begun = std::time::Instant::now();
    let found = services.relay.provisioner().login_in_stages(access.clone(), told).await.map_err(refused)?;
    Ok((access, login_found(found, begun)))
}

fn login_found(found: LoginReport, begun: std::time::Instant) -> LoginFound {
    LoginFound {
        hub: found.hub,
        host_name: found.host_name,
        policy: found.policy,
        can_read: found.can_read,
        can_write: found.can_write,
        identities: found.identities,
        advice: found.advice.into_iter().collect(),
        elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct IntegrationFilter {
    /// Only integrations whose name or hub holds this.
    q: Option<String>,
}

/// List integrations, without their devices.
#[utoipa::path(get, path = "/integrations", tag = "integrations", params(Paging, IntegrationFilter),
    responses((status = 200, body = Page<IntegrationShow>)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn list(
    State(services): State<Services>,
    _: Read,
    list: List<IntegrationFilter>,
) -> Result<Json<Page<IntegrationShow>>, ApiError> {
    let sort = list.sort(&[("name", Direction::Asc), ("created_at", Direction::Desc)])?;
    let wanted = list.filter.q.as_deref().unwrap_or_default().to_lowercase();
    let mut found = services.registry.integrations().await?;
    found.retain(|one| one.name.as_str().to_lowercase().contains(&wanted) || one.host_name.contains(&wanted));
    let key = |one: &Integration| {
        (if sort.by == "created_at" { one.created_at.as_millis() } else { 0 }, one.name.to_string())
    };
    let page = list.part(sort, found, key)?;
    let mut items = Vec::with_capacity(page.items.len());
    for integration in page.items {
        match summary(&services, &integration.id).await {
            Ok(shown) => items.push(shown),
            // Its removal was finished since the list was read.
            Err(error) if error.status == StatusCode::NOT_FOUND => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Json(Page { items, next: page.next }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShowParams {
    /// With its devices (the default), or without. One of more than 1,000 devices is shown without in any case, here and
    /// in the answers to changes: `GET …/devices` lists them by the page.
    devices: Option<bool>,
}

/// Show an integration.
#[utoipa::path(get, path = "/integrations/{integration}", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id"), ShowParams),
    responses((status = 200, body = IntegrationShow)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn show(
    State(services): State<Services>,
    _: Read,
    Path(integration): Path<String>,
    Params(params): Params<ShowParams>,
) -> Result<Tagged<IntegrationShow>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    let shown = if params.devices.unwrap_or(true) {
        shown(&services, &integration.id).await?
    } else {
        summary(&services, &integration.id).await?
    };
    Ok(tagged(shown))
}

fn tagged(shown: IntegrationShow) -> Tagged<IntegrationShow> {
    Tagged(ETag::new(shown.version), shown)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddParams {
    /// Wait for the identities for a while (the default); without, the answer comes as soon as it is stored, and the work
    /// goes on in the server.
    wait: Option<bool>,
}

/// Make an integration.
#[utoipa::path(post, path = "/integrations", tag = "integrations", params(AddParams), request_body = NewIntegration,
    responses((status = 201, body = IntegrationShow)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn add(
    State(services): State<Services>,
    Operate(caller): Operate,
    Params(params): Params<AddParams>,
    Body(wanted): Body<NewIntegration>,
) -> Result<(StatusCode, Json<IntegrationShow>), ApiError> {
    let made = make(&services, &caller, wanted, params.wait.unwrap_or(true)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Makes an integration; without `wait` the answer has no devices.
pub(crate) async fn make(
    services: &Services,
    caller: &Caller,
    wanted: NewIntegration,
    wait: bool,
) -> Result<IntegrationShow, ApiError> {
    let access = access(services, wanted.connection_string, wanted.hub_ca, wanted.hub_endpoint);
    let mut create = provision::Create::new(&wanted.name, access.connection_string.clone(), &wanted.topic);
    create.access = access;
    create.devices = wanted.devices.into_iter().map(bind).collect();
    create.all_devices = wanted.all_devices;
    create.body = wanted.body.unwrap_or(create.body);
    create.transport = wanted.transport.unwrap_or(create.transport);
    create.device_id_template = wanted.device_id_template.or(create.device_id_template);
    create.on_existing = wanted.on_existing.unwrap_or(create.on_existing);
    create.on_missing = wanted.on_missing.unwrap_or(create.on_missing);
    create.on_missing_keys = wanted.on_missing_keys.unwrap_or(create.on_missing_keys);
    create.on_full = wanted.on_full.unwrap_or(create.on_full);
    create.limits = limits(wanted.backlog_limit, wanted.device_backlog_limit, wanted.device_backlog_age);
    create.content_type = wanted.content_type.or(create.content_type);
    create.capacity = capacity(None, wanted.tier.as_deref(), wanted.units)?.flatten();
    let provisioner = services.relay.provisioner();
    let made: Integration =
        if wait { provisioner.create(create).await } else { provisioner.begin(create).await }.map_err(refused)?;
    services.audit(caller, "integration.add", made.id.as_str()).await;
    if wait { shown(services, &made.id).await } else { summary(services, &made.id).await }
}

/// Change an integration while its signals stream.
#[utoipa::path(patch, path = "/integrations/{integration}", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id")), request_body = IntegrationEdit,
    responses((status = 200, body = IntegrationShow)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn edit(
    State(services): State<Services>,
    Operate(caller): Operate,
    if_match: IfMatch,
    Path(integration): Path<String>,
    Body(wanted): Body<IntegrationEdit>,
) -> Result<Tagged<IntegrationShow>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    if_match.check(&ETag::new(integration.version), "integration")?;
    let mut edit = provision::Edit {
        name: wanted.name,
        topic: wanted.topic,
        body: wanted.body,
        transport: wanted.transport,
        all_devices: wanted.all_devices,
        device_id_template: wanted.device_id_template,
        on_existing: wanted.on_existing,
        on_missing: wanted.on_missing,
        on_missing_keys: wanted.on_missing_keys,
        on_full: wanted.on_full,
        limits: limits(wanted.backlog_limit, wanted.device_backlog_limit, wanted.device_backlog_age),
        content_type: wanted.content_type,
        hub_ca: wanted.hub_ca,
        hub_endpoint: wanted.hub_endpoint,
        add_devices: wanted.add_devices.into_iter().map(bind).collect(),
        remove_devices: wanted.remove_devices,
        discard_backlog: wanted.discard_backlog,
        capacity: capacity(integration.settings.capacity, wanted.tier.as_deref(), wanted.units)?,
        ..provision::Edit::default()
    };
    if let Some(string) = wanted.connection_string {
        let access = access(&services, string, edit.hub_ca.take(), edit.hub_endpoint.take());
        edit.connection_string = Some(access.connection_string);
        edit.hub_ca = access.hub_ca;
        edit.hub_endpoint = access.hub_endpoint;
    }
    let leaves = !edit.remove_devices.is_empty();
    let report = services.relay.provisioner().edit(&integration.id, edit).await.map_err(refused)?;
    services.audit(&caller, "integration.edit", integration.id.as_str()).await;
    let mut shown = shown(&services, &integration.id).await?;
    shown.removed = leaves.then(|| removed(report.removed));
    Ok(tagged(shown))
}

/// Count what the hub accepted in each of the last 60 minutes and the present one, oldest first.
///
/// It is counted in memory: minutes before the server, or the integration, was started are left out.
#[utoipa::path(get, path = "/integrations/{integration}/delivered", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id")),
    responses((status = 200, body = Page<DeliveredMinute>)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn delivered(
    State(services): State<Services>,
    _: Read,
    Path(integration): Path<String>,
) -> Result<Json<Page<DeliveredMinute>>, ApiError> {
    let id = services.registry.find_integration(&integration).await?.id;
    let minutes = services.relay.delivered_by_minute(&id).into_iter();
    Ok(Json(Page::all(minutes.map(|(at, delivered)| DeliveredMinute { at, delivered }).collect())))
}

/// Say how far the making or removal of an integration is. Not found: its removal is done.
#[utoipa::path(get, path = "/integrations/{integration}/progress", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id")), responses((status = 200, body = ProgressShow)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn progress(
    State(services): State<Services>,
    _: Read,
    Path(integration): Path<String>,
) -> Result<Json<ProgressShow>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    let counts = services.registry.binding_counts(&integration.id).await?;
    let of = |wanted: BindingState| counts.iter().filter(|c| c.state == wanted).map(|c| c.number).sum::<u64>();
    let total: u64 = counts.iter().map(|count| count.number).sum();
    let (creating, conflict) = (of(BindingState::Creating), of(BindingState::Conflict));
    let first = |state| BindingsPage {
        integration: &integration.id,
        made_by_us: None,
        state: Some(state),
        after: None,
        limit: NAMED,
    };
    let named = |binding: hubward_registry::Binding| ProgressDevice {
        device: device_name(&services, &binding.device),
        hub_device_id: binding.hub_device_id,
        error: binding.last_error,
    };
    let conflicts = services.registry.bindings_page(&first(BindingState::Conflict)).await?;
    let failed = services.registry.bindings_page(&first(BindingState::Creating)).await?;
    let failed: Vec<ProgressDevice> =
        failed.into_iter().filter(|binding| binding.failed_step.is_some()).map(named).collect();
    Ok(Json(ProgressShow {
        state: integration.state,
        total,
        created: total - creating - conflict,
        creating,
        conflict,
        failed: failed.len() as u64,
        removing: of(BindingState::Removing),
        failed_devices: failed,
        conflicts: conflicts.into_iter().map(named).collect(),
        done: creating == 0 && !matches!(integration.state, IntegrationState::Creating | IntegrationState::Removing),
    }))
}

/// Say what the removal of an integration would do.
#[utoipa::path(get, path = "/integrations/{integration}/removal", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id")), responses((status = 200, body = RemovalPreview)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn removal(
    State(services): State<Services>,
    _: Read,
    Path(integration): Path<String>,
) -> Result<Json<RemovalPreview>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    let id = &integration.id;
    let summary = services.relay.summary(id).await.map_err(failed)?;
    let counts = services.registry.binding_counts(id).await?;
    let made = |made: bool| counts.iter().filter(move |count| count.made_by_us == made);
    // Identities of others that were never bound are nobody's business.
    let unbound = |state: BindingState| matches!(state, BindingState::Creating | BindingState::Conflict);
    let first = |made_by_us| BindingsPage {
        integration: id,
        made_by_us: Some(made_by_us),
        state: None,
        after: None,
        limit: FIRST,
    };
    let deletes_first = services.registry.bindings_page(&first(true)).await?;
    let leaves_first = services.registry.bindings_page(&first(false)).await?;
    Ok(Json(RemovalPreview {
        name: integration.name.to_string(),
        devices: summary.devices,
        deletes: made(true).map(|count| count.number).sum(),
        deletes_first: deletes_first.into_iter().map(|binding| binding.hub_device_id).collect(),
        leaves: made(false).filter(|count| !unbound(count.state)).map(|count| count.number).sum(),
        leaves_first: leaves_first
            .into_iter()
            .filter(|binding| !unbound(binding.state))
            .map(|binding| binding.hub_device_id)
            .collect(),
        waiting: summary.waiting,
        dead_letters: summary.dead_letters,
    }))
}

/// Pause an integration: its signals wait here.
#[utoipa::path(post, path = "/integrations/{integration}/pause", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id")), responses((status = 200, body = IntegrationShow)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn pause(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(integration): Path<String>,
) -> Result<Json<IntegrationShow>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    services.relay.pause(&integration.id).await.map_err(failed)?;
    services.audit(&caller, "integration.pause", integration.id.as_str()).await;
    Ok(Json(shown(&services, &integration.id).await?))
}

/// End a pause; all lanes try at once.
#[utoipa::path(post, path = "/integrations/{integration}/resume", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id")), responses((status = 200, body = IntegrationShow)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn resume(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(integration): Path<String>,
) -> Result<Json<IntegrationShow>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    services.relay.resume(&integration.id).await.map_err(failed)?;
    services.relay.retry_now(&integration.id).await;
    services.audit(&caller, "integration.resume", integration.id.as_str()).await;
    Ok(Json(shown(&services, &integration.id).await?))
}

/// Compare with the hub and repair what differs, also where Hubward asks a person first.
#[utoipa::path(post, path = "/integrations/{integration}/reconcile", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id")), responses((status = 200, body = IntegrationShow)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn reconcile(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(integration): Path<String>,
) -> Result<Json<IntegrationShow>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    services.relay.provisioner().reconcile(&integration.id).await.map_err(refused)?;
    services.relay.retry_now(&integration.id).await;
    services.audit(&caller, "integration.reconcile", integration.id.as_str()).await;
    Ok(Json(shown(&services, &integration.id).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestParams {
    /// Only this device; all of them if not said.
    device: Option<String>,
}

/// Send a test message through the lanes of an integration, and wait for the hub's word, for at most 30 s.
#[utoipa::path(post, path = "/integrations/{integration}/test", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id"), TestParams),
    responses((status = 200, body = Vec<TestOutcome>)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn test(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(integration): Path<String>,
    Params(params): Params<TestParams>,
) -> Result<Json<Vec<TestOutcome>>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    let device = match &params.device {
        Some(device) => Some(services.registry.find_device(device).await?.id),
        None => None,
    };
    let results = services.relay.test(&integration.id, device.as_ref()).await.map_err(failed)?;
    services.audit(&caller, "integration.test", integration.id.as_str()).await;
    let outcomes = results.into_iter().map(|result| TestOutcome {
        device: device_name(&services, &result.device),
        accepted: result.accepted,
        message_id: result.message_id.map(|id| id.to_string()),
        delay_ms: result.delay_ms,
        error: result.error,
    });
    Ok(Json(outcomes.collect()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveParams {
    /// Leave the identities in the hub.
    #[serde(default)]
    keep_identities: bool,
    /// Do not wait for what is to be sent: drop it, and count it.
    #[serde(default)]
    discard_backlog: bool,
}

/// Remove an integration, and of its identities those that Hubward made. Who goes away meanwhile stops nothing.
#[utoipa::path(delete, path = "/integrations/{integration}", tag = "integrations",
    params(("integration" = String, Path, description = "Name or id"), RemoveParams),
    responses((status = 200, body = Removal)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn remove(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(integration): Path<String>,
    Params(params): Params<RemoveParams>,
) -> Result<Json<Removal>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    let options =
        provision::RemoveOptions { keep_identities: params.keep_identities, discard_backlog: params.discard_backlog };
    let removal = services.relay.provisioner().remove(&integration.id, options).await.map_err(refused)?;
    services.audit(&caller, "integration.remove", integration.id.as_str()).await;
    Ok(Json(removed(removal)))
}

/// Removes a device from every hub and from here.
pub(crate) async fn remove_device(
    services: &Services,
    device: &DeviceId,
    discard_backlog: bool,
) -> Result<Removal, ApiError> {
    services.relay.provisioner().remove_device(device, discard_backlog).await.map(removed).map_err(refused)
}

/// Binds a new device to the integrations that want all devices. They do it in the background: the device is there.
pub(crate) async fn device_added(services: &Services, device: &Device) {
    if let Err(error) = services.relay.provisioner().device_added(&device.id).await {
        tracing::error!(device = %device.id, %error, "the device joins its integrations only after 'reconcile'");
    }
}

fn removed(removal: provision::Removal) -> Removal {
    let failed = removal.failed.into_iter();
    Removal {
        deleted: removal.deleted,
        already_gone: removal.already_gone,
        left: removal.left,
        failed: failed.map(|f| FailedDeletion { hub_device_id: f.hub_device_id, error: f.error }).collect(),
        later: removal.later,
        discarded: removal.discarded,
    }
}

/// The way to a hub. A string that names our own local hub needs nothing else: certificate and endpoint are known.
fn access(services: &Services, string: String, hub_ca: Option<String>, hub_endpoint: Option<String>) -> HubAccess {
    let own = services.own_hub.as_ref().filter(|own| names_host(&string, &own.host_name));
    HubAccess {
        hub_ca: hub_ca.or_else(|| own.map(|own| own.ca.clone())),
        hub_endpoint: hub_endpoint.or_else(|| own.map(|own| own.endpoint.clone())),
        connection_string: SecretString::from(string),
    }
}

/// Whether the string's `HostName` is `host`. What else is wrong with the string is found later.
fn names_host(string: &str, host: &str) -> bool {
    string
        .split(';')
        .filter_map(|field| field.split_once('='))
        .find(|(name, _)| name.trim().trim_matches('"').eq_ignore_ascii_case("HostName"))
        .is_some_and(|(_, value)| value.trim().eq_ignore_ascii_case(host))
}

fn bind(wanted: Bind) -> provision::Bind {
    provision::Bind { device: wanted.device, hub_device_id: wanted.hub_device_id }
}

fn refused(error: provision::ProvisionError) -> ApiError {
    ApiError::from_problem(error.problem())
}

fn failed(error: RelayError) -> ApiError {
    ApiError::from_problem(error.problem())
}

/// What is said of the hub's size; nothing: what is `known` stays.
fn capacity(
    known: Option<Capacity>,
    tier: Option<&str>,
    units: Option<u32>,
) -> Result<Option<Option<Capacity>>, ApiError> {
    let bad = |code: &str, message: String, field: &str| {
        let remedy = "see the hub's overview in the Azure portal, or: az iot hub show --name HUB --query sku";
        ApiError::new(StatusCode::BAD_REQUEST, code, message, remedy).field(field)
    };
    let tier = match (tier.map(str::trim), known) {
        (Some(""), _) => return Ok(Some(None)),
        (Some(text), _) => {
            let tier = text.to_ascii_uppercase().parse::<Tier>();
            tier.map_err(|error| bad("bad_tier", error.to_string(), "tier"))?
        }
        (None, Some(known)) if units.is_some() => known.tier(),
        (None, _) if units.is_some() => {
            return Err(bad("missing_field", "units without a tier say nothing".to_owned(), "tier"));
        }
        (None, _) => return Ok(None),
    };
    let units = units.or_else(|| known.filter(|known| known.tier() == tier).map(Capacity::units)).unwrap_or(1);
    let capacity = Capacity::new(tier, units).map_err(|error| bad("bad_units", error.to_string(), "units"))?;
    Ok(Some(Some(capacity)))
}

fn limits(backlog: Option<u64>, device: Option<u64>, age: Option<u64>) -> provision::WaitLimits {
    provision::WaitLimits { backlog, device, device_age: age.map(std::time::Duration::from_secs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_hub_is_known_by_host_and_port() {
        let string = |host: &str| format!("\"HostName={host};SharedAccessKeyName=p;SharedAccessKey=a2V5\"");
        assert!(names_host(&string("localhost:8443"), "localhost:8443"));
        assert!(names_host("sharedaccesskey=a; hostname = LocalHost:8443 ", "localhost:8443"));
        assert!(!names_host(&string("localhost:9443"), "localhost:8443"));
        assert!(!names_host("DeviceId=localhost:8443", "localhost:8443"));
    }
}
