//! A message's system and application properties as the end of its topic (docs: IoT Hub wire reference, section 4.3).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::link::SendError;
use crate::message::{CREATION_TIME_PROPERTY, D2cMessage};

/// All but letters, digits and `- _ . ~` is escaped, as Microsoft's Python SDK does: `$` and `/` too.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The longest topic that MQTT can say (MQTT 3.1.1, 1.5.3).
const LONGEST: usize = 65_535;

/// The topic that `message` of `device_id` is published to. The device's id stands in it as it is.
pub(super) fn topic(device_id: &str, message: &D2cMessage) -> Result<String, SendError> {
    let mut topic = format!("devices/{device_id}/messages/events/");
    let system = [
        ("$.mid", Some(&message.message_id).filter(|id| !id.is_empty())),
        ("$.ct", message.content_type.as_ref()),
        ("$.ce", message.content_encoding.as_ref()),
        // Not `$.ctime`: as an ordinary property it arrives as it does over AMQP.
        (CREATION_TIME_PROPERTY, message.creation_time_utc.as_ref()),
    ];
    let given = message.properties.iter().map(|(name, value)| (name.as_str(), Some(value)));
    let mut separator = "";
    for (name, value) in system.into_iter().chain(given) {
        let Some(value) = value else { continue };
        topic.push_str(separator);
        separator = "&";
        topic.extend(utf8_percent_encode(name, ESCAPED));
        topic.push('=');
        topic.extend(utf8_percent_encode(value, ESCAPED));
    }
    if topic.len() > LONGEST {
        let (size, limit) = (topic.len() as u64, LONGEST as u64);
        return Err(SendError::TooLarge { size, limit, unit: "bytes of properties as an MQTT topic" });
    }
    Ok(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_escaped_once_names_and_values_alike() {
        let message = D2cMessage {
            message_id: "j-1-7".into(),
            content_type: Some("application/json".into()),
            content_encoding: Some("utf-8".into()),
            creation_time_utc: Some("2026-11-22T22:19:00.123Z".into()),
            properties: vec![
                ("topic".into(), "Temp/a b".into()),
                ("50%&=".into(), "+\u{fc}".into()),
                ("e".into(), String::new()),
            ],
            ..D2cMessage::default()
        };
        assert_eq!(
            topic("dev:1", &message).unwrap(),
            "devices/dev:1/messages/events/%24.mid=j-1-7&%24.ct=application%2Fjson&%24.ce=utf-8\
             &iothub-creation-time-utc=2026-11-22T22%3A19%3A00.123Z&topic=Temp%2Fa%20b&50%25%26%3D=%2B%C3%BC&e="
        );
        assert_eq!(topic("d", &D2cMessage::default()).unwrap(), "devices/d/messages/events/");
    }

    #[test]
    fn properties_that_no_topic_can_carry_are_not_sent() {
        let value = "/".repeat(LONGEST / 3);
        let message = D2cMessage { properties: vec![("p".into(), value)], ..D2cMessage::default() };
        assert!(matches!(topic("d", &message), Err(SendError::TooLarge { limit: 65_535, .. })));
    }
}
