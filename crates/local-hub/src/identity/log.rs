//! The file identities are kept in: a log of changes, `{"put":{identity}}` or `{"delete":"id"}`, rewritten when most of it
//! is history.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::Identity;
use crate::change_log::{ChangeLog, LogError, line};

/// A log this much longer than what it says is rewritten.
const HISTORY_ENTRIES: usize = 10_000;

/// All identities by id.
pub(super) type Map = BTreeMap<Arc<str>, Arc<Identity>>;

/// One change.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Entry {
    Put(Arc<Identity>),
    Delete(Arc<str>),
}

impl Entry {
    pub(super) fn apply(self, map: &mut Map) {
        match self {
            Self::Put(identity) => {
                map.insert(identity.device_id.clone(), identity);
            }
            Self::Delete(id) => {
                map.remove(&id);
            }
        }
    }
}

/// The open log.
pub(super) struct Log {
    changes: ChangeLog,
    entries: usize,
}

impl Log {
    /// Opens or makes the log at `path` and reads what it says.
    pub(super) fn open(path: &Path) -> Result<(Self, Map), LogError> {
        let (mut map, mut entries) = (Map::new(), 0);
        let changes = ChangeLog::open(path, "registry", |entry: Entry| {
            entry.apply(&mut map);
            entries += 1;
        })?;
        Ok((Self { changes, entries }, map))
    }

    /// Writes changes; they are durable when it returns. After an error nothing more may be written.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        let mut lines = Vec::new();
        entries.iter().for_each(|entry| line(entry, &mut lines));
        self.changes.append(&lines)?;
        self.entries += entries.len();
        Ok(())
    }

    /// Rewrites the log as what it says, if most of it is history.
    pub(super) fn compact(&mut self, map: &Map) -> Result<(), LogError> {
        if self.entries <= 2 * map.len() + HISTORY_ENTRIES {
            return Ok(());
        }
        let mut lines = Vec::new();
        map.values().for_each(|identity| line(&Entry::Put(identity.clone()), &mut lines));
        self.changes.rewrite(&lines)?;
        self.entries = map.len();
        Ok(())
    }
}
