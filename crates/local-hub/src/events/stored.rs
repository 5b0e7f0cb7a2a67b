//! One event: as it is appended, as it lies in the journal, as it is delivered.
//!
//! In the journal's record the payload is the bare AMQP message (properties, application properties, body) in its
//! encoding; the note holds what the hub adds. Note, format 2, numbers big-endian: `2u8`, partition `u32`, sequence
//! number `i64`, how the sender was proved `u8`, what it was charged (`u16` for itself, `u16` for its transfer; not in
//! format 1, which is read still), then three texts (`u16` length and UTF-8): device id, generation id, and what else the
//! device put into the annotations, as pairs of texts, their count first (`u8`).

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hubward_amqp::message::{Body, Message};
use hubward_amqp::types::{Symbol, Value};
use hubward_model::{Draft, Kind, Record, Timestamp};

use crate::limits::Charge;

const NOTE_FORMAT: u8 = 2;
/// Without what the event was charged.
const EARLIER_FORMAT: u8 = 1;
/// Annotations of the device that are passed on (reference, 3.5).
const PASSED_ANNOTATIONS: [&str; 5] =
    ["iothub-interface-id", "dt-subject", "dt-dataschema", "Diagnostic-Id", "Correlation-Context"];

/// An event as the hub got it, not yet in its partition.
pub(crate) struct NewEvent {
    pub(crate) device_id: Arc<str>,
    pub(crate) generation_id: Arc<str>,
    pub(crate) method: AuthMethod,
    /// Annotations to pass on.
    pub(crate) annotations: Vec<(String, String)>,
    /// The bare message, encoded.
    pub(crate) message: Bytes,
    /// What it counts of the day's messages.
    pub(crate) charge: Charge,
}

/// How it was proved who sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthMethod {
    /// By a token made with the device's own key.
    DeviceSas,
    /// By a token made with a policy's key.
    HubSas,
    /// By the device's certificate.
    DeviceX509,
}

impl AuthMethod {
    const ALL: [Self; 3] = [Self::DeviceSas, Self::HubSas, Self::DeviceX509];

    /// As it stands in a note: its place in [`Self::ALL`].
    fn to_byte(self) -> u8 {
        match self {
            Self::DeviceSas => 0,
            Self::HubSas => 1,
            Self::DeviceX509 => 2,
        }
    }

    /// As readers see it (reference, 6.4).
    fn text(self) -> &'static str {
        match self {
            Self::DeviceSas => r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#,
            Self::HubSas => r#"{"scope":"hub","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#,
            // UNCONFIRMED (reference, 6.4): the issuer that the service names for a certificate.
            Self::DeviceX509 => r#"{"scope":"device","type":"x509","issuer":"external","acceptingIpFilterRule":null}"#,
        }
    }
}

impl NewEvent {
    /// The event that `device` means by `message`.
    pub(crate) fn from_message(
        device_id: Arc<str>,
        generation_id: Arc<str>,
        method: AuthMethod,
        message: Message,
    ) -> Self {
        let annotations = PASSED_ANNOTATIONS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), message.annotation(name)?.as_str()?.to_owned())))
            .collect();
        let mut bare = Message {
            properties: message.properties,
            application_properties: message.application_properties,
            body: message.body,
            ..Message::default()
        };
        // Every event tells where it came in; AMQP senders do not always say so.
        if bare.properties.to.is_none() {
            bare.properties.to = Some(format!("/devices/{device_id}/messages/events").into());
        }
        Self { device_id, generation_id, method, annotations, message: bare.to_bytes(), charge: Charge::default() }
    }

    /// The record to append: `sequence` is its number in `partition`.
    pub(super) fn to_draft(&self, partition: u32, sequence: i64, enqueued_at: Timestamp) -> Draft {
        let mut note = BytesMut::with_capacity(32 + self.device_id.len() + self.generation_id.len());
        note.put_u8(NOTE_FORMAT);
        note.put_u32(partition);
        note.put_i64(sequence);
        note.put_u8(self.method.to_byte());
        note.put_u16(self.charge.per_message);
        note.put_u16(self.charge.per_transfer);
        put_text(&mut note, &self.device_id);
        put_text(&mut note, &self.generation_id);
        note.put_u8(u8::try_from(self.annotations.len()).unwrap_or(0));
        for (name, value) in &self.annotations {
            put_text(&mut note, name);
            put_text(&mut note, value);
        }
        Draft {
            kind: Kind::Signal,
            received_at: enqueued_at,
            device: None,
            only_for: None,
            message: hubward_model::Message { payload: self.message.clone(), ..hubward_model::Message::default() },
            note: note.freeze(),
        }
    }
}

/// An event as it lies in the journal.
#[derive(Debug, Clone)]
pub(crate) struct StoredEvent {
    pub(crate) partition: u32,
    pub(crate) sequence: i64,
    /// Its place, which readers know as its offset.
    pub(crate) offset: u64,
    pub(crate) enqueued_at: Timestamp,
    device_id: String,
    generation_id: String,
    method: AuthMethod,
    annotations: Vec<(String, String)>,
    message: Bytes,
}

impl StoredEvent {
    /// The partition and sequence number of a record, without reading the rest; nothing if it is not one of ours.
    pub(crate) fn place(record: &Record) -> Option<(u32, i64)> {
        let mut note = record.note.as_ref();
        if note.len() < 14 || !matches!(note.get_u8(), NOTE_FORMAT | EARLIER_FORMAT) {
            return None;
        }
        Some((note.get_u32(), note.get_i64()))
    }

    /// What a record was charged; nothing if it is of an earlier format.
    pub(super) fn charge(record: &Record) -> Charge {
        let note = record.note.as_ref();
        match (note.first(), note.get(14..18)) {
            (Some(&NOTE_FORMAT), Some(mut charge)) => {
                Charge { per_message: charge.get_u16(), per_transfer: charge.get_u16() }
            }
            _ => Charge::default(),
        }
    }

    /// Reads a record.
    pub(crate) fn read(record: &Record) -> Option<Self> {
        let (partition, sequence) = Self::place(record)?;
        let mut note = record.note.get(13..)?;
        let method = *AuthMethod::ALL.get(usize::from(get_u8(&mut note)?))?;
        if record.note.first() == Some(&NOTE_FORMAT) {
            note = note.get(4..)?;
        }
        let device_id = get_text(&mut note)?;
        let generation_id = get_text(&mut note)?;
        let mut annotations = Vec::new();
        for _ in 0..get_u8(&mut note)? {
            annotations.push((get_text(&mut note)?, get_text(&mut note)?));
        }
        Some(Self {
            partition,
            sequence,
            offset: record.offset.to_raw(),
            enqueued_at: record.received_at,
            device_id,
            generation_id,
            method,
            annotations,
            message: record.message.payload.clone(),
        })
    }

    /// Appends the event as readers get it: the hub's annotations (reference, 6.4), then the message untouched.
    pub(crate) fn encode(&self, runtime: Option<&super::PartitionInfo>, now: Timestamp, out: &mut BytesMut) {
        let text = |text: &str| Value::String(text.into());
        let at = Value::Timestamp(self.enqueued_at.as_millis());
        let mut annotations = vec![
            (Symbol::from_static("iothub-connection-device-id"), text(&self.device_id)),
            (Symbol::from_static("iothub-connection-auth-method"), text(self.method.text())),
            (Symbol::from_static("iothub-connection-auth-generation-id"), text(&self.generation_id)),
            (Symbol::from_static("iothub-enqueuedtime"), at.clone()),
            (Symbol::from_static("iothub-message-source"), Value::String("Telemetry".into())),
            (Symbol::from_static("x-opt-sequence-number"), Value::Long(self.sequence)),
            (Symbol::from_static("x-opt-offset"), text(&self.offset.to_string())),
            (Symbol::from_static("x-opt-enqueued-time"), at),
        ];
        for (name, value) in &self.annotations {
            annotations.push((name.as_str().into(), text(value)));
        }
        let delivery_annotations = runtime.map(|info| {
            vec![
                (Symbol::from_static("last_enqueued_sequence_number"), Value::Long(info.last.sequence)),
                (Symbol::from_static("last_enqueued_offset"), text(&info.last.offset_text())),
                (Symbol::from_static("last_enqueued_time_utc"), Value::Timestamp(info.last.enqueued_at.as_millis())),
                (Symbol::from_static("runtime_info_retrieval_time_utc"), Value::Timestamp(now.as_millis())),
            ]
        });
        let added = Message {
            delivery_annotations: delivery_annotations.unwrap_or_default(),
            message_annotations: annotations,
            ..Message::default()
        };
        added.encode(out);
        out.extend_from_slice(&self.message);
    }

    /// The event in the form that tests and tools read.
    pub(crate) fn into_event(self) -> Option<Event> {
        let message = Message::decode(&self.message).ok()?;
        let symbol = |symbol: Option<Symbol>| symbol.map(|symbol| symbol.to_string());
        Some(Event {
            device_id: self.device_id,
            partition: self.partition,
            sequence_number: self.sequence,
            offset: self.offset.to_string(),
            enqueued_at: self.enqueued_at,
            message_id: message.properties.message_id.and_then(|id| id_text(&id)),
            content_type: symbol(message.properties.content_type),
            content_encoding: symbol(message.properties.content_encoding),
            properties: message
                .application_properties
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_string(), value.as_str()?.to_owned())))
                .collect(),
            body: match message.body {
                Body::Data(data) => data,
                Body::DataSections(sections) => sections.concat().into(),
                Body::Empty | Body::Value(_) | Body::Sequence(_) => Bytes::new(),
            },
        })
    }
}

/// An event the hub has accepted and holds on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The device that sent it.
    pub device_id: String,
    /// The partition it is in.
    pub partition: u32,
    /// Its number in the partition.
    pub sequence_number: i64,
    /// Its offset, as readers see it.
    pub offset: String,
    /// When the hub took it.
    pub enqueued_at: Timestamp,
    /// The sender's message-id, if it is a text, a uuid or a number.
    pub message_id: Option<String>,
    /// The sender's content type.
    pub content_type: Option<String>,
    /// The sender's content encoding.
    pub content_encoding: Option<String>,
    /// The sender's application properties that are texts, in its order.
    pub properties: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Bytes,
}

fn id_text(id: &Value) -> Option<String> {
    match id {
        Value::Uuid(bytes) => Some(uuid::Uuid::from_bytes(*bytes).to_string()),
        Value::Ulong(number) => Some(number.to_string()),
        other => other.as_str().map(str::to_owned),
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    let mut length = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    out.put_u16(u16::try_from(length).unwrap_or(u16::MAX));
    out.put_slice(&text.as_bytes()[..length]);
}

fn get_u8(from: &mut &[u8]) -> Option<u8> {
    let (first, rest) = from.split_first()?;
    *from = rest;
    Some(*first)
}

fn get_text(from: &mut &[u8]) -> Option<String> {
    let (length, rest) = from.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *from = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_every_type_that_sdks_send_have_a_text() {
        // Node sends a text that looks like a uuid as a uuid.
        assert_eq!(id_text(&Value::Uuid([0x11; 16])).unwrap(), "11111111-1111-1111-1111-111111111111");
        assert_eq!(id_text(&Value::Ulong(7)).unwrap(), "7");
        assert_eq!(id_text(&Value::String("m".into())).unwrap(), "m");
    }
}
