//! How long a device may be silent before somebody is told, as learned from it, and whether anybody wants to know.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use hubward_model::DeviceId;
use sqlx::Connection as _;

use crate::row::Row;
use crate::{Error, Registry};

/// What is known of a device's silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// Whether an alarm is wanted.
    pub watched: bool,
    /// After how long; none: not learned yet.
    pub limit: Option<Duration>,
}

impl Default for Silence {
    /// Watched; nothing is learned.
    fn default() -> Self {
        Self { watched: true, limit: None }
    }
}

impl Registry {
    /// What is known of a device's silence.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn silence(&self, device: &DeviceId) -> Result<Silence, Error> {
        let select = sqlx::query("SELECT device, watched, limit_ms FROM device_silence WHERE device = $1");
        let row = select.bind(device.as_str()).fetch_optional(self.readers()).await?;
        row.as_ref().map_or_else(|| Ok(Silence::default()), |row| read(&Row { table: "device_silence", row }))
    }

    /// The limits that were learned.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn silence_limits(&self) -> Result<HashMap<DeviceId, Duration>, Error> {
        let select = sqlx::query("SELECT device, watched, limit_ms FROM device_silence WHERE limit_ms IS NOT NULL");
        let mut limits = HashMap::new();
        for row in &select.fetch_all(self.readers()).await? {
            let row = Row { table: "device_silence", row };
            if let Some(limit) = read(&row)?.limit {
                limits.insert(row.word("device")?, limit);
            }
        }
        Ok(limits)
    }

    /// The devices whose silence nobody wants to hear of.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unwatched_devices(&self) -> Result<HashSet<DeviceId>, Error> {
        let rows = sqlx::query("SELECT device FROM device_silence WHERE NOT watched").fetch_all(self.readers()).await?;
        rows.iter().map(|row| Row { table: "device_silence", row }.word("device")).collect()
    }

    /// Says whether an alarm is wanted when the device is silent.
    ///
    /// # Errors
    /// When there is no such device, or the database fails.
    pub async fn watch_silence(&self, device: &DeviceId, watched: bool) -> Result<Silence, Error> {
        let sql = "INSERT INTO device_silence (device, watched) SELECT id, $2 FROM devices WHERE id = $1 \
                   ON CONFLICT (device) DO UPDATE SET watched = excluded.watched RETURNING device, watched, limit_ms";
        let insert = sqlx::query(sql).bind(device.as_str()).bind(watched);
        let row = insert.fetch_optional(&mut *self.writer().await.connection).await?;
        let row = row.ok_or_else(|| Error::NotFound { what: "device", name: device.to_string() })?;
        read(&Row { table: "device_silence", row: &row })
    }

    /// Keeps limits that were learned. Devices that are gone are skipped.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_silence_limits(&self, limits: &[(DeviceId, Duration)]) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        for (device, limit) in limits {
            let sql = "INSERT INTO device_silence (device, watched, limit_ms) SELECT id, TRUE, $2 FROM devices \
                       WHERE id = $1 ON CONFLICT (device) DO UPDATE SET limit_ms = excluded.limit_ms";
            let millis = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
            sqlx::query(sql).bind(device.as_str()).bind(millis).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }
}

fn read(row: &Row<'_>) -> Result<Silence, Error> {
    let limit: Option<i64> = row.get("limit_ms")?;
    let limit = limit.map(|millis| Duration::from_millis(millis.max(0).unsigned_abs()));
    Ok(Silence { watched: row.get("watched")?, limit })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hubward_model::DeviceId;

    use crate::Silence;
    use crate::testing::{device, registry};

    #[tokio::test]
    async fn what_was_learned_and_what_is_wanted_do_not_disturb_each_other() {
        let (registry, _folder) = registry().await;
        let board = device(&registry, "board").await;
        assert_eq!(registry.silence(&board).await.unwrap(), Silence { watched: true, limit: None });
        let limit = Duration::from_secs(900);
        let gone: DeviceId = "gone".parse().unwrap();
        registry.watch_silence(&board, false).await.unwrap();
        registry.save_silence_limits(&[(board.clone(), limit), (gone.clone(), limit)]).await.unwrap();
        let silence = Silence { watched: false, limit: Some(limit) };
        assert_eq!(registry.silence(&board).await.unwrap(), silence);
        assert_eq!(registry.silence_limits().await.unwrap(), [(board.clone(), limit)].into());
        assert_eq!(registry.unwatched_devices().await.unwrap(), [board.clone()].into());

        let silence = registry.watch_silence(&board, true).await.unwrap();
        assert_eq!(silence, Silence { watched: true, limit: Some(limit) });
        assert!(registry.unwatched_devices().await.unwrap().is_empty());
        registry.watch_silence(&gone, false).await.unwrap_err();
        registry.remove_device(&board).await.unwrap();
        assert!(registry.silence_limits().await.unwrap().is_empty());
    }
}
