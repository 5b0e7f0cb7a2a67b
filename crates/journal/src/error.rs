//! What can go wrong, sorted by who asks.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works in this folder.
    #[error("{} is in use by {}", dir.display(), pid.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The journal's folder.
        dir: PathBuf,
        /// The first process, if its lock file tells.
        pid: Option<u32>,
    },
    /// A file was written by a later version of this program.
    #[error("{} has format {found}; this version reads formats up to {known}", file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// A segment in the folder belongs to another journal.
    #[error("{} belongs to the journal {found}, not to {expected}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// The journal named in it.
        found: String,
        /// The journal of this folder.
        expected: String,
    },
    /// The operating system refused.
    #[error("{what} {}", path.display())]
    Io {
        /// What was tried, for example `open`.
        what: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// Why a record was not taken. Nothing was appended; to be sure of it, send it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room now; [`Journal::room`](crate::Journal::room) says when there is again.
    #[error("the journal is full: {why}")]
    Full {
        /// What is used up.
        why: Full,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// The disk fails; the journal tries again by itself every now and then.
    #[error("the journal cannot write: {reason}")]
    Failed {
        /// What the operating system said last.
        reason: String,
    },
    /// No journal can take this record.
    #[error("the record has {bytes} bytes, the journal takes {limit}")]
    TooLarge {
        /// Size of the record, or of the field of it that is too long.
        bytes: u64,
        /// The most that is taken.
        limit: u64,
    },
}

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The budget of records that wait for their commit.
    Queue,
    /// The journal's limit, and the oldest segment is still needed by a pin.
    Limit,
    /// The disk, or the journal's share of it.
    Disk,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "too much waits for its commit",
            Self::Limit => "its limit is reached and the oldest records are still needed",
            Self::Disk => "no space is left on the disk, or the journal has its share of it",
        })
    }
}

/// Why reading failed. Nothing was skipped: the next call reads from the same place.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The journal was closed and everything in it was read.
    #[error("the journal is closed")]
    Closed,
    /// The operating system refused.
    #[error("{what} {}", path.display())]
    Io {
        /// What was tried, for example `read`.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// A record was written by a later version of this program.
    #[error("{} has a record of format {found}; this version reads formats up to {known}", file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
}

impl ReadError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// Why a hold file did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The name cannot be a file's.
    #[error(
        "{name:?} cannot name a hold file: 1 to 64 lower-case letters, digits, '.', '_' and '-', a letter or digit first"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The journal was closed, or this hold file deleted.
    #[error("the hold file {name} is closed")]
    Closed {
        /// Its name.
        name: String,
    },
    /// A record is larger than a frame may be.
    #[error("the record has {bytes} bytes, the hold file takes {limit}")]
    TooLarge {
        /// Size of the record, or of the field of it that is too long.
        bytes: u64,
        /// The most that is taken.
        limit: u64,
    },
    /// A file was written by a later version of this program.
    #[error("{} has format {found}; this version reads formats up to {known}", file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The operating system refused. After a failed append the fate of its records is unknown.
    #[error("{what} {}", path.display())]
    Io {
        /// What was tried, for example `write`.
        what: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

impl HoldError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
