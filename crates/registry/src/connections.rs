//! Connections of devices, and logins refused: the newest of each device.

use hubward_model::{DeviceId, Timestamp};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::milestones::{self, Milestone};
use crate::row::Row;
use crate::{Error, Registry, random};

/// How many are kept of a device.
pub const KEPT: u32 = 100;

/// What became of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It is open.
    Open,
    /// It ended.
    At {
        /// When; unknown when the server was killed meanwhile.
        at: Option<Timestamp>,
        /// Why, as the broker says it.
        reason: String,
    },
    /// It was refused.
    Refused {
        /// Why, as the broker says it.
        reason: String,
    },
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its id; later ones sort after earlier ones.
    pub id: String,
    /// When it began.
    pub connected_at: Timestamp,
    /// From where.
    pub peer: String,
    /// `MQTT 3.1.1` or `MQTT 5`.
    pub protocol: Option<String>,
    /// The client's keep-alive in seconds; 0: none.
    pub keep_alive: Option<u16>,
    /// What became of it.
    pub ended: Ended,
}

/// Something to write down.
#[derive(Debug, Clone)]
pub enum ConnectionChange {
    /// A connection began.
    Opened {
        /// Its id, see [`Registry::connection_id`].
        id: String,
        /// Whose.
        device: DeviceId,
        /// When.
        at: Timestamp,
        /// From where.
        peer: String,
        /// How it speaks.
        protocol: String,
        /// Its keep-alive in seconds.
        keep_alive: u16,
    },
    /// It ended.
    Closed {
        /// Its id.
        id: String,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// A login that named a device was refused.
    Refused {
        /// Which device.
        device: DeviceId,
        /// When.
        at: Timestamp,
        /// From where.
        peer: String,
        /// Why.
        reason: String,
    },
}

/// The reason of connections whose end nobody saw.
pub const REASON_UNSEEN: &str = "server ended";

impl Registry {
    /// An id for a connection that began at `at`.
    #[must_use]
    pub fn connection_id(at: Timestamp) -> String {
        format!("{:012x}-{}", at.as_millis().max(0), random::id())
    }

    /// Writes down what happened, in this order, and forgets the oldest of each device. Devices that are gone are skipped.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_connections(&self, changes: &[ConnectionChange]) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut first = None;
        for change in changes {
            match change {
                ConnectionChange::Opened { id, device, at, peer, protocol, keep_alive } => {
                    let sql = "INSERT INTO connections (id, device, outcome, connected_at, peer, protocol, keep_alive) \
                               SELECT $1, id, 'open', $3, $4, $5, $6 FROM devices WHERE id = $2";
                    let insert = sqlx::query(sql).bind(id).bind(device.as_str()).bind(at.as_millis()).bind(peer);
                    insert.bind(protocol).bind(i64::from(*keep_alive)).execute(&mut *tx).await?;
                    forget_old(&mut tx, device).await?;
                    first.get_or_insert((*at, device.clone()));
                }
                ConnectionChange::Closed { id, at, reason } => {
                    let sql = "UPDATE connections SET outcome = 'ended', ended_at = $1, reason = $2 WHERE id = $3";
                    sqlx::query(sql).bind(at.as_millis()).bind(reason).bind(id).execute(&mut *tx).await?;
                }
                ConnectionChange::Refused { device, at, peer, reason } => {
                    let sql = "INSERT INTO connections (id, device, outcome, connected_at, ended_at, peer, reason) \
                               SELECT $1, id, 'refused', $3, $3, $4, $5 FROM devices WHERE id = $2";
                    let insert = sqlx::query(sql).bind(Self::connection_id(*at)).bind(device.as_str());
                    insert.bind(at.as_millis()).bind(peer).bind(reason).execute(&mut *tx).await?;
                    forget_old(&mut tx, device).await?;
                }
            }
        }
        if let Some((at, device)) = first {
            milestones::note(&mut tx, Milestone::Connect, at, device.as_str()).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Closes the connections whose end nobody saw: the server was killed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close_unseen_connections(&self) -> Result<u64, Error> {
        let sql = "UPDATE connections SET outcome = 'ended', reason = $1 WHERE outcome = 'open'";
        let update = sqlx::query(sql).bind(REASON_UNSEEN);
        Ok(update.execute(&mut *self.writer().await.connection).await?.rows_affected())
    }

    /// A device's connections, the newest first, before the one of this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn connections(
        &self,
        device: &DeviceId,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Connection>, Error> {
        // `~` is after every id.
        let sql = "SELECT * FROM connections WHERE device = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
        let select = sqlx::query(sql).bind(device.as_str()).bind(before.unwrap_or("~")).bind(i64::from(limit));
        select.fetch_all(self.readers()).await?.iter().map(read).collect()
    }
}

async fn forget_old(connection: &mut SqliteConnection, device: &DeviceId) -> Result<(), Error> {
    let sql = "DELETE FROM connections WHERE device = $1 AND outcome <> 'open' AND id <= \
               (SELECT id FROM connections WHERE device = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)";
    sqlx::query(sql).bind(device.as_str()).bind(i64::from(KEPT)).execute(connection).await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Connection, Error> {
    let row = Row { table: "connections", row };
    let reason = || Ok::<_, Error>(row.get::<Option<String>>("reason")?.unwrap_or_default());
    let ended = match row.get("outcome")? {
        "open" => Ended::Open,
        "ended" => Ended::At { at: row.optional_time("ended_at")?, reason: reason()? },
        "refused" => Ended::Refused { reason: reason()? },
        other => return Err(row.corrupt(format!("outcome: {other:?} is none"))),
    };
    let keep_alive: Option<i64> = row.get("keep_alive")?;
    Ok(Connection {
        id: row.get("id")?,
        connected_at: row.time("connected_at")?,
        peer: row.get("peer")?,
        protocol: row.get("protocol")?,
        keep_alive: keep_alive.and_then(|seconds| u16::try_from(seconds).ok()),
        ended,
    })
}

#[cfg(test)]
mod tests;
