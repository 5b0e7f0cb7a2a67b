//! Refusals as problem details.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hubward_model::{NameError, Problem};
use hubward_registry::Error as RegistryError;
use serde_json::json;

/// A refusal: a status and a problem.
#[derive(Debug)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// What is told.
    pub problem: Problem,
    /// After how many seconds to try again.
    pub retry_after: Option<u64>,
}

impl ApiError {
    /// A refusal with the given status.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status, problem: Problem::new(code, message, remedy), retry_after: None }
    }

    /// What was asked for does not fit.
    pub fn bad_request(code: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message, remedy)
    }

    /// The same, blamed on a field.
    #[must_use]
    pub fn field(mut self, field: &str) -> Self {
        self.problem.field = Some(field.to_owned());
        self
    }

    /// Something failed that is nobody's fault who asks. The cause goes to the log, not to the answer.
    pub fn internal(doing: &str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(doing, %error, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            format!("{doing} failed"),
            "look at the server's log, and try again",
        )
    }

    /// A problem found by another crate, with the status that its code stands for.
    #[must_use]
    pub fn from_problem(problem: Problem) -> Self {
        Self { status: status_of(&problem.code), problem, retry_after: None }
    }
}

/// The status that a problem's code stands for. What a hub or a connection string did wrong is 422: the request was
/// understood, and what it names does not work.
fn status_of(code: &str) -> StatusCode {
    match code {
        "not_found" => StatusCode::NOT_FOUND,
        "name_empty" | "name_too_long" | "name_character" | "topic_character" => StatusCode::BAD_REQUEST,
        "stale" => StatusCode::PRECONDITION_FAILED,
        "internal" | "storage" | "sealed" | "key_missing" | "wrong_master_key" => StatusCode::INTERNAL_SERVER_ERROR,
        code if code.ends_with("_taken") => StatusCode::CONFLICT,
        "device_bound" | "already_bound" | "not_bound" | "conflict" | "backlog" | "being_removed" => {
            StatusCode::CONFLICT
        }
        "journal_unavailable" | "not_running" | "stopping" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Problem { code, message, remedy, field } = self.problem;
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": message,
            "code": code,
            "message": message,
            "remedy": remedy,
            "field": field,
        });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self::from_problem(problem)
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        let status = match &error {
            RegistryError::NotFound { .. } => StatusCode::NOT_FOUND,
            RegistryError::NameTaken { .. }
            | RegistryError::HubDeviceIdTaken { .. }
            | RegistryError::AlreadyBound { .. }
            | RegistryError::DeviceBound { .. }
            | RegistryError::LastAdmin { .. }
            | RegistryError::TooMany { .. }
            | RegistryError::SetupDone
            | RegistryError::CredentialTaken { .. } => StatusCode::CONFLICT,
            RegistryError::SetupTokenWrong => StatusCode::FORBIDDEN,
            RegistryError::Stale { .. } => StatusCode::PRECONDITION_FAILED,
            RegistryError::BadCredential { .. } => StatusCode::BAD_REQUEST,
            _ => {
                tracing::error!(%error, "the registry failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self { status, problem: error.problem(), retry_after: None }
    }
}

/// A name that was refused, blamed on the field it came in.
pub(crate) fn bad_name(field: &'static str) -> impl Fn(NameError) -> ApiError {
    move |error| ApiError { status: StatusCode::BAD_REQUEST, problem: error.problem(field), retry_after: None }
}
