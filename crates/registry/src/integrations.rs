//! Integrations: destinations with their settings.

use std::time::Duration;

use hubward_model::{
    BodyFormat, Capacity, IntegrationId, IntegrationName, IntegrationState, MessageTopic, Offset, OnExisting, OnFull,
    OnMissing, OnMissingKeys, Tier, Timestamp, Transport,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteRow;

use crate::bindings::{HubSide, NewBinding, Removed, insert_bindings, leave_to_delete};
use crate::milestones::{self, Milestone};
use crate::row::{Row, stored, stored_offset};
use crate::seal::Place;
use crate::store::Writer;
use crate::{Error, Registry, caps};

/// Bytes of signals that may wait for an integration, unless it says otherwise.
pub const DEFAULT_BACKLOG_LIMIT: u64 = 5 << 30;
/// Bytes of signals that may wait for one device in it.
pub const DEFAULT_DEVICE_BACKLOG_LIMIT: u64 = 64 << 20;
/// How long signals of a device that cannot be delivered may wait.
pub const DEFAULT_DEVICE_BACKLOG_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a user chooses for an integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The property `topic` of its messages, with placeholders.
    pub topic: MessageTopic,
    /// What the body is.
    pub body: BodyFormat,
    /// The way to the hub.
    pub transport: Transport,
    /// Content type of raw bodies, where the PUBLISH has none.
    pub content_type: Option<String>,
    /// Every device belongs to it, those added later too.
    pub all_devices: bool,
    /// What hub device ids are made of.
    pub device_id_template: String,
    /// What to do when the hub has the identity already.
    pub on_existing: OnExisting,
    /// What to do when an identity was deleted outside.
    pub on_missing: OnMissing,
    /// Which keys an identity gets that is made again.
    pub on_missing_keys: OnMissingKeys,
    /// What to do when a backlog is full.
    pub on_full: OnFull,
    /// Bytes of signals that may wait for all its devices together.
    pub backlog_limit: u64,
    /// Bytes of signals that may wait for one device.
    pub device_backlog_limit: u64,
    /// How long signals of a device that cannot be delivered may wait; it matters only where the oldest expire.
    pub device_backlog_age: Duration,
    /// Certificates of a private CA to trust for this hub, in PEM.
    pub hub_ca: Option<String>,
    /// Where this hub is really reached, as `https=H:P,amqps=…`.
    pub hub_endpoint: Option<String>,
    /// The hub's tier and units, if the user said so.
    pub capacity: Option<Capacity>,
}

impl Settings {
    /// The defaults, with this message topic.
    #[must_use]
    pub fn new(topic: MessageTopic) -> Self {
        Self {
            topic,
            body: BodyFormat::Raw,
            transport: Transport::Amqp,
            content_type: None,
            all_devices: false,
            device_id_template: "{name}-{id}".to_owned(),
            on_existing: OnExisting::Refuse,
            on_missing: OnMissing::Recreate,
            on_missing_keys: OnMissingKeys::Same,
            on_full: OnFull::Backpressure,
            backlog_limit: DEFAULT_BACKLOG_LIMIT,
            device_backlog_limit: DEFAULT_DEVICE_BACKLOG_LIMIT,
            device_backlog_age: DEFAULT_DEVICE_BACKLOG_AGE,
            hub_ca: None,
            hub_endpoint: None,
            capacity: None,
        }
    }
}

/// An integration to add.
#[derive(Debug, Clone)]
pub struct NewIntegration {
    /// Its unique name.
    pub name: IntegrationName,
    /// Host name of the hub.
    pub host_name: String,
    /// Name of the shared access policy.
    pub policy: String,
    /// The connection string, stored sealed.
    pub connection_string: SecretString,
    /// What the user chose.
    pub settings: Settings,
}

/// An integration, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// Its id.
    pub id: IntegrationId,
    /// Its unique name.
    pub name: IntegrationName,
    /// Host name of the hub, in lower case.
    pub host_name: String,
    /// Name of the shared access policy.
    pub policy: String,
    /// What the user chose.
    pub settings: Settings,
    /// Its state.
    pub state: IntegrationState,
    /// What last went wrong with the whole of it.
    pub last_error: Option<String>,
    /// How it is to be removed, once that was begun.
    pub removal: Option<Removal>,
    /// Rises with every edit (not with states): who edits says which version was looked at.
    pub version: u64,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
}

impl Integration {
    /// The only service there is.
    pub const SERVICE: &'static str = "azure-iot-hub";
}

/// How an integration is to be removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The identities stay in the hub.
    pub keep_identities: bool,
    /// What waits to be sent is dropped, and counted.
    pub discard_backlog: bool,
}

/// What to change about an integration; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// Its name.
    pub name: Option<IntegrationName>,
    /// Name of the shared access policy, with a new connection string.
    pub policy: Option<String>,
    /// A new connection string, of the same hub.
    pub connection_string: Option<SecretString>,
    /// All settings.
    pub settings: Option<Settings>,
}

impl Registry {
    /// Adds an integration with its bindings, all or nothing, in state `creating`.
    ///
    /// # Errors
    /// When its name or one of the hub device ids is taken, a device is missing, or there are as many as there may be.
    pub async fn add_integration(&self, new: NewIntegration, bindings: Vec<NewBinding>) -> Result<Integration, Error> {
        let now = Timestamp::now();
        let integration = Integration {
            id: IntegrationId::random(),
            name: new.name,
            host_name: new.host_name.to_ascii_lowercase(),
            policy: new.policy,
            settings: new.settings,
            state: IntegrationState::Creating,
            last_error: None,
            removal: None,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let Writer { mut connection, sealer } = self.writer().await;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        caps::check(&mut tx, "SELECT COUNT(*) FROM integrations", "integrations", caps::MAX_INTEGRATIONS).await?;
        check_name_free(&mut tx, &integration.id, &integration.name).await?;
        insert(&mut tx, &integration, &sealer.seal(place(integration.id.as_str()), &new.connection_string)).await?;
        insert_bindings(&mut tx, &sealer, &integration, bindings).await?;
        milestones::note(&mut tx, Milestone::Integration, now, integration.id.as_str()).await?;
        tx.commit().await?;
        Ok(integration)
    }

    /// All integrations, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn integrations(&self) -> Result<Vec<Integration>, Error> {
        let rows = sqlx::query("SELECT * FROM integrations ORDER BY name").fetch_all(self.readers()).await?;
        rows.iter().map(read).collect()
    }

    /// Integrations by name, after one of them, at most so many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn integrations_page(&self, after: Option<&str>, limit: u32) -> Result<Vec<Integration>, Error> {
        let sql = "SELECT * FROM integrations WHERE name > $1 ORDER BY name LIMIT $2";
        let select = sqlx::query(sql).bind(after.unwrap_or_default()).bind(i64::from(limit));
        select.fetch_all(self.readers()).await?.iter().map(read).collect()
    }

    /// How many integrations there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn integration_count(&self) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM integrations").fetch_one(self.readers()).await?;
        Ok(count.unsigned_abs())
    }

    /// One integration.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn integration(&self, id: &IntegrationId) -> Result<Integration, Error> {
        let select = sqlx::query("SELECT * FROM integrations WHERE id = $1").bind(id.as_str());
        let row = select.fetch_optional(self.readers()).await?;
        row.as_ref().map_or_else(|| Err(not_found(id.as_str())), read)
    }

    /// The integration of this name, else of this id.
    ///
    /// # Errors
    /// When there is none.
    pub async fn find_integration(&self, name_or_id: &str) -> Result<Integration, Error> {
        let sql = "SELECT * FROM integrations WHERE name = $1 OR id = $1 ORDER BY name <> $1";
        let row = sqlx::query(sql).bind(name_or_id).fetch_optional(self.readers()).await?;
        row.as_ref().map_or_else(|| Err(not_found(name_or_id)), read)
    }

    /// The connection string of an integration.
    ///
    /// # Errors
    /// When there is none of this id, or it does not open.
    pub async fn connection_string(&self, id: &IntegrationId) -> Result<SecretString, Error> {
        let select = sqlx::query_scalar("SELECT connection_string FROM integrations WHERE id = $1").bind(id.as_str());
        let sealed: Option<Vec<u8>> = select.fetch_optional(self.readers()).await?;
        let sealed = sealed.ok_or_else(|| not_found(id.as_str()))?;
        Ok(self.open_sealed(place(id.as_str()), &sealed)?)
    }

    /// Changes an integration. A new connection string also goes to what is still to be deleted at its hub.
    ///
    /// # Errors
    /// [`Error::Stale`] when it is not at `expected_version`, or is being removed; when the name is taken.
    pub async fn edit_integration(
        &self,
        id: &IntegrationId,
        expected_version: Option<u64>,
        edit: Edit,
    ) -> Result<Integration, Error> {
        let Writer { mut connection, sealer } = self.writer().await;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut integration = read_one(&mut tx, id).await?;
        if expected_version.is_some_and(|version| version != integration.version)
            || integration.state == IntegrationState::Removing
        {
            return Err(stale(&integration.name));
        }
        if let Some(name) = edit.name {
            check_name_free(&mut tx, id, &name).await?;
            integration.name = name;
        }
        integration.policy = edit.policy.unwrap_or(integration.policy);
        integration.settings = edit.settings.unwrap_or(integration.settings);
        integration.version += 1;
        integration.updated_at = Timestamp::now();
        update(&mut tx, &integration).await?;
        if let Some(secret) = edit.connection_string {
            sqlx::query("UPDATE integrations SET connection_string = $1 WHERE id = $2")
                .bind(sealer.seal(place(id.as_str()), &secret))
                .bind(id.as_str())
                .execute(&mut *tx)
                .await?;
            crate::identities::give_connection_string(&mut tx, &sealer, &integration.host_name, &secret).await?;
        }
        tx.commit().await?;
        Ok(integration)
    }

    /// Says how the integration fares.
    ///
    /// # Errors
    /// [`Error::Stale`] once it is being removed; when there is none of this id.
    pub async fn set_integration_state(
        &self,
        id: &IntegrationId,
        state: IntegrationState,
        last_error: Option<&str>,
    ) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let integration = read_one(&mut tx, id).await?;
        if integration.state == IntegrationState::Removing {
            return Err(stale(&integration.name));
        }
        sqlx::query("UPDATE integrations SET state = $1, last_error = $2 WHERE id = $3")
            .bind(state.as_str())
            .bind(last_error)
            .bind(id.as_str())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Begins to remove an integration: from here on it is `removing`, over restarts too, until it is gone.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn begin_removal(&self, id: &IntegrationId, removal: Removal) -> Result<(), Error> {
        let update = sqlx::query("UPDATE integrations SET state = $1, removal = $2 WHERE id = $3")
            .bind(IntegrationState::Removing.as_str())
            .bind(serde_json::json!(removal).to_string())
            .bind(id.as_str());
        match update.execute(&mut *self.writer().await.connection).await?.rows_affected() {
            0 => Err(not_found(id.as_str())),
            _ => Ok(()),
        }
    }

    /// Forgets an integration with its bindings, progress and dead letters.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn remove_integration(&self, id: &IntegrationId, hub: HubSide) -> Result<Removed, Error> {
        let Writer { mut connection, sealer } = self.writer().await;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let integration = read_one(&mut tx, id).await?;
        let deletions = match hub {
            HubSide::Settled => 0,
            HubSide::DeleteLater => leave_to_delete(&mut tx, &sealer, &integration, None).await?,
        };
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM dead_letters WHERE integration = $1").bind(id.as_str());
        let dead_letters: i64 = count.fetch_one(&mut *tx).await?;
        let bindings = sqlx::query("DELETE FROM bindings WHERE integration = $1").bind(id.as_str());
        let bindings = bindings.execute(&mut *tx).await?.rows_affected();
        sqlx::query("DELETE FROM integrations WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(Removed { bindings, dead_letters: dead_letters.unsigned_abs(), deletions })
    }
}

type Transaction<'a> = sqlx::Transaction<'a, sqlx::Sqlite>;

/// Where the connection string of the integration `id` stands.
pub(crate) fn place(id: &str) -> Place<'_> {
    Place { table: "integrations", row: id, column: "connection_string" }
}

pub(crate) async fn read_one(tx: &mut Transaction<'_>, id: &IntegrationId) -> Result<Integration, Error> {
    let select = sqlx::query("SELECT * FROM integrations WHERE id = $1").bind(id.as_str());
    let row = select.fetch_optional(&mut **tx).await?;
    row.as_ref().map_or_else(|| Err(not_found(id.as_str())), read)
}

async fn check_name_free(tx: &mut Transaction<'_>, id: &IntegrationId, name: &IntegrationName) -> Result<(), Error> {
    let taken = sqlx::query("SELECT 1 FROM integrations WHERE name = $1 AND id <> $2");
    match taken.bind(name.as_str()).bind(id.as_str()).fetch_optional(&mut **tx).await? {
        Some(_) => Err(Error::NameTaken { what: "integration name", name: name.to_string() }),
        None => Ok(()),
    }
}

async fn insert(tx: &mut Transaction<'_>, integration: &Integration, sealed: &[u8]) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO integrations (id, name, service, host_name, policy, connection_string, topic, body, transport, \
         all_devices, device_id_template, on_existing, on_missing, on_full, state, low_water, version, created_at, \
         updated_at) VALUES ($1, '', $2, $3, '', $4, '', '', '', $5, '', '', '', '', $6, $7, 0, $8, $8)",
    )
    .bind(integration.id.as_str())
    .bind(Integration::SERVICE)
    .bind(&integration.host_name)
    .bind(sealed)
    .bind(false)
    .bind(integration.state.as_str())
    .bind(stored_offset(Offset::START))
    .bind(integration.created_at.as_millis())
    .execute(&mut **tx)
    .await?;
    // What can be edited is written in one place.
    update(tx, integration).await
}

async fn update(tx: &mut Transaction<'_>, integration: &Integration) -> Result<(), Error> {
    let settings = &integration.settings;
    sqlx::query(
        "UPDATE integrations SET name = $1, policy = $2, topic = $3, body = $4, transport = $5, content_type = $6, \
         all_devices = $7, device_id_template = $8, on_existing = $9, on_missing = $10, on_full = $11, hub_ca = $12, \
         hub_endpoint = $13, version = $14, updated_at = $15, on_missing_keys = $16, tier = $18, units = $19, \
         backlog_limit = $20, device_backlog_limit = $21, device_backlog_age = $22 WHERE id = $17",
    )
    .bind(integration.name.as_str())
    .bind(&integration.policy)
    .bind(settings.topic.as_str())
    .bind(settings.body.as_str())
    .bind(settings.transport.as_str())
    .bind(&settings.content_type)
    .bind(settings.all_devices)
    .bind(&settings.device_id_template)
    .bind(settings.on_existing.as_str())
    .bind(settings.on_missing.as_str())
    .bind(settings.on_full.as_str())
    .bind(&settings.hub_ca)
    .bind(&settings.hub_endpoint)
    .bind(integration.version.cast_signed())
    .bind(integration.updated_at.as_millis())
    .bind(settings.on_missing_keys.as_str())
    .bind(integration.id.as_str())
    .bind(settings.capacity.map(|capacity| capacity.tier().as_str()))
    .bind(settings.capacity.map(|capacity| i64::from(capacity.units())))
    .bind(stored(settings.backlog_limit))
    .bind(stored(settings.device_backlog_limit))
    .bind(i64::try_from(settings.device_backlog_age.as_millis()).unwrap_or(i64::MAX))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Integration, Error> {
    let row = Row { table: "integrations", row };
    let settings = Settings {
        topic: row.word("topic")?,
        body: row.word("body")?,
        transport: row.word("transport")?,
        content_type: row.get("content_type")?,
        all_devices: row.get("all_devices")?,
        device_id_template: row.get("device_id_template")?,
        on_existing: row.word("on_existing")?,
        on_missing: row.word("on_missing")?,
        on_missing_keys: row.word("on_missing_keys")?,
        on_full: row.word("on_full")?,
        backlog_limit: row.count("backlog_limit")?,
        device_backlog_limit: row.count("device_backlog_limit")?,
        device_backlog_age: Duration::from_millis(row.count("device_backlog_age")?),
        hub_ca: row.get("hub_ca")?,
        hub_endpoint: row.get("hub_endpoint")?,
        capacity: capacity(&row)?,
    };
    let removal = row.get::<Option<&str>>("removal")?.map(serde_json::from_str).transpose();
    Ok(Integration {
        id: row.word("id")?,
        name: row.word("name")?,
        host_name: row.get("host_name")?,
        policy: row.get("policy")?,
        settings,
        state: row.word("state")?,
        last_error: row.get("last_error")?,
        removal: removal.map_err(|error| row.corrupt(format!("removal: {error}")))?,
        version: row.count("version")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

fn capacity(row: &Row<'_>) -> Result<Option<Capacity>, Error> {
    let Some(tier) = row.get::<Option<&str>>("tier")? else { return Ok(None) };
    let tier: Tier = tier.parse().map_err(|error| row.corrupt(format!("tier: {error}")))?;
    let units = row.get::<Option<i64>>("units")?.and_then(|units| u32::try_from(units).ok()).unwrap_or_default();
    Capacity::new(tier, units).map(Some).map_err(|error| row.corrupt(format!("units: {error}")))
}

pub(crate) fn not_found(name: &str) -> Error {
    Error::NotFound { what: "integration", name: name.to_owned() }
}

fn stale(name: &IntegrationName) -> Error {
    Error::Stale { what: "integration", name: name.to_string() }
}

#[cfg(test)]
mod tests;
