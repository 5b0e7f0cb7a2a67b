//! One identity, and the list of them.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery};
use axum::http::header::ETAG;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::body;
use super::caller::{Caller, query_value};
use super::error::RestError;
use super::identity_json::{DeviceJson, shown};
use crate::identity::{Command, Condition, Identity, NotStored, Refused};
use crate::limits::Kind;
use crate::policies::Right;
use crate::state::State;

/// The list gives no more than this.
const MAX_LISTED: usize = 1000;

type Hub = axum::extract::State<Arc<State>>;

pub(super) async fn list(state: Hub, caller: Caller, RawQuery(query): RawQuery) -> Result<Json<Vec<Value>>, RestError> {
    caller.may(Right::RegistryRead, &["devices"])?;
    let top = match query_value(query.as_deref().unwrap_or_default(), "top") {
        None => MAX_LISTED,
        Some(text) => text.parse().map_err(|_| RestError::argument("top is not a number"))?,
    };
    if !(1..=MAX_LISTED).contains(&top) {
        return Err(RestError::argument(format!("top is {top}, allowed are 1 to {MAX_LISTED}")));
    }
    state.limits.admit(Kind::Registry(1)).await?;
    let page = state.identities.page(None, top);
    Ok(Json(page.iter().map(|identity| shown(identity, &state)).collect()))
}

pub(super) async fn get(state: Hub, caller: Caller, Path(id): Path<String>) -> Result<Response, RestError> {
    caller.may(Right::RegistryRead, &["devices", &id])?;
    state.limits.admit(Kind::Registry(1)).await?;
    let identity = state.identities.get(&id).ok_or(Refused::NotFound(id))?;
    Ok(with_etag(&identity, &state))
}

/// Without `If-Match` creates, with it updates (reference, 2.3). Both answer 200.
pub(super) async fn put(
    state: Hub,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, RestError> {
    caller.may(Right::RegistryWrite, &["devices", &id])?;
    let draft = body::json::<DeviceJson>(body)?.into_draft(&id)?;
    let command = match body::condition(&headers)? {
        None => Command::Create(draft),
        Some(condition) => Command::Update(draft, condition),
    };
    state.limits.admit(Kind::Registry(1)).await?;
    match state.change(vec![command]).await?.pop() {
        Some(Ok(Some(identity))) => Ok(with_etag(&identity, &state)),
        Some(Err(refused)) => Err(refused.into()),
        Some(Ok(None)) | None => Err(NotStored.into()),
    }
}

pub(super) async fn delete(
    state: Hub,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, RestError> {
    caller.may(Right::RegistryWrite, &["devices", &id])?;
    let condition = body::condition(&headers)?.unwrap_or_else(|| {
        // UNCONFIRMED (reference, 2.3): the service's answer to a DELETE without If-Match.
        tracing::warn!(
            device = id,
            "DELETE without If-Match: the real hub's answer is not known, taken as unconditional"
        );
        Condition::Any
    });
    state.limits.admit(Kind::Registry(1)).await?;
    match state.change(vec![Command::Delete(id, condition)]).await?.pop() {
        Some(Ok(_)) => Ok(StatusCode::NO_CONTENT),
        Some(Err(refused)) => Err(refused.into()),
        None => Err(NotStored.into()),
    }
}

fn with_etag(identity: &Identity, state: &State) -> Response {
    // UNCONFIRMED (reference, 2.3): whether identities come with this header; it harms nobody.
    ([(ETAG, format!("\"{}\"", identity.etag))], Json(shown(identity, state))).into_response()
}
