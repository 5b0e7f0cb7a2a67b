//! A journal in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubward_journal::{Chunk, HeldChunk, HoldPosition};
use hubward_model::{Draft, Epoch, Offset, Record};
use tokio::sync::watch;
use tokio::time::sleep;

/// Records in a list; offsets have holes, as real ones may.
#[derive(Clone)]
pub(crate) struct MemoryRecords {
    list: Arc<Mutex<Vec<Record>>>,
    durable: watch::Sender<Offset>,
    to_go: watch::Sender<Offset>,
    kept: Arc<Mutex<Kept>>,
    hold: MemoryHold,
    chunk: usize,
}

struct Kept {
    /// What the pin keeps.
    from: Offset,
    oldest: Offset,
}

/// A hold file in memory; what is there survives everything.
#[derive(Clone)]
pub(crate) struct MemoryHold {
    chunk: usize,
    entries: Arc<Mutex<(u64, VecDeque<Record>)>>,
}

pub(crate) struct MemoryReads {
    list: Arc<Mutex<Vec<Record>>>,
    kept: Arc<Mutex<Kept>>,
    durable: watch::Receiver<Offset>,
    position: Offset,
    chunk: usize,
}

impl MemoryRecords {
    pub(crate) fn new(chunk: usize) -> Self {
        Self {
            list: Arc::default(),
            durable: watch::Sender::new(Offset::from_raw(1)),
            to_go: watch::Sender::new(Offset::START),
            kept: Arc::new(Mutex::new(Kept { from: Offset::START, oldest: Offset::START })),
            hold: MemoryHold { chunk, entries: Arc::new(Mutex::new((1, VecDeque::new()))) },
            chunk,
        }
    }

    pub(crate) fn to_go(&self) -> watch::Receiver<Offset> {
        self.to_go.subscribe()
    }

    /// Everything before `before` is to go; what nobody needs of it goes at once.
    pub(crate) fn let_go(&self, before: Offset) {
        self.to_go.send_if_modified(|to_go| {
            let further = before > *to_go;
            *to_go = before.max(*to_go);
            further
        });
        self.retain();
    }

    /// What stands before `before` can no longer be read.
    pub(crate) fn lose(&self, before: Offset) {
        locked(&self.kept).oldest = before;
        locked(&self.list).retain(|record| record.offset >= before);
    }

    pub(crate) fn need(&self, from: Offset) {
        locked(&self.kept).from = from;
        self.retain();
    }

    pub(crate) fn hold(&self) -> MemoryHold {
        self.hold.clone()
    }

    /// Records it still has.
    pub(crate) fn kept(&self) -> usize {
        locked(&self.list).len()
    }

    fn retain(&self) {
        let mut kept = locked(&self.kept);
        kept.oldest = kept.oldest.max(kept.from.min(*self.to_go.borrow()));
        // The last one says how far offsets have come.
        let mut list = locked(&self.list);
        let last = list.last().map(|record| record.offset);
        list.retain(|record| record.offset >= kept.oldest || Some(record.offset) == last);
    }

    pub(crate) fn append(&self, draft: Draft) -> Offset {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        // Every seventh place is a hole.
        let last = list.last().map_or(0, |record| record.offset.to_raw());
        let raw = last + if last % 7 == 6 { 2 } else { 1 };
        let offset = Offset::from_raw(raw);
        list.push(Record { offset, epoch: Epoch::from_raw(1 << 32), draft });
        self.durable.send_replace(offset.next());
        offset
    }

    pub(crate) fn durable(&self) -> Offset {
        *self.durable.borrow()
    }

    pub(crate) fn reads(&self, from: Offset) -> MemoryReads {
        MemoryReads {
            list: Arc::clone(&self.list),
            kept: Arc::clone(&self.kept),
            durable: self.durable.subscribe(),
            position: from,
            chunk: self.chunk,
        }
    }
}

impl MemoryReads {
    pub(crate) async fn next(&mut self) -> Chunk {
        // Offsets begin at 1.
        let position = self.position.max(Offset::from_raw(1));
        if self.durable.wait_for(|durable| *durable > position).await.is_err() {
            std::future::pending::<()>().await;
        }
        let oldest = locked(&self.kept).oldest;
        if position < oldest {
            self.position = oldest;
            return Chunk::Gap { from: position, to: oldest };
        }
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let from = list.partition_point(|record| record.offset < position);
        let records: Arc<[Record]> = list[from..].iter().take(self.chunk).cloned().collect();
        if let Some(last) = records.last() {
            self.position = last.offset.next();
        }
        Chunk::Records(records)
    }

    pub(crate) fn position(&self) -> Offset {
        self.position
    }
}

impl MemoryHold {
    pub(crate) async fn append(&self, records: Vec<Record>) -> HoldPosition {
        sleep(Duration::from_millis(2)).await;
        let place = self.add(records);
        sleep(Duration::from_millis(2)).await;
        place
    }

    fn add(&self, records: Vec<Record>) -> HoldPosition {
        let mut entries = locked(&self.entries);
        let place = HoldPosition::from_raw(entries.0 + entries.1.len() as u64);
        entries.1.extend(records);
        place
    }

    pub(crate) async fn read(&self, from: HoldPosition) -> HeldChunk {
        sleep(Duration::from_millis(1)).await;
        let entries = locked(&self.entries);
        let begin = from.to_raw().max(entries.0);
        let skip = usize::try_from(begin - entries.0).unwrap_or(usize::MAX);
        let places = (begin..).map(HoldPosition::from_raw);
        let records: Vec<_> = places.zip(entries.1.iter().skip(skip).take(self.chunk).cloned()).collect();
        let end = HoldPosition::from_raw(entries.0 + entries.1.len() as u64);
        let next = records.last().map_or(end.max(from), |(place, _)| place.next());
        HeldChunk { records, next, damaged: false }
    }

    pub(crate) fn trim(&self, before: HoldPosition) {
        let mut entries = locked(&self.entries);
        while entries.0 < before.to_raw() && entries.1.pop_front().is_some() {
            entries.0 += 1;
        }
    }

    pub(crate) fn len(&self) -> usize {
        locked(&self.entries).1.len()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
