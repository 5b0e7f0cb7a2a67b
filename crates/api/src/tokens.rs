//! API tokens: list, create, revoke.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hubward_broker::Owner;
use hubward_model::Timestamp;
use hubward_registry::{ApiToken, ExposeSecret};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Admin, Scope};
use crate::extract::{Body, Path};
use crate::filters::is_filter;
use crate::paging::Direction::{Asc, Desc};
use crate::paging::{List, Paging};
use crate::shapes::Page;
use crate::shapes::access::{NewToken, TokenMade, TokenRevoked, TokenRow};
use crate::{ApiError, Services};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenFilter {
    /// Only tokens whose name holds this.
    q: Option<String>,
}

/// List API tokens, without their secrets.
#[utoipa::path(get, path = "/tokens", tag = "access", params(Paging, TokenFilter),
    responses((status = 200, body = Page<TokenRow>)),
    security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn list(
    State(services): State<Services>,
    _: Admin,
    list: List<TokenFilter>,
) -> Result<Json<Page<TokenRow>>, ApiError> {
    let fields = [("name", Asc), ("created_at", Desc), ("expires_at", Asc), ("last_used_at", Desc)];
    let sort = list.sort(&fields)?;
    let wanted = list.filter.q.as_deref().unwrap_or_default().to_lowercase();
    let mut tokens = services.registry.tokens().await?;
    tokens.retain(|token| token.name.to_lowercase().contains(&wanted));
    let key = |row: &TokenRow| {
        let time = match sort.by {
            "created_at" => Some(row.created_at),
            // What never ends comes after all that does.
            "expires_at" => row.expires_at.or(Some(Timestamp::from_millis(i64::MAX))),
            "last_used_at" => row.last_used_at,
            _ => None,
        };
        (time.map(Timestamp::as_millis), row.name.clone())
    };
    list.part(sort, tokens.into_iter().map(row).collect(), key).map(Json)
}

/// Make a token. Its secret stands in this answer alone.
#[utoipa::path(post, path = "/tokens", tag = "access", request_body = NewToken,
    responses((status = 201, body = TokenMade)), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn create(
    State(services): State<Services>,
    Admin(caller): Admin,
    Body(wanted): Body<NewToken>,
) -> Result<(StatusCode, Json<TokenMade>), ApiError> {
    check_name(&wanted.name)?;
    check_scopes(&wanted.scopes)?;
    let expires_at = wanted.expires_in.map(expiry);
    let made = services.registry.create_token(&wanted.name, &wanted.scopes, expires_at).await?;
    let detail = json!({ "id": made.value.id, "scopes": made.value.scopes, "expires_at": expires_at });
    services.audit_with(&caller, "token.create", &made.value.name, detail).await;
    let token = made.secret.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(TokenMade { row: row(made.value), token })))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let refuse = |code: &str, why: &str| Err(ApiError::bad_request(code, why, "give 1 to 64 characters").field("name"));
    match name.chars().count() {
        0 => refuse("name_empty", "the token's name is empty"),
        _ if name.trim() != name => refuse("name_character", "the token's name has blanks around it"),
        65.. => refuse("name_too_long", "the token's name is too long"),
        _ if name.chars().any(char::is_control) => refuse("name_character", "the token's name has control characters"),
        _ => Ok(()),
    }
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
    responses((status = 200, body = TokenRevoked)), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn revoke(
    State(services): State<Services>,
    Admin(caller): Admin,
    Path(token): Path<String>,
) -> Result<Json<TokenRevoked>, ApiError> {
    let known = services.registry.tokens().await?;
    let id = known.into_iter().find(|t| t.id == token || t.name == token).map(|t| t.id);
    services.registry.revoke_token(&token).await?;
    if let Some(id) = id {
        services.broker.disconnect_owner(&Owner::App(id));
    }
    services.audit(&caller, "token.revoke", &token).await;
    Ok(Json(TokenRevoked { revoked: token }))
}

fn row(token: ApiToken) -> TokenRow {
    TokenRow {
        id: token.id,
        name: token.name,
        scopes: token.scopes,
        created_at: token.created_at,
        expires_at: token.expires_at,
        last_used_at: token.last_used_at,
    }
}
