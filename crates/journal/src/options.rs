//! Settings of a journal.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a journal. [`Options::new`] gives the defaults; set the fields that differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Its folder; made if missing.
    pub dir: PathBuf,
    /// Size of a segment file in bytes. At most an eighth of `limit_bytes` is used, so that retention has segments to
    /// choose from; a record larger than a segment gets one of its own.
    pub segment_bytes: u64,
    /// What the records on disk may take, in bytes (hold files apart).
    pub limit_bytes: u64,
    /// The part of the disk, of what is free there or already the journal's, that the records may take (0 to 1).
    pub disk_share: f64,
    /// How long records are kept after everybody has read them, as long as the limit allows.
    pub history: Duration,
    /// What may wait for its commit, in bytes; over it appends are refused with `Full`.
    pub queue_bytes: u64,
    /// What the tail cache may take, in bytes. Readers within it need no disk.
    pub cache_bytes: u64,
    /// Makes every commit wait this long before its sync. For tests of slow disks.
    pub commit_delay: Option<Duration>,
}

impl Options {
    /// The defaults, with the journal in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            limit_bytes: 10 << 30,
            disk_share: 0.8,
            history: Duration::from_secs(30 * 24 * 3600),
            queue_bytes: 16 << 20,
            cache_bytes: 16 << 20,
            commit_delay: None,
        }
    }

    /// The segment size in use: as set, within an eighth of the limit, at least 4 KiB and at most 1 GiB.
    pub(crate) fn segment_size(&self) -> u64 {
        self.segment_bytes.min(self.limit_bytes / 8).clamp(4 << 10, 1 << 30)
    }
}
