//! Messages from a device over HTTPS (reference, section 5). The answer leaves when they are on disk.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hubward_amqp::message::Message;

use super::device_caller::DeviceCaller;
use super::error::RestError;
use super::message_headers::{from_batch, from_headers};
use super::spelling::Spelling;
use super::{OnWire, body};
use crate::events::{MAX_MESSAGE, NewEvent, check};
use crate::faults::{Answer, Intake};
use crate::limits::Kind;
use crate::state::State;

/// What a batch says it is.
const BATCH: &str = "application/vnd.microsoft.iothub.json";

pub(super) async fn post(
    state: axum::extract::State<Arc<State>>,
    caller: DeviceCaller,
    Path(id): Path<String>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, RestError> {
    let (identity, method) = caller.device(&state, &id, &["messages", "events"])?;
    let body = body::bytes(body)?;
    let spelling = extensions.get::<Spelling>();
    let messages = match content_type(&headers) {
        Some(BATCH) => from_batch(&body)?,
        _ => vec![from_headers(&headers, |name| spelling?.of(name), body)?],
    };
    let sizes = sizes(&messages)?;
    let (device, generation) = (&identity.device_id, &identity.generation_id);
    let events: Vec<_> = messages
        .into_iter()
        .zip(state.limits.charges(&sizes))
        .map(|(message, charge)| {
            let event = NewEvent::from_message(device.clone(), generation.clone(), method, message);
            NewEvent { charge, ..event }
        })
        .collect();
    state.limits.admit(Kind::Send(&sizes)).await?;
    let answer = match state.faults.on_intake(device, &events) {
        Intake::Take(answer) => answer,
        Intake::Refuse(refusal) => return Err(refusal.into()),
        Intake::Drop => return Ok(hang_up(&state, &extensions)),
    };
    state.presence.touched(device);
    state.events.append_durable(&events).await.map_err(|error| {
        tracing::error!(%error, "https: events cannot be written");
        RestError::not_stored()
    })?;
    match answer {
        Answer::Usual => {}
        Answer::After(delay) => state.clock.sleep_until(state.clock.after(delay)).await,
        // The client gives up, or the connection ends.
        Answer::Never => std::future::pending().await,
        Answer::Drop => return Ok(hang_up(&state, &extensions)),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// No answer: the connection is reset before it can leave.
fn hang_up(state: &State, extensions: &Extensions) -> Response {
    if let Some(OnWire(id)) = extensions.get() {
        state.faults.wires().cut(|seen| seen.id == *id);
    }
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or(text).trim())
}

/// The messages' sizes; a message or a batch over 256 KB is refused as a whole (reference, section 5).
fn sizes(messages: &[Message]) -> Result<Vec<usize>, RestError> {
    let sizes = messages.iter().map(|message| check(message, MAX_MESSAGE).map_err(RestError::from));
    let sizes: Vec<_> = sizes.collect::<Result<_, _>>()?;
    let total = sizes.iter().sum();
    if total > MAX_MESSAGE { Err(RestError::message_too_large(total, MAX_MESSAGE)) } else { Ok(sizes) }
}
