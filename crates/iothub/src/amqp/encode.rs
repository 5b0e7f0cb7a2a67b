//! Messages on the wire (docs: IoT Hub wire reference, sections 3.5 and 3.6).

use bytes::{BufMut, Bytes, BytesMut};
use hubward_amqp::message::{FORMAT_AMQP, FORMAT_BATCH, append_to_batch, section};
use hubward_amqp::types::encode;

use super::SendError;
use crate::message::{CREATION_TIME_PROPERTY, D2cMessage, MAX_BATCH_MESSAGES, MAX_MESSAGE_BYTES, encoded_size};

/// What AMQP adds to a message beside what the size formula counts.
const OVERHEAD: usize = 96;

/// The payload of a transfer, and its format.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) bytes: Bytes,
    pub(super) format: u32,
}

/// One message as itself, several as a batch. Nothing that the hub would refuse for its size is encoded.
pub(super) fn payload(messages: &[D2cMessage]) -> Result<Payload, SendError> {
    if messages.is_empty() || messages.len() > MAX_BATCH_MESSAGES {
        let (size, limit) = (messages.len() as u64, MAX_BATCH_MESSAGES as u64);
        return Err(SendError::TooLarge { size, limit, unit: "messages" });
    }
    let size: usize = messages.iter().map(encoded_size).sum();
    if size > MAX_MESSAGE_BYTES {
        return Err(SendError::TooLarge { size: size as u64, limit: MAX_MESSAGE_BYTES as u64, unit: "bytes" });
    }
    let properties: usize = messages.iter().map(|message| message.properties.len()).sum();
    let mut out = BytesMut::with_capacity(size + OVERHEAD * messages.len() + 4 * properties);
    let format = match messages {
        [one] => {
            message(&mut out, one);
            FORMAT_AMQP
        }
        several => {
            several.iter().for_each(|one| append_to_batch(&mut out, |out| message(out, one)));
            FORMAT_BATCH
        }
    };
    Ok(Payload { bytes: out.freeze(), format })
}

fn message(out: &mut BytesMut, message: &D2cMessage) {
    properties(out, message);
    application_properties(out, message);
    section::data(out, &message.body);
}

/// message-id is the first of the standard properties, content-type the seventh, content-encoding the eighth
/// (AMQP 1.0, 3.2.4).
fn properties(out: &mut BytesMut, message: &D2cMessage) {
    let count = match message {
        D2cMessage { content_encoding: Some(_), .. } => 8,
        D2cMessage { content_type: Some(_), .. } => 7,
        _ => 1,
    };
    encode::composite(out, section::PROPERTIES, count, |out| {
        encode::string(out, message.message_id.as_bytes());
        if count > 1 {
            out.put_bytes(0x40, 5);
            encode::optional(out, message.content_type.as_deref(), encode::symbol_of);
        }
        if count > 7 {
            encode::optional(out, message.content_encoding.as_deref(), encode::symbol_of);
        }
    });
}

fn application_properties(out: &mut BytesMut, message: &D2cMessage) {
    let created = message.creation_time_utc.as_deref().map(|time| (CREATION_TIME_PROPERTY, time));
    let count = message.properties.len() + usize::from(created.is_some());
    if count == 0 {
        return;
    }
    let given = message.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    section::start(out, section::APPLICATION_PROPERTIES);
    encode::map(out, count, |out| {
        for (name, value) in created.into_iter().chain(given) {
            encode::string(out, name.as_bytes());
            encode::string(out, value.as_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use hubward_amqp::message::{Message, unbatch};
    use hubward_amqp::types::Symbol;

    use super::*;

    fn signal(body: &[u8]) -> D2cMessage {
        D2cMessage {
            body: Bytes::copy_from_slice(body),
            message_id: "j-1-7".into(),
            content_type: Some("application/json".into()),
            content_encoding: Some("utf-8".into()),
            creation_time_utc: Some("2026-11-22T22:19:00.123Z".into()),
            properties: vec![("topic".into(), "Temp".into()), ("signal".into(), "0".into())],
        }
    }

    #[test]
    fn one_message_travels_as_itself_with_all_it_carries() {
        let payload = payload(&[signal(b"{}")]).expect("small");
        assert_eq!(payload.format, FORMAT_AMQP);
        let message = Message::decode(&payload.bytes).expect("a message");
        assert_eq!(message.properties.message_id, Some("j-1-7".into()));
        assert_eq!(message.properties.content_type, Some(Symbol::from_static("application/json")));
        assert_eq!(message.properties.content_encoding, Some(Symbol::from_static("utf-8")));
        assert_eq!(message.properties.to, None);
        let properties: Vec<_> = message
            .application_properties
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().expect("IoT Hub takes strings only")))
            .collect();
        let created = ("iothub-creation-time-utc", "2026-11-22T22:19:00.123Z");
        assert_eq!(properties, [created, ("topic", "Temp"), ("signal", "0")]);
        assert_eq!(message.body_bytes().expect("data"), b"{}"[..]);
    }

    #[test]
    fn a_bare_message_has_an_id_and_a_body_of_any_bytes() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let bare = D2cMessage { body: every_byte.clone().into(), message_id: "1".into(), ..D2cMessage::default() };
        let message = Message::decode(&payload(&[bare]).expect("small").bytes).expect("a message");
        assert_eq!(message.body_bytes().expect("data"), every_byte);
        assert!(message.application_properties.is_empty());
        assert_eq!(message.properties.content_type, None);
    }

    #[test]
    fn several_messages_travel_as_a_batch_in_order() {
        let messages: Vec<_> = (0..3u8).map(|n| signal(&[n])).collect();
        let payload = payload(&messages).expect("small");
        assert_eq!(payload.format, FORMAT_BATCH);
        let bodies: Vec<_> = unbatch(&payload.bytes)
            .expect("a batch")
            .iter()
            .map(|bytes| Message::decode(bytes).expect("a message").body_bytes().expect("data"))
            .collect();
        assert_eq!(bodies, [vec![0], vec![1], vec![2]]);
    }

    #[test]
    fn what_the_hub_would_refuse_for_its_size_is_not_sent() {
        let exact = |size| D2cMessage { body: vec![0; size].into(), ..D2cMessage::default() };
        assert!(payload(&[exact(MAX_MESSAGE_BYTES)]).is_ok());
        let too_large = payload(&[exact(MAX_MESSAGE_BYTES + 1)]).expect_err("too large");
        assert_eq!(too_large, SendError::TooLarge { size: 262_145, limit: 262_144, unit: "bytes" });
        assert!(payload(&[exact(MAX_MESSAGE_BYTES / 2 + 1), exact(MAX_MESSAGE_BYTES / 2)]).is_err());
        assert!(payload(&vec![exact(1); MAX_BATCH_MESSAGES]).is_ok());
        let too_many = payload(&vec![exact(1); MAX_BATCH_MESSAGES + 1]).expect_err("too many");
        assert_eq!(too_many, SendError::TooLarge { size: 501, limit: 500, unit: "messages" });
    }
}
