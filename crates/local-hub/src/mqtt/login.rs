//! Who connects, and whether it may (IoT Hub wire reference, 4.1).

use std::sync::Arc;

use hubward_mqtt::protocol::{Connect, Reason, Version};

use super::topic::Published;
use super::username::UserName;
use crate::access::{Denied, Grant};
use crate::client_certificates::Thumbprints;
use crate::identity::Identity;
use crate::limits::{Kind, Refusal};
use crate::names::without_port;
use crate::state::State;

/// A device that may connect.
pub(super) struct LoggedIn {
    pub(super) identity: Arc<Identity>,
    pub(super) grant: Grant,
    pub(super) model_id: Option<String>,
}

/// A CONNECT that is refused: the reason for CONNACK, and what the log says.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) device: String,
    pub(super) why: String,
}

/// Checks a CONNECT. What costs nothing is asked first, limits and faults last.
pub(super) async fn check(
    connect: &Connect,
    certificate: Option<&Thumbprints>,
    state: &State,
) -> Result<LoggedIn, Refused> {
    let shown: String = connect.client_id.chars().take(128).collect();
    let refused = |reason: Reason, why: String| Refused { reason, device: shown.clone(), why };
    // UNCONFIRMED (reference, 4.1 and 10): the return code for each failure. 5 is what SDKs take for "not authorised".
    let unauthorized = |why: String| refused(Reason::NOT_AUTHORIZED, why);
    if connect.version != Version::V311 {
        let why = "the hub speaks MQTT 3.1.1 only".to_owned();
        return Err(refused(Reason::UNSUPPORTED_PROTOCOL_VERSION, why));
    }
    if connect.client_id.is_empty() {
        return Err(refused(Reason::CLIENT_ID_NOT_VALID, "the client id is empty".to_owned()));
    }
    let user = connect.username.as_deref().ok_or_else(|| unauthorized("there is no user name".to_owned()))?;
    let user = UserName::parse(user).map_err(|error| unauthorized(error.to_string()))?;
    if !state.names.answers_to(without_port(&user.host)) {
        return Err(unauthorized(format!("the user name is for host {:?}, which is not this hub", user.host)));
    }
    if user.client_id != connect.client_id {
        return Err(unauthorized("the user name names another device than the client id".to_owned()));
    }
    if connect.client_id.contains('/') {
        return Err(unauthorized("modules are not served here (501)".to_owned()));
    }
    if let Some(version) = &user.api_version
        && !version.starts_with(|first: char| first.is_ascii_digit())
    {
        // UNCONFIRMED (reference, 2.1): whether the service looks at it.
        tracing::warn!(device = shown, version, "an api-version that is no date: taken");
    }
    let device = connect.client_id.as_str();
    let grant = grant(connect, device, certificate, state).map_err(|denied| unauthorized(denied.to_string()))?;
    let identity = state.identities.get(device);
    let identity = identity.ok_or_else(|| unauthorized(Denied::UnknownDevice(device.to_owned()).to_string()))?;
    if !grant.speaks_for(&identity, &["devices", device]) {
        return Err(unauthorized(format!("the token does not allow to connect as {device:?}")));
    }
    if !identity.is_enabled() {
        return Err(unauthorized(Denied::Disabled(device.to_owned()).to_string()));
    }
    if let Some(will) = &connect.will {
        let event = matches!(Published::parse(&will.topic, device), Ok(Published::Event { .. }));
        if !event {
            return Err(unauthorized("the will's topic is not one of the device's events".to_owned()));
        }
    }
    let by_limit =
        |refusal: Refusal| refused(Reason::of_connect_return_code(refusal.to_connack()), refusal.to_string());
    state.limits.admit(Kind::Connect).await.map_err(by_limit)?;
    state.faults.on_connect(device).map_err(by_limit)?;
    Ok(LoggedIn { identity, grant, model_id: user.model_id })
}

/// What the client proves itself with: its token, or its certificate if it sends none.
fn grant(connect: &Connect, device: &str, certificate: Option<&Thumbprints>, state: &State) -> Result<Grant, Denied> {
    match (&connect.password, certificate) {
        (Some(password), _) if !password.expose().is_empty() => {
            state.access.check(&String::from_utf8_lossy(password.expose()))
        }
        (_, Some(certificate)) => {
            let grant = state.access.check_certificate(device, certificate)?;
            state.faults.on_token(device).map_err(|refusal| Denied::Fault(refusal.to_string()))?;
            Ok(grant)
        }
        (_, None) => Err(Denied::Nobody),
    }
}
