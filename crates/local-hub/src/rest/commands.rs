//! Messages to devices, on the service side: the queue of a device purged, and feedback (reference, 2.2 and 6.5).

use std::sync::Arc;

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::caller::Caller;
use super::error::RestError;
use super::twins::identity;
use crate::devices::{Failed, Settle};
use crate::policies::Right;
use crate::state::State;

type Hub = axum::extract::State<Arc<State>>;

const FEEDBACK: [&str; 3] = ["messages", "serviceBound", "feedback"];

pub(super) async fn purge(state: Hub, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, RestError> {
    caller.may(Right::ServiceConnect, &["devices", &id, "commands"])?;
    let identity = identity(&state, id)?;
    let purged = state.devices.purge(&identity).await?;
    Ok(Json(json!({ "totalMessagesPurged": purged, "deviceId": &*identity.device_id, "moduleId": null })))
}

/// The next feedback, or 204.
pub(super) async fn feedback(state: Hub, caller: Caller) -> Result<Response, RestError> {
    caller.may(Right::ServiceConnect, &FEEDBACK)?;
    let Some(feedback) = state.devices.receive_feedback() else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let headers = [
        (ETAG, format!("\"{}\"", feedback.lock_token)),
        (CONTENT_TYPE, "application/vnd.microsoft.iothub.feedback.json".to_owned()),
    ];
    let more = [
        ("iothub-enqueuedtime", feedback.enqueued_at.to_string()),
        ("iothub-sequencenumber", feedback.sequence_number.to_string()),
        ("iothub-userid", state.names.hub.clone()),
    ];
    Ok((headers, more, feedback.body).into_response())
}

pub(super) async fn complete_feedback(
    state: Hub,
    caller: Caller,
    Path(lock_token): Path<String>,
) -> Result<StatusCode, RestError> {
    settle_feedback(&state, &caller, &lock_token, Settle::Complete).await
}

pub(super) async fn abandon_feedback(
    state: Hub,
    caller: Caller,
    Path(lock_token): Path<String>,
) -> Result<StatusCode, RestError> {
    settle_feedback(&state, &caller, &lock_token, Settle::Abandon).await
}

async fn settle_feedback(
    state: &State,
    caller: &Caller,
    lock_token: &str,
    how: Settle,
) -> Result<StatusCode, RestError> {
    caller.may(Right::ServiceConnect, &FEEDBACK)?;
    state.devices.settle_feedback(lock(lock_token)?, how).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A lock token as it stands in a path. One that was never given is one that is lost.
pub(super) fn lock(text: &str) -> Result<Uuid, RestError> {
    text.trim_matches('"').parse().map_err(|_| Failed::LockLost.into())
}
