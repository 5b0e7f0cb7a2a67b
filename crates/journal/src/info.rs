//! What a journal tells of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hubward_model::{Epoch, JournalId, Offset};

use crate::error::Full;
use crate::files::Space;
use crate::hold::HoldInfo;
use crate::journal::Journal;
use crate::segment::lock;
use crate::shared::{Stall, State};

/// Counted since the journal was opened.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) failed_commits: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    pub(crate) refused_failed: AtomicU64,
    pub(crate) removed_segments: AtomicU64,
    pub(crate) damaged_gaps: AtomicU64,
    pub(crate) quarantined: AtomicU64,
    pub(crate) cut_bytes: AtomicU64,
    commits: [AtomicU64; COMMIT_BOUNDS.len() + 1],
    commit_micros: AtomicU64,
}

/// Upper bounds of [`CommitTimes`], the last one aside, which has none.
pub const COMMIT_BOUNDS: [Duration; 12] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// How long commits took, from the write to the end of the sync, since the journal was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitTimes {
    /// How many took at most the bound of the same place in [`COMMIT_BOUNDS`] and more than the one before; last: more
    /// than all of them.
    pub counts: Vec<u64>,
    /// All of it.
    pub sum: Duration,
}

impl Counters {
    /// A commit took so long.
    pub(crate) fn committed(&self, time: Duration) {
        let place = COMMIT_BOUNDS.partition_point(|bound| *bound < time);
        if let Some(count) = self.commits.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// A journal's state, for the console and for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its name.
    pub id: JournalId,
    /// This opening.
    pub epoch: Epoch,
    /// Whether it can be written.
    pub health: Health,
    /// First offset that is kept.
    pub oldest: Offset,
    /// Exclusive end of what is durable.
    pub durable: Offset,
    /// Exclusive end of what was appended.
    pub appended: Offset,
    /// Segment files.
    pub segments: usize,
    /// Bytes of records on disk, hold files apart.
    pub bytes: u64,
    /// What `bytes` may become now: the set limit, or less on a small disk.
    pub limit_bytes: u64,
    /// Bytes that wait for their commit.
    pub pending_bytes: u64,
    /// Pins by name, the neediest first.
    pub pins: Vec<(String, Offset)>,
    /// Hold files that are open, by name.
    pub holds: Vec<HoldInfo>,
    /// Records committed since the journal was opened.
    pub records: u64,
    /// Commits, one sync each, since then.
    pub commits: u64,
    /// Commits whose write or sync failed, since then.
    pub failed_commits: u64,
    /// Appends refused because something was full, since then.
    pub refused_full: u64,
    /// Records refused, or left with unknown fate, because the disk failed, since then.
    pub refused_failed: u64,
    /// Segments that retention removed, since then.
    pub removed_segments: u64,
    /// Gaps found by readers because records are damaged on disk, since then.
    pub damaged_gaps: u64,
    /// Segments of which nothing can be read, set aside under the name `….damaged` when the journal was opened.
    pub quarantined: u64,
    /// Bytes of a torn tail that were cut when the journal was opened.
    pub cut_bytes: u64,
    /// Bytes of records committed since the journal was opened.
    pub written_bytes: u64,
    /// How long commits took.
    pub commit_times: CommitTimes,
}

/// Whether a journal can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Good,
    /// No space is left on the disk, or none of the share that records may take.
    DiskFull,
    /// It may have no more than it has, and somebody still needs all of that.
    LimitReached,
    /// The file system cannot be written any more.
    ReadOnly,
    /// The operating system's last refusal.
    Failed(String),
    /// It was closed.
    Closed,
}

impl Health {
    /// In one word: `ok`, `full`, `at-limit`, `read-only`, `failed` or `closed`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::DiskFull => "full",
            Self::LimitReached => "at-limit",
            Self::ReadOnly => "read-only",
            Self::Failed(_) => "failed",
            Self::Closed => "closed",
        }
    }
}

impl Journal {
    /// How large the disk under it is and what is left of it. Asks the operating system.
    pub async fn space(&self) -> std::io::Result<Space> {
        let shared = Arc::clone(&self.shared);
        let asked = tokio::task::spawn_blocking(move || shared.files.space(shared.dir())).await;
        asked.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    /// What the journal tells of itself now.
    #[must_use]
    pub fn info(&self) -> Info {
        let shared = &self.shared;
        let (health, appended, pending_bytes) = {
            let queue = lock(&shared.queue);
            let health = match &queue.state {
                State::Open => match shared.is_full(&queue) {
                    None | Some(Full::Queue) => Health::Good,
                    Some(Full::Disk) => Health::DiskFull,
                    Some(Full::Limit) => Health::LimitReached,
                },
                State::Stalled(Stall::DiskFull) => Health::DiskFull,
                State::Stalled(Stall::ReadOnly) => Health::ReadOnly,
                State::Stalled(Stall::Failed(reason)) => Health::Failed(reason.clone()),
                State::Closed => Health::Closed,
            };
            (health, queue.next, queue.pending)
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &shared.counters;
        Info {
            id: shared.id.clone(),
            epoch: shared.epoch,
            health,
            oldest: self.oldest(),
            durable: self.durable(),
            appended,
            segments: lock(&shared.segments).len(),
            bytes: shared.used.load(Ordering::Acquire),
            limit_bytes: shared.limit.load(Ordering::Acquire),
            pending_bytes,
            pins: lock(&shared.pins).list(),
            holds: shared.holds.infos(),
            records: count(&counters.records),
            commits: count(&counters.syncs),
            failed_commits: count(&counters.failed_commits),
            refused_full: count(&counters.refused_full),
            refused_failed: count(&counters.refused_failed),
            removed_segments: count(&counters.removed_segments),
            damaged_gaps: count(&counters.damaged_gaps),
            quarantined: count(&counters.quarantined),
            cut_bytes: count(&counters.cut_bytes),
            written_bytes: count(&counters.bytes),
            commit_times: CommitTimes {
                counts: counters.commits.iter().map(count).collect(),
                sum: Duration::from_micros(count(&counters.commit_micros)),
            },
        }
    }
}
