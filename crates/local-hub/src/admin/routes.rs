//! What can be asked of a hub by who governs it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use hubward_model::{Problem, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::faults::{self, FaultSpec, FaultView, NotBegun, Seen};
use crate::presence::ConnectionId;
use crate::state::State;

type Hub = Shared<Arc<State>>;

/// All of the admin API.
pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/state", get(show_state))
        .route("/usage", get(show_usage))
        .route("/clock", get(show_clock).post(move_clock))
        .route("/connections", get(connections))
        .route("/connections/{id}", delete(cut))
        .route("/devices/{id}/connection", delete(disconnect))
        .route("/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .route("/faults/{id}", delete(clear_fault))
        .fallback(unknown)
        .with_state(state)
}

/// A refusal: a status and a problem.
pub(super) struct Refused(StatusCode, Problem);

impl Refused {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>, remedy: &str) -> Self {
        Self(status, Problem::new(code, message, remedy))
    }

    fn body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message, "look at docs/local-hub.md for what can be asked")
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

impl From<NotBegun> for Refused {
    fn from(why: NotBegun) -> Self {
        match &why {
            NotBegun::Spec(_) => Self::body(format!("this fault cannot be: {why}")),
            NotBegun::Device(_) => {
                Self::new(StatusCode::NOT_FOUND, "no_device", why.to_string(), "create the device first")
            }
            NotBegun::Refused(_) => Self::new(
                StatusCode::CONFLICT,
                "not_done",
                format!("the fault was not begun: {why}"),
                "look at the hub's log",
            ),
        }
    }
}

async fn unknown() -> Refused {
    let remedy = "ask for /state, /usage, /clock, /connections, /devices/ID/connection or /faults";
    Refused::new(StatusCode::NOT_FOUND, "not_found", "the admin API does not have this", remedy)
}

async fn show_state(hub: Hub) -> Json<Value> {
    let (total, enabled) = hub.identities.count();
    let usage = hub.limits.usage();
    Json(json!({
        "name": hub.names.hub,
        "host_name": hub.names.host,
        "now": hub.clock.now().to_string(),
        "tier": usage.tier,
        "units": usage.units,
        "partitions": hub.about.partitions,
        "devices": { "total": total, "enabled": enabled, "connected": hub.presence.count() },
        "connections": hub.faults.wires().list().len(),
        "faults": hub.faults.list().len(),
    }))
}

async fn show_usage(hub: Hub) -> Json<Value> {
    let usage = hub.limits.usage();
    let throttles: Vec<_> = usage
        .throttles
        .iter()
        .map(|throttle| {
            json!({
                "name": throttle.name,
                "admitted": throttle.admitted,
                "delayed": throttle.delayed,
                "refused": throttle.refused,
            })
        })
        .collect();
    Json(json!({
        "tier": usage.tier,
        "units": usage.units,
        "quota": usage.quota,
        "metering": usage.metering,
        "messages_per_message": usage.messages_per_message,
        "messages_per_transfer": usage.messages_per_transfer,
        "resets_at": usage.resets_at.to_string(),
        "throttles": throttles,
    }))
}

fn clock(hub: &State) -> Json<Value> {
    let now = hub.clock.now();
    let ahead = now.as_millis() - Timestamp::now().as_millis();
    Json(json!({ "now": now.to_string(), "ahead_ms": ahead }))
}

async fn show_clock(hub: Hub) -> Json<Value> {
    clock(&hub)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    #[serde(default)]
    advance_ms: Option<u64>,
    #[serde(default)]
    to: Option<String>,
}

/// Moves the clock ahead, by a time or to one.
async fn move_clock(hub: Hub, body: Bytes) -> Result<Json<Value>, Refused> {
    let by = match read::<Move>(&body)? {
        Move { advance_ms: Some(by), to: None } => Duration::from_millis(by),
        Move { advance_ms: None, to: Some(to) } => {
            let to = to
                .parse::<jiff::Timestamp>()
                .map_err(|_| Refused::body(format!("{to:?} is no time such as 2026-11-23T00:00:00Z")))?;
            let to = Timestamp::from_millis(to.as_millisecond());
            if to < hub.clock.now() {
                return Err(Refused::body("the clock is only moved ahead"));
            }
            to.since(hub.clock.now())
        }
        _ => return Err(Refused::body("say either advance_ms or to")),
    };
    hub.clock.advance(by);
    tracing::info!(?by, now = %hub.clock.now(), "the clock was moved");
    Ok(clock(&hub))
}

async fn connections(hub: Hub) -> Json<Value> {
    let mut devices = hub.presence.by_connection();
    let list = hub.faults.wires().list();
    Json(list.into_iter().map(|seen| connection(&seen, &devices.remove(&seen.id).unwrap_or_default())).collect())
}

/// A connection with the devices it serves.
fn connection(seen: &Seen, devices: &[Arc<str>]) -> Value {
    json!({
        "id": seen.id.0,
        "listener": seen.listener,
        "peer": seen.peer.to_string(),
        "since": seen.since.to_string(),
        "devices": devices,
    })
}

/// Resets a connection.
async fn cut(hub: Hub, Path(id): Path<String>) -> Result<StatusCode, Refused> {
    let number = id.parse().ok().map(ConnectionId);
    if number.is_some_and(|number| hub.faults.wires().cut(|seen| seen.id == number) > 0) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let remedy = "ask for /connections to see which there are";
    Err(Refused::new(StatusCode::NOT_FOUND, "no_connection", format!("there is no connection {id}"), remedy))
}

/// Ends a device's connection, in the words of what it speaks; answers the connection, with what it served until then.
async fn disconnect(hub: Hub, Path(id): Path<String>) -> Result<Json<Value>, Refused> {
    let devices = hub.presence.by_connection();
    if let Some(ended) = hub.presence.disconnect(&id, "dropped by who governs the hub") {
        let devices = devices.get(&ended).map(Vec::as_slice).unwrap_or_default();
        // One that is gone already has no more than its number.
        let seen = hub.faults.wires().get(ended);
        return Ok(Json(
            seen.map_or_else(|| json!({ "id": ended.0, "devices": devices }), |seen| connection(&seen, devices)),
        ));
    }
    let remedy = "ask the registry for connectionState to see which devices are connected";
    Err(Refused::new(StatusCode::NOT_FOUND, "not_connected", format!("device {id:?} is not connected"), remedy))
}

async fn list_faults(hub: Hub) -> Json<Vec<FaultView>> {
    Json(hub.faults.list())
}

async fn add_fault(hub: Hub, body: Bytes) -> Result<(StatusCode, Json<FaultView>), Refused> {
    let asked: Value = read(&body)?;
    let spec: FaultSpec = serde_json::from_value(asked.clone())
        .map_err(|error| Refused::body(format!("the fault is not understood: {error}")))?;
    // A word that means nothing here is a slip, and the fault another than was meant.
    let understood = serde_json::to_value(&spec).unwrap_or_default();
    let given = asked.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    if let Some((unknown, _)) = given.into_iter().find(|(name, _)| understood.get(name).is_none()) {
        return Err(Refused::body(format!("{unknown:?} means nothing for this fault")));
    }
    let view = faults::begin(&hub, spec).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

async fn clear_fault(hub: Hub, Path(id): Path<String>) -> Result<Json<FaultView>, Refused> {
    let number = id.parse::<u64>().unwrap_or(0);
    match faults::clear(&hub, |fault| fault.id == number).await.pop() {
        Some(view) => Ok(Json(view)),
        None => {
            let remedy = "ask for /faults to see which are in force";
            Err(Refused::new(StatusCode::NOT_FOUND, "no_fault", format!("there is no fault {id}"), remedy))
        }
    }
}

async fn clear_faults(hub: Hub) -> Json<Vec<FaultView>> {
    Json(faults::clear(&hub, |_| true).await)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::body(format!("the body is not understood: {error}")))
}
