//! What is on the disk of a [`FaultyFiles`](super::FaultyFiles), and what of it would survive.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::BTreeMap;

/// What is written to a disk at once, and so is never torn.
const SECTOR: usize = 512;

/// Files, durable and not.
pub(super) struct Disk {
    pub(super) capacity: u64,
    next: u64,
    nodes: HashMap<u64, Node>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Changes of names that are not durable, in order.
    pending_names: Vec<(PathBuf, Option<u64>)>,
}

/// A file's bytes.
#[derive(Default)]
pub(super) struct Node {
    /// As a reader sees it.
    pub(super) content: Vec<u8>,
    /// As it is for certain after a crash.
    pub(super) durable: Vec<u8>,
    pending: Vec<Change>,
    /// What a failed sync left of unknown fate.
    doubtful: Vec<Change>,
    /// Failed syncs.
    pub(super) errors: u64,
}

/// A change of a file's bytes.
#[derive(Clone)]
pub(super) enum Change {
    Write { at: usize, bytes: Vec<u8> },
    SetLen(u64),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                if content.len() < at + bytes.len() {
                    content.resize(at + bytes.len(), 0);
                }
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::SetLen(length) => content.resize(usize::try_from(*length).unwrap_or(usize::MAX), 0),
        }
    }
}

impl Node {
    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    pub(super) fn fail_sync(&mut self) {
        self.errors += 1;
        self.doubtful.append(&mut self.pending);
    }

    /// Keeps what chance keeps.
    fn crash(&mut self, chance: &mut Chance) {
        for change in self.doubtful.drain(..).chain(self.pending.drain(..)) {
            match (chance.below(4), &change) {
                (0, _) => {}
                (1, Change::Write { at, bytes }) => {
                    let mut from = 0;
                    while from < bytes.len() {
                        // Up to the next boundary of sectors in the file.
                        let to = (from + SECTOR - (at + from) % SECTOR).min(bytes.len());
                        if chance.below(2) == 0 {
                            Change::Write { at: at + from, bytes: bytes[from..to].to_vec() }.apply(&mut self.durable);
                        }
                        from = to;
                    }
                }
                _ => change.apply(&mut self.durable),
            }
        }
        self.content.clone_from(&self.durable);
        self.errors = 0;
    }
}

impl Disk {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            next: 1,
            nodes: HashMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
        }
    }

    pub(super) fn names(&self) -> &BTreeMap<PathBuf, u64> {
        &self.names
    }

    /// Bytes of all files.
    pub(super) fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.nodes.get(id)).map(|node| node.content.len() as u64).sum()
    }

    pub(super) fn id(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn by_id(&self, id: u64) -> io::Result<&Node> {
        self.nodes.get(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn by_id_mut(&mut self, id: u64) -> io::Result<&mut Node> {
        self.nodes.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn node(&self, path: &Path) -> io::Result<&Node> {
        self.by_id(self.id(path)?)
    }

    pub(super) fn node_mut(&mut self, path: &Path) -> io::Result<&mut Node> {
        self.by_id_mut(self.id(path)?)
    }

    pub(super) fn create(&mut self, path: &Path) -> u64 {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, Node::default());
        self.name(path, Some(id));
        id
    }

    pub(super) fn put(&mut self, path: &Path, content: &[u8]) {
        let id = self.create(path);
        self.nodes.insert(id, Node { content: content.to_vec(), durable: content.to_vec(), ..Node::default() });
        self.durable_names.insert(path.to_owned(), id);
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.id(from)?;
        self.name(from, None);
        self.name(to, Some(id));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.id(path)?;
        self.name(path, None);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) {
        let (here, elsewhere) =
            std::mem::take(&mut self.pending_names).into_iter().partition(|(path, _)| path.parent() == Some(dir));
        self.pending_names = elsewhere;
        for (path, id) in here {
            set(&mut self.durable_names, path, id);
        }
    }

    pub(super) fn write(&mut self, id: u64, bytes: &[u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let grows = (at + bytes.len()).saturating_sub(self.by_id(id)?.content.len()) as u64;
        let free = self.capacity.saturating_sub(self.used());
        if grows > free {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change(id, Change::Write { at, bytes: bytes.to_vec() })
    }

    pub(super) fn change(&mut self, id: u64, change: Change) -> io::Result<()> {
        let node = self.by_id_mut(id)?;
        change.apply(&mut node.content);
        node.pending.push(change);
        Ok(())
    }

    pub(super) fn crash(&mut self, seed: u64) {
        let mut chance = Chance(seed | 1);
        // Names are journaled by file systems: some first of them are durable.
        let kept = chance.below(self.pending_names.len() + 1);
        for (path, id) in std::mem::take(&mut self.pending_names).into_iter().take(kept) {
            set(&mut self.durable_names, path, id);
        }
        self.names.clone_from(&self.durable_names);
        let mut ids: Vec<u64> = self.names.values().copied().collect();
        ids.sort_unstable();
        self.nodes.retain(|id, _| ids.binary_search(id).is_ok());
        for id in ids {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.crash(&mut chance);
            }
        }
    }

    fn name(&mut self, path: &Path, id: Option<u64>) {
        set(&mut self.names, path.to_owned(), id);
        self.pending_names.push((path.to_owned(), id));
    }
}

fn set(names: &mut BTreeMap<PathBuf, u64>, path: PathBuf, id: Option<u64>) {
    match id {
        Some(id) => names.insert(path, id),
        None => names.remove(&path),
    };
}

/// A small source of chance that repeats itself for a seed (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(drawn).unwrap_or(0) % bound.max(1)
    }
}
