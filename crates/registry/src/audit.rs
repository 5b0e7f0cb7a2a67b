//! Who did what, and when.

use hubward_model::Timestamp;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;

use crate::row::Row;
use crate::{Error, Registry, random};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// The person, API token or part of Hubward that did it.
    pub who: String,
    /// What was done, for example `integration.remove`.
    pub what: String,
    /// To what: a name or an id.
    pub subject: String,
    /// More about it; never a secret.
    pub detail: Value,
}

impl Registry {
    /// Writes an entry.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, who: &str, what: &str, subject: &str, detail: Value) -> Result<(), Error> {
        let sql = "INSERT INTO audit_log (id, at, who, what, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)";
        let insert = sqlx::query(sql).bind(random::id()).bind(Timestamp::now().as_millis()).bind(who).bind(what);
        insert.bind(subject).bind(detail.to_string()).execute(&mut *self.writer().await.connection).await?;
        Ok(())
    }

    /// The newest entries, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_log(&self, limit: u32) -> Result<Vec<AuditEntry>, Error> {
        let sql = "SELECT id, at, who, what, subject, detail FROM audit_log ORDER BY at DESC, id DESC LIMIT $1";
        let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(self.readers()).await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &SqliteRow) -> Result<AuditEntry, Error> {
    let row = Row { table: "audit_log", row };
    Ok(AuditEntry {
        at: row.time("at")?,
        who: row.get("who")?,
        what: row.get("what")?,
        subject: row.get("subject")?,
        detail: row.json("detail")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::registry;

    #[tokio::test]
    async fn what_was_done_is_read_back_and_the_number_limited() {
        let (registry, _folder) = registry().await;
        for n in 0..5 {
            registry.audit("ann", "device.add", "board", json!({ "n": n })).await.unwrap();
        }
        let log = registry.audit_log(3).await.unwrap();
        assert_eq!(log.len(), 3);
        assert_eq!(
            (log[0].who.as_str(), log[0].what.as_str(), log[0].subject.as_str()),
            ("ann", "device.add", "board")
        );
    }
}
