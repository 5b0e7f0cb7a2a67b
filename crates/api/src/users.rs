//! Users of the console.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hubward_registry::{SecretString, User};
use serde_json::{Value, json};

use crate::access::Admin;
use crate::extract::Body;
use crate::shapes::Page;
use crate::shapes::misc::{NewPassword, NewUser, UserRow};
use crate::{ApiError, Services};

/// Shortest password that is taken.
const MIN_PASSWORD_CHARS: usize = 10;

pub(crate) async fn list(State(services): State<Services>, _: Admin) -> Result<Json<Page<UserRow>>, ApiError> {
    let users = services.registry.users().await?;
    Ok(Json(Page::all(users.into_iter().map(row).collect())))
}

pub(crate) async fn add(
    State(services): State<Services>,
    Admin(caller): Admin,
    Body(wanted): Body<NewUser>,
) -> Result<(StatusCode, Json<UserRow>), ApiError> {
    if wanted.name.trim().is_empty() || wanted.name.chars().any(char::is_control) {
        return Err(ApiError::bad_request("name_empty", "the user's name is empty", "give a name").field("name"));
    }
    let password = checked(wanted.password)?;
    let user = services.registry.add_user(&wanted.name, &password).await?;
    services.audit(&caller, "user.add", &user.name).await;
    Ok((StatusCode::CREATED, Json(row(user))))
}

pub(crate) async fn remove(
    State(services): State<Services>,
    Admin(caller): Admin,
    Path(user): Path<String>,
) -> Result<Json<Value>, ApiError> {
    services.registry.remove_user(&user).await?;
    services.audit(&caller, "user.remove", &user).await;
    Ok(Json(json!({ "removed": user })))
}

pub(crate) async fn password(
    State(services): State<Services>,
    Admin(caller): Admin,
    Path(user): Path<String>,
    Body(wanted): Body<NewPassword>,
) -> Result<Json<Value>, ApiError> {
    let password = checked(wanted.password)?;
    services.registry.set_password(&user, &password).await?;
    services.audit(&caller, "user.password", &user).await;
    Ok(Json(json!({ "changed": user })))
}

fn checked(password: String) -> Result<SecretString, ApiError> {
    let length = password.chars().count();
    if length < MIN_PASSWORD_CHARS {
        return Err(ApiError::bad_request(
            "password_too_short",
            format!("the password has {length} characters"),
            format!("use at least {MIN_PASSWORD_CHARS}"),
        )
        .field("password"));
    }
    Ok(SecretString::from(password))
}

fn row(user: User) -> UserRow {
    UserRow { name: user.name, created_at: user.created_at }
}
