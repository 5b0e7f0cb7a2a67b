//! Hold files: records kept for those who cannot take them now, so that the journal can let them go.
//!
//! A hold file is a small journal of its own, a folder of segments of the same format with the same recovery. Its
//! entries are whole records with the offset and epoch they had, in the order in which they were added, each with a
//! [`HoldPosition`].

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hubward_model::{Epoch, JournalId, Offset, Record, Timestamp};

use crate::crashsafe;
use crate::error::{HoldError, OpenError};
use crate::files::{File, Files, remove_if_there};
use crate::format::frame::{self, Place, TooLarge};
use crate::format::header::{HEADER_SIZE, Header, Purpose};
use crate::format::index::{self, Devices, Mark};
use crate::journal::Journal;
use crate::reader::{CHUNK_BYTES, CHUNK_RECORDS};
use crate::recovery::{self, Touch};
use crate::scan::{Scanner, Step};
use crate::segment::{Segment, Start, file_name, index_path, lock, wants_mark};
use crate::shared::Shared;

/// Folder of all hold files, in the journal's.
pub(crate) const FOLDER: &str = "hold";
/// Size of a segment of a hold file, at most; the journal's own may be smaller.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Serial of the first entry ever.
const FIRST: u64 = 1;

/// Records kept aside. Clones are handles to the same.
#[derive(Clone)]
pub struct HoldFile {
    shared: Arc<Shared>,
    inner: Arc<Inner>,
}

/// A place in a hold file: opaque, rising with every entry, and good to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HoldPosition(u64);

impl HoldPosition {
    /// Before every entry.
    pub const START: Self = Self(0);

    /// The position stored as `raw`.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number to store.
    #[must_use]
    pub const fn to_raw(self) -> u64 {
        self.0
    }

    /// The first place after this entry.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Some entries of a hold file.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldChunk {
    /// The entries in order; none at the end of the file.
    pub records: Vec<(HoldPosition, Record)>,
    /// Where reading goes on.
    pub next: HoldPosition,
    /// Entries between the wanted place and `next` are damaged on disk, and left out.
    pub damaged: bool,
}

/// What a hold file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldInfo {
    /// Its name.
    pub name: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Entries on disk; trimmed ones count until their segment goes.
    pub records: u64,
    /// The first entry that is there.
    pub begin: HoldPosition,
    /// Exclusive end.
    pub end: HoldPosition,
}

impl Journal {
    /// Opens the hold file `name`, or makes it. Names have 1 to 64 lower-case letters, digits, `.`, `_` and `-`.
    pub async fn hold(&self, name: &str) -> Result<HoldFile, HoldError> {
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        blocking(name.clone(), move || shared.holds.open(&shared, &name)).await
    }

    /// Names of all hold files, in order.
    pub async fn holds(&self) -> Result<Vec<String>, HoldError> {
        let shared = Arc::clone(&self.shared);
        blocking(String::new(), move || {
            let dir = shared.dir().join(FOLDER);
            match shared.files.list(&dir) {
                Ok(mut names) => {
                    names.retain(|name| is_name(name));
                    names.sort();
                    Ok(names)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(HoldError::io("list", dir)(error)),
            }
        })
        .await
    }
}

impl HoldFile {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Adds records at the end, in this order, and returns the place of the first. They are durable when it returns;
    /// after an error their fate is unknown.
    pub async fn append(&self, records: Vec<Record>) -> Result<HoldPosition, HoldError> {
        self.blocking(move |inner| inner.append(&records)).await
    }

    /// The entries from `from` on, a bounded number.
    pub async fn read(&self, from: HoldPosition) -> Result<HeldChunk, HoldError> {
        self.blocking(move |inner| inner.read(from)).await
    }

    /// Lets everything before `before` go. Files are removed whole, so some of it may be there a while longer.
    pub async fn trim(&self, before: HoldPosition) -> Result<(), HoldError> {
        self.blocking(move |inner| inner.trim(before)).await
    }

    /// Removes the hold file with all that is in it. Other handles to it are closed; one made later under its name
    /// begins with positions anew.
    pub async fn delete(self) -> Result<(), HoldError> {
        let shared = Arc::clone(&self.shared);
        self.blocking(move |inner| shared.holds.delete(inner)).await
    }

    /// What it has.
    #[must_use]
    pub fn info(&self) -> HoldInfo {
        self.inner.info()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, HoldError> + Send + 'static,
    ) -> Result<T, HoldError> {
        let inner = Arc::clone(&self.inner);
        blocking(self.inner.name.clone(), move || work(&inner)).await
    }
}

/// Disk work belongs on the blocking pool; it ends only with the runtime.
async fn blocking<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> Result<T, HoldError> + Send + 'static,
) -> Result<T, HoldError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(HoldError::Closed { name }))
}

pub(crate) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=64).contains(&name.len())
        && name.bytes().all(fits)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

/// Hold files that are open.
#[derive(Default)]
pub(crate) struct Holds {
    open: Mutex<HashMap<String, Arc<Inner>>>,
    closed: std::sync::atomic::AtomicBool,
}

impl Holds {
    fn open(&self, shared: &Arc<Shared>, name: &str) -> Result<HoldFile, HoldError> {
        if !is_name(name) {
            return Err(HoldError::Name { name: name.chars().take(80).collect() });
        }
        let mut open = lock(&self.open);
        if self.closed.load(std::sync::atomic::Ordering::Acquire) {
            return Err(HoldError::Closed { name: name.to_owned() });
        }
        if let Some(inner) = open.get(name) {
            return Ok(HoldFile { shared: Arc::clone(shared), inner: Arc::clone(inner) });
        }
        let inner = Arc::new(Inner::open(shared, name)?);
        open.insert(name.to_owned(), Arc::clone(&inner));
        Ok(HoldFile { shared: Arc::clone(shared), inner })
    }

    /// Removes one. Whoever opens the name meanwhile waits, and gets a new one.
    fn delete(&self, inner: &Inner) -> Result<(), HoldError> {
        let mut open = lock(&self.open);
        inner.delete()?;
        open.remove(&inner.name);
        Ok(())
    }

    /// What the open ones have.
    pub(crate) fn infos(&self) -> Vec<HoldInfo> {
        let open: Vec<Arc<Inner>> = lock(&self.open).values().cloned().collect();
        let mut infos: Vec<HoldInfo> = open.iter().map(|inner| inner.info()).collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// Closes all, in good order; later calls of their handles are refused.
    pub(crate) fn close(&self) {
        let open = {
            let mut open = lock(&self.open);
            self.closed.store(true, std::sync::atomic::Ordering::Release);
            std::mem::take(&mut *open)
        };
        for inner in open.into_values() {
            inner.close();
        }
    }
}

struct Inner {
    name: String,
    dir: PathBuf,
    files: Arc<dyn Files>,
    journal: JournalId,
    epoch: Epoch,
    capacity: u64,
    state: Mutex<State>,
}

struct State {
    segments: Vec<Arc<Segment>>,
    writer: Option<Writer>,
    next_number: u32,
    /// Serial of the next entry.
    next: u64,
    closed: bool,
}

/// The segment being written.
struct Writer {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    at: u64,
    last_mark: Option<u64>,
}

impl Inner {
    fn open(shared: &Shared, name: &str) -> Result<Self, HoldError> {
        let files = Arc::clone(&shared.files);
        let root = shared.dir().clone();
        let dir = root.join(FOLDER).join(name);
        files.create_dir_all(&dir).map_err(HoldError::io("create", &dir))?;
        for parent in [&root.join(FOLDER), &root] {
            files.sync_dir(parent).map_err(HoldError::io("sync", parent))?;
        }
        let (found, next_number) = recovery::find(files.as_ref(), &dir, Touch::Mend).map_err(opening)?;
        let recovered = recovery::recover(files.as_ref(), found, Purpose::Hold, Touch::Mend).map_err(opening)?;
        let state = State {
            next: recovered.segments.last().map_or(FIRST, |last| last.end().to_raw()),
            segments: recovered.segments,
            writer: None,
            next_number,
            closed: false,
        };
        Ok(Self {
            name: name.to_owned(),
            dir,
            files,
            journal: shared.id.clone(),
            epoch: shared.epoch,
            capacity: shared.options.segment_size().min(SEGMENT_BYTES),
            state: Mutex::new(state),
        })
    }

    fn info(&self) -> HoldInfo {
        let state = lock(&self.state);
        let segments = &state.segments;
        HoldInfo {
            name: self.name.clone(),
            bytes: segments.iter().map(|segment| segment.used()).sum(),
            records: segments.iter().map(|segment| segment.first.lag(segment.end())).sum(),
            begin: HoldPosition(segments.first().map_or(state.next, |first| first.first.to_raw())),
            end: HoldPosition(state.next),
        }
    }

    fn append(&self, records: &[Record]) -> Result<HoldPosition, HoldError> {
        let sizes: Result<Vec<u64>, TooLarge> = records.iter().map(|record| frame::size(&record.draft)).collect();
        let sizes = sizes.map_err(|TooLarge { bytes, limit }| HoldError::TooLarge { bytes, limit })?;
        let mut state = self.state()?;
        let first = HoldPosition(state.next);
        let mut from = 0;
        while from < records.len() {
            let mut at = state.writer.as_ref().map_or(HEADER_SIZE, |writer| writer.at.max(HEADER_SIZE));
            let mut to = from;
            while to < records.len() && (at + sizes[to] <= self.capacity || at == HEADER_SIZE) {
                at += sizes[to];
                to += 1;
            }
            if to == from {
                // It is full: an empty segment takes any record.
                self.roll(&mut state);
                continue;
            }
            self.commit(&mut state, &records[from..to]).map_err(HoldError::io("write", &self.dir))?;
            from = to;
        }
        Ok(first)
    }

    /// Writes and syncs entries to the current segment, or if that fails once to a new one.
    fn commit(&self, state: &mut State, records: &[Record]) -> io::Result<()> {
        if state.writer.is_some() {
            match self.write(state, records) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::error!(%error, hold = self.name, "a write failed; its records go to a new segment");
                    self.abandon(state);
                }
            }
        }
        state.writer = Some(self.begin(state)?);
        self.write(state, records).inspect_err(|_| self.abandon(state))
    }

    fn begin(&self, state: &mut State) -> io::Result<Writer> {
        let number = state.next_number;
        state.next_number += 1;
        let path = self.dir.join(file_name(number));
        let file = self.files.create(&path)?;
        self.files.sync_dir(&self.dir)?;
        let segment = Arc::new(Segment::fresh(Start {
            number,
            path,
            purpose: Purpose::Hold,
            first: Offset::from_raw(state.next),
            previous_end: Offset::from_raw(state.next),
            epoch: Some(self.epoch),
        }));
        segment.set_file(&file);
        state.segments.push(Arc::clone(&segment));
        Ok(Writer { segment, file, at: 0, last_mark: None })
    }

    fn write(&self, state: &mut State, records: &[Record]) -> io::Result<()> {
        let Some(writer) = &mut state.writer else { return Err(io::Error::other("no segment to write to")) };
        let mut buffer = Vec::new();
        if writer.at == 0 {
            buffer.extend_from_slice(&self.header(state.next).encode());
        }
        let mut marks = Vec::new();
        let mut last_mark = writer.last_mark;
        let mut last_received_at = Timestamp::from_millis(i64::MIN);
        for ((record, batch), serial) in records.iter().zip(0u32..).zip(state.next..) {
            let at = writer.at + buffer.len() as u64;
            if wants_mark(last_mark, at) {
                marks.push(Mark { serial, at });
                last_mark = Some(at);
            }
            let place = Place { offset: record.offset, epoch: record.epoch, batch, link: serial };
            frame::encode(&mut buffer, place, &record.draft);
            last_received_at = last_received_at.max(record.received_at);
        }
        writer.file.write_at(&buffer, writer.at)?;
        writer.file.sync()?;
        writer.at += buffer.len() as u64;
        writer.last_mark = last_mark;
        state.next += records.len() as u64;
        writer.segment.grow(writer.at, Offset::from_raw(state.next), last_received_at, &marks);
        Ok(())
    }

    /// Ends the current segment, and describes it.
    fn roll(&self, state: &mut State) {
        let Some(writer) = state.writer.take() else { return };
        writer.segment.seal();
        let bytes = index::encode(writer.segment.summary(), &writer.segment.marks(), &Devices::new());
        let path = index_path(&writer.segment.path);
        if let Err(error) = crashsafe::write_file(self.files.as_ref(), &path, &bytes) {
            tracing::warn!(file = %path.display(), %error, "could not write the index of a segment");
        }
    }

    /// Leaves the current segment as it is, for good. One without durable entries goes.
    fn abandon(&self, state: &mut State) {
        let Some(writer) = &state.writer else { return };
        if writer.segment.is_empty() {
            let path = writer.segment.path.clone();
            state.segments.retain(|segment| segment.path != path);
            let _ = self.files.remove(&path);
            state.writer = None;
        } else {
            self.roll(state);
        }
    }

    fn read(&self, from: HoldPosition) -> Result<HeldChunk, HoldError> {
        let (segments, end) = {
            let state = self.state()?;
            (state.segments.clone(), state.next)
        };
        let mut chunk = HeldChunk { records: Vec::new(), next: from, damaged: false };
        for segment in segments.iter().filter(|segment| segment.end().to_raw() > from.0) {
            self.read_segment(segment, &mut chunk)?;
            if !chunk.records.is_empty() {
                return Ok(chunk);
            }
        }
        chunk.next = HoldPosition(end.max(from.0));
        Ok(chunk)
    }

    fn read_segment(&self, segment: &Segment, chunk: &mut HeldChunk) -> Result<(), HoldError> {
        let failed = |what| HoldError::io(what, segment.path.clone());
        let files = self.files.as_ref();
        let file = segment.file(files).map_err(failed("open"))?;
        let from = chunk.next.0.max(segment.first.to_raw());
        let place = segment.locate(files, Offset::from_raw(from)).map_err(failed("read the index of"))?;
        let end = segment.end().to_raw();
        let mut scanner = Scanner::new(file.as_ref(), Purpose::Hold, None, place, segment.bytes(), CHUNK_BYTES);
        while chunk.records.len() < CHUNK_RECORDS && (chunk.records.is_empty() || scanner.is_buffered()) {
            match scanner.step().map_err(failed("read"))? {
                Step::Frame { frame, .. } if frame.place.link >= end => break,
                Step::Frame { frame, .. } => {
                    let position = HoldPosition(frame.place.link);
                    if position.0 < from {
                        continue;
                    }
                    match frame.record() {
                        Ok(record) => chunk.records.extend(record.map(|record| (position, record))),
                        Err(_) => chunk.damaged = true,
                    }
                    chunk.next = position.next();
                }
                // Damage before the wanted place concerns others.
                Step::Damage { resume, .. } => chunk.damaged |= resume.is_none_or(|serial| serial > from),
                Step::End { at } => {
                    chunk.damaged |= at < segment.bytes();
                    break;
                }
                Step::Newer(newer) => {
                    let file = segment.path.clone();
                    return Err(HoldError::NewerFormat {
                        file,
                        found: newer.found,
                        known: crate::format::FORMAT.into(),
                    });
                }
            }
        }
        if chunk.records.is_empty() {
            chunk.next = HoldPosition(end.max(chunk.next.0));
        }
        Ok(())
    }

    fn trim(&self, before: HoldPosition) -> Result<(), HoldError> {
        let mut state = self.state()?;
        if before.0 >= state.next && state.segments.iter().any(|segment| !segment.is_empty()) {
            self.begin_empty(&mut state).map_err(HoldError::io("write", &self.dir))?;
        }
        while state.segments.len() > 1
            && let Some(segment) = state.segments.first()
            && segment.is_sealed()
            && segment.end().to_raw() <= before.0
        {
            self.remove(segment)?;
            state.segments.remove(0);
        }
        Ok(())
    }

    /// Begins a segment that is durable without entries: when all others are removed, its header says how far
    /// positions have come, so that none is used twice.
    fn begin_empty(&self, state: &mut State) -> io::Result<()> {
        let mut writer = self.begin(state)?;
        let written = writer.file.write_at(&self.header(state.next).encode(), 0).and_then(|()| writer.file.sync());
        if let Err(error) = written {
            state.segments.pop();
            let _ = self.files.remove(&writer.segment.path);
            return Err(error);
        }
        writer.at = HEADER_SIZE;
        if let Some(before) = state.writer.replace(writer) {
            before.segment.seal();
        }
        Ok(())
    }

    fn header(&self, first: u64) -> Header {
        Header { purpose: Purpose::Hold, first, previous_end: first, epoch: self.epoch, journal: self.journal.clone() }
    }

    fn remove(&self, segment: &Segment) -> Result<(), HoldError> {
        for path in [index_path(&segment.path), segment.path.clone()] {
            remove_if_there(self.files.as_ref(), &path).map_err(HoldError::io("remove", path))?;
        }
        Ok(())
    }

    fn delete(&self) -> Result<(), HoldError> {
        let mut state = self.state()?;
        state.writer = None;
        while let Some(segment) = state.segments.first() {
            segment.seal();
            self.remove(segment)?;
            state.segments.remove(0);
        }
        state.closed = true;
        self.files.sync_dir(&self.dir).map_err(HoldError::io("sync", &self.dir))?;
        self.files.remove_dir(&self.dir).map_err(HoldError::io("remove", &self.dir))?;
        let parent = self.dir.parent().unwrap_or(Path::new("."));
        self.files.sync_dir(parent).map_err(HoldError::io("sync", parent))
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        self.roll(&mut state);
        state.closed = true;
    }

    fn state(&self) -> Result<std::sync::MutexGuard<'_, State>, HoldError> {
        let state = lock(&self.state);
        if state.closed { Err(HoldError::Closed { name: self.name.clone() }) } else { Ok(state) }
    }
}

fn opening(error: OpenError) -> HoldError {
    match error {
        OpenError::Io { what, path, source } => HoldError::Io { what, path, source },
        OpenError::NewerFormat { file, found, known } => HoldError::NewerFormat { file, found, known },
        OpenError::Locked { dir, .. } => HoldError::Closed { name: dir.display().to_string() },
        OpenError::Foreign { file, .. } => HoldError::Closed { name: file.display().to_string() },
    }
}
