//! The identity registry's JSON (docs: IoT Hub REST, api-version 2021-04-12).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Device, DeviceAuthentication, NewDevice};
use crate::connection_string::SharedAccessKey;

/// A device identity, as PUT and as answered. Fields we do not know stay away: an update sends what IoT Hub lets clients set.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireDevice {
    pub(super) device_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection_state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_activity_time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authentication: Option<WireAuthentication>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireAuthentication {
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    symmetric_key: Option<WireKeys>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireKeys {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

impl WireAuthentication {
    pub(super) fn keys(primary: &SharedAccessKey, secondary: &SharedAccessKey) -> Self {
        let keys = WireKeys {
            primary_key: Some(primary.expose_base64().to_owned()),
            secondary_key: Some(secondary.expose_base64().to_owned()),
        };
        Self { kind: Some("sas".to_owned()), symmetric_key: Some(keys) }
    }
}

impl WireDevice {
    pub(super) fn new(device: &NewDevice) -> Self {
        Self {
            device_id: device.id.clone(),
            generation_id: None,
            etag: None,
            connection_state: None,
            status: Some(status(device.enabled)),
            status_reason: None,
            last_activity_time: None,
            authentication: Some(WireAuthentication::keys(&device.primary, &device.secondary)),
        }
    }

    pub(super) fn updated(device: &Device) -> Self {
        let authentication = match &device.authentication {
            DeviceAuthentication::Keys { primary, secondary } => Some(WireAuthentication::keys(primary, secondary)),
            DeviceAuthentication::Other(_) => None,
        };
        Self {
            device_id: device.id.clone(),
            generation_id: None,
            etag: device.etag.clone(),
            connection_state: None,
            status: Some(status(device.enabled)),
            status_reason: device.status_reason.clone(),
            last_activity_time: None,
            authentication,
        }
    }

    pub(super) fn into_device(self) -> Device {
        let authentication = self.authentication.map_or_else(
            || DeviceAuthentication::Other("none".to_owned()),
            |wire| {
                let kind = wire.kind.unwrap_or_else(|| "sas".to_owned());
                let key = |text: Option<String>| text.and_then(|text| SharedAccessKey::from_base64(&text).ok());
                let keys = wire.symmetric_key.and_then(|keys| Some((key(keys.primary_key)?, key(keys.secondary_key)?)));
                match keys {
                    Some((primary, secondary)) if kind.eq_ignore_ascii_case("sas") => {
                        DeviceAuthentication::Keys { primary, secondary }
                    }
                    _ => DeviceAuthentication::Other(kind),
                }
            },
        );
        Device {
            id: self.device_id,
            generation_id: self.generation_id.unwrap_or_default(),
            etag: self.etag,
            enabled: !self.status.is_some_and(|status| status.eq_ignore_ascii_case("disabled")),
            status_reason: self.status_reason,
            connected: self.connection_state.is_some_and(|state| state.eq_ignore_ascii_case("connected")),
            last_activity: self.last_activity_time,
            authentication,
        }
    }
}

fn status(enabled: bool) -> String {
    if enabled { "enabled" } else { "disabled" }.to_owned()
}

/// An item of a bulk call.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BulkItem<'a> {
    pub(super) id: &'a str,
    #[serde(rename = "eTag", skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<&'a str>,
    pub(super) import_mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) authentication: Option<WireAuthentication>,
}

impl<'a> BulkItem<'a> {
    pub(super) fn create(device: &'a NewDevice) -> Self {
        Self {
            id: &device.id,
            etag: None,
            import_mode: "create",
            status: Some(status(device.enabled)),
            authentication: Some(WireAuthentication::keys(&device.primary, &device.secondary)),
        }
    }

    pub(super) fn delete(id: &'a str, etag: Option<&'a str>) -> Self {
        let import_mode = if etag.is_some() { "deleteIfMatchETag" } else { "delete" };
        Self { id, etag, import_mode, status: None, authentication: None }
    }
}

/// The answer to a bulk call, with status 200 or 400.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BulkAnswer {
    pub(super) is_successful: bool,
    #[serde(default)]
    pub(super) errors: Option<Vec<BulkAnswerError>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BulkAnswerError {
    pub(super) device_id: String,
    /// A name, or in some answers a number.
    #[serde(default)]
    pub(super) error_code: serde_json::Value,
    #[serde(default)]
    pub(super) error_status: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Query<'a> {
    pub(super) query: &'a str,
}

/// How many devices the hub has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Statistics {
    /// All of them.
    #[serde(rename = "totalDeviceCount")]
    pub total: u64,
    /// Those that may connect.
    #[serde(rename = "enabledDeviceCount", default)]
    pub enabled: u64,
    /// Those that may not.
    #[serde(rename = "disabledDeviceCount", default)]
    pub disabled: u64,
}

impl fmt::Debug for WireDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys are in clear here: say nothing but the id.
        write!(f, "WireDevice({:?}, …)", self.device_id)
    }
}
