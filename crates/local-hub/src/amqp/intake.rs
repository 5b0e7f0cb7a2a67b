//! A device's transfer taken apart and checked, before anything of it is stored.

use std::sync::Arc;

use bytes::Bytes;
use hubward_amqp::message::{Body, FORMAT_AMQP, FORMAT_BATCH, Message, Properties, unbatch};
use hubward_amqp::performative::{Error, condition};
use hubward_amqp::types::{Symbol, Value};

use crate::events::{AuthScope, NewEvent};

/// What a message may have by the service's formula (reference, 7.1).
pub(super) const MAX_MESSAGE: usize = 256 * 1024;
/// What the service documents for a whole batch (reference, 3.6).
const DOCUMENTED_BATCH: (usize, usize) = (256 * 1024, 500);

/// Who sent a transfer.
pub(super) struct Sender<'a> {
    pub(super) device_id: &'a Arc<str>,
    pub(super) generation_id: &'a Arc<str>,
    pub(super) scope: AuthScope,
}

/// The events in a transfer. One that cannot be taken refuses the whole.
pub(super) fn events(sender: &Sender<'_>, format: u32, payload: &Bytes) -> Result<Vec<NewEvent>, Error> {
    let undecodable = |_| Error::new(condition::DECODE_ERROR, "the message cannot be decoded");
    let encoded = match format {
        FORMAT_AMQP => vec![payload.clone()],
        FORMAT_BATCH => unbatch(payload).map_err(undecodable)?,
        _ => return Err(Error::new(condition::NOT_IMPLEMENTED, format!("message format {format:#x} is not known"))),
    };
    if encoded.is_empty() {
        return Err(Error::new(Symbol::from_static("com.microsoft:argument-error"), "the batch is empty"));
    }
    let mut total = 0;
    let mut events = Vec::with_capacity(encoded.len());
    for encoded in &encoded {
        let message = Message::decode(encoded).map_err(undecodable)?;
        let size = size(&message);
        if size > MAX_MESSAGE {
            let text = format!("the message has {size} bytes, {MAX_MESSAGE} are allowed");
            return Err(Error::new(condition::MESSAGE_SIZE_EXCEEDED, text));
        }
        total += size;
        let event =
            NewEvent::from_message(sender.device_id.clone(), sender.generation_id.clone(), sender.scope, message);
        events.push(event);
    }
    // UNCONFIRMED (reference, 3.6): whether the service holds the batch as a whole to these. The C SDK sends larger ones,
    // so they are taken up to the link's max-message-size.
    if total > DOCUMENTED_BATCH.0 || events.len() > DOCUMENTED_BATCH.1 {
        tracing::warn!(
            device = &**sender.device_id,
            bytes = total,
            messages = events.len(),
            "a batch beyond the documented 256 KB or 500 messages: the real hub might refuse it"
        );
    }
    Ok(events)
}

/// The service's size of a message: the body, the values of system properties, names and values of the others.
pub(super) fn size(message: &Message) -> usize {
    let body = match &message.body {
        Body::Empty => 0,
        Body::Data(data) => data.len(),
        Body::DataSections(sections) => sections.iter().map(Bytes::len).sum(),
        Body::Value(value) => value_size(value),
        Body::Sequence(sequences) => sequences.iter().flatten().map(value_size).sum(),
    };
    let properties: usize =
        message.application_properties.iter().map(|(name, value)| name.len() + value_size(value)).sum();
    body + system_size(&message.properties) + properties
}

fn system_size(properties: &Properties) -> usize {
    let Properties {
        message_id,
        user_id,
        to,
        subject,
        reply_to,
        correlation_id,
        content_type,
        content_encoding,
        absolute_expiry_time,
        creation_time,
        group_id,
        group_sequence,
        reply_to_group_id,
    } = properties;
    let texts = [to, subject, reply_to, group_id, reply_to_group_id].into_iter().flatten().map(|text| text.len());
    let symbols = [content_type, content_encoding].into_iter().flatten().map(|symbol| symbol.len());
    let ids = [message_id, correlation_id].into_iter().flatten().map(value_size);
    let times = [absolute_expiry_time, creation_time].into_iter().flatten().map(|_| 8);
    texts.chain(symbols).chain(ids).chain(times).sum::<usize>()
        + user_id.as_ref().map_or(0, Bytes::len)
        + group_sequence.map_or(0, |_| 4)
}

fn value_size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Symbol(symbol) => symbol.len(),
        Value::Binary(bytes) => bytes.len(),
        Value::Null => 0,
        Value::Uuid(_) => 16,
        Value::List(items) => items.iter().map(value_size).sum(),
        Value::Map(entries) => entries.iter().map(|(key, value)| value_size(key) + value_size(value)).sum(),
        Value::Array(array) => array.items().iter().map(value_size).sum(),
        Value::Described(described) => value_size(&described.value),
        _ => 8,
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn take(format: u32, payload: &Bytes) -> Result<Vec<NewEvent>, Error> {
        let (device_id, generation_id) = ("d".into(), "1".into());
        let sender = Sender { device_id: &device_id, generation_id: &generation_id, scope: AuthScope::Device };
        events(&sender, format, payload)
    }

    #[test]
    fn the_size_counts_body_system_values_and_property_names_and_values() {
        let mut message = Message::data(vec![0; 100]);
        message.properties.message_id = Some("12345".into());
        message.properties.content_type = Some(Symbol::from_static("text/plain"));
        message.application_properties = vec![("name".into(), "value".into())];
        assert_eq!(size(&message), 100 + 5 + 10 + 4 + 5);
    }

    #[test]
    fn a_message_of_256_kb_is_taken_and_one_byte_more_refuses_its_whole_batch() {
        let fits = Message::data(vec![7; MAX_MESSAGE]).to_bytes();
        assert_eq!(take(FORMAT_AMQP, &fits).unwrap().len(), 1);
        let too_large = Message::data(vec![7; MAX_MESSAGE + 1]);
        let mut batch = bytes::BytesMut::new();
        for message in [&Message::data("small"), &too_large] {
            hubward_amqp::message::append_to_batch(&mut batch, |out| message.encode(out));
        }
        let refused = take(FORMAT_BATCH, &batch.freeze()).err().unwrap();
        assert_eq!(refused.condition, condition::MESSAGE_SIZE_EXCEEDED);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert_eq!(take(FORMAT_AMQP, &Bytes::from_static(b"\xff")).err().unwrap().condition, condition::DECODE_ERROR);
        assert_eq!(take(7, &Bytes::new()).err().unwrap().condition, condition::NOT_IMPLEMENTED);
    }
}
