//! A journal's files, watched: which of them a request reads.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hubward_journal::{File, Files, Lock, RealFiles, Space};

/// Real files that remember which of them was read. They do not sync: what is read is asked here, not what survives.
pub(crate) struct Watched {
    real: RealFiles,
    read: Reads,
}

pub(crate) type Reads = Arc<Mutex<BTreeSet<PathBuf>>>;

struct WatchedFile {
    real: Arc<dyn File>,
    path: PathBuf,
    read: Reads,
}

impl Watched {
    /// With what was read, for whoever asks.
    pub(crate) fn new() -> (Self, Reads) {
        let read = Reads::default();
        (Self { real: RealFiles, read: Arc::clone(&read) }, read)
    }

    fn watch(&self, path: &Path, file: io::Result<Arc<dyn File>>) -> io::Result<Arc<dyn File>> {
        let (path, read) = (path.to_owned(), Arc::clone(&self.read));
        file.map(|real| Arc::new(WatchedFile { real, path, read }) as Arc<dyn File>)
    }
}

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.real.len()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.read.lock().unwrap().insert(self.path.clone());
        self.real.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.real.write_at(bytes, at)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.real.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Files for Watched {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.real.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.real.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.watch(path, self.real.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.watch(path, self.real.open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.real.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.real.remove_dir(dir)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.real.lock(path)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.real.space(dir)
    }
}
