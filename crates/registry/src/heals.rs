//! Identities that were deleted or changed outside: what was done about it, and the changes healing makes to bindings.

use std::collections::HashSet;

use hubward_model::{DeviceId, IntegrationId, Timestamp};
use sqlx::{Connection as _, Row as _};

use crate::bindings::{BindingChange, Keys, change_one, seal_keys};
use crate::row::Row;
use crate::store::Writer;
use crate::{Error, Registry, random};

/// What a binding says in `failed_step` while its identity is made again.
pub const STEP_RECREATE: &str = "recreate";
/// How long the history is kept.
const KEPT_MILLIS: i64 = 30 * Timestamp::DAY;

/// Something that was done about an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heal {
    /// Host name of the hub, in lower case.
    pub host_name: String,
    /// Id of the identity.
    pub hub_device_id: String,
    /// The integration it sends for.
    pub integration: IntegrationId,
    /// Its device.
    pub device: DeviceId,
    /// `recreated`, `rekeyed` or `unbound`.
    pub what: String,
    /// A person asked for it.
    pub asked: bool,
    /// When.
    pub at: Timestamp,
}

/// A binding whose identity should exist, as far as comparing with a hub needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveBinding {
    /// The integration.
    pub integration: IntegrationId,
    /// The device.
    pub device: DeviceId,
    /// What the hub knows it as.
    pub hub_device_id: String,
}

/// An active binding sends, or holds and would send: its device and its integration stay.
macro_rules! active {
    ($select:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM bindings b JOIN integrations i ON i.id = b.integration JOIN devices d ON d.id = b.device \
             WHERE b.state IN ('delivering', 'held', 'missing', 'disabled') AND i.state <> 'removing' \
             AND NOT d.removing AND ",
            $rest
        )
    };
}

impl Registry {
    /// Begins to make the identity of an active binding again: it is `creating` from here on, with these keys or those it
    /// has, and the history says so. Answers whether it was active.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_recreation(
        &self,
        integration: &IntegrationId,
        device: &DeviceId,
        keys: Option<&Keys>,
        asked: bool,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let Writer { mut connection, sealer } = self.writer().await;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let select = sqlx::query(active!("b.id, b.host_name, b.hub_device_id", "b.integration = $1 AND b.device = $2"));
        let row = select.bind(integration.as_str()).bind(device.as_str()).fetch_optional(&mut *tx).await?;
        let Some(row) = row else { return Ok(false) };
        let (id, host, hub_id): (&str, &str, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let sql = "UPDATE bindings SET state = 'creating', generation_id = NULL, last_error = NULL, failed_step = $1 \
                   WHERE id = $2";
        sqlx::query(sql).bind(STEP_RECREATE).bind(id).execute(&mut *tx).await?;
        if let Some(keys) = keys {
            seal_keys(&mut tx, &sealer, id, keys).await?;
        }
        // What we made there is gone.
        let sql = "DELETE FROM made_identities WHERE host_name = $1 AND hub_device_id = $2";
        sqlx::query(sql).bind(host).bind(hub_id).execute(&mut *tx).await?;
        let heal = Heal {
            host_name: host.to_owned(),
            hub_device_id: hub_id.to_owned(),
            integration: integration.clone(),
            device: device.clone(),
            what: "recreated".to_owned(),
            asked,
            at,
        };
        insert(&mut tx, &heal).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Changes a binding that is active; answers whether it was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn change_active_binding(
        &self,
        integration: &IntegrationId,
        change: BindingChange,
    ) -> Result<bool, Error> {
        let Writer { mut connection, sealer } = self.writer().await;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let select = sqlx::query(active!("1", "b.integration = $1 AND b.device = $2"));
        let select = select.bind(integration.as_str()).bind(change.device.as_str());
        if select.fetch_optional(&mut *tx).await?.is_none() {
            return Ok(false);
        }
        change_one(&mut tx, &sealer, integration, change).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Notes what was done about an identity. What is older than 30 days is forgotten.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_heal(&self, heal: &Heal) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        insert(&mut tx, heal).await?;
        Ok(tx.commit().await?)
    }

    /// When the identity was last made again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_recreation(&self, host: &str, hub_device_id: &str) -> Result<Option<Timestamp>, Error> {
        let sql = "SELECT MAX(at) FROM heals WHERE host_name = $1 AND hub_device_id = $2 AND what = 'recreated'";
        let select = sqlx::query_scalar(sql).bind(host.to_ascii_lowercase()).bind(hub_device_id);
        let at: Option<i64> = select.fetch_one(self.readers()).await?;
        Ok(at.map(Timestamp::from_millis))
    }

    /// The identities of a hub that were made again since then without anybody asking for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recreated_unasked(&self, host: &str, since: Timestamp) -> Result<HashSet<String>, Error> {
        let sql = "SELECT DISTINCT hub_device_id FROM heals \
                   WHERE host_name = $1 AND what = 'recreated' AND NOT asked AND at >= $2";
        let select = sqlx::query_scalar(sql).bind(host.to_ascii_lowercase()).bind(since.as_millis());
        Ok(select.fetch_all(self.readers()).await?.into_iter().collect())
    }

    /// What was done about identities of an integration since then, the newest first, at most so many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn heals(&self, integration: &IntegrationId, since: Timestamp, limit: u32) -> Result<Vec<Heal>, Error> {
        let sql = "SELECT * FROM heals WHERE integration = $1 AND at >= $2 ORDER BY at DESC, id DESC LIMIT $3";
        let select = sqlx::query(sql).bind(integration.as_str()).bind(since.as_millis()).bind(i64::from(limit));
        let read = |row| {
            let row = Row { table: "heals", row };
            Ok(Heal {
                host_name: row.get("host_name")?,
                hub_device_id: row.get("hub_device_id")?,
                integration: row.word("integration")?,
                device: row.word("device")?,
                what: row.get("what")?,
                asked: row.get("asked")?,
                at: row.time("at")?,
            })
        };
        select.fetch_all(self.readers()).await?.iter().map(read).collect()
    }

    /// Active bindings at a hub by hub device id, after one of them, at most so many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn active_bindings_at(
        &self,
        host: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ActiveBinding>, Error> {
        let select = sqlx::query(active!(
            "b.integration, b.device, b.hub_device_id",
            "b.host_name = $1 AND b.hub_device_id > $2 ORDER BY b.hub_device_id LIMIT $3"
        ));
        let select = select.bind(host.to_ascii_lowercase()).bind(after.unwrap_or_default()).bind(i64::from(limit));
        let read = |row| {
            let row = Row { table: "bindings", row };
            Ok(ActiveBinding {
                integration: row.word("integration")?,
                device: row.word("device")?,
                hub_device_id: row.get("hub_device_id")?,
            })
        };
        select.fetch_all(self.readers()).await?.iter().map(read).collect()
    }

    /// Remembers that a device left an integration for good: where every device is taken it is not bound again by itself.
    ///
    /// # Errors
    /// When the device or the integration is gone.
    pub async fn note_departed(&self, integration: &IntegrationId, device: &DeviceId) -> Result<(), Error> {
        let sql = "INSERT INTO departed (integration, device, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let insert = sqlx::query(sql).bind(integration.as_str()).bind(device.as_str());
        insert.bind(Timestamp::now().as_millis()).execute(&mut *self.writer().await.connection).await?;
        Ok(())
    }

    /// The devices that left an integration for good.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn departed(&self, integration: &IntegrationId) -> Result<HashSet<DeviceId>, Error> {
        let rows = sqlx::query("SELECT device FROM departed WHERE integration = $1").bind(integration.as_str());
        let rows = rows.fetch_all(self.readers()).await?;
        rows.iter().map(|row| Row { table: "departed", row }.word("device")).collect()
    }
}

type Transaction<'a> = sqlx::Transaction<'a, sqlx::Sqlite>;

async fn insert(tx: &mut Transaction<'_>, heal: &Heal) -> Result<(), Error> {
    sqlx::query("DELETE FROM heals WHERE at < $1").bind(heal.at.as_millis() - KEPT_MILLIS).execute(&mut **tx).await?;
    let sql = "INSERT INTO heals (id, host_name, hub_device_id, integration, device, what, asked, at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    sqlx::query(sql)
        .bind(random::id())
        .bind(heal.host_name.to_ascii_lowercase())
        .bind(&heal.hub_device_id)
        .bind(heal.integration.as_str())
        .bind(heal.device.as_str())
        .bind(&heal.what)
        .bind(heal.asked)
        .bind(heal.at.as_millis())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
