//! Messages: the sections of AMQP 1.0, part 3.2, and the batches of Service Bus, Event Hubs and IoT Hub.

mod batch;
mod decode;
mod properties;
pub mod section;

use bytes::{Bytes, BytesMut};

use crate::types::{DecodeError, Fields, Text, Value};

pub use batch::{append_to_batch, unbatch};
pub use properties::{Header, Properties};

/// The message format of one AMQP message (AMQP 1.0, 2.8.11).
pub const FORMAT_AMQP: u32 = 0;

/// The message format of a batch: data sections, each of which holds one whole encoded message.
pub const FORMAT_BATCH: u32 = 0x8001_3700;

/// A message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// How it is to be delivered.
    pub header: Option<Header>,
    /// Annotations for the next hop.
    pub delivery_annotations: Fields,
    /// Annotations for the whole way; IoT Hub says here which device sent the message.
    pub message_annotations: Fields,
    /// The standard properties.
    pub properties: Properties,
    /// The sender's own properties. IoT Hub takes string values only.
    pub application_properties: Vec<(Text, Value)>,
    /// The content.
    pub body: Body,
    /// Checksums and the like.
    pub footer: Fields,
}

/// A message's content (AMQP 1.0, 3.2.6 to 3.2.8).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Body {
    /// No body section.
    #[default]
    Empty,
    /// One data section.
    Data(Bytes),
    /// Several data sections.
    DataSections(Vec<Bytes>),
    /// One value; CBS carries its token so.
    Value(Value),
    /// Sequence sections.
    Sequence(Vec<Vec<Value>>),
}

impl Message {
    /// A message with one data section.
    pub fn data(body: impl Into<Bytes>) -> Message {
        Message { body: Body::Data(body.into()), ..Message::default() }
    }

    /// A message with a value as its body.
    pub fn value(body: impl Into<Value>) -> Message {
        Message { body: Body::Value(body.into()), ..Message::default() }
    }

    /// Reads an encoded message. Text and binaries share `encoded`.
    pub fn decode(encoded: &Bytes) -> Result<Message, DecodeError> {
        decode::message(encoded)
    }

    /// Appends the encoded message to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        if let Some(header) = &self.header {
            section::header(out, header);
        }
        section::annotations(out, section::DELIVERY_ANNOTATIONS, &self.delivery_annotations);
        section::annotations(out, section::MESSAGE_ANNOTATIONS, &self.message_annotations);
        section::properties(out, &self.properties);
        section::application_properties(out, &self.application_properties);
        match &self.body {
            Body::Empty => {}
            Body::Data(bytes) => section::data(out, bytes),
            Body::DataSections(sections) => sections.iter().for_each(|bytes| section::data(out, bytes)),
            Body::Value(value) => section::value(out, value),
            Body::Sequence(sequences) => sequences.iter().for_each(|items| section::sequence(out, items)),
        }
        section::annotations(out, section::FOOTER, &self.footer);
    }

    /// The encoded message.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        self.encode(&mut out);
        out.freeze()
    }

    /// An application property.
    pub fn application_property(&self, name: &str) -> Option<&Value> {
        self.application_properties.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// A message annotation.
    pub fn annotation(&self, name: &str) -> Option<&Value> {
        self.message_annotations.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The bytes of one data section, or of several put together. Other bodies have none.
    pub fn body_bytes(&self) -> Option<Bytes> {
        match &self.body {
            Body::Empty => Some(Bytes::new()),
            Body::Data(bytes) => Some(bytes.clone()),
            Body::DataSections(sections) => Some(sections.concat().into()),
            Body::Value(Value::Binary(bytes)) => Some(bytes.clone()),
            Body::Value(_) | Body::Sequence(_) => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod strategies;
#[cfg(test)]
mod tests;
