//! Wizards that were begun: what was typed, and from the login on the connection string, sealed.

use hubward_model::Timestamp;
use secrecy::SecretString;
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteRow;

use crate::row::Row;
use crate::seal::Place;
use crate::store::Writer;
use crate::{Error, Registry, random};

/// How many there may be.
pub const MAX_DRAFTS: i64 = 100;
/// How long one is kept that nobody touches.
const KEPT_MILLIS: i64 = 30 * Timestamp::DAY;

/// A wizard that was begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Its id.
    pub id: String,
    /// What was typed, as the page keeps it; no secret.
    pub data: Value,
    /// What the login found, once there was one.
    pub login: Option<Value>,
    /// Certificates of the login.
    pub hub_ca: Option<String>,
    /// Addresses of the login.
    pub hub_endpoint: Option<String>,
    /// Rises with every change.
    pub version: u64,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was last touched.
    pub updated_at: Timestamp,
}

/// A login that succeeded.
#[derive(Debug, Clone)]
pub struct DraftLogin {
    /// Stored sealed.
    pub connection_string: SecretString,
    /// Certificates to trust.
    pub hub_ca: Option<String>,
    /// Addresses.
    pub hub_endpoint: Option<String>,
    /// What was found, to show again.
    pub found: Value,
}

impl Registry {
    /// Begins a draft. Those that nobody touched for a month go.
    ///
    /// # Errors
    /// When there are [`MAX_DRAFTS`].
    pub async fn add_draft(&self, data: &Value) -> Result<Draft, Error> {
        let now = Timestamp::now();
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let old = sqlx::query("DELETE FROM drafts WHERE updated_at < $1").bind(now.as_millis() - KEPT_MILLIS);
        old.execute(&mut *tx).await?;
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM drafts").fetch_one(&mut *tx).await?;
        if count >= MAX_DRAFTS {
            return Err(Error::TooMany { what: "drafts", most: MAX_DRAFTS.unsigned_abs() });
        }
        let id = random::id();
        sqlx::query("INSERT INTO drafts (id, data, version, created_at, updated_at) VALUES ($1, $2, 1, $3, $3)")
            .bind(&id)
            .bind(data.to_string())
            .bind(now.as_millis())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.draft_written(id, writer).await
    }

    /// All drafts, the last touched first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drafts(&self) -> Result<Vec<Draft>, Error> {
        let rows = sqlx::query("SELECT * FROM drafts ORDER BY updated_at DESC, id").fetch_all(self.readers()).await?;
        rows.iter().map(read).collect()
    }

    /// One draft.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn draft(&self, id: &str) -> Result<Draft, Error> {
        let row = sqlx::query("SELECT * FROM drafts WHERE id = $1").bind(id).fetch_optional(self.readers()).await?;
        row.as_ref().map_or_else(|| Err(not_found(id)), read)
    }

    /// Writes down what was typed.
    ///
    /// # Errors
    /// [`Error::Stale`] when it is not at `expected_version`; when there is none of this id.
    pub async fn edit_draft(&self, id: &str, expected_version: Option<u64>, data: &Value) -> Result<Draft, Error> {
        let writer = self.writer().await;
        let mut writer = writer;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let version = sqlx::query_scalar("SELECT version FROM drafts WHERE id = $1").bind(id);
        let version: Option<i64> = version.fetch_optional(&mut *tx).await?;
        let version = version.ok_or_else(|| not_found(id))?;
        if expected_version.is_some_and(|expected| expected != version.unsigned_abs()) {
            return Err(Error::Stale { what: "draft", name: id.to_owned() });
        }
        sqlx::query("UPDATE drafts SET data = $1, version = version + 1, updated_at = $2 WHERE id = $3")
            .bind(data.to_string())
            .bind(Timestamp::now().as_millis())
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.draft_written(id.to_owned(), writer).await
    }

    /// Keeps a login that succeeded.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn log_draft_in(&self, id: &str, login: &DraftLogin) -> Result<Draft, Error> {
        let mut writer = self.writer().await;
        let sealed = writer.sealer.seal(place(id), &login.connection_string);
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let update = sqlx::query(
            "UPDATE drafts SET login = $1, hub_ca = $2, hub_endpoint = $3, version = version + 1, updated_at = $4 \
             WHERE id = $5",
        );
        let update = update.bind(login.found.to_string()).bind(&login.hub_ca).bind(&login.hub_endpoint);
        if update.bind(Timestamp::now().as_millis()).bind(id).execute(&mut *tx).await?.rows_affected() == 0 {
            return Err(not_found(id));
        }
        let sql = "INSERT INTO draft_secrets (id, connection_string) VALUES ($1, $2) \
                   ON CONFLICT (id) DO UPDATE SET connection_string = excluded.connection_string";
        sqlx::query(sql).bind(id).bind(sealed).execute(&mut *tx).await?;
        tx.commit().await?;
        self.draft_written(id.to_owned(), writer).await
    }

    /// The connection string of a draft, once there was a login.
    ///
    /// # Errors
    /// When it does not open.
    pub async fn draft_connection_string(&self, id: &str) -> Result<Option<SecretString>, Error> {
        let select = sqlx::query_scalar("SELECT connection_string FROM draft_secrets WHERE id = $1").bind(id);
        let sealed: Option<Vec<u8>> = select.fetch_optional(self.readers()).await?;
        Ok(sealed.map(|sealed| self.open_sealed(place(id), &sealed)).transpose()?)
    }

    /// Forgets a draft.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn remove_draft(&self, id: &str) -> Result<(), Error> {
        let delete = sqlx::query("DELETE FROM drafts WHERE id = $1").bind(id);
        match delete.execute(&mut *self.writer().await.connection).await?.rows_affected() {
            0 => Err(not_found(id)),
            _ => Ok(()),
        }
    }

    /// The draft as it was just written, read before anybody else writes.
    async fn draft_written(&self, id: String, mut writer: Writer<'_>) -> Result<Draft, Error> {
        let row = sqlx::query("SELECT * FROM drafts WHERE id = $1").bind(&id);
        row.fetch_optional(&mut *writer.connection).await?.as_ref().map_or_else(|| Err(not_found(&id)), read)
    }
}

fn place(id: &str) -> Place<'_> {
    Place { table: "draft_secrets", row: id, column: "connection_string" }
}

fn read(row: &SqliteRow) -> Result<Draft, Error> {
    let row = Row { table: "drafts", row };
    let login = row.get::<Option<&str>>("login")?.map(serde_json::from_str).transpose();
    Ok(Draft {
        id: row.get("id")?,
        data: row.json("data")?,
        login: login.map_err(|error| row.corrupt(format!("login: {error}")))?,
        hub_ca: row.get("hub_ca")?,
        hub_endpoint: row.get("hub_endpoint")?,
        version: row.count("version")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

fn not_found(id: &str) -> Error {
    Error::NotFound { what: "draft", name: id.to_owned() }
}

#[cfg(test)]
mod tests;
