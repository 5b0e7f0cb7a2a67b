//! Reading in order, from any place, over gaps, and waiting at the end.

use std::sync::Arc;

use hubward_model::{Offset, Record};
use tokio::sync::watch;

use crate::error::ReadError;
use crate::files::File;
use crate::format::header::Purpose;
use crate::scan::{Scanner, Step};
use crate::segment::{Segment, lock};
use crate::shared::{Shared, Tail};

/// Most records of one chunk.
pub(crate) const CHUNK_RECORDS: usize = 512;
/// Bytes that are read from disk for one chunk. A larger record comes alone.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// Reads records in order, only durable ones.
pub struct Reader {
    shared: Arc<Shared>,
    tail: watch::Receiver<Tail>,
    position: Offset,
    /// Where in a file the record at `position` is looked for, if the last one came from there.
    cursor: Option<Cursor>,
}

/// What a reader got.
#[derive(Debug, Clone, PartialEq)]
pub enum Chunk {
    /// Some records, at least one, in order.
    Records(Arc<[Record]>),
    /// Records that are gone: removed by retention, or damaged on disk. Reading goes on at `to`.
    Gap {
        /// The first that is gone.
        from: Offset,
        /// The first that may be there again.
        to: Offset,
    },
}

#[derive(Clone)]
struct Cursor {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    /// A place in the file where a frame begins, and its least serial.
    at: (u64, u64),
}

/// A chunk, and where reading goes on.
struct Found {
    chunk: Option<Chunk>,
    position: Offset,
    cursor: Option<Cursor>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, from: Offset) -> Self {
        let tail = shared.tail.subscribe();
        Self { shared, tail, position: from.max(FIRST), cursor: None }
    }

    /// The next records; waits at the end of the journal. Dropping the future loses nothing.
    ///
    /// Batches that were just committed come from memory. Reads from disk go to tokio's blocking pool: a page that is
    /// not cached takes milliseconds, and on a machine of two cores that would stop half of all connections.
    pub async fn next(&mut self) -> Result<Chunk, ReadError> {
        // A reader that catches up in memory never waits for anything; so it lets others run now and then.
        tokio::task::coop::consume_budget().await;
        loop {
            // Seen before the look, so that what becomes durable after it wakes us.
            let tail = *self.tail.borrow_and_update();
            if self.position < tail.durable {
                if let Some(records) = self.cached() {
                    return Ok(self.took(records));
                }
                let (shared, position, cursor) = (Arc::clone(&self.shared), self.position, self.cursor.clone());
                let found = tokio::task::spawn_blocking(move || read(&shared, position, cursor)).await;
                // The blocking pool ends only with the runtime, and this future with it.
                let Ok(found) = found else { return Err(ReadError::Closed) };
                if let Some(chunk) = self.found(found?) {
                    return Ok(chunk);
                }
                continue;
            }
            if tail.ended || self.tail.changed().await.is_err() {
                return Err(ReadError::Closed);
            }
        }
    }

    /// The next records if there are any now. May read from disk, so it may block for a while.
    pub fn try_next(&mut self) -> Result<Option<Chunk>, ReadError> {
        while self.position < self.shared.durable() {
            if let Some(records) = self.cached() {
                return Ok(Some(self.took(records)));
            }
            let found = read(&self.shared, self.position, self.cursor.clone())?;
            if let Some(chunk) = self.found(found) {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    /// The next record's least offset.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Reads on from `to`.
    pub fn seek(&mut self, to: Offset) {
        self.position = to.max(FIRST);
        self.cursor = None;
    }

    fn cached(&self) -> Option<Arc<[Record]>> {
        self.shared.cache.read(self.position)
    }

    fn took(&mut self, records: Arc<[Record]>) -> Chunk {
        if let Some(last) = records.last() {
            self.position = last.offset.next();
        }
        self.cursor = None;
        Chunk::Records(records)
    }

    fn found(&mut self, found: Found) -> Option<Chunk> {
        self.position = found.position;
        self.cursor = found.cursor;
        found.chunk
    }
}

/// The first record of a journal.
pub(crate) const FIRST: Offset = Offset::from_raw(1);

/// One bounded read from disk. No chunk: look again from the new position.
fn read(shared: &Shared, position: Offset, cursor: Option<Cursor>) -> Result<Found, ReadError> {
    let gap = |to: Offset| Ok(Found { chunk: Some(Chunk::Gap { from: position, to }), position: to, cursor: None });
    let oldest = shared.oldest();
    if position < oldest {
        return gap(oldest);
    }
    let Some(segment) = shared.segment_at(position) else {
        // Nothing is kept from here on.
        return Ok(Found { chunk: None, position: position.max(shared.durable()), cursor: None });
    };
    if position < segment.first {
        // What lies between was refused, unless the segments before say otherwise: then a file is missing.
        let present = lock(&shared.segments)
            .iter()
            .take_while(|other| other.number < segment.number)
            .map(|other| other.end())
            .max();
        return match present {
            Some(end) if end < segment.previous_end => gap(segment.first),
            _ => Ok(Found { chunk: None, position: segment.first, cursor: None }),
        };
    }
    match read_segment(shared, segment, position, cursor) {
        // Retention may have removed the file since; then the gap is told by the next look.
        Err(ReadError::Io { .. }) if position < shared.oldest() => gap(shared.oldest()),
        other => other,
    }
}

fn read_segment(
    shared: &Shared,
    segment: Arc<Segment>,
    position: Offset,
    cursor: Option<Cursor>,
) -> Result<Found, ReadError> {
    let failed = |what| ReadError::io(what, segment.path.clone());
    let (file, from) = match cursor {
        Some(cursor) if Arc::ptr_eq(&cursor.segment, &segment) => (cursor.file, cursor.at),
        _ => {
            let file = segment.file(shared.files.as_ref()).map_err(failed("open"))?;
            (file, segment.locate(shared.files.as_ref(), position).map_err(failed("read the index of"))?)
        }
    };
    let end = segment.end();
    let mut scanner = Scanner::new(file.as_ref(), Purpose::Journal, segment.epoch, from, segment.bytes(), CHUNK_BYTES);
    let mut records = Vec::new();
    // What of this segment was passed: records, unknown kinds, and frames before the wanted one.
    let mut passed = position;
    let mut damage = None;
    while records.len() < CHUNK_RECORDS && (records.is_empty() || scanner.is_buffered()) {
        let before = scanner.position();
        match scanner.step().map_err(failed("read"))? {
            // A copy of records that stand in the next segment, or were refused.
            Step::Frame { frame, .. } if frame.place.offset >= end => {
                passed = end;
                break;
            }
            Step::Frame { frame, .. } => {
                let offset = frame.place.offset;
                if offset < position {
                    continue;
                }
                match frame.record() {
                    Ok(record) => records.extend(record),
                    Err(_) if records.is_empty() => {
                        damage = Some((offset, offset.next()));
                        break;
                    }
                    Err(_) => {
                        // Told as a gap by the next read.
                        return Ok(chunk(records, offset, &segment, &file, before));
                    }
                }
                passed = offset.next();
            }
            Step::Damage { .. } if !records.is_empty() => {
                return Ok(chunk(records, passed, &segment, &file, before));
            }
            Step::Damage { resume, .. } => {
                let to = resume.map_or(end, |serial| Offset::from_raw(serial).min(end));
                // Damage before the wanted place concerns others.
                if to > position {
                    damage = Some((Offset::from_raw(before.1).max(position), to));
                    break;
                }
            }
            Step::End { at } if at < segment.bytes() => {
                // Zeros where records were.
                if !records.is_empty() {
                    return Ok(chunk(records, passed, &segment, &file, before));
                }
                damage = Some((position, end));
                break;
            }
            Step::End { .. } => {
                passed = end;
                break;
            }
            Step::Newer(newer) if records.is_empty() => {
                let file = segment.path.clone();
                return Err(ReadError::NewerFormat { file, found: newer.found, known: crate::format::FORMAT.into() });
            }
            Step::Newer(_) => return Ok(chunk(records, passed, &segment, &file, before)),
        }
    }
    if let Some((from, to)) = damage {
        if segment.note_damage(from, to) {
            tracing::error!(segment = %segment.path.display(), %from, %to, "records are damaged on disk and cannot be read");
            shared.counters.damaged_gaps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        return Ok(Found { chunk: Some(Chunk::Gap { from, to }), position: to, cursor: None });
    }
    let at = scanner.position();
    Ok(chunk(records, passed, &segment, &file, at))
}

fn chunk(
    records: Vec<Record>,
    position: Offset,
    segment: &Arc<Segment>,
    file: &Arc<dyn File>,
    at: (u64, u64),
) -> Found {
    let chunk = (!records.is_empty()).then(|| Chunk::Records(records.into()));
    let cursor = Some(Cursor { segment: Arc::clone(segment), file: Arc::clone(file), at });
    Found { chunk, position, cursor }
}
