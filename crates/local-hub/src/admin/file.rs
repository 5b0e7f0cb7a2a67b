//! How the admin API of a running hub is reached.

use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::folder;

/// The file's name in the hub's data folder.
pub(crate) const ADMIN_FILE: &str = "admin.json";

/// Address and token of a hub's admin API, as they lie in its data folder while it runs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminFile {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// What requests carry as `Authorization: Bearer …`.
    pub token: String,
}

impl AdminFile {
    /// Reads the file in `data`, the hub's data folder. There is none unless a hub runs there.
    ///
    /// # Errors
    /// The file cannot be read, or is none.
    pub fn read(data: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(data.join(ADMIN_FILE))?;
        serde_json::from_slice(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// A new token for `url`.
    pub(super) fn new(url: String) -> Self {
        let mut bytes = [0u8; 32];
        // A token that can be guessed would be worse than no hub.
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        Self { url, token: URL_SAFE_NO_PAD.encode(bytes) }
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        folder::replace(path, &serde_json::to_vec(self)?)
    }
}

impl std::fmt::Debug for AdminFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminFile").field("url", &self.url).finish_non_exhaustive()
    }
}
