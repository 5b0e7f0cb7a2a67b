//! A journal in memory.

use std::sync::{Arc, Mutex, PoisonError};

use hubward_journal::Chunk;
use hubward_model::{Draft, Epoch, Offset, Record};
use tokio::sync::watch;

/// Records in a list; offsets have holes, as real ones may.
#[derive(Clone)]
pub(crate) struct MemoryRecords {
    list: Arc<Mutex<Vec<Record>>>,
    durable: watch::Sender<Offset>,
    chunk: usize,
}

pub(crate) struct MemoryReads {
    list: Arc<Mutex<Vec<Record>>>,
    durable: watch::Receiver<Offset>,
    position: Offset,
    chunk: usize,
}

impl MemoryRecords {
    pub(crate) fn new(chunk: usize) -> Self {
        Self { list: Arc::default(), durable: watch::Sender::new(Offset::from_raw(1)), chunk }
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
