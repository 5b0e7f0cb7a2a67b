//! What the broker writes into a record for itself, in the record's note.
//!
//! Format: a version byte, then entries of tag (1 byte), length (2 bytes, big-endian) and value. Unknown tags are
//! skipped, so a newer broker may add some. A session is named by a hash: its client id may be a secret.

use bytes::{BufMut, Bytes, BytesMut};
use hubward_mqtt::protocol::{PacketId, PublishProperties};
use sha2::{Digest, Sha256};

use crate::auth::Owner;

const FORMAT: u8 = 1;

mod tag {
    pub(super) const SESSION: u8 = 1;
    pub(super) const RECEIVED: u8 = 2;
    pub(super) const RELEASED: u8 = 3;
    pub(super) const RESPONSE_TOPIC: u8 = 4;
    pub(super) const CORRELATION_DATA: u8 = 5;
    pub(super) const PAYLOAD_IS_TEXT: u8 = 6;
    pub(super) const MESSAGE_EXPIRY: u8 = 7;
}

/// A session in records: half a SHA-256 of owner and client id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId([u8; 16]);

impl SessionId {
    pub(crate) fn new(owner: &Owner, client_id: &str) -> Self {
        let (kind, id) = match owner {
            Owner::Device(id) => ("device", id.as_str()),
            Owner::App(id) => ("app", id.as_str()),
        };
        Self(hash_of(["hubward session", kind, id, client_id]))
    }
}

/// A shared subscription in records: a hash of its group's name and its filter. Of a message each gets one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupId([u8; 8]);

impl GroupId {
    pub(crate) fn new(name: &str, filter: &str) -> Self {
        Self(hash_of(["hubward group", name, filter]))
    }

    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

/// The beginning of a SHA-256 of `parts`, which cannot be mistaken for other parts.
fn hash_of<const PARTS: usize, const BYTES: usize>(parts: [&str; PARTS]) -> [u8; BYTES] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut beginning = [0; BYTES];
    beginning.copy_from_slice(&hash.finalize()[..BYTES]);
    beginning
}

/// A note's content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Note {
    /// The session that published the message.
    pub(crate) session: Option<SessionId>,
    /// The packet id under which a message of quality of service 2 was received.
    pub(crate) received: Option<PacketId>,
    /// The packet id that was released.
    pub(crate) released: Option<PacketId>,
    /// MQTT 5 response topic.
    pub(crate) response_topic: Option<String>,
    /// MQTT 5 correlation data.
    pub(crate) correlation_data: Option<Bytes>,
    /// MQTT 5 payload format indicator.
    pub(crate) payload_is_text: Option<bool>,
    /// MQTT 5 message expiry, in seconds after it was received.
    pub(crate) message_expiry: Option<u32>,
}

impl Note {
    /// Takes over what of a message's properties has no place in the record itself.
    pub(crate) fn keep(&mut self, properties: &mut PublishProperties) {
        self.response_topic = properties.response_topic.take();
        self.correlation_data = properties.correlation_data.take();
        self.payload_is_text = properties.payload_is_text;
        self.message_expiry = properties.message_expiry;
    }

    pub(crate) fn encode(&self) -> Bytes {
        if *self == Self::default() { Bytes::new() } else { self.begin().freeze() }
    }

    /// The beginning of a note, to which more entries may be [`put`].
    pub(crate) fn begin(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(32);
        out.put_u8(FORMAT);
        if let Some(session) = &self.session {
            put(&mut out, tag::SESSION, &session.0);
        }
        if let Some(id) = self.received {
            put(&mut out, tag::RECEIVED, &id.get().to_be_bytes());
        }
        if let Some(id) = self.released {
            put(&mut out, tag::RELEASED, &id.get().to_be_bytes());
        }
        if let Some(topic) = &self.response_topic {
            put(&mut out, tag::RESPONSE_TOPIC, topic.as_bytes());
        }
        if let Some(data) = &self.correlation_data {
            put(&mut out, tag::CORRELATION_DATA, data);
        }
        if let Some(is_text) = self.payload_is_text {
            put(&mut out, tag::PAYLOAD_IS_TEXT, &[u8::from(is_text)]);
        }
        if let Some(seconds) = self.message_expiry {
            put(&mut out, tag::MESSAGE_EXPIRY, &seconds.to_be_bytes());
        }
        out
    }

    /// Reads a note; what cannot be read is as if it were not there.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let mut note = Self::default();
        for (tag, value) in entries(bytes) {
            match tag {
                tag::SESSION => note.session = value.try_into().ok().map(SessionId),
                tag::RECEIVED => note.received = packet_id(value),
                tag::RELEASED => note.released = packet_id(value),
                tag::RESPONSE_TOPIC => note.response_topic = std::str::from_utf8(value).ok().map(str::to_owned),
                tag::CORRELATION_DATA => note.correlation_data = Some(Bytes::copy_from_slice(value)),
                tag::PAYLOAD_IS_TEXT => note.payload_is_text = value.first().map(|flag| *flag == 1),
                tag::MESSAGE_EXPIRY => note.message_expiry = value.try_into().ok().map(u32::from_be_bytes),
                _ => {}
            }
        }
        note
    }
}

/// The entries of a note, as far as they can be read.
pub(crate) fn entries(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes.strip_prefix(&[FORMAT]).unwrap_or_default();
    std::iter::from_fn(move || {
        let [tag, high, low, value @ ..] = rest else { return None };
        let (value, after) = value.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        rest = after;
        Some((*tag, value))
    })
}

fn packet_id(value: &[u8]) -> Option<PacketId> {
    PacketId::new(u16::from_be_bytes(value.try_into().ok()?))
}

/// Adds an entry.
pub(crate) fn put(out: &mut BytesMut, tag: u8, value: &[u8]) {
    // Texts and binaries of MQTT are at most 65,535 bytes long.
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.put_u8(tag);
    out.put_u16(length);
    out.put_slice(&value[..usize::from(length)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_and_an_empty_one_takes_no_room() {
        let note = Note {
            session: Some(SessionId::new(&Owner::App("t".into()), "client")),
            received: PacketId::new(7),
            released: PacketId::new(65_535),
            response_topic: Some("a/b".into()),
            correlation_data: Some(Bytes::from_static(b"\0\x01")),
            payload_is_text: Some(false),
            message_expiry: Some(60),
        };
        assert_eq!(Note::decode(&note.encode()), note);
        assert!(Note::default().encode().is_empty());
        assert_eq!(Note::decode(&[]), Note::default());
        assert_eq!(Note::decode(&[9, 1, 0, 1, 0]), Note::default());
        let mut newer = note.encode().to_vec();
        newer.extend_from_slice(&[200, 0, 1, 5]);
        assert_eq!(Note::decode(&newer), note);
    }

    #[test]
    fn another_owners_session_has_another_id() {
        let (a, b) = (Owner::Device("a".parse().unwrap()), Owner::App("a".into()));
        assert_ne!(SessionId::new(&a, "x"), SessionId::new(&b, "x"));
        assert_ne!(SessionId::new(&a, "x"), SessionId::new(&a, "y"));
    }
}
