//! What the data plane needs of the journal.

use hubward_journal::{Chunk, Journal, Pin, ReadError, Reader};
use hubward_model::{JournalId, Offset, Timestamp};
use tokio::sync::mpsc;
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
    /// In memory nothing goes.
    #[cfg(test)]
    Memory,
}

impl Records {
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
            Self::Memory(_) => Needed::Memory,
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

impl Needed {
    /// Nothing before `from` is needed any more.
    pub(crate) fn advance(&self, from: Offset) {
        match self {
            Self::Journal(pin) => pin.advance(from),
            #[cfg(test)]
            Self::Memory => {
                let _ = from;
            }
        }
    }
}
