//! What is derived from a full segment, so that it need not be read to be known. It may be lost or wrong: then it is
//! derived again.
//!
//! ```text
//! struct Index {
//!     head {                                  // 56 bytes
//!         magic: [u8; 8],                     // "HUBWARDI"
//!         format: u32,                        // 1
//!         marks: u32,                         // how many follow
//!         bytes: u64,                         // exclusive end of the last frame in the segment
//!         end: u64,                           // exclusive end of its serials
//!         last_received_at: i64,              // the largest in it
//!         body: u64,                          // bytes that follow the head
//!         body_crc: u32,                      // CRC32C of them
//!         crc: u32,                           // CRC32C of the 52 bytes before
//!     },
//!     marks: [{ serial: u64, at: u64 }],      // one frame every 64 KiB
//!     devices: [{ length: u8, id, last: u64 }],  // to the end: every device's last record up to here
//! }
//! ```

use std::collections::HashMap;

use hubward_model::{DeviceId, Offset, Timestamp};

/// Bytes of the head.
pub(crate) const HEAD_SIZE: usize = 56;
const MAGIC: &[u8; 8] = b"HUBWARDI";
const INDEX_FORMAT: u32 = 1;

/// A frame and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) serial: u64,
    pub(crate) at: u64,
}

/// Every device's last record.
pub(crate) type Devices = HashMap<DeviceId, Offset>;

/// What is known of a segment without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Exclusive end of the last frame in the file.
    pub(crate) bytes: u64,
    /// Exclusive end of its serials.
    pub(crate) end: u64,
    pub(crate) last_received_at: Timestamp,
}

/// The head of an index, and what is needed to check the rest.
pub(crate) struct Head {
    pub(crate) summary: Summary,
    marks: usize,
    body: usize,
    body_crc: u32,
}

pub(crate) fn encode(summary: Summary, marks: &[Mark], devices: &Devices) -> Vec<u8> {
    let mut body = Vec::with_capacity(marks.len() * 16 + devices.len() * 26);
    for mark in marks {
        body.extend_from_slice(&mark.serial.to_le_bytes());
        body.extend_from_slice(&mark.at.to_le_bytes());
    }
    for (device, last) in devices {
        body.push(u8::try_from(device.as_str().len()).unwrap_or(u8::MAX));
        body.extend_from_slice(device.as_str().as_bytes());
        body.extend_from_slice(&last.to_raw().to_le_bytes());
    }
    let mut out = Vec::with_capacity(HEAD_SIZE + body.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&INDEX_FORMAT.to_le_bytes());
    out.extend_from_slice(&u32::try_from(marks.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&summary.bytes.to_le_bytes());
    out.extend_from_slice(&summary.end.to_le_bytes());
    out.extend_from_slice(&summary.last_received_at.as_millis().to_le_bytes());
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&body);
    out
}

pub(crate) fn decode_head(bytes: &[u8]) -> Option<Head> {
    let bytes = bytes.first_chunk::<HEAD_SIZE>()?;
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    if &bytes[..8] != MAGIC || half(8) != INDEX_FORMAT || half(52) != crc32c::crc32c(&bytes[..52]) {
        return None;
    }
    Some(Head {
        summary: Summary {
            bytes: word(16),
            end: word(24),
            last_received_at: Timestamp::from_millis(i64::from_le_bytes(std::array::from_fn(|i| bytes[32 + i]))),
        },
        marks: usize::try_from(half(12)).ok()?,
        body: usize::try_from(word(40)).ok()?,
        body_crc: half(48),
    })
}

/// Marks and devices of a whole index file.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Summary, Vec<Mark>, Devices)> {
    let head = decode_head(bytes)?;
    let body = bytes.get(HEAD_SIZE..)?;
    if body.len() != head.body || crc32c::crc32c(body) != head.body_crc {
        return None;
    }
    let (marks, mut rest) = body.split_at_checked(head.marks.checked_mul(16)?)?;
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    let marks = marks.chunks_exact(16).map(|mark| Mark { serial: word(mark, 0), at: word(mark, 8) }).collect();
    let mut devices = Devices::new();
    while let Some((length, after)) = rest.split_first() {
        let (id, after) = after.split_at_checked(usize::from(*length))?;
        let (last, after) = after.split_at_checked(8)?;
        devices.insert(std::str::from_utf8(id).ok()?.parse().ok()?, Offset::from_raw(word(last, 0)));
        rest = after;
    }
    Some((head.summary, marks, devices))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_back_and_a_changed_one_is_not() {
        let summary = Summary { bytes: 1000, end: 70, last_received_at: Timestamp::from_millis(-4) };
        let marks = vec![Mark { serial: 3, at: 64 }, Mark { serial: 50, at: 700 }];
        let devices = Devices::from([(DeviceId::random(), Offset::from_raw(9)), (DeviceId::random(), Offset::START)]);
        let bytes = encode(summary, &marks, &devices);
        assert_eq!(decode(&bytes), Some((summary, marks, devices)));
        assert_eq!(decode_head(&bytes).map(|head| head.summary), Some(summary));
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            assert_eq!(decode(&bytes), None, "{at}");
        }
    }
}
