//! The segment that is being written, and the room that is written ahead of it.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::files::{File, Files};
use crate::segment::{file_name, lock};

/// How far ahead of the records the file is filled with zeros. A sync of bytes within a filled file writes them and
/// nothing else; a growing file costs a journal commit of the file system each time.
const AHEAD: u64 = 16 << 20;
/// Zeros are written in steps of this size, so that the writer never waits long for one.
const FILL_STEP: usize = 1 << 20;

/// A new file for a segment: numbered, its name durable, nothing in it but zeros.
pub(crate) struct Blank {
    pub(crate) number: u32,
    pub(crate) path: std::path::PathBuf,
    pub(crate) file: Arc<dyn File>,
    pub(crate) room: Arc<Room>,
}

impl Blank {
    /// Makes the file numbered `number` in `dir`, for about `capacity` bytes.
    pub(crate) fn create(files: &dyn Files, dir: &Path, number: u32, capacity: u64) -> io::Result<Self> {
        let path = dir.join(file_name(number));
        let made = (|| {
            let file = files.create(&path)?;
            files.sync_dir(dir)?;
            // A handle of its own: an error of writing back is told once to each handle that syncs, and the writer
            // must hear of its own.
            let filler = files.open(&path)?;
            Ok((file, filler))
        })();
        match made {
            Ok((file, filler)) => Ok(Self { number, path, file, room: Arc::new(Room::new(filler, capacity)) }),
            Err(error) => {
                let _ = files.remove(&path);
                Err(error)
            }
        }
    }
}

/// The room of one segment file: shared by the writer and by who fills it ahead.
pub(crate) struct Room {
    filler: Arc<dyn File>,
    capacity: u64,
    /// Exclusive end of what was written by either.
    filled: AtomicU64,
    /// Exclusive end of what the writer wrote.
    used: AtomicU64,
    growing: Mutex<()>,
}

impl Room {
    fn new(filler: Arc<dyn File>, capacity: u64) -> Self {
        Self { filler, capacity, filled: AtomicU64::new(0), used: AtomicU64::new(0), growing: Mutex::new(()) }
    }

    /// The writer's way to write: beyond what is filled, it keeps the filler out, which else might put zeros on it.
    pub(crate) fn write(&self, file: &dyn File, bytes: &[u8], at: u64) -> io::Result<()> {
        let end = at + bytes.len() as u64;
        if end <= self.filled.load(Ordering::Acquire) {
            file.write_at(bytes, at)?;
        } else {
            let _growing = lock(&self.growing);
            file.write_at(bytes, at)?;
            self.filled.fetch_max(end, Ordering::AcqRel);
        }
        self.used.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    /// Whether less is filled ahead than should be.
    pub(crate) fn is_short(&self) -> bool {
        self.filled.load(Ordering::Acquire) < self.wanted(AHEAD / 2)
    }

    /// Whether the next segment should be made ready.
    pub(crate) fn is_half_used(&self) -> bool {
        self.used.load(Ordering::Acquire) > self.capacity / 2
    }

    /// Fills ahead, durably.
    pub(crate) fn fill(&self) -> io::Result<()> {
        let zeros = vec![0; FILL_STEP];
        let mut wrote = false;
        loop {
            let growing = lock(&self.growing);
            let from = self.filled.load(Ordering::Acquire);
            let step = self.wanted(AHEAD).saturating_sub(from).min(FILL_STEP as u64);
            if step == 0 {
                break;
            }
            self.filler.write_at(&zeros[..usize::try_from(step).unwrap_or(FILL_STEP)], from)?;
            self.filled.store(from + step, Ordering::Release);
            drop(growing);
            wrote = true;
        }
        if wrote { self.filler.sync() } else { Ok(()) }
    }

    fn wanted(&self, ahead: u64) -> u64 {
        self.capacity.min(self.used.load(Ordering::Acquire) + ahead)
    }
}

/// The spare file, made before it is needed.
#[derive(Default)]
pub(crate) struct Spare {
    next_number: u32,
    blank: Option<Blank>,
}

impl Spare {
    /// The first new file will be numbered `next_number`.
    pub(crate) fn new(next_number: u32) -> Self {
        Self { next_number, blank: None }
    }

    /// Makes one if there is none. Numbers rise in the order of use, so one is made only after the last was taken.
    pub(crate) fn make(&mut self, files: &dyn Files, dir: &Path, capacity: u64) -> io::Result<()> {
        if self.blank.is_none() {
            let number = self.next_number;
            self.next_number += 1;
            self.blank = Some(Blank::create(files, dir, number, capacity)?);
        }
        Ok(())
    }

    /// The file to use next.
    pub(crate) fn take(&mut self, files: &dyn Files, dir: &Path, capacity: u64) -> io::Result<Blank> {
        self.make(files, dir, capacity)?;
        self.blank.take().ok_or_else(|| io::Error::other("no spare segment"))
    }

    /// Its room, to be filled.
    pub(crate) fn room(&self) -> Option<Arc<Room>> {
        self.blank.as_ref().map(|blank| Arc::clone(&blank.room))
    }

    /// Removes what was not used.
    pub(crate) fn discard(&mut self, files: &dyn Files) {
        if let Some(blank) = self.blank.take() {
            drop(blank.file);
            let _ = files.remove(&blank.path);
        }
    }
}
