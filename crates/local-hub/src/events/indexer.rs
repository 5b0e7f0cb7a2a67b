//! The task that follows the journal and keeps the index true.

use std::path::PathBuf;
use std::sync::Arc;

use hubward_journal::{Chunk, Journal, Pin, ReadError, Reader};
use hubward_model::{Offset, Record};
use tokio::sync::watch;

use super::index::Index;
use super::stored::StoredEvent;

/// The ends are saved after so many events at the latest.
const SAVE_RECORDS: usize = 32_768;

/// Follows the journal to its end.
pub(super) struct Indexer {
    pub(super) journal: Journal,
    pub(super) reader: Reader,
    pub(super) index: Arc<Index>,
    /// Tells how far the index reaches.
    pub(super) indexed: watch::Sender<Offset>,
    /// Where the ends are kept.
    pub(super) ends: PathBuf,
    /// The ends are saved after so many bytes at the latest: far fewer than the journal may hold, which the pin would
    /// fill otherwise.
    pub(super) save_bytes: u64,
    /// No event goes before the file of ends counts it.
    pub(super) pin: Pin,
}

impl Indexer {
    /// Runs until the journal is closed and read to its end.
    pub(super) async fn run(mut self) {
        let mut oldest = self.journal.oldest();
        let (mut records, mut bytes) = (0, 0_u64);
        loop {
            match self.reader.next().await {
                Ok(Chunk::Records(chunk)) => {
                    self.index.add(&chunk);
                    records += chunk.len();
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
            if records >= SAVE_RECORDS || bytes >= self.save_bytes {
                (records, bytes) = (0, 0);
                self.save().await;
            }
            if self.journal.oldest() > oldest {
                oldest = self.journal.oldest();
                let firsts = self.first_sequences(oldest).await;
                self.index.forget(oldest, &firsts);
            }
        }
        self.save().await;
    }

    async fn save(&self) {
        let (index, ends, position) = (self.index.clone(), self.ends.clone(), self.reader.position());
        match tokio::task::spawn_blocking(move || index.save(&ends)).await {
            Ok(Ok(())) => self.pin.advance(position),
            Ok(Err(error)) => tracing::error!(%error, "the ends of the partitions cannot be saved"),
            Err(error) => tracing::error!(%error, "saving the ends of the partitions failed"),
        }
    }

    /// The number of each partition's first event at or after `oldest`, as far as the index reaches.
    async fn first_sequences(&self, oldest: Offset) -> Vec<Option<i64>> {
        let count = (0..).take_while(|number| self.index.info(*number).is_some()).count();
        let mut firsts = vec![None; count];
        let mut reader = self.journal.reader(oldest);
        while reader.position() < self.reader.position() && firsts.iter().any(Option::is_none) {
            match reader.next().await {
                Ok(Chunk::Records(records)) => note_firsts(&records, self.reader.position(), &mut firsts),
                Ok(Chunk::Gap { .. }) => {}
                Err(_) => break,
            }
        }
        firsts
    }
}

fn note_firsts(records: &[Record], end: Offset, firsts: &mut [Option<i64>]) {
    for (number, sequence) in records.iter().filter(|record| record.offset < end).filter_map(StoredEvent::place) {
        if let Some(first @ None) = firsts.get_mut(number as usize) {
            *first = Some(sequence);
        }
    }
}
