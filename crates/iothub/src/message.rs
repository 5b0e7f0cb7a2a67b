//! A device-to-cloud message, whatever the transport, and the size IoT Hub counts for it.

use std::borrow::Cow;

use bytes::Bytes;

/// Largest device-to-cloud message, and largest sum of a batch, in bytes (docs: IoT Hub limits).
pub const MAX_MESSAGE_BYTES: usize = 262_144;
/// Most messages in one batch.
pub const MAX_BATCH_MESSAGES: usize = 500;
/// Application property that carries [`D2cMessage::creation_time_utc`].
pub const CREATION_TIME_PROPERTY: &str = "iothub-creation-time-utc";

/// A device-to-cloud message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct D2cMessage {
    /// The body, byte for byte.
    pub body: Bytes,
    /// System property message-id: up to 128 ASCII alphanumerics and ``- : . + % _ # * ? ! ( ) , = @ ; $ '``.
    pub message_id: String,
    /// System property content-type.
    pub content_type: Option<String>,
    /// System property content-encoding; the hub needs `utf-8`, `utf-16` or `utf-32` to route on a JSON body.
    pub content_encoding: Option<String>,
    /// System property iothub-creation-time-utc, ISO 8601.
    pub creation_time_utc: Option<String>,
    /// Application properties, in order. Values outside printable ASCII must be escaped: [`printable`].
    pub properties: Vec<(String, String)>,
}

/// The size of `message` by IoT Hub's formula, which no protocol changes: body, plus the values of system properties,
/// plus names and values of application properties (docs: Create and read IoT Hub messages).
///
/// The creation time is counted with its name, because on the wire it is an application property: this may say up to
/// 24 bytes more than the hub counts, never less. The system property `to` is not counted: senders here leave it out,
/// the link's address says it.
#[must_use]
pub fn encoded_size(message: &D2cMessage) -> usize {
    let system = message.message_id.len()
        + message.content_type.as_ref().map_or(0, String::len)
        + message.content_encoding.as_ref().map_or(0, String::len)
        + message.creation_time_utc.as_ref().map_or(0, |time| time.len() + CREATION_TIME_PROPERTY.len());
    let properties: usize = message.properties.iter().map(|(name, value)| name.len() + value.len()).sum();
    message.body.len() + system + properties
}

/// `text` as it may stand in a property: everything outside printable ASCII (and `%`, if anything is escaped, so that the
/// reader can tell) becomes `%XX` of its UTF-8 bytes. Printable text comes back as it was.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| (0x20..=0x7e).contains(&byte);
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if plain(byte) && byte != b'%' {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push(char::from(HEX[usize::from(byte >> 4)]));
            escaped.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    Cow::Owned(escaped)
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_counts_body_system_values_and_property_names_and_values() {
        let message = D2cMessage {
            body: Bytes::from_static(b"12345"),
            message_id: "id".into(),
            content_type: Some("text/plain".into()),
            content_encoding: Some("utf-8".into()),
            creation_time_utc: None,
            properties: vec![("topic".into(), "Temp".into())],
        };
        assert_eq!(encoded_size(&message), 5 + 2 + 10 + 5 + 5 + 4);
        assert_eq!(encoded_size(&D2cMessage::default()), 0);
    }

    #[test]
    fn what_is_not_printable_ascii_is_escaped_and_the_rest_is_left_alone() {
        assert_eq!(printable("50 % of a/b"), "50 % of a/b");
        assert_eq!(printable("Kühe\n"), "K%C3%BChe%0A");
        assert_eq!(printable("5 % ü"), "5 %25 %C3%BC");
    }
}
