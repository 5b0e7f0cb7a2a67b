//! Integrations: login, add, list, show, edit, pause, resume, reconcile, test, remove. The work is the relay's.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hubward_model::{DeviceId, IntegrationId};
use hubward_registry::{Device, Integration, SecretString};
use hubward_relay::provision::{self, Access as HubAccess};
use hubward_relay::{IntegrationStatus, RelayError};
use serde::Deserialize;

use crate::access::{Operate, Read};
use crate::extract::{Body, Params};
use crate::shapes::Page;
use crate::shapes::integrations::{
    Bind, BoundDevice, FailedDeletion, IntegrationEdit, IntegrationShow, Login, LoginFound, NewIntegration, Removal,
    TestOutcome,
};
use crate::{ApiError, Services};

pub(crate) async fn login(
    State(services): State<Services>,
    _: Operate,
    Body(login): Body<Login>,
) -> Result<Json<LoginFound>, ApiError> {
    let access = access(&services, login.connection_string, login.hub_ca, login.hub_endpoint);
    let found = services.relay.provisioner().login(access).await.map_err(refused)?;
    Ok(Json(LoginFound {
        hub: found.hub,
        host_name: found.host_name,
        policy: found.policy,
        can_read: found.can_read,
        can_write: found.can_write,
        identities: found.identities,
        advice: found.advice.into_iter().collect(),
    }))
}

pub(crate) async fn list(State(services): State<Services>, _: Read) -> Result<Json<Page<IntegrationShow>>, ApiError> {
    let mut items = Vec::new();
    for integration in services.registry.integrations().await? {
        match shown(&services, &integration.id).await {
            Ok(mut shown) => {
                shown.devices = None;
                items.push(shown);
            }
            // Its removal was finished since the list was read.
            Err(error) if error.status == StatusCode::NOT_FOUND => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Json(Page::all(items)))
}

pub(crate) async fn show(
    State(services): State<Services>,
    _: Read,
    Path(integration): Path<String>,
) -> Result<Json<IntegrationShow>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    Ok(Json(shown(&services, &integration.id).await?))
}

pub(crate) async fn add(
    State(services): State<Services>,
    Operate(caller): Operate,
    Body(wanted): Body<NewIntegration>,
) -> Result<(StatusCode, Json<IntegrationShow>), ApiError> {
    let access = access(&services, wanted.connection_string, wanted.hub_ca, wanted.hub_endpoint);
    let mut create = provision::Create::new(&wanted.name, access.connection_string.clone(), &wanted.topic);
    create.access = access;
    create.devices = wanted.devices.into_iter().map(bind).collect();
    create.all_devices = wanted.all_devices;
    create.body = wanted.body.unwrap_or(create.body);
    create.transport = wanted.transport.unwrap_or(create.transport);
    create.device_id_template = wanted.device_id_template.or(create.device_id_template);
    create.on_existing = wanted.on_existing.unwrap_or(create.on_existing);
    create.on_missing = wanted.on_missing.unwrap_or(create.on_missing);
    let made: Integration = services.relay.provisioner().create(create).await.map_err(refused)?;
    services.audit(&caller, "integration.add", made.id.as_str()).await;
    Ok((StatusCode::CREATED, Json(shown(&services, &made.id).await?)))
}

pub(crate) async fn edit(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(integration): Path<String>,
    Body(wanted): Body<IntegrationEdit>,
) -> Result<Json<IntegrationShow>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    let mut edit = provision::Edit {
        name: wanted.name,
        topic: wanted.topic,
        body: wanted.body,
        transport: wanted.transport,
        all_devices: wanted.all_devices,
        device_id_template: wanted.device_id_template,
        on_existing: wanted.on_existing,
        on_missing: wanted.on_missing,
        hub_ca: wanted.hub_ca,
        hub_endpoint: wanted.hub_endpoint,
        add_devices: wanted.add_devices.into_iter().map(bind).collect(),
        remove_devices: wanted.remove_devices,
        discard_backlog: wanted.discard_backlog,
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
    Ok(Json(shown))
}

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

pub(crate) async fn test(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(integration): Path<String>,
) -> Result<Json<Vec<TestOutcome>>, ApiError> {
    let integration = services.registry.find_integration(&integration).await?;
    let results = services.relay.test(&integration.id, None).await.map_err(failed)?;
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveParams {
    #[serde(default)]
    keep_identities: bool,
    #[serde(default)]
    discard_backlog: bool,
}

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

async fn shown(services: &Services, id: &IntegrationId) -> Result<IntegrationShow, ApiError> {
    let status = services.relay.status(id).await.map_err(failed)?;
    Ok(show_status(services, status))
}

fn show_status(services: &Services, status: IntegrationStatus) -> IntegrationShow {
    let integration = status.integration;
    let mut devices: Vec<BoundDevice> = status
        .devices
        .into_iter()
        .map(|bound| BoundDevice {
            device: device_name(services, &bound.device),
            device_id: bound.device.to_string(),
            hub_device_id: bound.hub_device_id,
            state: bound.state,
            made_by_us: bound.made_by_us,
            delivered: bound.delivered,
            backlog: bound.backlog,
            dead_letters: bound.dead_letters,
            last_error: bound.last_error,
        })
        .collect();
    devices.sort_by(|a, b| a.device.cmp(&b.device));
    let host = integration.host_name;
    IntegrationShow {
        id: integration.id,
        name: integration.name.to_string(),
        service: Integration::SERVICE.to_owned(),
        hub: host.split(['.', ':']).next().unwrap_or(&host).to_owned(),
        host_name: host,
        topic: integration.settings.topic.to_string(),
        body: integration.settings.body,
        transport: integration.settings.transport,
        state: status.state,
        all_devices: integration.settings.all_devices,
        device_count: devices.len(),
        devices: Some(devices),
        created_at: integration.created_at,
        last_error: status.last_error,
        policy: integration.policy,
        device_id_template: integration.settings.device_id_template,
        on_existing: integration.settings.on_existing,
        on_missing: integration.settings.on_missing,
        removed: None,
    }
}

fn device_name(services: &Services, device: &DeviceId) -> String {
    services.registry.device_name(device).map_or_else(|| device.to_string(), |name| name.to_string())
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
