//! Bindings: devices in integrations, and the identities they send as.

use std::collections::HashMap;

use hubward_model::{BindingState, DeviceId, IntegrationId, IntegrationState, Offset, Timestamp};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _};

use crate::identities::{ToDelete, note_made, queue_deletion};
use crate::integrations::{self, Integration};
use crate::row::{Row, stored_offset};
use crate::seal::{Place, Sealer};
use crate::store::Writer;
use crate::{Error, ExposeSecret as _, Registry, random};

/// A binding to add: stored before its identity exists, in state `creating`.
#[derive(Debug, Clone)]
pub struct NewBinding {
    /// The device.
    pub device: DeviceId,
    /// What the hub will know it as, unique for the hub over all integrations.
    pub hub_device_id: String,
    /// Key to create the identity with, stored sealed.
    pub primary_key: SecretString,
    /// The second one.
    pub secondary_key: SecretString,
    /// Signals from here on belong to it.
    pub start: Offset,
}

/// A device in an integration, without its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The integration.
    pub integration: IntegrationId,
    /// The device.
    pub device: DeviceId,
    /// Host name of the hub, in lower case.
    pub host_name: String,
    /// What the hub knows it as.
    pub hub_device_id: String,
    /// Its state.
    pub state: BindingState,
    /// Hubward made the identity, and so may delete it.
    pub made_by_us: bool,
    /// The hub's number for this making of the identity.
    pub generation_id: Option<String>,
    /// Signals from here on belong to it.
    pub start: Offset,
    /// Accepted by the hub since the binding was made.
    pub delivered: u64,
    /// What last went wrong with it.
    pub last_error: Option<String>,
    /// The step of provisioning that failed.
    pub failed_step: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The keys of an identity.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The one that is used.
    pub primary: SecretString,
    /// The one to fall back on.
    pub secondary: SecretString,
}

/// What to change about a binding; `None` leaves it.
#[derive(Debug, Clone)]
pub struct BindingChange {
    /// Whose.
    pub device: DeviceId,
    /// Its state.
    pub state: Option<BindingState>,
    /// Another hub device id, before the identity exists.
    pub hub_device_id: Option<String>,
    /// Whether Hubward made the identity.
    pub made_by_us: Option<bool>,
    /// The hub's number for this making of the identity; `Some(None)`: unknown.
    pub generation_id: Option<Option<String>>,
    /// Other keys.
    pub keys: Option<Keys>,
    /// What went wrong; `Some(None)`: nothing.
    pub last_error: Option<Option<String>>,
    /// The step that failed; `Some(None)`: none.
    pub failed_step: Option<Option<String>>,
}

impl BindingChange {
    /// No change yet, for the binding of `device`.
    #[must_use]
    pub fn of(device: DeviceId) -> Self {
        Self {
            device,
            state: None,
            hub_device_id: None,
            made_by_us: None,
            generation_id: None,
            keys: None,
            last_error: None,
            failed_step: None,
        }
    }
}

/// What becomes of identities at the hub when bindings are forgotten here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubSide {
    /// They were deleted there, or stay there on purpose.
    Settled,
    /// Those that Hubward made, or was about to make, become pending deletions.
    DeleteLater,
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Bindings.
    pub bindings: u64,
    /// Dead letters, which went with them.
    pub dead_letters: u64,
    /// Identities that are still to be deleted at the hub.
    pub deletions: u64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT b.*, l.delivered FROM bindings b \
             JOIN lanes l ON l.integration = b.integration AND l.device = b.device ",
            $rest
        )
    };
}

pub(crate) const SELECT: &str = select!("");

impl Registry {
    /// Adds devices to an integration, all or none, in state `creating`.
    ///
    /// # Errors
    /// When one of the hub device ids is taken, a device is in the integration already or does not exist, or the
    /// integration is being removed.
    pub async fn add_bindings(&self, integration: &IntegrationId, bindings: Vec<NewBinding>) -> Result<(), Error> {
        let Writer { mut connection, sealer } = self.writer().await;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let integration = integrations::read_one(&mut tx, integration).await?;
        if integration.state == IntegrationState::Removing {
            return Err(Error::Stale { what: "integration", name: integration.name.into() });
        }
        insert_bindings(&mut tx, &sealer, &integration, bindings).await?;
        Ok(tx.commit().await?)
    }

    /// The devices of an integration, by hub device id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bindings(&self, integration: &IntegrationId) -> Result<Vec<Binding>, Error> {
        let select = sqlx::query(select!("WHERE b.integration = $1 ORDER BY b.hub_device_id"));
        let rows = select.bind(integration.as_str()).fetch_all(self.readers()).await?;
        rows.iter().map(read).collect()
    }

    /// One device of an integration.
    ///
    /// # Errors
    /// When the device is not in the integration.
    pub async fn binding(&self, integration: &IntegrationId, device: &DeviceId) -> Result<Binding, Error> {
        let select = sqlx::query(select!("WHERE b.integration = $1 AND b.device = $2"));
        let row = select.bind(integration.as_str()).bind(device.as_str()).fetch_optional(self.readers()).await?;
        row.as_ref().map_or_else(|| Err(not_found(device)), read)
    }

    /// The integrations a device is in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bindings_of(&self, device: &DeviceId) -> Result<Vec<Binding>, Error> {
        let select = sqlx::query(select!("WHERE b.device = $1 ORDER BY b.created_at, b.integration"));
        let rows = select.bind(device.as_str()).fetch_all(self.readers()).await?;
        rows.iter().map(read).collect()
    }

    /// The binding that sends as this hub device.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hub_device_id_owner(&self, host: &str, hub_device_id: &str) -> Result<Option<Binding>, Error> {
        let select = sqlx::query(select!("WHERE b.host_name = $1 AND b.hub_device_id = $2"));
        let select = select.bind(host.to_ascii_lowercase()).bind(hub_device_id);
        select.fetch_optional(self.readers()).await?.as_ref().map(read).transpose()
    }

    /// Changes bindings of one integration, all or none. An identity said to be made by us is remembered as such, with
    /// its generation id, beyond the binding's life.
    ///
    /// # Errors
    /// When a device is not in the integration, or a new hub device id is taken.
    pub async fn change_bindings(&self, integration: &IntegrationId, changes: Vec<BindingChange>) -> Result<(), Error> {
        let Writer { mut connection, sealer } = self.writer().await;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        for change in changes {
            change_one(&mut tx, &sealer, integration, change).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The keys of one identity.
    ///
    /// # Errors
    /// When the device is not in the integration, or the keys do not open.
    pub async fn keys(&self, integration: &IntegrationId, device: &DeviceId) -> Result<Keys, Error> {
        let sql = "SELECT id, primary_key, secondary_key FROM bindings WHERE integration = $1 AND device = $2";
        let select = sqlx::query(sql).bind(integration.as_str()).bind(device.as_str());
        let row = select.fetch_optional(self.readers()).await?.ok_or_else(|| not_found(device))?;
        self.open_keys(&row)
    }

    /// The keys of all identities of an integration.
    ///
    /// # Errors
    /// When one does not open.
    pub async fn all_keys(&self, integration: &IntegrationId) -> Result<HashMap<DeviceId, Keys>, Error> {
        let sql = "SELECT id, device, primary_key, secondary_key FROM bindings WHERE integration = $1";
        let rows = sqlx::query(sql).bind(integration.as_str()).fetch_all(self.readers()).await?;
        let open = |row| Ok((Row { table: "bindings", row }.word("device")?, self.open_keys(row)?));
        rows.iter().map(open).collect()
    }

    /// Forgets devices of an integration, with their progress and dead letters. Their lanes must have stopped.
    /// Devices that are not in it are no error: this may be done again.
    ///
    /// # Errors
    /// When there is no such integration.
    pub async fn remove_bindings(
        &self,
        integration: &IntegrationId,
        devices: &[DeviceId],
        hub: HubSide,
    ) -> Result<Removed, Error> {
        let Writer { mut connection, sealer } = self.writer().await;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let integration = integrations::read_one(&mut tx, integration).await?;
        let mut removed = Removed::default();
        for device in devices {
            if hub == HubSide::DeleteLater {
                removed.deletions += leave_to_delete(&mut tx, &sealer, &integration, Some(device)).await?;
            }
            let count = "SELECT COUNT(*) FROM dead_letters WHERE integration = $1 AND device = $2";
            let count = sqlx::query_scalar(count).bind(integration.id.as_str()).bind(device.as_str());
            let letters: i64 = count.fetch_one(&mut *tx).await?;
            let delete = sqlx::query("DELETE FROM bindings WHERE integration = $1 AND device = $2");
            let delete = delete.bind(integration.id.as_str()).bind(device.as_str());
            removed.bindings += delete.execute(&mut *tx).await?.rows_affected();
            removed.dead_letters += letters.unsigned_abs();
        }
        tx.commit().await?;
        Ok(removed)
    }

    fn open_keys(&self, row: &SqliteRow) -> Result<Keys, Error> {
        let id: &str = row.try_get("id")?;
        let open = |column| Ok::<_, Error>(self.open_sealed(place(id, column), row.try_get(column)?)?);
        Ok(Keys { primary: open("primary_key")?, secondary: open("secondary_key")? })
    }
}

type Transaction<'a> = sqlx::Transaction<'a, sqlx::Sqlite>;

/// Adds bindings to an integration.
pub(crate) async fn insert_bindings(
    tx: &mut Transaction<'_>,
    sealer: &Sealer,
    integration: &Integration,
    bindings: Vec<NewBinding>,
) -> Result<(), Error> {
    for new in bindings {
        check_addable(tx, integration, &new.device).await?;
        check_hub_id_free(tx, &integration.host_name, &new.hub_device_id).await?;
        let id = random::id();
        sqlx::query(
            "INSERT INTO bindings (id, integration, device, host_name, hub_device_id, state, made_by_us, primary_key, \
             secondary_key, start_offset, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(&id)
        .bind(integration.id.as_str())
        .bind(new.device.as_str())
        .bind(&integration.host_name)
        .bind(&new.hub_device_id)
        .bind(BindingState::Creating.as_str())
        .bind(false)
        .bind(sealer.seal(place(&id, "primary_key"), &new.primary_key))
        .bind(sealer.seal(place(&id, "secondary_key"), &new.secondary_key))
        .bind(stored_offset(new.start))
        .bind(Timestamp::now().as_millis())
        .execute(&mut **tx)
        .await?;
        // Its entry is its start: while its identity is being made, the low-water offset may pass that.
        sqlx::query("INSERT INTO lanes (integration, device, settled, delivered) VALUES ($1, $2, $3, 0)")
            .bind(integration.id.as_str())
            .bind(new.device.as_str())
            .bind(stored_offset(new.start))
            .execute(&mut **tx)
            .await?;
        sqlx::query("DELETE FROM departed WHERE integration = $1 AND device = $2")
            .bind(integration.id.as_str())
            .bind(new.device.as_str())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Makes pending deletions of the identities that Hubward made, or may have made, for one or all bindings.
pub(crate) async fn leave_to_delete(
    tx: &mut Transaction<'_>,
    sealer: &Sealer,
    integration: &Integration,
    device: Option<&DeviceId>,
) -> Result<u64, Error> {
    let select = sqlx::query(
        "SELECT b.id, b.hub_device_id, b.generation_id, b.primary_key, d.name FROM bindings b \
         JOIN devices d ON d.id = b.device \
         WHERE b.integration = $1 AND (b.device = $2 OR $2 IS NULL) AND (b.made_by_us OR b.state = 'creating')",
    );
    let rows = select.bind(integration.id.as_str()).bind(device.map(DeviceId::as_str)).fetch_all(&mut **tx).await?;
    let connection_string: Vec<u8> = sqlx::query_scalar("SELECT connection_string FROM integrations WHERE id = $1")
        .bind(integration.id.as_str())
        .fetch_one(&mut **tx)
        .await?;
    let connection_string = sealer.open(integrations::place(integration.id.as_str()), &connection_string)?;
    for row in &rows {
        let id: &str = row.try_get("id")?;
        let key = sealer.open(place(id, "primary_key"), row.try_get("primary_key")?)?;
        let key_digest = Sha256::digest(key.expose_secret().as_bytes());
        let what = ToDelete {
            device: row.try_get("name")?,
            hub_device_id: row.try_get("hub_device_id")?,
            generation_id: row.try_get("generation_id")?,
            key_digest: &key_digest,
        };
        queue_deletion(tx, sealer, integration, &connection_string, what).await?;
    }
    Ok(rows.len() as u64)
}

/// Gives other keys to the binding of this row id.
pub(crate) async fn seal_keys(tx: &mut Transaction<'_>, sealer: &Sealer, id: &str, keys: &Keys) -> Result<(), Error> {
    sqlx::query("UPDATE bindings SET primary_key = $1, secondary_key = $2 WHERE id = $3")
        .bind(sealer.seal(place(id, "primary_key"), &keys.primary))
        .bind(sealer.seal(place(id, "secondary_key"), &keys.secondary))
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(crate) async fn change_one(
    tx: &mut Transaction<'_>,
    sealer: &Sealer,
    integration: &IntegrationId,
    change: BindingChange,
) -> Result<(), Error> {
    let select = sqlx::query(
        "SELECT id, host_name, hub_device_id, state, made_by_us, generation_id, last_error, failed_step \
         FROM bindings WHERE integration = $1 AND device = $2",
    );
    let row = select.bind(integration.as_str()).bind(change.device.as_str()).fetch_optional(&mut **tx).await?;
    let row = row.ok_or_else(|| not_found(&change.device))?;
    let row = Row { table: "bindings", row: &row };
    let (id, host_name): (&str, &str) = (row.get("id")?, row.get("host_name")?);

    let old_hub_device_id: String = row.get("hub_device_id")?;
    let hub_device_id = change.hub_device_id.unwrap_or_else(|| old_hub_device_id.clone());
    if hub_device_id != old_hub_device_id {
        check_hub_id_free(tx, host_name, &hub_device_id).await?;
    }
    let made_by_us = change.made_by_us.map_or_else(|| row.get("made_by_us"), Ok)?;
    let generation_id: Option<String> = change.generation_id.map_or_else(|| row.get("generation_id"), Ok)?;
    sqlx::query(
        "UPDATE bindings SET hub_device_id = $1, state = $2, made_by_us = $3, generation_id = $4, last_error = $5, \
         failed_step = $6 WHERE id = $7",
    )
    .bind(&hub_device_id)
    .bind(change.state.map_or_else(|| row.word("state"), Ok)?.as_str())
    .bind(made_by_us)
    .bind(&generation_id)
    .bind(change.last_error.map_or_else(|| row.get::<Option<String>>("last_error"), Ok)?)
    .bind(change.failed_step.map_or_else(|| row.get::<Option<String>>("failed_step"), Ok)?)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    if let Some(keys) = change.keys {
        seal_keys(tx, sealer, id, &keys).await?;
    }
    if let (true, Some(generation_id)) = (made_by_us, generation_id) {
        note_made(tx, host_name, &hub_device_id, &generation_id).await?;
    }
    Ok(())
}

async fn check_addable(tx: &mut Transaction<'_>, integration: &Integration, device: &DeviceId) -> Result<(), Error> {
    let name = sqlx::query_scalar("SELECT name FROM devices WHERE id = $1 AND NOT removing").bind(device.as_str());
    let name: Option<String> = name.fetch_optional(&mut **tx).await?;
    let Some(name) = name else {
        return Err(Error::NotFound { what: "device", name: device.to_string() });
    };
    let bound = sqlx::query("SELECT 1 FROM bindings WHERE integration = $1 AND device = $2");
    match bound.bind(integration.id.as_str()).bind(device.as_str()).fetch_optional(&mut **tx).await? {
        Some(_) => Err(Error::AlreadyBound { integration: integration.name.to_string(), device: name }),
        None => Ok(()),
    }
}

async fn check_hub_id_free(tx: &mut Transaction<'_>, host: &str, hub_device_id: &str) -> Result<(), Error> {
    let taken = sqlx::query_scalar(
        "SELECT i.name FROM bindings b JOIN integrations i ON i.id = b.integration \
         WHERE b.host_name = $1 AND b.hub_device_id = $2",
    );
    match taken.bind(host).bind(hub_device_id).fetch_optional(&mut **tx).await? {
        Some(integration) => {
            Err(Error::HubDeviceIdTaken { host: host.to_owned(), hub_device_id: hub_device_id.to_owned(), integration })
        }
        None => Ok(()),
    }
}

fn place<'a>(id: &'a str, column: &'static str) -> Place<'a> {
    Place { table: "bindings", row: id, column }
}

pub(crate) fn read(row: &SqliteRow) -> Result<Binding, Error> {
    let row = Row { table: "bindings", row };
    Ok(Binding {
        integration: row.word("integration")?,
        device: row.word("device")?,
        host_name: row.get("host_name")?,
        hub_device_id: row.get("hub_device_id")?,
        state: row.word("state")?,
        made_by_us: row.get("made_by_us")?,
        generation_id: row.get("generation_id")?,
        start: row.offset("start_offset")?,
        delivered: row.count("delivered")?,
        last_error: row.get("last_error")?,
        failed_step: row.get("failed_step")?,
        created_at: row.time("created_at")?,
    })
}

fn not_found(device: &DeviceId) -> Error {
    Error::NotFound { what: "binding of device", name: device.to_string() }
}

#[cfg(test)]
mod tests;
