//! A file of changes, each durable when it is written: what the identity registry and the store of devices are kept in.
//!
//! Format 1: a first line that names what the file is of and the format, then one line per change: the CRC32C of the rest
//! in hex, a blank, and JSON. A change counts once its line is whole and synced; a torn last line is cut at open. Keys and
//! messages lie in it in clear, so only its owner can read it. Whoever owns it decides when most of it is history, and has
//! it rewritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::folder;

/// The open file.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    path: PathBuf,
    header: String,
    file: File,
    bytes: u64,
}

/// Why it cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged in line {line}", path = path.display())]
    Damaged { path: PathBuf, line: usize },
    #[error("{path} does not begin with {header:?}: it is of another format, or of something else", path = path.display())]
    Format { path: PathBuf, header: String },
}

impl ChangeLog {
    /// Opens or makes the file at `path`, of what `of` says; `take` gets its changes, in order.
    pub(crate) fn open<T: DeserializeOwned>(path: &Path, of: &str, mut take: impl FnMut(T)) -> Result<Self, LogError> {
        let io = |source| LogError::Io { path: path.to_owned(), source };
        let header = format!("hubward local hub {of}, format 1\n");
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                folder::replace(path, header.as_bytes()).map_err(io)?;
                header.clone().into_bytes()
            }
            Err(source) => return Err(io(source)),
        };
        let Some(changes) = bytes.strip_prefix(header.as_bytes()) else {
            return Err(LogError::Format { path: path.to_owned(), header: header.trim_end().to_owned() });
        };
        let mut good = header.len();
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
                None => return Err(LogError::Damaged { path: path.to_owned(), line: number + 2 }),
            }
        }
        let file = OpenOptions::new().append(true).open(path).map_err(io)?;
        if good < bytes.len() {
            file.set_len(good as u64).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        Ok(Self { path: path.to_owned(), header, file, bytes: good as u64 })
    }

    /// How long it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes lines; they are durable when it returns. After an error nobody knows what the file holds, and nothing more
    /// may be written.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), LogError> {
        let io = |source| LogError::Io { path: self.path.clone(), source };
        self.file.write_all(lines).map_err(io)?;
        self.file.sync_data().map_err(io)?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Puts `lines` in the place of all that the file says.
    pub(crate) fn rewrite(&mut self, lines: &[u8]) -> Result<(), LogError> {
        let io = |source| LogError::Io { path: self.path.clone(), source };
        let bytes = [self.header.as_bytes(), lines].concat();
        folder::replace(&self.path, &bytes).map_err(io)?;
        self.file = OpenOptions::new().append(true).open(&self.path).map_err(io)?;
        self.bytes = bytes.len() as u64;
        Ok(())
    }
}

/// Appends the line of `change` to `out`.
pub(crate) fn line(change: &impl Serialize, out: &mut Vec<u8>) {
    let json = serde_json::to_vec(change).expect("changes have text keys only and no failing serialisers");
    write!(out, "{:08x} ", crc32c::crc32c(&json)).expect("a vector takes all bytes");
    out.extend_from_slice(&json);
    out.push(b'\n');
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let line = line.strip_suffix(b"\n")?;
    let (crc, json) = line.split_at_checked(9)?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?.strip_suffix(' ')?, 16).ok()?;
    if crc != crc32c::crc32c(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path, of: &str) -> Result<Vec<String>, LogError> {
        let mut all = Vec::new();
        ChangeLog::open(path, of, |change: String| all.push(change)).map(|_| all)
    }

    #[test]
    fn changes_are_read_back_a_torn_last_line_is_cut_and_a_broken_one_before_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = ChangeLog::open(&path, "tests", |_: String| {}).unwrap();
        let mut lines = Vec::new();
        for text in ["one", "two"] {
            line(&text, &mut lines);
        }
        log.append(&lines).unwrap();
        drop(log);
        assert_eq!(read(&path, "tests").unwrap(), ["one", "two"]);
        let whole = fs::read(&path).unwrap();
        for cut in 1..6 {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            assert_eq!(read(&path, "tests").unwrap(), ["one"]);
            assert_eq!(fs::metadata(&path).unwrap().len(), (whole.len() - lines.len() / 2) as u64, "it is cut off");
        }
        let mut broken = whole;
        let place = broken.len() - lines.len() / 2 - 3;
        broken[place] ^= 1;
        fs::write(&path, broken).unwrap();
        assert!(matches!(read(&path, "tests"), Err(LogError::Damaged { line: 2, .. })));
        let error = read(&path, "others").unwrap_err().to_string();
        assert!(error.contains("\"hubward local hub others, format 1\""), "{error}");
    }

    #[test]
    fn what_is_rewritten_is_all_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = ChangeLog::open(&path, "tests", |_: String| {}).unwrap();
        let lines = |text: &str| {
            let mut lines = Vec::new();
            line(&text, &mut lines);
            lines
        };
        log.append(&lines("old")).unwrap();
        log.rewrite(&lines("new")).unwrap();
        log.append(&lines("newer")).unwrap();
        assert_eq!(log.bytes(), fs::metadata(&path).unwrap().len());
        assert_eq!(read(&path, "tests").unwrap(), ["new", "newer"]);
    }
}
