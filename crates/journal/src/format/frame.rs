//! One record on disk. The layout stands at the top of [`format`](super).

use bytes::Bytes;
use hubward_model::{DeviceId, Draft, Epoch, IntegrationId, Kind, Message, Offset, Qos, Record, Timestamp};

use super::{FORMAT, Newer};

/// The most bytes a frame may have. A journal record is an MQTT PUBLISH, which brokers keep far below it.
pub(crate) const MAX_FRAME: u64 = 16 << 20;
/// `length` and `crc`.
pub(crate) const PREFIX: usize = 8;
/// The numbers after the prefix.
const FIXED: usize = 40;
/// Fixed numbers and the lengths of all fields.
const MIN_BODY: usize = FIXED + 1 + 1 + 2 + 2 + 2 + 4;
const MARK: u8 = 0xA7;
const RETAIN: u8 = 4;
const CONTENT_TYPE: u8 = 8;

/// Where a record stands, beside what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: Offset,
    pub(crate) epoch: Epoch,
    /// How many frames of the same sync stand before it.
    pub(crate) batch: u32,
    /// Journal: the device's record before (0: none). Hold file: the entry's serial.
    pub(crate) link: u64,
}

/// A draft that no frame can hold: the size of what is too long, and the most that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge {
    pub(crate) bytes: u64,
    pub(crate) limit: u64,
}

/// Bytes that `draft` takes on disk, padding included.
pub(crate) fn size(draft: &Draft) -> Result<u64, TooLarge> {
    let Message { topic, payload, content_type, user_properties, .. } = &draft.message;
    let short = |length: usize, limit: usize| match length > limit {
        true => Err(TooLarge { bytes: length as u64, limit: limit as u64 }),
        false => Ok(length),
    };
    let text = usize::from(u16::MAX);
    let mut body = MIN_BODY;
    body += short(draft.device.as_ref().map_or(0, |id| id.as_str().len()), usize::from(u8::MAX))?;
    body += short(draft.only_for.as_ref().map_or(0, |id| id.as_str().len()), usize::from(u8::MAX))?;
    body += short(topic.len(), text)?;
    body += short(content_type.as_ref().map_or(0, String::len), text)?;
    short(user_properties.len(), text)?;
    for (name, value) in user_properties {
        body += 4 + short(name.len(), text)? + short(value.len(), text)?;
    }
    body += draft.note.len() + payload.len();
    let size = padded(PREFIX + body) as u64;
    if size > MAX_FRAME { Err(TooLarge { bytes: size, limit: MAX_FRAME }) } else { Ok(size) }
}

/// Appends the frame of `draft` to `out`. The draft's [`size`] was asked before, so every length fits its field.
pub(crate) fn encode(out: &mut Vec<u8>, place: Place, draft: &Draft) {
    let begin = out.len();
    let Message { topic, payload, qos, retain, content_type, user_properties } = &draft.message;
    let flags =
        u8::from(*qos) | if *retain { RETAIN } else { 0 } | if content_type.is_some() { CONTENT_TYPE } else { 0 };
    out.extend_from_slice(&[0; PREFIX]);
    out.extend_from_slice(&[FORMAT, kind_number(draft.kind), flags, MARK]);
    out.extend_from_slice(&place.batch.to_le_bytes());
    out.extend_from_slice(&place.offset.to_raw().to_le_bytes());
    out.extend_from_slice(&place.epoch.to_raw().to_le_bytes());
    out.extend_from_slice(&draft.received_at.as_millis().to_le_bytes());
    out.extend_from_slice(&place.link.to_le_bytes());
    put_short(out, draft.device.as_ref().map_or("", DeviceId::as_str));
    put_short(out, draft.only_for.as_ref().map_or("", IntegrationId::as_str));
    put_text(out, topic);
    put_text(out, content_type.as_deref().unwrap_or(""));
    out.extend_from_slice(&clamp16(user_properties.len()).to_le_bytes());
    for (name, value) in user_properties {
        put_text(out, name);
        put_text(out, value);
    }
    out.extend_from_slice(&clamp32(draft.note.len()).to_le_bytes());
    out.extend_from_slice(&draft.note);
    out.extend_from_slice(payload);

    let length = clamp32(out.len() - begin - PREFIX).to_le_bytes();
    let crc = checksum(length, &out[begin + PREFIX..]);
    out[begin..begin + 4].copy_from_slice(&length);
    out[begin + 4..begin + PREFIX].copy_from_slice(&crc.to_le_bytes());
    out.resize(begin + padded(out.len() - begin), 0);
}

/// A good frame: its numbers, and its body as a slice of what was read.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) place: Place,
    pub(crate) received_at: Timestamp,
    /// Bytes on disk, padding included.
    pub(crate) size: usize,
    kind: u8,
    flags: u8,
    /// The fields after the numbers.
    fields: Bytes,
}

/// What stands at the beginning of some bytes.
#[derive(Debug)]
pub(crate) enum Parsed {
    Frame(Frame),
    /// Zeros: nothing was written here.
    Nothing,
    /// It cannot be told without this many bytes.
    Incomplete(usize),
    Newer(Newer),
    Bad,
}

/// Reads the frame at the beginning of `bytes`.
pub(crate) fn parse(bytes: &Bytes) -> Parsed {
    let Some(prefix) = bytes.first_chunk::<PREFIX>() else { return Parsed::Incomplete(PREFIX) };
    if *prefix == [0; PREFIX] {
        return Parsed::Nothing;
    }
    let Some((length, crc)) = plausible(prefix) else { return Parsed::Bad };
    if bytes.len() < PREFIX + length {
        return Parsed::Incomplete(PREFIX + length);
    }
    let body = &bytes[PREFIX..PREFIX + length];
    if checksum(std::array::from_fn(|i| prefix[i]), body) != crc {
        return Parsed::Bad;
    }
    if body[0] > FORMAT {
        return Parsed::Newer(Newer { found: u32::from(body[0]) });
    }
    let word = |at: usize| -> [u8; 8] { std::array::from_fn(|i| body[at + i]) };
    Parsed::Frame(Frame {
        place: Place {
            batch: u32::from_le_bytes(std::array::from_fn(|i| body[4 + i])),
            offset: Offset::from_raw(u64::from_le_bytes(word(8))),
            epoch: Epoch::from_raw(u64::from_le_bytes(word(16))),
            link: u64::from_le_bytes(word(32)),
        },
        received_at: Timestamp::from_millis(i64::from_le_bytes(word(24))),
        size: padded(PREFIX + length),
        kind: body[1],
        flags: body[2],
        fields: bytes.slice(PREFIX + FIXED..PREFIX + length),
    })
}

/// Whether these bytes may begin a frame, cheaply; for the search after damage.
pub(crate) fn may_begin(bytes: &[u8]) -> bool {
    bytes.len() > PREFIX + 3
        && bytes[PREFIX + 3] == MARK
        && bytes[PREFIX] != 0
        && bytes.first_chunk::<PREFIX>().and_then(plausible).is_some()
}

impl Frame {
    /// The record; `None` if its kind is one that this version does not know.
    ///
    /// Small payloads get memory of their own, so that somebody who keeps one record keeps no whole block of the file.
    pub(crate) fn record(&self) -> Result<Option<Record>, Malformed> {
        let Some(kind) = kind_of(self.kind) else { return Ok(None) };
        let mut fields = Fields { bytes: &self.fields, at: 0 };
        let device = fields.short()?;
        let only_for = fields.short()?;
        let topic = fields.text()?.to_owned();
        let content_type = fields.text()?;
        let count = fields.u16()?;
        let mut user_properties = Vec::with_capacity(usize::from(count).min(64));
        for _ in 0..count {
            user_properties.push((fields.text()?.to_owned(), fields.text()?.to_owned()));
        }
        let note = fields.u32()?;
        let note = fields.bytes(usize::try_from(note).map_err(|_| Malformed)?)?;
        let payload = fields.bytes(self.fields.len() - fields.at)?;
        Ok(Some(Record {
            offset: self.place.offset,
            epoch: self.place.epoch,
            draft: Draft {
                kind,
                received_at: self.received_at,
                device: id::<DeviceId>(device)?,
                only_for: id::<IntegrationId>(only_for)?,
                message: Message {
                    topic,
                    payload,
                    qos: Qos::try_from(self.flags & 3).map_err(|_| Malformed)?,
                    retain: self.flags & RETAIN != 0,
                    content_type: (self.flags & CONTENT_TYPE != 0).then(|| content_type.to_owned()),
                    user_properties,
                },
                note,
            },
        }))
    }

    /// The device, if the frame has a readable one.
    pub(crate) fn device(&self) -> Option<DeviceId> {
        let mut fields = Fields { bytes: &self.fields, at: 0 };
        id::<DeviceId>(fields.short().ok()?).ok()?
    }
}

/// A frame with a good checksum whose fields contradict each other: written wrongly, so treated as damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Payloads and notes from this size on share the block that was read.
const SHARE_FROM: usize = 32 << 10;

struct Fields<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.take(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take(4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn short(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.take(1)?[0]);
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.u16()?);
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)
    }

    fn bytes(&mut self, length: usize) -> Result<Bytes, Malformed> {
        let at = self.at;
        let taken = self.take(length)?;
        Ok(if length < SHARE_FROM { Bytes::copy_from_slice(taken) } else { self.bytes.slice(at..at + length) })
    }
}

fn id<T: std::str::FromStr>(text: &str) -> Result<Option<T>, Malformed> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| Malformed) }
}

/// Length and checksum, if the length can be one.
fn plausible(prefix: &[u8; PREFIX]) -> Option<(usize, u32)> {
    let length = u32::from_le_bytes(std::array::from_fn(|i| prefix[i]));
    let crc = u32::from_le_bytes(std::array::from_fn(|i| prefix[4 + i]));
    let length = usize::try_from(length).ok()?;
    (length >= MIN_BODY && (PREFIX + length) as u64 <= MAX_FRAME).then_some((length, crc))
}

fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), body)
}

const fn padded(length: usize) -> usize {
    length.next_multiple_of(8)
}

fn put_short(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&clamp16(text.len()).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn clamp16(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

fn clamp32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

const fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Signal => 1,
        Kind::System => 2,
        Kind::Command => 3,
        Kind::Session => 4,
    }
}

const fn kind_of(number: u8) -> Option<Kind> {
    match number {
        1 => Some(Kind::Signal),
        2 => Some(Kind::System),
        3 => Some(Kind::Command),
        4 => Some(Kind::Session),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
