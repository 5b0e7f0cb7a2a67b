//! The description of the interface: an OpenAPI 3.1 document, made of the routes themselves.
//!
//! Every module's `routes` registers handlers together with what `#[utoipa::path]` says of them, so no route can be
//! missing. What holds for all of them (problems, headers, names of operations) is added here, by rule.

mod complete;
pub(crate) mod words;

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use utoipa::openapi::OpenApi;

/// The document as it is served, and its hash.
static SERVED: LazyLock<(String, String)> = LazyLock::new(|| {
    let text = text();
    let hash = hex::encode(&Sha256::digest(text.as_bytes())[..12]);
    (text, hash)
});

/// The document.
#[must_use]
pub fn document() -> OpenApi {
    let mut document = crate::routes::routes(|routes| routes).into_openapi();
    complete::complete(&mut document);
    document
}

/// The document as text, as it is served and as the repository keeps it.
#[must_use]
pub fn text() -> String {
    // A document made of plain maps and texts cannot fail to become JSON.
    let mut text = document().to_pretty_json().expect("the document is JSON");
    text.push('\n');
    text
}

/// What tells two documents apart: clients built for another one can say so.
pub(crate) fn hash() -> &'static str {
    &SERVED.1
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "server", security(()),
    responses(
        (status = 200, description = "An OpenAPI 3.1 document", content_type = "application/json", body = Object),
        (status = 304, description = "It is the one that If-None-Match names"),
    ))]
pub(crate) async fn serve(headers: HeaderMap) -> Response {
    let (text, hash) = &*SERVED;
    let tag = format!("\"{hash}\"");
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response()
    };
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
