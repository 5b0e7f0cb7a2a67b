//! Edits that say which version they mean: `ETag` in answers, `If-Match` in requests (RFC 9110, 8.8.3 and 13.1.1).

use std::fmt::Display;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::ApiError;

/// The version of what an answer shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ETag(String);

impl ETag {
    /// The tag of a version: letters, digits and the like.
    pub(crate) fn new(version: impl Display) -> Self {
        Self(format!("\"{version}\""))
    }
}

/// A JSON answer with its ETag.
pub(crate) struct Tagged<T>(pub(crate) ETag, pub(crate) T);

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.1).into_response();
        if let Ok(value) = HeaderValue::from_str(&self.0.0) {
            response.headers_mut().insert(header::ETAG, value);
        }
        response
    }
}

/// Which version an edit means. A request without it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// Whatever it is now.
    Any,
    /// One of these tags.
    Tags(Vec<String>),
}

impl IfMatch {
    /// Refuses an edit of another version than the present one.
    pub(crate) fn check(&self, present: &ETag, what: &str) -> Result<(), ApiError> {
        match self {
            Self::Tags(tags) if !tags.contains(&present.0) => Err(stale(what)),
            _ => Ok(()),
        }
    }

    /// The version that the edit means, for those who compare it where nobody can come between; none: any.
    ///
    /// # Errors
    /// When no tag is a version of `what`.
    pub(crate) fn version(&self, what: &str) -> Result<Option<u64>, ApiError> {
        match self {
            Self::Any => Ok(None),
            Self::Tags(tags) => {
                let quoted = |tag: &String| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
                let version = tags.iter().find_map(quoted);
                version.map(Some).ok_or_else(|| stale(what))
            }
        }
    }
}

fn stale(what: &str) -> ApiError {
    ApiError::new(
        StatusCode::PRECONDITION_FAILED,
        "stale",
        format!("the {what} was changed since it was read"),
        "read it again, and repeat the change with its new ETag",
    )
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let values = parts.headers.get_all(header::IF_MATCH).into_iter().filter_map(|value| value.to_str().ok());
        let tags: Vec<String> = values.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect();
        if tags.iter().any(|tag| tag == "*") {
            return Ok(Self::Any);
        }
        if tags.iter().all(String::is_empty) {
            return Err(ApiError::new(
                StatusCode::PRECONDITION_REQUIRED,
                "if_match_missing",
                "the edit does not say which version it means",
                "send the header If-Match with the ETag of what was read, or * for whatever it is now",
            ));
        }
        Ok(Self::Tags(tags))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn read(value: Option<&str>) -> Result<IfMatch, String> {
        let mut request = Request::builder();
        if let Some(value) = value {
            request = request.header("if-match", value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        IfMatch::from_request_parts(&mut parts, &()).await.map_err(|error| error.problem.code)
    }

    #[tokio::test]
    async fn an_edit_says_which_version_it_means_and_another_one_is_refused() {
        assert_eq!(read(None).await, Err("if_match_missing".into()));
        assert_eq!(read(Some("")).await, Err("if_match_missing".into()));
        let present = ETag::new(7);
        for (value, fits, version) in [
            ("*", true, Ok(None)),
            ("\"7\"", true, Ok(Some(7))),
            ("\"6\", \"7\"", true, Ok(Some(6))),
            ("\"6\"", false, Ok(Some(6))),
            ("W/\"7\"", false, Err("stale".to_owned())),
            ("\"x\"", false, Err("stale".to_owned())),
            ("7", false, Err("stale".to_owned())),
        ] {
            let read = read(Some(value)).await.unwrap();
            assert_eq!(read.check(&present, "user").is_ok(), fits, "{value}");
            assert_eq!(read.version("user").map_err(|error| error.problem.code), version, "{value}");
        }
    }
}
