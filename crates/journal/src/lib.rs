//! The durable journal: every record that was acknowledged is in it, in order, after any crash.
//!
//! [`Journal::append`] gives a record its place at once; the [`Committer`], on its own thread, writes all that waits
//! with one sync and tells the [`Waiter`]s. Readers ([`Reader`]) see durable records only, from memory at the tail and
//! from segment files before it. Two words that are never one: *appended* has an offset, *durable* survives.
//!
//! It does not know MQTT or Azure, does not look into payloads and notes, and is no database: records are read in
//! order, by offset, or the latest of one device.
//!
//! In reading order:
//!
//! - `format`: the format on disk and what holds it together (`format.rs`);
//! - `journal`, `waiter`: append, and hear of the commit;
//! - `committer`, `active`: group commit into the segment being written; `commits`: when it was;
//! - `reader`, `cache`, `scan`: reading, at the tail and from disk;
//! - `segment`, `recovery`, `crashsafe`: segments at rest, and what an opening does with them;
//! - `housekeeper`, `pin`: retention, and what holds it back; `clock`: what time it is, for retention;
//! - `hold`: records kept for those who cannot take them now;
//! - `history`: the latest records of one device; `look`: back in bounded steps, by device and time;
//! - `info`, `verify`: what the journal tells of itself; `offline`: the same of one that nobody has open;
//! - [`files`], [`testing`]: the file system, and one that fails on request.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod active;
mod cache;
mod clock;
mod commits;
mod committer;
mod crashsafe;
mod error;
pub mod files;
mod format;
mod history;
mod hold;
mod housekeeper;
mod info;
mod journal;
mod look;
mod offline;
mod options;
mod pin;
mod reader;
mod recovery;
mod scan;
mod segment;
mod shared;
pub mod testing;
mod verify;
mod waiter;

pub use committer::Committer;
pub use error::{AppendError, Full, HoldError, OpenError, ReadError};
pub use files::{File, Files, Lock, RealFiles, Space};
pub use history::HistoryQuery;
pub use hold::{HeldChunk, HoldFile, HoldInfo, HoldPosition};
pub use info::{COMMIT_BOUNDS, CommitTimes, Health, Info};
pub use journal::Journal;
pub use look::{LookBack, Looked};
pub use offline::{Offline, OfflineInfo, StoredHold};
pub use options::Options;
pub use pin::Pin;
pub use reader::{Chunk, Reader};
pub use verify::{Damage, SegmentReport, VerifyReport};
pub use waiter::{Progress, Waiter};
