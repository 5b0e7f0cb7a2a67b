//! Refusals, in either of the two forms the service has (reference, 2.8), with the name again in the header
//! `iothub-errorcode`.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::access::Denied;
use crate::devices::{Failed, MethodFailed};
use crate::events::Unfit;
use crate::identity::{NotStored, Refused};
use crate::limits::Refusal;

/// How refusals are written over HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorForm {
    /// A `Message` that begins `ErrorCode:{name};`. All SDKs read it.
    #[default]
    Classic,
    /// A `Message` that is JSON again, with a number. Node's SDK knows the error only by its status then.
    Newer,
}

/// A refusal: HTTP status, the service's name for it, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RestError {
    pub(super) status: StatusCode,
    pub(super) name: &'static str,
    pub(super) message: String,
}

impl RestError {
    fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> Self {
        Self { status, name, message: message.into() }
    }

    /// A field or id that cannot be.
    pub(super) fn argument(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ArgumentInvalid", message)
    }

    /// A body that is not what it should be.
    pub(super) fn format(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "IotHubFormatError", message)
    }

    /// UNCONFIRMED (reference, 2.1): the answer to a missing or malformed api-version; this is the plausible code.
    pub(super) fn api_version(found: Option<&str>) -> Self {
        tracing::warn!(?found, "a request without a proper api-version: the real hub's answer is not known, refused");
        Self::new(StatusCode::BAD_REQUEST, "InvalidProtocolVersion", "api-version is missing or is no version")
    }

    /// No token at all.
    pub(super) fn no_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "IotHubUnauthorized", "Authorization header missing")
    }

    /// A good token of somebody who may not do this.
    pub(super) fn right_missing(who: &str) -> Self {
        let message = format!("Authorization rule '{who}' does not allow access for this operation");
        Self::new(StatusCode::UNAUTHORIZED, "IotHubUnauthorizedAccess", message)
    }

    /// UNCONFIRMED (reference, 2.5): the code for a bulk call with more than 100 items.
    pub(super) fn too_many_items(count: usize) -> Self {
        tracing::warn!(count, "a bulk call with over 100 items: the real hub's code is not known, refused with 413002");
        let message = format!("{count} devices in one call, 100 are allowed");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "TooManyDevices", message)
    }

    /// A request body beyond all that is sensible.
    pub(super) fn body_too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "MessageTooLarge", "the request body is too large")
    }

    /// A message or payload over the service's limit.
    pub(super) fn message_too_large(size: usize, limit: usize) -> Self {
        let message = format!("the message has {size} bytes, {limit} are allowed");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "MessageTooLarge", message)
    }

    /// A good token, of somebody who does not speak for this device.
    pub(super) fn other_device(id: &str) -> Self {
        let message = format!("Authentication failed for device '{id}', renew token or certificate and reconnect");
        Self::new(StatusCode::UNAUTHORIZED, "IotHubUnauthorized", message)
    }

    /// A device that may not connect.
    pub(super) fn disabled(id: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DeviceDisabled", format!("device '{id}' is disabled"))
    }

    /// Something the real hub has and this one has not.
    pub(super) fn absent(what: &str) -> Self {
        tracing::info!(what, "asked for something this local hub does not have");
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", format!("this local hub does not have {what}"))
    }

    /// The disk has failed.
    pub(super) fn not_stored() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ServerError", "what was sent could not be stored")
    }

    /// A path or verb this hub does not have.
    pub(super) fn unknown_path(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "InvalidOperation", format!("this local hub does not answer {what}"))
    }
}

impl From<Denied> for RestError {
    fn from(denied: Denied) -> Self {
        match &denied {
            // UNCONFIRMED (reference, 2.8 and 10): that a disabled device hears this rather than a plain 401.
            Denied::Disabled(id) => Self::disabled(id),
            _ => Self::new(StatusCode::UNAUTHORIZED, "IotHubUnauthorized", denied.to_string()),
        }
    }
}

impl From<Refused> for RestError {
    fn from(refused: Refused) -> Self {
        let (status, name) = match &refused {
            Refused::Exists(_) => (StatusCode::CONFLICT, "DeviceAlreadyExists"),
            Refused::NotFound(_) => (StatusCode::NOT_FOUND, "DeviceNotFound"),
            Refused::Precondition(_) => (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
            // UNCONFIRMED (reference, 2.4): the code for an id outside the rule.
            Refused::Invalid(_) => (StatusCode::BAD_REQUEST, "ArgumentInvalid"),
            Refused::Full(_) => (StatusCode::FORBIDDEN, "IotHubQuotaExceeded"),
        };
        Self::new(status, name, refused.to_string())
    }
}

impl From<Refusal> for RestError {
    fn from(refusal: Refusal) -> Self {
        let (status, name) = refusal.to_rest();
        Self::new(status, name, refusal.to_string())
    }
}

impl From<Unfit> for RestError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::TooLarge { size, limit } => Self::message_too_large(size, limit),
            Unfit::MessageId(_) => Self::argument(unfit.to_string()),
        }
    }
}

impl From<Failed> for RestError {
    fn from(failed: Failed) -> Self {
        let (status, name) = match &failed {
            Failed::MessageUnfit(unfit) => return unfit.clone().into(),
            Failed::TwinInvalid(_) | Failed::MessageInvalid(_) => (StatusCode::BAD_REQUEST, "ArgumentInvalid"),
            Failed::Precondition => (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
            Failed::QueueFull => (StatusCode::FORBIDDEN, "DeviceMaximumQueueDepthExceeded"),
            Failed::LockLost => (StatusCode::PRECONDITION_FAILED, "DeviceMessageLockLost"),
            Failed::NotStored => (StatusCode::INTERNAL_SERVER_ERROR, "ServerError"),
        };
        Self::new(status, name, failed.to_string())
    }
}

impl From<MethodFailed> for RestError {
    fn from(failed: MethodFailed) -> Self {
        let (status, name) = match failed {
            MethodFailed::NotOnline => (StatusCode::NOT_FOUND, "DeviceNotOnline"),
            MethodFailed::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "GatewayTimeout"),
        };
        Self::new(status, name, failed.to_string())
    }
}

impl From<NotStored> for RestError {
    fn from(error: NotStored) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ServerError", error.to_string())
    }
}

/// Numbers of the names this hub uses, where they are not the status with 001 behind it (reference, 2.8).
const NUMBERS: [(&str, u32); 14] = [
    ("ArgumentInvalid", 400_004),
    ("IotHubFormatError", 400_006),
    ("InvalidProtocolVersion", 400_002),
    ("IotHubUnauthorizedAccess", 401_002),
    ("IotHubUnauthorized", 401_003),
    ("IotHubQuotaExceeded", 403_002),
    ("DeviceMaximumQueueDepthExceeded", 403_004),
    ("DeviceDisabled", 403_012),
    ("DeviceNotOnline", 404_103),
    ("DeviceMessageLockLost", 412_002),
    ("TooManyDevices", 413_002),
    ("GatewayTimeout", 504_101),
    ("InvalidOperation", 404_000),
    ("NotImplemented", 501_000),
];

impl RestError {
    fn number(&self) -> u32 {
        let known = NUMBERS.iter().find(|(name, _)| *name == self.name);
        known.map_or(u32::from(self.status.as_u16()) * 1000 + 1, |(_, number)| *number)
    }

    /// The refusal in the newer form.
    ///
    /// UNCONFIRMED (reference, 2.8): the members beside `errorCode`.
    pub(super) fn newer(&self) -> Response {
        let tracking_id = uuid::Uuid::new_v4().simple().to_string();
        let message = json!({
            "errorCode": self.number(),
            "trackingId": tracking_id,
            "message": self.message,
            "timestampUtc": jiff::Timestamp::now().to_string(),
        });
        let body = json!({ "Message": message.to_string(), "ExceptionMessage": format!("Tracking ID:{tracking_id}") });
        let header = (HeaderName::from_static("iothub-errorcode"), HeaderValue::from_static(self.name));
        (self.status, [header], axum::Json(body)).into_response()
    }
}

impl IntoResponse for RestError {
    fn into_response(self) -> Response {
        let tracking_id = uuid::Uuid::new_v4().simple();
        let at = jiff::Timestamp::now().strftime("%m/%d/%Y %H:%M:%S");
        tracing::debug!(status = self.status.as_u16(), code = self.name, why = %self.message, %tracking_id, "refused");
        let body = json!({
            "Message": format!("ErrorCode:{};{}", self.name, self.message.replace(';', ",")),
            "ExceptionMessage": format!("Tracking ID:{tracking_id}-G:0-TimeStamp:{at}"),
        });
        let header = (HeaderName::from_static("iothub-errorcode"), HeaderValue::from_static(self.name));
        let mut response = (self.status, [header], axum::Json(body)).into_response();
        // Whoever wants the other form finds what it is made of.
        response.extensions_mut().insert(self);
        response
    }
}
