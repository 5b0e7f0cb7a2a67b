//! A journal that no process has open: looked at, and not changed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hubward_model::{Epoch, JournalId, Offset, Timestamp};
use serde::Serialize;

use crate::error::{OpenError, ReadError};
use crate::files::{Files, Lock};
use crate::format::header::Purpose;
use crate::hold::{FOLDER, is_name};
use crate::recovery::{self, LOCK_FILE, Touch};
use crate::segment::Segment;
use crate::verify::{VerifyReport, set_aside, verify_all};

/// The files of a journal that is not open. As long as it lives no process opens the journal.
pub struct Offline {
    files: Arc<dyn Files>,
    dir: PathBuf,
    id: Option<JournalId>,
    epoch: Option<Epoch>,
    next: Offset,
    segments: Vec<Arc<Segment>>,
    /// None on a file system that cannot be written, where no journal can be opened either.
    _lock: Option<Box<dyn Send + Sync>>,
}

/// What a journal that is not open has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfflineInfo {
    /// Its name; none if nothing tells it.
    pub id: Option<JournalId>,
    /// Its last opening.
    pub epoch: Option<Epoch>,
    /// First offset that is kept.
    pub oldest: Offset,
    /// Exclusive end of what is kept.
    pub durable: Offset,
    /// When the latest record was received, if there is one.
    pub newest_at: Option<Timestamp>,
    /// Segment files.
    pub segments: usize,
    /// Bytes of records, hold files apart.
    pub bytes: u64,
    /// Hold files.
    pub holds: Vec<StoredHold>,
    /// Files of segments of which nothing could be read, set aside at an earlier start.
    pub set_aside: Vec<String>,
}

/// A hold file on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredHold {
    /// Its name: the id of its integration.
    pub name: String,
    /// Bytes of its files.
    pub bytes: u64,
}

impl Offline {
    /// Looks at the journal in `dir`. Blocks: reads what no index describes.
    ///
    /// # Errors
    /// There is none, a process has it open, or its files cannot be read.
    pub fn open(dir: &Path, files: Arc<dyn Files>) -> Result<Self, OpenError> {
        let fs = files.as_ref();
        // Before the lock file, which would make the folder look like a journal.
        let names = fs.list(dir).map_err(OpenError::io("list", dir))?;
        if names.is_empty() {
            return Err(OpenError::io("find a journal in", dir)(io::ErrorKind::NotFound.into()));
        }
        let lock = match fs.lock(&dir.join(LOCK_FILE)) {
            Ok(Lock::Taken(held)) => Some(held),
            Ok(Lock::Held { pid }) => return Err(OpenError::Locked { dir: dir.to_owned(), pid }),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) =>
            {
                None
            }
            Err(error) => return Err(OpenError::io("lock", dir.join(LOCK_FILE))(error)),
        };
        let (found, _) = recovery::find(fs, dir, Touch::Nothing)?;
        let identity = recovery::identify(fs, dir, &found)?;
        let recovered = recovery::recover(fs, found, Purpose::Journal, Touch::Nothing)?;
        Ok(Self {
            dir: dir.to_owned(),
            id: identity.as_ref().map(|identity| identity.id.clone()),
            epoch: identity.as_ref().map(|identity| identity.epoch),
            next: identity.map_or(Offset::START, |identity| identity.next),
            segments: recovered.segments,
            files,
            _lock: lock,
        })
    }

    /// What it has.
    #[must_use]
    pub fn info(&self) -> OfflineInfo {
        let used = self.segments.iter().filter(|segment| !segment.is_empty());
        let durable = self.segments.last().map_or(self.next, |last| last.end().max(self.next));
        OfflineInfo {
            id: self.id.clone(),
            epoch: self.epoch,
            oldest: self.segments.first().map_or(durable, |first| first.first),
            durable,
            newest_at: used.clone().map(|segment| segment.summary().last_received_at).max(),
            segments: self.segments.len(),
            bytes: used.map(|segment| segment.used()).sum(),
            holds: self.holds(),
            set_aside: set_aside(self.files.as_ref(), &self.dir),
        }
    }

    /// Reads all of it and says what cannot be read. A torn tail, of which nobody was told, is no damage.
    pub fn verify(&self) -> Result<VerifyReport, ReadError> {
        let mut report = verify_all(self.files.as_ref(), &self.segments, &|| Offset::START)?;
        report.set_aside = set_aside(self.files.as_ref(), &self.dir);
        Ok(report)
    }

    fn holds(&self) -> Vec<StoredHold> {
        let folder = self.dir.join(FOLDER);
        let mut names = self.files.list(&folder).unwrap_or_default();
        names.retain(|name| is_name(name));
        names.sort();
        let size = |name: &String| {
            let dir = folder.join(name);
            let files = self.files.list(&dir).unwrap_or_default();
            files.iter().filter_map(|file| self.files.open(&dir.join(file)).ok()?.len().ok()).sum()
        };
        names.iter().map(|name| StoredHold { name: name.clone(), bytes: size(name) }).collect()
    }
}
