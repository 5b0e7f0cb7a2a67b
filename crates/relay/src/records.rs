//! What the data plane needs of the journal.

use std::sync::Arc;

use bytes::Bytes;
use hubward_journal::{Chunk, HeldChunk, HoldError, HoldFile, HoldPosition, Journal, Pin, ReadError, Reader};
use hubward_model::{JournalId, Offset, Record, Timestamp};
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// How long a reader that failed waits before it tries again.
const READ_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Where records come from.
#[derive(Clone)]
pub(crate) enum Records {
    /// The journal.
    Journal(Journal),
    /// A list in memory.
    #[cfg(test)]
    Memory(crate::tests::records::MemoryRecords),
}

/// A reader of them, in a task of its own: a chunk that is being read from disk is never given up half way because
/// something else happened.
pub(crate) struct Reads {
    chunks: mpsc::Receiver<Read>,
    position: Offset,
    _task: AbortOnDropHandle<()>,
}

type Read = (Result<Chunk, ReadError>, Offset);

enum Source {
    Journal(Box<Reader>),
    #[cfg(test)]
    Memory(crate::tests::records::MemoryReads),
}

/// Keeps the journal from letting records go.
pub(crate) enum Needed {
    /// In the journal.
    Journal(Pin),
    /// In memory.
    #[cfg(test)]
    Memory(crate::tests::records::MemoryRecords),
}

/// Where an integration's records are kept that its lanes cannot take now, and the journal is to let go.
#[derive(Clone)]
pub(crate) enum Hold {
    /// A hold file of the journal, opened when it is first used.
    File { journal: Journal, name: Arc<str>, file: Arc<OnceCell<HoldFile>> },
    /// In memory.
    #[cfg(test)]
    Memory(crate::tests::records::MemoryHold),
}

impl Records {
    /// Exclusive end of what the journal is to let go soon.
    pub(crate) fn to_go(&self) -> watch::Receiver<Offset> {
        match self {
            Self::Journal(journal) => journal.watch_to_go(),
            #[cfg(test)]
            Self::Memory(records) => records.to_go(),
        }
    }

    /// The hold of this name.
    pub(crate) fn hold(&self, name: &str) -> Hold {
        match self {
            Self::Journal(journal) => {
                Hold::File { journal: journal.clone(), name: Arc::from(name), file: Arc::default() }
            }
            #[cfg(test)]
            Self::Memory(records) => Hold::Memory(records.hold()),
        }
    }

    pub(crate) fn reads(&self, from: Offset) -> Reads {
        let source = match self {
            Self::Journal(journal) => Source::Journal(Box::new(journal.reader(from))),
            #[cfg(test)]
            Self::Memory(records) => Source::Memory(records.reads(from)),
        };
        let (tx, chunks) = mpsc::channel(1);
        Reads { chunks, position: from, _task: AbortOnDropHandle::new(tokio::spawn(read(source, tx))) }
    }

    /// The exclusive end of what is durable.
    pub(crate) fn durable(&self) -> Offset {
        match self {
            Self::Journal(journal) => journal.durable(),
            #[cfg(test)]
            Self::Memory(records) => records.durable(),
        }
    }

    /// When the record at `offset` became durable, if that is still known.
    pub(crate) fn committed_at(&self, offset: Offset) -> Option<Timestamp> {
        match self {
            Self::Journal(journal) => journal.committed_at(offset),
            #[cfg(test)]
            Self::Memory(_) => None,
        }
    }

    pub(crate) fn need(&self, name: &str, from: Offset) -> Needed {
        match self {
            Self::Journal(journal) => Needed::Journal(journal.pin(name, from)),
            #[cfg(test)]
            Self::Memory(records) => {
                records.need(from);
                Needed::Memory(records.clone())
            }
        }
    }

    pub(crate) fn id(&self) -> JournalId {
        match self {
            Self::Journal(journal) => journal.id().clone(),
            #[cfg(test)]
            Self::Memory(_) => JournalId::from_stored("memory".to_owned()),
        }
    }
}

impl Reads {
    /// The next chunk; waits at the end. May be given up at any time without losing anything. After an error the same is
    /// tried again a little later.
    pub(crate) async fn next(&mut self) -> Result<Chunk, ReadError> {
        match self.chunks.recv().await {
            Some((chunk, position)) => {
                self.position = position;
                chunk
            }
            // The journal was closed and everything is read: nothing comes any more.
            None => std::future::pending().await,
        }
    }

    /// The first offset not yet read.
    pub(crate) fn position(&self) -> Offset {
        self.position
    }
}

async fn read(mut source: Source, chunks: mpsc::Sender<Read>) {
    loop {
        let (chunk, position) = match &mut source {
            Source::Journal(reader) => (reader.next().await, reader.position()),
            #[cfg(test)]
            Source::Memory(reads) => (Ok(reads.next().await), reads.position()),
        };
        if matches!(chunk, Err(ReadError::Closed)) {
            return;
        }
        let failed = chunk.is_err();
        if chunks.send((chunk, position)).await.is_err() {
            return;
        }
        if failed {
            sleep(READ_AGAIN).await;
        }
    }
}

impl Hold {
    async fn file(&self) -> Result<&HoldFile, HoldError> {
        match self {
            Self::File { journal, name, file } => file.get_or_try_init(|| journal.hold(name)).await,
            #[cfg(test)]
            Self::Memory(_) => unreachable!("it has no file"),
        }
    }

    /// On disk when it answers where the first of them stands; the others follow.
    pub(crate) async fn append(&self, records: Vec<Record>) -> Result<HoldPosition, HoldError> {
        match self {
            Self::File { .. } => self.file().await?.append(records).await,
            #[cfg(test)]
            Self::Memory(hold) => Ok(hold.append(records).await),
        }
    }

    /// Some entries from `from` on; none: its end.
    pub(crate) async fn read(&self, from: HoldPosition) -> Result<HeldChunk, HoldError> {
        match self {
            Self::File { .. } => self.file().await?.read(from).await,
            #[cfg(test)]
            Self::Memory(hold) => Ok(hold.read(from).await),
        }
    }

    /// Nobody needs what stands before `before` any more.
    pub(crate) async fn trim(&self, before: HoldPosition) -> Result<(), HoldError> {
        match self {
            Self::File { .. } => self.file().await?.trim(before).await,
            #[cfg(test)]
            Self::Memory(hold) => {
                hold.trim(before);
                Ok(())
            }
        }
    }

    /// Removes it, if there is any.
    pub(crate) async fn delete(&self) -> Result<(), HoldError> {
        match self {
            Self::File { journal, name, .. } => {
                let there = journal.holds().await?.iter().any(|known| **known == **name);
                if there { journal.hold(name).await?.delete().await } else { Ok(()) }
            }
            #[cfg(test)]
            Self::Memory(hold) => {
                hold.trim(HoldPosition::from_raw(u64::MAX));
                Ok(())
            }
        }
    }
}

/// The record as it is kept there. Its note says from where on nothing else of its device stands before it: so a reader
/// can tell the records of a copy that was given up half way from those that follow.
pub(crate) fn kept(record: &Record, after: Offset) -> Record {
    let mut kept = record.clone();
    kept.draft.note = Bytes::copy_from_slice(&after.to_raw().to_le_bytes());
    kept
}

/// What such a note says.
pub(crate) fn kept_after(record: &Record) -> Offset {
    let raw = record.note.first_chunk().map_or(u64::MAX, |raw| u64::from_le_bytes(*raw));
    Offset::from_raw(raw)
}

impl Needed {
    /// Nothing before `from` is needed any more.
    pub(crate) fn advance(&self, from: Offset) {
        match self {
            Self::Journal(pin) => pin.advance(from),
            #[cfg(test)]
            Self::Memory(records) => records.need(from),
        }
    }
}
