//! Direct methods, as services call them (reference, 2.7).

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::BytesRejection;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::body;
use super::caller::Caller;
use super::error::RestError;
use super::twins::identity;
use crate::devices::MAX_METHOD_PAYLOAD;
use crate::limits::Kind;
use crate::policies::Right;
use crate::state::State;

/// How long an answer is waited for, unless the call says.
const RESPONSE_SECONDS: u64 = 30;
/// The longest either wait may be (reference, 2.7).
const LONGEST_SECONDS: u64 = 3600;
/// Longest name of a method. UNCONFIRMED: the service's own bound; ids have this one.
const MAX_NAME: usize = 128;

/// A call. The az CLI sends the times as texts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Call {
    method_name: String,
    #[serde(default)]
    payload: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "seconds")]
    response_timeout_in_seconds: Option<u64>,
    #[serde(default, deserialize_with = "seconds")]
    connect_timeout_in_seconds: Option<u64>,
}

pub(super) async fn post(
    state: axum::extract::State<Arc<State>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, RestError> {
    caller.may(Right::ServiceConnect, &["twins", &id, "methods"])?;
    let call: Call = body::json(body)?;
    if call.method_name.is_empty() || call.method_name.len() > MAX_NAME {
        return Err(RestError::argument(format!("methodName has 1 to {MAX_NAME} characters")));
    }
    let response = call.response_timeout_in_seconds.unwrap_or(RESPONSE_SECONDS);
    let connect = call.connect_timeout_in_seconds.unwrap_or(0);
    if response == 0 || response > LONGEST_SECONDS || connect > LONGEST_SECONDS {
        return Err(RestError::argument(format!(
            "responseTimeoutInSeconds is 1 to {LONGEST_SECONDS}, connectTimeoutInSeconds 0 to {LONGEST_SECONDS}"
        )));
    }
    // Devices' SDKs read the payload as JSON whatever it is, so there is always one.
    let payload = call.payload.as_deref().map_or("null", RawValue::get).to_owned();
    if payload.len() > MAX_METHOD_PAYLOAD {
        return Err(RestError::message_too_large(payload.len(), MAX_METHOD_PAYLOAD));
    }
    let identity = identity(&state, id)?;
    state.limits.admit(Kind::Method(payload.len())).await?;
    let (connect, response) = (Duration::from_secs(connect), Duration::from_secs(response));
    let answer =
        state.devices.invoke(&identity.device_id, &call.method_name, payload.into(), connect, response).await?;
    state.limits.charge_answer(answer.payload.len());
    // UNCONFIRMED: what the service makes of an answer that is no JSON. Here it is a text.
    let payload = if answer.payload.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&answer.payload)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&answer.payload).into_owned()))
    };
    Ok(Json(json!({ "status": answer.status, "payload": payload })))
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    match Option::<Value>::deserialize(from)? {
        None => Ok(None),
        Some(Value::Number(number)) => number.as_u64().map(Some).ok_or(()),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| ()),
        Some(_) => Err(()),
    }
    .map_err(|()| serde::de::Error::custom("a time is a whole number of seconds"))
}
