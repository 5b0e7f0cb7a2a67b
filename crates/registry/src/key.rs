//! The master key: 32 bytes, from the environment or from a file beside (never inside) the data folder.
//!
//! The text is one or more keys, separated by blanks or line ends, each 32 bytes as base64 or as 64 hexadecimal digits;
//! in a file, lines that begin with `#` are remarks. The first seals, all of them open. A key's id is the beginning of
//! a hash of it, so a key names itself and the right one is found in any order.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use hubward_model::Problem;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::random;

const REMARKS: &str = "\
# Hubward's master key. Without it the secrets in the data folder cannot be read by anybody, you included.
# Keep a copy in another place than the backups of the data folder. The first key is in use; others open older backups.
";

/// Where the master key comes from.
#[derive(Debug, Clone)]
pub struct KeySource {
    /// The value of `HUBWARD_MASTER_KEY`, if it is set: it wins over the file.
    pub text: Option<SecretString>,
    /// The key file: used, and at the very first start created, when there is no text.
    pub file: PathBuf,
}

/// `<data>.key`, beside the data folder.
#[must_use]
pub fn default_key_file(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.components().as_path().as_os_str().to_owned();
    name.push(".key");
    name.into()
}

/// Why a master key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no key.
    #[error("the master key in {origin} is not 32 bytes in base64 or 64 hexadecimal digits")]
    Malformed {
        /// The environment, or the file.
        origin: String,
    },
    /// It would go wherever the data goes, and so protect nothing.
    #[error("the key file {} lies in the data folder", file.display())]
    Inside {
        /// The file.
        file: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("cannot {action} the key file {}", file.display())]
    File {
        /// Read, create, replace.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl KeyError {
    /// The same with a code and a remedy.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Malformed { .. } => {
                Problem::new("bad_master_key", self.to_string(), "make one with: openssl rand -base64 32")
            }
            Self::Inside { .. } => Problem::new(
                "key_file_inside",
                self.to_string(),
                "name a place beside the data folder with --key-file: a copy of the folder must open nothing",
            ),
            Self::File { source, .. } => Problem::new(
                "key_file",
                format!("{self}: {source}"),
                "check the folder and its rights, or name another place with --key-file",
            ),
        }
    }
}

/// One master key.
#[derive(Clone)]
pub(crate) struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    pub(crate) fn random() -> Self {
        Self(random::bytes())
    }

    /// The name by which the database asks for it.
    pub(crate) fn id(&self) -> String {
        let digest = Sha256::new().chain_update(b"hubward master key").chain_update(self.0.as_slice()).finalize();
        hex::encode(&digest[..6])
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn parse(word: &str) -> Option<Self> {
        let mut raw = Zeroizing::new(Vec::new());
        let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
        if let Ok(bytes) = hex::decode(word) {
            *raw = bytes;
        } else if let Some(bytes) = engines.iter().find_map(|engine| engine.decode(word).ok()) {
            *raw = bytes;
        }
        <[u8; 32]>::try_from(raw.as_slice()).ok().map(|key| Self(Zeroizing::new(key)))
    }
}

/// The keys that were given, the first of which seals.
#[derive(Clone)]
pub(crate) struct MasterKeys(Vec<MasterKey>);

impl MasterKeys {
    /// What `source` gives: `None` when there is no text and no file.
    pub(crate) fn load(source: &KeySource) -> Result<Option<Self>, KeyError> {
        if let Some(text) = &source.text {
            return Self::parse(text.expose_secret(), "HUBWARD_MASTER_KEY").map(Some);
        }
        match fs::read_to_string(&source.file) {
            Ok(text) => {
                warn_if_open_to_others(&source.file);
                let text = Zeroizing::new(text);
                Self::parse(&text, &source.file.display().to_string()).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source_) => Err(KeyError::File { action: "read", file: source.file.clone(), source: source_ }),
        }
    }

    /// Refuses a key file that lies in the folder of `database`, or in one inside it.
    pub(crate) fn check_place(source: &KeySource, database: &Path) -> Result<(), KeyError> {
        let real = |path: &Path| path.parent().and_then(|folder| fs::canonicalize(folder).ok());
        match (real(&source.file), real(database)) {
            (Some(keys), Some(data)) if source.text.is_none() && keys.starts_with(&data) => {
                Err(KeyError::Inside { file: source.file.clone() })
            }
            _ => Ok(()),
        }
    }

    /// A fresh key, on disk in a new file of mode 0600 before it is used. A file that another process made meanwhile
    /// is left and used instead.
    pub(crate) fn create(file: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { action: "create", file: file.to_owned(), source };
        let keys = Self(vec![MasterKey::random()]);
        let fresh = write_beside(file, &keys).map_err(failed)?;
        // A link, unlike a rename, never replaces what is there.
        let linked = fs::hard_link(&fresh, file);
        let removed = fs::remove_file(&fresh);
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let source = KeySource { text: None, file: file.to_owned() };
                return Self::load(&source)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()));
            }
            Err(error) => return Err(failed(error)),
        }
        removed.and_then(|()| sync_folder(file)).map_err(failed)?;
        Ok(keys)
    }

    /// The same keys behind a fresh one, in the file before the fresh one is used.
    pub(crate) fn with_fresh_key(&self, file: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { action: "replace", file: file.to_owned(), source };
        let keys = Self([vec![MasterKey::random()], self.0.clone()].concat());
        let fresh = write_beside(file, &keys).map_err(failed)?;
        fs::rename(&fresh, file).and_then(|()| sync_folder(file)).map_err(failed)?;
        Ok(keys)
    }

    /// The key that seals.
    pub(crate) fn first(&self) -> &MasterKey {
        &self.0[0]
    }

    pub(crate) fn of_id(&self, id: &str) -> Option<&MasterKey> {
        self.0.iter().find(|key| key.id() == id)
    }

    /// The ids of all of them, for messages.
    pub(crate) fn ids(&self) -> String {
        self.0.iter().map(MasterKey::id).collect::<Vec<_>>().join(", ")
    }

    fn parse(text: &str, origin: &str) -> Result<Self, KeyError> {
        let words = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
        match words.map(MasterKey::parse).collect::<Option<Vec<_>>>() {
            Some(keys) if !keys.is_empty() => Ok(Self(keys)),
            _ => Err(KeyError::Malformed { origin: origin.to_owned() }),
        }
    }

    fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::from(REMARKS));
        text.reserve(self.0.len() * 45);
        for key in &self.0 {
            let mut line = STANDARD.encode(key.0.as_slice());
            text.push_str(&line);
            text.push('\n');
            line.zeroize();
        }
        text
    }
}

/// Writes `keys` into a new file of mode 0600 beside `file`, synced, and gives its path.
fn write_beside(file: &Path, keys: &MasterKeys) -> io::Result<PathBuf> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.new", random::id()));
    let path = PathBuf::from(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut open = options.open(&path)?;
    let written = open.write_all(keys.to_text().as_bytes()).and_then(|()| open.sync_all());
    if let Err(error) = written {
        // The half-written file holds a key nobody uses.
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    Ok(path)
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn warn_if_open_to_others(file: &Path) {
    #[cfg(unix)]
    if let Ok(meta) = fs::metadata(file)
        && std::os::unix::fs::MetadataExt::mode(&meta) & 0o077 != 0
    {
        tracing::warn!(file = %file.display(), "the key file can be read by others: chmod 600 it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Result<MasterKeys, KeyError> {
        MasterKeys::parse(text, "a test")
    }

    #[test]
    fn a_key_is_taken_as_base64_or_hexadecimal_and_names_itself_alike() {
        let raw = [0xfbu8; 32];
        let id = MasterKey(Zeroizing::new(raw)).id();
        for text in [STANDARD.encode(raw), URL_SAFE_NO_PAD.encode(raw), hex::encode(raw), hex::encode_upper(raw)] {
            assert_eq!(keys(&format!("# remark\n {text}\r\n")).unwrap().first().id(), id, "{text}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        for text in ["", "# only a remark\n", "correct horse battery staple", "c2hvcnQ=", &"0".repeat(62)] {
            let error = keys(text).err().unwrap_or_else(|| panic!("{text:?}"));
            assert!(text.len() < 9 || !format!("{error} {error:?}").contains(text));
        }
    }

    #[test]
    fn the_default_key_file_lies_beside_the_data_folder_never_inside() {
        for (data, file) in [("/var/lib/hubward", "/var/lib/hubward.key"), ("./data/", "./data.key"), ("d", "d.key")] {
            assert_eq!(default_key_file(Path::new(data)), Path::new(file));
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_new_key_file_is_for_its_owner_alone_and_never_replaces_one() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.key");
        let first = MasterKeys::create(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let second = MasterKeys::create(&file).unwrap();
        assert_eq!(first.first().id(), second.first().id());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_fresh_key_stands_first_and_the_older_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.key");
        let old = MasterKeys::create(&file).unwrap();
        let new = old.with_fresh_key(&file).unwrap();
        assert_ne!(new.first().id(), old.first().id());
        let loaded = MasterKeys::load(&KeySource { text: None, file }).unwrap().unwrap();
        assert_eq!(loaded.ids(), new.ids());
        assert!(loaded.of_id(&old.first().id()).is_some());
    }
}
