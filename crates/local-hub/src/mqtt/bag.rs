//! Property bags: `name=value&name=value` at the end of a topic, both sides percent-encoded (IoT Hub wire reference, 4.3),
//! and the message properties that their system names stand for.

use std::fmt::Write;

use hubward_amqp::message::{Body, Message};
use hubward_amqp::types::{Symbol, Value};
use hubward_model::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stands in a bag as it is: RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why a bag cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BagError {
    #[error("the property bag is not percent-encoded UTF-8")]
    Encoding,
    #[error("the property bag names a property without a name")]
    NoName,
    #[error("the system property {0} has a value that cannot be")]
    Value(&'static str),
}

/// Names and values of a bag, decoded once; a name without `=` has no value.
pub(crate) fn decode(bag: &str) -> Result<Vec<(String, Option<String>)>, BagError> {
    // Node ends modules' topics with a slash; a bag of none begins with nothing.
    let bag = bag.strip_suffix('/').unwrap_or(bag);
    let bag = bag.strip_prefix('?').unwrap_or(bag);
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(BagError::Encoding),
    };
    let mut pairs = Vec::new();
    for pair in bag.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (decoded(name)?, Some(decoded(value)?)),
            None => (decoded(pair)?, None),
        };
        if name.is_empty() {
            return Err(BagError::NoName);
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// The message a device means by a bag and a payload.
pub(crate) fn to_message(bag: &str, payload: bytes::Bytes) -> Result<Message, BagError> {
    let mut message = Message { body: Body::Data(payload), ..Message::default() };
    for (name, value) in decode(bag)? {
        let value = value.unwrap_or_default();
        let properties = &mut message.properties;
        match name.as_str() {
            "$.mid" => properties.message_id = Some(value.as_str().into()),
            "$.cid" => properties.correlation_id = Some(value.as_str().into()),
            "$.uid" => properties.user_id = Some(value.into_bytes().into()),
            "$.to" => properties.to = Some(value.as_str().into()),
            "$.ct" => properties.content_type = Some(symbol(value, "$.ct")?),
            "$.ce" => properties.content_encoding = Some(symbol(value, "$.ce")?),
            "$.exp" => properties.absolute_expiry_time = Some(instant(&value).ok_or(BagError::Value("$.exp"))?),
            "$.ctime" => set(&mut message, "iothub-creation-time-utc", value),
            "$.schema" => set(&mut message, "iothub-message-schema", value),
            "$.on" => set(&mut message, "iothub-outputname", value),
            "$.ifid" => annotate(&mut message, "iothub-interface-id", &value),
            "$.sub" => annotate(&mut message, "dt-subject", &value),
            "$.diagid" => annotate(&mut message, "Diagnostic-Id", &value),
            "$.diagctx" => annotate(&mut message, "Correlation-Context", &value),
            other => {
                if other.starts_with("$.") {
                    // UNCONFIRMED (reference, 4.3): what the service makes of system names it does not know.
                    tracing::warn!(
                        name = other,
                        "a system property that is not known, kept as an application property"
                    );
                }
                set(&mut message, other, value);
            }
        }
    }
    Ok(message)
}

/// The bag in which a message to a device says its properties.
pub(crate) fn of_message(message: &Message) -> String {
    let mut bag = String::new();
    let mut put = |name: &str, value: &str| {
        let separator = if bag.is_empty() { "" } else { "&" };
        let (name, value) = (utf8_percent_encode(name, ENCODED), utf8_percent_encode(value, ENCODED));
        // Writing to a string does not fail.
        let _ = write!(bag, "{separator}{name}={value}");
    };
    let properties = &message.properties;
    let ids = [("$.mid", &properties.message_id), ("$.cid", &properties.correlation_id)];
    let mut ids = ids.into_iter().filter_map(|(name, id)| Some((name, text_of(id.as_ref()?)?)));
    if let Some((name, id)) = ids.next() {
        put(name, &id);
    }
    if let Some(to) = &properties.to {
        put("$.to", to);
    }
    for (name, id) in ids {
        put(name, &id);
    }
    if let Some(user) = &properties.user_id {
        put("$.uid", &String::from_utf8_lossy(user));
    }
    if let Some(text) = &properties.content_type {
        put("$.ct", text);
    }
    if let Some(text) = &properties.content_encoding {
        put("$.ce", text);
    }
    if let Some(millis) = properties.absolute_expiry_time {
        put("$.exp", &Timestamp::from_millis(millis).to_string());
    }
    for (name, value) in &message.application_properties {
        if let Some(value) = text_of(value) {
            put(name, &value);
        }
    }
    bag
}

/// A value as text; binaries and compound values have none.
fn text_of(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => text.to_string(),
        Value::Symbol(text) => text.to_string(),
        Value::Uuid(bytes) => uuid::Uuid::from_bytes(*bytes).to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Ubyte(number) => number.to_string(),
        Value::Ushort(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Ulong(number) => number.to_string(),
        Value::Byte(number) => number.to_string(),
        Value::Short(number) => number.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Long(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Timestamp(millis) => Timestamp::from_millis(*millis).to_string(),
        Value::Null => String::new(),
        _ => return None,
    })
}

fn symbol(value: String, name: &'static str) -> Result<Symbol, BagError> {
    Symbol::from_ascii(value.into()).ok_or(BagError::Value(name))
}

fn instant(text: &str) -> Option<i64> {
    let with_zone = text.parse::<jiff::Timestamp>().ok();
    // UNCONFIRMED (reference, 4.3): times without a zone are taken as UTC.
    let without = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    with_zone.or_else(|| without().map(|zoned| zoned.timestamp())).map(jiff::Timestamp::as_millisecond)
}

fn set(message: &mut Message, name: &str, value: String) {
    let place = message.application_properties.iter_mut().find(|(other, _)| &**other == name);
    match place {
        // The last of several holds.
        Some((_, old)) => *old = Value::String(value.into()),
        None => message.application_properties.push((name.into(), Value::String(value.into()))),
    }
}

fn annotate(message: &mut Message, name: &'static str, value: &str) {
    message.message_annotations.push((Symbol::from_static(name), Value::String(value.into())));
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn system_names_become_properties_and_others_stay_what_they_are() {
        // As Python sends it (reference, SDKs on loopback, 2), and raw as hand-written clients do.
        for bag in [
            "%24.mid=id%201&%24.cid=c&%24.uid=u&%24.ct=application%2Fjson&%24.ce=utf-8&a%20b=c%2Fd&e=&n",
            "$.mid=id 1&$.cid=c&$.uid=u&$.ct=application/json&$.ce=utf-8&a b=c/d&e=&n/",
        ] {
            let message = to_message(bag, "x".into()).unwrap();
            let properties = &message.properties;
            assert_eq!(properties.message_id.as_ref().unwrap().as_str(), Some("id 1"));
            assert_eq!(properties.correlation_id.as_ref().unwrap().as_str(), Some("c"));
            assert_eq!(properties.user_id.as_deref(), Some(&b"u"[..]));
            assert_eq!(properties.content_type.as_deref(), Some("application/json"));
            assert_eq!(properties.content_encoding.as_deref(), Some("utf-8"));
            let texts: Vec<_> =
                message.application_properties.iter().map(|(n, v)| (&**n, v.as_str().unwrap())).collect();
            assert_eq!(texts, [("a b", "c/d"), ("e", ""), ("n", "")]);
        }
    }

    #[test]
    fn a_plus_is_a_plus_and_the_last_of_several_values_holds() {
        let message = to_message("a=1+1&a=2+2", "".into()).unwrap();
        assert_eq!(message.application_properties.len(), 1);
        assert_eq!(message.application_property("a").unwrap().as_str(), Some("2+2"));
    }

    #[test]
    fn the_rarer_system_names_land_where_amqp_has_them() {
        let bag = "$.exp=2026-11-22T22:19:00Z&$.ctime=t&$.schema=s&$.ifid=i&$.sub=c&$.diagid=d&$.diagctx=x&$.to=%2Fto";
        let message = to_message(bag, "".into()).unwrap();
        assert_eq!(message.properties.absolute_expiry_time, Some(1_795_385_940_000));
        assert_eq!(message.properties.to.as_deref(), Some("/to"));
        assert_eq!(message.application_property("iothub-creation-time-utc").unwrap().as_str(), Some("t"));
        assert_eq!(message.application_property("iothub-message-schema").unwrap().as_str(), Some("s"));
        for (name, value) in
            [("iothub-interface-id", "i"), ("dt-subject", "c"), ("Diagnostic-Id", "d"), ("Correlation-Context", "x")]
        {
            assert_eq!(message.annotation(name).unwrap().as_str(), Some(value), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(to_message("a=%ff", "".into()).unwrap_err(), BagError::Encoding);
        assert_eq!(to_message("=x", "".into()).unwrap_err(), BagError::NoName);
        assert_eq!(to_message("$.exp=tomorrow", "".into()).unwrap_err(), BagError::Value("$.exp"));
        assert_eq!(to_message("$.ct=%C3%A4", "".into()).unwrap_err(), BagError::Value("$.ct"));
    }

    #[test]
    fn a_message_to_a_device_reads_back_as_what_was_sent() {
        let mut message = Message::data("x");
        message.properties.message_id = Some("m 1".into());
        message.properties.correlation_id = Some("ü".into());
        message.properties.to = Some("/devices/d#1/messages/devicebound".into());
        message.properties.content_type = Some(Symbol::from_static("text/plain"));
        message.properties.absolute_expiry_time = Some(1_795_385_940_123);
        message.application_properties = vec![("iothub-ack".into(), "full".into()), ("a/b".into(), "c+d&e=f".into())];
        let bag = of_message(&message);
        assert!(bag.starts_with("%24.mid=m%201&%24.to=%2Fdevices%2Fd%231%2Fmessages%2Fdevicebound&"), "{bag}");
        assert_eq!(to_message(&bag, "x".into()).unwrap(), message);
    }
}
