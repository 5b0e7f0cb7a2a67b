//! The file `journal`: the journal's id and its last epoch, as text.
//!
//! ```text
//! hubward journal
//! format 1
//! id 0123456789
//! epoch 4295832321
//! next 18                 no offset before it is given to a new record, whatever became of the segments
//! crc 1a2b3c4d        CRC32C of the lines above, hexadecimal
//! ```

use hubward_model::{Epoch, JournalId, Offset};

use super::{FORMAT, Newer};

/// Name of the file in the journal's folder.
pub(crate) const FILE: &str = "journal";

/// Who a journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: JournalId,
    /// The last opening.
    pub(crate) epoch: Epoch,
    /// Exclusive end of what was durable when it began.
    pub(crate) next: Offset,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Identity(Identity),
    Newer(Newer),
    Bad,
}

impl Identity {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { id, epoch, next } = self;
        let lines = format!("hubward journal\nformat {FORMAT}\nid {id}\nepoch {}\nnext {next}\n", epoch.to_raw());
        let crc = crc32c::crc32c(lines.as_bytes());
        format!("{lines}crc {crc:08x}\n").into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Found {
        Self::try_decode(bytes).unwrap_or(Found::Bad)
    }

    fn try_decode(bytes: &[u8]) -> Option<Found> {
        let text = std::str::from_utf8(bytes).ok()?;
        let crc_at = text.rfind("crc ")?;
        let crc = u32::from_str_radix(text[crc_at + 4..].trim_end(), 16).ok()?;
        if crc != crc32c::crc32c(&bytes[..crc_at]) {
            return None;
        }
        let mut lines = text.lines();
        if lines.next()? != "hubward journal" {
            return None;
        }
        let format: u32 = lines.next()?.strip_prefix("format ")?.parse().ok()?;
        if format > u32::from(FORMAT) {
            return Some(Found::Newer(Newer { found: format }));
        }
        let id = JournalId::from_stored(lines.next()?.strip_prefix("id ")?.to_owned());
        let epoch = Epoch::from_raw(lines.next()?.strip_prefix("epoch ")?.parse().ok()?);
        let next = lines.next()?.strip_prefix("next ")?.parse().ok()?;
        Some(Found::Identity(Self { id, epoch, next }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_back_and_a_changed_one_is_not() {
        let identity = Identity { id: JournalId::random(), epoch: Epoch::after(None), next: Offset::from_raw(18) };
        let bytes = identity.encode();
        assert_eq!(Identity::decode(&bytes), Found::Identity(identity));
        for at in 0..bytes.len() - 1 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(Identity::decode(&bytes), Found::Bad, "{at}");
        }
        assert_eq!(Identity::decode(b""), Found::Bad);
    }
}
