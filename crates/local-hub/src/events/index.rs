//! What each partition holds: the ends, and every so often where an event lies, to begin near a sequence number or time.
//!
//! Only durable events stand in it. It is made by reading the journal: all of it at the start, then what is committed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hubward_model::{Offset, Record, Timestamp};

use super::position::Position;
use super::stored::StoredEvent;

/// Every so many events of a partition one is noted.
const STRIDE: u64 = 1024;

/// What a partition holds, as its readers may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionInfo {
    /// Number of the first event there is.
    pub(crate) begin_sequence: i64,
    /// Number of the last one; before the first ever: -1.
    pub(crate) last_sequence: i64,
    /// Offset of the last one, if there ever was one.
    pub(crate) last_offset: Option<u64>,
    /// When it came.
    pub(crate) last_enqueued_at: Timestamp,
}

impl PartitionInfo {
    const EMPTY: Self =
        Self { begin_sequence: 0, last_sequence: -1, last_offset: None, last_enqueued_at: Timestamp::from_millis(0) };

    /// The last offset as readers see it.
    pub(crate) fn last_offset_text(&self) -> String {
        self.last_offset.map_or_else(|| "-1".to_owned(), |offset| offset.to_string())
    }

    /// Whether there is nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.begin_sequence > self.last_sequence
    }
}

/// The index of all partitions.
pub(super) struct Index(Mutex<Vec<Partition>>);

struct Partition {
    info: PartitionInfo,
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
    pub(super) fn new(partitions: u32) -> Self {
        let empty = || Partition { info: PartitionInfo::EMPTY, seen: 0, marks: VecDeque::new() };
        Self(Mutex::new((0..partitions).map(|_| empty()).collect()))
    }

    /// Takes in what was committed.
    pub(super) fn add(&self, records: &[Record]) {
        let mut partitions = self.lock();
        for record in records {
            let Some((number, sequence)) = StoredEvent::place(record) else { continue };
            let Some(partition) = partitions.get_mut(number as usize) else { continue };
            let mark =
                Mark { offset: record.offset.to_raw(), sequence, enqueued_millis: record.received_at.as_millis() };
            if partition.seen == 0 {
                partition.info.begin_sequence = sequence;
            }
            if partition.seen % STRIDE == 0 {
                partition.marks.push_back(mark);
            }
            partition.seen += 1;
            partition.info.last_sequence = sequence;
            partition.info.last_offset = Some(mark.offset);
            partition.info.last_enqueued_at = record.received_at;
        }
    }

    /// Events before `oldest` are gone; `firsts` are the sequence numbers of the first ones left in each partition
    /// (nothing: the partition is empty).
    pub(super) fn forget(&self, oldest: Offset, firsts: &[Option<i64>]) {
        for (partition, first) in self.lock().iter_mut().zip(firsts) {
            while partition.marks.front().is_some_and(|mark| mark.offset < oldest.to_raw()) {
                partition.marks.pop_front();
            }
            partition.info.begin_sequence = first.unwrap_or(partition.info.last_sequence + 1);
        }
    }

    pub(super) fn info(&self, partition: u32) -> Option<PartitionInfo> {
        self.lock().get(partition as usize).map(|partition| partition.info)
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
