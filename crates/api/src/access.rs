//! Who asks, and what they may.
//!
//! Every request under `/api/v1` passes `authenticate`; every handler there takes one of [`Read`], [`Operate`] and
//! [`Admin`], which refuse a caller whose scopes are too small. So a handler that forgot to ask is not open to strangers.

use std::net::SocketAddr;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use secrecy::SecretString;

use crate::{ApiError, Services};

/// The two ends of a connection, added to every request by the one who accepted it.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Who asks.
    pub remote: SocketAddr,
    /// The address they reached.
    pub local: SocketAddr,
    /// Whether it came over TLS.
    pub tls: bool,
}

/// How the interface is reached.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    /// A proxy in front speaks for the real callers: then nobody is taken for this machine.
    pub trust_proxy: bool,
}

/// What a token may do; the larger includes the smaller.
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
}

/// Who asks: a token with scopes.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's name, for the audit log.
    pub name: String,
    /// The largest of its scopes.
    pub scope: Option<Scope>,
}

impl Caller {
    fn allow(&self, wanted: Scope) -> Result<(), ApiError> {
        if self.scope.is_some_and(|scope| scope >= wanted) {
            return Ok(());
        }
        let wanted = match wanted {
            Scope::Metrics => "metrics",
            Scope::Read => "read",
            Scope::Operate => "operate",
            Scope::Admin => "admin",
        };
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("the token {:?} lacks the scope {wanted}", self.name),
            format!("use a token made with: hubward token create NAME --scope {wanted}"),
        ))
    }
}

/// Lets in whoever brings a valid token.
pub(crate) async fn authenticate(
    State(services): State<Services>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = caller(&services, request.headers())?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// The caller that the headers name.
fn caller(services: &Services, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let refused = |message: &str| {
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            message,
            "send 'Authorization: Bearer TOKEN' with a token of this server (hubward token create)",
        )
    };
    let value = headers.get(header::AUTHORIZATION).ok_or_else(|| refused("the request carries no token"))?;
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| SecretString::from(token.trim().to_owned()))
        .ok_or_else(|| refused("the authorization is no bearer token"))?;
    let token = services
        .registry
        .verify_api_token(&token)
        .ok_or_else(|| refused("the token is unknown, revoked or expired"))?;
    Ok(Caller { name: token.name, scope: token.scopes.iter().filter_map(|word| Scope::parse(word)).max() })
}

/// Lets the metrics page be read from this machine without a token, from elsewhere with one.
pub(crate) fn check_metrics(services: &Services, peer: Option<Peer>, headers: &HeaderMap) -> Result<(), ApiError> {
    let local = peer.is_some_and(|peer| peer.remote.ip().to_canonical().is_loopback());
    if local && !services.access.trust_proxy {
        return Ok(());
    }
    caller(services, headers)?.allow(Scope::Metrics)
}

macro_rules! guard {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name(pub Caller);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
                match parts.extensions.get::<Caller>() {
                    Some(caller) => caller.allow(Scope::$name).map(|()| Self(caller.clone())),
                    None => Err(ApiError::internal("checking who asks", &"the route is not behind authentication")),
                }
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

/// Refuses requests that a foreign web page makes a browser send: on loopback the `Host` must be this machine's own
/// (a name of the page's that resolves to 127.0.0.1 is not), and an `Origin` must be the one that is asked.
/// Behind a proxy the host is the proxy's affair.
pub(crate) async fn check_host(
    State(services): State<Services>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    if let Some(peer) = request.extensions().get::<Peer>()
        && !services.access.trust_proxy
        && peer.local.ip().to_canonical().is_loopback()
        && !host.is_some_and(is_own_name)
    {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "bad_host",
            format!("the host {:?} is not this machine's own", host.unwrap_or("")),
            "use http://127.0.0.1 or http://localhost; to serve other names listen on another address with TLS",
        ));
    }
    if let Some(origin) = request.headers().get(header::ORIGIN) {
        let same = origin.to_str().ok().and_then(|o| o.split_once("://")).is_some_and(|(_, o)| Some(o) == host);
        if !same {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "bad_origin",
                "the request comes from a page of another origin",
                "call the interface from its own pages or from a program",
            ));
        }
    }
    Ok(next.run(request).await)
}

fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_own_names_pass_on_loopback() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:1"] {
            assert!(is_own_name(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8080", "localhost.evil.example", "192.168.1.2:8080", "", "[fe80::1]:1"]
        {
            assert!(!is_own_name(host), "{host}");
        }
    }

    #[test]
    fn a_larger_scope_includes_the_smaller_and_mqtt_scopes_open_nothing_here() {
        let caller = |scopes: &[&str]| Caller {
            name: "t".into(),
            scope: scopes.iter().filter_map(|word| Scope::parse(word)).max(),
        };
        assert!(caller(&["admin"]).allow(Scope::Read).is_ok());
        assert!(caller(&["read", "operate"]).allow(Scope::Operate).is_ok());
        assert!(caller(&["read"]).allow(Scope::Operate).is_err());
        assert!(caller(&["metrics"]).allow(Scope::Read).is_err());
        assert!(caller(&["publish:#", "subscribe:#"]).allow(Scope::Metrics).is_err());
    }
}
