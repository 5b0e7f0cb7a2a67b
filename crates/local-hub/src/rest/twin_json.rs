//! A twin as services see it (reference, 2.6), and changes of one as they send them.

use serde_json::{Map, Value, json};

use super::error::RestError;
use super::identity_json::{connection_state, time};
use crate::devices::TwinChange;
use crate::identity::Identity;
use crate::state::State;

/// The twin of a device, with what the registry knows of it.
pub(super) fn shown_as_twin(identity: &Identity, state: &State) -> Value {
    let authentication = &identity.authentication;
    let twin = state.devices.twin(identity);
    let seen = state.presence.seen(&identity.device_id);
    json!({
        "deviceId": &*identity.device_id,
        "etag": twin.etag(),
        "deviceEtag": identity.etag,
        "status": identity.status,
        "statusReason": identity.status_reason,
        "statusUpdateTime": time(identity.status_updated_at),
        "connectionState": connection_state(&seen),
        "lastActivityTime": time(seen.last_activity),
        "cloudToDeviceMessageCount": state.devices.message_count(identity),
        "authenticationType": authentication.kind,
        "x509Thumbprint": {
            "primaryThumbprint": authentication.primary_thumbprint,
            "secondaryThumbprint": authentication.secondary_thumbprint,
        },
        "modelId": twin.model_id,
        "version": twin.version,
        "tags": twin.tags,
        "properties": { "desired": twin.desired.to_json(), "reported": twin.reported.to_json() },
        "capabilities": { "iotEdge": identity.iot_edge },
    })
}

/// What a service asks to be changed. Parts that only the hub or the device writes are passed over: tools send a twin
/// back as they read it.
pub(super) fn change(body: Value) -> Result<TwinChange, RestError> {
    let Value::Object(mut body) = body else { return Err(RestError::argument("a twin is an object")) };
    let properties = part(&mut body, "properties")?;
    let desired = match properties {
        None => None,
        Some(mut properties) => part(&mut properties, "desired")?,
    };
    Ok(TwinChange {
        tags: part(&mut body, "tags")?,
        desired: desired.map(|mut desired| {
            desired.remove("$metadata");
            desired.remove("$version");
            desired
        }),
    })
}

fn part(of: &mut Map<String, Value>, name: &str) -> Result<Option<Map<String, Value>>, RestError> {
    match of.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(part)) => Ok(Some(part)),
        Some(_) => Err(RestError::argument(format!("{name} of a twin is an object"))),
    }
}
