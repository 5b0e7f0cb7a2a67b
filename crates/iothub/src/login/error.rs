//! Why a login failed.

use crate::connection_string::{ConnectionStringError, ServiceString};
use crate::fault::Cause;
use crate::registry::RegistryError;

/// Why a login failed: a code that scripts may compare, the field to blame, what and why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LoginError {
    code: &'static str,
    field: String,
    message: String,
    remedy: String,
}

const STRING: &str = "connection_string";

impl LoginError {
    /// Stable word that scripts may compare.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What is to blame: a field of the connection string, or `connection_string`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What and why: the text of the error.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    fn new(code: &'static str, field: &str, message: String, remedy: impl Into<String>) -> Self {
        Self { code, field: field.to_owned(), message, remedy: remedy.into() }
    }

    pub(super) fn clock_skew(ahead: i64, service: &ServiceString) -> Self {
        let minutes = ahead.unsigned_abs() / 60;
        let way = if ahead > 0 { "behind" } else { "ahead of" };
        Self::new(
            "clock_skew",
            STRING,
            format!("this machine's clock is {minutes} minutes {way} that of {}", service.host_name),
            "set the clock (for example: timedatectl set-ntp true); tokens of a clock more than 5 minutes off are refused",
        )
    }

    pub(super) fn no_read(service: &ServiceString) -> Self {
        Self::new(
            "no_read",
            "SharedAccessKeyName",
            format!("the policy {} may not read the identity registry of {}", service.policy, service.host_name),
            "use the string of a policy with registry read and write, such as registryReadWrite (portal: your hub, Shared \
             access policies)",
        )
    }

    pub(super) fn no_write(service: &ServiceString) -> Self {
        Self::new(
            "no_write",
            "SharedAccessKeyName",
            format!(
                "the policy {} may read the identity registry of {} but not write it",
                service.policy, service.host_name
            ),
            "use the string of a policy with registry read and write, such as registryReadWrite (portal: your hub, Shared \
             access policies)",
        )
    }

    /// What a failure of the identity registry means to the one who pasted the string.
    #[must_use]
    pub fn of(error: &RegistryError, service: &ServiceString) -> Self {
        let host = &service.host_name;
        match error {
            RegistryError::UnknownHost { host, reason } => Self::new(
                "unknown_host",
                "HostName",
                format!("no host is called {host}: {reason}"),
                "check the hub's name in the connection string, whether the hub still exists, and that this machine can \
                 look up names",
            ),
            RegistryError::Unreachable { host, reason } => Self::new(
                "no_answer",
                "HostName",
                format!("{host} cannot be reached: {reason}"),
                "check that this machine may open connections to that host and port (firewall, proxy, IP filter of the hub)",
            ),
            RegistryError::Silent { .. } => Self::new(
                "no_answer",
                "HostName",
                error.to_string(),
                "check that this machine may open connections to that host and port (firewall, proxy, IP filter of the hub)",
            ),
            RegistryError::NotTrusted { .. } => Self::new(
                "tls_not_trusted",
                "HostName",
                error.to_string(),
                "if this is a hub of your own, give its CA with --hub-ca; if it is Azure's, something between reads along",
            ),
            RegistryError::Nonsense { .. } => Self::new(
                "no_answer",
                "HostName",
                error.to_string(),
                "what answers there is no IoT Hub: check HostName, and for a proxy in between",
            ),
            RegistryError::Request { reason } => Self::new(
                "bad_connection_string",
                STRING,
                format!("no request can be made of this connection string: {reason}"),
                "check HostName",
            ),
            RegistryError::Refused(refused) => match refused.cause() {
                Cause::Unauthorized => Self::new(
                    "wrong_key",
                    "SharedAccessKey",
                    format!("{host} does not know the policy {}, or not with this key", service.policy),
                    "copy the connection string again (portal: your hub, Shared access policies); the key may have been \
                     regenerated",
                ),
                Cause::Quota => Self::new(
                    "quota",
                    STRING,
                    format!("{host} has used up its quota: {}", refused.message),
                    "wait until 00:00 UTC, add units to the hub, or choose a larger tier",
                ),
                Cause::Throttled => Self::new(
                    "throttled",
                    STRING,
                    format!("{host} is asked too often: {}", refused.message),
                    "wait a minute and try again",
                ),
                Cause::HubGone => Self::new(
                    "hub_disabled",
                    "HostName",
                    format!("{host} is disabled: {}", refused.message),
                    "check in the portal whether the hub and its subscription are active",
                ),
                _ => Self::new(
                    "no_answer",
                    "HostName",
                    format!("{host} did not do as asked: {refused}"),
                    "try again in a minute; if it stays so, look at the hub's health in the portal",
                ),
            },
        }
    }
}

impl From<ConnectionStringError> for LoginError {
    fn from(error: ConnectionStringError) -> Self {
        Self { code: error.code(), field: error.field().to_owned(), message: error.message(), remedy: error.remedy() }
    }
}
