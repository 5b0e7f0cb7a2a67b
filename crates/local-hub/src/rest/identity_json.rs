//! An identity as JSON (reference, 2.4), out and in.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::error::RestError;
use crate::identity::{Authentication, AuthenticationKind, Draft, Identity, Status};
use crate::presence::Seen;
use crate::state::State;

/// How the service writes a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The identity as the registry shows it.
pub(super) fn shown(identity: &Identity, state: &State) -> Value {
    let authentication = &identity.authentication;
    let seen = state.presence.seen(&identity.device_id);
    json!({
        "deviceId": &*identity.device_id,
        "generationId": &*identity.generation_id,
        "etag": identity.etag,
        "connectionState": connection_state(&seen),
        "status": identity.status,
        "statusReason": identity.status_reason,
        "connectionStateUpdatedTime": time(seen.state_changed_at),
        "statusUpdatedTime": time(identity.status_updated_at),
        "lastActivityTime": time(seen.last_activity),
        "cloudToDeviceMessageCount": state.devices.message_count(identity),
        "authentication": {
            "symmetricKey": {
                "primaryKey": authentication.primary_key,
                "secondaryKey": authentication.secondary_key,
            },
            "x509Thumbprint": {
                "primaryThumbprint": authentication.primary_thumbprint,
                "secondaryThumbprint": authentication.secondary_thumbprint,
            },
            "type": authentication.kind,
        },
        "capabilities": { "iotEdge": identity.iot_edge },
    })
}

/// As the service writes it.
pub(super) fn connection_state(seen: &Seen) -> &'static str {
    if seen.connected { "Connected" } else { "Disconnected" }
}

/// A time as the service writes it.
pub(super) fn time(time: Option<hubward_model::Timestamp>) -> String {
    time.map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}

/// An identity as a caller sends it; what the service sets itself is not read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceJson {
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    status: Option<StatusJson>,
    #[serde(default)]
    status_reason: Option<String>,
    #[serde(default)]
    authentication: Option<AuthenticationJson>,
    #[serde(default)]
    capabilities: Option<CapabilitiesJson>,
}

impl DeviceJson {
    /// The draft of the identity called `id` in the path.
    pub(super) fn into_draft(self, id: &str) -> Result<Draft, RestError> {
        match &self.device_id {
            Some(in_body) if in_body == id => {}
            Some(_) => return Err(RestError::argument("deviceId in the body differs from the one in the path")),
            None => return Err(RestError::argument("deviceId is missing in the body")),
        }
        Ok(draft(id, self.status, self.status_reason, self.authentication, self.capabilities))
    }
}

/// Puts the parts of an identity together, as bulk items have the same parts beside others.
pub(super) fn draft(
    id: &str,
    status: Option<StatusJson>,
    status_reason: Option<String>,
    authentication: Option<AuthenticationJson>,
    capabilities: Option<CapabilitiesJson>,
) -> Draft {
    Draft {
        device_id: id.to_owned(),
        status: status.map(|status| status.0),
        status_reason,
        authentication: authentication.map(AuthenticationJson::into_authentication),
        iot_edge: capabilities.and_then(|capabilities| capabilities.iot_edge),
    }
}

/// `enabled` or `disabled`, in any case.
#[derive(Debug, Clone, Copy)]
pub(super) struct StatusJson(Status);

impl<'de> Deserialize<'de> for StatusJson {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match text.to_ascii_lowercase().as_str() {
            "enabled" => Ok(Self(Status::Enabled)),
            "disabled" => Ok(Self(Status::Disabled)),
            _ => Err(serde::de::Error::unknown_variant(&text, &["enabled", "disabled"])),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CapabilitiesJson {
    #[serde(default)]
    iot_edge: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthenticationJson {
    #[serde(default, rename = "type")]
    kind: Option<KindJson>,
    #[serde(default)]
    symmetric_key: Option<SymmetricKeyJson>,
    #[serde(default)]
    x509_thumbprint: Option<ThumbprintJson>,
}

impl std::fmt::Debug for AuthenticationJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthenticationJson")
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SymmetricKeyJson {
    #[serde(default)]
    primary_key: Option<String>,
    #[serde(default)]
    secondary_key: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ThumbprintJson {
    #[serde(default)]
    primary_thumbprint: Option<String>,
    #[serde(default)]
    secondary_thumbprint: Option<String>,
}

struct KindJson(AuthenticationKind);

impl<'de> Deserialize<'de> for KindJson {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Ok(Self(match text.to_ascii_lowercase().as_str() {
            "sas" => AuthenticationKind::Sas,
            "selfsigned" => AuthenticationKind::SelfSigned,
            "certificateauthority" => AuthenticationKind::CertificateAuthority,
            "none" => AuthenticationKind::None,
            _ => {
                let known = &["sas", "selfSigned", "certificateAuthority", "none"];
                return Err(serde::de::Error::unknown_variant(&text, known));
            }
        }))
    }
}

impl AuthenticationJson {
    /// Empty texts stand for nothing: Node sends empty keys to have them generated.
    fn into_authentication(self) -> Authentication {
        let keys = self.symmetric_key.unwrap_or_default();
        let thumbprints = self.x509_thumbprint.unwrap_or_default();
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let mut authentication = Authentication {
            kind: AuthenticationKind::Sas,
            primary_key: given(keys.primary_key),
            secondary_key: given(keys.secondary_key),
            primary_thumbprint: given(thumbprints.primary_thumbprint),
            secondary_thumbprint: given(thumbprints.secondary_thumbprint),
        };
        let has_thumbprint =
            authentication.primary_thumbprint.is_some() || authentication.secondary_thumbprint.is_some();
        authentication.kind = match self.kind {
            Some(KindJson(kind)) => kind,
            None if has_thumbprint && authentication.primary_key.is_none() => AuthenticationKind::SelfSigned,
            None => AuthenticationKind::Sas,
        };
        authentication
    }
}
