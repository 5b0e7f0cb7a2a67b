//! Devices: list, add, show, rename, rotate, remove.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hubward_broker::Owner;
use hubward_model::{DeviceId, DeviceKind};
use hubward_registry::{Device, ExposeSecret, NewCredential, NewDevice, SecretString, WithSecret};
use serde::Deserialize;

use crate::access::{Operate, Read};
use crate::error::bad_name;
use crate::extract::{Body, Params};
use crate::filters::check_uplink;
use crate::shapes::devices::{Credentials, DeviceBinding, DeviceEdit, DeviceRow, DeviceShow};
use crate::shapes::integrations::Removal;
use crate::shapes::{self, Page};
use crate::{ApiError, Services, integrations};

/// Most entries of one answer.
const PAGE: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    /// Only devices whose name or id holds this.
    q: Option<String>,
    /// The name after which to go on.
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn list(
    State(services): State<Services>,
    _: Read,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<DeviceRow>>, ApiError> {
    let limit = params.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let wanted = params.q.unwrap_or_default().to_lowercase();
    let mut found = services.registry.devices().await?.into_iter().filter(|device| {
        let name = device.name.as_str();
        params.cursor.as_deref().is_none_or(|cursor| name > cursor)
            && (wanted.is_empty() || name.to_lowercase().contains(&wanted) || device.id.as_str().contains(&wanted))
    });
    let items: Vec<DeviceRow> = found.by_ref().take(limit).map(|device| row(&services, &device)).collect();
    let next = if found.next().is_some() { items.last().map(|row| row.name.clone()) } else { None };
    Ok(Json(Page { items, next }))
}

pub(crate) async fn add(
    State(services): State<Services>,
    Operate(caller): Operate,
    Body(wanted): Body<shapes::devices::NewDevice>,
) -> Result<(StatusCode, Json<Credentials>), ApiError> {
    let name = wanted.name.parse().map_err(bad_name("name"))?;
    let kind = wanted.kind.unwrap_or(DeviceKind::Mqtt);
    check_topics(kind, &wanted.topics)?;
    let credential = credential(kind, wanted.password, wanted.token)?;
    let new = NewDevice { name, kind, username: wanted.username, credential, topics: wanted.topics };
    let made = services.registry.add_device(new).await?;
    services.audit(&caller, "device.add", made.value.id.as_str()).await;
    integrations::device_added(&services, &made.value).await;
    Ok((StatusCode::CREATED, Json(credentials(&made))))
}

/// Whether a device of this kind may have these uplink filters.
fn check_topics(kind: DeviceKind, topics: &[String]) -> Result<(), ApiError> {
    if kind == DeviceKind::Pycom && !topics.is_empty() {
        return Err(ApiError::bad_request(
            "topics_not_wanted",
            "a device of kind pycom publishes on the topic of its token alone",
            "leave the topics out",
        )
        .field("topics"));
    }
    check_uplink(topics)
}

/// The credential that was asked for; a word that does not go with the kind is refused.
fn credential(kind: DeviceKind, password: Option<String>, token: Option<String>) -> Result<NewCredential, ApiError> {
    match (kind, password, token) {
        (_, None, None) => Ok(NewCredential::Random),
        (DeviceKind::Mqtt, Some(password), None) => Ok(NewCredential::Password(SecretString::from(password))),
        (DeviceKind::Pycom, None, Some(token)) => Ok(NewCredential::Token(SecretString::from(token))),
        (DeviceKind::Mqtt, _, Some(_)) => Err(ApiError::bad_request(
            "token_not_wanted",
            "a device of kind mqtt has a password, no token",
            "leave the token out, or add it as --kind pycom",
        )
        .field("token")),
        (DeviceKind::Pycom, Some(_), _) => Err(ApiError::bad_request(
            "password_not_wanted",
            "a device of kind pycom has a token, no password",
            "give the token that is in the board, or leave both out",
        )
        .field("password")),
    }
}

pub(crate) async fn show(
    State(services): State<Services>,
    _: Read,
    Path(device): Path<String>,
) -> Result<Json<DeviceShow>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    Ok(Json(full(&services, device).await?))
}

pub(crate) async fn edit(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(device): Path<String>,
    Body(edit): Body<DeviceEdit>,
) -> Result<Json<DeviceShow>, ApiError> {
    let mut device = services.registry.find_device(&device).await?;
    let name = edit.name.map(|name| name.parse().map_err(bad_name("name"))).transpose()?;
    if let Some(topics) = edit.topics {
        check_topics(device.kind, &topics)?;
        device = services.registry.set_device_topics(&device.id, topics).await?;
        // The next connection gets the new filters; the present one must not keep the old.
        services.broker.disconnect_owner(&Owner::Device(device.id.clone()));
    }
    if let Some(name) = name {
        device = services.registry.rename_device(&device.id, name).await?;
    }
    services.audit(&caller, "device.edit", device.id.as_str()).await;
    Ok(Json(full(&services, device).await?))
}

pub(crate) async fn rotate(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(device): Path<String>,
) -> Result<Json<Credentials>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let made = services.registry.rotate_device(&device.id, NewCredential::Random).await?;
    services.broker.disconnect_owner(&Owner::Device(device.id.clone()));
    services.audit(&caller, "device.rotate", device.id.as_str()).await;
    Ok(Json(credentials(&made)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveParams {
    #[serde(default)]
    discard_backlog: bool,
}

pub(crate) async fn remove(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(device): Path<String>,
    Params(params): Params<RemoveParams>,
) -> Result<Json<Removal>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let removal = integrations::remove_device(&services, &device.id, params.discard_backlog).await?;
    services.broker.disconnect_owner(&Owner::Device(device.id.clone()));
    services.audit(&caller, "device.remove", device.id.as_str()).await;
    Ok(Json(removal))
}

fn row(services: &Services, device: &Device) -> DeviceRow {
    let (signals, last_signal) = services.activity.signals(&device.id);
    let last_seen = [services.broker.last_seen(&device.id), last_signal, device.last_seen].into_iter().flatten().max();
    DeviceRow {
        id: device.id.clone(),
        name: device.name.to_string(),
        kind: device.kind,
        connected: services.broker.connected(&device.id),
        last_seen,
        signals: signals.max(device.signals),
    }
}

async fn full(services: &Services, device: Device) -> Result<DeviceShow, ApiError> {
    let row = row(services, &device);
    let integrations = bindings(services, &device.id).await?;
    Ok(DeviceShow {
        row,
        username: device.login_name().map(str::to_owned),
        topics: device.topics,
        created_at: device.created_at,
        integrations,
    })
}

async fn bindings(services: &Services, device: &DeviceId) -> Result<Vec<DeviceBinding>, ApiError> {
    let mut shown = Vec::new();
    for binding in services.registry.bindings_of(device).await? {
        let integration = services.registry.integration(&binding.integration).await?;
        shown.push(DeviceBinding {
            integration: integration.name.to_string(),
            hub_device_id: binding.hub_device_id,
            state: binding.state,
        });
    }
    Ok(shown)
}

fn credentials(made: &WithSecret<Device>) -> Credentials {
    let device = &made.value;
    let secret = made.secret.expose_secret().to_owned();
    let (password, token) = match device.kind {
        DeviceKind::Mqtt => (Some(secret), None),
        DeviceKind::Pycom => (None, Some(secret)),
    };
    Credentials {
        id: device.id.clone(),
        name: device.name.to_string(),
        kind: device.kind,
        username: device.login_name().map(str::to_owned),
        password,
        token,
    }
}
