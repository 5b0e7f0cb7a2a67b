//! What hubs accepted from us, by UTC day: what their quota counts.

use hubward_model::{Tier, Timestamp};
use sqlx::Connection as _;

use crate::row::{Row, stored};
use crate::{Error, Registry};

/// How many days are kept.
const DAYS: i64 = 8;

/// What a hub accepted from us on one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HubUsage {
    /// Messages.
    pub messages: u64,
    /// As the 4 KB meter counts them.
    pub units_4k: u64,
    /// As the 0.5 KB meter of free hubs counts them.
    pub units_half_k: u64,
}

impl HubUsage {
    /// Adds what was accepted besides.
    pub fn add(&mut self, more: Self) {
        self.messages += more.messages;
        self.units_4k += more.units_4k;
        self.units_half_k += more.units_half_k;
    }

    /// As the meter of hubs of this tier counts them.
    #[must_use]
    pub fn metered(&self, tier: Tier) -> u64 {
        tier.metered(self.units_half_k, self.units_4k)
    }
}

impl Registry {
    /// Adds to what a hub accepted on the day of `at`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_hub_usage(&self, host: &str, at: Timestamp, more: HubUsage) -> Result<(), Error> {
        let day = at.as_millis().div_euclid(Timestamp::DAY);
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let sql = "INSERT INTO hub_usage (host_name, day, messages, units_4k, units_half_k) \
                   VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (host_name, day) DO UPDATE SET messages = messages + excluded.messages, \
                   units_4k = units_4k + excluded.units_4k, units_half_k = units_half_k + excluded.units_half_k";
        let insert = sqlx::query(sql).bind(host.to_ascii_lowercase()).bind(day);
        let insert = insert.bind(stored(more.messages)).bind(stored(more.units_4k)).bind(stored(more.units_half_k));
        insert.execute(&mut *tx).await?;
        sqlx::query("DELETE FROM hub_usage WHERE day < $1").bind(day - DAYS).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// What a hub accepted on the day of `at`, as far as it was saved.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hub_usage(&self, host: &str, at: Timestamp) -> Result<HubUsage, Error> {
        let sql = "SELECT host_name, messages, units_4k, units_half_k FROM hub_usage WHERE host_name = $1 AND day = $2";
        let select = sqlx::query(sql).bind(host.to_ascii_lowercase()).bind(at.as_millis().div_euclid(Timestamp::DAY));
        let row = select.fetch_optional(self.readers()).await?;
        let read = |row| {
            let row = Row { table: "hub_usage", row };
            Ok(HubUsage {
                messages: row.count("messages")?,
                units_4k: row.count("units_4k")?,
                units_half_k: row.count("units_half_k")?,
            })
        };
        row.as_ref().map_or_else(|| Ok(HubUsage::default()), read)
    }
}

#[cfg(test)]
mod tests {
    use hubward_model::Timestamp;

    use crate::HubUsage;
    use crate::testing::registry;

    #[tokio::test]
    async fn what_a_hub_accepted_adds_up_within_a_day_and_begins_anew_with_the_next() {
        let (registry, _folder) = registry().await;
        let noon = Timestamp::from_millis(20_000 * 86_400_000 + 43_200_000);
        let more = HubUsage { messages: 3, units_4k: 4, units_half_k: 7 };
        registry.add_hub_usage("Hub.azure-devices.net", noon, more).await.unwrap();
        registry.add_hub_usage("hub.azure-devices.net", noon, more).await.unwrap();
        let today = registry.hub_usage("HUB.azure-devices.net", noon).await.unwrap();
        assert_eq!(today, HubUsage { messages: 6, units_4k: 8, units_half_k: 14 });
        let tomorrow = Timestamp::from_millis(noon.as_millis() + 86_400_000);
        assert_eq!(registry.hub_usage("hub.azure-devices.net", tomorrow).await.unwrap(), HubUsage::default());
    }
}
