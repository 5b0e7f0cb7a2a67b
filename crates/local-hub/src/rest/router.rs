//! Which request goes where.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::DATE;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use percent_encoding::percent_decode_str;

use super::error::{ErrorForm, RestError};
use super::{absent, bulk, commands, device_commands, device_events, devices, methods, query, statistics, twins};
use crate::state::State as Hub;

/// A bulk call carries 100 identities; with long ids, keys and reasons they stay well below.
const MAX_BODY: usize = 1 << 20;

/// All requests of the hub's HTTPS endpoint.
pub(crate) fn router(state: Arc<Hub>) -> Router {
    let collection = get(devices::list).post(bulk::post);
    // A POST below /devices is the query; the other verbs mean a device, which may well be called "query".
    let one = get(devices::get).put(devices::put).delete(devices::delete).post(query::post);
    Router::new()
        .route("/devices", collection.clone())
        .route("/devices/", collection)
        .route("/devices/{id}", one.clone())
        .route("/devices/{id}/", one)
        .route("/devices/{id}/commands", delete(commands::purge))
        .route("/devices/{id}/messages/events", post(device_events::post))
        .route("/devices/{id}/messages/devicebound", get(device_commands::get))
        .route("/devices/{id}/messages/devicebound/{lock}", delete(device_commands::delete))
        .route("/devices/{id}/messages/devicebound/{lock}/abandon", post(device_commands::abandon))
        .route("/twins/{id}", get(twins::get).patch(twins::patch).put(twins::put))
        .route("/twins/{id}/methods", post(methods::post))
        .route("/messages/serviceBound/feedback", get(commands::feedback))
        .route("/messages/serviceBound/feedback/{lock}", delete(commands::complete_feedback))
        .route("/messages/serviceBound/feedback/{lock}/abandon", post(commands::abandon_feedback))
        .merge(absent::routes())
        .route("/statistics/devices", get(statistics::devices))
        .route("/statistics/service", get(statistics::service))
        .merge(crate::ws::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(middleware::from_fn_with_state(state.clone(), faulty))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::map_response_with_state(state.clone(), formed))
        .layer(middleware::map_response_with_state(state.clone(), dated))
        .with_state(state)
}

/// Lets requests go wrong as is asked for. Sends are asked about where they are taken in.
async fn faulty(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let mut segments = path.split('/').skip(1);
    let device = match segments.next() {
        Some("devices" | "twins") => segments.next().map(|id| percent_decode_str(id).decode_utf8_lossy()),
        _ => None,
    };
    if path.ends_with("/messages/events") {
        return next.run(request).await;
    }
    match hub.faults.on_request(device.as_deref()) {
        Err(refusal) => RestError::from(refusal).into_response(),
        Ok(delay) => {
            let due = hub.clock.after(delay);
            let response = next.run(request).await;
            hub.clock.sleep_until(due).await;
            response
        }
    }
}

/// Writes refusals in the form that is asked for.
async fn formed(State(hub): State<Arc<Hub>>, response: Response) -> Response {
    match response.extensions().get::<RestError>() {
        Some(refusal) if hub.error_form == ErrorForm::Newer => refusal.newer(),
        _ => response,
    }
}

/// Says what time the hub takes it to be: a client whose token is refused finds out by it that its own clock is off.
async fn dated<B>(State(hub): State<Arc<Hub>>, mut response: Response<B>) -> Response<B> {
    let now = jiff::Timestamp::from_millisecond(hub.clock.now().as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    if let Ok(date) = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string().parse() {
        response.headers_mut().insert(DATE, date);
    }
    response
}

async fn unknown(request: Request) -> RestError {
    let (method, path) = (request.method(), request.uri().path());
    tracing::info!(%method, path, "a request that this hub does not know");
    RestError::unknown_path(&format!("{method} {path}"))
}
