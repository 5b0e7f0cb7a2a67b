//! One settled delivery, as it stands in the ring: 64 bytes.
//!
//! ```text
//! number: u64        // of the delivery in this integration; rises by one
//! offset: u64        // of the record
//! device: u64        // hash of the device id: an offset of another journal is not mistaken for this one
//! received_at: i64   // milliseconds since 1970-01-01 UTC, like the next three
//! durable_at: i64    // i64::MIN: not known
//! first_sent_at: i64 // i64::MIN: not known
//! settled_at: i64
//! attempts: u16      // 65535: so many or more
//! state: u8          // 1 accepted, 2 dead letter
//! refused: u8        // why it was refused last: place in REFUSALS, 255 another reason
//! crc: u32           // CRC-32C of all before
//! ```
//! All numbers are little endian.

use hubward_model::{DeviceId, Offset, Timestamp};

use crate::deliveries::DeliveryState;

/// Bytes of an entry.
pub(super) const SIZE: usize = 64;
/// Words for refusals, by the number they are stored as: only ever added to.
const REFUSALS: [&str; 11] =
    ["", "message", "too_large", "missing", "disabled", "keys", "stolen", "throttled", "quota", "hub_gone", "passing"];
const OTHER: u8 = u8::MAX;

/// One settled delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: Offset,
    pub(crate) device: u64,
    pub(crate) received_at: Timestamp,
    pub(crate) durable_at: Option<Timestamp>,
    pub(crate) first_sent_at: Option<Timestamp>,
    pub(crate) settled_at: Timestamp,
    pub(crate) attempts: u32,
    pub(crate) state: DeliveryState,
    /// Why it was refused last.
    pub(crate) refused: Option<&'static str>,
}

/// The hash of a device id: FNV-1a, which is the same in every version and on every machine.
pub(crate) fn hash(device: &DeviceId) -> u64 {
    device
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

impl Entry {
    pub(super) fn encode(&self, number: u64) -> [u8; SIZE] {
        let time = |at: Option<Timestamp>| at.map_or(i64::MIN, Timestamp::as_millis).cast_unsigned();
        let words = [
            number,
            self.offset.to_raw(),
            self.device,
            time(Some(self.received_at)),
            time(self.durable_at),
            time(self.first_sent_at),
            time(Some(self.settled_at)),
        ];
        let mut bytes = [0; SIZE];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let attempts = u16::try_from(self.attempts).unwrap_or(u16::MAX);
        bytes[56..58].copy_from_slice(&attempts.to_le_bytes());
        bytes[58] = match self.state {
            DeliveryState::DeadLetter => 2,
            _ => 1,
        };
        bytes[59] = self.refused.map_or(0, |word| {
            let place = REFUSALS.iter().position(|known| *known == word);
            place.and_then(|place| u8::try_from(place).ok()).unwrap_or(OTHER)
        });
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The entry and its number; nothing where none is, or one that was written in part.
    pub(super) fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let bytes: &[u8; SIZE] = bytes.try_into().ok()?;
        let word = |place: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[place * 8 + i]));
        let crc = u32::from_le_bytes(std::array::from_fn(|i| bytes[60 + i]));
        if crc32c::crc32c(&bytes[..60]) != crc {
            return None;
        }
        let time = |place| Some(word(place).cast_signed()).filter(|at| *at != i64::MIN).map(Timestamp::from_millis);
        let state = match bytes[58] {
            1 => DeliveryState::Accepted,
            2 => DeliveryState::DeadLetter,
            _ => return None,
        };
        let refused = match bytes[59] {
            0 => None,
            place => Some(REFUSALS.get(usize::from(place)).copied().unwrap_or("other")),
        };
        let entry = Self {
            offset: Offset::from_raw(word(1)),
            device: word(2),
            received_at: time(3)?,
            durable_at: time(4),
            first_sent_at: time(5),
            settled_at: time(6)?,
            attempts: u32::from(u16::from_le_bytes([bytes[56], bytes[57]])),
            state,
            refused,
        };
        Some((word(0), entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_one_that_is_torn_is_none() {
        let device: DeviceId = "d1".parse().unwrap();
        let time = |millis| Timestamp::from_millis(millis);
        let mut entry = Entry {
            offset: Offset::from_raw(7),
            device: hash(&device),
            received_at: time(1),
            durable_at: Some(time(2)),
            first_sent_at: None,
            settled_at: time(4),
            attempts: 3,
            state: DeliveryState::Accepted,
            refused: Some("throttled"),
        };
        assert_eq!(Entry::decode(&entry.encode(9)), Some((9, entry)));
        for byte in 0..SIZE {
            let mut torn = entry.encode(9);
            torn[byte] ^= 1;
            assert_eq!(Entry::decode(&torn), None, "byte {byte}");
        }
        assert_eq!(Entry::decode(&[0; SIZE]), None, "nothing was written there");
        entry = Entry { attempts: 1 << 20, state: DeliveryState::DeadLetter, refused: Some("unheard_of"), ..entry };
        let (_, read) = Entry::decode(&entry.encode(1)).unwrap();
        assert_eq!((read.attempts, read.state, read.refused), (65_535, DeliveryState::DeadLetter, Some("other")));
    }
}
