//! Wizards that were begun: kept on the server, with the connection string only from a login that succeeded on, sealed.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hubward_registry::{Draft, DraftLogin, ExposeSecret};
use hubward_relay::provision::LoginStage;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Caller, Operate};
use crate::etag::{ETag, IfMatch, Tagged};
use crate::extract::{Body, Path};
use crate::shapes::Page;
use crate::shapes::drafts::{DraftData, DraftRemoved, DraftShow};
use crate::shapes::integration_requests::{DraftCreate, Login};
use crate::shapes::integrations::{IntegrationShow, LoginFound};
use crate::{ApiError, Services, changes, integrations};

/// Most bytes of what was typed.
const MAX_DATA: usize = 64 * 1024;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(list, begin))
        .routes(routes!(show, edit, remove))
        .routes(routes!(login))
        .routes(routes!(login_at_own_hub))
        .routes(routes!(create))
}

/// List the wizards that were begun, the last touched first.
#[utoipa::path(get, path = "/drafts", tag = "integrations", responses((status = 200, body = Page<DraftShow>)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn list(State(services): State<Services>, _: Operate) -> Result<Json<Page<DraftShow>>, ApiError> {
    let drafts = services.registry.drafts().await?;
    Ok(Json(Page::all(drafts.into_iter().map(shown).collect())))
}

/// Begin a wizard.
#[utoipa::path(post, path = "/drafts", tag = "integrations", request_body = DraftData,
    responses((status = 201, body = DraftShow)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn begin(
    State(services): State<Services>,
    _: Operate,
    Body(wanted): Body<DraftData>,
) -> Result<(StatusCode, Tagged<DraftShow>), ApiError> {
    check(&wanted.data)?;
    Ok((StatusCode::CREATED, tagged(services.registry.add_draft(&wanted.data).await?)))
}

/// Show a wizard that was begun.
#[utoipa::path(get, path = "/drafts/{draft}", tag = "integrations", params(("draft" = String, Path, description = "Its id")),
    responses((status = 200, body = DraftShow)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn show(
    State(services): State<Services>,
    _: Operate,
    Path(draft): Path<String>,
) -> Result<Tagged<DraftShow>, ApiError> {
    Ok(tagged(services.registry.draft(&draft).await?))
}

/// Keep what was typed.
#[utoipa::path(patch, path = "/drafts/{draft}", tag = "integrations", params(("draft" = String, Path, description = "Its id")),
    request_body = DraftData, responses((status = 200, body = DraftShow)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn edit(
    State(services): State<Services>,
    _: Operate,
    if_match: IfMatch,
    Path(draft): Path<String>,
    Body(wanted): Body<DraftData>,
) -> Result<Tagged<DraftShow>, ApiError> {
    check(&wanted.data)?;
    let version = if_match.version("draft")?;
    Ok(tagged(services.registry.edit_draft(&draft, version, &wanted.data).await?))
}

/// Give a wizard up.
#[utoipa::path(delete, path = "/drafts/{draft}", tag = "integrations", params(("draft" = String, Path, description = "Its id")),
    responses((status = 200, body = DraftRemoved)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn remove(
    State(services): State<Services>,
    _: Operate,
    Path(draft): Path<String>,
) -> Result<Json<DraftRemoved>, ApiError> {
    services.registry.remove_draft(&draft).await?;
    Ok(Json(DraftRemoved { removed: draft }))
}

/// Check a connection string against its hub, and keep it, sealed, with the wizard.
#[utoipa::path(post, path = "/drafts/{draft}/login", tag = "integrations",
    params(("draft" = String, Path, description = "Its id")), request_body = Login,
    responses((status = 200, body = LoginFound)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn login(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(draft): Path<String>,
    Body(wanted): Body<Login>,
) -> Result<Json<LoginFound>, ApiError> {
    log_draft_in(&services, &caller, &draft, wanted).await
}

/// Log in at the local hub inside this server, with its own connection string, and keep that, sealed, with the wizard.
#[utoipa::path(post, path = "/drafts/{draft}/login/own-hub", tag = "integrations",
    params(("draft" = String, Path, description = "Its id")), responses((status = 200, body = LoginFound)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn login_at_own_hub(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(draft): Path<String>,
) -> Result<Json<LoginFound>, ApiError> {
    let own = services.own_hub.as_ref().ok_or_else(|| {
        ApiError::new(
            StatusCode::CONFLICT,
            "no_local_hub",
            "this server runs no local hub",
            "start it with hubward up --local-hub",
        )
    })?;
    let connection_string = own.connection_string.expose_secret().to_owned();
    let wanted = Login { connection_string, hub_ca: None, hub_endpoint: None };
    log_draft_in(&services, &caller, &draft, wanted).await
}

async fn log_draft_in(
    services: &Services,
    caller: &Caller,
    draft: &str,
    wanted: Login,
) -> Result<Json<LoginFound>, ApiError> {
    services.registry.draft(draft).await?;
    let told = |stage: LoginStage| {
        // Nobody may be watching.
        let _ = services.changes.send(changes::login(draft, stage.as_str()));
    };
    let (access, found) = integrations::log_in_in_stages(services, wanted, told).await?;
    let login = DraftLogin {
        connection_string: access.connection_string,
        hub_ca: access.hub_ca,
        hub_endpoint: access.hub_endpoint,
        found: serde_json::to_value(&found).unwrap_or(Value::Null),
    };
    services.registry.log_draft_in(draft, &login).await?;
    services.audit(caller, "draft.login", &found.hub).await;
    Ok(Json(found))
}

/// Make the integration of a wizard, with the connection string of its login. The answer comes at once; the work goes
/// on in the server. The wizard is gone then.
#[utoipa::path(post, path = "/drafts/{draft}/create", tag = "integrations",
    params(("draft" = String, Path, description = "Its id")), request_body = DraftCreate,
    responses((status = 201, body = IntegrationShow)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn create(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path(draft): Path<String>,
    Body(wanted): Body<DraftCreate>,
) -> Result<(StatusCode, Json<IntegrationShow>), ApiError> {
    let known = services.registry.draft(&draft).await?;
    let string = services.registry.draft_connection_string(&draft).await?.ok_or_else(|| {
        ApiError::new(
            StatusCode::CONFLICT,
            "not_logged_in",
            "this wizard has no connection string yet",
            "log in first, with the connection string of the hub",
        )
    })?;
    let mut new = wanted.with(string.expose_secret().to_owned());
    (new.hub_ca, new.hub_endpoint) = (known.hub_ca, known.hub_endpoint);
    let made = integrations::make(&services, &caller, new, false).await?;
    // What is made is made; a draft that stays is only in the way.
    if let Err(error) = services.registry.remove_draft(&draft).await {
        tracing::warn!(%error, "a draft whose integration was made could not be removed");
    }
    Ok((StatusCode::CREATED, Json(made)))
}

fn check(data: &Value) -> Result<(), ApiError> {
    let bytes = data.to_string().len();
    if bytes > MAX_DATA {
        let message = format!("the draft has {bytes} bytes of JSON, at most {MAX_DATA} are kept");
        return Err(ApiError::bad_request("draft_too_large", message, "keep less in it").field("data"));
    }
    // A connection string that was typed into another field must not be kept in clear.
    if data.to_string().to_ascii_lowercase().contains("sharedaccesskey=") {
        return Err(ApiError::bad_request(
            "secret_in_draft",
            "the draft holds a connection string",
            "send it to the draft's login, which seals it",
        )
        .field("data"));
    }
    Ok(())
}

fn tagged(draft: Draft) -> Tagged<DraftShow> {
    Tagged(ETag::new(draft.version), shown(draft))
}

fn shown(draft: Draft) -> DraftShow {
    DraftShow {
        id: draft.id,
        data: draft.data,
        login: draft.login.and_then(|login| serde_json::from_value(login).ok()),
        version: draft.version,
        created_at: draft.created_at,
        updated_at: draft.updated_at,
    }
}
