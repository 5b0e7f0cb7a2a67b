//! Writing a message section by section (AMQP 1.0, 3.2), for those who build no [`Message`](super::Message).
//! Sections must come in the order of their codes; empty ones are left out.

use bytes::{BufMut, BytesMut};

use super::{Header, Properties};
use crate::types::{Symbol, Text, Value, encode};

/// `header`
pub const HEADER: u8 = 0x70;
/// `delivery-annotations`
pub const DELIVERY_ANNOTATIONS: u8 = 0x71;
/// `message-annotations`
pub const MESSAGE_ANNOTATIONS: u8 = 0x72;
/// `properties`
pub const PROPERTIES: u8 = 0x73;
/// `application-properties`
pub const APPLICATION_PROPERTIES: u8 = 0x74;
/// `data`
pub const DATA: u8 = 0x75;
/// `amqp-sequence`
pub const SEQUENCE: u8 = 0x76;
/// `amqp-value`
pub const VALUE: u8 = 0x77;
/// `footer`
pub const FOOTER: u8 = 0x78;

/// The descriptor of a section; its content comes next.
pub fn start(out: &mut BytesMut, code: u8) {
    out.put_slice(&[0x00, 0x53, code]);
}

/// A header.
pub fn header(out: &mut BytesMut, header: &Header) {
    encode::composite(out, HEADER, 5, |out| {
        encode::optional(out, header.durable.as_ref(), |out, b| encode::boolean(out, *b));
        encode::optional(out, header.priority.as_ref(), |out, n| encode::ubyte(out, *n));
        encode::optional(out, header.ttl.as_ref(), |out, n| encode::uint(out, *n));
        encode::optional(out, header.first_acquirer.as_ref(), |out, b| encode::boolean(out, *b));
        encode::optional(out, header.delivery_count.as_ref(), |out, n| encode::uint(out, *n));
    });
}

/// Annotations or the footer, if there are any.
pub fn annotations(out: &mut BytesMut, code: u8, annotations: &[(Symbol, Value)]) {
    if !annotations.is_empty() {
        start(out, code);
        encode::fields(out, annotations);
    }
}

/// The standard properties, up to the last that is set; nothing if none is.
pub fn properties(out: &mut BytesMut, properties: &Properties) {
    let used = properties.used();
    if used == 0 {
        return;
    }
    let p = properties;
    let text = |out: &mut BytesMut, text: &Option<Text>| encode::optional_text(out, text.as_ref());
    let time = |out: &mut BytesMut, ms: &Option<i64>| {
        encode::optional(out, ms.as_ref(), |out, ms| encode::timestamp(out, *ms));
    };
    let fields: [&dyn Fn(&mut BytesMut); 13] = [
        &|out| encode::optional(out, p.message_id.as_ref(), encode::value),
        &|out| encode::optional(out, p.user_id.as_ref(), |out, id| encode::binary(out, id)),
        &|out| text(out, &p.to),
        &|out| text(out, &p.subject),
        &|out| text(out, &p.reply_to),
        &|out| encode::optional(out, p.correlation_id.as_ref(), encode::value),
        &|out| encode::optional(out, p.content_type.as_ref(), encode::symbol),
        &|out| encode::optional(out, p.content_encoding.as_ref(), encode::symbol),
        &|out| time(out, &p.absolute_expiry_time),
        &|out| time(out, &p.creation_time),
        &|out| text(out, &p.group_id),
        &|out| encode::optional(out, p.group_sequence.as_ref(), |out, n| encode::uint(out, *n)),
        &|out| text(out, &p.reply_to_group_id),
    ];
    encode::composite(out, PROPERTIES, used, |out| fields[..used].iter().for_each(|write| write(out)));
}

/// Application properties, if there are any.
pub fn application_properties(out: &mut BytesMut, properties: &[(Text, Value)]) {
    if properties.is_empty() {
        return;
    }
    start(out, APPLICATION_PROPERTIES);
    encode::map(out, properties.len(), |out| {
        for (name, value) in properties {
            encode::string(out, name.as_bytes());
            encode::value(out, value);
        }
    });
}

/// A data section.
pub fn data(out: &mut BytesMut, bytes: &[u8]) {
    start(out, DATA);
    encode::binary(out, bytes);
}

/// A sequence section.
pub fn sequence(out: &mut BytesMut, items: &[Value]) {
    start(out, SEQUENCE);
    encode::list(out, items.len(), |out| items.iter().for_each(|item| encode::value(out, item)));
}

/// A value section.
pub fn value(out: &mut BytesMut, value: &Value) {
    start(out, VALUE);
    encode::value(out, value);
}
