//! Messages for property tests.

use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::types::Symbol;
use crate::types::strategies::{binary, fields, symbol, text, value};

fn header() -> impl Strategy<Value = Header> {
    (of(any::<bool>()), of(any::<u8>()), of(any::<u32>()), of(any::<bool>()), of(any::<u32>())).prop_map(
        |(durable, priority, ttl, first_acquirer, delivery_count)| Header {
            durable,
            priority,
            ttl,
            first_acquirer,
            delivery_count,
        },
    )
}

fn id() -> impl Strategy<Value = Option<Value>> {
    of(prop_oneof![
        any::<u64>().prop_map(Value::Ulong),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        binary().prop_map(Value::Binary),
        text().prop_map(Value::String),
    ])
}

fn properties() -> impl Strategy<Value = Properties> {
    let texts = (of(text()), of(text()), of(text()), of(text()), of(text()));
    let symbols: (_, _) = (of(symbol()), of(symbol()));
    let numbers = (of(any::<i64>()), of(any::<i64>()), of(any::<u32>()));
    (id(), id(), of(binary()), texts, symbols, numbers).prop_map(
        |(message_id, correlation_id, user_id, texts, symbols, numbers)| {
            let (to, subject, reply_to, group_id, reply_to_group_id) = texts;
            let (content_type, content_encoding): (Option<Symbol>, Option<Symbol>) = symbols;
            let (absolute_expiry_time, creation_time, group_sequence) = numbers;
            Properties {
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
            }
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::Empty),
        binary().prop_map(Body::Data),
        prop::collection::vec(binary(), 2..4).prop_map(Body::DataSections),
        value().prop_map(Body::Value),
        prop::collection::vec(prop::collection::vec(value(), 0..3), 1..3).prop_map(Body::Sequence),
    ]
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    let application_properties = prop::collection::vec((text(), value()), 0..4);
    (of(header()), fields(), fields(), properties(), application_properties, body(), fields()).prop_map(
        |(header, delivery_annotations, message_annotations, properties, application_properties, body, footer)| {
            Message {
                header,
                delivery_annotations,
                message_annotations,
                properties,
                application_properties,
                body,
                footer,
            }
        },
    )
}
