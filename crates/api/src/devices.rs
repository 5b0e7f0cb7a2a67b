//! Devices: list, add, show, rename, rotate, disconnect, remove.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hubward_broker::Owner;
use hubward_model::{DeviceId, DeviceKind, IntegrationId, Timestamp};
use hubward_registry::{
    Binding, Device, ExposeSecret, Integration, NewCredential, NewDevice, SecretString, WithSecret,
};
use hubward_relay::DeviceStatus;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Operate, Read};
use crate::error::bad_name;
use crate::etag::{ETag, IfMatch, Tagged};
use crate::extract::{Body, Params, Path};
use crate::filters::check_uplink;
use crate::openapi::words;
use crate::paging::{Direction, List, Paging};
use crate::shapes::devices::{
    Credentials, DeviceBinding, DeviceEdit, DevicePage, DeviceRemoval, DeviceRow, DeviceShow, Disconnected,
    LeavesIntegration, Snippets, Told,
};
use crate::shapes::integrations::Removal;
use crate::shapes::{self};
use crate::{ApiError, Services, integrations};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(show, edit, remove))
        .routes(routes!(rotate))
        .routes(routes!(disconnect))
        .routes(routes!(removal))
        .routes(routes!(snippets))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceFilter {
    /// Only devices whose name or id holds this.
    q: Option<String>,
    /// Only devices of this kind.
    #[param(value_type = Option<words::DeviceKind>)]
    kind: Option<DeviceKind>,
    /// Only devices in this state: connected, late, idle, never_seen, refused.
    state: Option<String>,
    /// Only devices of this integration.
    integration: Option<String>,
}

/// What the order of the list goes by; the name parts equal ones.
type Key = (i64, String);

/// List devices.
///
/// Found, filtered and sorted in memory; only the rows of the answer are read.
#[utoipa::path(get, path = "/devices", tag = "devices", params(Paging, DeviceFilter),
    responses((status = 200, body = DevicePage)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn list(
    State(services): State<Services>,
    _: Read,
    list: List<DeviceFilter>,
) -> Result<Json<DevicePage>, ApiError> {
    let sort = list.sort(&[
        ("name", Direction::Asc),
        ("last_seen", Direction::Desc),
        ("signals_last_hour", Direction::Desc),
        ("waiting", Direction::Desc),
        ("signals", Direction::Desc),
        ("created_at", Direction::Desc),
    ])?;
    let waiting = Waiting::of(&services, list.filter.integration.as_deref(), sort.by == "waiting").await?;
    let wanted = list.filter.q.as_deref().unwrap_or_default().to_lowercase();
    let state = list.filter.state.as_deref().map(check_state).transpose()?;
    let kind = list.filter.kind;
    let found = services.registry.choose_devices(|card| {
        let fits = kind.is_none_or(|kind| kind == card.kind)
            && waiting.members.as_ref().is_none_or(|members| members.contains_key(card.id))
            && (wanted.is_empty()
                || card.name.as_str().to_lowercase().contains(&wanted)
                || card.id.as_str().contains(&wanted));
        fits.then(|| (card.id.clone(), card.name.to_string(), card.created_at))
    });
    let mut keyed: Vec<(Key, DeviceId)> = Vec::with_capacity(found.len());
    for (id, name, created_at) in found {
        if state.is_some_and(|state| state != state_of(&services, &id)) {
            continue;
        }
        let number = match sort.by {
            "last_seen" => last_seen(&services, &id, None).map_or(0, Timestamp::as_millis),
            "signals_last_hour" => count(services.activity.last_hour(&id)),
            "waiting" => count(waiting.sum.get(&id).copied().unwrap_or(0)),
            "signals" => count(services.activity.signals(&id).0),
            "created_at" => created_at.as_millis(),
            _ => 0,
        };
        keyed.push(((number, name), id));
    }
    let total = keyed.len();
    let page = list.part(sort, keyed, |(key, _)| key.clone())?;
    let order: HashMap<DeviceId, usize> = page.items.iter().enumerate().map(|(at, (_, id))| (id.clone(), at)).collect();
    let ids: Vec<DeviceId> = page.items.into_iter().map(|(_, id)| id).collect();
    let mut items = rows(&services, &ids).await?;
    items.sort_by_key(|row| order.get(&row.id).copied());
    Ok(Json(DevicePage { items, next: page.next, total }))
}

fn check_state(word: &str) -> Result<&'static str, ApiError> {
    ["connected", "late", "idle", "never_seen", "refused"].into_iter().find(|known| *known == word).ok_or_else(|| {
        ApiError::bad_request(
            "bad_state",
            format!("{word:?} is no state"),
            "use connected, late, idle, never_seen or refused",
        )
        .field("state")
    })
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What waits of each device, where it is asked for.
struct Waiting {
    /// The devices of the integration that was asked for.
    members: Option<HashMap<DeviceId, u64>>,
    sum: HashMap<DeviceId, u64>,
}

impl Waiting {
    async fn of(services: &Services, integration: Option<&str>, all: bool) -> Result<Self, ApiError> {
        let members = match integration {
            Some(name) => {
                let id = services.registry.find_integration(name).await?.id;
                Some(services.relay.backlog(&id).await)
            }
            None => None,
        };
        let mut sum = HashMap::new();
        if all {
            for integration in services.registry.integrations().await? {
                for (device, waiting) in services.relay.backlog(&integration.id).await {
                    *sum.entry(device).or_insert(0) += waiting;
                }
            }
        }
        Ok(Self { members, sum })
    }
}

/// `connected`, `late`, `idle`, `never_seen` or `refused`.
pub(crate) fn state_of(services: &Services, id: &DeviceId) -> &'static str {
    let connected = services.broker.connected(id);
    if !connected && services.activity.refused(id) > 0 {
        "refused"
    } else if services.activity.late(id) {
        "late"
    } else if connected {
        "connected"
    } else if last_seen(services, id, None).is_some() {
        "idle"
    } else {
        "never_seen"
    }
}

fn last_seen(services: &Services, id: &DeviceId, saved: Option<Timestamp>) -> Option<Timestamp> {
    [services.broker.last_seen(id), services.activity.signals(id).1, saved].into_iter().flatten().max()
}

/// Add a device. Its secret stands in this answer alone.
#[utoipa::path(post, path = "/devices", tag = "devices", request_body = shapes::devices::NewDevice,
    responses((status = 201, body = Credentials)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn add(
    State(services): State<Services>,
    Operate(caller): Operate,
    Body(wanted): Body<shapes::devices::NewDevice>,
) -> Result<(StatusCode, Json<Credentials>), ApiError> {
    let made = services.registry.add_device(new_device(wanted)?).await?;
    services.audit(&caller, "device.add", made.value.id.as_str()).await;
    integrations::device_added(&services, &made.value).await;
    Ok((StatusCode::CREATED, Json(credentials(&made))))
}

/// The device that is asked for, checked.
pub(crate) fn new_device(wanted: shapes::devices::NewDevice) -> Result<NewDevice, ApiError> {
    let name = wanted.name.parse().map_err(bad_name("name"))?;
    let kind = wanted.kind.unwrap_or(DeviceKind::Mqtt);
    check_topics(kind, &wanted.topics)?;
    let credential = credential(kind, wanted.password, wanted.token)?;
    Ok(NewDevice { name, kind, username: wanted.username, credential, topics: wanted.topics })
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

/// Show a device.
#[utoipa::path(get, path = "/devices/{device}", tag = "devices", params(("device" = String, Path, description = "Name or id")),
    responses((status = 200, body = DeviceShow)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn show(
    State(services): State<Services>,
    _: Read,
    Path(device): Path<String>,
) -> Result<Tagged<DeviceShow>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    full(&services, device).await
}

/// Change a device's name, user name or topics.
#[utoipa::path(patch, path = "/devices/{device}", tag = "devices", params(("device" = String, Path, description = "Name or id")),
    request_body = DeviceEdit, responses((status = 200, body = DeviceShow)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn edit(
    State(services): State<Services>,
    Operate(caller): Operate,
    if_match: IfMatch,
    Path(device): Path<String>,
    Body(edit): Body<DeviceEdit>,
) -> Result<Tagged<DeviceShow>, ApiError> {
    let mut device = services.registry.find_device(&device).await?;
    if_match.check(&etag(&device), "device")?;
    let name = edit.name.map(|name| name.parse().map_err(bad_name("name"))).transpose()?;
    let speaks_differently = edit.topics.is_some() || edit.username.is_some();
    if let Some(topics) = edit.topics {
        check_topics(device.kind, &topics)?;
        device = services.registry.set_device_topics(&device.id, topics).await?;
    }
    if let Some(username) = edit.username {
        let username = (!username.is_empty()).then_some(username);
        device = services.registry.set_device_username(&device.id, username).await?;
    }
    if speaks_differently {
        // The next connection gets the new filters; the present one must not keep the old.
        services.broker.disconnect_owner(&Owner::Device(device.id.clone()));
    }
    if let Some(name) = name {
        device = services.registry.rename_device(&device.id, name).await?;
    }
    services.audit(&caller, "device.edit", device.id.as_str()).await;
    full(&services, device).await
}

/// Longest that an old secret counts beside the new one: 30 days.
const MAX_OVERLAP: u64 = 30 * 86_400;

/// For how long an old secret counts beside the new one.
pub(crate) fn checked_overlap(seconds: Option<u64>) -> Result<Duration, ApiError> {
    let seconds = seconds.unwrap_or(0);
    if seconds > MAX_OVERLAP {
        let message = format!("an overlap of {seconds} s is longer than 30 days");
        return Err(ApiError::bad_request("bad_overlap", message, "give 2592000 s at most").field("overlap"));
    }
    Ok(Duration::from_secs(seconds))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateParams {
    /// Seconds for which the old secret counts beside the new one, so that the device can be given it in peace; 0, the
    /// default, ends it at once. At most 30 days.
    #[param(maximum = 2_592_000)]
    overlap: Option<u64>,
}

/// Give a device a new secret. It stands in this answer alone; the old one ends at once, or after an overlap.
///
/// Without an overlap its connections are closed now, with one at its end if they were opened with the old secret.
#[utoipa::path(post, path = "/devices/{device}/rotate", tag = "devices",
    params(("device" = String, Path, description = "Name or id"), RotateParams),
    responses((status = 200, body = Credentials)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn rotate(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(device): Path<String>,
    Params(params): Params<RotateParams>,
) -> Result<Json<Credentials>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let overlap = checked_overlap(params.overlap)?;
    let made = services.registry.rotate_device(&device.id, NewCredential::Random, overlap).await?;
    if overlap.is_zero() {
        services.broker.disconnect_owner(&Owner::Device(device.id.clone()));
    }
    services.audit(&caller, "device.rotate", device.id.as_str()).await;
    Ok(Json(credentials(&made)))
}

/// Close a device's connections. Its session stays, and it may come back at once.
#[utoipa::path(post, path = "/devices/{device}/disconnect", tag = "devices",
    params(("device" = String, Path, description = "Name or id")), responses((status = 200, body = Disconnected)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn disconnect(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(device): Path<String>,
) -> Result<Json<Disconnected>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let disconnected = services.broker.close_owner(&Owner::Device(device.id.clone()));
    services.audit(&caller, "device.disconnect", device.id.as_str()).await;
    Ok(Json(Disconnected { disconnected }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveParams {
    /// Do not wait for what is to be sent: drop it, and count it.
    #[serde(default)]
    discard_backlog: bool,
}

/// Remove a device, here and in every hub.
#[utoipa::path(delete, path = "/devices/{device}", tag = "devices",
    params(("device" = String, Path, description = "Name or id"), RemoveParams), responses((status = 200, body = Removal)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
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

/// Say what the removal of a device would do.
#[utoipa::path(get, path = "/devices/{device}/removal", tag = "devices",
    params(("device" = String, Path, description = "Name or id")), responses((status = 200, body = DeviceRemoval)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn removal(
    State(services): State<Services>,
    _: Read,
    Path(device): Path<String>,
) -> Result<Json<DeviceRemoval>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let mut leaves = Vec::new();
    for (integration, status) in bound(&services, &device.id).await? {
        let identity = match (status.made_by_us, status.state) {
            (true, _) => "deleted",
            (false, hubward_model::BindingState::Creating | hubward_model::BindingState::Conflict) => "none",
            (false, _) => "left",
        };
        leaves.push(LeavesIntegration {
            integration: integration.name.to_string(),
            host_name: integration.host_name,
            hub_device_id: status.hub_device_id,
            identity: identity.to_owned(),
            waiting: status.backlog,
            dead_letters: status.dead_letters,
        });
    }
    Ok(Json(DeviceRemoval {
        device: device.name.to_string(),
        signals: services.activity.signals(&device.id).0.max(device.signals),
        waiting: leaves.iter().map(|one| one.waiting).sum(),
        dead_letters: leaves.iter().map(|one| one.dead_letters).sum(),
        integrations: leaves,
    }))
}

/// Say what to put on a device, its secret apart.
#[utoipa::path(get, path = "/devices/{device}/snippets", tag = "devices",
    params(("device" = String, Path, description = "Name or id")), responses((status = 200, body = Snippets)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn snippets(
    State(services): State<Services>,
    _: Read,
    Path(device): Path<String>,
) -> Result<Json<Snippets>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let about = &services.about;
    let address = |text: &Option<String>| -> Option<(String, u16)> {
        let (host, port) = text.as_deref()?.rsplit_once(':')?;
        Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
    };
    let listening = [&about.mqtt, &about.mqtts, &about.ws, &about.wss].map(address);
    let hosts: Vec<&str> = listening.iter().flatten().map(|(host, _)| host.as_str()).collect();
    let is_loopback = |host: &&str| host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let loopback_only = hosts.iter().all(is_loopback);
    let mut reachable: Vec<String> = Vec::new();
    let is_any = |host: &&str| host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    if hosts.iter().any(is_any) {
        reachable.extend(about.reachable_at.iter().cloned());
        reachable.push("127.0.0.1".to_owned());
    }
    reachable.extend(hosts.iter().filter(|host| !is_any(host)).map(|host| (*host).to_owned()));
    let mut seen = std::collections::HashSet::new();
    reachable.retain(|host| seen.insert(host.clone()));
    let port = |at: usize| listening[at].as_ref().map(|(_, port)| *port);
    let id = &device.id;
    let (publish, subscribe, example) = match device.kind {
        DeviceKind::Pycom => {
            (vec!["u{token}".to_owned(), "u{token}/#".to_owned()], "d{token}".to_owned(), "u{token}".to_owned())
        }
        DeviceKind::Mqtt => {
            let own = format!("devices/{id}/signals/#");
            let publish = if device.topics.is_empty() { vec![own] } else { device.topics.clone() };
            // A filter without wildcards is a topic.
            let fixed = publish.iter().find(|filter| !filter.contains(['+', '#'])).cloned();
            (
                publish,
                format!("devices/{id}/commands/#"),
                fixed.unwrap_or_else(|| format!("devices/{id}/signals/temperature")),
            )
        }
    };
    Ok(Json(Snippets {
        kind: device.kind,
        username: device.login_name().map(str::to_owned),
        client_id: if device.kind == DeviceKind::Pycom { "token" } else { "any" }.to_owned(),
        hosts: reachable,
        mqtt_port: port(0),
        mqtts_port: port(1),
        ws_port: port(2),
        wss_port: port(3),
        loopback_only,
        publish,
        subscribe: vec![subscribe],
        example_topic: example,
    }))
}

/// The rows of these devices, in no order.
async fn rows(services: &Services, ids: &[DeviceId]) -> Result<Vec<DeviceRow>, ApiError> {
    let devices = services.registry.devices_by_id(ids).await?;
    let mut bindings = services.registry.bindings_of_devices(ids).await?;
    let mut names: HashMap<IntegrationId, String> = HashMap::new();
    let mut rows = Vec::with_capacity(devices.len());
    for device in devices {
        let bindings = bindings.remove(&device.id).unwrap_or_default();
        let (mut waiting, mut dead_letters, mut integration_names) = (0, 0, Vec::new());
        for binding in bindings {
            let id = binding.integration.clone();
            if !names.contains_key(&id) {
                names.insert(id.clone(), services.registry.integration(&id).await?.name.to_string());
            }
            integration_names.extend(names.get(&id).cloned());
            for status in services.relay.device_statuses(&id, vec![binding]) {
                waiting += status.backlog;
                dead_letters += status.dead_letters;
            }
        }
        rows.push(row(services, &device, waiting, dead_letters, integration_names));
    }
    Ok(rows)
}

fn row(
    services: &Services,
    device: &Device,
    waiting: u64,
    dead_letters: u64,
    integration_names: Vec<String>,
) -> DeviceRow {
    let (signals, _) = services.activity.signals(&device.id);
    let last_seen = last_seen(services, &device.id, device.last_seen);
    let state = match state_of(services, &device.id) {
        "never_seen" if last_seen.is_some() => "idle",
        state => state,
    };
    DeviceRow {
        id: device.id.clone(),
        name: device.name.to_string(),
        kind: device.kind,
        connected: services.broker.connected(&device.id),
        last_seen,
        signals: signals.max(device.signals),
        state: state.to_owned(),
        signals_last_hour: services.activity.last_hour(&device.id),
        waiting,
        dead_letters,
        integration_names,
        refused_last_hour: services.activity.refused(&device.id),
        added_at: Some(device.created_at),
    }
}

/// The version of a device: what can be edited of it.
fn etag(device: &Device) -> ETag {
    use sha2::Digest;
    let text = format!("{:?}", (&device.name, &device.username, &device.topics));
    ETag::new(hex::encode(&sha2::Sha256::digest(text.as_bytes())[..8]))
}

async fn full(services: &Services, device: Device) -> Result<Tagged<DeviceShow>, ApiError> {
    let bound = bound(services, &device.id).await?;
    let waiting = bound.iter().map(|(_, status)| status.backlog).sum();
    let dead_letters = bound.iter().map(|(_, status)| status.dead_letters).sum();
    let names = bound.iter().map(|(integration, _)| integration.name.to_string()).collect();
    let row = row(services, &device, waiting, dead_letters, names);
    let integrations = bound.into_iter().map(|(integration, status)| DeviceBinding {
        integration: integration.name.to_string(),
        hub_device_id: status.hub_device_id,
        state: status.state,
        integration_id: Some(integration.id),
        host_name: integration.host_name,
        delivered: status.delivered,
        waiting: status.backlog,
        dead_letters: status.dead_letters,
        last_error: status.last_error,
    });
    let mut told = Told::default();
    for one in services.registry.told(&device.id).await? {
        let mut detail = one.detail;
        if let Some(detail) = detail.as_object_mut() {
            detail.insert("at".to_owned(), one.at.to_string().into());
        }
        match one.what.as_str() {
            "info" => told.info = Some(detail),
            "network" => told.network = Some(detail),
            "scan" => told.scan = Some(detail),
            "battery" => told.battery = Some(detail),
            _ => {}
        }
    }
    let show = DeviceShow {
        row,
        username: device.login_name().map(str::to_owned),
        topics: device.topics.clone(),
        created_at: device.created_at,
        integrations: integrations.collect(),
        told,
        old_until: device.old_until,
        still_on_old: services.registry.still_on_old(&device.id),
    };
    Ok(Tagged(etag(&device), show))
}

/// The integrations a device is in, each with how it fares there.
async fn bound(services: &Services, device: &DeviceId) -> Result<Vec<(Integration, DeviceStatus)>, ApiError> {
    let mut bound = Vec::new();
    let bindings: Vec<Binding> = services.registry.bindings_of(device).await?;
    for binding in bindings {
        let integration = services.registry.integration(&binding.integration).await?;
        let statuses = services.relay.device_statuses(&integration.id, vec![binding]);
        bound.extend(statuses.into_iter().map(|status| (integration.clone(), status)));
    }
    Ok(bound)
}

/// What was made, with its secret.
pub(crate) fn credentials(made: &WithSecret<Device>) -> Credentials {
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
        old_until: device.old_until,
    }
}
