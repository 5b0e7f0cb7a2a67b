//! The size of a message, by the service's formula (reference, 7.1): the same for every way a message comes in.

use bytes::Bytes;
use hubward_amqp::message::{Body, Message, Properties};
use hubward_amqp::types::Value;

/// What a message from a device may have.
pub(crate) const MAX_MESSAGE: usize = 256 * 1024;

/// The service's size of a message: the body, the values of system properties, names and values of the others.
pub(crate) fn message_size(message: &Message) -> usize {
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
mod tests {
    use hubward_amqp::types::Symbol;

    use super::*;

    #[test]
    fn the_size_counts_body_system_values_and_property_names_and_values() {
        let mut message = Message::data(vec![0; 100]);
        message.properties.message_id = Some("12345".into());
        message.properties.content_type = Some(Symbol::from_static("text/plain"));
        message.application_properties = vec![("name".into(), "value".into())];
        assert_eq!(message_size(&message), 100 + 5 + 10 + 4 + 5);
    }
}
