//! New keys for every secret.

use std::sync::PoisonError;

use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::key::MasterKeys;
use crate::seal::{DataKey, Place};
use crate::store::{KeyRing, Writer, store_data_key};
use crate::{Error, Registry};

/// Every sealed column: table and column; the row is named by its `id`.
const SEALED: &[(&str, &str)] = &[
    ("integrations", "connection_string"),
    ("bindings", "primary_key"),
    ("bindings", "secondary_key"),
    ("pending_deletions", "connection_string"),
    ("idempotency", "answer"),
    ("draft_secrets", "connection_string"),
    ("webhooks", "secret"),
];

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Id of the master key that is in use now.
    pub master_key_id: String,
    /// Whether it is another one than before: always with a key file; with a key from the environment when a new one
    /// was put before the old one there.
    pub master_key_changed: bool,
    /// Id of the data key that seals now.
    pub data_key_id: String,
    /// How many secrets were sealed again.
    pub resealed: u64,
}

impl Registry {
    /// Makes a new master key (in the key file, before the old ones, which stay there for older backups) and a new data
    /// key, and seals every secret again. Killed or failed at any point, every secret still opens; do it again then.
    ///
    /// # Errors
    /// When the key file cannot be written, a secret does not open, or the database fails.
    pub async fn rotate_keys(&self) -> Result<Rotated, Error> {
        let Writer { mut connection, sealer: old_sealer } = self.writer().await;
        let (masters, old_master_id) = self.next_masters()?;
        let master_key_id = masters.first().id();

        // The new key is stored before anything is sealed with it, and the old ones go with the last value under them.
        let new_key = DataKey::random();
        store_data_key(&mut connection, &new_key, &masters).await?;
        let sealer = old_sealer.with_newest(&new_key);
        *self.inner.keys.write().unwrap_or_else(PoisonError::into_inner) =
            KeyRing { masters, master_key_id: master_key_id.clone(), sealer: sealer.clone() };

        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut resealed = 0;
        for &(table, column) in SEALED {
            let select = AssertSqlSafe(format!("SELECT id, {column} FROM {table}"));
            let update = format!("UPDATE {table} SET {column} = $1 WHERE id = $2");
            for row in sqlx::query(select).fetch_all(&mut *tx).await? {
                let (id, sealed): (String, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
                let place = Place { table, row: &id, column };
                let again = sealer.seal(place, &sealer.open(place, &sealed)?);
                sqlx::query(AssertSqlSafe(update.clone())).bind(again).bind(&id).execute(&mut *tx).await?;
                resealed += 1;
            }
        }
        sqlx::query("DELETE FROM data_keys WHERE id <> $1").bind(new_key.id()).execute(&mut *tx).await?;
        tx.commit().await?;
        let master_key_changed = master_key_id != old_master_id;
        Ok(Rotated { master_key_id, master_key_changed, data_key_id: new_key.id(), resealed })
    }

    /// The master keys to go on with, and the id of the one in use.
    fn next_masters(&self) -> Result<(MasterKeys, String), Error> {
        let ring = self.inner.keys.read().unwrap_or_else(PoisonError::into_inner);
        let masters = match &self.inner.key_file {
            Some(file) => ring.masters.with_fresh_key(file)?,
            None => ring.masters.clone(),
        };
        Ok((masters, ring.master_key_id.clone()))
    }
}

#[cfg(test)]
mod tests;
