//! The check of a connection string, before anything is stored: is the hub there, is it trusted, is the key right, and may
//! the policy read and write the identity registry. Nothing is left behind in the hub.

mod error;

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::connection_string::ServiceString;
use crate::endpoints::Endpoints;
use crate::fault::Cause;
use crate::registry::{IfMatch, RegistryClient, RegistryError, Settings};
pub use error::LoginError;

/// How far this machine's clock may differ from the hub's (docs: devices more than 5 minutes off are refused).
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(300);
/// How long the look for further rights may take; it is only for an advice.
const ADVICE_WITHIN: Duration = Duration::from_secs(5);

/// How far a login has come; the last stage, the rights, is its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The hub answers, its certificate is trusted, and the clocks agree.
    Hub,
    /// The hub accepts the key.
    Key,
}

impl Stage {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Key => "key",
        }
    }
}

/// What a connection string leads to and allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoginReport {
    /// The hub's name.
    pub hub: String,
    /// Its host name, with the port if the connection string has one.
    pub host_name: String,
    /// The shared access policy.
    pub policy: String,
    /// Whether it may read the identity registry.
    pub can_read: bool,
    /// Whether it may write it.
    pub can_write: bool,
    /// How many devices the hub has.
    pub identities: u64,
    /// What the user had better do, though it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Checks `service`: reads the hub's statistics, and deletes an id that surely does not exist to see whether writing is
/// allowed.
///
/// # Errors
/// The first thing that is wrong, with one of the codes `unknown_host`, `no_answer`, `tls_not_trusted`, `clock_skew`,
/// `wrong_key`, `no_read`, `no_write`, `quota`, `hub_disabled`, `throttled`.
pub async fn login(
    service: &ServiceString,
    endpoints: &Endpoints,
    tls: &rustls::ClientConfig,
    settings: &Settings,
) -> Result<LoginReport, LoginError> {
    let client =
        RegistryClient::new(service, endpoints, tls, settings).map_err(|error| LoginError::of(&error, service))?;
    login_with(&client, service).await
}

/// The same with a client that the caller goes on using.
///
/// # Errors
/// See [`login`].
pub async fn login_with(client: &RegistryClient, service: &ServiceString) -> Result<LoginReport, LoginError> {
    check_key_and_rights(client, service, |_| {}).await
}

/// The same, for somebody who watches: `told` hears of each stage when it is good. It takes one request more, for what
/// answers before the key is shown.
///
/// # Errors
/// See [`login`].
pub async fn login_in_stages(
    client: &RegistryClient,
    service: &ServiceString,
    told: impl Fn(Stage) + Send + Sync,
) -> Result<LoginReport, LoginError> {
    client.reach().await.map_err(|error| LoginError::of(&error, service))?;
    check_clock(client, service)?;
    told(Stage::Hub);
    check_key_and_rights(client, service, told).await
}

fn check_clock(client: &RegistryClient, service: &ServiceString) -> Result<(), LoginError> {
    match client.clock_offset_seconds() {
        Some(ahead) if ahead.unsigned_abs() > MAX_CLOCK_SKEW.as_secs() => Err(LoginError::clock_skew(ahead, service)),
        _ => Ok(()),
    }
}

async fn check_key_and_rights(
    client: &RegistryClient,
    service: &ServiceString,
    told: impl Fn(Stage) + Send + Sync,
) -> Result<LoginReport, LoginError> {
    let read = client.statistics().await;
    // The clock comes first: a wrong one makes good keys look bad.
    check_clock(client, service)?;
    let statistics = match read {
        Ok(statistics) => {
            told(Stage::Key);
            statistics
        }
        Err(RegistryError::Refused(refused)) if refused.is_missing_right() => {
            told(Stage::Key);
            return Err(LoginError::no_read(service));
        }
        Err(error) => return Err(LoginError::of(&error, service)),
    };
    let absent = format!("hubward-login-check-{}", Uuid::new_v4());
    match client.delete(&absent, IfMatch::Any).await {
        // Not found: the right was there. A failed precondition says the same.
        Ok(_) => {}
        Err(error) if error.cause() == Some(Cause::Precondition) => {}
        // The key has just been good for reading.
        Err(RegistryError::Refused(refused)) if matches!(refused.status, 401 | 403) && !is_of_hub(refused.cause()) => {
            return Err(LoginError::no_write(service));
        }
        Err(RegistryError::Refused(refused)) if refused.status == 404 => {}
        Err(error) => return Err(LoginError::of(&error, service)),
    }
    Ok(LoginReport {
        hub: service.host_name.hub_name().to_owned(),
        host_name: service.host_name.to_string(),
        policy: service.policy.clone(),
        can_read: true,
        can_write: true,
        identities: statistics.total,
        advice: advice(client, service).await,
    })
}

fn is_of_hub(cause: Cause) -> bool {
    matches!(cause, Cause::Quota | Cause::Throttled | Cause::HubGone)
}

/// A policy that may also query twins has the right ServiceConnect, which is not needed.
async fn advice(client: &RegistryClient, service: &ServiceString) -> Option<String> {
    let owner = service.policy.eq_ignore_ascii_case("iothubowner");
    let more = owner || {
        let query = client.query("SELECT deviceId FROM devices WHERE deviceId = 'hubward-login-check'", None);
        matches!(tokio::time::timeout(ADVICE_WITHIN, query).await, Ok(Ok(_)))
    };
    more.then(|| {
        format!(
            "the policy {} may do more than is needed; one with registry read and write alone, such as registryReadWrite, \
             does less harm if it leaks",
            service.policy
        )
    })
}

#[cfg(test)]
mod tests;
