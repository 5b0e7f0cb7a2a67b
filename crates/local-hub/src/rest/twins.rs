//! Twins, as services read and write them (reference, 2.2 and 2.6).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::body;
use super::caller::Caller;
use super::error::RestError;
use super::twin_json::{change, shown_as_twin};
use crate::devices::TwinChange;
use crate::identity::{Condition, Identity, Refused};
use crate::limits::Kind;
use crate::policies::Right;
use crate::state::State;

type Hub = axum::extract::State<Arc<State>>;

pub(super) async fn get(state: Hub, caller: Caller, Path(id): Path<String>) -> Result<Response, RestError> {
    caller.may(Right::ServiceConnect, &["twins", &id])?;
    let identity = identity(&state, id)?;
    state.limits.admit(Kind::TwinRead).await?;
    Ok(answer(&identity, &state))
}

/// Changes what the body names; null takes a member away.
pub(super) async fn patch(
    state: Hub,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, RestError> {
    let (identity, change, condition) = asked(&state, &caller, id, &headers, body).await?;
    state.devices.patch_twin(&identity, &change, &condition).await?;
    Ok(answer(&identity, &state))
}

/// Replaces tags and desired properties.
pub(super) async fn put(
    state: Hub,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, RestError> {
    let (identity, change, condition) = asked(&state, &caller, id, &headers, body).await?;
    state.devices.replace_twin(&identity, &change, &condition).await?;
    Ok(answer(&identity, &state))
}

/// What a change is asked for: of whom, what, and on which condition; admitted by the limits.
async fn asked(
    state: &State,
    caller: &Caller,
    id: String,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(Arc<Identity>, TwinChange, Condition), RestError> {
    caller.may(Right::ServiceConnect, &["twins", &id])?;
    let change = change(body::json::<Value>(body)?)?;
    let condition = body::condition(headers)?.unwrap_or(Condition::Any);
    let identity = identity(state, id)?;
    state.limits.admit(Kind::TwinUpdate).await?;
    Ok((identity, change, condition))
}

/// The identity of `id`, or that there is none.
pub(super) fn identity(state: &State, id: String) -> Result<Arc<Identity>, RestError> {
    state.identities.get(&id).ok_or_else(|| Refused::NotFound(id).into())
}

fn answer(identity: &Identity, state: &State) -> Response {
    let twin = shown_as_twin(identity, state);
    let etag = format!("\"{}\"", twin["etag"].as_str().unwrap_or_default());
    // The first block was counted when it was admitted.
    state.limits.charge_answer(twin.to_string().len().saturating_sub(4096));
    ([(ETAG, etag)], Json(twin)).into_response()
}
