//! The latest records of one device, without reading those of all others.
//!
//! Every record on disk names its device's record before it, and the journal knows every device's last one. So a look
//! back reads about as many pieces of files as it returns records, however much lies between.

use std::sync::Arc;

use hubward_model::{DeviceId, Kind, Offset, Record, Timestamp};

use crate::error::ReadError;
use crate::files::read_file;
use crate::format::frame::Frame;
use crate::format::header::Purpose;
use crate::format::index;
use crate::journal::Journal;
use crate::scan::{Scanner, Step};
use crate::segment::{Segment, index_path, lock};
use crate::shared::Shared;

/// Most records that one call looks at.
const MAX_VISITED: usize = 100_000;
/// Bytes read at once: about what lies between two marks of a segment's index.
pub(crate) const WINDOW: usize = 64 << 10;

/// What to look for; [`HistoryQuery::default`] is the latest 100 records of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only records before this offset. Quickest is the offset of the last record of the page before.
    pub before: Option<Offset>,
    /// Only records received at this time or after it.
    pub since: Option<Timestamp>,
    /// Only records of this kind.
    pub kind: Option<Kind>,
    /// Most records to return.
    pub limit: usize,
}

impl Default for HistoryQuery {
    fn default() -> Self {
        Self { before: None, since: None, kind: None, limit: 100 }
    }
}

impl Journal {
    /// The latest records of a device of any kind, the latest first, as far as they are kept.
    pub async fn recent(&self, device: &DeviceId, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.history(device, HistoryQuery { limit, ..HistoryQuery::default() }).await
    }

    /// A device's records, the latest first. Fewer than the limit: there are no more (or over 100,000 of the device's
    /// records were looked at).
    pub async fn history(&self, device: &DeviceId, query: HistoryQuery) -> Result<Vec<Record>, ReadError> {
        let (shared, device) = (Arc::clone(&self.shared), device.clone());
        let looked = tokio::task::spawn_blocking(move || look_back(&shared, &device, &query)).await;
        looked.unwrap_or(Err(ReadError::Closed))
    }

    /// The durable record at `offset`; `None` if there is none, or none any more.
    pub async fn read_at(&self, offset: Offset) -> Result<Option<Record>, ReadError> {
        if let Some(record) = self.shared.cache.read(offset).and_then(|records| records.first().cloned()) {
            return Ok((record.offset == offset).then_some(record));
        }
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || {
            let frame = Finder::new(&shared).find(offset)?;
            Ok(frame.and_then(|frame| frame.record().ok().flatten()))
        });
        read.await.unwrap_or(Err(ReadError::Closed))
    }
}

fn look_back(shared: &Shared, device: &DeviceId, query: &HistoryQuery) -> Result<Vec<Record>, ReadError> {
    let mut finder = Finder::new(shared);
    let mut records = Vec::new();
    let mut next = begin(&mut finder, device, query.before)?;
    for _ in 0..MAX_VISITED {
        let Some(offset) = next.filter(|_| records.len() < query.limit) else { break };
        let Some(frame) = finder.find(offset)? else {
            next = finder.before_damage(device, offset)?;
            continue;
        };
        if query.since.is_some_and(|since| frame.received_at < since) {
            break;
        }
        if query.before.is_none_or(|before| offset < before)
            && let Ok(Some(record)) = frame.record()
            && query.kind.is_none_or(|kind| kind == record.kind)
        {
            records.push(record);
        }
        next = link(&frame);
    }
    Ok(records)
}

/// The device's last record, or one at or after its last record before `before`.
pub(crate) fn begin(
    finder: &mut Finder<'_>,
    device: &DeviceId,
    before: Option<Offset>,
) -> Result<Option<Offset>, ReadError> {
    // The next page is asked for by a record of the device: then the way back begins there.
    if let Some(before) = before
        && let Some(frame) = finder.find(before)?
        && frame.device().as_ref() == Some(device)
    {
        return Ok(link(&frame));
    }
    Ok(lock(&finder.shared.devices).get(device).copied())
}

/// The same device's record before.
pub(crate) fn link(frame: &Frame) -> Option<Offset> {
    (frame.place.link != 0 && frame.place.link < frame.place.offset.to_raw())
        .then(|| Offset::from_raw(frame.place.link))
}

/// Finds frames by offset. Keeps the piece of the file it read last: neighbours are often in it.
pub(crate) struct Finder<'a> {
    pub(crate) shared: &'a Shared,
    frames: Vec<Frame>,
    /// Pieces of files that were read.
    pub(crate) loads: usize,
    /// Segments that they are of, and the last of them. Who goes back comes to each once.
    pub(crate) segments: usize,
    segment: Option<u32>,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self { shared, frames: Vec::new(), loads: 0, segments: 0, segment: None }
    }

    /// The frame at `offset`, if it is kept and readable.
    pub(crate) fn find(&mut self, offset: Offset) -> Result<Option<Frame>, ReadError> {
        if let Some(frame) = self.known(offset) {
            return Ok(Some(frame));
        }
        if offset < self.shared.oldest() || offset >= self.shared.durable() {
            return Ok(None);
        }
        let Some(segment) = self.shared.segment_at(offset).filter(|segment| segment.first <= offset) else {
            return Ok(None);
        };
        match self.load(&segment, offset) {
            // Retention may have removed it meanwhile.
            Err(_) if offset < self.shared.oldest() => Ok(None),
            loaded => loaded.map(|()| self.known(offset)),
        }
    }

    /// Whether the frame at `offset` stands in another segment than the one that was read last.
    pub(crate) fn is_elsewhere(&self, offset: Offset) -> bool {
        self.shared.segment_at(offset).is_some_and(|segment| self.segment != Some(segment.number))
    }

    fn known(&self, offset: Offset) -> Option<Frame> {
        let at = self.frames.binary_search_by_key(&offset, |frame| frame.place.offset).ok()?;
        Some(self.frames[at].clone())
    }

    /// Reads the frames from the mark before `offset` up to it.
    fn load(&mut self, segment: &Segment, offset: Offset) -> Result<(), ReadError> {
        let failed = |what| ReadError::io(what, segment.path.clone());
        let files = self.shared.files.as_ref();
        let file = segment.file(files).map_err(failed("open"))?;
        let from = segment.locate(files, offset).map_err(failed("read the index of"))?;
        let mut scanner = Scanner::new(file.as_ref(), Purpose::Journal, segment.epoch, from, segment.bytes(), WINDOW);
        self.frames.clear();
        self.loads += 1;
        if self.segment.replace(segment.number) != Some(segment.number) {
            self.segments += 1;
        }
        loop {
            match scanner.step().map_err(failed("read"))? {
                Step::Frame { frame, .. } => {
                    let reached = frame.place.offset >= offset;
                    self.frames.push(frame);
                    if reached {
                        return Ok(());
                    }
                }
                Step::Damage { resume: Some(serial), .. } if serial <= offset.to_raw() => {}
                Step::Newer(newer) => {
                    let file = segment.path.clone();
                    return Err(ReadError::NewerFormat {
                        file,
                        found: newer.found,
                        known: crate::format::FORMAT.into(),
                    });
                }
                Step::Damage { .. } | Step::End { .. } => return Ok(()),
            }
        }
    }

    /// The way back broke at `offset`. The indexes of the segments before know the device's last record there; what
    /// lies between is left out.
    pub(crate) fn before_damage(&mut self, device: &DeviceId, offset: Offset) -> Result<Option<Offset>, ReadError> {
        let segments = lock(&self.shared.segments).clone();
        for segment in segments.iter().rev().filter(|segment| segment.is_sealed() && segment.first <= offset) {
            let path = index_path(&segment.path);
            self.loads += 1;
            let bytes = read_file(self.shared.files.as_ref(), &path).map_err(ReadError::io("read", &path))?;
            let known = bytes.as_deref().and_then(index::decode);
            if let Some(last) = known.and_then(|(_, _, devices)| devices.get(device).copied())
                && last < offset
            {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }
}
