//! Who asks, and what they may.
//!
//! Every request under `/api/v1` that is not open to strangers passes `authenticate`: an API token, or the console's
//! session with its CSRF token. Every handler behind it takes one of [`Read`], [`Operate`] and [`Admin`], which refuse
//! a caller whose scope or role is too small. So a handler that forgot to ask is not open to strangers.
//!
//! - `caller`: who asks; `guards`: what a handler wants of them;
//! - `cookie`: the session's cookie and its CSRF token;
//! - `hosts`: which hosts and origins may be named; `limit`: how often passwords may be tried.

mod caller;
pub(crate) mod cookie;
mod guards;
mod hosts;
pub(crate) mod limit;

use std::net::SocketAddr;
use std::sync::Arc;

use hubward_registry::SessionLimits;

pub use caller::{Caller, Scope, Via};
pub(crate) use caller::{authenticate, check_metrics};
pub use guards::{Admin, Operate, Read};
pub(crate) use guards::{LoggedIn, Visitor};
pub(crate) use hosts::check_host;

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
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// A proxy in front speaks for the real callers: then nobody is taken for this machine.
    pub trust_proxy: bool,
    /// HTTP goes to other machines without TLS, because the operator said so.
    pub insecure_http: bool,
    /// How long sessions last.
    pub sessions: SessionLimits,
    /// How often passwords were tried.
    pub(crate) tries: Arc<limit::Tries>,
}

impl Access {
    /// Reached directly, or through a proxy that speaks TLS.
    #[must_use]
    pub fn new(trust_proxy: bool, insecure_http: bool, sessions: SessionLimits) -> Self {
        Self { trust_proxy, insecure_http, sessions, tries: Arc::default() }
    }
}
