//! Users of the console.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hubward_registry::users::MIN_PASSWORD_CHARS;
use hubward_registry::{ExposeSecret, Role, SecretString, User};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Admin;
use crate::etag::{ETag, IfMatch, Tagged};
use crate::extract::{Body, Path};
use crate::openapi::words;
use crate::paging::{Direction, List, Paging};
use crate::shapes::Page;
use crate::shapes::access::{NewPassword, NewUser, PasswordChanged, UserEdit, UserRemoved, UserRow};
use crate::{ApiError, Services};

/// Longest password that is taken: hashing a longer one would keep a core busy.
const MAX_PASSWORD_CHARS: usize = 1024;

pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(show, edit, remove)).routes(routes!(password))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserFilter {
    /// Only users whose name holds this.
    q: Option<String>,
    /// Only users of this role.
    #[param(value_type = Option<words::Role>)]
    role: Option<String>,
}

/// List the users.
#[utoipa::path(get, path = "/users", tag = "access", params(Paging, UserFilter),
    responses((status = 200, body = Page<UserRow>)), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn list(
    State(services): State<Services>,
    _: Admin,
    list: List<UserFilter>,
) -> Result<Json<Page<UserRow>>, ApiError> {
    let sort = list.sort(&[("name", Direction::Asc), ("created_at", Direction::Desc)])?;
    let wanted = list.filter.q.as_deref().unwrap_or_default().to_lowercase();
    let role = list.filter.role.as_deref().map(parse_role).transpose()?;
    let mut users = services.registry.users().await?;
    users.retain(|user| user.name.to_lowercase().contains(&wanted) && role.is_none_or(|role| role == user.role));
    let rows: Vec<UserRow> = users.into_iter().map(row).collect();
    let key = |row: &UserRow| (if sort.by == "name" { 0 } else { row.created_at.as_millis() }, row.name.clone());
    list.part(sort, rows, key).map(Json)
}

/// Add a user.
#[utoipa::path(post, path = "/users", tag = "access", request_body = NewUser, responses((status = 201, body = UserRow)),
    security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn add(
    State(services): State<Services>,
    Admin(caller): Admin,
    Body(wanted): Body<NewUser>,
) -> Result<(StatusCode, Tagged<UserRow>), ApiError> {
    let role = wanted.role.as_deref().map_or(Ok(Role::Viewer), parse_role)?;
    let password = checked_password(wanted.password, "password")?;
    let user = services.registry.add_user(&wanted.name, &password, role).await?;
    services.audit_with(&caller, "user.add", &user.name, json!({ "role": role.as_str() })).await;
    Ok((StatusCode::CREATED, tagged(user)))
}

/// Show a user.
#[utoipa::path(get, path = "/users/{user}", tag = "access", params(("user" = String, Path, description = "Their name")),
    responses((status = 200, body = UserRow)), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn show(
    State(services): State<Services>,
    _: Admin,
    Path(user): Path<String>,
) -> Result<Tagged<UserRow>, ApiError> {
    Ok(tagged(services.registry.user(&user).await?))
}

/// Give a user another role. It holds from their next request on.
#[utoipa::path(patch, path = "/users/{user}", tag = "access", params(("user" = String, Path, description = "Their name")),
    request_body = UserEdit, responses((status = 200, body = UserRow)),
    security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn edit(
    State(services): State<Services>,
    Admin(caller): Admin,
    if_match: IfMatch,
    Path(user): Path<String>,
    Body(wanted): Body<UserEdit>,
) -> Result<Tagged<UserRow>, ApiError> {
    let role = parse_role(&wanted.role)?;
    let user = services.registry.set_role(&user, if_match.version("user")?, role).await?;
    services.audit_with(&caller, "user.edit", &user.name, json!({ "role": role.as_str() })).await;
    Ok(tagged(user))
}

/// Remove a user. Their sessions end.
#[utoipa::path(delete, path = "/users/{user}", tag = "access", params(("user" = String, Path, description = "Their name")),
    responses((status = 200, body = UserRemoved)), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn remove(
    State(services): State<Services>,
    Admin(caller): Admin,
    Path(user): Path<String>,
) -> Result<Json<UserRemoved>, ApiError> {
    services.registry.remove_user(&user).await?;
    services.audit(&caller, "user.remove", &user).await;
    Ok(Json(UserRemoved { removed: user }))
}

/// Give a user another password. Their sessions end.
#[utoipa::path(put, path = "/users/{user}/password", tag = "access",
    params(("user" = String, Path, description = "Their name")), request_body = NewPassword,
    responses((status = 200, body = PasswordChanged)), security(("token" = ["admin"]), ("session" = ["admin"])))]
pub(crate) async fn password(
    State(services): State<Services>,
    Admin(caller): Admin,
    Path(user): Path<String>,
    Body(wanted): Body<NewPassword>,
) -> Result<Json<PasswordChanged>, ApiError> {
    let password = checked_password(wanted.password, "password")?;
    services.registry.set_password(&user, &password, None).await?;
    services.audit(&caller, "user.password", &user).await;
    Ok(Json(PasswordChanged { changed: user }))
}

/// A password that may be one; `field` is to blame otherwise.
pub(crate) fn checked_password(password: String, field: &str) -> Result<SecretString, ApiError> {
    let password = SecretString::from(password);
    let length = password.expose_secret().chars().count();
    if (MIN_PASSWORD_CHARS..=MAX_PASSWORD_CHARS).contains(&length) {
        return Ok(password);
    }
    let code = if length < MIN_PASSWORD_CHARS { "password_too_short" } else { "password_too_long" };
    let remedy = format!("use {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS}");
    Err(ApiError::bad_request(code, format!("the password has {length} characters"), remedy).field(field))
}

fn parse_role(word: &str) -> Result<Role, ApiError> {
    word.parse().map_err(|_| {
        ApiError::bad_request("bad_role", format!("{word:?} is no role"), "use viewer, operator or admin").field("role")
    })
}

fn tagged(user: User) -> Tagged<UserRow> {
    Tagged(ETag::new(user.version), row(user))
}

fn row(user: User) -> UserRow {
    UserRow {
        name: user.name,
        role: user.role.as_str().to_owned(),
        created_at: user.created_at,
        last_login_at: user.last_login_at,
    }
}
