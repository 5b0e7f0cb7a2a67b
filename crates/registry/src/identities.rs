//! Identities that Hubward made at hubs, and those that are still to be deleted there.

use hubward_model::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _};
use subtle::ConstantTimeEq as _;

use crate::integrations::Integration;
use crate::row::Row;
use crate::seal::{Place, Sealer};
use crate::{Error, Registry, random};

/// An identity that Hubward made: it and no other may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeIdentity {
    /// Host name of the hub.
    pub host_name: String,
    /// Its id there.
    pub hub_device_id: String,
    /// The hub's number for this making of it: somebody else's re-making has another.
    pub generation_id: String,
    /// When it was made.
    pub made_at: Timestamp,
}

/// An identity that is to be deleted as soon as its hub can be reached. It holds all that takes, for its binding,
/// integration and device may be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDeletion {
    /// Its own id.
    pub id: String,
    /// Host name of the hub.
    pub host_name: String,
    /// Id of the identity.
    pub hub_device_id: String,
    /// The hub's number for the making of it that is ours; none when it is not known whether it was made at all.
    pub generation_id: Option<String>,
    /// Name the device had.
    pub device: String,
    /// Name the integration had.
    pub integration: String,
    /// Certificates of a private CA to trust for this hub, in PEM.
    pub hub_ca: Option<String>,
    /// Where this hub is really reached.
    pub hub_endpoint: Option<String>,
    /// Since when it waits.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it failed last.
    pub last_error: Option<String>,
    key_digest: Vec<u8>,
}

impl PendingDeletion {
    /// Whether what the hub has under this id is what Hubward made: the same making or, where that was never learned,
    /// the key that only Hubward knew.
    #[must_use]
    pub fn is_ours(&self, generation_id: &str, primary_key: &SecretString) -> bool {
        match &self.generation_id {
            Some(ours) => ours == generation_id,
            None => {
                let digest = Sha256::digest(primary_key.expose_secret().as_bytes());
                self.key_digest.as_slice().ct_eq(digest.as_slice()).into()
            }
        }
    }
}

impl Registry {
    /// The identities that Hubward made at a hub.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn made_identities(&self, host: &str) -> Result<Vec<MadeIdentity>, Error> {
        let sql = "SELECT * FROM made_identities WHERE host_name = $1 ORDER BY hub_device_id, made_at";
        let rows = sqlx::query(sql).bind(host.to_ascii_lowercase()).fetch_all(self.readers()).await?;
        rows.iter().map(read_made).collect()
    }

    /// Identities that Hubward made at a hub and that no binding sends as any more, but for those that are about to be
    /// deleted; at most so many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn orphans(&self, host: &str, limit: u32) -> Result<Vec<MadeIdentity>, Error> {
        let sql = "SELECT * FROM made_identities WHERE host_name = $1 AND orphaned = 1 \
                   ORDER BY hub_device_id, made_at LIMIT $2";
        let select = sqlx::query(sql).bind(host.to_ascii_lowercase()).bind(i64::from(limit));
        select.fetch_all(self.readers()).await?.iter().map(read_made).collect()
    }

    /// Whether Hubward made this making of an identity.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_made_by_us(&self, host: &str, hub_device_id: &str, generation_id: &str) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM made_identities WHERE host_name = $1 AND hub_device_id = $2 AND generation_id = $3";
        let select = sqlx::query(sql).bind(host.to_ascii_lowercase()).bind(hub_device_id).bind(generation_id);
        Ok(select.fetch_optional(self.readers()).await?.is_some())
    }

    /// Forgets that Hubward made an identity, after it was deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_identity(&self, host: &str, hub_device_id: &str) -> Result<(), Error> {
        let delete = sqlx::query("DELETE FROM made_identities WHERE host_name = $1 AND hub_device_id = $2");
        let delete = delete.bind(host.to_ascii_lowercase()).bind(hub_device_id);
        delete.execute(&mut *self.writer().await.connection).await?;
        Ok(())
    }

    /// What is still to be deleted at hubs, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pending_deletions(&self) -> Result<Vec<PendingDeletion>, Error> {
        let rows = sqlx::query("SELECT * FROM pending_deletions ORDER BY since, id").fetch_all(self.readers()).await?;
        rows.iter().map(read).collect()
    }

    /// The connection string to delete with.
    ///
    /// # Errors
    /// When there is no such deletion, or it does not open.
    pub async fn deletion_connection_string(&self, id: &str) -> Result<SecretString, Error> {
        let select = sqlx::query_scalar("SELECT connection_string FROM pending_deletions WHERE id = $1").bind(id);
        let sealed: Option<Vec<u8>> = select.fetch_optional(self.readers()).await?;
        let sealed = sealed.ok_or_else(|| not_found(id))?;
        Ok(self.open_sealed(place(id), &sealed)?)
    }

    /// Counts a try that failed.
    ///
    /// # Errors
    /// When there is no such deletion.
    pub async fn deletion_failed(&self, id: &str, error: &str) -> Result<(), Error> {
        let sql = "UPDATE pending_deletions SET attempts = attempts + 1, last_error = $1 WHERE id = $2";
        let update = sqlx::query(sql).bind(error).bind(id);
        match update.execute(&mut *self.writer().await.connection).await?.rows_affected() {
            0 => Err(not_found(id)),
            _ => Ok(()),
        }
    }

    /// Ends a deletion: the identity is gone, or is not ours.
    ///
    /// # Errors
    /// When there is no such deletion.
    pub async fn deletion_done(&self, id: &str) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let select = sqlx::query("SELECT * FROM pending_deletions WHERE id = $1").bind(id);
        let row = select.fetch_optional(&mut *tx).await?.ok_or_else(|| not_found(id))?;
        let done = read(&row)?;
        sqlx::query("DELETE FROM made_identities WHERE host_name = $1 AND hub_device_id = $2 AND generation_id = $3")
            .bind(&done.host_name)
            .bind(&done.hub_device_id)
            .bind(&done.generation_id)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM pending_deletions WHERE id = $1").bind(id).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}

type Transaction<'a> = sqlx::Transaction<'a, sqlx::Sqlite>;

/// Remembers an identity as made by us.
pub(crate) async fn note_made(
    tx: &mut Transaction<'_>,
    host: &str,
    hub_device_id: &str,
    generation_id: &str,
) -> Result<(), Error> {
    let sql = "INSERT INTO made_identities (host_name, hub_device_id, generation_id, made_at) \
               VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let insert = sqlx::query(sql).bind(host).bind(hub_device_id).bind(generation_id);
    insert.bind(Timestamp::now().as_millis()).execute(&mut **tx).await?;
    Ok(())
}

/// An identity that waits to be deleted.
pub(crate) struct ToDelete<'a> {
    pub(crate) device: &'a str,
    pub(crate) hub_device_id: &'a str,
    pub(crate) generation_id: Option<&'a str>,
    pub(crate) key_digest: &'a [u8],
}

/// Writes down that an identity of `integration` waits to be deleted.
pub(crate) async fn queue_deletion(
    tx: &mut Transaction<'_>,
    sealer: &Sealer,
    integration: &Integration,
    connection_string: &SecretString,
    what: ToDelete<'_>,
) -> Result<(), Error> {
    let id = random::id();
    sqlx::query(
        "INSERT INTO pending_deletions (id, host_name, hub_device_id, generation_id, key_digest, connection_string, \
         device, integration, hub_ca, hub_endpoint, since, attempts) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0)",
    )
    .bind(&id)
    .bind(&integration.host_name)
    .bind(what.hub_device_id)
    .bind(what.generation_id)
    .bind(what.key_digest)
    .bind(sealer.seal(place(&id), connection_string))
    .bind(what.device)
    .bind(integration.name.as_str())
    .bind(&integration.settings.hub_ca)
    .bind(&integration.settings.hub_endpoint)
    .bind(Timestamp::now().as_millis())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Gives a newer connection string of a hub to what waits to be deleted there.
pub(crate) async fn give_connection_string(
    tx: &mut Transaction<'_>,
    sealer: &Sealer,
    host: &str,
    connection_string: &SecretString,
) -> Result<(), Error> {
    let rows = sqlx::query("SELECT id FROM pending_deletions WHERE host_name = $1").bind(host);
    for row in rows.fetch_all(&mut **tx).await? {
        let id: &str = row.try_get(0)?;
        sqlx::query("UPDATE pending_deletions SET connection_string = $1 WHERE id = $2")
            .bind(sealer.seal(place(id), connection_string))
            .bind(id)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

fn place(id: &str) -> Place<'_> {
    Place { table: "pending_deletions", row: id, column: "connection_string" }
}

fn read_made(row: &SqliteRow) -> Result<MadeIdentity, Error> {
    let row = Row { table: "made_identities", row };
    Ok(MadeIdentity {
        host_name: row.get("host_name")?,
        hub_device_id: row.get("hub_device_id")?,
        generation_id: row.get("generation_id")?,
        made_at: row.time("made_at")?,
    })
}

fn read(row: &SqliteRow) -> Result<PendingDeletion, Error> {
    let row = Row { table: "pending_deletions", row };
    Ok(PendingDeletion {
        id: row.get("id")?,
        host_name: row.get("host_name")?,
        hub_device_id: row.get("hub_device_id")?,
        generation_id: row.get("generation_id")?,
        device: row.get("device")?,
        integration: row.get("integration")?,
        hub_ca: row.get("hub_ca")?,
        hub_endpoint: row.get("hub_endpoint")?,
        since: row.time("since")?,
        attempts: row.count("attempts")?,
        last_error: row.get("last_error")?,
        key_digest: row.get("key_digest")?,
    })
}

fn not_found(id: &str) -> Error {
    Error::NotFound { what: "pending deletion", name: id.to_owned() }
}
