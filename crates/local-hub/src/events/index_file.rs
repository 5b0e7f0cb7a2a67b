//! The index's marks in a file, written behind: a torn or lost end costs nothing but reading more of the journal.
//!
//! Header: `HWEVIDX2`, partitions `u32`, length `u16` and text of the journal's id. Then marks of one size each: offset
//! `u64`; for every partition sequence number `i64`, offset plus one `u64` (0: none) and time `i64` of its last event; what was
//! used of a day, the day `i64`, each message for itself `u64`, a transfer as one `u64`; a CRC-32C of all that `u32`. Numbers are big-endian.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};
use hubward_model::{JournalId, Timestamp};

use super::index::{Last, Mark};
use crate::folder;
use crate::limits::Used;

const MAGIC: &[u8; 8] = b"HWEVIDX2";
/// Marks that nobody looks up may stand in the file, as many again as those of use, and so many.
const SLACK: usize = 4096;

/// The open file.
pub(super) struct IndexFile {
    path: PathBuf,
    header: Vec<u8>,
    partitions: usize,
    file: File,
    marks: usize,
}

impl IndexFile {
    /// Opens the file of the journal called `id`, and reads the marks that are whole and lie before `end`. A file that
    /// is missing or of another journal is begun anew.
    pub(super) fn open(path: &Path, id: &JournalId, partitions: u32, end: u64) -> io::Result<(Self, Vec<Mark>)> {
        let mut header = MAGIC.to_vec();
        header.put_u32(partitions);
        header.put_u16(u16::try_from(id.as_str().len()).unwrap_or(u16::MAX));
        header.put_slice(id.as_str().as_bytes());
        let partitions = partitions as usize;
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => {
                file.read_to_end(&mut bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let marks = match bytes.strip_prefix(header.as_slice()) {
            Some(rest) => read_marks(rest, partitions, end),
            None => {
                if !bytes.is_empty() {
                    tracing::warn!(path = %path.display(), "the index is not of these events, or of an earlier version: they are all read");
                }
                Vec::new()
            }
        };
        let mut opened =
            Self { path: path.to_owned(), file: empty(path, &header, &bytes)?, header, partitions, marks: 0 };
        opened.marks = marks.len();
        opened.cut()?;
        Ok((opened, marks))
    }

    /// Adds marks; they are durable when it returns. Blocks on the disk.
    pub(super) fn append(&mut self, marks: &[Mark]) -> io::Result<()> {
        if marks.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(marks.len() * mark_size(self.partitions));
        for mark in marks {
            put_mark(&mut bytes, mark);
        }
        if let Err(error) = self.file.write_all(&bytes).and_then(|()| self.file.sync_data()) {
            // What was half written is taken back, so that it can be tried again.
            self.cut()?;
            return Err(error);
        }
        self.marks += marks.len();
        Ok(())
    }

    /// Takes back all that stands behind the marks that are known to be written.
    fn cut(&mut self) -> io::Result<()> {
        let length = self.header.len() + self.marks * mark_size(self.partitions);
        self.file.set_len(length as u64)?;
        self.file.seek(SeekFrom::End(0))?;
        Ok(())
    }

    /// Leaves out the marks before the one at `first`, once they are many. Blocks on the disk.
    pub(super) fn shrink(&mut self, first: u64) -> io::Result<()> {
        if self.marks < SLACK {
            return Ok(());
        }
        let mut bytes = Vec::new();
        File::open(&self.path)?.read_to_end(&mut bytes)?;
        let rest = bytes.get(self.header.len()..).unwrap_or_default();
        let all = read_marks(rest, self.partitions, u64::MAX);
        let kept: Vec<_> = all.iter().filter(|mark| mark.offset >= first).collect();
        if kept.len() + SLACK > all.len() && kept.len() * 2 > all.len() {
            return Ok(());
        }
        let mut bytes = self.header.clone();
        for mark in &kept {
            put_mark(&mut bytes, mark);
        }
        folder::replace(&self.path, &bytes)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.marks = kept.len();
        Ok(())
    }
}

/// The file, beginning with `header`; what it holds (`bytes`) stays only if it begins so.
fn empty(path: &Path, header: &[u8], bytes: &[u8]) -> io::Result<File> {
    if !bytes.starts_with(header) {
        folder::replace(path, header)?;
    }
    OpenOptions::new().write(true).open(path)
}

fn mark_size(partitions: usize) -> usize {
    8 + partitions * 24 + 24 + 4
}

fn put_mark(out: &mut Vec<u8>, mark: &Mark) {
    let start = out.len();
    out.put_u64(mark.offset);
    for last in &mark.lasts {
        out.put_i64(last.sequence);
        out.put_u64(last.offset.map_or(0, |offset| offset + 1));
        out.put_i64(last.enqueued_at.as_millis());
    }
    out.put_i64(mark.used.day);
    out.put_u64(mark.used.per_message);
    out.put_u64(mark.used.per_transfer);
    let checksum = crc32c::crc32c(&out[start..]);
    out.put_u32(checksum);
}

/// The marks up to the first that is damaged, out of order or past `end`.
fn read_marks(bytes: &[u8], partitions: usize, end: u64) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for entry in bytes.chunks_exact(mark_size(partitions)) {
        let (mut content, mut checksum) = entry.split_at(entry.len() - 4);
        if crc32c::crc32c(content) != checksum.get_u32() {
            break;
        }
        let offset = content.get_u64();
        let mut last = || Last {
            sequence: content.get_i64(),
            offset: content.get_u64().checked_sub(1),
            enqueued_at: Timestamp::from_millis(content.get_i64()),
        };
        let lasts = (0..partitions).map(|_| last()).collect();
        let used = Used { day: content.get_i64(), per_message: content.get_u64(), per_transfer: content.get_u64() };
        if offset > end || marks.last().is_some_and(|before| before.offset > offset) {
            break;
        }
        marks.push(Mark { offset, lasts, used });
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(offset: u64) -> Mark {
        let last = |sequence| Last { sequence, offset: Some(offset - 1), enqueued_at: Timestamp::from_millis(7) };
        Mark { offset, lasts: vec![last(1), Last::NONE], used: Used { day: 3, per_message: offset, per_transfer: 2 } }
    }

    fn reopen(path: &Path, id: &JournalId, end: u64) -> Vec<Mark> {
        IndexFile::open(path, id, 2, end).unwrap().1
    }

    #[test]
    fn marks_are_read_back_up_to_the_first_that_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let id = JournalId::random();
        let (mut file, none) = IndexFile::open(&path, &id, 2, 100).unwrap();
        assert_eq!(none, []);
        file.append(&[mark(10), mark(20)]).unwrap();
        file.append(&[mark(30)]).unwrap();
        assert_eq!(reopen(&path, &id, 100), [mark(10), mark(20), mark(30)]);
        let length = std::fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        assert_eq!(reopen(&path, &id, 100), [mark(10), mark(20)]);
        let (mut file, _) = IndexFile::open(&path, &id, 2, 100).unwrap();
        file.append(&[mark(40)]).unwrap();
        assert_eq!(reopen(&path, &id, 100), [mark(10), mark(20), mark(40)], "what was torn is overwritten");
    }

    #[test]
    fn marks_of_another_journal_or_past_its_end_are_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let id = JournalId::random();
        IndexFile::open(&path, &id, 2, 100).unwrap().0.append(&[mark(10), mark(20)]).unwrap();
        assert_eq!(reopen(&path, &id, 15), [mark(10)]);
        assert_eq!(reopen(&path, &JournalId::random(), 100), []);
        assert_eq!(reopen(&path, &id, 100), [], "the file was begun anew");
    }

    #[test]
    fn marks_of_no_use_leave_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let id = JournalId::random();
        let (mut file, _) = IndexFile::open(&path, &id, 2, u64::MAX).unwrap();
        let marks: Vec<_> = (1..=2 * SLACK as u64).map(mark).collect();
        file.append(&marks).unwrap();
        file.shrink(1).unwrap();
        assert_eq!(reopen(&path, &id, u64::MAX).len(), 2 * SLACK, "all are of use");
        file.shrink(2 * SLACK as u64 - 1).unwrap();
        file.append(&[mark(2 * SLACK as u64 + 1)]).unwrap();
        let left: Vec<_> = reopen(&path, &id, u64::MAX).iter().map(|mark| mark.offset).collect();
        assert_eq!(left, [2 * SLACK as u64 - 1, 2 * SLACK as u64, 2 * SLACK as u64 + 1]);
    }
}
