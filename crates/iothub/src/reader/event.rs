use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hubward_amqp::message::{Body, Message};
use hubward_amqp::types::Value;

/// What a hub received (docs: IoT Hub wire reference, section 6.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The partition it was read from.
    pub partition: Arc<str>,
    /// The device that sent it; none if the hub itself made the event.
    pub device_id: Option<String>,
    /// When the hub stored it.
    pub enqueued_at: Option<SystemTime>,
    /// Where it stands in its partition.
    pub offset: String,
    /// Its number in its partition.
    pub sequence_number: i64,
    /// The standard properties and the hub's annotations, as text, under their AMQP names.
    pub system_properties: Vec<(String, String)>,
    /// The sender's own properties.
    pub properties: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Event {
    /// A system property.
    #[must_use]
    pub fn system_property(&self, name: &str) -> Option<&str> {
        self.system_properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The sender's id for the message.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.system_property("message-id")
    }
}

/// Reads an event. What is no AMQP message is none.
pub(super) fn decode(partition: &Arc<str>, payload: &Bytes) -> Option<Event> {
    let message = Message::decode(payload).ok()?;
    let annotation = |name| message.annotation(name);
    let text_of = |name| annotation(name).and_then(Value::as_str).map(str::to_owned);
    let enqueued = annotation("x-opt-enqueued-time").or_else(|| annotation("iothub-enqueuedtime"));
    Some(Event {
        partition: Arc::clone(partition),
        device_id: text_of("iothub-connection-device-id"),
        enqueued_at: enqueued.and_then(Value::as_u64).map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
        offset: annotation("x-opt-offset").map(text).unwrap_or_default(),
        sequence_number: annotation("x-opt-sequence-number").and_then(Value::as_i64).unwrap_or_default(),
        system_properties: system_properties(&message),
        properties: message
            .application_properties
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: body(&message),
    })
}

fn system_properties(message: &Message) -> Vec<(String, String)> {
    let p = &message.properties;
    let user = p.user_id.as_ref().map(|id| String::from_utf8_lossy(id).into_owned());
    let standard = [
        ("message-id", p.message_id.as_ref().map(text)),
        ("user-id", user),
        ("to", p.to.as_deref().map(str::to_owned)),
        ("subject", p.subject.as_deref().map(str::to_owned)),
        ("correlation-id", p.correlation_id.as_ref().map(text)),
        ("content-type", p.content_type.as_deref().map(str::to_owned)),
        ("content-encoding", p.content_encoding.as_deref().map(str::to_owned)),
        ("absolute-expiry-time", p.absolute_expiry_time.map(|ms| ms.to_string())),
        ("creation-time", p.creation_time.map(|ms| ms.to_string())),
    ];
    let standard = standard.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let annotations = message.message_annotations.iter().map(|(name, value)| (name.to_string(), text(value)));
    standard.chain(annotations).collect()
}

/// The body's bytes. They are copied, because decoded they would keep the whole input buffer alive.
fn body(message: &Message) -> Bytes {
    match &message.body {
        Body::Value(Value::String(text)) => Bytes::copy_from_slice(text.as_bytes()),
        _ => message.body_bytes().map(|bytes| Bytes::copy_from_slice(&bytes)).unwrap_or_default(),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Bool(b) => b.to_string(),
        Value::Float(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::Uuid(bytes) => uuid::Uuid::from_bytes(*bytes).to_string(),
        Value::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Ulong(n) => n.to_string(),
        Value::Null => String::new(),
        other => match (other.as_str(), other.as_i64()) {
            (Some(text), _) => text.to_owned(),
            (None, Some(n)) => n.to_string(),
            (None, None) => format!("{other:?}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use hubward_amqp::types::{Symbol, Text};

    use super::*;

    /// The annotations of a captured telemetry event (docs: IoT Hub wire reference, section 6.4).
    fn captured() -> Message {
        let mut message = Message::data(&b"{\"soil_moisture\": 452}"[..]);
        let annotate = |name, value: Value| (Symbol::from_static(name), value);
        message.message_annotations = vec![
            annotate("iothub-connection-device-id", "soil-moisture-sensor".into()),
            annotate("iothub-connection-auth-generation-id", "637553997165220462".into()),
            annotate("iothub-enqueuedtime", Value::Timestamp(1_619_976_150_288)),
            annotate("iothub-message-source", "Telemetry".into()),
            annotate("x-opt-sequence-number", Value::Long(1379)),
            annotate("x-opt-offset", "550576".into()),
            annotate("x-opt-enqueued-time", Value::Timestamp(1_619_976_150_277)),
        ];
        message.properties.message_id = Some("m1".into());
        message.properties.content_type = Some(Symbol::from_static("application/json"));
        message.application_properties.push((Text::from("topic"), "Temp".into()));
        message
    }

    #[test]
    fn a_captured_event_is_read_in_full() {
        let event = decode(&"3".into(), &captured().to_bytes()).expect("an event");
        assert_eq!(event.device_id.as_deref(), Some("soil-moisture-sensor"));
        assert_eq!(event.enqueued_at, Some(UNIX_EPOCH + Duration::from_millis(1_619_976_150_277)));
        assert_eq!((event.offset.as_str(), event.sequence_number), ("550576", 1379));
        assert_eq!(event.message_id(), Some("m1"));
        assert_eq!(event.system_property("content-type"), Some("application/json"));
        assert_eq!(event.system_property("iothub-message-source"), Some("Telemetry"));
        assert_eq!(event.property("topic"), Some("Temp"));
        assert_eq!(event.body, b"{\"soil_moisture\": 452}"[..]);
        assert_eq!(&*event.partition, "3");
    }

    #[test]
    fn ids_of_every_type_become_text() {
        for (id, expected) in [
            (Value::Uuid([0xab; 16]), "abababab-abab-abab-abab-abababababab"),
            (Value::Ulong(u64::MAX), "18446744073709551615"),
            (Value::Binary(Bytes::from_static(b"raw")), "raw"),
        ] {
            let mut message = captured();
            message.properties.message_id = Some(id);
            let event = decode(&"0".into(), &message.to_bytes()).expect("an event");
            assert_eq!(event.message_id(), Some(expected));
        }
    }

    #[test]
    fn what_is_no_message_is_no_event() {
        assert_eq!(decode(&"0".into(), &Bytes::from_static(b"nonsense")), None);
    }
}
