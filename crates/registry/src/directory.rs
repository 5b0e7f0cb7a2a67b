//! Devices and bindings by the page: who is looked for is found in memory, and only a page's rows are read.

use std::collections::HashMap;

use hubward_model::{BindingState, DeviceId, DeviceKind, DeviceName, IntegrationId, Timestamp};
use sqlx::{QueryBuilder, Sqlite};

use crate::bindings::{self, Binding};
use crate::devices::{self, Device};
use crate::row::Row;
use crate::{Error, Registry};

/// What is known of a device without asking the database.
#[derive(Debug, Clone, Copy)]
pub struct Card<'a> {
    /// Its id.
    pub id: &'a DeviceId,
    /// Its name.
    pub name: &'a DeviceName,
    /// How it speaks.
    pub kind: DeviceKind,
    /// When it was added.
    pub created_at: Timestamp,
}

/// How many bindings of an integration are in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingCount {
    /// The state that is stored; what a running lane shows may differ.
    pub state: BindingState,
    /// Whether Hubward made the identities.
    pub made_by_us: bool,
    /// How many.
    pub number: u64,
}

impl Registry {
    /// What `choose` makes of the devices, in no order; those it answers `None` for are left out. Keep it short: logins
    /// that change something wait for it.
    pub fn choose_devices<T>(&self, mut choose: impl FnMut(Card<'_>) -> Option<T>) -> Vec<T> {
        self.inner.logins.cards(&mut choose)
    }

    /// How many devices there are.
    #[must_use]
    pub fn device_count(&self) -> usize {
        self.inner.logins.len()
    }

    /// The device that a user name at a login may mean: an id, or a user name of a device of kind mqtt.
    #[must_use]
    pub fn device_of_login(&self, username: &str) -> Option<DeviceId> {
        self.inner.logins.device_of_username(username)
    }

    /// These devices, in no order; those that are gone are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn devices_by_id(&self, ids: &[DeviceId]) -> Result<Vec<Device>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::new(devices::SELECT);
        query.push("WHERE d.id IN (");
        push_ids(&mut query, ids);
        query.push(")");
        let rows = query.build().fetch_all(self.readers()).await?;
        rows.iter().map(devices::read).collect()
    }

    /// All bindings of these devices.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bindings_of_devices(&self, ids: &[DeviceId]) -> Result<HashMap<DeviceId, Vec<Binding>>, Error> {
        let mut found: HashMap<DeviceId, Vec<Binding>> = HashMap::new();
        if ids.is_empty() {
            return Ok(found);
        }
        let mut query = QueryBuilder::new(bindings::SELECT);
        query.push("WHERE b.device IN (");
        push_ids(&mut query, ids);
        query.push(") ORDER BY b.created_at, b.integration");
        for row in &query.build().fetch_all(self.readers()).await? {
            let binding = bindings::read(row)?;
            found.entry(binding.device.clone()).or_default().push(binding);
        }
        Ok(found)
    }

    /// The bindings that these devices have in an integration, by hub device id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bindings_among(&self, integration: &IntegrationId, ids: &[DeviceId]) -> Result<Vec<Binding>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // As a join in this order: with a long IN list SQLite would rather read the whole integration.
        let mut query = QueryBuilder::new("WITH ids (id) AS (VALUES ");
        let mut list = query.separated(", ");
        for id in ids {
            list.push("(").push_bind_unseparated(id.as_str().to_owned()).push_unseparated(")");
        }
        query
            .push(") SELECT b.*, l.delivered FROM ids CROSS JOIN bindings b ON b.device = ids.id AND b.integration = ");
        query.push_bind(integration.as_str().to_owned());
        query.push(" CROSS JOIN lanes l ON l.integration = b.integration AND l.device = b.device");
        let rows = query.build().fetch_all(self.readers()).await?;
        let mut found = rows.iter().map(bindings::read).collect::<Result<Vec<_>, _>>()?;
        found.sort_by(|a, b| a.hub_device_id.cmp(&b.hub_device_id));
        Ok(found)
    }

    /// Bindings of an integration by hub device id, after one of them, at most so many; of one maker or state if asked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bindings_page(&self, page: &BindingsPage<'_>) -> Result<Vec<Binding>, Error> {
        let mut query = QueryBuilder::new(bindings::SELECT);
        query.push("WHERE b.integration = ").push_bind(page.integration.as_str().to_owned());
        if let Some(made_by_us) = page.made_by_us {
            query.push(" AND b.made_by_us = ").push_bind(made_by_us);
        }
        if let Some(state) = page.state {
            query.push(" AND b.state = ").push_bind(state.as_str());
        }
        if let Some(after) = page.after {
            query.push(" AND b.hub_device_id > ").push_bind(after.to_owned());
        }
        query.push(" ORDER BY b.hub_device_id LIMIT ").push_bind(i64::from(page.limit));
        let rows = query.build().fetch_all(self.readers()).await?;
        rows.iter().map(bindings::read).collect()
    }

    /// How many bindings an integration has, by state and maker.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn binding_counts(&self, integration: &IntegrationId) -> Result<Vec<BindingCount>, Error> {
        let sql = "SELECT state, made_by_us, number FROM binding_counts WHERE integration = $1 AND number > 0";
        let rows = sqlx::query(sql).bind(integration.as_str()).fetch_all(self.readers()).await?;
        let count = |row| {
            let row = Row { table: "binding_counts", row };
            Ok(BindingCount {
                state: row.word("state")?,
                made_by_us: row.get("made_by_us")?,
                number: row.count("number")?,
            })
        };
        rows.iter().map(count).collect()
    }
}

/// Which bindings of an integration.
#[derive(Debug, Clone, Copy)]
pub struct BindingsPage<'a> {
    /// The integration.
    pub integration: &'a IntegrationId,
    /// Of identities that Hubward made, or of others.
    pub made_by_us: Option<bool>,
    /// In this state, as stored.
    pub state: Option<BindingState>,
    /// After this hub device id.
    pub after: Option<&'a str>,
    /// At most so many.
    pub limit: u32,
}

fn push_ids(query: &mut QueryBuilder<Sqlite>, ids: &[DeviceId]) {
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id.as_str().to_owned());
    }
}

#[cfg(test)]
mod tests;
