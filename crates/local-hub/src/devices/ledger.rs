//! The file of what is kept of devices: a log of changes, written by one thread for all who wait, rewritten when most of
//! it is history.
//!
//! Format 1: a first line naming the format, then one line per change: the CRC32C of the rest in hex, a blank, and JSON.
//! A torn last line is cut at open. Messages lie in it in clear, so only its owner can read it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::change::Change;
use crate::folder;

const HEADER: &str = "hubward local hub devices, format 1\n";
/// A file this much larger than when it was last rewritten, and over four times as large, is rewritten.
const HISTORY_BYTES: u64 = 16 << 20;

/// The open file.
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// What it had when it was last rewritten or opened.
    rewritten_bytes: u64,
}

/// Why it cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged in line {line}", path = path.display())]
    Damaged { path: PathBuf, line: usize },
    #[error("{path} is not of format 1", path = path.display())]
    Format { path: PathBuf },
    #[error("cannot start the thread that writes what is kept of devices: {0}")]
    Thread(io::Error),
}

impl Ledger {
    /// Opens or makes the file at `path`; `take` gets what it says, in order.
    pub(super) fn open(path: &Path, mut take: impl FnMut(Change)) -> Result<Self, LedgerError> {
        let io = |source| LedgerError::Io { path: path.to_owned(), source };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                folder::replace(path, HEADER.as_bytes()).map_err(io)?;
                HEADER.into()
            }
            Err(source) => return Err(io(source)),
        };
        let changes = bytes.strip_prefix(HEADER.as_bytes()).ok_or(LedgerError::Format { path: path.to_owned() })?;
        let mut good = HEADER.len();
        for (number, line) in changes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            match parse(line) {
                Some(change) => {
                    take(change);
                    good += line.len();
                }
                // Only what was being written when the power went may be broken, and that is what comes last.
                None if good + line.len() == bytes.len() => {
                    tracing::warn!(path = %path.display(), bytes = line.len(), "the file ended in a torn line: cut");
                }
                None => return Err(LedgerError::Damaged { path: path.to_owned(), line: number + 2 }),
            }
        }
        let file = OpenOptions::new().append(true).open(path).map_err(io)?;
        if good < bytes.len() {
            file.set_len(good as u64).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        Ok(Self { path: path.to_owned(), file, bytes: good as u64, rewritten_bytes: 0 })
    }

    /// Writes lines; they are durable when it returns. After an error nobody knows what the file holds, and nothing more
    /// may be written.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), LedgerError> {
        let io = |source| LedgerError::Io { path: self.path.clone(), source };
        self.file.write_all(lines).map_err(io)?;
        self.file.sync_data().map_err(io)?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Whether most of the file is history.
    pub(super) fn is_long(&self) -> bool {
        self.bytes > self.rewritten_bytes * 4 && self.bytes > self.rewritten_bytes + HISTORY_BYTES
    }

    /// Puts `lines` in the place of all that the file says.
    pub(super) fn rewrite(&mut self, lines: &[u8]) -> Result<(), LedgerError> {
        let io = |source| LedgerError::Io { path: self.path.clone(), source };
        let bytes = [HEADER.as_bytes(), lines].concat();
        folder::replace(&self.path, &bytes).map_err(io)?;
        self.file = OpenOptions::new().append(true).open(&self.path).map_err(io)?;
        self.bytes = bytes.len() as u64;
        self.rewritten_bytes = self.bytes;
        Ok(())
    }
}

/// Appends the line of `change` to `out`.
pub(super) fn line(change: &Change, out: &mut Vec<u8>) {
    let json = serde_json::to_vec(change).expect("a change has text keys only and no failing serialisers");
    write!(out, "{:08x} ", crc32c::crc32c(&json)).expect("a vector takes all bytes");
    out.extend_from_slice(&json);
    out.push(b'\n');
}

fn parse(line: &[u8]) -> Option<Change> {
    let line = line.strip_suffix(b"\n")?;
    let (crc, json) = line.split_at_checked(9)?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?.strip_suffix(' ')?, 16).ok()?;
    if crc != crc32c::crc32c(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}
