//! Looking back: records of one device or of all, the newest first, in bounded steps.
//!
//! A step reads only so much, whatever the journal holds. Who wants more goes on where it ended: [`Looked::next`].

use std::sync::Arc;

use hubward_model::{DeviceId, Kind, Offset, Record, Timestamp};

use crate::error::ReadError;
use crate::files::read_file;
use crate::format::frame::Frame;
use crate::format::header::Purpose;
use crate::format::index;
use crate::history::{Finder, begin, link};
use crate::journal::Journal;
use crate::scan::{Scanner, Step};
use crate::segment::{Segment, index_path, lock};
use crate::shared::Shared;

/// Bytes that are read at once to find a time.
const GLANCE: usize = 4 << 10;
/// So far ahead of a time the next record of a device is looked for; its link leads back over the time at once.
const AHEAD: u64 = 1 << 20;
/// So many indexes of older segments are asked for a device's last record.
const INDEXES: usize = 32;

/// Segments that a step reads records from, if nobody says how many.
const SEGMENTS: usize = 200;

/// Which records to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookBack {
    /// Only of this device.
    pub device: Option<DeviceId>,
    /// Only records before this offset: what [`Looked::next`] said.
    pub before: Option<Offset>,
    /// Only records received before this time.
    pub until: Option<Timestamp>,
    /// Only records received at this time or after it.
    pub since: Option<Timestamp>,
    /// Only records of this kind.
    pub kind: Option<Kind>,
    /// Most records to return.
    pub limit: usize,
    /// Most records to look at. A little more may be looked at, never less than what one piece of a file holds.
    pub visit: usize,
    /// Most segments to read records from: those of a rare device may stand in one each. At least one is read.
    pub segments: usize,
}

impl Default for LookBack {
    fn default() -> Self {
        Self {
            device: None,
            before: None,
            until: None,
            since: None,
            kind: None,
            limit: 100,
            visit: 10_000,
            segments: SEGMENTS,
        }
    }
}

/// What was found, and what it took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Looked {
    /// The records, the newest first.
    pub records: Vec<Record>,
    /// From where to look on; none: there is nothing older that was asked for.
    pub next: Option<Offset>,
    /// Records that were looked at.
    pub visited: usize,
    /// Pieces of files that were read, at most about 64 KiB each (indexes: whole).
    pub pieces: usize,
    /// Segments that records were read from.
    pub segments: usize,
}

impl Journal {
    /// Looks back for records that `wanted` likes as well.
    pub async fn look_back(
        &self,
        query: LookBack,
        wanted: impl Fn(&Record) -> bool + Send + 'static,
    ) -> Result<Looked, ReadError> {
        let shared = Arc::clone(&self.shared);
        let looking = move || match query.device.clone() {
            Some(device) => of_device(&shared, &device, &query, &wanted),
            None => of_all(&shared, &query, &wanted),
        };
        // The blocking pool ends with the runtime alone.
        tokio::task::spawn_blocking(looking).await.unwrap_or(Err(ReadError::Closed))
    }

    /// About the first record received at `time` or after it; the end of what is durable, if there is none. Finds it
    /// by a few reads. Where the clock was set back, it may be an earlier one.
    pub async fn offset_at(&self, time: Timestamp) -> Result<Offset, ReadError> {
        let shared = Arc::clone(&self.shared);
        let finding = move || time_to_offset(&shared, time, &mut 0);
        tokio::task::spawn_blocking(finding).await.unwrap_or(Err(ReadError::Closed))
    }
}

/// Whether a record is asked for, its time and offset apart.
fn fits(query: &LookBack, wanted: &dyn Fn(&Record) -> bool, record: &Record) -> bool {
    query.kind.is_none_or(|kind| kind == record.kind)
        && query.until.is_none_or(|until| record.received_at < until)
        && query.since.is_none_or(|since| record.received_at >= since)
        && wanted(record)
}

fn of_device(
    shared: &Shared,
    device: &DeviceId,
    query: &LookBack,
    wanted: &dyn Fn(&Record) -> bool,
) -> Result<Looked, ReadError> {
    let mut looked = Looked::default();
    let mut finder = Finder::new(shared);
    let mut next = match query.until {
        Some(until) => {
            let bound = time_to_offset(shared, until, &mut looked.pieces)?;
            match query.before.filter(|before| *before <= bound) {
                Some(before) => begin(&mut finder, device, Some(before))?,
                None => last_before(&mut finder, device, bound, &mut looked.pieces)?,
            }
        }
        None => begin(&mut finder, device, query.before)?,
    };
    while let Some(offset) = next {
        let done = looked.records.len() >= query.limit || looked.visited >= query.visit;
        // The first look is always made, so that every step goes on.
        if done || looked.visited > 0 && finder.segments >= query.segments && finder.is_elsewhere(offset) {
            break;
        }
        let Some(frame) = finder.find(offset)? else {
            next = finder.before_damage(device, offset)?;
            continue;
        };
        looked.visited += 1;
        looked.next = Some(offset);
        if query.since.is_some_and(|since| frame.received_at < since) {
            next = None;
            break;
        }
        if query.before.is_none_or(|before| offset < before)
            && let Ok(Some(record)) = frame.record()
            && fits(query, wanted, &record)
        {
            looked.records.push(record);
        }
        next = link(&frame);
    }
    // What is linked to may be gone.
    looked.next = looked.next.filter(|_| next.is_some_and(|next| next >= shared.oldest()));
    looked.pieces += finder.loads;
    looked.segments = finder.segments;
    Ok(looked)
}

/// A record of the device from which the way back leads over all before `bound`: its last before it, or a later one.
fn last_before(
    finder: &mut Finder<'_>,
    device: &DeviceId,
    bound: Offset,
    pieces: &mut usize,
) -> Result<Option<Offset>, ReadError> {
    let shared = finder.shared;
    let latest = lock(&shared.devices).get(device).copied();
    if latest.is_none_or(|latest| latest < bound) {
        return Ok(latest);
    }
    let Some(segment) = shared.segment_at(bound) else { return Ok(latest) };
    // A busy device has a record soon after.
    if let Some(frame) = next_of(shared, &segment, device, bound, pieces)? {
        return Ok(link(&frame));
    }
    if !segment.is_sealed() {
        return Ok(latest);
    }
    // A rare one has few in a segment, and the index knows the last of them.
    let segments = lock(&shared.segments).clone();
    let older = segments.iter().rev().filter(|other| other.is_sealed() && other.number <= segment.number);
    let mut oldest_seen = None;
    for older in older.take(INDEXES) {
        *pieces += 1;
        oldest_seen = Some(older.first);
        let path = index_path(&older.path);
        let bytes = read_file(shared.files.as_ref(), &path).map_err(ReadError::io("read", &path))?;
        let Some((_, _, devices)) = bytes.as_deref().and_then(index::decode) else { return Ok(latest) };
        if let Some(last) = devices.get(device) {
            return Ok(Some(*last));
        }
    }
    // Nothing of it in so many segments; if there are older ones, its own chain leads there.
    Ok(latest.filter(|_| oldest_seen.is_some_and(|seen| seen > shared.oldest())))
}

/// The device's first record from `bound` on, if it comes soon.
fn next_of(
    shared: &Shared,
    segment: &Segment,
    device: &DeviceId,
    bound: Offset,
    pieces: &mut usize,
) -> Result<Option<Frame>, ReadError> {
    let mut found = None;
    walk_from(shared, segment, bound, AHEAD, pieces, |frame| {
        let is_it = frame.place.offset >= bound && frame.device().as_ref() == Some(device);
        if is_it {
            found = Some(frame);
        }
        !is_it
    })?;
    Ok(found)
}

fn of_all(shared: &Shared, query: &LookBack, wanted: &dyn Fn(&Record) -> bool) -> Result<Looked, ReadError> {
    let mut looked = Looked::default();
    let mut bound = query.before.unwrap_or_else(|| shared.durable()).min(shared.durable());
    if let Some(until) = query.until {
        bound = bound.min(time_to_offset(shared, until, &mut looked.pieces)?);
    }
    let oldest = shared.oldest();
    let mut last_read = None;
    while bound > oldest && looked.records.len() < query.limit && looked.visited < query.visit {
        // The segment of the last offset before the bound.
        let last = Offset::from_raw(bound.to_raw() - 1);
        let segments = lock(&shared.segments).clone();
        let Some(segment) = segments.iter().rev().find(|segment| segment.first <= last && !segment.is_empty()) else {
            return Ok(looked);
        };
        if last_read.replace(segment.number) != Some(segment.number) {
            if looked.segments >= query.segments.max(1) {
                break;
            }
            looked.segments += 1;
        }
        let from = mark_before(shared, segment, last)?;
        let mut frames = Vec::new();
        walk_from(shared, segment, last, u64::MAX, &mut looked.pieces, |frame| {
            let before = frame.place.offset < bound;
            if before {
                frames.push(frame);
            }
            before
        })?;
        for frame in frames.iter().rev() {
            bound = frame.place.offset;
            looked.visited += 1;
            if query.since.is_some_and(|since| frame.received_at < since) {
                return Ok(looked_without_next(looked));
            }
            if let Ok(Some(record)) = frame.record()
                && fits(query, wanted, &record)
            {
                looked.records.push(record);
                if looked.records.len() >= query.limit {
                    break;
                }
            }
        }
        if looked.records.len() < query.limit {
            // The piece is done, whatever of it could be read.
            bound = bound.min(Offset::from_raw(from.1));
        }
        looked.next = Some(bound);
    }
    looked.next = looked.next.filter(|next| *next > shared.oldest());
    Ok(looked)
}

fn looked_without_next(looked: Looked) -> Looked {
    Looked { next: None, ..looked }
}

/// About the first record received at `time` or after it.
fn time_to_offset(shared: &Shared, time: Timestamp, pieces: &mut usize) -> Result<Offset, ReadError> {
    let segments = lock(&shared.segments).clone();
    let of_interest = segments.iter().find(|s| !s.is_empty() && s.summary().last_received_at >= time);
    let Some(segment) = of_interest else { return Ok(shared.durable()) };
    // Between these marks it must be: the time at the lower one is before, that at the upper one is not.
    let failed = |what| ReadError::io(what, segment.path.clone());
    let marks = segment.all_marks(shared.files.as_ref()).map_err(failed("read the index of"))?;
    let (mut low, mut high) = (0, marks.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        let at = glance(shared, segment, (marks[middle].at, marks[middle].serial), pieces)?;
        if at.is_some_and(|at| at < time) { low = middle + 1 } else { high = middle }
    }
    let from = low.checked_sub(1).map_or(segment.first, |before| Offset::from_raw(marks[before].serial));
    let mut found = None;
    walk_from(shared, segment, from, u64::MAX, pieces, |frame| {
        let reached = frame.received_at >= time;
        if reached {
            found = Some(frame.place.offset);
        }
        !reached
    })?;
    Ok(found.unwrap_or_else(|| segment.end()))
}

/// When the frame at a mark was received.
fn glance(
    shared: &Shared,
    segment: &Segment,
    mark: (u64, u64),
    pieces: &mut usize,
) -> Result<Option<Timestamp>, ReadError> {
    let failed = |what| ReadError::io(what, segment.path.clone());
    let file = segment.file(shared.files.as_ref()).map_err(failed("open"))?;
    let mut scanner = Scanner::new(file.as_ref(), Purpose::Journal, segment.epoch, mark, segment.bytes(), GLANCE);
    *pieces += 1;
    match scanner.step().map_err(failed("read"))? {
        Step::Frame { frame, .. } => Ok(Some(frame.received_at)),
        Step::Damage { .. } | Step::End { .. } | Step::Newer(_) => Ok(None),
    }
}

fn mark_before(shared: &Shared, segment: &Segment, offset: Offset) -> Result<(u64, u64), ReadError> {
    let failed = ReadError::io("read the index of", segment.path.clone());
    segment.locate(shared.files.as_ref(), offset).map_err(failed)
}

/// Walks through the frames of a segment from the mark before `from` on, for at most `bytes`, until `visit` has enough.
fn walk_from(
    shared: &Shared,
    segment: &Segment,
    from: Offset,
    bytes: u64,
    pieces: &mut usize,
    mut visit: impl FnMut(Frame) -> bool,
) -> Result<(), ReadError> {
    let failed = |what| ReadError::io(what, segment.path.clone());
    let file = segment.file(shared.files.as_ref()).map_err(failed("open"))?;
    let mark = mark_before(shared, segment, from)?;
    let end = segment.bytes().min(mark.0.saturating_add(bytes));
    let window = crate::history::WINDOW;
    let mut scanner = Scanner::new(file.as_ref(), Purpose::Journal, segment.epoch, mark, segment.bytes(), window);
    let mut read_to = mark.0;
    loop {
        let (at, _) = scanner.position();
        if at >= read_to {
            *pieces += 1;
            read_to = at + window as u64;
        }
        if at >= end {
            return Ok(());
        }
        match scanner.step() {
            Ok(Step::Frame { frame, .. }) => {
                if frame.place.offset >= shared.durable() || !visit(frame) {
                    return Ok(());
                }
            }
            Ok(Step::Damage { resume: Some(_), .. }) => {}
            Ok(Step::Damage { .. } | Step::End { .. }) => return Ok(()),
            Ok(Step::Newer(newer)) => {
                let file = segment.path.clone();
                return Err(ReadError::NewerFormat { file, found: newer.found, known: crate::format::FORMAT.into() });
            }
            // Retention may have removed it meanwhile.
            Err(_) if segment.first < shared.oldest() => return Ok(()),
            Err(error) => return Err(failed("read")(error)),
        }
    }
}
