//! Who did what, and when.

use hubward_model::Timestamp;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use crate::row::Row;
use crate::{Error, Registry, random};

/// Entries that are kept; the oldest go.
pub const KEPT: i64 = 100_000;
/// How far over that the log may grow before the oldest are looked for: so that not every entry pays for it.
const SLACK: i64 = 1_000;

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actor<'a> {
    /// The person, API token or part of Hubward.
    pub who: &'a str,
    /// `session`, `token`, or none for Hubward itself.
    pub via: Option<&'a str>,
    /// The address they asked from.
    pub remote: Option<&'a str>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its id.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// The person, API token or part of Hubward that did it.
    pub who: String,
    /// `session`, `token`, or none for Hubward itself.
    pub via: Option<String>,
    /// The address they asked from.
    pub remote: Option<String>,
    /// What was done, for example `integration.remove`.
    pub what: String,
    /// To what: a name or an id.
    pub subject: String,
    /// More about it; never a secret.
    pub detail: Value,
}

/// Which entries are wanted; what is absent is not asked.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of this person, token or part.
    pub who: Option<String>,
    /// `what` begins with this.
    pub what: Option<String>,
    /// Done to this.
    pub subject: Option<String>,
    /// At or after this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
    /// The oldest first.
    pub oldest_first: bool,
    /// After the entry of this time and id, in the order asked for.
    pub after: Option<(Timestamp, String)>,
}

impl Registry {
    /// Writes an entry.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, actor: Actor<'_>, what: &str, subject: &str, detail: Value) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let sql = "INSERT INTO audit_log (id, at, who, via, remote, what, subject, detail) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let insert = sqlx::query(sql).bind(random::id()).bind(Timestamp::now().as_millis());
        let insert = insert.bind(actor.who).bind(actor.via).bind(actor.remote).bind(what).bind(subject);
        let row = insert.bind(detail.to_string()).execute(&mut *writer.connection).await?.last_insert_rowid();
        if row % SLACK == 0 {
            let sql = "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log ORDER BY at DESC, id DESC \
                       LIMIT -1 OFFSET $1)";
            sqlx::query(sql).bind(KEPT).execute(&mut *writer.connection).await?;
        }
        Ok(())
    }

    /// At most `limit` entries, the newest first unless the filter says otherwise.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_log(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditEntry>, Error> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM audit_log WHERE 1 = 1");
        if let Some(who) = &filter.who {
            query.push(" AND who = ").push_bind(who);
        }
        if let Some(what) = &filter.what {
            query.push(" AND substr(what, 1, length(").push_bind(what).push(")) = ").push_bind(what);
        }
        if let Some(subject) = &filter.subject {
            query.push(" AND subject = ").push_bind(subject);
        }
        if let Some(since) = filter.since {
            query.push(" AND at >= ").push_bind(since.as_millis());
        }
        if let Some(until) = filter.until {
            query.push(" AND at < ").push_bind(until.as_millis());
        }
        let (beyond, order) = if filter.oldest_first { (">", "ASC") } else { ("<", "DESC") };
        if let Some((at, id)) = &filter.after {
            query
                .push(format!(" AND (at, id) {beyond} ("))
                .push_bind(at.as_millis())
                .push(", ")
                .push_bind(id)
                .push(")");
        }
        query.push(format!(" ORDER BY at {order}, id {order} LIMIT ")).push_bind(i64::from(limit));
        query.build().fetch_all(self.readers()).await?.iter().map(read).collect()
    }
}

fn read(row: &SqliteRow) -> Result<AuditEntry, Error> {
    let row = Row { table: "audit_log", row };
    Ok(AuditEntry {
        id: row.get("id")?,
        at: row.time("at")?,
        who: row.get("who")?,
        via: row.get("via")?,
        remote: row.get("remote")?,
        what: row.get("what")?,
        subject: row.get("subject")?,
        detail: row.json("detail")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Actor, AuditFilter};
    use crate::testing::registry;

    #[tokio::test]
    async fn what_was_done_is_read_back_in_parts_and_by_what_is_asked() {
        let (registry, _folder) = registry().await;
        let ann = Actor { who: "ann", via: Some("session"), remote: Some("127.0.0.1") };
        for n in 0..5 {
            registry.audit(ann, "device.add", "board", json!({ "n": n })).await.unwrap();
        }
        registry.audit(Actor { who: "ci", ..Actor::default() }, "user.add", "bob", json!(null)).await.unwrap();

        let mut filter = AuditFilter::default();
        let mut seen = Vec::new();
        loop {
            let part = registry.audit_log(&filter, 4).await.unwrap();
            let Some(last) = part.last() else { break };
            filter.after = Some((last.at, last.id.clone()));
            seen.extend(part);
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.is_sorted_by(|a, b| (a.at, &a.id) > (b.at, &b.id)));

        let of = |filter: AuditFilter| {
            let registry = registry.clone();
            async move { registry.audit_log(&filter, 100).await.unwrap().len() }
        };
        assert_eq!(of(AuditFilter { who: Some("ann".into()), ..AuditFilter::default() }).await, 5);
        assert_eq!(of(AuditFilter { what: Some("user.".into()), ..AuditFilter::default() }).await, 1);
        assert_eq!(of(AuditFilter { what: Some("%".into()), ..AuditFilter::default() }).await, 0);
        assert_eq!(of(AuditFilter { subject: Some("board".into()), ..AuditFilter::default() }).await, 5);
        let newest = seen[0].at;
        assert_eq!(of(AuditFilter { until: Some(seen[5].at), ..AuditFilter::default() }).await, 0);
        assert!(of(AuditFilter { since: Some(newest), oldest_first: true, ..AuditFilter::default() }).await >= 1);
    }
}
