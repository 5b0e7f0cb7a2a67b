//! One segment as the running journal knows it: what of it is durable, and where in it to look.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hubward_model::{Epoch, Offset, Timestamp};

use crate::files::{File, Files, read_file};
use crate::format::header::{HEADER_SIZE, Purpose};
use crate::format::index::{self, Devices, Mark, Summary};
use crate::scan::{Scanner, Step};

/// One mark stands in the index for about this many bytes.
const MARK_EVERY: u64 = 64 << 10;
/// Bytes that are read at once when a whole segment is walked through.
const WALK_BLOCK: usize = 1 << 20;

/// A segment file.
pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) path: PathBuf,
    purpose: Purpose,
    /// First offset that it may hold.
    pub(crate) first: Offset,
    /// The end of what is valid in the segments before.
    pub(crate) previous_end: Offset,
    /// The opening that wrote it; unknown if the header is damaged.
    pub(crate) epoch: Option<Epoch>,
    end: AtomicU64,
    bytes: AtomicU64,
    last_received_at: AtomicI64,
    sealed: AtomicBool,
    /// `None` until somebody asks, for segments of an earlier opening.
    marks: Mutex<Option<Vec<Mark>>>,
    file: Mutex<Option<Weak<dyn File>>>,
    /// Ranges of offsets that are known to be unreadable.
    damage: Mutex<Vec<(Offset, Offset)>>,
}

/// Who a segment is.
pub(crate) struct Start {
    pub(crate) number: u32,
    pub(crate) path: PathBuf,
    pub(crate) purpose: Purpose,
    pub(crate) first: Offset,
    pub(crate) previous_end: Offset,
    pub(crate) epoch: Option<Epoch>,
}

impl Segment {
    /// A segment that holds nothing yet and is about to be written.
    pub(crate) fn fresh(start: Start) -> Self {
        let summary =
            Summary { bytes: HEADER_SIZE, end: start.first.to_raw(), last_received_at: Timestamp::from_millis(0) };
        let segment = Self::known(start, summary);
        segment.sealed.store(false, Ordering::Release);
        *lock(&segment.marks) = Some(Vec::new());
        segment
    }

    /// A segment that nothing is appended to any more.
    pub(crate) fn known(start: Start, summary: Summary) -> Self {
        Self {
            number: start.number,
            path: start.path,
            purpose: start.purpose,
            first: start.first,
            previous_end: start.previous_end,
            epoch: start.epoch,
            end: AtomicU64::new(summary.end),
            bytes: AtomicU64::new(summary.bytes),
            last_received_at: AtomicI64::new(summary.last_received_at.as_millis()),
            sealed: AtomicBool::new(true),
            marks: Mutex::new(None),
            file: Mutex::new(None),
            damage: Mutex::new(Vec::new()),
        }
    }

    /// Exclusive end of its durable offsets.
    pub(crate) fn end(&self) -> Offset {
        Offset::from_raw(self.end.load(Ordering::Acquire))
    }

    /// Exclusive end of its durable frames in the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Serials that it may hold.
    pub(crate) fn serials(&self) -> Range<u64> {
        self.first.to_raw()..self.end().to_raw()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() <= HEADER_SIZE
    }

    /// Bytes of its durable frames.
    pub(crate) fn used(&self) -> u64 {
        self.bytes().saturating_sub(HEADER_SIZE)
    }

    pub(crate) fn summary(&self) -> Summary {
        let last_received_at = Timestamp::from_millis(self.last_received_at.load(Ordering::Acquire));
        Summary { bytes: self.bytes(), end: self.end().to_raw(), last_received_at }
    }

    /// Whether nothing is appended to it any more.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// Says that nothing is appended to it any more.
    pub(crate) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    /// Says that what was appended up to file position `bytes` and offset `end` is durable.
    pub(crate) fn grow(&self, bytes: u64, end: Offset, last_received_at: Timestamp, marks: &[Mark]) {
        if let Some(known) = lock(&self.marks).as_mut() {
            known.extend_from_slice(marks);
        }
        self.last_received_at.fetch_max(last_received_at.as_millis(), Ordering::AcqRel);
        self.bytes.store(bytes, Ordering::Release);
        self.end.store(end.to_raw(), Ordering::Release);
    }

    /// Its file. Kept open as long as somebody uses it.
    pub(crate) fn file(&self, files: &dyn Files) -> io::Result<Arc<dyn File>> {
        let mut known = lock(&self.file);
        if let Some(file) = known.as_ref().and_then(Weak::upgrade) {
            return Ok(file);
        }
        let file = files.open(&self.path)?;
        *known = Some(Arc::downgrade(&file));
        Ok(file)
    }

    /// The file that its writer has open.
    pub(crate) fn set_file(&self, file: &Arc<dyn File>) {
        *lock(&self.file) = Some(Arc::downgrade(file));
    }

    /// A frame from which walking on meets `offset`: its place in the file and its least serial.
    pub(crate) fn locate(&self, files: &dyn Files, offset: Offset) -> io::Result<(u64, u64)> {
        let mut marks = lock(&self.marks);
        if marks.is_none() {
            *marks = Some(self.load_marks(files)?);
        }
        let marks = marks.as_deref().unwrap_or_default();
        let after = marks.partition_point(|mark| mark.serial <= offset.to_raw());
        Ok(match after.checked_sub(1) {
            Some(before) => (marks[before].at, marks[before].serial),
            None => (HEADER_SIZE, self.first.to_raw()),
        })
    }

    /// Its marks, read from its index if nobody asked before.
    pub(crate) fn all_marks(&self, files: &dyn Files) -> io::Result<Vec<Mark>> {
        let mut marks = lock(&self.marks);
        if marks.is_none() {
            *marks = Some(self.load_marks(files)?);
        }
        Ok(marks.clone().unwrap_or_default())
    }

    /// Notes that `from..to` cannot be read; says whether that is news.
    pub(crate) fn note_damage(&self, from: Offset, to: Offset) -> bool {
        let mut damage = lock(&self.damage);
        let known = damage.iter().any(|(a, b)| *a <= from && to <= *b);
        if !known {
            damage.push((from, to));
        }
        !known
    }

    /// Takes over marks that a walk found.
    pub(crate) fn set_marks(&self, marks: Vec<Mark>) {
        *lock(&self.marks) = Some(marks);
    }

    /// A copy of the marks, for its index file.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        lock(&self.marks).clone().unwrap_or_default()
    }

    fn load_marks(&self, files: &dyn Files) -> io::Result<Vec<Mark>> {
        if let Some((_, marks, _)) = read_file(files, &index_path(&self.path))?.as_deref().and_then(index::decode) {
            return Ok(marks);
        }
        let file = self.file(files)?;
        let walk = walk(file.as_ref(), self.purpose, self.epoch, self.serials(), self.bytes())?;
        Ok(walk.map(|walk| walk.marks).unwrap_or_default())
    }
}

/// Name of the segment numbered `number`.
pub(crate) fn file_name(number: u32) -> String {
    format!("{number:010}.segment")
}

/// Number in the name of a segment.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    name.strip_suffix(".segment")?.parse().ok()
}

/// The index beside a segment.
pub(crate) fn index_path(segment: &Path) -> PathBuf {
    segment.with_extension("index")
}

/// Whether a frame at `at` gets a mark, the last mark being at `last`.
pub(crate) fn wants_mark(last: Option<u64>, at: u64) -> bool {
    last.is_none_or(|last| at >= last + MARK_EVERY)
}

/// What a walk through a segment found.
pub(crate) struct Walk {
    pub(crate) summary: Summary,
    pub(crate) marks: Vec<Mark>,
    /// Last record of each device in it.
    pub(crate) devices: Devices,
    /// Good frames, records of unknown kinds among them.
    pub(crate) frames: u64,
    /// Ranges of serials that cannot be read.
    pub(crate) damage: Vec<(u64, u64)>,
    /// Where the last batch begins, the only one that nothing proves to have been synced.
    pub(crate) last_batch_at: u64,
    /// First damage, with its least serial, that no later frame proves to have been durable.
    pub(crate) doubtful: Option<(u64, u64)>,
    /// The walk met a frame of a newer version.
    pub(crate) newer: Option<u32>,
}

/// Walks through the frames of a segment with serials in `serials`, up to the file position `end`; `None` if the first
/// thing in it is of no use.
pub(crate) fn walk(
    file: &dyn File,
    purpose: Purpose,
    epoch: Option<Epoch>,
    serials: Range<u64>,
    end: u64,
) -> io::Result<Option<Walk>> {
    let first = serials.start;
    let mut scanner = Scanner::new(file, purpose, epoch, (HEADER_SIZE, first), end, WALK_BLOCK);
    let mut walk = Walk {
        summary: Summary { bytes: HEADER_SIZE, end: first, last_received_at: Timestamp::from_millis(0) },
        marks: Vec::new(),
        devices: Devices::new(),
        frames: 0,
        damage: Vec::new(),
        last_batch_at: 0,
        doubtful: None,
        newer: None,
    };
    // First serial of the last batch.
    let mut batch = None;
    // Serial at which damage began that the next good frame ends.
    let mut hurt: Option<u64> = None;
    loop {
        let expected = scanner.position().1;
        match scanner.step()? {
            Step::Frame { at, frame } => {
                let serial = scanner.serial(&frame);
                if serial >= serials.end {
                    // Copies of what stands in the next segment, or was refused.
                    break;
                }
                if let Some(from) = hurt.take() {
                    walk.damage.push((from, serial));
                }
                // The frame's batch was written after all before its batch was synced.
                let proven = serial - u64::from(frame.place.batch);
                if let (0, None, Some((_, expected))) = (walk.frames, epoch, &mut walk.doubtful) {
                    // Without a header nothing says where the segment began: perhaps with this very batch, torn.
                    *expected = proven;
                }
                walk.doubtful.take_if(|(_, expected)| proven > *expected);
                if batch.replace(proven).is_some_and(|before| before != proven) {
                    walk.last_batch_at = at;
                }
                if wants_mark(walk.marks.last().map(|mark| mark.at), at) {
                    walk.marks.push(Mark { serial, at });
                }
                if purpose == Purpose::Journal
                    && let Some(device) = frame.device()
                {
                    walk.devices.insert(device, frame.place.offset);
                }
                walk.frames += 1;
                walk.summary.bytes = at + frame.size as u64;
                walk.summary.end = serial + 1;
                walk.summary.last_received_at = walk.summary.last_received_at.max(frame.received_at);
            }
            Step::Damage { at, resume } => {
                walk.doubtful.get_or_insert((at, expected));
                hurt.get_or_insert(expected);
                if resume.is_none() {
                    break;
                }
            }
            Step::End { .. } => break,
            Step::Newer(newer) => {
                walk.newer = Some(newer.found);
                break;
            }
        }
    }
    let found = walk.frames > 0 || walk.newer.is_some() || walk.doubtful.is_some();
    Ok(found.then_some(walk))
}

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a mutex here guards is never left half changed, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
