//! What devices did, as far as pages need it at once: activity, signals by number or topic, what boards told of
//! themselves, and how much came in each day. All of it is counted from the journal, and saved together with how far.

use hubward_model::{DeviceId, JournalId, Offset, Timestamp};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, QueryBuilder};

use crate::devices::{Activity, save_activity};
use crate::milestones::{self, Milestone};
use crate::row::{Row, stored, stored_offset};
use crate::{Error, Registry};

/// How many signals a device may have by number or topic; others are counted nowhere.
pub const MAX_SERIES: i64 = 256;
/// How many days of traffic are kept.
const DAYS: i64 = 8;

/// What was counted between two positions of the journal.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Totals, so that it does not matter if they are saved twice.
    pub activity: Vec<Activity>,
    /// Signals by number or topic since the last time.
    pub series: Vec<SeriesSeen>,
    /// What boards told, the last of each kind.
    pub told: Vec<(DeviceId, Told)>,
    /// What came in since the last time.
    pub traffic: Vec<TrafficSeen>,
    /// The first signal, if none was saved before.
    pub first_signal: Option<(Timestamp, DeviceId)>,
}

/// Some signals of one device with one number or topic.
#[derive(Debug, Clone)]
pub struct SeriesSeen {
    /// The device.
    pub device: DeviceId,
    /// The number as text, or the topic.
    pub key: String,
    /// How many.
    pub number: u64,
    /// When the last came.
    pub last_at: Timestamp,
    /// Where it stands.
    pub last_offset: Offset,
    /// Its value; null when it has none that can be shown.
    pub last_value: Value,
}

/// What a board told of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// `info`, `network`, `scan` or `battery`.
    pub what: String,
    /// When.
    pub at: Timestamp,
    /// In words.
    pub detail: Value,
}

/// What came in on one UTC day.
#[derive(Debug, Clone)]
pub struct TrafficSeen {
    /// The device; `None`: all together.
    pub device: Option<DeviceId>,
    /// Any time of the day.
    pub at: Timestamp,
    /// How much.
    pub traffic: Traffic,
}

/// How much came in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Signals.
    pub signals: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Bytes of the largest.
    pub largest: u64,
    /// As a hub's 4 KB meter counts them.
    pub units_4k: u64,
    /// As the 0.5 KB meter of the free tier counts them.
    pub units_half_k: u64,
}

impl Traffic {
    /// Counts one more payload of `bytes`.
    pub fn count(&mut self, bytes: u64) {
        self.signals += 1;
        self.bytes += bytes;
        self.largest = self.largest.max(bytes);
        self.units_4k += bytes.div_ceil(4096).max(1);
        self.units_half_k += bytes.div_ceil(512).max(1);
    }

    /// Adds what came in elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.signals += other.signals;
        self.bytes += other.bytes;
        self.largest = self.largest.max(other.largest);
        self.units_4k += other.units_4k;
        self.units_half_k += other.units_half_k;
    }
}

/// The signals of a device with one number or topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The number as text, or the topic.
    pub key: String,
    /// The name it was given.
    pub name: Option<String>,
    /// The unit it was given.
    pub unit: Option<String>,
    /// How many came.
    pub number: u64,
    /// When the last came, and where it stands.
    pub last: Option<(Timestamp, Offset)>,
    /// Its value; null when there is none that can be shown.
    pub last_value: Value,
    /// Whether that is a number.
    pub is_number: bool,
}

impl Registry {
    /// Saves what was counted up to `position` of the journal, all or nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_observed(&self, journal: &JournalId, position: Offset, observed: &Observed) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        save_activity(&mut tx, &observed.activity).await?;
        for seen in &observed.series {
            save_series(&mut tx, seen).await?;
        }
        for (device, told) in &observed.told {
            let sql = "INSERT INTO device_told (device, what, at, detail) SELECT id, $2, $3, $4 FROM devices WHERE id = $1 \
                       ON CONFLICT (device, what) DO UPDATE SET at = excluded.at, detail = excluded.detail";
            let insert = sqlx::query(sql).bind(device.as_str()).bind(&told.what).bind(told.at.as_millis());
            insert.bind(told.detail.to_string()).execute(&mut *tx).await?;
        }
        for seen in &observed.traffic {
            save_traffic(&mut tx, seen).await?;
        }
        if let Some(day) = observed.traffic.iter().map(|seen| day_of(seen.at)).max() {
            let delete = sqlx::query("DELETE FROM traffic WHERE day < $1").bind(day - DAYS);
            delete.execute(&mut *tx).await?;
        }
        if let Some((at, device)) = &observed.first_signal {
            milestones::note(&mut tx, Milestone::Signal, *at, device.as_str()).await?;
        }
        let sql = "INSERT INTO meta (key, value) VALUES ('observed', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        sqlx::query(sql).bind(format!("{journal} {position}")).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Up to where of this journal it was counted; none if nothing of it was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn observed_up_to(&self, journal: &JournalId) -> Result<Option<Offset>, Error> {
        let value = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'observed'");
        let value: Option<String> = value.fetch_optional(self.readers()).await?;
        let known = value.as_deref().and_then(|value| value.split_once(' '));
        Ok(known.filter(|(id, _)| *id == journal.as_str()).and_then(|(_, position)| position.parse().ok()))
    }

    /// What a board told of itself, the last of each kind.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn told(&self, device: &DeviceId) -> Result<Vec<Told>, Error> {
        let select = sqlx::query("SELECT what, at, detail FROM device_told WHERE device = $1").bind(device.as_str());
        let read = |row| {
            let row = Row { table: "device_told", row };
            Ok(Told { what: row.get("what")?, at: row.time("at")?, detail: row.json("detail")? })
        };
        select.fetch_all(self.readers()).await?.iter().map(read).collect()
    }

    /// The signals of a device by number or topic: those without a name first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn series(&self, device: &DeviceId) -> Result<Vec<Series>, Error> {
        let select = sqlx::query("SELECT * FROM series WHERE device = $1").bind(device.as_str());
        let rows = select.fetch_all(self.readers()).await?;
        let mut series = rows.iter().map(read_series).collect::<Result<Vec<_>, _>>()?;
        // By number where it is one.
        series.sort_by_key(|one| (one.name.is_some(), one.key.parse().unwrap_or(u32::MAX), one.key.clone()));
        Ok(series)
    }

    /// One of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn one_series(&self, device: &DeviceId, key: &str) -> Result<Option<Series>, Error> {
        let select = sqlx::query("SELECT * FROM series WHERE device = $1 AND key = $2").bind(device.as_str()).bind(key);
        select.fetch_optional(self.readers()).await?.as_ref().map(read_series).transpose()
    }

    /// Gives a signal a name and a unit; no name: takes both away. It may come before the first such signal.
    ///
    /// # Errors
    /// When there is no such device, or it has [`MAX_SERIES`] already.
    pub async fn define_series(
        &self,
        device: &DeviceId,
        key: &str,
        name: Option<&str>,
        unit: Option<&str>,
    ) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let unit = unit.filter(|_| name.is_some());
        let sql = "UPDATE series SET name = $3, unit = $4 WHERE device = $1 AND key = $2";
        let update = sqlx::query(sql).bind(device.as_str()).bind(key).bind(name).bind(unit);
        if update.execute(&mut *tx).await?.rows_affected() == 0 && name.is_some() {
            let sql = "INSERT INTO series (device, key, name, unit, number, is_number) \
                       SELECT id, $2, $3, $4, 0, $5 FROM devices WHERE id = $1 \
                       AND (SELECT COUNT(*) FROM series WHERE device = $1) < $6";
            let insert = sqlx::query(sql).bind(device.as_str()).bind(key).bind(name).bind(unit);
            if insert.bind(false).bind(MAX_SERIES).execute(&mut *tx).await?.rows_affected() == 0 {
                return Err(Error::TooMany { what: "signals of this device", most: MAX_SERIES.unsigned_abs() });
            }
        }
        // What was only defined, and never came, goes with its name.
        sqlx::query("DELETE FROM series WHERE device = $1 AND key = $2 AND name IS NULL AND number = 0")
            .bind(device.as_str())
            .bind(key)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// What came in on each of the last seven whole or begun days, of some devices or of all, with the day's beginning.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn traffic(
        &self,
        devices: Option<&[DeviceId]>,
        now: Timestamp,
    ) -> Result<Vec<(Timestamp, Traffic)>, Error> {
        let mut query = QueryBuilder::new(
            "SELECT day, SUM(signals) AS signals, SUM(bytes) AS bytes, MAX(largest) AS largest, SUM(units_4k) AS units_4k, \
             SUM(units_half_k) AS units_half_k FROM traffic WHERE device IN (",
        );
        {
            let mut list = query.separated(", ");
            match devices {
                None => {
                    list.push("''");
                }
                Some([]) => return Ok(Vec::new()),
                Some(devices) => {
                    for device in devices {
                        list.push_bind(device.as_str().to_owned());
                    }
                }
            }
        }
        query.push(") AND day > ").push_bind(day_of(now) - 7).push(" GROUP BY day ORDER BY day");
        let rows = query.build().fetch_all(self.readers()).await?;
        let read = |row| {
            let row = Row { table: "traffic", row };
            let traffic = Traffic {
                signals: row.count("signals")?,
                bytes: row.count("bytes")?,
                largest: row.count("largest")?,
                units_4k: row.count("units_4k")?,
                units_half_k: row.count("units_half_k")?,
            };
            Ok((Timestamp::from_millis(row.get::<i64>("day")? * Timestamp::DAY), traffic))
        };
        rows.iter().map(read).collect()
    }
}

fn day_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(Timestamp::DAY)
}

async fn save_series(connection: &mut SqliteConnection, seen: &SeriesSeen) -> Result<(), Error> {
    let sql = "UPDATE series SET number = number + $3, last_at = $4, last_offset = $5, last_value = $6, is_number = $7 \
               WHERE device = $1 AND key = $2";
    let update = sqlx::query(sql).bind(seen.device.as_str()).bind(&seen.key).bind(stored(seen.number));
    let update = update.bind(seen.last_at.as_millis()).bind(stored_offset(seen.last_offset));
    let update = update.bind(seen.last_value.to_string()).bind(seen.last_value.is_number());
    if update.execute(&mut *connection).await?.rows_affected() > 0 {
        return Ok(());
    }
    let sql = "INSERT INTO series (device, key, number, last_at, last_offset, last_value, is_number) \
               SELECT id, $2, $3, $4, $5, $6, $7 FROM devices WHERE id = $1 \
               AND (SELECT COUNT(*) FROM series WHERE device = $1) < $8";
    sqlx::query(sql)
        .bind(seen.device.as_str())
        .bind(&seen.key)
        .bind(stored(seen.number))
        .bind(seen.last_at.as_millis())
        .bind(stored_offset(seen.last_offset))
        .bind(seen.last_value.to_string())
        .bind(seen.last_value.is_number())
        .bind(MAX_SERIES)
        .execute(connection)
        .await?;
    Ok(())
}

async fn save_traffic(connection: &mut SqliteConnection, seen: &TrafficSeen) -> Result<(), Error> {
    let sql = "INSERT INTO traffic (device, day, signals, bytes, largest, units_4k, units_half_k) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (device, day) DO UPDATE SET \
               signals = signals + excluded.signals, bytes = bytes + excluded.bytes, \
               largest = MAX(largest, excluded.largest), units_4k = units_4k + excluded.units_4k, \
               units_half_k = units_half_k + excluded.units_half_k";
    let Traffic { signals, bytes, largest, units_4k, units_half_k } = seen.traffic;
    let mut insert = sqlx::query(sql).bind(seen.device.as_ref().map_or("", DeviceId::as_str)).bind(day_of(seen.at));
    for count in [signals, bytes, largest, units_4k, units_half_k] {
        insert = insert.bind(stored(count));
    }
    insert.execute(connection).await?;
    Ok(())
}

fn read_series(row: &SqliteRow) -> Result<Series, Error> {
    let row = Row { table: "series", row };
    let last = (row.optional_time("last_at")?, row.optional_offset("last_offset")?);
    let value = row.get::<Option<&str>>("last_value")?.map(serde_json::from_str).transpose();
    Ok(Series {
        key: row.get("key")?,
        name: row.get("name")?,
        unit: row.get("unit")?,
        number: row.count("number")?,
        last: last.0.zip(last.1),
        last_value: value.map_err(|error| row.corrupt(format!("last_value: {error}")))?.unwrap_or_default(),
        is_number: row.get("is_number")?,
    })
}

#[cfg(test)]
mod tests;
