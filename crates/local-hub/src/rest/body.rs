//! What requests carry: JSON bodies, conditions, times.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::error::RestError;
use crate::identity::Condition;

/// The bytes of a body.
pub(super) fn bytes(body: Result<Bytes, BytesRejection>) -> Result<Bytes, RestError> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => RestError::body_too_large(),
        _ => RestError::format("the request body could not be read"),
    })
}

/// Reads a JSON body, whatever its content type says.
pub(super) fn json<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, RestError> {
    serde_json::from_slice(&bytes(body)?).map_err(|error| match error.classify() {
        // The error of a wrong type may quote the value, which may be a key.
        serde_json::error::Category::Data => {
            RestError::argument(format!("a field of the body has a wrong type or value, line {}", error.line()))
        }
        _ => RestError::format(format!("the body is not JSON: line {}, column {}", error.line(), error.column())),
    })
}

/// What `If-Match` asks for; nothing without it.
pub(super) fn condition(headers: &HeaderMap) -> Result<Option<Condition>, RestError> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = value.to_str().map_err(|_| RestError::argument("If-Match is not an etag"))?;
    Ok(Some(Condition::parse(text)))
}
