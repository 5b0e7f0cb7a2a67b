//! The hub's data folder: what lies where, and files only their owner can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hubward_model::Timestamp;
use serde::{Deserialize, Serialize};

/// Partitions of a new hub; like the real hub's they are fixed when it is made.
const PARTITIONS: u32 = 4;
/// The layout of the folder that this version writes and reads.
const FORMAT: u32 = 1;

/// What a hub keeps of itself for good.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct About {
    format: u32,
    /// When the hub was made.
    pub(crate) created_at: Timestamp,
    /// How many partitions its events are spread over.
    pub(crate) partitions: u32,
}

/// The data folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        make_private_folder(path).map_err(|source| FolderError::Io { path: path.to_owned(), source })?;
        let path = path.canonicalize().map_err(|source| FolderError::Io { path: path.to_owned(), source })?;
        Ok(Self(path))
    }

    /// Reads what the hub is, or writes it for a new one.
    pub(crate) fn about(&self, now: Timestamp) -> Result<About, FolderError> {
        let path = self.file("hub.json");
        if let Some(about) = read_json::<About>(&path)? {
            if about.format != FORMAT {
                return Err(FolderError::Format { path, found: about.format });
            }
            return Ok(about);
        }
        let about = About { format: FORMAT, created_at: now, partitions: PARTITIONS };
        write_json(&path, &about)?;
        Ok(about)
    }

    /// A file or folder in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} holds what this program cannot read: {source}", path = path.display())]
    Content { path: PathBuf, source: serde_json::Error },
    #[error("{path} has format {found}, this program knows format {FORMAT}", path = path.display())]
    Format { path: PathBuf, found: u32 },
}

/// What `path` holds; nothing if there is no such file.
pub(crate) fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, FolderError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FolderError::Io { path: path.to_owned(), source }),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| FolderError::Content { path: path.to_owned(), source })
}

/// Writes `content` so that after a crash the file is the old or the new one.
pub(crate) fn write_json<T: Serialize>(path: &Path, content: &T) -> Result<(), FolderError> {
    let bytes =
        serde_json::to_vec_pretty(content).map_err(|source| FolderError::Content { path: path.to_owned(), source })?;
    replace(path, &bytes).map_err(|source| FolderError::Io { path: path.to_owned(), source })
}

/// Replaces `path` by `bytes`, durable, readable for its owner only, never seen half written.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = create_private(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    sync_folder_of(path)
}

/// An empty file that only its owner can read, at `path`.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the entry of `path` in its folder durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn make_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_stays_what_it_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let made = folder.about(Timestamp::from_millis(1_000)).unwrap();
        let found = folder.about(Timestamp::from_millis(2_000)).unwrap();
        assert_eq!(made.created_at, found.created_at);
        assert_eq!(found.partitions, 4);
    }

    #[cfg(unix)]
    #[test]
    fn files_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        replace(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
