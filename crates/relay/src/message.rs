//! A record as a device-to-cloud message.

use std::fmt::Write as _;

use bytes::Bytes;
use hubward_iothub::message::{CREATION_TIME_PROPERTY, D2cMessage, printable};
use hubward_model::{BodyFormat, DeviceId, DeviceName, JournalId, MessageId, Record, pybytes};

/// Property with the integration's message topic.
pub const TOPIC_PROPERTY: &str = "topic";
/// Property with the signal number of a Pybytes frame.
pub const SIGNAL_PROPERTY: &str = "signal";
/// Property that marks a test message.
pub const TEST_PROPERTY: &str = "hubward-test";
/// Content type of a raw body when neither the publisher nor the integration names one.
pub const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// A message topic with its placeholders: `{name}`, `{id}`, `{signal}`, `{mqtt_topic}`. Other braces are plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTemplate {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name,
    Id,
    Signal,
    MqttTopic,
}

impl TopicTemplate {
    /// Takes `topic` apart.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        let placeholders = [
            ("{name}", Piece::Name),
            ("{id}", Piece::Id),
            ("{signal}", Piece::Signal),
            ("{mqtt_topic}", Piece::MqttTopic),
        ];
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = topic;
        'rest: while let Some(first) = rest.chars().next() {
            for (word, piece) in &placeholders {
                if let Some(after) = rest.strip_prefix(word) {
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    pieces.push(piece.clone());
                    rest = after;
                    continue 'rest;
                }
            }
            text.push(first);
            rest = &rest[first.len_utf8()..];
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Self { pieces }
    }

    /// Whether the device's name stands in it.
    #[must_use]
    pub fn wants_name(&self) -> bool {
        self.pieces.contains(&Piece::Name)
    }

    fn fill(&self, sender: &Sender<'_>, record: &Record, signal: Option<u8>) -> String {
        let mut filled = String::with_capacity(32);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Name => filled.push_str(sender.name.map_or("", DeviceName::as_str)),
                Piece::Id => filled.push_str(sender.device.as_str()),
                Piece::Signal => {
                    if let Some(number) = signal {
                        // Writing to a String does not fail.
                        let _ = write!(filled, "{number}");
                    }
                }
                Piece::MqttTopic => filled.push_str(&record.message.topic),
            }
        }
        into_printable(filled)
    }
}

/// What an integration's settings say about its messages.
#[derive(Debug, Clone)]
pub struct MessageTerms {
    /// The property `topic`.
    pub topic: TopicTemplate,
    /// What the body is.
    pub body: BodyFormat,
    /// Content type of raw bodies whose publisher named none.
    pub content_type: Option<String>,
}

/// Whose message it is.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// The journal the record is in.
    pub journal: &'a JournalId,
    /// The device.
    pub device: &'a DeviceId,
    /// Its name, if the topic wants it.
    pub name: Option<&'a DeviceName>,
    /// Its payloads are Pybytes frames.
    pub pybytes: bool,
}

/// The message for `record`.
///
/// User properties are forwarded after ours; of two with one name the first counts, and ours win. What is not printable
/// ASCII in names and values is percent-encoded, so that all transports carry the same.
#[must_use]
pub fn build(record: &Record, sender: &Sender<'_>, terms: &MessageTerms) -> D2cMessage {
    let message = &record.message;
    let signal = if sender.pybytes { pybytes::signal_number(&message.payload) } else { None };
    let (body, content_type, content_encoding) = match terms.body {
        BodyFormat::Raw => {
            let named = message.content_type.as_deref().or(terms.content_type.as_deref());
            let content_type = printable(named.unwrap_or(DEFAULT_CONTENT_TYPE)).into_owned();
            (message.payload.clone(), content_type, None)
        }
        BodyFormat::Json => {
            let body = Bytes::from(pybytes::body_json(&message.payload, sender.pybytes));
            (body, "application/json".to_owned(), Some("utf-8".to_owned()))
        }
    };
    let mut properties = Vec::with_capacity(3 + message.user_properties.len());
    properties.push((TOPIC_PROPERTY.to_owned(), terms.topic.fill(sender, record, signal)));
    if let Some(number) = signal {
        properties.push((SIGNAL_PROPERTY.to_owned(), number.to_string()));
    }
    if is_test(record) {
        properties.push((TEST_PROPERTY.to_owned(), "true".to_owned()));
    }
    for (name, value) in &message.user_properties {
        let name = printable(name);
        let ours = name == TEST_PROPERTY || name == CREATION_TIME_PROPERTY;
        if !ours && !properties.iter().any(|(known, _)| *known == name) {
            properties.push((name.into_owned(), printable(value).into_owned()));
        }
    }
    D2cMessage {
        body,
        message_id: String::from(message_id(record, sender.journal).as_str()),
        content_type: Some(content_type),
        content_encoding,
        creation_time_utc: Some(record.received_at.to_string()),
        properties,
    }
}

/// The message-id of `record`: stable over retries and restarts.
#[must_use]
pub fn message_id(record: &Record, journal: &JournalId) -> MessageId {
    MessageId::new(journal, record.epoch, record.offset)
}

/// How many messages of 4 KB a hub's meter counts for one of `size` bytes.
#[must_use]
pub fn units_4k(size: usize) -> u64 {
    (size as u64).div_ceil(4096).max(1)
}

/// How many messages of 0.5 KB the meter of a free hub counts for one of `size` bytes.
pub(crate) fn units_half_k(size: usize) -> u64 {
    (size as u64).div_ceil(512).max(1)
}

/// Whether `record` is a test message.
#[must_use]
pub fn is_test(record: &Record) -> bool {
    record.only_for.is_some()
}

fn into_printable(text: String) -> String {
    match printable(&text) {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(escaped) => escaped,
    }
}

#[cfg(test)]
mod tests;
