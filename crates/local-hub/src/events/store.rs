//! The journal that events are appended to and read from.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hubward_journal::{AppendError, Chunk, Journal, OpenError, ReadError, Reader, RealFiles, Waiter};
use hubward_model::{Offset, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::index::{Index, Last, PartitionInfo};
use super::index_file::IndexFile;
use super::indexer::{self, Indexer};
use super::partition_of;
use super::position::Position;
use super::stored::{Event, NewEvent, StoredEvent};
use crate::Clock;
use crate::folder::{FolderError, read_json};
use crate::limits::Used;

/// How long an append that found no room waits at least before it tries again.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// How events are kept.
pub(crate) struct StoreOptions {
    /// The journal's folder.
    pub(crate) dir: PathBuf,
    /// The file in which what the partitions hold is kept.
    pub(crate) index: PathBuf,
    /// The file in which an earlier version kept the ends of the partitions.
    pub(crate) earlier_ends: PathBuf,
    pub(crate) partitions: u32,
    pub(crate) retention: Duration,
    pub(crate) limit_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) commit_delay: Option<Duration>,
    pub(crate) clock: Clock,
}

/// All events of the hub.
pub(crate) struct EventStore {
    journal: Journal,
    index: Arc<Index>,
    indexed: watch::Receiver<Offset>,
    ends: Mutex<Vec<End>>,
    clock: Clock,
}

/// Where the next event of a partition goes.
#[derive(Clone, Copy)]
struct End {
    next_sequence: i64,
    last_enqueued_at: Timestamp,
}

/// What runs behind the store: the committer's thread and the indexer.
#[derive(Debug)]
pub(crate) struct Running {
    journal: Journal,
    committer: Option<thread::JoinHandle<()>>,
    indexer: JoinHandle<()>,
}

/// Why events cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventsError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Ends(#[from] FolderError),
    #[error("the index of events: {0}")]
    Index(#[from] std::io::Error),
    #[error("cannot start the thread that writes events: {0}")]
    Thread(std::io::Error),
}

impl EventStore {
    /// Opens the events kept in a folder, and reads what its index does not tell of yet.
    pub(crate) async fn open(options: StoreOptions) -> Result<(Self, Running), EventsError> {
        let mut journal_options = hubward_journal::Options::new(options.dir.clone());
        journal_options.history = options.retention;
        journal_options.limit_bytes = options.limit_bytes;
        journal_options.segment_bytes = options.segment_bytes;
        // Readers that keep up need seconds of it; what lies further back is read from disk. A test bench stays small.
        journal_options.cache_bytes = 4 << 20;
        journal_options.commit_delay = options.commit_delay;
        let (journal, committer) = Journal::open(journal_options, Arc::new(RealFiles))?;
        let durable = journal.durable();
        let (file, marks) = IndexFile::open(&options.index, journal.id(), options.partitions, durable.to_raw())?;
        let index = Arc::new(Index::new(earlier_ends(&options)?, &marks));
        // What the file does not tell of yet: little, unless it is new.
        let from = marks.last().map_or(journal.oldest(), |mark| Offset::from_raw(mark.offset));
        let mut reader = journal.reader(from);
        while reader.position() < durable {
            match reader.try_next()? {
                Some(Chunk::Records(records)) => index.add(&records),
                Some(Chunk::Gap { .. }) => {}
                None => break,
            }
            tokio::task::yield_now().await;
        }
        indexer::forget(&journal, &index, reader.position());
        let pin = journal.pin("index", from);
        let committer = thread::Builder::new()
            .name("local-hub-events".to_owned())
            .spawn(move || committer.run())
            .map_err(EventsError::Thread)?;
        let end = |last: Last| End { next_sequence: last.sequence + 1, last_enqueued_at: last.enqueued_at };
        let ends = index.lasts().into_iter().map(end).collect();
        let (indexed_up_to, indexed) = watch::channel(reader.position());
        let indexer = Indexer {
            journal: journal.clone(),
            reader,
            index: index.clone(),
            indexed: indexed_up_to,
            file: Some(file),
            save_bytes: (options.limit_bytes / 16).clamp(1 << 16, 16 << 20),
            pin,
        };
        let running =
            Running { journal: journal.clone(), committer: Some(committer), indexer: tokio::spawn(indexer.run()) };
        Ok((Self { journal, index, indexed, ends: Mutex::new(ends), clock: options.clock }, running))
    }

    /// Appends an event to its partition. It is durable once `waiter` says so of the offset returned.
    pub(crate) fn append(&self, event: &NewEvent, waiter: &Arc<Waiter>) -> Result<Offset, AppendError> {
        // Numbers and places in the journal have the same order because both are handed out under this lock.
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let count = u32::try_from(ends.len()).unwrap_or(u32::MAX);
        let number = partition_of(&event.device_id, count);
        let end = &mut ends[number as usize];
        let enqueued_at = self.clock.now().max(end.last_enqueued_at);
        let offset = self.journal.append(event.to_draft(number, end.next_sequence, enqueued_at), waiter)?;
        end.next_sequence += 1;
        end.last_enqueued_at = enqueued_at;
        Ok(offset)
    }

    /// Appends events and waits until all are on disk. After an error the fate of those before it is not known.
    pub(crate) async fn append_durable(&self, events: &[NewEvent]) -> Result<(), AppendError> {
        let waiter = Waiter::new();
        let mut last = None;
        for event in events {
            last = Some(loop {
                match self.append(event, &waiter) {
                    Ok(offset) => break offset,
                    Err(AppendError::Full { .. }) => self.room().await,
                    Err(error) => return Err(error),
                }
            });
        }
        let Some(last) = last else { return Ok(()) };
        loop {
            let progress = waiter.progress();
            if progress.has_failed(last) {
                return Err(AppendError::Failed { reason: "the disk did not take the events".to_owned() });
            }
            if progress.is_durable(last) {
                return Ok(());
            }
            waiter.changed().await;
        }
    }

    /// Resolves when there may be room after an append was refused because the journal is full.
    pub(crate) async fn room(&self) {
        self.journal.room().await;
        // For room that is not the journal's to give: a full disk.
        tokio::time::sleep(FULL_PAUSE).await;
    }

    /// Tells of every commit.
    pub(crate) fn watch(&self) -> watch::Receiver<Offset> {
        self.journal.watch_durable()
    }

    /// What `partition` holds of all that is durable now; nothing if there is no such partition.
    pub(crate) async fn info(&self, partition: u32) -> Option<PartitionInfo> {
        let durable = self.journal.durable();
        let mut indexed = self.indexed.clone();
        // The indexer ends with the store only.
        let _ = indexed.wait_for(|up_to| *up_to >= durable).await;
        self.index.info(partition)
    }

    /// What is known of `partition` without waiting.
    pub(crate) fn info_now(&self, partition: u32) -> Option<PartitionInfo> {
        self.index.info(partition)
    }

    /// What is wrong with `position`, if it lies past all that `partition` ever held.
    ///
    /// UNCONFIRMED (reference, 6.3): how the service says it; these are the texts its SDKs' users report.
    pub(crate) fn beyond(&self, partition: u32, position: &Position) -> Option<String> {
        match *position {
            Position::Offset { value, .. } if value >= self.journal.durable().to_raw() => {
                let last = self.index.info(partition)?.last.offset_text();
                Some(format!("The supplied offset '{value}' is invalid. The last offset in the system is '{last}'"))
            }
            Position::Sequence { value, .. } => {
                let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
                let next = ends.get(partition as usize)?.next_sequence;
                (value > next).then(|| {
                    let last = next - 1;
                    format!(
                        "The supplied sequence number '{value}' is invalid. \
                         The last sequence number in the system is '{last}'"
                    )
                })
            }
            _ => None,
        }
    }

    /// A reader of all partitions that begins where `position` of `partition` may first be met.
    pub(crate) fn reader(&self, partition: u32, position: &Position) -> Reader {
        let (oldest, end) = (self.journal.oldest(), self.journal.durable());
        self.journal.reader(self.index.find(partition, position, oldest, end))
    }

    /// What the events that were indexed up to now used of the day of the last of them.
    pub(crate) fn used(&self) -> Used {
        self.index.used()
    }

    /// Every event that is durable now.
    pub(crate) async fn all(&self) -> Result<Vec<Event>, ReadError> {
        let end = self.journal.durable();
        let mut reader = self.journal.reader(self.journal.oldest());
        let mut events = Vec::new();
        while reader.position() < end {
            match reader.next().await? {
                Chunk::Records(records) => {
                    let stored = records.iter().filter(|record| record.offset < end).filter_map(StoredEvent::read);
                    events.extend(stored.filter_map(StoredEvent::into_event));
                }
                Chunk::Gap { from, to } => tracing::debug!(%from, %to, "events that are gone"),
            }
        }
        Ok(events)
    }
}

/// What the partitions of a folder without an index count on from.
fn earlier_ends(options: &StoreOptions) -> Result<Vec<Last>, FolderError> {
    let kept: Vec<Last> = read_json(&options.earlier_ends)?.unwrap_or_default();
    Ok((0..options.partitions as usize).map(|number| kept.get(number).copied().unwrap_or(Last::NONE)).collect())
}

impl Running {
    /// Commits what was appended, and ends. The store takes no more events.
    pub(crate) async fn stop(mut self) {
        self.journal.close();
        if let Some(committer) = self.committer.take()
            && !matches!(tokio::task::spawn_blocking(move || committer.join()).await, Ok(Ok(())))
        {
            tracing::error!("the thread that writes events has failed");
        }
        // It ends with the journal.
        if let Err(error) = (&mut self.indexer).await {
            tracing::error!(%error, "the task that indexes events has failed");
        }
    }
}

impl Drop for Running {
    /// A hub that is dropped without a stop leaves no thread behind, and its folder free.
    fn drop(&mut self) {
        self.journal.close();
        self.indexer.abort();
    }
}
