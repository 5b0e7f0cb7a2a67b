//! Messages to a device, fetched and settled by it over HTTPS (reference, section 5).

use std::sync::Arc;

use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::caller::has_flag;
use super::commands::lock;
use super::device_caller::DeviceCaller;
use super::error::RestError;
use super::message_headers::to_headers;
use crate::devices::{Holder, Settle};
use crate::limits::Kind;
use crate::state::State;

type Hub = axum::extract::State<Arc<State>>;

const PATH: [&str; 2] = ["messages", "devicebound"];

/// The next message, locked for a minute, or 204.
pub(super) async fn get(state: Hub, caller: DeviceCaller, Path(id): Path<String>) -> Result<Response, RestError> {
    let (identity, _) = caller.device(&state, &id, &PATH)?;
    state.limits.admit(Kind::CommandReceive).await?;
    state.presence.touched(&identity.device_id);
    let received = state.devices.receive(&identity, Holder::Https, 1);
    match received.first() {
        None => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(received) => Ok(to_headers(received).into_response()),
    }
}

/// `DELETE` completes, with `?reject` it rejects.
pub(super) async fn delete(
    state: Hub,
    caller: DeviceCaller,
    Path((id, lock_token)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, RestError> {
    let rejects = has_flag(query.as_deref().unwrap_or_default(), "reject");
    settle(&state, &caller, &id, &lock_token, if rejects { Settle::Reject } else { Settle::Complete }).await
}

pub(super) async fn abandon(
    state: Hub,
    caller: DeviceCaller,
    Path((id, lock_token)): Path<(String, String)>,
) -> Result<StatusCode, RestError> {
    settle(&state, &caller, &id, &lock_token, Settle::Abandon).await
}

async fn settle(
    state: &State,
    caller: &DeviceCaller,
    id: &str,
    lock_token: &str,
    how: Settle,
) -> Result<StatusCode, RestError> {
    let (identity, _) = caller.device(state, id, &PATH)?;
    state.presence.touched(&identity.device_id);
    state.devices.settle(&identity, lock(lock_token)?, how).await?;
    Ok(StatusCode::NO_CONTENT)
}
