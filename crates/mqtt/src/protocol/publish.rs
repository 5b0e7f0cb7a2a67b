//! PUBLISH and its acknowledgements, read and written by hand: nearly all traffic is these, and a copy less counts.

use bytes::{BufMut, Bytes, BytesMut};
use mqtt_protocol_core::mqtt::packet::{self as core, PropertiesParse};

use super::{Ack, AckKind, DecodeError, EncodeError, PacketId, Publish, PublishProperties, Qos, Reason, Version};

const PUBLISH: u8 = 0x30;
/// Largest remaining length that four bytes can say.
const MAX_REMAINING: usize = 268_435_455;

/// The front of a packet: its first byte, where its body begins, and where it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) first: u8,
    pub(super) body: usize,
    pub(super) end: usize,
}

/// Reads the fixed header; `Err(wanted)` if `input` does not hold the whole packet yet.
pub(super) fn frame(input: &[u8], limit: usize) -> Result<Result<Frame, usize>, DecodeError> {
    let Some(&first) = input.first() else { return Ok(Err(2)) };
    let mut remaining = 0;
    for index in 0..4 {
        let Some(&byte) = input.get(1 + index) else { return Ok(Err(input.len() + 1)) };
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let body = 2 + index;
            let end = body + remaining;
            if end > limit {
                return Err(DecodeError::TooLarge { size: end, limit });
            }
            return Ok(if input.len() >= end { Ok(Frame { first, body, end }) } else { Err(end) });
        }
    }
    Err(DecodeError::Malformed("remaining length"))
}

/// Takes a text with its length before it off `body`.
fn take_text<'a>(body: &mut &'a [u8], what: &'static str) -> Result<&'a str, DecodeError> {
    let malformed = DecodeError::Malformed(what);
    let (length, rest) = body.split_first_chunk::<2>().ok_or(malformed)?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(malformed)?;
    *body = rest;
    std::str::from_utf8(text).map_err(|_| malformed)
}

fn take_id(body: &mut &[u8], what: &'static str) -> Result<PacketId, DecodeError> {
    let malformed = DecodeError::Malformed(what);
    let (id, rest) = body.split_first_chunk::<2>().ok_or(malformed)?;
    *body = rest;
    PacketId::new(u16::from_be_bytes(*id)).ok_or(malformed)
}

pub(super) fn read_publish(version: Version, first: u8, mut body: &[u8]) -> Result<Publish, DecodeError> {
    let qos = Qos::try_from((first >> 1) & 3).map_err(|_| DecodeError::Malformed("quality of service of PUBLISH"))?;
    let dup = first & 0x08 != 0;
    if dup && qos == Qos::AtMostOnce {
        return Err(DecodeError::Malformed("DUP of a PUBLISH with quality of service 0"));
    }
    let topic = take_text(&mut body, "topic of PUBLISH")?.to_owned();
    let packet_id = if qos == Qos::AtMostOnce { None } else { Some(take_id(&mut body, "packet id of PUBLISH")?) };
    let properties = match version {
        Version::V311 => None,
        Version::V5 => match body.split_first() {
            Some((0, rest)) => {
                body = rest;
                None
            }
            _ => {
                let (properties, used) =
                    core::Properties::parse(body).map_err(|_| DecodeError::Malformed("properties of PUBLISH"))?;
                body = &body[used..];
                Some(Box::new(properties_from_core(&properties)?))
            }
        },
    };
    let payload = Bytes::copy_from_slice(body);
    Ok(Publish { topic, payload, qos, retain: first & 1 != 0, dup, packet_id, properties })
}

/// The properties of a message or a will, each at most once where the specification says so.
pub(super) fn properties_from_core(list: &[core::Property]) -> Result<PublishProperties, DecodeError> {
    fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), DecodeError> {
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(DecodeError::Protocol("a property of PUBLISH that stands twice")),
        }
    }
    let mut found = PublishProperties::default();
    for property in list {
        match property {
            core::Property::PayloadFormatIndicator(p) => once(&mut found.payload_is_text, p.val() == 1)?,
            core::Property::MessageExpiryInterval(p) => once(&mut found.message_expiry, p.val())?,
            core::Property::ContentType(p) => once(&mut found.content_type, p.val().to_owned())?,
            core::Property::ResponseTopic(p) => once(&mut found.response_topic, p.val().to_owned())?,
            core::Property::CorrelationData(p) => {
                once(&mut found.correlation_data, Bytes::copy_from_slice(p.val()))?;
            }
            core::Property::TopicAlias(p) => once(&mut found.topic_alias, p.val())?,
            core::Property::SubscriptionIdentifier(p) => found.subscription_ids.push(p.val()),
            core::Property::UserProperty(p) => found.user_properties.push((p.key().to_owned(), p.val().to_owned())),
            core::Property::WillDelayInterval(_) => {}
            _ => return Err(DecodeError::Protocol("a property that PUBLISH does not have")),
        }
    }
    Ok(found)
}

pub(super) fn read_ack(version: Version, kind: AckKind, mut body: &[u8]) -> Result<Ack, DecodeError> {
    let packet_id = take_id(&mut body, "packet id of an acknowledgement")?;
    let reason = match (version, body) {
        (_, []) => Reason::SUCCESS,
        (Version::V5, [reason]) => Reason(*reason),
        (Version::V5, [reason, properties @ ..]) => {
            let malformed = DecodeError::Malformed("properties of an acknowledgement");
            let (_, used) = core::Properties::parse(properties).map_err(|_| malformed)?;
            if used != properties.len() {
                return Err(malformed);
            }
            Reason(*reason)
        }
        (Version::V311, _) => return Err(DecodeError::Malformed("length of an acknowledgement")),
    };
    Ok(Ack { kind, packet_id, reason })
}

pub(super) fn write_ack(version: Version, ack: &Ack, output: &mut BytesMut) {
    let first = match ack.kind {
        AckKind::PubAck => 0x40,
        AckKind::PubRec => 0x50,
        AckKind::PubRel => 0x62,
        AckKind::PubComp => 0x70,
    };
    let [high, low] = ack.packet_id.get().to_be_bytes();
    if version == Version::V311 || ack.reason == Reason::SUCCESS {
        output.put_slice(&[first, 2, high, low]);
    } else {
        output.put_slice(&[first, 3, high, low, ack.reason.0]);
    }
}

pub(super) fn write_publish(version: Version, publish: &Publish, output: &mut BytesMut) -> Result<(), EncodeError> {
    match (publish.qos, publish.packet_id) {
        (Qos::AtMostOnce, None) | (Qos::AtLeastOnce | Qos::ExactlyOnce, Some(_)) => {}
        (Qos::AtMostOnce, Some(_)) => return Err(EncodeError::Invalid("a packet id with quality of service 0")),
        (_, None) => return Err(EncodeError::Invalid("quality of service 1 or 2 without a packet id")),
    }
    let topic_length = u16::try_from(publish.topic.len()).map_err(|_| EncodeError::TooLong("the topic"))?;
    let properties = match (version, &publish.properties) {
        (Version::V5, Some(properties)) => Some((properties, properties_length(properties)?)),
        _ => None,
    };
    let properties_size = match (version, &properties) {
        (Version::V311, _) => 0,
        (Version::V5, None) => 1,
        (Version::V5, Some((_, length))) => length_size(*length) + length,
    };
    let id_size = if publish.packet_id.is_some() { 2 } else { 0 };
    let remaining = 2 + publish.topic.len() + id_size + properties_size + publish.payload.len();
    if remaining > MAX_REMAINING {
        return Err(EncodeError::TooLarge(remaining));
    }
    output.reserve(5 + remaining);
    output.put_u8(PUBLISH | u8::from(publish.dup) << 3 | u8::from(publish.qos) << 1 | u8::from(publish.retain));
    put_length(output, remaining);
    output.put_u16(topic_length);
    output.put_slice(publish.topic.as_bytes());
    if let Some(id) = publish.packet_id {
        output.put_u16(id.get());
    }
    match properties {
        Some((properties, length)) => {
            put_length(output, length);
            put_properties(output, properties);
        }
        None if version == Version::V5 => output.put_u8(0),
        None => {}
    }
    output.put_slice(&publish.payload);
    Ok(())
}

/// Bytes of the properties, after checking that every text fits.
fn properties_length(properties: &PublishProperties) -> Result<usize, EncodeError> {
    fn sized(length: usize, what: &'static str) -> Result<usize, EncodeError> {
        if length > usize::from(u16::MAX) { Err(EncodeError::TooLong(what)) } else { Ok(2 + length) }
    }
    let mut length = 0;
    if properties.payload_is_text.is_some() {
        length += 2;
    }
    if properties.message_expiry.is_some() {
        length += 5;
    }
    if let Some(text) = &properties.content_type {
        length += 1 + sized(text.len(), "the content type")?;
    }
    if let Some(text) = &properties.response_topic {
        length += 1 + sized(text.len(), "the response topic")?;
    }
    if let Some(data) = &properties.correlation_data {
        length += 1 + sized(data.len(), "the correlation data")?;
    }
    if properties.topic_alias.is_some() {
        length += 3;
    }
    for id in &properties.subscription_ids {
        length += 1 + length_size(*id as usize);
    }
    for (name, value) in &properties.user_properties {
        length +=
            1 + sized(name.len(), "the name of a user property")? + sized(value.len(), "the value of a user property")?;
    }
    Ok(length)
}

fn put_properties(output: &mut BytesMut, properties: &PublishProperties) {
    // Lengths were checked by `properties_length`.
    #[expect(clippy::cast_possible_truncation, reason = "checked before")]
    fn put_text(output: &mut BytesMut, text: &[u8]) {
        output.put_u16(text.len() as u16);
        output.put_slice(text);
    }
    if let Some(is_text) = properties.payload_is_text {
        output.put_slice(&[0x01, u8::from(is_text)]);
    }
    if let Some(seconds) = properties.message_expiry {
        output.put_u8(0x02);
        output.put_u32(seconds);
    }
    if let Some(text) = &properties.content_type {
        output.put_u8(0x03);
        put_text(output, text.as_bytes());
    }
    if let Some(text) = &properties.response_topic {
        output.put_u8(0x08);
        put_text(output, text.as_bytes());
    }
    if let Some(data) = &properties.correlation_data {
        output.put_u8(0x09);
        put_text(output, data);
    }
    if let Some(alias) = properties.topic_alias {
        output.put_u8(0x23);
        output.put_u16(alias);
    }
    for id in &properties.subscription_ids {
        output.put_u8(0x0b);
        put_length(output, *id as usize);
    }
    for (name, value) in &properties.user_properties {
        output.put_u8(0x26);
        put_text(output, name.as_bytes());
        put_text(output, value.as_bytes());
    }
}

fn length_size(length: usize) -> usize {
    match length {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

fn put_length(output: &mut BytesMut, mut length: usize) {
    loop {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits")]
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            output.put_u8(byte);
            return;
        }
        output.put_u8(byte | 0x80);
    }
}
