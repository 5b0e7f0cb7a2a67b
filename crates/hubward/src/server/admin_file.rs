//! `<data>.admin.json`: lets the commands of whoever may read the file talk to the server.

use std::io;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::private_file;

/// The server's address and a token of scope admin.
#[derive(Debug, Deserialize)]
pub struct AdminFile {
    /// Address of the API.
    pub url: String,
    /// The token.
    #[serde(deserialize_with = "secret")]
    pub token: SecretString,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

impl AdminFile {
    /// Reads it.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        serde_json::from_str(&text).map_err(|_| io::Error::other("it does not hold url and token"))
    }

    /// Writes it, for nobody else to read.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::json!({ "url": self.url, "token": self.token.expose_secret() });
        private_file::write(path, format!("{text}\n").as_bytes())
    }
}
