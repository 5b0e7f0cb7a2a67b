//! Creates that may be repeated: the header `Idempotency-Key` names a request, and for a day the same request gets the
//! same answer again instead of making a second thing.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hubward_registry::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::access::Caller;
use crate::services::BODY_BYTES;
use crate::{ApiError, Services};

/// The header that names a request.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest name of a request.
const MAX_KEY_CHARS: usize = 255;
/// Headers that are part of the answer.
const KEPT: [HeaderName; 3] = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];

/// An answer as it is kept; sealed, for it may hold a secret that is shown once.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Answers a repeated request as the first time; what is not named or makes nothing passes.
pub(crate) async fn answer_again(
    State(services): State<Services>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = request.extensions().get::<Caller>().map(Caller::key);
    let (Some(caller), Some(value)) = (caller, request.headers().get(&KEY)) else { return Ok(next.run(request).await) };
    if request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    let key = (caller, checked(value)?);
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES).await.map_err(|_| {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "bad_body", "the body is too large", "send less at once")
    })?;
    let fingerprint = fingerprint(&parts.method, &parts.uri, &body);

    let turn = services.running.begin(&key).ok_or_else(|| {
        ApiError::new(
            StatusCode::CONFLICT,
            "idempotency_running",
            "the same request is being worked on",
            "wait a moment, then send it again for its answer",
        )
    })?;
    if let Some(known) = services.registry.remembered(&key.0, &key.1).await? {
        if known.fingerprint != fingerprint {
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_mismatch",
                "another request was sent with this Idempotency-Key within a day",
                "give every request a key of its own, and the same key only to its repeats",
            ));
        }
        return replay(&known.answer);
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    // Only what was made must not be made twice; a refusal may be asked for again once its cause is gone.
    if response.status() != StatusCode::CREATED {
        return Ok(response);
    }
    let response = keep(&services, &key, &fingerprint, response).await;
    drop(turn);
    response
}

fn checked(value: &HeaderValue) -> Result<String, ApiError> {
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY_CHARS);
    key.map(str::to_owned).ok_or_else(|| {
        ApiError::bad_request(
            "bad_idempotency_key",
            "the Idempotency-Key is empty, too long or not of printable ASCII",
            "give 1 to 255 printable ASCII characters, such as a random UUID",
        )
        .field("Idempotency-Key")
    })
}

fn fingerprint(method: &Method, uri: &axum::http::Uri, body: &Bytes) -> [u8; 32] {
    let place = uri.path_and_query().map_or(uri.path(), |text| text.as_str());
    let head = format!("{method} {place}\n");
    Sha256::new().chain_update(head).chain_update(body).finalize().into()
}

/// Keeps an answer and gives it.
async fn keep(
    services: &Services,
    key: &(String, String),
    fingerprint: &[u8; 32],
    response: Response,
) -> Result<Response, ApiError> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| ApiError::internal("keeping an answer", &error))?;
    let headers = KEPT.iter().filter_map(|name| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let kept = Kept { status: parts.status.as_u16(), headers: headers.collect(), body: STANDARD.encode(&body) };
    let text = serde_json::to_string(&kept).map_err(|error| ApiError::internal("keeping an answer", &error))?;
    let kept = services.registry.remember(&key.0, &key.1, fingerprint, &SecretString::from(text)).await;
    if let Err(error) = kept {
        // It was made, and whoever asked must hear so.
        tracing::error!(%error, "an answer was not kept: a repeat of its request will not find it");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(answer: &SecretString) -> Result<Response, ApiError> {
    let unreadable = |error: &dyn std::fmt::Display| ApiError::internal("reading a kept answer", error);
    let kept: Kept = serde_json::from_str(answer.expose_secret()).map_err(|error| unreadable(&error))?;
    let body = STANDARD.decode(&kept.body).map_err(|error| unreadable(&error))?;
    let mut response = Response::builder().status(kept.status).header(REPLAYED, "true");
    for (name, value) in &kept.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).map_err(|error| unreadable(&error))
}
