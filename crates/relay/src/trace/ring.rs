//! The file of one integration's latest deliveries: entries of fixed size, the newest over the oldest.
//!
//! It is a help to people, not a promise: it is not synced, and what cannot be written is not written. An entry that was torn
//! by a crash does not check and is none.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use hubward_model::Offset;

use super::entry::{Entry, SIZE};

/// How many deliveries are kept.
pub(crate) const KEPT: u64 = 100_000;
/// What is read at once when entries are looked for.
const READ: usize = 1024 * SIZE;

/// A ring, opened.
#[derive(Debug)]
pub(super) struct Ring {
    file: File,
    kept: u64,
    /// Number of the next entry.
    next: u64,
}

impl Ring {
    /// Opens the ring at `path`, or makes it. Blocks for as long as reading it takes.
    pub(super) fn open(path: &Path, kept: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut ring = Self { file, kept, next: 0 };
        let mut next = 0;
        ring.each(|number, _| next = next.max(number + 1))?;
        ring.next = next;
        Ok(ring)
    }

    /// Writes entries behind each other. Those that were written before an error stay.
    pub(super) fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        // More than the whole ring would overwrite itself.
        let skipped = entries.len().saturating_sub(usize::try_from(self.kept).unwrap_or(usize::MAX));
        let mut left = &entries[skipped..];
        while !left.is_empty() {
            let place = self.next % self.kept;
            let fits = usize::try_from(self.kept - place).unwrap_or(usize::MAX).min(left.len());
            let mut bytes = Vec::with_capacity(fits * SIZE);
            for (number, entry) in (self.next..).zip(&left[..fits]) {
                bytes.extend_from_slice(&entry.encode(number));
            }
            self.file.write_all_at(&bytes, place * SIZE as u64)?;
            self.next += fits as u64;
            left = &left[fits..];
        }
        Ok(())
    }

    /// The latest entry of a device's record.
    pub(super) fn find(&self, device: u64, offset: Offset) -> io::Result<Option<Entry>> {
        let mut found: Option<(u64, Entry)> = None;
        self.each(|number, entry| {
            let fits = entry.device == device && entry.offset == offset;
            if fits && found.is_none_or(|(known, _)| number > known) {
                found = Some((number, entry));
            }
        })?;
        Ok(found.map(|(_, entry)| entry))
    }

    fn each(&self, mut visit: impl FnMut(u64, Entry)) -> io::Result<()> {
        let mut bytes = vec![0; READ];
        let mut at = 0;
        while at < self.kept * SIZE as u64 {
            let mut filled = 0;
            while filled < bytes.len() {
                match self.file.read_at(&mut bytes[filled..], at + filled as u64)? {
                    0 => break,
                    read => filled += read,
                }
            }
            for slot in bytes[..filled].chunks_exact(SIZE) {
                if let Some((number, entry)) = Entry::decode(slot) {
                    visit(number, entry);
                }
            }
            if filled < bytes.len() {
                break;
            }
            at += filled as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hubward_model::Timestamp;

    use super::*;
    use crate::deliveries::DeliveryState;

    fn entry(offset: u64) -> Entry {
        Entry {
            offset: Offset::from_raw(offset),
            device: 5,
            received_at: Timestamp::from_millis(1),
            durable_at: None,
            first_sent_at: None,
            settled_at: Timestamp::from_millis(offset.cast_signed()),
            attempts: 1,
            state: DeliveryState::Accepted,
            refused: None,
        }
    }

    fn found(ring: &Ring, offset: u64) -> bool {
        ring.find(5, Offset::from_raw(offset)).unwrap().is_some()
    }

    #[test]
    fn the_latest_are_found_over_restarts_and_the_file_never_grows_beyond_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace/i1");
        let kept = 3000;
        for batch in 0..10u64 {
            // Opened anew each time: it goes on where it was.
            let mut ring = Ring::open(&path, kept).unwrap();
            ring.write(&(batch * 700..(batch + 1) * 700).map(entry).collect::<Vec<_>>()).unwrap();
        }
        let ring = Ring::open(&path, kept).unwrap();
        assert!(found(&ring, 6999) && found(&ring, 4000) && !found(&ring, 3999) && !found(&ring, 7000));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), kept * SIZE as u64);
        assert_eq!(ring.find(6, Offset::from_raw(6999)).unwrap(), None, "another device's");
    }

    #[test]
    fn an_offset_that_was_delivered_twice_shows_the_latest() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(&folder.path().join("i"), 10).unwrap();
        ring.write(&[entry(1), Entry { attempts: 4, ..entry(1) }]).unwrap();
        assert_eq!(ring.find(5, Offset::from_raw(1)).unwrap().unwrap().attempts, 4);
    }

    #[test]
    fn what_a_crash_tore_or_left_out_costs_those_entries_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i");
        Ring::open(&path, 100).unwrap().write(&(0..50).map(entry).collect::<Vec<_>>()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20 * SIZE + 30] ^= 0xff;
        bytes.truncate(40 * SIZE + 11);
        std::fs::write(&path, bytes).unwrap();
        let mut ring = Ring::open(&path, 100).unwrap();
        assert!(found(&ring, 19) && !found(&ring, 20) && found(&ring, 39) && !found(&ring, 40));
        ring.write(&[entry(900)]).unwrap();
        assert!(found(&ring, 900) && found(&ring, 39));
    }
}
