//! Who is told of alarms by HTTP, and what they are still to be told. A notice is written together with the change of its
//! alarm, so that neither a crash nor a target that is away loses one.

use hubward_model::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::alarms::{AlarmEvent, RaisedAlarm};
use crate::row::Row;
use crate::seal::Place;
use crate::store::Writer;
use crate::{Error, Registry, random};

/// Notices that wait at most; then the oldest go, and are counted.
pub const MAX_NOTICES: i64 = 1_000;
/// Its one row.
const ID: &str = "alarms";

/// The webhook, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Scheme, host and port.
    pub target: String,
    /// Certificates to trust besides the public ones, PEM.
    pub ca: Option<String>,
    /// When it was set.
    pub created_at: Timestamp,
    /// Notices it took since then.
    pub sent: u64,
    /// Notices it was never told: there were too many, or it was away for too long.
    pub dropped: u64,
    /// Notices that wait.
    pub waiting: u64,
    /// When it last took one.
    pub last_sent_at: Option<Timestamp>,
    /// Since when it takes none.
    pub failing_since: Option<Timestamp>,
    /// Why.
    pub last_error: Option<String>,
}

/// What is needed to reach it. Both are secret: the address may hold a token.
#[derive(Debug, Clone)]
pub struct WebhookSecrets {
    /// The whole address.
    pub url: SecretString,
    /// The key that signs.
    pub key: SecretString,
}

/// A notice that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its id: the same however often it is sent.
    pub id: String,
    /// What happened.
    pub event: AlarmEvent,
    /// The alarm, after it.
    pub alarm: RaisedAlarm,
    /// When.
    pub at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    url: String,
    key: String,
}

impl Registry {
    /// The webhook, if one is set.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhook(&self) -> Result<Option<Webhook>, Error> {
        let select = sqlx::query("SELECT *, (SELECT COUNT(*) FROM webhook_notices) AS waiting FROM webhooks");
        let row = select.fetch_optional(self.readers()).await?;
        row.as_ref().map(read).transpose()
    }

    /// What is needed to reach it.
    ///
    /// # Errors
    /// When none is set, or its secrets do not open.
    pub async fn webhook_secrets(&self) -> Result<WebhookSecrets, Error> {
        let sealed: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT secret FROM webhooks").fetch_optional(self.readers()).await?;
        let opened = self.open_sealed(place(), &sealed.ok_or_else(not_set)?)?;
        let sealed: Sealed = serde_json::from_str(opened.expose_secret()).map_err(|error| Error::Corrupt {
            table: "webhooks",
            row: ID.to_owned(),
            reason: format!("secret: {error}"),
        })?;
        Ok(WebhookSecrets { url: sealed.url.into(), key: sealed.key.into() })
    }

    /// Sets the webhook; notices that wait for another one are dropped. Without a key a random one is made. Answers the
    /// key: it is shown this once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_webhook(
        &self,
        target: &str,
        url: &SecretString,
        key: Option<SecretString>,
        ca: Option<&str>,
    ) -> Result<SecretString, Error> {
        let key = key.unwrap_or_else(|| random::secret("hubward_webhook_"));
        let Writer { mut connection, sealer } = self.writer().await;
        let sealed = Sealed { url: url.expose_secret().to_owned(), key: key.expose_secret().to_owned() };
        // Two texts always become JSON.
        let sealed = SecretString::from(serde_json::json!(sealed).to_string());
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM webhooks").execute(&mut *tx).await?;
        sqlx::query("DELETE FROM webhook_notices").execute(&mut *tx).await?;
        sqlx::query(
            "INSERT INTO webhooks (id, target, secret, ca, created_at, sent, dropped) VALUES ($1, $2, $3, $4, $5, 0, 0)",
        )
        .bind(ID)
        .bind(target)
        .bind(sealer.seal(place(), &sealed))
        .bind(ca)
        .bind(Timestamp::now().as_millis())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.webhook_changed();
        Ok(key)
    }

    /// Takes the webhook away, with what it was still to be told. Answers whether there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_webhook(&self) -> Result<bool, Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let removed = sqlx::query("DELETE FROM webhooks").execute(&mut *tx).await?.rows_affected();
        sqlx::query("DELETE FROM webhook_notices").execute(&mut *tx).await?;
        tx.commit().await?;
        self.webhook_changed();
        Ok(removed > 0)
    }

    /// The notices that wait, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn notices(&self, limit: u32) -> Result<Vec<Notice>, Error> {
        let select = sqlx::query("SELECT * FROM webhook_notices ORDER BY number LIMIT $1").bind(i64::from(limit));
        let rows = select.fetch_all(self.readers()).await?;
        rows.iter().map(read_notice).collect()
    }

    /// The webhook took this notice.
    ///
    /// # Errors
    /// When the database fails: then it is told again, with the same id.
    pub async fn notice_sent(&self, id: &str, at: Timestamp) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM webhook_notices WHERE id = $1").bind(id).execute(&mut *tx).await?;
        let sql = "UPDATE webhooks SET sent = sent + 1, last_sent_at = $1, failing_since = NULL, last_error = NULL";
        sqlx::query(sql).bind(at.as_millis()).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// The webhook did not take a notice; `give_up` drops and counts it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn notice_failed(&self, id: &str, at: Timestamp, error: &str, give_up: bool) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut dropped = 0;
        if give_up {
            let delete = sqlx::query("DELETE FROM webhook_notices WHERE id = $1").bind(id);
            dropped = delete.execute(&mut *tx).await?.rows_affected();
        }
        let sql = "UPDATE webhooks SET failing_since = COALESCE(failing_since, $1), last_error = $2, \
                   dropped = dropped + $3";
        let update = sqlx::query(sql).bind(at.as_millis()).bind(error).bind(dropped.cast_signed());
        update.execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}

/// Writes a notice down, if somebody is to be told.
pub(crate) async fn queue(
    connection: &mut SqliteConnection,
    event: AlarmEvent,
    alarm: &RaisedAlarm,
    at: Timestamp,
) -> Result<(), Error> {
    let sql = "INSERT INTO webhook_notices (number, id, event, alarm, at) \
               SELECT (SELECT COALESCE(MAX(number), 0) + 1 FROM webhook_notices), $1, $2, $3, $4 FROM webhooks";
    let insert = sqlx::query(sql).bind(random::id()).bind(event.as_str()).bind(serde_json::json!(alarm).to_string());
    if insert.bind(at.as_millis()).execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(());
    }
    let sql = "DELETE FROM webhook_notices WHERE number IN (SELECT number FROM webhook_notices ORDER BY number DESC \
               LIMIT -1 OFFSET $1)";
    let dropped = sqlx::query(sql).bind(MAX_NOTICES).execute(&mut *connection).await?.rows_affected();
    if dropped > 0 {
        let update = sqlx::query("UPDATE webhooks SET dropped = dropped + $1").bind(dropped.cast_signed());
        update.execute(connection).await?;
    }
    Ok(())
}

fn place() -> Place<'static> {
    Place { table: "webhooks", row: ID, column: "secret" }
}

fn not_set() -> Error {
    Error::NotFound { what: "webhook", name: ID.to_owned() }
}

fn read(row: &SqliteRow) -> Result<Webhook, Error> {
    let row = Row { table: "webhooks", row };
    Ok(Webhook {
        target: row.get("target")?,
        ca: row.get("ca")?,
        created_at: row.time("created_at")?,
        sent: row.count("sent")?,
        dropped: row.count("dropped")?,
        waiting: row.count("waiting")?,
        last_sent_at: row.optional_time("last_sent_at")?,
        failing_since: row.optional_time("failing_since")?,
        last_error: row.get("last_error")?,
    })
}

fn read_notice(row: &SqliteRow) -> Result<Notice, Error> {
    let row = Row { table: "webhook_notices", row };
    Ok(Notice { id: row.get("id")?, event: row.word("event")?, alarm: row.json("alarm")?, at: row.time("at")? })
}

#[cfg(test)]
mod tests;
