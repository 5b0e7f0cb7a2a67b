//! Signals that were given up because a limit that the user set was reached, by ranges of offsets.

use hubward_model::{DeviceId, IntegrationId, Offset, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, QueryBuilder, Sqlite};

use crate::row::{Row, stored, stored_offset};
use crate::{Error, Registry, random};

/// Most ranges of one page.
pub const MAX_PAGE: u32 = 1000;

/// Signals of one device that an integration gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Its id.
    pub id: String,
    /// The integration.
    pub integration: IntegrationId,
    /// The device.
    pub device: DeviceId,
    /// The first of them stands at this offset or after it.
    pub from: Offset,
    /// All of them stand before it.
    pub to: Offset,
    /// How many.
    pub count: u64,
    /// Their bytes, as limits count them.
    pub bytes: u64,
    /// Which limit: a word.
    pub reason: String,
    /// When they were given up.
    pub at: Timestamp,
}

/// A range to add.
#[derive(Debug, Clone)]
pub struct NewExpired {
    /// The integration.
    pub integration: IntegrationId,
    /// The device.
    pub device: DeviceId,
    /// See [`Expired::from`].
    pub from: Offset,
    /// See [`Expired::to`].
    pub to: Offset,
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Which limit: a word.
    pub reason: &'static str,
    /// When.
    pub at: Timestamp,
}

/// What an integration has given up so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpiredTotal {
    /// Ranges.
    pub ranges: u64,
    /// Signals.
    pub signals: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Registry {
    /// Notes that a lane gave up a range, and moves its progress past it: both or nothing.
    ///
    /// # Errors
    /// When the database fails: then it is unknown whether it was noted, and the lane must not pass the range.
    pub async fn add_expired(&self, new: &NewExpired) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO expired (id, integration, device, from_offset, to_offset, count, bytes, reason, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(random::id())
        .bind(new.integration.as_str())
        .bind(new.device.as_str())
        .bind(stored_offset(new.from))
        .bind(stored_offset(new.to))
        .bind(stored(new.count))
        .bind(stored(new.bytes))
        .bind(new.reason)
        .bind(new.at.as_millis())
        .execute(&mut *tx)
        .await?;
        sqlx::query("UPDATE lanes SET settled = $1 WHERE integration = $2 AND device = $3")
            .bind(stored_offset(new.to))
            .bind(new.integration.as_str())
            .bind(new.device.as_str())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Ranges of an integration, the newest first, those before `before` (time and id of the last of the page before).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expired(
        &self,
        integration: &IntegrationId,
        device: Option<&DeviceId>,
        before: Option<(Timestamp, &str)>,
        limit: u32,
    ) -> Result<Vec<Expired>, Error> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM expired WHERE integration = ");
        query.push_bind(integration.as_str().to_owned());
        if let Some(device) = device {
            query.push(" AND device = ").push_bind(device.as_str().to_owned());
        }
        if let Some((at, id)) = before {
            query.push(" AND (at, id) < (").push_bind(at.as_millis()).push(", ").push_bind(id.to_owned()).push(")");
        }
        query.push(" ORDER BY at DESC, id DESC LIMIT ").push_bind(i64::from(limit.min(MAX_PAGE)));
        query.build().fetch_all(self.readers()).await?.iter().map(read).collect()
    }

    /// Ranges of a device in an integration that have to do with offsets from `first` to `last`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expired_between(
        &self,
        integration: &IntegrationId,
        device: &DeviceId,
        first: Offset,
        last: Offset,
    ) -> Result<Vec<Expired>, Error> {
        let rows = sqlx::query(
            // Ranges of a lane follow each other: of those that begin before, only the last reaches here.
            "SELECT * FROM expired WHERE integration = $1 AND device = $2 AND to_offset > $3 AND from_offset <= $4 \
             AND from_offset >= COALESCE((SELECT MAX(from_offset) FROM expired WHERE integration = $1 AND device = $2 \
             AND from_offset <= $3), $3)",
        )
        .bind(integration.as_str())
        .bind(device.as_str())
        .bind(stored_offset(first))
        .bind(stored_offset(last))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(read).collect()
    }

    /// What an integration has given up so far.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expired_total(&self, integration: &IntegrationId) -> Result<ExpiredTotal, Error> {
        let row = sqlx::query("SELECT ranges, signals, bytes FROM expired_totals WHERE integration = $1")
            .bind(integration.as_str())
            .fetch_optional(self.readers())
            .await?;
        let Some(row) = &row else { return Ok(ExpiredTotal::default()) };
        let row = Row { table: "expired_totals", row };
        Ok(ExpiredTotal { ranges: row.count("ranges")?, signals: row.count("signals")?, bytes: row.count("bytes")? })
    }
}

fn read(row: &SqliteRow) -> Result<Expired, Error> {
    let row = Row { table: "expired", row };
    Ok(Expired {
        id: row.get("id")?,
        integration: row.word("integration")?,
        device: row.word("device")?,
        from: row.offset("from_offset")?,
        to: row.offset("to_offset")?,
        count: row.count("count")?,
        bytes: row.count("bytes")?,
        reason: row.get("reason")?,
        at: row.time("at")?,
    })
}

#[cfg(test)]
mod tests;
