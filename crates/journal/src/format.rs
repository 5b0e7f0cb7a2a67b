//! The format on disk.
//!
//! A journal is a folder:
//!
//! ```text
//! journal                 who it is: id and last epoch, a few lines of text      (`identity`)
//! lock                    held by the one process; its process id
//! 0000000001.segment      records, oldest first                                   (this page)
//! 0000000001.index        derived from the segment once it is full; may be lost   (`index`)
//! hold/{name}/…           hold files: folders of segments of the same format
//! ```
//!
//! A segment is a header and then frames up to the end of the file or to zero bytes, which are room written ahead.
//! Numbers are little-endian; a frame begins at a multiple of 8 bytes.
//!
//! ```text
//! struct Header {            // 64 bytes
//!     magic: [u8; 8],        // "HUBWARDJ"
//!     format: u32,           // 1; the newest version of the frames in it
//!     purpose: u32,          // 0 journal, 1 hold file
//!     first: u64,            // serial of the first frame
//!     previous_end: u64,     // the end of what is valid in the segments before; frames there from it on were refused
//!     epoch: u64,            // the opening that wrote it (one only)
//!     journal: [u8; 16],     // id, filled with zeros
//!     reserved: u32,         // 0
//!     crc: u32,              // CRC32C of the 60 bytes before
//! }
//!
//! struct Frame {             // version 1
//!     length: u32,           // of all that follows the CRC, without padding; 0 = nothing was written here
//!     crc: u32,              // CRC32C of `length` and of all that follows the CRC
//!     version: u8,           // 1
//!     kind: u8,              // 1 signal, 2 system, 3 command, 4 session; others are skipped
//!     flags: u8,             // bits 0-1 QoS, 2 retain, 3 content type present
//!     mark: u8,              // 0xA7: makes frames findable after damage
//!     batch: u32,            // how many frames of the same sync stand before this one
//!     offset: u64,
//!     epoch: u64,
//!     received_at: i64,      // milliseconds since 1970-01-01 UTC
//!     link: u64,             // journal: offset of the same device's record before, 0 = none; hold file: the entry's serial
//!     device: { length: u8, bytes },          // length 0 = none
//!     only_for: { length: u8, bytes },        // length 0 = none
//!     topic: { length: u16, bytes },
//!     content_type: { length: u16, bytes },
//!     user_properties: { count: u16, each { length: u16, bytes } { length: u16, bytes } },
//!     note: { length: u32, bytes },
//!     payload: bytes,        // up to `length`
//!     padding: zeros         // to a multiple of 8
//! }
//! ```
//!
//! What holds it together:
//!
//! 1. One segment has one writer and one epoch. Every opening begins a new segment, and nothing is ever appended to a
//!    segment after a crash, a failed write or a failed sync.
//! 2. A batch is written only after the batch before it was synced. So a good frame of a later batch (`serial - batch`
//!    is its batch's first serial) proves that all before it was durable: bad bytes before it are damage, an explicit
//!    gap. Bad bytes without such a proof, in the last segment, are a torn tail, which nobody was told of: cut.
//! 3. The serial of a frame (journal: `offset`, hold file: `link`) rises within and over segments. Serials may be
//!    missing: those of refused records, and of kinds that an older version skips.
//! 4. Records that a failed sync left in a segment stand again, with the same offsets, in the next one, or nowhere:
//!    its `previous_end` says from where on the older copies do not count.
//! 5. A reader never trusts a length: every frame is bounded, checked, and its fields are bounded by it.
//! 6. Formats are added, never changed. A version above ours is refused by name; the golden files under
//!    `tests/golden` are read for ever.

pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod identity;
pub(crate) mod index;

/// The newest format this version writes and reads.
pub(crate) const FORMAT: u8 = 1;

/// A frame of a version we do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newer {
    /// Its version.
    pub(crate) found: u32,
}
