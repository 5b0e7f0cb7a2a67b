//! Sealing secrets: AES-256-GCM-SIV under data keys, which are themselves sealed under the master key.
//!
//! A sealed value is
//! ```text
//! u8      format = 1
//! [u8; 8] id of the data key
//! [u8; 12] nonce, random
//! [u8]    ciphertext and tag; associated data = table NUL row NUL column
//! ```
//! so that a value moved to another row, column or table does not open. A sealed data key is the same without format
//! and key id, under the master key that its row names.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aes_gcm_siv::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::random;

const FORMAT: u8 = 1;
const KEY_ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;

/// Why a sealed value did not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It names a data key that is not here.
    #[error("{place} is sealed under the data key {key_id}, which is not here")]
    UnknownKey {
        /// Table, row and column.
        place: String,
        /// Id of the data key.
        key_id: String,
    },
    /// It is damaged, was moved from another place, or the key is another one.
    #[error("{place} does not open: it is damaged, was moved, or was sealed under another key")]
    Refused {
        /// Table, row and column.
        place: String,
    },
}

/// Where a sealed value stands.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The table.
    pub table: &'static str,
    /// Id of the row.
    pub row: &'a str,
    /// The column.
    pub column: &'static str,
}

impl Place<'_> {
    fn associated_data(&self) -> Vec<u8> {
        [self.table.as_bytes(), b"\0", self.row.as_bytes(), b"\0", self.column.as_bytes()].concat()
    }

    fn refused(&self) -> SealError {
        SealError::Refused { place: self.to_string() }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} of {}", self.table, self.column, self.row)
    }
}

/// A key that seals, with its id.
#[derive(Clone)]
pub struct DataKey {
    id: [u8; KEY_ID_BYTES],
    key: Zeroizing<[u8; 32]>,
}

impl DataKey {
    /// A fresh one.
    pub fn random() -> Self {
        Self { id: *random::bytes(), key: random::bytes() }
    }

    /// Its id as text.
    pub fn id(&self) -> String {
        hex::encode(self.id)
    }

    /// Sealed under `master`, for the table `data_keys`.
    pub fn wrap(&self, master: &[u8; 32]) -> Vec<u8> {
        encrypt(&cipher(master), Self::place(&self.id()), self.key.as_slice())
    }

    /// The key of this id, opened with `master`.
    ///
    /// # Errors
    /// When it was sealed under another master key, or is damaged.
    pub fn unwrap(id: &str, sealed: &[u8], master: &[u8; 32]) -> Result<Self, SealError> {
        let place = Self::place(id);
        let clear = Zeroizing::new(decrypt(&cipher(master), place, sealed)?);
        let key = <[u8; 32]>::try_from(clear.as_slice()).map_err(|_| place.refused())?;
        let mut raw = [0u8; KEY_ID_BYTES];
        hex::decode_to_slice(id, &mut raw).map_err(|_| place.refused())?;
        Ok(Self { id: raw, key: Zeroizing::new(key) })
    }

    fn place(id: &str) -> Place<'_> {
        Place { table: "data_keys", row: id, column: "sealed" }
    }
}

/// Seals with the newest data key, opens with any it holds. Cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    newest: [u8; KEY_ID_BYTES],
    ciphers: Arc<HashMap<[u8; KEY_ID_BYTES], Aes256GcmSiv>>,
}

impl Sealer {
    /// A sealer over `keys`; it seals with `newest`.
    pub fn new(newest: &DataKey, keys: &[DataKey]) -> Self {
        let ciphers = keys.iter().chain([newest]).map(|key| (key.id, cipher(&key.key))).collect();
        Self { newest: newest.id, ciphers: Arc::new(ciphers) }
    }

    /// The same, which seals with `newest` from here on.
    #[must_use]
    pub fn with_newest(&self, newest: &DataKey) -> Self {
        let mut ciphers = HashMap::clone(&self.ciphers);
        ciphers.insert(newest.id, cipher(&newest.key));
        Self { newest: newest.id, ciphers: Arc::new(ciphers) }
    }

    /// `secret`, sealed for `place`.
    pub fn seal(&self, place: Place<'_>, secret: &SecretString) -> Vec<u8> {
        let sealed = encrypt(&self.ciphers[&self.newest], place, secret.expose_secret().as_bytes());
        [[FORMAT].as_slice(), &self.newest, &sealed].concat()
    }

    /// The secret that was sealed for `place`.
    ///
    /// # Errors
    /// When its key is not here, or it was not sealed for this place.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<SecretString, SealError> {
        let Some((&[FORMAT], rest)) = sealed.split_first_chunk::<1>() else { return Err(place.refused()) };
        let Some((id, rest)) = rest.split_first_chunk::<KEY_ID_BYTES>() else { return Err(place.refused()) };
        let cipher = self
            .ciphers
            .get(id)
            .ok_or_else(|| SealError::UnknownKey { place: place.to_string(), key_id: hex::encode(id) })?;
        let clear = Zeroizing::new(decrypt(cipher, place, rest)?);
        let text = std::str::from_utf8(&clear).map_err(|_| place.refused())?;
        Ok(SecretString::from(text))
    }
}

fn cipher(key: &[u8; 32]) -> Aes256GcmSiv {
    Aes256GcmSiv::new(key.into())
}

fn encrypt(cipher: &Aes256GcmSiv, place: Place<'_>, clear: &[u8]) -> Vec<u8> {
    let nonce = random::bytes::<NONCE_BYTES>();
    let payload = Payload { msg: clear, aad: &place.associated_data() };
    // It fails only for texts of more than 64 GiB.
    let sealed = cipher.encrypt(&Nonce::from(*nonce), payload).expect("a secret is far below the cipher's limit");
    [nonce.as_slice(), &sealed].concat()
}

fn decrypt(cipher: &Aes256GcmSiv, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let Some((nonce, text)) = sealed.split_first_chunk::<NONCE_BYTES>() else { return Err(place.refused()) };
    let payload = Payload { msg: text, aad: &place.associated_data() };
    cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| place.refused())
}

#[cfg(test)]
mod tests;
