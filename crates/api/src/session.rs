//! Logging in and out, the first user, and the sessions there are.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hubward_model::Timestamp;
use hubward_registry::{Actor, Error as RegistryError, SecretString, Session, User, WithSecret};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Caller, LoggedIn, Read, Scope, Via, Visitor, cookie};
use crate::extract::{Body, Path};
use crate::paging::{Direction, List, Paging};
use crate::shapes::Page;
use crate::shapes::access::{LogIn, OwnPassword, SessionRow, SessionShow, SessionUser, Setup, SetupState};
use crate::users::checked_password;
use crate::{ApiError, Services};

/// Routes that strangers may ask.
pub(crate) fn open_routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(setup_state, set_up)).routes(routes!(log_in))
}

/// Routes of those who are known.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(show, log_out))
        .routes(routes!(own_password))
        .routes(routes!(list))
        .routes(routes!(end))
}

/// Whether the first user is still to be made.
#[utoipa::path(get, path = "/setup", tag = "session", security(()), responses((status = 200, body = SetupState)))]
pub(crate) async fn setup_state(State(services): State<Services>) -> Result<Json<SetupState>, ApiError> {
    Ok(Json(SetupState { needed: services.registry.setup_needed().await? }))
}

/// Make the first user, an administrator, with the token of the link that the server printed. Logs in at once.
#[utoipa::path(post, path = "/setup", tag = "session", security(()), request_body = Setup,
    responses((status = 201, body = SessionShow, headers(("set-cookie" = String, description = "The session")))))]
pub(crate) async fn set_up(
    State(services): State<Services>,
    visitor: Visitor,
    Body(wanted): Body<Setup>,
) -> Result<Response, ApiError> {
    let password = checked_password(wanted.password, "password")?;
    let token = SecretString::from(wanted.token);
    // All who try are one: there is one token.
    let attempt = services.access.tries.take(visitor.remote, "", Instant::now())?;
    let made = services.registry.set_up(&token, &wanted.name, &password).await;
    if !matches!(made, Err(RegistryError::SetupTokenWrong)) {
        attempt.give_back();
    }
    let user = made?;
    let remote = visitor.remote.map(|ip| ip.to_string());
    let actor = Actor { who: &user.name, via: None, remote: remote.as_deref() };
    services.note(actor, "user.add", &user.name, json!({ "role": user.role.as_str(), "by": "setup" })).await;
    start(&services, &visitor, &user, StatusCode::CREATED).await
}

/// Log in with name and password. The cookie is the session; the answer holds the CSRF token that goes with it.
#[utoipa::path(post, path = "/session", tag = "session", security(()), request_body = LogIn,
    responses((status = 200, body = SessionShow, headers(("set-cookie" = String, description = "The session")))))]
pub(crate) async fn log_in(
    State(services): State<Services>,
    visitor: Visitor,
    Body(wanted): Body<LogIn>,
) -> Result<Response, ApiError> {
    let attempt = services.access.tries.take(visitor.remote, &wanted.name, Instant::now())?;
    let remote = visitor.remote.map(|ip| ip.to_string());
    let password = SecretString::from(wanted.password);
    let Some(user) = services.registry.verify_user(&wanted.name, &password).await? else {
        let actor = Actor { who: "", via: None, remote: remote.as_deref() };
        // Some type their password in the place of the name: only names that are known are written down.
        let known = services.registry.user(&wanted.name).await.map(|user| user.name).unwrap_or_default();
        services.note(actor, "session.refused", &known, Value::Null).await;
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "wrong_login",
            "name or password is wrong",
            "try again; an administrator can set another password: hubward user password NAME",
        ));
    };
    attempt.give_back();
    let actor = Actor { who: &user.name, via: None, remote: remote.as_deref() };
    services.note(actor, "session.start", &user.name, Value::Null).await;
    start(&services, &visitor, &user, StatusCode::OK).await
}

/// Starts a session and answers with it.
async fn start(services: &Services, visitor: &Visitor, user: &User, status: StatusCode) -> Result<Response, ApiError> {
    let remote = visitor.remote.map(|ip| ip.to_string());
    let limits = services.access.sessions;
    let started = services.registry.start_session(&user.name, limits, remote.as_deref(), visitor.user_agent.as_deref());
    let WithSecret { value: session, secret } = started.await?;
    let shown = of_session(services, &session, Some(cookie::csrf(&secret)));
    let mut response = (status, Json(shown)).into_response();
    cookie::set(&services.access, visitor.peer, &secret, response.headers_mut());
    Ok(response)
}

/// Who asks, and what they may.
#[utoipa::path(get, path = "/session", tag = "session", responses((status = 200, body = SessionShow)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn show(State(services): State<Services>, Read(caller): Read, visitor: Visitor) -> Json<SessionShow> {
    Json(match &caller.via {
        Via::Session(session) => of_session(&services, session, visitor.csrf),
        Via::Token(_) => SessionShow {
            user: None,
            token: Some(caller.name),
            scope: caller.scope.map(|scope| scope.as_str().to_owned()),
            csrf: None,
            created_at: None,
            expires_at: None,
            idle_seconds: None,
            insecure: services.access.insecure_http,
        },
    })
}

fn of_session(services: &Services, session: &Session, csrf: Option<String>) -> SessionShow {
    SessionShow {
        user: Some(SessionUser { name: session.user.clone(), role: session.role.as_str().to_owned() }),
        token: None,
        scope: Some(Scope::from(session.role).as_str().to_owned()),
        csrf,
        created_at: Some(session.created_at),
        expires_at: Some(session.expires_at),
        idle_seconds: Some(services.access.sessions.idle.as_secs()),
        insecure: services.access.insecure_http,
    }
}

/// Log out.
#[utoipa::path(delete, path = "/session", tag = "session",
    responses((status = 204, description = "The session has ended", headers(("set-cookie" = String)))),
    security(("session" = ["viewer"])))]
pub(crate) async fn log_out(
    State(services): State<Services>,
    LoggedIn { caller, session }: LoggedIn,
    visitor: Visitor,
) -> Result<Response, ApiError> {
    services.registry.end_session(&session.id).await?;
    services.audit(&caller, "session.end", &session.user).await;
    let mut response = StatusCode::NO_CONTENT.into_response();
    cookie::clear(&services.access, visitor.peer, response.headers_mut());
    Ok(response)
}

/// Change one's own password. The user's other sessions end.
#[utoipa::path(put, path = "/session/password", tag = "session", request_body = OwnPassword,
    responses((status = 204, description = "The password is changed")),
    security(("session" = ["viewer"])))]
pub(crate) async fn own_password(
    State(services): State<Services>,
    LoggedIn { caller, session }: LoggedIn,
    visitor: Visitor,
    Body(wanted): Body<OwnPassword>,
) -> Result<StatusCode, ApiError> {
    let new = checked_password(wanted.new, "new")?;
    let attempt = services.access.tries.take(visitor.remote, &session.user, Instant::now())?;
    let old = SecretString::from(wanted.old);
    if services.registry.verify_user(&session.user, &old).await?.is_none() {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "wrong_password",
            "the present password is another one",
            "type the password you logged in with; an administrator can set another one",
        )
        .field("old"));
    }
    attempt.give_back();
    services.registry.set_password(&session.user, &new, Some(&session.id)).await?;
    services.audit(&caller, "user.password", &session.user).await;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionFilter {
    /// Only sessions of this user.
    user: Option<String>,
}

/// List sessions: one's own; an administrator sees all.
#[utoipa::path(get, path = "/sessions", tag = "session", params(Paging, SessionFilter),
    responses((status = 200, body = Page<SessionRow>)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn list(
    State(services): State<Services>,
    Read(caller): Read,
    list: List<SessionFilter>,
) -> Result<Json<Page<SessionRow>>, ApiError> {
    let sort = list.sort(&[("created_at", Direction::Desc), ("last_used_at", Direction::Desc)])?;
    let mut sessions = services.registry.sessions(services.access.sessions).await?;
    sessions.retain(|session| {
        may_see(&caller, session) && list.filter.user.as_ref().is_none_or(|user| *user == session.user)
    });
    let current = match &caller.via {
        Via::Session(session) => Some(session.id.clone()),
        Via::Token(_) => None,
    };
    let rows = sessions.into_iter().map(|session| SessionRow {
        current: current.as_ref() == Some(&session.id),
        id: session.id,
        user: session.user,
        created_at: session.created_at,
        last_used_at: session.last_used_at,
        expires_at: session.expires_at,
        remote: session.remote,
        user_agent: session.user_agent,
    });
    let time = |row: &SessionRow| if sort.by == "created_at" { row.created_at } else { row.last_used_at };
    list.part(sort, rows.collect(), |row: &SessionRow| (Timestamp::as_millis(time(row)), row.id.clone())).map(Json)
}

fn may_see(caller: &Caller, session: &Session) -> bool {
    let own = matches!(&caller.via, Via::Session(own) if own.user == session.user);
    own || caller.may(Scope::Admin)
}

/// End a session: one's own, or as an administrator anybody's.
#[utoipa::path(delete, path = "/sessions/{session}", tag = "session", params(("session" = String, Path, description = "Its id")),
    responses((status = 204, description = "The session has ended")),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn end(
    State(services): State<Services>,
    Read(caller): Read,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let sessions = services.registry.sessions(services.access.sessions).await?;
    let session = sessions.into_iter().find(|session| session.id == id && may_see(&caller, session));
    // Whose it is, nobody learns who may not end it.
    let session = session.ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no session {id:?}"),
            "list what there is; it may have ended meanwhile",
        )
    })?;
    services.registry.end_session(&session.id).await?;
    services.audit(&caller, "session.end", &session.user).await;
    Ok(StatusCode::NO_CONTENT)
}
