//! The steps of a first start, each with the time when it first happened.

use hubward_model::Timestamp;
use sqlx::sqlite::SqliteConnection;

use crate::row::Row;
use crate::{Error, Registry};

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Milestone {
    /// A device was added.
    Device,
    /// A device connected.
    Connect,
    /// A signal was durable.
    Signal,
    /// An integration was made.
    Integration,
    /// A hub accepted a signal.
    Accepted,
}

impl Milestone {
    /// All, in their order.
    pub const ALL: [Self; 5] = [Self::Device, Self::Connect, Self::Signal, Self::Integration, Self::Accepted];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Connect => "connect",
            Self::Signal => "signal",
            Self::Integration => "integration",
            Self::Accepted => "accepted",
        }
    }
}

/// A step that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Which.
    pub milestone: Milestone,
    /// When first.
    pub at: Timestamp,
    /// Id of the device or integration it happened with. It may be gone.
    pub subject: String,
}

impl Registry {
    /// The steps that were reached.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn milestones(&self) -> Result<Vec<Reached>, Error> {
        let rows = sqlx::query("SELECT name, at, subject FROM milestones").fetch_all(self.readers()).await?;
        let mut reached = Vec::with_capacity(rows.len());
        for row in &rows {
            let row = Row { table: "milestones", row };
            let name: &str = row.get("name")?;
            // One that only a newer version knows does not matter here.
            if let Some(milestone) = Milestone::ALL.into_iter().find(|milestone| milestone.as_str() == name) {
                reached.push(Reached { milestone, at: row.time("at")?, subject: row.get("subject")? });
            }
        }
        Ok(reached)
    }
}

/// Notes a step, unless it was reached before.
pub(crate) async fn note(
    connection: &mut SqliteConnection,
    milestone: Milestone,
    at: Timestamp,
    subject: &str,
) -> Result<(), Error> {
    let sql = "INSERT INTO milestones (name, at, subject) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
    sqlx::query(sql).bind(milestone.as_str()).bind(at.as_millis()).bind(subject).execute(connection).await?;
    Ok(())
}
