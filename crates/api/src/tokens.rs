//! API tokens: list, create, revoke.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hubward_broker::Owner;
use hubward_model::Timestamp;
use hubward_registry::{ApiToken, ExposeSecret};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Admin, Scope};
use crate::extract::Body;
use crate::filters::is_filter;
use crate::shapes::Page;
use crate::shapes::misc::{NewToken, TokenMade, TokenRow};
use crate::{ApiError, Services};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// List API tokens, without their secrets.
#[utoipa::path(get, path = "/tokens", tag = "access", responses((status = 200, body = Page<TokenRow>)),
    security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn list(State(services): State<Services>, _: Admin) -> Result<Json<Page<TokenRow>>, ApiError> {
    let tokens = services.registry.tokens().await?;
    Ok(Json(Page::all(tokens.into_iter().map(row).collect())))
}

/// Make a token. Its secret stands in this answer alone.
#[utoipa::path(post, path = "/tokens", tag = "access", request_body = NewToken,
    responses((status = 201, body = TokenMade)), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn create(
    State(services): State<Services>,
    Admin(caller): Admin,
    Body(wanted): Body<NewToken>,
) -> Result<(StatusCode, Json<TokenMade>), ApiError> {
    if wanted.name.trim().is_empty() {
        return Err(ApiError::bad_request("name_empty", "the token's name is empty", "give a name").field("name"));
    }
    check_scopes(&wanted.scopes)?;
    let expires_at = wanted.expires_in.map(expiry);
    let made = services.registry.create_token(&wanted.name, &wanted.scopes, expires_at).await?;
    services.audit(&caller, "token.create", &made.value.id).await;
    let token = made.secret.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(TokenMade { row: row(made.value), token })))
}

fn expiry(seconds: u64) -> Timestamp {
    let millis = i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    Timestamp::from_millis(Timestamp::now().as_millis().saturating_add(millis))
}

/// Every scope is a word of ours, or `publish:FILTER` / `subscribe:FILTER` for MQTT apps.
fn check_scopes(scopes: &[String]) -> Result<(), ApiError> {
    let help = "use admin, operate, read, metrics, publish:FILTER or subscribe:FILTER";
    if scopes.is_empty() {
        return Err(ApiError::bad_request("no_scope", "a token without scope may do nothing", help).field("scopes"));
    }
    for scope in scopes {
        let filter = scope.strip_prefix("publish:").or_else(|| scope.strip_prefix("subscribe:"));
        if Scope::parse(scope).is_none() && !filter.is_some_and(is_filter) {
            return Err(ApiError::bad_request("bad_scope", format!("{scope:?} is no scope"), help).field("scopes"));
        }
    }
    Ok(())
}

/// End a token. Its MQTT connections are closed.
#[utoipa::path(delete, path = "/tokens/{token}", tag = "access", params(("token" = String, Path, description = "Name or id")),
    responses((status = 200, body = Object)), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn revoke(
    State(services): State<Services>,
    Admin(caller): Admin,
    Path(token): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let known = services.registry.tokens().await?;
    let id = known.into_iter().find(|t| t.id == token || t.name == token).map(|t| t.id);
    services.registry.revoke_token(&token).await?;
    if let Some(id) = id {
        services.broker.disconnect_owner(&Owner::App(id));
    }
    services.audit(&caller, "token.revoke", &token).await;
    Ok(Json(json!({ "revoked": token })))
}

fn row(token: ApiToken) -> TokenRow {
    TokenRow {
        id: token.id,
        name: token.name,
        scopes: token.scopes,
        created_at: token.created_at,
        expires_at: token.expires_at,
    }
}
