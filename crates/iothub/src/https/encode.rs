//! Messages as requests (docs: IoT Hub wire reference, section 5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::link::SendError;
use crate::message::{CREATION_TIME_PROPERTY, D2cMessage, MAX_BATCH_MESSAGES, MAX_MESSAGE_BYTES, encoded_size};

/// Before the name of an application property, in headers and in a batch.
const APPLICATION: &str = "iothub-app-";
/// What a batch is called.
const BATCH: &str = "application/vnd.microsoft.iothub.json";
/// What a message of a batch costs beside its body and its properties: braces, quotes and the names of members.
const ITEM: usize = 40;

/// What one request carries.
#[derive(Debug)]
pub(super) struct Payload {
    /// How many messages.
    pub(super) count: usize,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
}

/// Nothing that the hub would refuse for its size is encoded.
pub(super) fn check(messages: &[D2cMessage]) -> Result<(), SendError> {
    if messages.is_empty() || messages.len() > MAX_BATCH_MESSAGES {
        let (size, limit) = (messages.len() as u64, MAX_BATCH_MESSAGES as u64);
        return Err(SendError::TooLarge { size, limit, unit: "messages" });
    }
    let size: usize = messages.iter().map(encoded_size).sum();
    if size > MAX_MESSAGE_BYTES {
        return Err(SendError::TooLarge { size: size as u64, limit: MAX_MESSAGE_BYTES as u64, unit: "bytes" });
    }
    Ok(())
}

/// The next request: as many of `messages`, from the first on, as go into one.
///
/// The hub takes 256 KB in a request, and whether it counts bodies before or after Base64 nobody says: so a request is
/// kept below that as it stands on the wire, unless a single message is larger.
pub(super) fn next(messages: &[D2cMessage], device_path: &str) -> Payload {
    let mut count = 0;
    let mut size = 2;
    for message in messages {
        size += batched_size(message);
        if count > 0 && size > MAX_MESSAGE_BYTES {
            break;
        }
        count += 1;
    }
    let one = if count == 1 { messages.first() } else { None };
    if let Some(payload) = one.and_then(|message| single(message, device_path)) {
        return payload;
    }
    let items: Vec<Value> = messages.iter().take(count).map(item).collect();
    let headers = vec![(HeaderName::from_static("content-type"), HeaderValue::from_static(BATCH))];
    Payload { count, headers, body: Value::Array(items).to_string().into() }
}

/// One message as its body and headers; none if headers would change it.
fn single(message: &D2cMessage, device_path: &str) -> Option<Payload> {
    let mut headers = vec![(HeaderName::from_static("iothub-to"), HeaderValue::from_str(device_path).ok()?)];
    for (name, value) in properties(message) {
        headers.push((HeaderName::from_bytes(name.as_bytes()).ok()?, value_unchanged(value)?));
        // A header's name has no case on the wire.
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
    }
    Some(Payload { count: 1, headers, body: message.body.clone() })
}

/// A value that arrives as it was sent: visible ASCII without blanks at its ends.
fn value_unchanged(value: &str) -> Option<HeaderValue> {
    let plain = value.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) && value.trim_matches(' ') == value;
    if plain { HeaderValue::from_str(value).ok() } else { None }
}

fn item(message: &D2cMessage) -> Value {
    let properties: Map<String, Value> = properties(message).map(|(name, value)| (name, Value::from(value))).collect();
    let mut item = Map::new();
    item.insert("body".to_owned(), STANDARD.encode(&message.body).into());
    item.insert("properties".to_owned(), properties.into());
    item.into()
}

/// The properties of a message by their names over HTTPS. The creation time is an application property, as over AMQP and
/// MQTT, so that it arrives alike.
fn properties(message: &D2cMessage) -> impl Iterator<Item = (String, &str)> {
    let system = [
        ("iothub-messageid", Some(message.message_id.as_str()).filter(|id| !id.is_empty())),
        ("iothub-contenttype", message.content_type.as_deref()),
        ("iothub-contentencoding", message.content_encoding.as_deref()),
    ];
    let system = system.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let created = message.creation_time_utc.as_deref().map(|time| (CREATION_TIME_PROPERTY, time));
    let given = message.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    system.chain(created.into_iter().chain(given).map(|(name, value)| (format!("{APPLICATION}{name}"), value)))
}

/// At most so many bytes in a batch.
fn batched_size(message: &D2cMessage) -> usize {
    // JSON writes a control character as six bytes, and a quote as two.
    let text = |text: &str| {
        text.bytes()
            .map(|byte| match byte {
                0..=0x1f => 6,
                b'"' | b'\\' => 2,
                _ => 1,
            })
            .sum::<usize>()
            + 6
    };
    let properties: usize = properties(message).map(|(name, value)| text(&name) + text(value)).sum();
    message.body.len().div_ceil(3) * 4 + properties + ITEM
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/devices/d/messages/events";

    fn signal(body: &[u8], properties: &[(&str, &str)]) -> D2cMessage {
        D2cMessage {
            body: Bytes::copy_from_slice(body),
            message_id: "j-1-7".into(),
            content_type: Some("application/json".into()),
            content_encoding: Some("utf-8".into()),
            creation_time_utc: Some("2026-11-22T22:19:00.123Z".into()),
            properties: properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        }
    }

    fn shown(payload: &Payload) -> Vec<String> {
        payload.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn one_message_is_its_body_with_properties_as_headers() {
        let payload = next(&[signal(&[0, 255], &[("topic", "Temp in C"), ("signal", "0")])], PATH);
        assert_eq!(payload.body, [0, 255][..]);
        assert_eq!(
            shown(&payload),
            [
                "iothub-to: /devices/d/messages/events",
                "iothub-messageid: j-1-7",
                "iothub-contenttype: application/json",
                "iothub-contentencoding: utf-8",
                "iothub-app-iothub-creation-time-utc: 2026-11-22T22:19:00.123Z",
                "iothub-app-topic: Temp in C",
                "iothub-app-signal: 0"
            ]
        );
    }

    #[test]
    fn what_headers_would_change_travels_in_a_batch_of_one() {
        for (name, value) in [("Topic", "x"), ("a b", "x"), ("topic", " x"), ("topic", "x\n"), ("t\u{f6}pic", "x")] {
            let payload = next(&[signal(b"b", &[(name, value)])], PATH);
            assert_eq!(shown(&payload), ["content-type: application/vnd.microsoft.iothub.json"], "{name} {value:?}");
            let json: Value = serde_json::from_slice(&payload.body).unwrap();
            assert_eq!(json[0]["properties"][format!("iothub-app-{name}")], value);
            assert_eq!(json[0]["properties"]["iothub-messageid"], "j-1-7");
            assert_eq!(json[0]["body"], "Yg==");
        }
    }

    #[test]
    fn several_messages_go_into_as_few_requests_as_the_hub_takes_in_order() {
        let messages: Vec<_> = (0..9u8).map(|n| signal(&vec![n; 60_000], &[("n", "\"quoted\"")])).collect();
        let mut left = &messages[..];
        let mut bodies = Vec::new();
        while !left.is_empty() {
            let payload = next(left, PATH);
            assert!(payload.body.len() <= MAX_MESSAGE_BYTES);
            let json: Value = serde_json::from_slice(&payload.body).unwrap_or_default();
            for item in json.as_array().into_iter().flatten() {
                bodies.push(STANDARD.decode(item["body"].as_str().unwrap()).unwrap()[0]);
            }
            left = &left[payload.count..];
        }
        assert_eq!(bodies, (0..9).collect::<Vec<u8>>());
    }

    #[test]
    fn a_batch_is_never_larger_than_was_reckoned() {
        for body in [&b""[..], b"1", b"12", b"123"] {
            let message = signal(body, &[("\u{1}\u{1f}", "\"\\"), ("", "\u{fc}")]);
            assert!(Value::Array(vec![item(&message)]).to_string().len() <= batched_size(&message) + 2);
        }
    }
}
