//! Devices and their credentials.

use std::time::Duration;

use hubward_model::{DeviceId, DeviceKind, DeviceName, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::logins::{Credential, Entry, Old};
use crate::milestones::{self, Milestone};
use crate::row::{Row, stored};
use crate::{Error, Registry, random};

/// A device, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its public id.
    pub id: DeviceId,
    /// Its unique name.
    pub name: DeviceName,
    /// How it speaks to us.
    pub kind: DeviceKind,
    /// MQTT: a user name to use in place of the id. Pycom: the user name it must give, if one is set.
    pub username: Option<String>,
    /// Uplink topic filters of its own; none: those of its kind.
    pub topics: Vec<String>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last heard, as far as that was saved.
    pub last_seen: Option<Timestamp>,
    /// Signals accepted from it, as far as that was saved.
    pub signals: u64,
    /// Being removed: it may not connect, and comes back to nothing.
    pub removing: bool,
    /// Until when the credential before the present one counts too; none: it does not.
    pub old_until: Option<Timestamp>,
}

impl Device {
    /// The user name to put on the device; none when it may give any.
    #[must_use]
    pub fn login_name(&self) -> Option<&str> {
        match self.kind {
            DeviceKind::Mqtt => Some(self.username.as_deref().unwrap_or(self.id.as_str())),
            DeviceKind::Pycom => self.username.as_deref(),
        }
    }
}

/// A device to add.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// Its unique name.
    pub name: DeviceName,
    /// How it will speak to us.
    pub kind: DeviceKind,
    /// See [`Device::username`].
    pub username: Option<String>,
    /// What it will prove itself with.
    pub credential: NewCredential,
    /// See [`Device::topics`].
    pub topics: Vec<String>,
}

impl NewDevice {
    /// One with a random credential, its kind's own user name and topics.
    #[must_use]
    pub fn new(name: DeviceName, kind: DeviceKind) -> Self {
        Self { name, kind, username: None, credential: NewCredential::Random, topics: Vec::new() }
    }
}

/// What a device will prove itself with.
#[derive(Debug, Clone)]
pub enum NewCredential {
    /// 256 random bits; for Pycom a random device token.
    Random,
    /// A password it has already. Not for Pycom.
    Password(SecretString),
    /// A device token it has already. For Pycom alone.
    Token(SecretString),
}

/// Something new, with the secret that is shown this once.
#[derive(Debug, Clone)]
pub struct WithSecret<T> {
    /// What was made.
    pub value: T,
    /// Its secret.
    pub secret: SecretString,
}

/// What a device did, to be shown after the next start too.
#[derive(Debug, Clone)]
pub struct Activity {
    /// The device.
    pub device: DeviceId,
    /// When it was last heard.
    pub last_seen: Timestamp,
    /// Signals accepted from it since it was added.
    pub signals: u64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT d.id, d.name, d.kind, d.username, d.topics, d.digest, d.phc, d.old_digest, d.old_phc, d.old_until, \
             d.removing, d.created_at, a.last_seen, a.signals FROM devices d LEFT JOIN device_activity a ON a.device = d.id ",
            $rest
        )
    };
}

pub(crate) const SELECT: &str = select!("");

impl Registry {
    /// Adds a device.
    ///
    /// # Errors
    /// When its name, user name or credential is taken or cannot be one.
    pub async fn add_device(&self, device: NewDevice) -> Result<WithSecret<Device>, Error> {
        let added = self.add_devices(vec![device]).await?;
        // One in, one out.
        added.into_iter().next().ok_or(Error::Storage(sqlx::Error::RowNotFound))
    }

    /// Adds devices, all or none.
    ///
    /// # Errors
    /// As for one; the first that is refused is named.
    pub async fn add_devices(&self, devices: Vec<NewDevice>) -> Result<Vec<WithSecret<Device>>, Error> {
        let mut prepared = Vec::with_capacity(devices.len());
        for device in devices {
            let (secret, stored) = self.prepare(device.kind, &device.credential).await?;
            check_username(device.username.as_deref())?;
            let value = Device {
                id: DeviceId::random(),
                name: device.name,
                kind: device.kind,
                username: device.username,
                topics: device.topics,
                created_at: Timestamp::now(),
                last_seen: None,
                signals: 0,
                removing: false,
                old_until: None,
            };
            prepared.push((WithSecret { value, secret }, stored));
        }

        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        for (added, stored) in &prepared {
            insert(&mut tx, &added.value, stored).await?;
        }
        if let Some((first, _)) = prepared.first() {
            milestones::note(&mut tx, Milestone::Device, first.value.created_at, first.value.id.as_str()).await?;
        }
        let change = self.inner.logins.change();
        tx.commit().await?;
        let mut added = Vec::with_capacity(prepared.len());
        let mut entries = Vec::with_capacity(prepared.len());
        for (one, stored) in prepared {
            entries.push(Entry::new(&one.value, stored.credential(), None));
            added.push(one);
        }
        change.put(entries);
        Ok(added)
    }

    /// All devices, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn devices(&self) -> Result<Vec<Device>, Error> {
        let rows = sqlx::query(select!("ORDER BY d.name")).fetch_all(self.readers()).await?;
        rows.iter().map(read).collect()
    }

    /// One device.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn device(&self, id: &DeviceId) -> Result<Device, Error> {
        let row = sqlx::query(select!("WHERE d.id = $1")).bind(id.as_str()).fetch_optional(self.readers()).await?;
        row.as_ref().map_or_else(|| Err(not_found(id.as_str())), read)
    }

    /// The device of this name, else of this id.
    ///
    /// # Errors
    /// When there is none.
    pub async fn find_device(&self, name_or_id: &str) -> Result<Device, Error> {
        let sql = select!("WHERE d.name = $1 OR d.id = $1 ORDER BY d.name <> $1");
        let row = sqlx::query(sql).bind(name_or_id).fetch_optional(self.readers()).await?;
        row.as_ref().map_or_else(|| Err(not_found(name_or_id)), read)
    }

    /// Gives a device another name.
    ///
    /// # Errors
    /// When there is no such device, or the name is taken.
    pub async fn rename_device(&self, id: &DeviceId, name: DeviceName) -> Result<Device, Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        check_name_free(&mut tx, id, &name).await?;
        let update = sqlx::query("UPDATE devices SET name = $1 WHERE id = $2").bind(name.as_str()).bind(id.as_str());
        update.execute(&mut *tx).await?;
        self.finish(tx, id).await
    }

    /// Gives a device uplink filters of its own; none: those of its kind.
    ///
    /// # Errors
    /// When there is no such device.
    pub async fn set_device_topics(&self, id: &DeviceId, topics: Vec<String>) -> Result<Device, Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let topics = serde_json::Value::from(topics).to_string();
        let update = sqlx::query("UPDATE devices SET topics = $1 WHERE id = $2").bind(topics).bind(id.as_str());
        update.execute(&mut *tx).await?;
        self.finish(tx, id).await
    }

    /// Gives a device another user name, see [`Device::username`].
    ///
    /// # Errors
    /// When there is no such device, or the user name is taken or cannot be one.
    pub async fn set_device_username(&self, id: &DeviceId, username: Option<String>) -> Result<Device, Error> {
        check_username(username.as_deref())?;
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let device = read_one(&mut tx, id).await?.0;
        check_username_free(&mut tx, &Device { username: username.clone(), ..device }).await?;
        let update = sqlx::query("UPDATE devices SET username = $1 WHERE id = $2").bind(username).bind(id.as_str());
        update.execute(&mut *tx).await?;
        self.finish(tx, id).await
    }

    /// Gives a device another credential. The one before counts for `overlap` more (zero: it ends at once for new
    /// connections); one that still counted from an earlier rotation ends in any case. Who has a connection open is told
    /// apart, by the broker.
    ///
    /// # Errors
    /// When there is no such device, or the credential is taken or cannot be one.
    pub async fn rotate_device(
        &self,
        id: &DeviceId,
        credential: NewCredential,
        overlap: Duration,
    ) -> Result<WithSecret<Device>, Error> {
        let kind = self.device(id).await?.kind;
        let (secret, stored) = self.prepare(kind, &credential).await?;
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        check_credential_free(&mut tx, id, &stored).await?;
        let until = (!overlap.is_zero()).then(|| later(Timestamp::now(), overlap).as_millis());
        // The right sides are the values before this statement.
        sqlx::query(
            "UPDATE devices SET old_digest = CASE WHEN $1 IS NULL THEN NULL ELSE digest END, \
             old_phc = CASE WHEN $1 IS NULL THEN NULL ELSE phc END, old_until = $1, digest = $2, phc = $3 WHERE id = $4",
        )
        .bind(until)
        .bind(stored.digest())
        .bind(stored.phc())
        .bind(id.as_str())
        .execute(&mut *tx)
        .await?;
        let value = self.finish(tx, id).await?;
        Ok(WithSecret { value, secret })
    }

    /// Forgets old credentials whose time is over. Answers the devices that were not seen with their new one: what they
    /// have open was opened with what does not count any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_overlaps(&self) -> Result<Vec<DeviceId>, Error> {
        let now = Timestamp::now();
        let ended = self.inner.logins.ended_overlaps(now);
        let mut by_old = Vec::new();
        for (id, on_old) in ended {
            let mut writer = self.writer().await;
            let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
            // It may have been rotated again, or removed, meanwhile.
            let sql = "UPDATE devices SET old_digest = NULL, old_phc = NULL, old_until = NULL \
                       WHERE id = $1 AND old_until <= $2";
            let done = sqlx::query(sql).bind(id.as_str()).bind(now.as_millis()).execute(&mut *tx).await?;
            if done.rows_affected() > 0 {
                self.finish(tx, &id).await?;
                by_old.extend(on_old.then_some(id));
            }
        }
        Ok(by_old)
    }

    /// Refuses the device's logins from here on, so that nothing new comes while what is left of it is cleared away.
    ///
    /// # Errors
    /// When there is no such device.
    pub async fn mark_device_removing(&self, id: &DeviceId) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let update = sqlx::query("UPDATE devices SET removing = $1 WHERE id = $2").bind(true).bind(id.as_str());
        update.execute(&mut *tx).await?;
        self.finish(tx, id).await.map(drop)
    }

    /// Forgets a device that is in no integration any more.
    ///
    /// # Errors
    /// [`Error::DeviceBound`] while it is in one; when there is no such device.
    pub async fn remove_device(&self, id: &DeviceId) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let device = read_one(&mut tx, id).await?.0;
        let bound = sqlx::query_scalar(
            "SELECT i.name FROM bindings b JOIN integrations i ON i.id = b.integration WHERE b.device = $1 ORDER BY i.name",
        );
        let integrations: Vec<String> = bound.bind(id.as_str()).fetch_all(&mut *tx).await?;
        if !integrations.is_empty() {
            return Err(Error::DeviceBound { device: device.name.into(), integrations });
        }
        sqlx::query("DELETE FROM traffic WHERE device = $1").bind(id.as_str()).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM devices WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
        let change = self.inner.logins.change();
        tx.commit().await?;
        change.remove(id);
        Ok(())
    }

    /// Saves what devices did.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_activity(&self, activity: &[Activity]) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        save_activity(&mut tx, activity).await?;
        Ok(tx.commit().await?)
    }

    /// All devices with their credentials, for the logins in memory.
    pub(crate) async fn login_entries(connection: &mut SqliteConnection) -> Result<Vec<Entry>, Error> {
        let rows = sqlx::query(select!("ORDER BY d.id")).fetch_all(connection).await?;
        rows.iter().map(|row| Ok(Entry::new(&read(row)?, read_credential(row)?, read_old(row)?))).collect()
    }

    /// Commits a change of one device and tells the logins.
    async fn finish(&self, mut tx: Transaction<'_>, id: &DeviceId) -> Result<Device, Error> {
        let (device, credential, old) = read_one(&mut tx, id).await?;
        let change = self.inner.logins.change();
        tx.commit().await?;
        change.put([Entry::new(&device, credential, old)]);
        Ok(device)
    }

    /// The secret to show, and what is stored of it.
    async fn prepare(&self, kind: DeviceKind, credential: &NewCredential) -> Result<(SecretString, Stored), Error> {
        match (kind, credential) {
            (DeviceKind::Mqtt, NewCredential::Random) => {
                let secret = random::secret("");
                let stored = Stored::Digest(digest(&secret));
                Ok((secret, stored))
            }
            (DeviceKind::Pycom, NewCredential::Random) => {
                let token = random::token();
                let stored = Stored::Digest(digest(&token));
                Ok((token, stored))
            }
            (DeviceKind::Mqtt, NewCredential::Password(password)) => {
                if password.expose_secret().is_empty() {
                    return Err(Error::BadCredential { field: "password", reason: "is empty" });
                }
                Ok((password.clone(), Stored::Phc(self.inner.logins.passwords.hash(password).await)))
            }
            (DeviceKind::Pycom, NewCredential::Token(token)) => {
                if !is_token(token.expose_secret()) {
                    return Err(Error::BadCredential { field: "token", reason: "is not a UUID in text" });
                }
                Ok((token.clone(), Stored::Digest(digest(token))))
            }
            (DeviceKind::Mqtt, NewCredential::Token(_)) => {
                Err(Error::BadCredential { field: "token", reason: "is for devices of kind pycom" })
            }
            (DeviceKind::Pycom, NewCredential::Password(_)) => Err(Error::BadCredential {
                field: "password",
                reason: "is for devices of kind mqtt: pycom has a token",
            }),
        }
    }
}

/// Saves what devices did. A device removed meanwhile is no error.
pub(crate) async fn save_activity(connection: &mut SqliteConnection, activity: &[Activity]) -> Result<(), Error> {
    for one in activity {
        sqlx::query(
            "INSERT INTO device_activity (device, last_seen, signals) SELECT id, $2, $3 FROM devices WHERE id = $1 \
             ON CONFLICT (device) DO UPDATE SET last_seen = excluded.last_seen, signals = excluded.signals",
        )
        .bind(one.device.as_str())
        .bind(one.last_seen.as_millis())
        .bind(stored(one.signals))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

type Transaction<'a> = sqlx::Transaction<'a, sqlx::Sqlite>;

/// What is kept of a credential.
enum Stored {
    Digest([u8; 32]),
    Phc(String),
}

impl Stored {
    fn digest(&self) -> Option<&[u8]> {
        match self {
            Self::Digest(digest) => Some(digest),
            Self::Phc(_) => None,
        }
    }

    fn phc(&self) -> Option<&str> {
        match self {
            Self::Digest(_) => None,
            Self::Phc(phc) => Some(phc),
        }
    }

    fn credential(self) -> Credential {
        match self {
            Self::Digest(digest) => Credential::Digest(digest),
            Self::Phc(phc) => Credential::phc(phc),
        }
    }
}

/// SHA-256 of a random secret.
pub(crate) fn digest(secret: &SecretString) -> [u8; 32] {
    Sha256::digest(secret.expose_secret().as_bytes()).into()
}

/// A UUID in text: 8-4-4-4-12 hexadecimal digits. The firmware takes no shorter one and has room for no longer one.
fn is_token(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Pycom's firmware counts characters where MQTT counts bytes, and has room for 99.
fn check_username(username: Option<&str>) -> Result<(), Error> {
    match username {
        None => Ok(()),
        Some("") => Err(Error::BadCredential { field: "username", reason: "is empty" }),
        Some(name) if name.len() > 99 => Err(Error::BadCredential { field: "username", reason: "is too long" }),
        Some(name) if !name.bytes().all(|byte| (0x20..0x7f).contains(&byte)) => {
            Err(Error::BadCredential { field: "username", reason: "has characters outside printable ASCII" })
        }
        Some(_) => Ok(()),
    }
}

async fn insert(tx: &mut Transaction<'_>, device: &Device, stored: &Stored) -> Result<(), Error> {
    check_name_free(tx, &device.id, &device.name).await?;
    check_username_free(tx, device).await?;
    check_credential_free(tx, &device.id, stored).await?;
    sqlx::query(
        "INSERT INTO devices (id, name, kind, username, topics, digest, phc, removing, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(device.id.as_str())
    .bind(device.name.as_str())
    .bind(device.kind.as_str())
    .bind(&device.username)
    .bind(serde_json::json!(device.topics).to_string())
    .bind(stored.digest())
    .bind(stored.phc())
    .bind(device.removing)
    .bind(device.created_at.as_millis())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn check_name_free(tx: &mut Transaction<'_>, id: &DeviceId, name: &DeviceName) -> Result<(), Error> {
    let taken = sqlx::query("SELECT 1 FROM devices WHERE name = $1 AND id <> $2");
    match taken.bind(name.as_str()).bind(id.as_str()).fetch_optional(&mut **tx).await? {
        Some(_) => Err(Error::NameTaken { what: "device name", name: name.to_string() }),
        None => Ok(()),
    }
}

async fn check_username_free(tx: &mut Transaction<'_>, device: &Device) -> Result<(), Error> {
    if device.kind == DeviceKind::Pycom {
        return Ok(());
    }
    let taken = sqlx::query("SELECT 1 FROM devices WHERE username = $1 AND kind = $2 AND id <> $3");
    let taken = taken.bind(&device.username).bind(device.kind.as_str()).bind(device.id.as_str());
    match taken.fetch_optional(&mut **tx).await? {
        Some(_) => Err(Error::CredentialTaken { what: "user name" }),
        None => Ok(()),
    }
}

async fn check_credential_free(tx: &mut Transaction<'_>, id: &DeviceId, stored: &Stored) -> Result<(), Error> {
    let taken = sqlx::query("SELECT 1 FROM devices WHERE (digest = $1 OR old_digest = $1) AND id <> $2");
    match taken.bind(stored.digest()).bind(id.as_str()).fetch_optional(&mut **tx).await? {
        Some(_) => Err(Error::CredentialTaken { what: "device token" }),
        None => Ok(()),
    }
}

async fn read_one(tx: &mut Transaction<'_>, id: &DeviceId) -> Result<(Device, Credential, Option<Old>), Error> {
    let row = sqlx::query(select!("WHERE d.id = $1")).bind(id.as_str()).fetch_optional(&mut **tx).await?;
    let row = row.ok_or_else(|| not_found(id.as_str()))?;
    Ok((read(&row)?, read_credential(&row)?, read_old(&row)?))
}

pub(crate) fn read(row: &SqliteRow) -> Result<Device, Error> {
    let row = Row { table: "devices", row };
    Ok(Device {
        id: row.word("id")?,
        name: row.word("name")?,
        kind: row.word("kind")?,
        username: row.get("username")?,
        topics: row.json("topics")?,
        created_at: row.time("created_at")?,
        last_seen: row.optional_time("last_seen")?,
        signals: row.get::<Option<i64>>("signals")?.map_or(0, i64::unsigned_abs),
        removing: row.get("removing")?,
        old_until: row.optional_time("old_until")?,
    })
}

fn read_credential(row: &SqliteRow) -> Result<Credential, Error> {
    let row = Row { table: "devices", row };
    credential(&row, "digest", "phc")?.ok_or_else(|| row.corrupt("it needs either digest or phc".to_owned()))
}

fn read_old(row: &SqliteRow) -> Result<Option<Old>, Error> {
    let row = Row { table: "devices", row };
    let Some(until) = row.optional_time("old_until")? else { return Ok(None) };
    Ok(credential(&row, "old_digest", "old_phc")?.map(|credential| Old::new(credential, until)))
}

fn credential(row: &Row<'_>, digest: &'static str, phc: &'static str) -> Result<Option<Credential>, Error> {
    match (row.get::<Option<&[u8]>>(digest)?, row.get::<Option<String>>(phc)?) {
        (Some(digest), None) => match digest.try_into() {
            Ok(digest) => Ok(Some(Credential::Digest(digest))),
            Err(_) => Err(row.corrupt("digest: not 32 bytes".to_owned())),
        },
        (None, Some(phc)) => Ok(Some(Credential::phc(phc))),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(row.corrupt(format!("both {digest} and {phc}"))),
    }
}

/// The time `ahead` of `now`.
fn later(now: Timestamp, ahead: Duration) -> Timestamp {
    let millis = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_add(millis))
}

fn not_found(name: &str) -> Error {
    Error::NotFound { what: "device", name: name.to_owned() }
}

#[cfg(test)]
mod tests;
