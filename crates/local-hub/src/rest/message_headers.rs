//! Messages as HTTP carries them: properties as headers, or as members of a batch (reference, section 5).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hubward_amqp::message::{Body, Message};
use hubward_amqp::types::{Symbol, Value};
use serde::Deserialize;

use super::error::RestError;
use crate::devices::Received;

/// Before the name of an application property.
const APPLICATION: &str = "iothub-app-";

/// The message that a request's headers and body mean. `names` gives the spelling of a header's name as it came.
pub(super) fn from_headers(
    headers: &HeaderMap,
    spelling: impl Fn(&str) -> Option<String>,
    body: Bytes,
) -> Result<Message, RestError> {
    let mut message = Message { body: Body::Data(body), ..Message::default() };
    for (name, value) in headers {
        let name = name.as_str();
        if !(name.starts_with("iothub-") || name == "dt-subject") {
            continue;
        }
        let text = value.to_str().map_err(|_| RestError::argument(format!("the header {name} is not ASCII text")))?;
        match spelling(name) {
            Some(spelled) => put(&mut message, &spelled, text)?,
            None => put(&mut message, name, text)?,
        }
    }
    Ok(message)
}

/// The messages of a batch (`application/vnd.microsoft.iothub.json`).
pub(super) fn from_batch(body: &[u8]) -> Result<Vec<Message>, RestError> {
    let items: Vec<Item> = serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => RestError::argument(format!("the batch cannot be read: {error}")),
        _ => RestError::format(format!("the batch is not JSON: {error}")),
    })?;
    if items.is_empty() {
        return Err(RestError::argument("the batch is empty"));
    }
    items.into_iter().enumerate().map(|(place, item)| item.into_message(place)).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    body: String,
    #[serde(default = "yes")]
    base64_encoded: bool,
    #[serde(default)]
    properties: Option<serde_json::Map<String, serde_json::Value>>,
}

fn yes() -> bool {
    true
}

impl Item {
    fn into_message(self, place: usize) -> Result<Message, RestError> {
        let body = if self.base64_encoded {
            STANDARD
                .decode(&self.body)
                .map_err(|_| RestError::argument(format!("the body of message {place} is not base64")))?
        } else {
            self.body.into_bytes()
        };
        let mut message = Message { body: Body::Data(body.into()), ..Message::default() };
        for (name, value) in self.properties.unwrap_or_default() {
            let Some(text) = value.as_str() else {
                return Err(RestError::argument(format!("property {name:?} of message {place} is not a text")));
            };
            put(&mut message, &name, text)?;
        }
        Ok(message)
    }
}

/// Adds what a header, or a member of a batch's properties, says. Names of system properties have no case.
fn put(message: &mut Message, name: &str, text: &str) -> Result<(), RestError> {
    let lower = name.to_ascii_lowercase();
    let properties = &mut message.properties;
    let id = || Some(Value::String(text.into()));
    match lower.as_str() {
        "iothub-messageid" => properties.message_id = id(),
        "iothub-correlationid" => properties.correlation_id = id(),
        "iothub-userid" => properties.user_id = Some(Bytes::copy_from_slice(text.as_bytes())),
        "iothub-to" => properties.to = Some(text.into()),
        "iothub-contenttype" => properties.content_type = Some(text.into()),
        "iothub-contentencoding" => properties.content_encoding = Some(text.into()),
        "iothub-expiry" => properties.absolute_expiry_time = Some(time(name, text)?),
        "iothub-creationtimeutc" => add(message, "iothub-creation-time-utc", text),
        "iothub-messageschema" => add(message, "iothub-message-schema", text),
        "iothub-ack" => add(message, "iothub-ack", text),
        "iothub-interface-id" | "dt-subject" => annotate(message, &lower, text),
        // What the request is, not what the message carries.
        "iothub-operation" => {}
        _ => match name.get(APPLICATION.len()..).filter(|_| lower.starts_with(APPLICATION)) {
            Some("") => return Err(RestError::argument("an application property has no name")),
            Some(own) => add(message, own, text),
            // UNCONFIRMED (reference, 5): what the service makes of names it does not know.
            None => tracing::info!(name, "a property of a message over HTTPS that this hub does not know, passed over"),
        },
    }
    Ok(())
}

fn add(message: &mut Message, name: &str, text: &str) {
    message.application_properties.push((name.into(), Value::String(text.into())));
}

fn annotate(message: &mut Message, name: &str, text: &str) {
    message.message_annotations.push((Symbol::from(name), Value::String(text.into())));
}

/// Milliseconds since 1970 of an ISO time; one without an offset is UTC.
fn time(name: &str, text: &str) -> Result<i64, RestError> {
    let stamp = text.parse::<jiff::Timestamp>().or_else(|_| format!("{text}Z").parse::<jiff::Timestamp>());
    let stamp = stamp.map_err(|_| RestError::argument(format!("{name} is not an ISO 8601 time")))?;
    Ok(stamp.as_millisecond())
}

/// The headers of a message to a device, and its body.
pub(super) fn to_headers(received: &Received) -> (HeaderMap, Bytes) {
    let message = &*received.message;
    let mut headers = HeaderMap::new();
    let mut set = |name: &str, text: &str| {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(text)) {
            (Ok(name), Ok(value)) => {
                headers.insert(name, value);
            }
            // UNCONFIRMED (reference, 5): how the service writes what no header can hold.
            _ => tracing::warn!(name, "a property of a message to a device cannot be a header: left out"),
        }
    };
    set("etag", &format!("\"{}\"", received.lock_token));
    set("content-type", "application/octet-stream");
    set("iothub-sequencenumber", &received.sequence_number.to_string());
    set("iothub-enqueuedtime", &received.enqueued_at.to_string());
    set("iothub-deliverycount", &received.delivery_count.to_string());
    let properties = &message.properties;
    let ids = [("iothub-messageid", &properties.message_id), ("iothub-correlationid", &properties.correlation_id)];
    for (name, id) in ids {
        if let Some(id) = id {
            set(name, &id_text(id));
        }
    }
    if let Some(user) = &properties.user_id {
        set("iothub-userid", &String::from_utf8_lossy(user));
    }
    if let Some(to) = &properties.to {
        set("iothub-to", to);
    }
    if let Some(expiry) = properties.absolute_expiry_time {
        set("iothub-expiry", &hubward_model::Timestamp::from_millis(expiry).to_string());
    }
    if let Some(kind) = &properties.content_type {
        set("iothub-contenttype", kind.as_str());
    }
    if let Some(encoding) = &properties.content_encoding {
        set("iothub-contentencoding", encoding.as_str());
    }
    for (name, value) in &message.application_properties {
        let Some(text) = value.as_str() else { continue };
        if &**name == "iothub-ack" {
            set("iothub-ack", text);
        } else {
            set(&format!("{APPLICATION}{}", &**name), text);
        }
    }
    let body = match &message.body {
        Body::Data(data) => data.clone(),
        Body::DataSections(sections) => sections.concat().into(),
        Body::Empty | Body::Value(_) | Body::Sequence(_) => Bytes::new(),
    };
    (headers, body)
}

fn id_text(id: &Value) -> String {
    match id {
        Value::Uuid(bytes) => uuid::Uuid::from_bytes(*bytes).to_string(),
        Value::Ulong(number) => number.to_string(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}
