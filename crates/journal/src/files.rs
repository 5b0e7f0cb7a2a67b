//! File access, behind one small trait, so that a test file system can fail, tear and forget unsynced writes.
//!
//! All calls block; the journal makes them on its own threads or on tokio's blocking pool.

use std::io;
use std::path::Path;
use std::sync::Arc;

mod real;

pub use real::RealFiles;

/// The file operations the journal needs, and no more. Durability is as POSIX has it: bytes survive a crash once
/// [`File::sync`] returned, names (created, renamed, removed) once [`Files::sync_dir`] of their folder returned.
pub trait Files: Send + Sync + 'static {
    /// Makes the folder and those above it, if missing.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Names of the files and folders directly in `dir`, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// A new empty file open for reading and writing; what stood there before is gone.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// An existing file, open for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock file at `path` for this process, and writes the process id into it.
    fn lock(&self, path: &Path) -> io::Result<Lock>;
    /// How large the disk under `dir` is, and what is left.
    fn space(&self, dir: &Path) -> io::Result<Space>;
}

/// One open file. Reads and writes name their place, so one handle serves many threads.
pub trait File: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `buffer.len()` bytes from `at`; less at the end of the file.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `at`, growing the file if needed.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Cuts or grows the file.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes the bytes durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
}

/// The answer to [`Files::lock`].
pub enum Lock {
    /// Ours until the guard is dropped.
    Taken(Box<dyn Send + Sync>),
    /// Another process has it; its id, if the file tells.
    Held {
        /// Process id of the holder.
        pid: Option<u32>,
    },
}

/// Size of a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What this process may still use.
    pub available: u64,
}

/// Reads exactly `length` bytes from `at`, or fewer if the file ends before.
pub(crate) fn read_up_to(file: &dyn File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

/// All bytes of the file at `path`; `None` if there is no such file.
pub(crate) fn read_file(files: &dyn Files, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match files.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    read_up_to(file.as_ref(), 0, length).map(Some)
}

/// Removes a file that may be gone already.
pub(crate) fn remove_if_there(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
