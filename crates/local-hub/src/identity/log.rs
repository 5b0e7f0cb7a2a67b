//! The file identities are kept in: a log of changes, rewritten when most of it is history.
//!
//! Format 1: a first line naming the format, then one line per change: the CRC32C of the rest in hex, a blank, and JSON,
//! `{"put":{identity}}` or `{"delete":"id"}`. A change counts once its line is whole and synced; a torn last line is
//! cut at open. The file has the device keys in it, so only its owner can read it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::Identity;
use crate::folder;

const HEADER: &str = "hubward local hub registry, format 1\n";
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
    path: PathBuf,
    file: File,
    entries: usize,
}

/// Why the registry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged in line {line}", path = path.display())]
    Damaged { path: PathBuf, line: usize },
    #[error("{path} is not a registry of format 1", path = path.display())]
    Format { path: PathBuf },
}

impl Log {
    /// Opens or makes the log at `path` and reads what it says.
    pub(super) fn open(path: &Path) -> Result<(Self, Map), LogError> {
        let io = |source| LogError::Io { path: path.to_owned(), source };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                folder::replace(path, HEADER.as_bytes()).map_err(io)?;
                HEADER.into()
            }
            Err(source) => return Err(io(source)),
        };
        let changes = bytes.strip_prefix(HEADER.as_bytes()).ok_or(LogError::Format { path: path.to_owned() })?;
        let (mut map, mut entries, mut good) = (Map::new(), 0, HEADER.len());
        for line in changes.split_inclusive(|byte| *byte == b'\n') {
            match parse(line) {
                Some(entry) => {
                    entry.apply(&mut map);
                    entries += 1;
                    good += line.len();
                }
                // Only what was being written when the power went may be broken, and that is what comes last.
                None if good + line.len() == bytes.len() => {
                    tracing::warn!(path = %path.display(), bytes = line.len(), "the registry ended in a torn line: cut");
                }
                None => return Err(LogError::Damaged { path: path.to_owned(), line: entries + 2 }),
            }
        }
        let file = OpenOptions::new().append(true).open(path).map_err(io)?;
        if good < bytes.len() {
            file.set_len(good as u64).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        Ok((Self { path: path.to_owned(), file, entries }, map))
    }

    /// Writes changes; they are durable when it returns. After an error nobody knows what the file holds, and nothing
    /// more may be written.
    pub(super) fn append(&mut self, changes: &[Entry]) -> Result<(), LogError> {
        let io = |source| LogError::Io { path: self.path.clone(), source };
        let mut bytes = Vec::new();
        for entry in changes {
            line(entry, &mut bytes).map_err(io)?;
        }
        self.file.write_all(&bytes).map_err(io)?;
        self.file.sync_data().map_err(io)?;
        self.entries += changes.len();
        Ok(())
    }

    /// Rewrites the log as what it says, if most of it is history.
    pub(super) fn compact(&mut self, map: &Map) -> Result<(), LogError> {
        if self.entries <= 2 * map.len() + HISTORY_ENTRIES {
            return Ok(());
        }
        let io = |source| LogError::Io { path: self.path.clone(), source };
        let mut bytes = HEADER.as_bytes().to_vec();
        for identity in map.values() {
            line(&Entry::Put(identity.clone()), &mut bytes).map_err(io)?;
        }
        folder::replace(&self.path, &bytes).map_err(io)?;
        self.file = OpenOptions::new().append(true).open(&self.path).map_err(io)?;
        self.entries = map.len();
        Ok(())
    }
}

fn line(entry: &Entry, out: &mut Vec<u8>) -> io::Result<()> {
    let json = serde_json::to_vec(entry)?;
    write!(out, "{:08x} ", crc32c::crc32c(&json))?;
    out.extend_from_slice(&json);
    out.push(b'\n');
    Ok(())
}

fn parse(line: &[u8]) -> Option<Entry> {
    let line = line.strip_suffix(b"\n")?;
    let (crc, json) = line.split_at_checked(9)?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?.strip_suffix(' ')?, 16).ok()?;
    if crc != crc32c::crc32c(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}
