//! What a handler wants of who asks.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use hubward_registry::Session;

use super::caller::{Caller, Scope, Via, remote};
use super::{Peer, cookie};
use crate::{ApiError, Services};

macro_rules! guard {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name(pub Caller);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
                let caller = known(parts)?;
                caller.allow(Scope::$name).map(|()| Self(caller.clone()))
            }
        }
    };
}

guard! {
    /// The caller may see everything but secrets.
    Read
}
guard! {
    /// The caller may change devices, integrations and dead letters.
    Operate
}
guard! {
    /// The caller may do everything.
    Admin
}

fn known(parts: &Parts) -> Result<&Caller, ApiError> {
    let caller = parts.extensions.get::<Caller>();
    caller.ok_or_else(|| ApiError::internal("checking who asks", &"the route is not behind authentication"))
}

/// The caller is a user with a session.
#[derive(Debug, Clone)]
pub(crate) struct LoggedIn {
    pub(crate) caller: Caller,
    pub(crate) session: Session,
}

impl<S: Send + Sync> FromRequestParts<S> for LoggedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let caller = known(parts)?.clone();
        match &caller.via {
            Via::Session(session) => Ok(Self { session: session.as_ref().clone(), caller }),
            Via::Token(_) => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "no_session",
                "a token has no session",
                "log in with name and password for this; to end a token use: hubward token revoke",
            )),
        }
    }
}

/// Where a request comes from, whoever sends it.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) peer: Option<Peer>,
    pub(crate) remote: Option<IpAddr>,
    pub(crate) user_agent: Option<String>,
    /// The session's CSRF token, if there is a session.
    pub(crate) csrf: Option<String>,
}

/// Longest part of a browser's name of itself that is kept.
const USER_AGENT_CHARS: usize = 200;

impl FromRequestParts<Services> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, services: &Services) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<Peer>().copied();
        let user_agent = parts.headers.get(axum::http::header::USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self {
            peer,
            remote: remote(&services.access, peer, &parts.headers),
            user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_CHARS).collect()),
            csrf: cookie::secret(&services.access, peer, &parts.headers).map(|secret| cookie::csrf(&secret)),
        })
    }
}
