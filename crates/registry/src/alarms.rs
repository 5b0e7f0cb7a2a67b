//! Alarms: what needs somebody's eye, with since when, why and what to do.
//!
//! Whoever notices something raises an alarm, as often as it likes, and clears it when it is over; while nothing
//! changes, both cost a look into memory. At most one alarm of a kind is open about a subject. One that cannot be stored
//! (the disk is full) is open nonetheless, until it can be.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hubward_model::{DeviceId, IntegrationId, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, QueryBuilder, Sqlite};
use tokio::sync::{broadcast, watch};

use crate::row::Row;
use crate::{Error, Registry, random, webhook};

mod kind;

pub use kind::{AlarmKind, UnknownKind};

/// Most alarms of one page.
pub const MAX_PAGE: u32 = 1000;
/// Cleared alarms that are kept; the oldest go.
pub const KEPT: i64 = 10_000;
/// How many changes a slow listener may be behind.
const CHANGES: usize = 256;

/// Which alarm.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AlarmKey {
    /// What it is about.
    pub kind: AlarmKind,
    /// The integration it concerns, if one.
    pub integration: Option<IntegrationId>,
    /// The device it concerns, if one.
    pub device: Option<DeviceId>,
}

impl AlarmKey {
    /// About this server.
    #[must_use]
    pub const fn server(kind: AlarmKind) -> Self {
        Self { kind, integration: None, device: None }
    }

    /// About an integration.
    #[must_use]
    pub fn integration(kind: AlarmKind, integration: &IntegrationId) -> Self {
        Self { kind, integration: Some(integration.clone()), device: None }
    }

    /// About a device.
    #[must_use]
    pub fn device(kind: AlarmKind, device: &DeviceId) -> Self {
        Self { kind, integration: None, device: Some(device.clone()) }
    }

    /// About a device in an integration.
    #[must_use]
    pub fn binding(kind: AlarmKind, integration: &IntegrationId, device: &DeviceId) -> Self {
        Self { kind, integration: Some(integration.clone()), device: Some(device.clone()) }
    }
}

/// An alarm to raise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Which.
    pub key: AlarmKey,
    /// What was noticed, for people. No secret.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

/// An alarm that was raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaisedAlarm {
    /// Its id.
    pub id: String,
    /// Which.
    pub key: AlarmKey,
    /// Name of the integration; the last it had when it is gone.
    pub integration_name: Option<String>,
    /// Name of the device; the last it had when it is gone.
    pub device_name: Option<String>,
    /// What was noticed.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
    /// When it was raised.
    pub since: Timestamp,
    /// When its text last changed.
    pub updated_at: Timestamp,
    /// When somebody acknowledged it.
    pub acknowledged_at: Option<Timestamp>,
    /// Who did.
    pub acknowledged_by: Option<String>,
    /// When it was over; none: it is open.
    pub cleared_at: Option<Timestamp>,
}

/// What happened to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmEvent {
    /// It is new.
    Raised,
    /// It has another text.
    Updated,
    /// Somebody has seen it.
    Acknowledged,
    /// It is over.
    Cleared,
}

impl AlarmEvent {
    const ALL: [Self; 4] = [Self::Raised, Self::Updated, Self::Acknowledged, Self::Cleared];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Updated => "updated",
            Self::Acknowledged => "acknowledged",
            Self::Cleared => "cleared",
        }
    }
}

impl FromStr for AlarmEvent {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|event| event.as_str() == word);
        found.ok_or_else(|| format!("{word:?} is nothing that happens to an alarm"))
    }
}

/// A change of an alarm.
#[derive(Debug, Clone)]
pub struct AlarmChange {
    /// What happened.
    pub event: AlarmEvent,
    /// The alarm, after it.
    pub alarm: RaisedAlarm,
    /// Whether it is on disk, and with it the notice of the webhook. False while the disk takes nothing.
    pub stored: bool,
}

/// Which alarms; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct AlarmFilter {
    /// Open ones (true) or cleared ones (false).
    pub open: Option<bool>,
    /// Acknowledged or not.
    pub acknowledged: Option<bool>,
    /// Of this kind.
    pub kind: Option<AlarmKind>,
    /// About this integration.
    pub integration: Option<IntegrationId>,
    /// About this device.
    pub device: Option<DeviceId>,
    /// The oldest first.
    pub oldest_first: bool,
    /// After this one: `since` and id of the last of the page before.
    pub after: Option<(Timestamp, String)>,
}

/// How many alarms are open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AlarmCounts {
    /// All of them.
    pub open: u64,
    /// Those that nobody has acknowledged.
    pub unacknowledged: u64,
}

/// What is open, as the registry remembers it, and who wants to hear of it.
pub(crate) struct OpenAlarms {
    open: Mutex<HashMap<AlarmKey, Known>>,
    changes: broadcast::Sender<AlarmChange>,
    /// Counts how often the webhook was set or removed.
    webhook: watch::Sender<u64>,
}

struct Known {
    alarm: RaisedAlarm,
    stored: bool,
}

impl Default for OpenAlarms {
    fn default() -> Self {
        Self { open: Mutex::default(), changes: broadcast::Sender::new(CHANGES), webhook: watch::Sender::new(0) }
    }
}

impl OpenAlarms {
    fn lock(&self) -> MutexGuard<'_, HashMap<AlarmKey, Known>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: AlarmEvent, alarm: &RaisedAlarm, stored: bool) {
        // Nobody may be listening.
        let _ = self.changes.send(AlarmChange { event, alarm: alarm.clone(), stored });
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.kind, a.integration, a.device, COALESCE(i.name, a.integration_name) AS integration_name, \
             COALESCE(d.name, a.device_name) AS device_name, a.cause, a.remedy, a.since, a.updated_at, \
             a.acknowledged_at, a.acknowledged_by, a.cleared_at FROM alarms a \
             LEFT JOIN integrations i ON i.id = a.integration LEFT JOIN devices d ON d.id = a.device",
            $rest
        )
    };
}

impl Registry {
    /// Raises an alarm. One that is open already keeps its `since` and takes the new text; with the same text, nothing
    /// happens.
    ///
    /// # Errors
    /// When the database fails: then the alarm is open until this process ends, and stored when it is raised again.
    pub async fn raise_alarm(&self, alarm: Alarm) -> Result<(), Error> {
        let alarms = &self.inner.alarms;
        let same =
            |known: &Known| known.stored && known.alarm.cause == alarm.cause && known.alarm.remedy == alarm.remedy;
        if alarms.lock().get(&alarm.key).is_some_and(same) {
            return Ok(());
        }
        let mut writer = self.writer().await;
        // Somebody else may have raised it while we waited.
        let before = match alarms.lock().get(&alarm.key) {
            Some(known) if same(known) => return Ok(()),
            Some(known) => Some(known.alarm.clone()),
            None => None,
        };
        let mut now = before.clone().unwrap_or_else(|| raised(&alarm));
        let changed = before.as_ref().is_none_or(|old| old.cause != alarm.cause || old.remedy != alarm.remedy);
        if changed {
            now.updated_at = Timestamp::now();
        }
        (now.cause, now.remedy) = (alarm.cause, alarm.remedy);
        let event = if before.is_some() { AlarmEvent::Updated } else { AlarmEvent::Raised };
        let stored = store(&mut writer.connection, event, &mut now).await;
        alarms.lock().insert(alarm.key, Known { alarm: now.clone(), stored: stored.is_ok() });
        if changed {
            alarms.tell(event, &now, stored.is_ok());
        }
        stored
    }

    /// Clears an alarm, and answers whether it was open. One that was open in memory alone is history from now on, as any
    /// other.
    ///
    /// # Errors
    /// When the database fails: then it is still open; clear it again.
    pub async fn clear_alarm(&self, key: &AlarmKey) -> Result<bool, Error> {
        let alarms = &self.inner.alarms;
        if !alarms.lock().contains_key(key) {
            return Ok(false);
        }
        let mut writer = self.writer().await;
        let Some(alarm) = alarms.lock().get(key).map(|known| known.alarm.clone()) else { return Ok(false) };
        self.close_alarm(&mut writer.connection, alarm, Timestamp::now()).await?;
        Ok(true)
    }

    /// Notes that somebody has seen an alarm. One that only tells of something that happened
    /// ([`AlarmKind::is_event`]) is over with that. Once acknowledged it stays so; a cleared one stays as it is.
    ///
    /// # Errors
    /// When there is none of this id, or the database fails.
    pub async fn acknowledge_alarm(&self, id: &str, who: &str) -> Result<RaisedAlarm, Error> {
        let alarms = &self.inner.alarms;
        let mut writer = self.writer().await;
        let known = alarms.lock().values().find(|known| known.alarm.id == id).map(|known| known.alarm.clone());
        let Some(mut alarm) = known else { return self.alarm(id).await };
        if alarm.acknowledged_at.is_some() {
            return Ok(alarm);
        }
        let now = Timestamp::now();
        alarm.acknowledged_at = Some(now);
        alarm.acknowledged_by = Some(who.to_owned());
        if alarm.key.kind.is_event() {
            return self.close_alarm(&mut writer.connection, alarm, now).await;
        }
        let sql = "UPDATE alarms SET acknowledged_at = $1, acknowledged_by = $2 WHERE id = $3";
        let update = sqlx::query(sql).bind(now.as_millis()).bind(who).bind(id);
        update.execute(&mut *writer.connection).await?;
        if let Some(known) = alarms.lock().get_mut(&alarm.key) {
            known.alarm = alarm.clone();
        }
        alarms.tell(AlarmEvent::Acknowledged, &alarm, true);
        Ok(alarm)
    }

    /// The open alarms, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn alarms(&self) -> Result<Vec<RaisedAlarm>, Error> {
        self.alarms_page(&AlarmFilter { open: Some(true), ..AlarmFilter::default() }, MAX_PAGE).await
    }

    /// At most `limit` alarms, and at most [`MAX_PAGE`], the newest first unless the filter says otherwise. Those that
    /// could not be stored come before all others on the first page.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn alarms_page(&self, filter: &AlarmFilter, limit: u32) -> Result<Vec<RaisedAlarm>, Error> {
        let mut query = QueryBuilder::<Sqlite>::new(select!(""));
        push_conditions(&mut query, filter);
        let order = if filter.oldest_first { "ASC" } else { "DESC" };
        query.push(format!(" ORDER BY a.since {order}, a.id {order} LIMIT "));
        query.push_bind(i64::from(limit.min(MAX_PAGE)));
        let rows = query.build().fetch_all(self.readers()).await?;
        let mut page = if filter.after.is_none() { self.unstored(filter) } else { Vec::new() };
        for row in &rows {
            page.extend(read(row)?);
        }
        Ok(page)
    }

    /// One alarm.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn alarm(&self, id: &str) -> Result<RaisedAlarm, Error> {
        let not_found = || Error::NotFound { what: "alarm", name: id.to_owned() };
        let known = self.inner.alarms.lock().values().find(|k| k.alarm.id == id && !k.stored).map(|k| k.alarm.clone());
        if let Some(alarm) = known {
            return Ok(alarm);
        }
        let row = sqlx::query(select!(" WHERE a.id = $1")).bind(id).fetch_optional(self.readers()).await?;
        row.as_ref().map(read).transpose()?.flatten().ok_or_else(not_found)
    }

    /// Whether this alarm is open. From memory.
    #[must_use]
    pub fn is_alarm_open(&self, key: &AlarmKey) -> bool {
        self.inner.alarms.lock().contains_key(key)
    }

    /// The keys of the open alarms of a kind. From memory.
    #[must_use]
    pub fn open_alarm_keys(&self, kind: AlarmKind) -> Vec<AlarmKey> {
        self.inner.alarms.lock().keys().filter(|key| key.kind == kind).cloned().collect()
    }

    /// How many alarms of each kind are open. From memory.
    #[must_use]
    pub fn open_alarms_by_kind(&self) -> HashMap<AlarmKind, u64> {
        let mut kinds = HashMap::new();
        for key in self.inner.alarms.lock().keys() {
            *kinds.entry(key.kind).or_default() += 1;
        }
        kinds
    }

    /// How many alarms are open. From memory.
    #[must_use]
    pub fn alarm_counts(&self) -> AlarmCounts {
        let open = self.inner.alarms.lock();
        let unacknowledged = open.values().filter(|known| known.alarm.acknowledged_at.is_none()).count();
        AlarmCounts { open: open.len() as u64, unacknowledged: unacknowledged as u64 }
    }

    /// The changes from now on. A listener that falls behind is told so, and reads the list.
    #[must_use]
    pub fn alarm_changes(&self) -> broadcast::Receiver<AlarmChange> {
        self.inner.alarms.changes.subscribe()
    }

    /// Fires when the webhook is set or removed.
    #[must_use]
    pub fn webhook_changes(&self) -> watch::Receiver<u64> {
        self.inner.alarms.webhook.subscribe()
    }

    pub(crate) fn webhook_changed(&self) {
        self.inner.alarms.webhook.send_modify(|changes| *changes += 1);
    }

    /// Clears the open alarms about integrations, devices and bindings that are gone, and answers how many; forgets
    /// the oldest cleared ones beyond [`KEPT`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tidy_alarms(&self) -> Result<u64, Error> {
        let rows = sqlx::query(
            "SELECT a.* FROM alarms a WHERE a.cleared_at IS NULL AND ( \
             (a.integration IS NOT NULL AND NOT EXISTS (SELECT 1 FROM integrations i WHERE i.id = a.integration)) \
             OR (a.device IS NOT NULL AND NOT EXISTS (SELECT 1 FROM devices d WHERE d.id = a.device)) \
             OR (a.integration IS NOT NULL AND a.device IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM bindings b WHERE b.integration = a.integration AND b.device = a.device)))",
        );
        let mut cleared = 0;
        for row in &rows.fetch_all(self.readers()).await? {
            if let Some(alarm) = read(row)? {
                cleared += u64::from(self.clear_alarm(&alarm.key).await?);
            }
        }
        let sql = "DELETE FROM alarms WHERE id IN (SELECT id FROM alarms WHERE cleared_at IS NOT NULL \
                   ORDER BY cleared_at DESC, id DESC LIMIT -1 OFFSET $1)";
        let over = sqlx::query("SELECT 1 FROM alarms WHERE cleared_at IS NOT NULL LIMIT 1 OFFSET $1").bind(KEPT);
        if over.fetch_optional(self.readers()).await?.is_some() {
            sqlx::query(sql).bind(KEPT).execute(&mut *self.writer().await.connection).await?;
        }
        Ok(cleared)
    }

    /// Takes the open alarms into memory.
    pub(crate) async fn load_alarms(&self) -> Result<(), Error> {
        let rows = sqlx::query(select!(" WHERE a.cleared_at IS NULL")).fetch_all(self.readers()).await?;
        for row in &rows {
            if let Some(alarm) = read(row)? {
                self.inner.alarms.lock().insert(alarm.key.clone(), Known { alarm, stored: true });
            }
        }
        Ok(())
    }

    async fn close_alarm(
        &self,
        connection: &mut SqliteConnection,
        mut alarm: RaisedAlarm,
        now: Timestamp,
    ) -> Result<RaisedAlarm, Error> {
        alarm.cleared_at = Some(now);
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        write(&mut tx, &mut alarm).await?;
        webhook::queue(&mut tx, AlarmEvent::Cleared, &alarm, now).await?;
        tx.commit().await?;
        self.inner.alarms.lock().remove(&alarm.key);
        self.inner.alarms.tell(AlarmEvent::Cleared, &alarm, true);
        Ok(alarm)
    }

    fn unstored(&self, filter: &AlarmFilter) -> Vec<RaisedAlarm> {
        let wanted = |alarm: &RaisedAlarm| {
            filter.open != Some(false)
                && filter.acknowledged.is_none_or(|wanted| wanted == alarm.acknowledged_at.is_some())
                && filter.kind.is_none_or(|kind| kind == alarm.key.kind)
                && (filter.integration.is_none() || filter.integration == alarm.key.integration)
                && (filter.device.is_none() || filter.device == alarm.key.device)
        };
        let open = self.inner.alarms.lock();
        open.values().filter(|known| !known.stored && wanted(&known.alarm)).map(|known| known.alarm.clone()).collect()
    }
}

/// An alarm that begins now.
fn raised(alarm: &Alarm) -> RaisedAlarm {
    let now = Timestamp::now();
    RaisedAlarm {
        id: random::id(),
        key: alarm.key.clone(),
        integration_name: None,
        device_name: None,
        cause: alarm.cause.clone(),
        remedy: alarm.remedy.clone(),
        since: now,
        updated_at: now,
        acknowledged_at: None,
        acknowledged_by: None,
        cleared_at: None,
    }
}

/// Writes an alarm and the notice of it.
async fn store(connection: &mut SqliteConnection, event: AlarmEvent, alarm: &mut RaisedAlarm) -> Result<(), Error> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    write(&mut tx, alarm).await?;
    if event == AlarmEvent::Raised {
        webhook::queue(&mut tx, event, alarm, alarm.since).await?;
    }
    Ok(tx.commit().await?)
}

/// Writes an alarm, new or changed, and learns the names of what it is about.
async fn write(connection: &mut SqliteConnection, alarm: &mut RaisedAlarm) -> Result<(), Error> {
    let row = sqlx::query(
        "INSERT INTO alarms (id, kind, integration, device, integration_name, device_name, cause, remedy, since, \
         updated_at, acknowledged_at, acknowledged_by, cleared_at) \
         VALUES ($1, $2, $3, $4, (SELECT name FROM integrations WHERE id = $3), \
         (SELECT name FROM devices WHERE id = $4), $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT (id) DO UPDATE SET cause = excluded.cause, remedy = excluded.remedy, \
         updated_at = excluded.updated_at, acknowledged_at = excluded.acknowledged_at, \
         acknowledged_by = excluded.acknowledged_by, cleared_at = excluded.cleared_at \
         RETURNING id, integration_name, device_name",
    )
    .bind(&alarm.id)
    .bind(alarm.key.kind.as_str())
    .bind(alarm.key.integration.as_ref().map(IntegrationId::as_str))
    .bind(alarm.key.device.as_ref().map(DeviceId::as_str))
    .bind(&alarm.cause)
    .bind(&alarm.remedy)
    .bind(alarm.since.as_millis())
    .bind(alarm.updated_at.as_millis())
    .bind(alarm.acknowledged_at.map(Timestamp::as_millis))
    .bind(&alarm.acknowledged_by)
    .bind(alarm.cleared_at.map(Timestamp::as_millis))
    .fetch_one(connection)
    .await?;
    let row = Row { table: "alarms", row: &row };
    alarm.integration_name = row.get("integration_name")?;
    alarm.device_name = row.get("device_name")?;
    Ok(())
}

fn push_conditions(query: &mut QueryBuilder<Sqlite>, filter: &AlarmFilter) {
    query.push(match filter.open {
        Some(true) => " WHERE a.cleared_at IS NULL",
        Some(false) => " WHERE a.cleared_at IS NOT NULL",
        None => " WHERE 1 = 1",
    });
    if let Some(acknowledged) = filter.acknowledged {
        query.push(if acknowledged { " AND a.acknowledged_at IS NOT NULL" } else { " AND a.acknowledged_at IS NULL" });
    }
    if let Some(kind) = filter.kind {
        query.push(" AND a.kind = ").push_bind(kind.as_str());
    }
    if let Some(integration) = &filter.integration {
        query.push(" AND a.integration = ").push_bind(integration.as_str().to_owned());
    }
    if let Some(device) = &filter.device {
        query.push(" AND a.device = ").push_bind(device.as_str().to_owned());
    }
    if let Some((since, id)) = &filter.after {
        let beyond = if filter.oldest_first { ">" } else { "<" };
        query.push(format!(" AND (a.since, a.id) {beyond} (")).push_bind(since.as_millis());
        query.push(", ").push_bind(id.clone()).push(")");
    }
}

/// A stored alarm; none of a kind that only a newer version knows.
fn read(row: &SqliteRow) -> Result<Option<RaisedAlarm>, Error> {
    let row = Row { table: "alarms", row };
    let Ok(kind) = row.get::<&str>("kind")?.parse::<AlarmKind>() else { return Ok(None) };
    let integration: Option<&str> = row.get("integration")?;
    let device: Option<&str> = row.get("device")?;
    let key = AlarmKey {
        kind,
        integration: integration.map(|_| row.word("integration")).transpose()?,
        device: device.map(|_| row.word("device")).transpose()?,
    };
    Ok(Some(RaisedAlarm {
        id: row.get("id")?,
        key,
        integration_name: row.get("integration_name")?,
        device_name: row.get("device_name")?,
        cause: row.get("cause")?,
        remedy: row.get("remedy")?,
        since: row.time("since")?,
        updated_at: row.time("updated_at")?,
        acknowledged_at: row.optional_time("acknowledged_at")?,
        acknowledged_by: row.get("acknowledged_by")?,
        cleared_at: row.optional_time("cleared_at")?,
    }))
}

#[cfg(test)]
mod tests;
