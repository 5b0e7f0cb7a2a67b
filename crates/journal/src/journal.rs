//! The handle that everybody has.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hubward_model::{Draft, Epoch, JournalId, Offset, Record, Timestamp};
use tokio::sync::watch;

use crate::committer::Committer;
use crate::error::{AppendError, Full, OpenError};
use crate::files::Files;
use crate::format::frame;
use crate::options::Options;
use crate::pin::Pin;
use crate::reader::Reader;
use crate::recovery;
use crate::segment::lock;
use crate::shared::{Shared, State};
use crate::waiter::Waiter;

/// A journal that is open. Clones are handles to the same.
#[derive(Clone)]
pub struct Journal {
    pub(crate) shared: Arc<Shared>,
}

impl Journal {
    /// Opens the journal in `options.dir`, or makes it: takes the folder's lock, cuts a torn tail, and begins a new
    /// epoch, durably. Blocks, for a few milliseconds and what a crash left to be looked through.
    ///
    /// Nothing is committed until the [`Committer`] runs.
    pub fn open(options: Options, files: Arc<dyn Files>) -> Result<(Self, Committer), OpenError> {
        let (shared, committer) = recovery::open(options, files)?;
        Ok((Self { shared }, committer))
    }

    /// Its random name, made with it; part of every message id.
    #[must_use]
    pub fn id(&self) -> &JournalId {
        &self.shared.id
    }

    /// This opening.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// Appends: the record has its offset, in the order of calls, and is durable once `waiter` says so. Never blocks.
    pub fn append(&self, draft: Draft, waiter: &Arc<Waiter>) -> Result<Offset, AppendError> {
        let size =
            frame::size(&draft).map_err(|frame::TooLarge { bytes, limit }| AppendError::TooLarge { bytes, limit })?;
        let mut queue = lock(&self.shared.queue);
        if let Some(refusal) = self.shared.refusal(&queue, size) {
            drop(queue);
            self.note(&refusal, size);
            return Err(refusal);
        }
        let offset = queue.next;
        queue.next = offset.next();
        queue.pending += size;
        queue.records.push(Record { offset, epoch: self.shared.epoch, draft });
        if waiter.list_in(queue.number) {
            queue.waiters.push(Arc::clone(waiter));
        }
        let idle = queue.idle;
        drop(queue);
        if idle {
            self.shared.work.notify_one();
        }
        Ok(offset)
    }

    /// Appends and waits until the record is durable. An error after a wait means that its fate is unknown.
    pub async fn append_durable(&self, draft: Draft) -> Result<Offset, AppendError> {
        let waiter = Waiter::new();
        let offset = self.append(draft, &waiter)?;
        loop {
            let progress = waiter.progress();
            if progress.is_durable(offset) {
                return Ok(offset);
            }
            if progress.has_failed(offset) {
                return Err(match &lock(&self.shared.queue).state {
                    State::Stalled(stall) => stall.refusal(),
                    State::Closed => AppendError::Closed,
                    State::Open => AppendError::Failed { reason: "the commit failed".to_owned() },
                });
            }
            waiter.changed().await;
        }
    }

    /// Resolves when there is room for an append again, or the journal is closed.
    pub async fn room(&self) {
        loop {
            let told = self.shared.room.notified();
            tokio::pin!(told);
            // Listen first, so that room made between the look and the wait is heard of.
            told.as_mut().enable();
            if self.has_room() {
                return;
            }
            told.await;
        }
    }

    /// Whether an append would find room now, of a record as large as the largest that was refused lately; also if the
    /// journal is closed, which only the append can say.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let size = self.shared.wanted.load(Ordering::Acquire).max(1);
        let queue = lock(&self.shared.queue);
        matches!(self.shared.refusal(&queue, size), None | Some(AppendError::Closed))
    }

    /// Exclusive end of what is durable.
    #[must_use]
    pub fn durable(&self) -> Offset {
        self.shared.durable()
    }

    /// When the record at `offset` became durable. Known of the latest ten thousand commits since the start, in memory.
    #[must_use]
    pub fn committed_at(&self, offset: Offset) -> Option<Timestamp> {
        self.shared.commits.at(offset)
    }

    /// [`durable`](Self::durable), to wait for.
    #[must_use]
    pub fn watch_durable(&self) -> watch::Receiver<Offset> {
        self.shared.durable.subscribe()
    }

    /// The first offset that is still kept.
    #[must_use]
    pub fn oldest(&self) -> Offset {
        self.shared.oldest()
    }

    /// Bytes of records that became durable since the journal was opened.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.shared.counters.bytes.load(Ordering::Relaxed)
    }

    /// What the records on disk may take now: the set limit, or less on a small disk.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.shared.limit.load(Ordering::Acquire)
    }

    /// A reader whose first record is the one at `from`, or the first after it.
    #[must_use]
    pub fn reader(&self, from: Offset) -> Reader {
        Reader::new(Arc::clone(&self.shared), from)
    }

    /// Keeps everything from `from` on until the pin advances or is dropped. What was removed before stays removed:
    /// compare with [`oldest`](Self::oldest).
    #[must_use]
    pub fn pin(&self, name: &str, from: Offset) -> Pin {
        Pin::new(Arc::clone(&self.shared), name, from)
    }

    /// Exclusive end of what is to go soon: its history is over, or the limit will ask for it. What a pin still needs of it
    /// stands in the way until it is copied to a hold file, and the pin advanced.
    #[must_use]
    pub fn watch_to_go(&self) -> watch::Receiver<Offset> {
        self.shared.to_go.subscribe()
    }

    /// Takes no more records. The committer commits what waits and ends.
    pub fn close(&self) {
        lock(&self.shared.queue).state = State::Closed;
        self.shared.work.notify_one();
        self.shared.room.notify_waiters();
    }

    /// Counts a refusal, and makes the housekeeper look for room.
    fn note(&self, refusal: &AppendError, size: u64) {
        if let AppendError::Full { .. } = refusal {
            self.shared.wanted.fetch_max(size, Ordering::AcqRel);
        }
        let counters = &self.shared.counters;
        match refusal {
            AppendError::Full { why: Full::Limit | Full::Disk } => {
                counters.refused_full.fetch_add(1, Ordering::Relaxed);
                if !self.shared.pressed.swap(true, Ordering::AcqRel) {
                    self.shared.chores.ask();
                }
            }
            AppendError::Full { .. } => {
                counters.refused_full.fetch_add(1, Ordering::Relaxed);
            }
            AppendError::Failed { .. } => {
                counters.refused_failed.fetch_add(1, Ordering::Relaxed);
            }
            AppendError::Closed | AppendError::TooLarge { .. } => {}
        }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("id", &self.shared.id).field("durable", &self.durable()).finish_non_exhaustive()
    }
}
