//! The task that follows the journal and keeps the index true, in memory and on disk.

use std::sync::Arc;

use hubward_journal::{Chunk, Journal, Pin, ReadError, Reader};
use hubward_model::{Offset, Record};
use tokio::sync::watch;

use super::index::Index;
use super::index_file::IndexFile;
use super::stored::StoredEvent;

/// Follows the journal to its end.
pub(super) struct Indexer {
    pub(super) journal: Journal,
    pub(super) reader: Reader,
    pub(super) index: Arc<Index>,
    /// Tells how far the index reaches.
    pub(super) indexed: watch::Sender<Offset>,
    /// Where it is kept; nothing while it is written to.
    pub(super) file: Option<IndexFile>,
    /// It is saved after so many bytes at the latest: far fewer than the journal may hold, which the pin would fill
    /// otherwise.
    pub(super) save_bytes: u64,
    /// No event goes before the file counts it.
    pub(super) pin: Pin,
}

impl Indexer {
    /// Runs until the journal is closed and read to its end.
    pub(super) async fn run(mut self) {
        let mut oldest = self.journal.oldest();
        let mut bytes = 0_u64;
        loop {
            match self.reader.next().await {
                Ok(Chunk::Records(chunk)) => {
                    self.index.add(&chunk);
                    bytes += chunk.iter().map(|record| record.message.payload.len() as u64 + 200).sum::<u64>();
                }
                Ok(Chunk::Gap { from, to }) => tracing::warn!(%from, %to, "events were lost from the journal"),
                Err(ReadError::Closed) => break,
                Err(error) => {
                    tracing::error!(%error, "events cannot be read back");
                    break;
                }
            }
            self.indexed.send_replace(self.reader.position());
            if bytes >= self.save_bytes {
                bytes = 0;
                self.save(None).await;
            }
            if self.journal.oldest() > oldest {
                oldest = self.journal.oldest();
                let first = forget(&self.journal, &self.index, self.reader.position());
                self.save(Some(first)).await;
            }
        }
        self.save(None).await;
    }

    /// Writes what was taken in to the file; leaves out marks before the one at `first`, if that is given.
    async fn save(&mut self, first: Option<u64>) {
        let Some(mut file) = self.file.take() else { return };
        let position = self.reader.position();
        self.index.mark(position);
        let marks = self.index.take_unsaved();
        let saving = tokio::task::spawn_blocking(move || {
            let appended = file.append(&marks);
            if let (Ok(()), Some(first)) = (&appended, first)
                && let Err(error) = file.shrink(first)
            {
                tracing::warn!(%error, "the index of events cannot be made smaller");
            }
            (file, marks, appended)
        });
        match saving.await {
            Ok((file, _, Ok(()))) => {
                self.file = Some(file);
                self.pin.advance(position);
            }
            Ok((file, marks, Err(error))) => {
                // Tried again with what comes; the pin keeps the events until then.
                tracing::error!(%error, "the index of events cannot be saved");
                self.index.put_back(marks);
                self.file = Some(file);
            }
            Err(error) => tracing::error!(%error, "saving the index of events failed"),
        }
    }
}

/// Tells the index what retention has left, as far as it reaches (`position`); answers the first mark of use.
pub(super) fn forget(journal: &Journal, index: &Index, position: Offset) -> u64 {
    let oldest = journal.oldest();
    let (end, next) = index.next_after(oldest, position);
    let mut firsts = vec![None; next.len()];
    let mut reader = journal.reader(oldest);
    // Never far: marks stand close together. Nor does it wait, should there be nothing more.
    while reader.position() < end && firsts.iter().any(Option::is_none) {
        match reader.try_next() {
            Ok(Some(Chunk::Records(records))) => note_firsts(&records, end, &mut firsts),
            Ok(Some(Chunk::Gap { .. })) => {}
            Ok(None) | Err(_) => break,
        }
    }
    let firsts: Vec<_> = firsts.into_iter().zip(next).map(|(first, next)| first.unwrap_or(next)).collect();
    index.forget(oldest, &firsts)
}

fn note_firsts(records: &[Record], end: Offset, firsts: &mut [Option<i64>]) {
    for (number, sequence) in records.iter().filter(|record| record.offset < end).filter_map(StoredEvent::place) {
        if let Some(first @ None) = firsts.get_mut(number as usize) {
            *first = Some(sequence);
        }
    }
}
