//! What a signal is called and what its value is: by number for Pybytes frames, by topic for everything else.

use hubward_model::{Record, pybytes};
use serde_json::Value;

/// Longest key: longer topics are signals, but none that is listed.
const MAX_KEY: usize = 200;
/// So much of a text is a value to show.
const MAX_TEXT: usize = 100;

/// What follows the device's id in a record's topic; empty when it is not a topic of its device.
fn below_device(record: &Record) -> &str {
    let device = record.device.as_ref().map_or("", hubward_model::DeviceId::as_str);
    record.message.topic.strip_prefix("devices/").and_then(|rest| rest.strip_prefix(device)).unwrap_or_default()
}

/// Whether the payload is a Pybytes frame: the broker puts those, and only those, below `u`.
#[must_use]
pub fn is_pybytes(record: &Record) -> bool {
    let below = below_device(record);
    below == "/u" || below.starts_with("/u/")
}

/// The number of a Pybytes signal as text, or the topic after `signals/`; none for what has neither.
#[must_use]
pub fn key(record: &Record) -> Option<String> {
    if is_pybytes(record) {
        return pybytes::signal_number(&record.message.payload).map(|number| number.to_string());
    }
    below_device(record)
        .strip_prefix("/signals/")
        .filter(|topic| !topic.is_empty() && topic.len() <= MAX_KEY)
        .map(str::to_owned)
}

/// The value to show: a number where the payload is one, else a short text; null for anything else.
#[must_use]
pub fn value(record: &Record) -> Value {
    let payload = &record.message.payload;
    if is_pybytes(record) {
        let decoded = pybytes::signal_json(payload);
        return decoded.and_then(|mut json| json.get_mut("payload").map(Value::take)).unwrap_or_default();
    }
    let Ok(text) = std::str::from_utf8(payload) else { return Value::Null };
    if let Ok(number) = text.trim().parse::<f64>()
        && number.is_finite()
    {
        return number.into();
    }
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return Value::Null;
    }
    match text.char_indices().nth(MAX_TEXT) {
        Some((at, _)) => format!("{}…", &text[..at]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use hubward_model::{Draft, Epoch, Kind, Message, Offset, Timestamp};
    use serde_json::json;

    use super::*;

    fn record(topic: &str, payload: &[u8]) -> Record {
        let message = Message { topic: topic.to_owned(), payload: payload.to_vec().into(), ..Message::default() };
        let draft = Draft {
            kind: Kind::Signal,
            received_at: Timestamp::from_millis(1),
            device: Some("d1".parse().unwrap()),
            only_for: None,
            message,
            note: Default::default(),
        };
        Record { offset: Offset::from_raw(1), epoch: Epoch::from_raw(1), draft }
    }

    #[test]
    fn a_frame_is_known_by_its_number_and_a_message_by_its_topic() {
        let frame = pybytes::float_signal(7, 21.5);
        assert_eq!(key(&record("devices/d1/u", &frame)).as_deref(), Some("7"));
        assert_eq!(value(&record("devices/d1/u", &frame)), json!(21.5));
        // The same bytes of a device that speaks no Pybytes are bytes.
        assert_eq!(key(&record("devices/d1/signals/raw", &frame)).as_deref(), Some("raw"));
        assert_eq!(value(&record("devices/d1/signals/raw", &frame)), Value::Null);
        assert_eq!(key(&record("devices/d1/signals/a/b", b"1")).as_deref(), Some("a/b"));
        assert_eq!(key(&record("devices/d2/signals/a", b"1")), None);
        assert_eq!(key(&record(&format!("devices/d1/signals/{}", "x".repeat(201)), b"1")), None);
    }

    #[test]
    fn a_value_is_a_number_or_a_short_text() {
        for (payload, expected) in [
            (b" 21.5 ".as_slice(), json!(21.5)),
            (b"-3", json!(-3.0)),
            (b"on", json!("on")),
            (b"NaN", json!("NaN")),
            (b"{\"t\":1}", json!("{\"t\":1}")),
            (b"\xff\x00", Value::Null),
            (b"a\x07", Value::Null),
        ] {
            assert_eq!(value(&record("devices/d1/signals/t", payload)), expected);
        }
        let long = value(&record("devices/d1/signals/t", "ü".repeat(300).as_bytes()));
        assert_eq!(long.as_str().unwrap().chars().count(), 101);
    }
}
