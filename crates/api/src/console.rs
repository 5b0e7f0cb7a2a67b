//! The web console's files, which the build put in.
//!
//! The page gets a fresh nonce each time, in itself and in its content security policy; files whose names carry a hash of
//! their content are kept by browsers for ever. Every address that is no file shows the page, which finds its way itself.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ApiError;

/// A file of the console.
struct File {
    path: &'static str,
    mime: &'static str,
    raw: &'static [u8],
    gzip: Option<&'static [u8]>,
}

/// Sorted by path; empty if the console was not built.
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/console_files.rs"));

/// What the page writes in the place of the nonce.
const PLACEHOLDER: &str = "__CSP_NONCE__";
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const EACH_TIME: HeaderValue = HeaderValue::from_static("no-cache");
const NEVER: HeaderValue = HeaderValue::from_static("no-store");
/// Bytes of randomness in a nonce.
const NONCE_BYTES: usize = 18;

const NOT_BUILT: &str = "<!doctype html>
<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Hubward</title>
<h1>The console is not built in</h1>
<p>This hubward was built without Node, so its web console is missing; everything else works: the API under /api/v1, its
description at <a href=\"/api/openapi.json\">/api/openapi.json</a>, and the commands (hubward --help).</p>
<p>To add it: install Node 20 or newer, run <code>make console</code>, and build again (<code>make build</code>).</p>
</html>
";

/// Whether the console was built in.
#[must_use]
pub fn built() -> bool {
    !FILES.is_empty()
}

/// Answers every address that is nothing else's.
pub(crate) async fn page(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    answer(FILES, &method, uri.path(), &headers)
}

fn answer(files: &[File], method: &Method, path: &str, headers: &HeaderMap) -> Response {
    if path == "/api" || path.starts_with("/api/") || !(method == Method::GET || method == Method::HEAD) {
        return nothing(path);
    }
    let name = path.trim_start_matches('/');
    match files.iter().find(|file| file.path == name && name != "index.html") {
        Some(file) => serve(file, headers),
        // An old page asks for files that a newer build no longer has; the page instead would be a script that breaks.
        None if name.starts_with("assets/") => nothing(path),
        None => match files.iter().find(|file| file.path == "index.html") {
            Some(index) => start_page(index),
            None => (
                StatusCode::SERVICE_UNAVAILABLE,
                [
                    (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
                    (header::CACHE_CONTROL, NEVER),
                ],
                NOT_BUILT,
            )
                .into_response(),
        },
    }
}

fn serve(file: &File, headers: &HeaderMap) -> Response {
    let caching = if file.path.starts_with("assets/") { FOREVER } else { EACH_TIME };
    let packed = file.gzip.filter(|_| accepts_gzip(headers));
    let mut response = (
        [
            (header::CONTENT_TYPE, HeaderValue::from_static(file.mime)),
            (header::CACHE_CONTROL, caching),
            (header::VARY, HeaderValue::from_static("accept-encoding")),
        ],
        packed.unwrap_or(file.raw),
    )
        .into_response();
    if packed.is_some() {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn start_page(index: &File) -> Response {
    let mut bytes = [0; NONCE_BYTES];
    if let Err(error) = getrandom::fill(&mut bytes) {
        return ApiError::internal("making a nonce", &error).into_response();
    }
    let nonce = STANDARD.encode(bytes);
    let page = String::from_utf8_lossy(index.raw).replace(PLACEHOLDER, &nonce);
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; connect-src 'self'; \
         font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    let policy = match HeaderValue::from_str(&policy) {
        Ok(policy) => policy,
        Err(error) => return ApiError::internal("writing the security policy", &error).into_response(),
    };
    (
        [
            (header::CONTENT_TYPE, HeaderValue::from_static(index.mime)),
            (header::CACHE_CONTROL, NEVER),
            (header::CONTENT_SECURITY_POLICY, policy),
        ],
        page,
    )
        .into_response()
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|coding| coding.trim().to_ascii_lowercase())
        .any(|coding| coding == "gzip" || (coding.starts_with("gzip;") && !coding.ends_with("q=0")))
}

fn nothing(path: &str) -> Response {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no_such_page",
        format!("there is nothing at {path}"),
        "the interface is under /api/v1, described at /api/openapi.json; see also /healthz, /readyz, /metrics",
    )
    .into_response()
}

#[cfg(test)]
mod tests;
