//! A file system in memory that fails, tears, forgets and fills up on request; and a journal that runs by itself.
//!
//! It is as unkind as POSIX allows: bytes survive a [crash](FaultyFiles::crash) for certain only once their file was
//! synced, names only once their folder was; what was not synced may survive whole, in parts, or not at all, in any
//! order. After a failed sync the bytes it was to make durable stay of unknown fate, however often it is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::files::{File, Files, Lock, Space};
use crate::segment::lock;

mod disk;
mod running;

use disk::{Change, Disk};
pub use running::Running;

/// A file system in memory that fails on request. Clones are the same one.
#[derive(Clone)]
pub struct FaultyFiles {
    inner: Arc<Inner>,
    /// Given to a process that a crash ends: from then on nothing works for it.
    life: Option<u64>,
}

struct Inner {
    state: Mutex<State>,
    /// Wakes syncs that are held back, and those who wait for them.
    changed: Condvar,
}

struct State {
    disk: Disk,
    /// Rises with every crash: handles from before it are dead.
    life: u64,
    locks: BTreeSet<PathBuf>,
    /// Durable at once.
    dirs: BTreeSet<PathBuf>,
    fail_syncs: u32,
    fail_writes: u32,
    fail_creates: u32,
    fail_reads: u32,
    /// Syncs until power fails, and the seed of that crash.
    crash_at_sync: Option<(u32, u64)>,
    hold_syncs: bool,
    held: usize,
    slow_syncs: Duration,
    read_only: bool,
    counts: Counts,
}

impl State {
    fn crash(&mut self, seed: u64) {
        self.disk.crash(seed);
        self.life += 1;
        self.locks.clear();
        (self.fail_syncs, self.fail_writes, self.fail_creates, self.fail_reads) = (0, 0, 0, 0);
        self.crash_at_sync = None;
        self.hold_syncs = false;
        self.read_only = false;
    }

    /// Fails if the file system cannot be written.
    fn writable(&self) -> io::Result<()> {
        if self.read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }
}

/// What was asked of the file system so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Syncs of files, failed ones too.
    pub syncs: u64,
    /// Writes, failed ones too.
    pub writes: u64,
    /// Reads, failed ones too.
    pub reads: u64,
}

impl Default for FaultyFiles {
    fn default() -> Self {
        Self::new()
    }
}

impl FaultyFiles {
    /// An empty disk of 1 TiB without faults.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            disk: Disk::new(1 << 40),
            life: 0,
            locks: BTreeSet::new(),
            dirs: BTreeSet::new(),
            fail_syncs: 0,
            fail_writes: 0,
            fail_creates: 0,
            fail_reads: 0,
            crash_at_sync: None,
            hold_syncs: false,
            held: 0,
            slow_syncs: Duration::ZERO,
            read_only: false,
            counts: Counts::default(),
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new() }), life: None }
    }

    /// As the journal takes it, for a process that ends with the next crash: nothing works for it any more then.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Files> {
        let life = self.state().life;
        Arc::new(Self { inner: Arc::clone(&self.inner), life: Some(life) })
    }

    /// The next `count` syncs of files fail, and what they were to make durable is of unknown fate.
    pub fn fail_syncs(&self, count: u32) {
        self.state().fail_syncs = count;
    }

    /// The next `count` writes fail half way.
    pub fn fail_writes(&self, count: u32) {
        self.state().fail_writes = count;
    }

    /// The next `count` attempts to make a file fail.
    pub fn fail_creates(&self, count: u32) {
        self.state().fail_creates = count;
    }

    /// The next `count` reads fail.
    pub fn fail_reads(&self, count: u32) {
        self.state().fail_reads = count;
    }

    /// Power fails in the next sync but `count`, before anything of it is certain; else as [`crash`](Self::crash).
    pub fn crash_at_sync(&self, count: u32, seed: u64) {
        self.state().crash_at_sync = Some((count, seed));
    }

    /// No sync returns until [`release_syncs`](Self::release_syncs).
    pub fn hold_syncs(&self) {
        self.state().hold_syncs = true;
    }

    /// Lets all syncs go on.
    pub fn release_syncs(&self) {
        self.state().hold_syncs = false;
        self.inner.changed.notify_all();
    }

    /// Waits until a sync is held back, at most 30 seconds; says whether one is. Blocks.
    #[must_use]
    pub fn wait_for_held_sync(&self) -> bool {
        let state = self.state();
        let waited = self.inner.changed.wait_timeout_while(state, Duration::from_secs(30), |state| state.held == 0);
        waited.is_ok_and(|(_, timeout)| !timeout.timed_out())
    }

    /// Every sync takes this long.
    pub fn slow_syncs(&self, by: Duration) {
        self.state().slow_syncs = by;
    }

    /// From now on nothing can be written, as when a file system met an error and was mounted again for reading; or it
    /// can be again.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// From now on the disk takes `bytes` more.
    pub fn set_free(&self, bytes: u64) {
        let mut state = self.state();
        state.disk.capacity = state.disk.used() + bytes;
    }

    /// What was asked so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// The machine loses power and comes back: what was not synced survives by chance, as `seed` has it. All open
    /// files are dead, all locks free, all faults gone.
    pub fn crash(&self, seed: u64) {
        self.state().crash(seed);
        self.inner.changed.notify_all();
    }

    /// All files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().disk.names().keys().cloned().collect()
    }

    /// The file's bytes, durable or not.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.state().disk.node(path)?.content.clone())
    }

    /// Puts a file there, durably.
    pub fn put(&self, path: &Path, content: &[u8]) {
        self.state().disk.put(path, content);
    }

    /// Turns over bits of a durable byte, as a bad disk does.
    pub fn damage(&self, path: &Path, at: usize, bits: u8) -> io::Result<()> {
        let mut state = self.state();
        let node = state.disk.node_mut(path)?;
        for content in [&mut node.content, &mut node.durable] {
            if let Some(byte) = content.get_mut(at) {
                *byte ^= bits;
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }

    /// The state, if no crash ended the process that asks.
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        match self.life {
            Some(life) if life != state.life => Err(io::Error::other("the machine crashed since")),
            _ => Ok(state),
        }
    }

    fn handle(&self, state: &State, node: u64) -> Arc<dyn File> {
        let seen = state.disk.by_id(node).map_or(0, |node| node.errors);
        Arc::new(FaultyFile { files: self.clone(), node, life: state.life, seen: Mutex::new(seen) })
    }
}

impl Files for FaultyFiles {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.alive()?.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.alive()?;
        let below = state.disk.names().keys().chain(&state.dirs).filter_map(|path| path.strip_prefix(dir).ok());
        let names: BTreeSet<String> = below.filter_map(|path| Some(path.iter().next()?.to_str()?.to_owned())).collect();
        Ok(names.into_iter().collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.alive()?;
        state.writable()?;
        fails(&mut state.fail_creates)?;
        let node = state.disk.create(path);
        Ok(self.handle(&state, node))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let state = self.alive()?;
        let node = state.disk.id(path)?;
        Ok(self.handle(&state, node))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.alive()?;
        state.writable()?;
        state.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.alive()?;
        state.writable()?;
        state.disk.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        if !self.list(dir)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.alive()?.dirs.remove(dir);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.alive()?.disk.sync_dir(dir);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let mut state = self.alive()?;
        if !state.locks.insert(path.to_owned()) {
            return Ok(Lock::Held { pid: Some(std::process::id()) });
        }
        Ok(Lock::Taken(Box::new(Guard { files: self.clone(), path: path.to_owned(), life: state.life })))
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let state = self.alive()?;
        let total = state.disk.capacity;
        Ok(Space { total, available: total.saturating_sub(state.disk.used()) })
    }
}

struct Guard {
    files: FaultyFiles,
    path: PathBuf,
    life: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.files.state();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

struct FaultyFile {
    files: FaultyFiles,
    node: u64,
    life: u64,
    /// Errors of writing back that this handle was told of: each handle is told once.
    seen: Mutex<u64>,
}

impl FaultyFile {
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.files.state();
        if state.life == self.life { Ok(state) } else { Err(io::Error::other("the machine crashed since")) }
    }
}

impl File for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.disk.by_id(self.node)?.content.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.alive()?;
        state.counts.reads += 1;
        fails(&mut state.fail_reads)?;
        let content = &state.disk.by_id(self.node)?.content;
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        let length = buffer.len().min(content.len() - from);
        buffer[..length].copy_from_slice(&content[from..from + length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.alive()?;
        state.counts.writes += 1;
        state.writable()?;
        if let Err(error) = fails(&mut state.fail_writes) {
            state.disk.write(self.node, &bytes[..bytes.len() / 2], at)?;
            return Err(error);
        }
        state.disk.write(self.node, bytes, at)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.alive()?;
        state.writable()?;
        state.disk.change(self.node, Change::SetLen(length))
    }

    fn sync(&self) -> io::Result<()> {
        let pause = self.alive()?.slow_syncs;
        if !pause.is_zero() {
            wait(pause);
        }
        let mut state = self.alive()?;
        state.counts.syncs += 1;
        state.held += 1;
        self.files.inner.changed.notify_all();
        while state.hold_syncs {
            state = self.files.inner.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state.held -= 1;
        drop(state);
        let mut state = self.alive()?;
        match &mut state.crash_at_sync {
            Some((0, seed)) => {
                let seed = *seed;
                state.crash(seed);
                return Err(io::Error::other("power failed"));
            }
            Some((count, _)) => *count -= 1,
            None => {}
        }
        let failed = fails(&mut state.fail_syncs);
        let node = state.disk.by_id_mut(self.node)?;
        match failed {
            Ok(()) => node.sync(),
            Err(_) => node.fail_sync(),
        }
        let mut seen = lock(&self.seen);
        if *seen < node.errors {
            *seen = node.errors;
            return Err(io::Error::other("failed on request"));
        }
        Ok(())
    }
}

/// Plays a slow disk.
#[expect(clippy::disallowed_methods, reason = "files block, and the disk is what is waited for")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Counts down, and fails until it is at zero.
fn fails(left: &mut u32) -> io::Result<()> {
    match left.checked_sub(1) {
        Some(less) => {
            *left = less;
            Err(io::Error::other("failed on request"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
