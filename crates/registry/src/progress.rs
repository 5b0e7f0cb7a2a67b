//! How far the relay has come.
//!
//! For each integration one low-water offset, before which everything is settled, and entries only for the lanes that
//! stand elsewhere: ahead of it, or behind it because they are detached or have not run yet (a new binding's entry is
//! its start). A lane goes on at its entry, else at the low-water offset.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use hubward_model::{DeviceId, IntegrationId, Offset, Timestamp};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::milestones::{self, Milestone};
use crate::row::{Row, stored, stored_offset};
use crate::{Error, Registry, integrations};

/// Rows of one statement: few lengths, for each is prepared once. Measured for 3,000 lanes: 7 ms by 32, 11 ms by 128,
/// 19 ms by 512.
const ROWS: [usize; 3] = [32, 4, 1];

/// The saved progress of one integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Everything before it is settled, for lanes without an entry.
    pub low_water: Offset,
    /// What is saved for each lane.
    pub lanes: HashMap<DeviceId, Lane>,
}

/// What is saved for one lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lane {
    /// Its entry: everything before it is settled. None: the low-water offset says it.
    pub settled: Option<Offset>,
    /// Accepted by the hub since the binding was made.
    pub delivered: u64,
    /// What it needs and the journal need not keep; none: it reads the journal alone.
    pub held: Option<Held>,
}

/// What of a lane's signals stands in its integration's hold file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Everything it needs before this offset.
    pub until: Offset,
    /// From this place in the hold file on.
    pub from: u64,
}

/// What to save for one integration.
#[derive(Debug, Clone)]
pub struct ProgressUpdate {
    /// The integration.
    pub integration: IntegrationId,
    /// Its new low-water offset.
    pub low_water: Offset,
    /// The lanes that changed since the last time. The numbers are totals, so saving twice does no harm.
    pub lanes: Vec<(DeviceId, Lane)>,
}

/// Whether progress was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "who is fenced must stop"]
pub enum Saved {
    /// It is on disk.
    Saved,
    /// Somebody else owns these lanes now: stop them. Never answered by a server that is alone, as today's are.
    Fenced,
}

impl Registry {
    /// The saved progress of an integration; a new one begins at [`Offset::START`].
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn progress(&self, integration: &IntegrationId) -> Result<Progress, Error> {
        let mut tx = self.readers().begin().await?;
        let select = sqlx::query("SELECT low_water FROM integrations WHERE id = $1").bind(integration.as_str());
        let row = select.fetch_optional(&mut *tx).await?;
        let row = row.ok_or_else(|| integrations::not_found(integration.as_str()))?;
        let low_water = Row { table: "integrations", row: &row }.offset("low_water")?;

        let select =
            sqlx::query("SELECT device, settled, delivered, held_until, held_from FROM lanes WHERE integration = $1");
        let rows = select.bind(integration.as_str()).fetch_all(&mut *tx).await?;
        let lane = |row| {
            let row = Row { table: "lanes", row };
            Ok((row.word("device")?, read_lane(&row)?))
        };
        Ok(Progress { low_water, lanes: rows.iter().map(lane).collect::<Result<_, Error>>()? })
    }

    /// The same for one lane alone.
    ///
    /// # Errors
    /// When there is no such integration.
    pub async fn progress_of(&self, integration: &IntegrationId, device: &DeviceId) -> Result<Progress, Error> {
        let select = sqlx::query(
            "SELECT i.id, i.low_water, l.settled, l.delivered, l.held_until, l.held_from, l.device FROM integrations i \
             LEFT JOIN lanes l ON l.integration = i.id AND l.device = $2 WHERE i.id = $1",
        );
        let row = select.bind(integration.as_str()).bind(device.as_str()).fetch_optional(self.readers()).await?;
        let row = row.ok_or_else(|| integrations::not_found(integration.as_str()))?;
        let row = Row { table: "lanes", row: &row };
        let mut lanes = HashMap::new();
        if row.get::<Option<&str>>("device")?.is_some() {
            lanes.insert(device.clone(), read_lane(&row)?);
        }
        Ok(Progress { low_water: row.offset("low_water")?, lanes })
    }

    /// Saves progress, all of it or none. Lanes and integrations that were removed meanwhile are skipped.
    ///
    /// # Errors
    /// When the database fails: then it is unknown whether it was saved; save again.
    pub async fn save_progress(&self, updates: &[ProgressUpdate]) -> Result<Saved, Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        for update in updates {
            sqlx::query("UPDATE integrations SET low_water = $1 WHERE id = $2")
                .bind(stored_offset(update.low_water))
                .bind(update.integration.as_str())
                .execute(&mut *tx)
                .await?;
            let mut lanes = update.lanes.as_slice();
            for rows in ROWS {
                while let Some((now, later)) = lanes.split_at_checked(rows) {
                    lanes = later;
                    save_lanes(&mut tx, &update.integration, now).await?;
                }
            }
        }
        let first = updates.iter().find(|update| update.lanes.iter().any(|(_, lane)| lane.delivered > 0));
        if let Some(first) = first.filter(|_| !self.inner.accepted_once.load(Ordering::Relaxed)) {
            milestones::note(&mut tx, Milestone::Accepted, Timestamp::now(), first.integration.as_str()).await?;
        }
        tx.commit().await?;
        if first.is_some() {
            self.inner.accepted_once.store(true, Ordering::Relaxed);
        }
        Ok(Saved::Saved)
    }
}

async fn save_lanes(
    tx: &mut sqlx::Transaction<'_, sqlx::Sqlite>,
    integration: &IntegrationId,
    lanes: &[(DeviceId, Lane)],
) -> Result<(), Error> {
    let mut query = sqlx::query(AssertSqlSafe(update_sql(lanes.len()))).bind(integration.as_str());
    for (device, lane) in lanes {
        query = query.bind(device.as_str()).bind(lane.settled.map(stored_offset)).bind(stored(lane.delivered));
        query =
            query.bind(lane.held.map(|held| stored_offset(held.until))).bind(lane.held.map(|held| stored(held.from)));
    }
    query.execute(&mut **tx).await?;
    Ok(())
}

fn read_lane(row: &Row<'_>) -> Result<Lane, Error> {
    let held = match row.optional_offset("held_until")? {
        Some(until) => Some(Held { until, from: row.count("held_from")? }),
        None => None,
    };
    Ok(Lane { settled: row.optional_offset("settled")?, delivered: row.count("delivered")?, held })
}

/// One statement for `rows` lanes of one integration.
fn update_sql(rows: usize) -> String {
    use std::fmt::Write as _;
    let mut sql = String::from("WITH new (device, settled, delivered, held_until, held_from) AS (VALUES ");
    for row in 0..rows {
        let (comma, first) = (if row == 0 { "" } else { ", " }, 5 * row + 2);
        // Writing to a String does not fail.
        let _ = write!(sql, "{comma}(${first}, ${}, ${}, ${}, ${})", first + 1, first + 2, first + 3, first + 4);
    }
    sql.push_str(
        ") UPDATE lanes SET settled = new.settled, delivered = new.delivered, held_until = new.held_until, \
         held_from = new.held_from FROM new \
         WHERE lanes.integration = $1 AND lanes.device = new.device",
    );
    sql
}

#[cfg(test)]
mod tests;
