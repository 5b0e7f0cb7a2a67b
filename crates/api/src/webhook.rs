//! The webhook: who is told of alarms.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hubward_registry::{ExposeSecret as _, SecretString, Webhook};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Admin;
use crate::extract::Body;
use crate::shapes::alarms::{WebhookEdit, WebhookShow, WebhookTested};
use crate::{ApiError, Services};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(show, set, remove)).routes(routes!(test))
}

/// Show who is told of alarms, and how that goes.
#[utoipa::path(get, path = "/webhook", tag = "alarms", responses((status = 200, body = WebhookShow),
    (status = 404, description = "None is set")), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn show(State(services): State<Services>, _: Admin) -> Result<Json<WebhookShow>, ApiError> {
    Ok(Json(shown(services.registry.webhook().await?.ok_or_else(not_set)?, None)))
}

/// Set who is told of alarms from now on: each that is raised or cleared is sent there as JSON, signed.
///
/// `X-Hubward-Signature: sha256=…` is the HMAC-SHA256 of the body under the secret, in hexadecimal. A notice is sent
/// until the target answers with 2xx, for a day, in order; a repeat has the same `id`.
#[utoipa::path(put, path = "/webhook", tag = "alarms", request_body = WebhookEdit,
    responses((status = 200, body = WebhookShow)), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn set(
    State(services): State<Services>,
    Admin(caller): Admin,
    Body(edit): Body<WebhookEdit>,
) -> Result<Json<WebhookShow>, ApiError> {
    let url = SecretString::from(edit.url);
    let target = services.notifier.check(&url, edit.ca.as_deref()).map_err(ApiError::from_problem)?;
    if edit.secret.as_ref().is_some_and(|secret| !(16..=256).contains(&secret.len())) {
        return Err(ApiError::bad_request(
            "bad_secret",
            "the secret is not 16 to 256 bytes long",
            "give a longer one, or none: then a random one is made",
        )
        .field("secret"));
    }
    let own_secret = edit.secret.is_some();
    let key = edit.secret.map(SecretString::from);
    let key = services.registry.set_webhook(&target, &url, key, edit.ca.as_deref()).await?;
    services.audit(&caller, "webhook.set", &target).await;
    let webhook = services.registry.webhook().await?.ok_or_else(not_set)?;
    Ok(Json(shown(webhook, (!own_secret).then(|| key.expose_secret().to_owned()))))
}

/// Tell nobody of alarms any more. What was still to be told is dropped.
#[utoipa::path(delete, path = "/webhook", tag = "alarms", responses((status = 204, description = "Removed"),
    (status = 404, description = "None is set")), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn remove(State(services): State<Services>, Admin(caller): Admin) -> Result<StatusCode, ApiError> {
    if !services.registry.remove_webhook().await? {
        return Err(not_set());
    }
    services.audit(&caller, "webhook.remove", "webhook").await;
    Ok(StatusCode::NO_CONTENT)
}

/// Send a test notice, and wait for the target's answer.
#[utoipa::path(post, path = "/webhook/test", tag = "alarms", responses((status = 200, body = WebhookTested),
    (status = 404, description = "None is set")), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn test(State(services): State<Services>, _: Admin) -> Result<Json<WebhookTested>, ApiError> {
    services.registry.webhook().await?.ok_or_else(not_set)?;
    services.notifier.test().await.map(Json).map_err(ApiError::from_problem)
}

fn shown(webhook: Webhook, secret: Option<String>) -> WebhookShow {
    WebhookShow {
        target: webhook.target,
        own_ca: webhook.ca.is_some(),
        created_at: webhook.created_at,
        sent: webhook.sent,
        waiting: webhook.waiting,
        dropped: webhook.dropped,
        last_sent_at: webhook.last_sent_at,
        failing_since: webhook.failing_since,
        last_error: webhook.last_error,
        secret,
    }
}

fn not_set() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "no webhook is set",
        "set one: hubward alarm webhook set --url-file FILE",
    )
}
