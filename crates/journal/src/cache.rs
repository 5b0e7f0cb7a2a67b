//! The tail cache: the latest committed records, in memory, shared by all readers at the tail.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hubward_model::{Offset, Record};

/// The latest committed records, within a number of bytes.
pub(crate) struct Cache {
    limit: u64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    chunks: VecDeque<Cached>,
    bytes: u64,
}

struct Cached {
    first: Offset,
    end: Offset,
    bytes: u64,
    records: Arc<[Record]>,
}

impl Cache {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Adds records that became durable, later than all before, and lets the oldest go.
    pub(crate) fn push(&self, records: Arc<[Record]>) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        let (first, end) = (first.offset, last.offset.next());
        let bytes = records.iter().map(weight).sum();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.bytes += bytes;
        inner.chunks.push_back(Cached { first, end, bytes, records });
        while inner.bytes > self.limit {
            let Some(oldest) = inner.chunks.pop_front() else { break };
            inner.bytes -= oldest.bytes;
        }
    }

    /// The records from `from` on, as far as one chunk goes; none if `from` is not in the cache.
    pub(crate) fn read(&self, from: Offset) -> Option<Arc<[Record]>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let chunk = inner.chunks.get(inner.chunks.partition_point(|chunk| chunk.end <= from))?;
        if chunk.first > from {
            return None;
        }
        let records = Arc::clone(&chunk.records);
        drop(inner);
        match records.partition_point(|record| record.offset < from) {
            0 => Some(records),
            // Rare: only a reader that was just placed begins in the middle of a chunk.
            skip => Some(records[skip..].into()),
        }
    }
}

/// Memory that a record takes, roughly.
pub(crate) fn weight(record: &Record) -> u64 {
    let message = &record.message;
    let properties: usize =
        message.user_properties.iter().map(|(name, value)| 2 * size_of::<String>() + name.len() + value.len()).sum();
    let heap = message.topic.len()
        + message.payload.len()
        + message.content_type.as_ref().map_or(0, String::len)
        + properties
        + record.note.len()
        + 64;
    (size_of::<Record>() + heap) as u64
}
