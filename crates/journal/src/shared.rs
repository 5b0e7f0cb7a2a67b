//! What all handles of one journal share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use hubward_model::{Epoch, JournalId, Offset, Record};
use tokio::sync::{Notify, watch};

use crate::cache::Cache;
use crate::commits::Commits;
use crate::error::{AppendError, Full};
use crate::files::Files;
use crate::format::index::Devices;
use crate::hold::Holds;
use crate::info::Counters;
use crate::options::Options;
use crate::pin::Pins;
use crate::segment::{Segment, lock};
use crate::waiter::Waiter;

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) id: JournalId,
    pub(crate) epoch: Epoch,
    /// Records that wait for their commit. Taken before any other lock, or alone.
    pub(crate) queue: Mutex<Queue>,
    /// Wakes the committer.
    pub(crate) work: Condvar,
    /// Oldest first; the last may be the one that is written.
    pub(crate) segments: Mutex<Vec<Arc<Segment>>>,
    pub(crate) cache: Cache,
    /// Every device's last durable record.
    pub(crate) devices: Mutex<Devices>,
    pub(crate) pins: Mutex<Pins>,
    /// What is durable, for readers.
    pub(crate) tail: watch::Sender<Tail>,
    /// The same as a plain offset.
    pub(crate) durable: watch::Sender<Offset>,
    /// First offset that is still kept.
    pub(crate) oldest: AtomicU64,
    /// Bytes of durable frames in all segments.
    pub(crate) used: AtomicU64,
    /// What `used` may become: the set limit, or less on a small disk.
    pub(crate) limit: AtomicU64,
    /// Somebody was refused because of the limit since the housekeeper last looked.
    pub(crate) pressed: AtomicBool,
    /// Exclusive end of what is to go soon, whoever needs it.
    pub(crate) to_go: watch::Sender<Offset>,
    /// Size of the largest record that was refused lately: there is room when there is room for it.
    pub(crate) wanted: AtomicU64,
    /// Tells waiting appenders that there may be room.
    pub(crate) room: Notify,
    /// Wakes the housekeeper.
    pub(crate) chores: Chores,
    pub(crate) counters: Counters,
    /// When the latest records became durable.
    pub(crate) commits: Commits,
    pub(crate) holds: Holds,
}

/// What readers wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Exclusive end of what is durable.
    pub(crate) durable: Offset,
    /// Nothing more will come.
    pub(crate) ended: bool,
}

/// Records that wait for their commit.
pub(crate) struct Queue {
    pub(crate) records: Vec<Record>,
    /// Who gave them, each once.
    pub(crate) waiters: Vec<Arc<Waiter>>,
    /// Frame bytes of `records`, and of those that are being committed.
    pub(crate) pending: u64,
    /// The next record's offset.
    pub(crate) next: Offset,
    /// Rises with every commit; see [`Waiter::list_in`].
    pub(crate) number: u64,
    pub(crate) state: State,
    /// The committer sleeps until `work`.
    pub(crate) idle: bool,
}

/// Whether records are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// Nothing can be written now; the committer tries again by itself.
    Stalled(Stall),
    Closed,
}

/// Why nothing can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stall {
    DiskFull,
    ReadOnly,
    Failed(String),
}

impl Stall {
    pub(crate) fn refusal(&self) -> AppendError {
        match self {
            Self::DiskFull => AppendError::Full { why: Full::Disk },
            Self::ReadOnly => AppendError::Failed { reason: "the file system is read-only".to_owned() },
            Self::Failed(reason) => AppendError::Failed { reason: reason.clone() },
        }
    }
}

impl From<&std::io::Error> for Stall {
    fn from(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::DiskFull,
            std::io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// How the housekeeper is woken.
#[derive(Default)]
pub(crate) struct Chores {
    asked: Mutex<Asked>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy)]
pub(crate) struct Asked {
    work: bool,
    stop: bool,
}

impl Chores {
    /// Something is to be done.
    pub(crate) fn ask(&self) {
        lock(&self.asked).work = true;
        self.changed.notify_one();
    }

    /// The housekeeper ends.
    pub(crate) fn stop(&self) {
        lock(&self.asked).stop = true;
        self.changed.notify_one();
    }

    /// Waits for something to do, at most `pause`; says whether to go on.
    pub(crate) fn wait(&self, pause: std::time::Duration) -> bool {
        let asked = lock(&self.asked);
        let mut asked = match self.changed.wait_timeout_while(asked, pause, |asked| !asked.work && !asked.stop) {
            Ok((asked, _)) => asked,
            Err(poisoned) => poisoned.into_inner().0,
        };
        asked.work = false;
        !asked.stop
    }
}

impl Shared {
    pub(crate) fn dir(&self) -> &PathBuf {
        &self.options.dir
    }

    pub(crate) fn durable(&self) -> Offset {
        self.tail.borrow().durable
    }

    pub(crate) fn oldest(&self) -> Offset {
        Offset::from_raw(self.oldest.load(Ordering::Acquire))
    }

    /// The segment that holds `offset`, or the first after it.
    pub(crate) fn segment_at(&self, offset: Offset) -> Option<Arc<Segment>> {
        let segments = lock(&self.segments);
        let at = segments.partition_point(|segment| segment.end() <= offset);
        segments[at..].iter().find(|segment| !segment.is_empty()).cloned()
    }

    /// Why an append of `size` bytes is refused now, if it is.
    pub(crate) fn refusal(&self, queue: &Queue, size: u64) -> Option<AppendError> {
        match &queue.state {
            State::Closed => return Some(AppendError::Closed),
            State::Stalled(stall) => return Some(stall.refusal()),
            State::Open => {}
        }
        // A record larger than the whole budget is taken when nothing else waits.
        if queue.pending > 0 && queue.pending + size > self.options.queue_bytes {
            return Some(AppendError::Full { why: Full::Queue });
        }
        let used = self.used.load(Ordering::Acquire) + queue.pending;
        let limit = self.limit.load(Ordering::Acquire);
        (used + size > limit).then_some(AppendError::Full {
            why: if limit < self.options.limit_bytes { Full::Disk } else { Full::Limit },
        })
    }

    /// What has no room for one more record, or for the largest that was refused lately: the set limit, or the journal's
    /// share of the disk, which who else fills the disk makes smaller.
    pub(crate) fn is_full(&self, queue: &Queue) -> Option<Full> {
        let used = self.used.load(Ordering::Acquire) + queue.pending;
        let limit = self.limit.load(Ordering::Acquire);
        let is_full = used + self.wanted.load(Ordering::Acquire).max(1) > limit;
        is_full.then_some(if limit < self.options.limit_bytes { Full::Disk } else { Full::Limit })
    }
}
