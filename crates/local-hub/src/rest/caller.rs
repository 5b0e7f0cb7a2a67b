//! Who asks, and whether they may. Checked before a request's body is read.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::error::RestError;
use crate::access::{Grant, Principal};
use crate::policies::Right;
use crate::state::State;

/// A caller with a verified token, and a proper api-version.
pub(super) struct Caller(Grant);

impl Caller {
    /// Goes on only if the caller's policy has `right`, for the whole of `path`.
    pub(super) fn may(&self, right: Right, path: &[&str]) -> Result<(), RestError> {
        match &self.0.who {
            _ if self.0.has(right) && self.0.scope.covers(path) => Ok(()),
            Principal::Policy { name, .. } => Err(RestError::right_missing(name)),
            Principal::Device { id, .. } => Err(RestError::right_missing(id)),
        }
    }
}

impl FromRequestParts<Arc<State>> for Caller {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, RestError> {
        let grant = token(parts, state)?;
        check_version(parts)?;
        Ok(Self(grant))
    }
}

/// The token of a request, verified.
pub(super) fn token(parts: &Parts, state: &State) -> Result<Grant, RestError> {
    let token = parts.headers.get(AUTHORIZATION).ok_or_else(RestError::no_token)?;
    let token = token.to_str().map_err(|_| RestError::no_token())?;
    let grant = state.access.check(token).inspect_err(|why| {
        tracing::info!(method = %parts.method, path = parts.uri.path(), %why, "token refused");
    })?;
    Ok(grant)
}

/// Refuses a request that names no version of the interface.
pub(super) fn check_version(parts: &Parts) -> Result<(), RestError> {
    let version = query_value(parts.uri.query().unwrap_or_default(), "api-version");
    if version.is_some_and(is_api_version) { Ok(()) } else { Err(RestError::api_version(version)) }
}

/// The value of `name` in a query string, as it stands there.
pub(super) fn query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Whether `name` stands in a query string, with or without a value.
pub(super) fn has_flag(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| pair.split('=').next().is_some_and(|key| key.eq_ignore_ascii_case(name)))
}

/// `YYYY-MM-DD`, perhaps `-preview`; which one does not matter.
fn is_api_version(text: &str) -> bool {
    let (date, rest) = text.split_at_checked(10).unwrap_or((text, ""));
    let digits = |range: std::ops::Range<usize>| date.get(range).is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit()));
    date.len() == 10
        && digits(0..4)
        && digits(5..7)
        && digits(8..10)
        && date.as_bytes()[4] == b'-'
        && date.as_bytes()[7] == b'-'
        && (rest.is_empty() || rest == "-preview")
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn an_api_version_is_a_date() {
        for version in ["2021-04-12", "2019-10-01", "2024-03-31", "2020-05-31-preview"] {
            assert!(is_api_version(version), "{version}");
        }
        for version in ["", "2021", "2021-04-1x", "2021-04-12-beta", "latest", "20210412xx"] {
            assert!(!is_api_version(version), "{version}");
        }
        assert_eq!(query_value("top=5&api-version=x", "api-version"), Some("x"));
        assert_eq!(query_value("", "top"), None);
        assert!(
            has_flag("reject&api-version=x", "reject") && has_flag("a=1&reject=", "reject") && !has_flag("", "reject")
        );
    }
}
