//! What each partition holds: the ends, and every so often how far each had come, to begin near a sequence number or time.
//!
//! Only durable events stand in it. It follows the journal, and is kept in a file (`index_file`), so that a start reads
//! only what came since the file was last written. The file also counts for partitions whose events have all gone by.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hubward_model::{Offset, Record, Timestamp};
use serde::{Deserialize, Serialize};

use super::position::Position;
use super::stored::StoredEvent;
use crate::limits::Used;

/// A mark stands before every so many events.
const MARK_EVENTS: usize = 1024;
/// And no further apart than so many bytes, so that a start and a look-up read little whatever the events' size.
const MARK_BYTES: u64 = 1 << 20;

/// What a partition holds, as its readers may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionInfo {
    /// Number of the first event there is.
    pub(crate) begin_sequence: i64,
    /// The last event there ever was.
    pub(crate) last: Last,
}

/// The last event of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    /// Its number; before the first ever: -1.
    pub(crate) sequence: i64,
    /// Its offset, if there ever was one.
    pub(crate) offset: Option<u64>,
    /// When it came.
    pub(crate) enqueued_at: Timestamp,
}

impl Last {
    pub(super) const NONE: Self = Self { sequence: -1, offset: None, enqueued_at: Timestamp::from_millis(0) };

    /// The offset as readers see it.
    pub(crate) fn offset_text(&self) -> String {
        self.offset.map_or_else(|| "-1".to_owned(), |offset| offset.to_string())
    }
}

impl PartitionInfo {
    /// Whether there is nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.begin_sequence > self.last.sequence
    }
}

/// How far every partition had come at a place in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// All events before it are counted, none from it on.
    pub(super) offset: u64,
    /// The last of each partition before it.
    pub(super) lasts: Vec<Last>,
    /// What the events before it used of the day of the last of them.
    pub(super) used: Used,
}

/// The index of all partitions.
pub(super) struct Index(Mutex<Inner>);

struct Inner {
    partitions: Vec<PartitionInfo>,
    used: Used,
    /// One for every [`MARK_EVENTS`] events on disk at most: some megabytes for a full journal of 10 GiB.
    places: VecDeque<Place>,
    events_since: usize,
    bytes_since: u64,
    unsaved: Vec<Mark>,
}

/// What of a mark is looked up.
struct Place {
    offset: u64,
    /// The latest time before it.
    millis: i64,
    /// The next sequence number of each partition.
    next: Box<[i64]>,
}

impl From<&Mark> for Place {
    fn from(mark: &Mark) -> Self {
        Self {
            offset: mark.offset,
            millis: mark.lasts.iter().map(|last| last.enqueued_at.as_millis()).max().unwrap_or_default(),
            next: mark.lasts.iter().map(|last| last.sequence + 1).collect(),
        }
    }
}

impl Index {
    /// An index of what `marks` tell, in order; without any, `lasts` are what the partitions count on from.
    pub(super) fn new(lasts: Vec<Last>, marks: &[Mark]) -> Self {
        let lasts = marks.last().map_or(lasts, |mark| mark.lasts.clone());
        let empty = |last: Last| PartitionInfo { begin_sequence: last.sequence + 1, last };
        Self(Mutex::new(Inner {
            partitions: lasts.into_iter().map(empty).collect(),
            used: marks.last().map_or_else(Used::default, |mark| mark.used),
            places: marks.iter().map(Place::from).collect(),
            events_since: 0,
            bytes_since: 0,
            unsaved: Vec::new(),
        }))
    }

    /// Takes in what was committed.
    pub(super) fn add(&self, records: &[Record]) {
        let mut inner = self.lock();
        for record in records {
            let Some((number, sequence)) = StoredEvent::place(record) else { continue };
            if inner.events_since >= MARK_EVENTS || inner.bytes_since >= MARK_BYTES {
                inner.mark(record.offset);
            }
            inner.events_since += 1;
            inner.bytes_since += (record.message.payload.len() + record.note.len()) as u64 + 64;
            inner.used.take(record.received_at, StoredEvent::charge(record));
            let Some(partition) = inner.partitions.get_mut(number as usize) else { continue };
            partition.last = Last { sequence, offset: Some(record.offset.to_raw()), enqueued_at: record.received_at };
        }
    }

    /// Sets a mark at `position`, up to which everything was taken in, unless nothing came since the last.
    pub(super) fn mark(&self, position: Offset) {
        let mut inner = self.lock();
        if inner.events_since > 0 {
            inner.mark(position);
        }
    }

    /// The marks that are not in the file yet; they are taken to be after this.
    pub(super) fn take_unsaved(&self) -> Vec<Mark> {
        std::mem::take(&mut self.lock().unsaved)
    }

    /// Marks that were taken, and could not be written.
    pub(super) fn put_back(&self, mut marks: Vec<Mark>) {
        let mut inner = self.lock();
        marks.append(&mut inner.unsaved);
        inner.unsaved = marks;
    }

    /// How far each partition had come at the first mark past `oldest`, and where that is: `position` and now, if there
    /// is none. The first events from `oldest` on lie before it, or have these numbers.
    pub(super) fn next_after(&self, oldest: Offset, position: Offset) -> (Offset, Vec<i64>) {
        let inner = self.lock();
        let after = inner.places.partition_point(|place| place.offset <= oldest.to_raw());
        match inner.places.get(after) {
            Some(place) => (Offset::from_raw(place.offset), place.next.to_vec()),
            None => (position, inner.partitions.iter().map(|partition| partition.last.sequence + 1).collect()),
        }
    }

    /// Events before `oldest` are gone; each partition begins with its number in `firsts`. Answers the first mark that is
    /// still of use.
    pub(super) fn forget(&self, oldest: Offset, firsts: &[i64]) -> u64 {
        let mut inner = self.lock();
        while inner.places.get(1).is_some_and(|second| second.offset <= oldest.to_raw()) {
            inner.places.pop_front();
        }
        for (partition, first) in inner.partitions.iter_mut().zip(firsts) {
            partition.begin_sequence = *first;
        }
        inner.places.front().map_or(0, |place| place.offset)
    }

    pub(super) fn info(&self, partition: u32) -> Option<PartitionInfo> {
        self.lock().partitions.get(partition as usize).copied()
    }

    /// What all events used of the day of the last of them.
    pub(super) fn used(&self) -> Used {
        self.lock().used
    }

    /// The last event of every partition.
    pub(super) fn lasts(&self) -> Vec<Last> {
        self.lock().partitions.iter().map(|partition| partition.last).collect()
    }

    /// A place in the journal before which `partition` has nothing that `position` wants.
    pub(super) fn find(&self, partition: u32, position: &Position, oldest: Offset, end: Offset) -> Offset {
        let before = |is_before: &dyn Fn(&Place) -> bool| {
            let inner = self.lock();
            let count = inner.places.partition_point(is_before);
            let place = count.checked_sub(1).and_then(|last| inner.places.get(last));
            place.map_or(oldest, |place| Offset::from_raw(place.offset))
        };
        let next = |place: &Place| place.next.get(partition as usize).copied().unwrap_or_default();
        let found = match *position {
            Position::Start => oldest,
            Position::Latest => end,
            Position::Offset { value, .. } => Offset::from_raw(value),
            Position::Sequence { value, .. } => before(&|place| next(place) <= value),
            Position::Enqueued { millis, .. } => before(&|place| place.millis < millis),
        };
        found.max(oldest)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn mark(&mut self, offset: Offset) {
        let lasts = self.partitions.iter().map(|partition| partition.last).collect();
        let mark = Mark { offset: offset.to_raw(), lasts, used: self.used };
        self.places.push_back(Place::from(&mark));
        self.unsaved.push(mark);
        (self.events_since, self.bytes_since) = (0, 0);
    }
}
