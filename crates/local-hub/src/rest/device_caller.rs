//! A device that asks, and whether it is who it says.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::caller::{check_version, token};
use super::error::RestError;
use crate::access::{Grant, Principal, Thumbprints};
use crate::events::AuthMethod;
use crate::identity::{Identity, Refused};
use crate::policies::Right;
use crate::state::State;
use crate::ws::PeerCertificate;

/// A caller that speaks for a device: by its own key, by a policy's with DeviceConnect, or by a certificate.
pub(super) enum DeviceCaller {
    /// With a token, verified.
    Token(Grant),
    /// With a certificate, of which only the device can say what it is worth.
    Certificate(Thumbprints),
}

impl DeviceCaller {
    /// The identity of the device called `id`, if the caller may do for it what is at `below` it.
    pub(super) fn device(
        &self,
        state: &State,
        id: &str,
        below: &[&str],
    ) -> Result<(Arc<Identity>, AuthMethod), RestError> {
        let path: Vec<_> = ["devices", id].into_iter().chain(below.iter().copied()).collect();
        let grant = match self {
            Self::Token(grant) => grant.clone(),
            Self::Certificate(shown) => {
                let grant = state.access.check_certificate(id, shown)?;
                state.faults.on_token(id)?;
                grant
            }
        };
        let Some(identity) = state.identities.get(id) else {
            // Whether an id exists is told only to those who could know.
            let may_know = grant.has(Right::DeviceConnect) && grant.scope.covers(&path);
            return Err(if may_know { Refused::NotFound(id.to_owned()).into() } else { RestError::other_device(id) });
        };
        if !grant.speaks_for(&identity, &path) {
            return Err(match &grant.who {
                Principal::Policy { name, .. } => RestError::right_missing(name),
                _ => RestError::other_device(id),
            });
        }
        if !identity.is_enabled() {
            return Err(RestError::disabled(id));
        }
        Ok((identity, grant.auth_method()))
    }
}

impl FromRequestParts<Arc<State>> for DeviceCaller {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, RestError> {
        let shown = parts.extensions.get::<PeerCertificate>().and_then(|peer| peer.0.clone());
        let caller = match shown.filter(|_| !parts.headers.contains_key(AUTHORIZATION)) {
            Some(shown) => Self::Certificate(shown),
            None => Self::Token(token(parts, state)?),
        };
        check_version(parts)?;
        Ok(caller)
    }
}
