//! The table of routes, and what is put around them.

use axum::http::StatusCode;
use axum::middleware;
use axum::{Router, extract::DefaultBodyLimit};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::services::BODY_BYTES;
use crate::{ApiError, Services, access, headers, idempotency};
use crate::{
    alarms, audit, charts, connections, console, dead_letters, devices, drafts, drift, dropped, events, expired,
    health, hubs, import, integrations, openapi, overview, previews, rotations, server, session, signals, silence,
    tokens, users, webhook,
};

/// Every route, with what the document says of it. `guarded` is put around those that are not open to strangers.
pub(crate) fn routes(
    guarded: impl FnOnce(OpenApiRouter<Services>) -> OpenApiRouter<Services>,
) -> OpenApiRouter<Services> {
    let v1 = OpenApiRouter::new()
        .merge(session::routes())
        .merge(users::routes())
        .merge(tokens::routes())
        .merge(audit::routes())
        .merge(server::routes())
        .merge(overview::routes())
        .merge(dropped::routes())
        .merge(devices::routes())
        .merge(rotations::routes())
        .merge(connections::routes())
        .merge(import::routes())
        .merge(signals::routes())
        .merge(charts::routes())
        .merge(integrations::routes())
        .merge(drift::routes())
        .merge(previews::routes())
        .merge(drafts::routes())
        .merge(hubs::routes())
        .merge(dead_letters::routes())
        .merge(alarms::routes())
        .merge(silence::routes())
        .merge(webhook::routes())
        .merge(expired::routes())
        .merge(events::routes());
    OpenApiRouter::new()
        .nest("/api/v1", session::open_routes().merge(guarded(v1)))
        .routes(routes!(openapi::serve))
        .merge(health::routes())
}

/// The whole interface.
pub fn router(services: Services) -> Router {
    let guard = middleware::from_fn_with_state(services.clone(), access::authenticate);
    let again = middleware::from_fn_with_state(services.clone(), idempotency::answer_again);
    // The last one added is the first one asked: who it is comes before what they were answered.
    let (routes, _) = routes(|guarded| guarded.route_layer(again).route_layer(guard)).split_for_parts();
    routes
        .fallback(console::page)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn_with_state(services.clone(), access::check_host))
        .layer(middleware::from_fn(headers::add))
        .with_state(services)
}

async fn no_such_method(method: axum::http::Method, uri: axum::http::Uri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "no_such_method",
        format!("{} cannot be asked for with {method}", uri.path()),
        "the header Allow names the methods",
    )
}
