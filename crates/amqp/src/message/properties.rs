use bytes::Bytes;

use crate::types::{Composite, DecodeError, Symbol, Text, Value};

/// How a message is to be delivered (AMQP 1.0, 3.2.1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// Must survive the loss of a node.
    pub durable: Option<bool>,
    /// Higher goes first; 4 when absent.
    pub priority: Option<u8>,
    /// Milliseconds to live.
    pub ttl: Option<u32>,
    /// No other link has had it before.
    pub first_acquirer: Option<bool>,
    /// Failed attempts so far.
    pub delivery_count: Option<u32>,
}

/// The standard properties (AMQP 1.0, 3.2.4). The default is the same as no such section.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// A ulong, uuid, binary or string.
    pub message_id: Option<Value>,
    /// Who made the message.
    pub user_id: Option<Bytes>,
    /// The node it goes to.
    pub to: Option<Text>,
    /// What it is about.
    pub subject: Option<Text>,
    /// The node that answers go to.
    pub reply_to: Option<Text>,
    /// A ulong, uuid, binary or string. An answer carries the message-id of the question here, in the same type.
    pub correlation_id: Option<Value>,
    /// The MIME type of the body.
    pub content_type: Option<Symbol>,
    /// The encoding of the body.
    pub content_encoding: Option<Symbol>,
    /// When it expires: milliseconds since the Unix epoch.
    pub absolute_expiry_time: Option<i64>,
    /// When it was made: milliseconds since the Unix epoch.
    pub creation_time: Option<i64>,
    /// The group it belongs to.
    pub group_id: Option<Text>,
    /// Its place in the group.
    pub group_sequence: Option<u32>,
    /// The group of the answer.
    pub reply_to_group_id: Option<Text>,
}

impl Header {
    pub(super) fn from_fields(mut fields: Composite<'_>) -> Result<Header, DecodeError> {
        Ok(Header {
            durable: fields.boolean()?,
            priority: fields.ubyte()?,
            ttl: fields.uint()?,
            first_acquirer: fields.boolean()?,
            delivery_count: fields.uint()?,
        })
    }
}

impl Properties {
    pub(super) fn from_fields(mut fields: Composite<'_>) -> Result<Properties, DecodeError> {
        Ok(Properties {
            message_id: some(fields.value()?),
            user_id: fields.binary()?,
            to: fields.text()?,
            subject: fields.text()?,
            reply_to: fields.text()?,
            correlation_id: some(fields.value()?),
            content_type: fields.symbol()?,
            content_encoding: fields.symbol()?,
            absolute_expiry_time: fields.timestamp()?,
            creation_time: fields.timestamp()?,
            group_id: fields.text()?,
            group_sequence: fields.uint()?,
            reply_to_group_id: fields.text()?,
        })
    }

    /// How many fields there are up to the last that is set.
    pub(super) fn used(&self) -> usize {
        let set = [
            self.message_id.is_some(),
            self.user_id.is_some(),
            self.to.is_some(),
            self.subject.is_some(),
            self.reply_to.is_some(),
            self.correlation_id.is_some(),
            self.content_type.is_some(),
            self.content_encoding.is_some(),
            self.absolute_expiry_time.is_some(),
            self.creation_time.is_some(),
            self.group_id.is_some(),
            self.group_sequence.is_some(),
            self.reply_to_group_id.is_some(),
        ];
        set.iter().rposition(|set| *set).map_or(0, |last| last + 1)
    }
}

fn some(value: Value) -> Option<Value> {
    (value != Value::Null).then_some(value)
}
