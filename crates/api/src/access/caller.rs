//! Who asks: the owner of a token, or a user with a session.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hubward_registry::{Actor, Role, SecretString, Session};

use super::{Access, Peer, cookie, hosts};
use crate::{ApiError, Services, long_answers};

/// What a caller may do; the larger includes the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The metrics page.
    Metrics,
    /// See everything but secrets.
    Read,
    /// Change devices, integrations and dead letters.
    Operate,
    /// Everything: tokens, users, keys.
    Admin,
}

impl Scope {
    /// The scope named `word`; scopes of MQTT apps (`publish:…`, `subscribe:…`) are none here.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "metrics" => Some(Self::Metrics),
            "read" => Some(Self::Read),
            "operate" => Some(Self::Operate),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// The role that has it.
    const fn role(self) -> Role {
        match self {
            Self::Metrics | Self::Read => Role::Viewer,
            Self::Operate => Role::Operator,
            Self::Admin => Role::Admin,
        }
    }
}

impl From<Role> for Scope {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Read,
            Role::Operator => Self::Operate,
            Role::Admin => Self::Admin,
        }
    }
}

/// How a caller proved who they are.
#[derive(Debug, Clone)]
pub enum Via {
    /// By an API token of this id.
    Token(String),
    /// By a session of the console.
    Session(Box<Session>),
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's or the user's name, for the audit log.
    pub name: String,
    /// The largest of its scopes.
    pub scope: Option<Scope>,
    /// How they proved who they are.
    pub via: Via,
    /// The address they ask from.
    pub remote: Option<IpAddr>,
}

impl Caller {
    pub(super) fn allow(&self, wanted: Scope) -> Result<(), ApiError> {
        if self.may(wanted) {
            return Ok(());
        }
        let (message, remedy) = match &self.via {
            Via::Token(_) => (
                format!("the token {:?} lacks the scope {}", self.name, wanted.as_str()),
                format!("use a token made with: hubward token create NAME --scope {}", wanted.as_str()),
            ),
            Via::Session(session) => (
                format!("{:?} has the role {}, and this needs the role {}", self.name, session.role, wanted.role()),
                format!("ask an administrator for the role {}", wanted.role()),
            ),
        };
        Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message, remedy))
    }

    /// Whether they have this scope.
    pub(crate) fn may(&self, wanted: Scope) -> bool {
        self.scope.is_some_and(|scope| scope >= wanted)
    }

    /// What tells this caller from every other, for as long as tokens and users live.
    pub(crate) fn key(&self) -> String {
        match &self.via {
            Via::Token(id) => format!("token {id}"),
            Via::Session(session) => format!("user {}", session.user),
        }
    }

    /// How the audit log names them. `remote` is the caller's address as text.
    pub(crate) fn actor<'a>(&'a self, remote: Option<&'a str>) -> Actor<'a> {
        let via = match &self.via {
            Via::Token(_) => "token",
            Via::Session(_) => "session",
        };
        Actor { who: &self.name, via: Some(via), remote }
    }

    /// Whether the token or session has not ended since.
    pub(crate) async fn lasts(&self, services: &Services) -> bool {
        match &self.via {
            Via::Token(id) => services.registry.token_lasts(id),
            // A registry that does not answer lets nobody stay.
            Via::Session(session) => {
                services.registry.session_lasts(&session.id, services.access.sessions).await.unwrap_or(false)
            }
        }
    }
}

/// Lets in whoever brings a valid token, or a session and, where something may change, its CSRF token.
pub(crate) async fn authenticate(State(services): State<Services>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let caller = match caller(&services, peer, request.method(), request.headers()).await {
        Ok(caller) => caller,
        Err(error) => {
            let ended = error.problem.code == "session_expired";
            let mut response = error.into_response();
            if ended {
                // So that the next request is one of a stranger, and is told so.
                cookie::clear(&services.access, peer, response.headers_mut());
            }
            return response;
        }
    };
    request.extensions_mut().insert(caller.clone());
    let response = next.run(request).await;
    long_answers::end_with_caller(services, caller, response)
}

async fn caller(
    services: &Services,
    peer: Option<Peer>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Caller, ApiError> {
    if headers.contains_key(header::AUTHORIZATION) {
        return by_token(services, peer, headers).await;
    }
    let Some(secret) = cookie::secret(&services.access, peer, headers) else {
        return Err(unauthorized("the request carries no token and no session"));
    };
    let session = services.registry.use_session(&secret, services.access.sessions).await?;
    let session = session.ok_or_else(|| {
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            "session_expired",
            "the session has ended: it was not used for long, its time was over, or somebody ended it",
            "log in again",
        )
    })?;
    if *method != Method::GET && *method != Method::HEAD {
        check_csrf(&secret, headers)?;
    }
    let remote = remote(&services.access, peer, headers);
    Ok(Caller {
        name: session.user.clone(),
        scope: Some(session.role.into()),
        via: Via::Session(session.into()),
        remote,
    })
}

async fn by_token(services: &Services, peer: Option<Peer>, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| SecretString::from(token.trim().to_owned()))
        .ok_or_else(|| unauthorized("the authorization is no bearer token"))?;
    let token = services
        .registry
        .verify_api_token(&token)
        .ok_or_else(|| unauthorized("the token is unknown, revoked or expired"))?;
    if let Err(error) = services.registry.note_token_use(&token.id).await {
        tracing::warn!(%error, token = token.name, "the last use of a token was not noted");
    }
    let scope = token.scopes.iter().filter_map(|word| Scope::parse(word)).max();
    let remote = remote(&services.access, peer, headers);
    Ok(Caller { name: token.name, scope, via: Via::Token(token.id), remote })
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        message,
        "log in, or send 'Authorization: Bearer TOKEN' with a token of this server (hubward token create)",
    )
}

fn check_csrf(secret: &SecretString, headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.get(cookie::CSRF_HEADER).map(HeaderValue::as_bytes).is_some_and(|sent| cookie::is_csrf(secret, sent)) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "csrf",
        "the request may change something and does not carry the session's CSRF token",
        "send the header X-CSRF-Token with the csrf of GET /api/v1/session; programs use an API token instead",
    ))
}

/// The address a request comes from: the connection's other end, or what the trusted proxy says.
pub(crate) fn remote(access: &Access, peer: Option<Peer>, headers: &HeaderMap) -> Option<IpAddr> {
    let forwarded = if access.trust_proxy { hosts::forwarded_for(headers) } else { None };
    forwarded.or_else(|| peer.map(|peer| peer.remote.ip().to_canonical()))
}

/// Lets the metrics page be read from this machine without a token, from elsewhere with one.
pub(crate) async fn check_metrics(
    services: &Services,
    peer: Option<Peer>,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let local = peer.is_some_and(|peer| peer.remote.ip().to_canonical().is_loopback());
    if local && !services.access.trust_proxy {
        return Ok(());
    }
    caller(services, peer, &Method::GET, headers).await?.allow(Scope::Metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_scope_includes_the_smaller_and_mqtt_scopes_open_nothing_here() {
        let caller = |scopes: &[&str]| Caller {
            name: "t".into(),
            scope: scopes.iter().filter_map(|word| Scope::parse(word)).max(),
            via: Via::Token("id".into()),
            remote: None,
        };
        assert!(caller(&["admin"]).allow(Scope::Read).is_ok());
        assert!(caller(&["read", "operate"]).allow(Scope::Operate).is_ok());
        assert!(caller(&["read"]).allow(Scope::Operate).is_err());
        assert!(caller(&["metrics"]).allow(Scope::Read).is_err());
        assert!(caller(&["publish:#", "subscribe:#"]).allow(Scope::Metrics).is_err());
    }
}
