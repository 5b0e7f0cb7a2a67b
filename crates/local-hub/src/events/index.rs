//! What each partition holds: the ends, and every so often where an event lies, to begin near a sequence number or time.
//!
//! Only durable events stand in it. It is made by reading the journal: all of it at the start, then what is committed.
//! The ends are also kept in a file, because a partition whose events have all gone by still counts on from where it was.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hubward_model::{Offset, Record, Timestamp};
use serde::{Deserialize, Serialize};

use super::position::Position;
use super::stored::StoredEvent;
use crate::folder::{FolderError, read_json, write_json};

/// Every so many events of a partition one is noted.
const STRIDE: u64 = 1024;

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
    const NONE: Self = Self { sequence: -1, offset: None, enqueued_at: Timestamp::from_millis(0) };

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

/// The index of all partitions.
pub(super) struct Index(Mutex<Vec<Partition>>);

struct Partition {
    begin_sequence: i64,
    last: Last,
    seen: u64,
    marks: VecDeque<Mark>,
}

#[derive(Clone, Copy)]
struct Mark {
    offset: u64,
    sequence: i64,
    enqueued_millis: i64,
}

impl Index {
    /// An index without events; the partitions count on from the ends kept in the file at `ends`.
    pub(super) fn open(partitions: u32, ends: &Path) -> Result<Self, FolderError> {
        let kept: Vec<Last> = read_json(ends)?.unwrap_or_default();
        let empty = |number: u32| {
            let last = kept.get(number as usize).copied().unwrap_or(Last::NONE);
            Partition { begin_sequence: last.sequence + 1, last, seen: 0, marks: VecDeque::new() }
        };
        Ok(Self(Mutex::new((0..partitions).map(empty).collect())))
    }

    /// Keeps the ends in the file at `ends`. Blocks on the disk.
    pub(super) fn save(&self, ends: &Path) -> Result<(), FolderError> {
        let last: Vec<_> = self.lock().iter().map(|partition| partition.last).collect();
        write_json(ends, &last)
    }

    /// Takes in what was committed.
    pub(super) fn add(&self, records: &[Record]) {
        let mut partitions = self.lock();
        for record in records {
            let Some((number, sequence)) = StoredEvent::place(record) else { continue };
            let Some(partition) = partitions.get_mut(number as usize) else { continue };
            let offset = record.offset.to_raw();
            if partition.seen == 0 {
                partition.begin_sequence = sequence;
            }
            if partition.seen.is_multiple_of(STRIDE) {
                let enqueued_millis = record.received_at.as_millis();
                partition.marks.push_back(Mark { offset, sequence, enqueued_millis });
            }
            partition.seen += 1;
            partition.last = Last { sequence, offset: Some(offset), enqueued_at: record.received_at };
        }
    }

    /// Events before `oldest` are gone; `firsts` are the sequence numbers of the first ones left in each partition
    /// (nothing: the partition is empty).
    pub(super) fn forget(&self, oldest: Offset, firsts: &[Option<i64>]) {
        for (partition, first) in self.lock().iter_mut().zip(firsts) {
            while partition.marks.front().is_some_and(|mark| mark.offset < oldest.to_raw()) {
                partition.marks.pop_front();
            }
            partition.begin_sequence = first.unwrap_or(partition.last.sequence + 1);
        }
    }

    pub(super) fn info(&self, partition: u32) -> Option<PartitionInfo> {
        let partitions = self.lock();
        let partition = partitions.get(partition as usize)?;
        Some(PartitionInfo { begin_sequence: partition.begin_sequence, last: partition.last })
    }

    /// A place in the journal before which `partition` has nothing that `position` wants.
    pub(super) fn find(&self, partition: u32, position: &Position, oldest: Offset, end: Offset) -> Offset {
        let before = |is_before: &dyn Fn(&Mark) -> bool| {
            let partitions = self.lock();
            let marks = partitions.get(partition as usize).map(|partition| &partition.marks);
            let place = marks.map_or(0, |marks| marks.partition_point(is_before));
            let mark = marks.and_then(|marks| marks.get(place.checked_sub(1)?));
            mark.map_or(oldest, |mark| Offset::from_raw(mark.offset))
        };
        let found = match *position {
            Position::Start => oldest,
            Position::Latest => end,
            Position::Offset { value, .. } => Offset::from_raw(value),
            Position::Sequence { value, .. } => before(&|mark| mark.sequence <= value),
            Position::Enqueued { millis, .. } => before(&|mark| mark.enqueued_millis < millis),
        };
        found.max(oldest)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Partition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
