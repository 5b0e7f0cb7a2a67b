//! A refusal by a limit or a fault, and how each transport tells it.

use axum::http::StatusCode;
use hubward_amqp::performative::{Error, condition};
use hubward_amqp::types::Symbol;

/// Why something may not happen (now). Its text goes to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Faster than the throttle, and the queue of what waits is full.
    #[error("the hub's limit of {what} is exceeded, try again later")]
    Throttled {
        /// What is limited.
        what: &'static str,
    },
    /// The day's messages are gone.
    #[error("Total number of messages on IotHub exceeded the allocated quota. Max allowed message count: {quota}")]
    Quota {
        /// Messages a day.
        quota: u64,
    },
    /// A message that can never be taken.
    #[error("the message is refused: {why}")]
    Poison {
        /// What is wrong with it.
        why: String,
    },
    /// The token or certificate is not taken.
    #[error("{why}")]
    Unauthorized {
        /// What is said of it.
        why: String,
    },
    /// The hub is too busy.
    #[error("Server Busy. Please retry operation")]
    Busy,
}

impl Refusal {
    /// As AMQP tells it, in a disposition or a detach.
    ///
    /// UNCONFIRMED (reference, 3.7): whether the service throttles by a disposition or by a detach; the conditions are
    /// those its SDKs know.
    pub(crate) fn to_amqp(&self) -> Error {
        let condition = match self {
            Self::Throttled { .. } => Symbol::from_static("com.microsoft:device-container-throttled"),
            Self::Quota { .. } => condition::RESOURCE_LIMIT_EXCEEDED,
            Self::Poison { .. } => Symbol::from_static("com.microsoft:argument-error"),
            Self::Unauthorized { .. } => condition::UNAUTHORIZED_ACCESS,
            Self::Busy => Symbol::from_static("amqp:link:detach-forced"),
        };
        Error::new(condition, self.to_string())
    }

    /// The HTTP status, and the service's name for it.
    pub(crate) fn to_rest(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Throttled { .. } => (StatusCode::TOO_MANY_REQUESTS, "ThrottlingException"),
            Self::Quota { .. } => (StatusCode::FORBIDDEN, "IotHubQuotaExceeded"),
            Self::Poison { .. } => (StatusCode::BAD_REQUEST, "ArgumentInvalid"),
            Self::Unauthorized { .. } => (StatusCode::UNAUTHORIZED, "IotHubUnauthorized"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        }
    }

    /// The service's number for it (reference, 2.8), as the status of a twin's answer over MQTT begins with it.
    pub(crate) fn number(&self) -> u32 {
        match self {
            Self::Throttled { .. } => 429_001,
            Self::Quota { .. } => 403_002,
            Self::Poison { .. } => 400_004,
            Self::Unauthorized { .. } => 401_003,
            Self::Busy => 503_001,
        }
    }

    /// The CONNACK return code (MQTT 3.1.1, 3.2.2.3); after CONNECT the connection is closed instead.
    pub(crate) fn to_connack(&self) -> u8 {
        match self {
            Self::Unauthorized { .. } => 5,
            _ => 3,
        }
    }
}
