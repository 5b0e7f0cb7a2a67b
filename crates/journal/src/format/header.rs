//! The first 64 bytes of a segment.

use hubward_model::{Epoch, JournalId};

use super::{FORMAT, Newer};

/// Bytes of a header; the first frame follows.
pub(crate) const HEADER_SIZE: u64 = 64;
const SIZE: usize = 64;
const MAGIC: &[u8; 8] = b"HUBWARDJ";
const ID_SIZE: usize = 16;

/// What a segment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The journal.
    Journal,
    /// A hold file.
    Hold,
}

/// The first bytes of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) purpose: Purpose,
    /// Serial of the first frame.
    pub(crate) first: u64,
    /// The end of what is valid in the segments before.
    pub(crate) previous_end: u64,
    pub(crate) epoch: Epoch,
    pub(crate) journal: JournalId,
}

/// What stands where a header should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Header(Header),
    /// Zeros or nothing: room that was never used.
    Unused,
    Newer(Newer),
    /// Neither.
    Bad,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; SIZE] {
        let mut out = [0; SIZE];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&u32::from(FORMAT).to_le_bytes());
        let purpose: u32 = match self.purpose {
            Purpose::Journal => 0,
            Purpose::Hold => 1,
        };
        out[12..16].copy_from_slice(&purpose.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.to_le_bytes());
        out[24..32].copy_from_slice(&self.previous_end.to_le_bytes());
        out[32..40].copy_from_slice(&self.epoch.to_raw().to_le_bytes());
        let id = self.journal.as_str().as_bytes();
        let id = &id[..id.len().min(ID_SIZE)];
        out[40..40 + id.len()].copy_from_slice(id);
        let crc = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Found {
        if bytes.iter().take(SIZE).all(|byte| *byte == 0) {
            return Found::Unused;
        }
        let Some(bytes) = bytes.first_chunk::<SIZE>() else { return Found::Bad };
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if &bytes[..8] != MAGIC || half(60) != crc32c::crc32c(&bytes[..60]) {
            return Found::Bad;
        }
        if half(8) > u32::from(FORMAT) {
            return Found::Newer(Newer { found: half(8) });
        }
        let purpose = match half(12) {
            0 => Purpose::Journal,
            1 => Purpose::Hold,
            _ => return Found::Bad,
        };
        let id: Vec<u8> = bytes[40..40 + ID_SIZE].iter().copied().take_while(|byte| *byte != 0).collect();
        let Ok(id) = String::from_utf8(id) else { return Found::Bad };
        Found::Header(Self {
            purpose,
            first: word(16),
            previous_end: word(24),
            epoch: Epoch::from_raw(word(32)),
            journal: JournalId::from_stored(id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            purpose: Purpose::Hold,
            first: 12,
            previous_end: 9,
            epoch: Epoch::from_raw(77),
            journal: JournalId::from_stored("0123456789".into()),
        }
    }

    #[test]
    fn a_header_is_read_back() {
        assert_eq!(Header::decode(&header().encode()), Found::Header(header()));
    }

    #[test]
    fn what_is_no_header_is_told_apart_from_unused_room() {
        assert_eq!(Header::decode(&[]), Found::Unused);
        assert_eq!(Header::decode(&[0; 100]), Found::Unused);
        assert_eq!(Header::decode(b"HUBW"), Found::Bad);
        for at in 0..SIZE {
            let mut bytes = header().encode();
            bytes[at] ^= 1;
            assert_eq!(Header::decode(&bytes), Found::Bad, "{at}");
        }
    }

    #[test]
    fn a_newer_header_is_named() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Found::Newer(Newer { found: 2 }));
    }
}
