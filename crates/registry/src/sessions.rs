//! Sessions of the console: who logged in, from where, and until when.

use std::time::Duration;

use hubward_model::Timestamp;
use secrecy::SecretString;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteRow;
use tokio::sync::watch;

use crate::devices::digest;
use crate::row::Row;
use crate::users::Role;
use crate::{Error, Registry, WithSecret, random};

/// Sessions of one person at a time: with one more, the oldest ends.
const SESSIONS_OF_ONE: i64 = 50;
/// How often the time of the last use is written down, at most.
const NOTE_USE_EVERY: Duration = Duration::from_secs(60);

/// A session, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// What they may do now.
    pub role: Role,
    /// When they logged in.
    pub created_at: Timestamp,
    /// When it was last used, to a minute.
    pub last_used_at: Timestamp,
    /// When it ends, however much it is used.
    pub expires_at: Timestamp,
    /// The address they logged in from.
    pub remote: Option<String>,
    /// What their browser calls itself.
    pub user_agent: Option<String>,
}

/// How long sessions last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// It ends when it is not used for so long.
    pub idle: Duration,
    /// It ends after this time in any case.
    pub lifetime: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(8 * 60 * 60), lifetime: Duration::from_secs(7 * 24 * 60 * 60) }
    }
}

/// The query for sessions that fit the condition, newest first.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT s.id, s.user_name, s.created_at, s.last_used_at, s.expires_at, s.remote, s.user_agent, u.role ",
            "FROM sessions s JOIN users u ON u.name = s.user_name WHERE ",
            $which,
            " ORDER BY s.created_at DESC, s.id"
        )
    };
}

impl Registry {
    /// Starts a session of a person who proved who they are; its secret is given this once.
    ///
    /// # Errors
    /// When there is no such person.
    pub async fn start_session(
        &self,
        user: &str,
        limits: SessionLimits,
        remote: Option<&str>,
        user_agent: Option<&str>,
    ) -> Result<WithSecret<Session>, Error> {
        let secret = random::secret("");
        let now = Timestamp::now();
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let noted = sqlx::query("UPDATE users SET last_login_at = $1 WHERE name = $2");
        if noted.bind(now.as_millis()).bind(user).execute(&mut *tx).await?.rows_affected() == 0 {
            return Err(Error::NotFound { what: "user", name: user.to_owned() });
        }
        let over = sqlx::query("DELETE FROM sessions WHERE expires_at <= $1 OR last_used_at <= $2");
        over.bind(now.as_millis()).bind(before(now, limits.idle).as_millis()).execute(&mut *tx).await?;
        let sql = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE user_name = $1 \
                   ORDER BY created_at DESC, id LIMIT -1 OFFSET $2)";
        sqlx::query(sql).bind(user).bind(SESSIONS_OF_ONE - 1).execute(&mut *tx).await?;
        let id = random::id();
        let sql = "INSERT INTO sessions (id, user_name, digest, created_at, last_used_at, expires_at, remote, user_agent) \
                   VALUES ($1, $2, $3, $4, $4, $5, $6, $7)";
        sqlx::query(sql)
            .bind(&id)
            .bind(user)
            .bind(digest(&secret).as_slice())
            .bind(now.as_millis())
            .bind(after(now, limits.lifetime).as_millis())
            .bind(remote)
            .bind(user_agent)
            .execute(&mut *tx)
            .await?;
        let row = sqlx::query(select!("s.id = $1")).bind(&id).fetch_one(&mut *tx).await?;
        let value = read(&row)?;
        tx.commit().await?;
        Ok(WithSecret { value, secret })
    }

    /// The session that this is the secret of, unless it ended. Counts as a use of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn use_session(&self, secret: &SecretString, limits: SessionLimits) -> Result<Option<Session>, Error> {
        let row = sqlx::query(select!("s.digest = $1"))
            .bind(digest(secret).as_slice())
            .fetch_optional(self.readers())
            .await?;
        let now = Timestamp::now();
        let Some(session) = row.as_ref().map(read).transpose()?.filter(|session| session.lasts(now, limits)) else {
            return Ok(None);
        };
        if session.last_used_at <= before(now, NOTE_USE_EVERY.min(limits.idle / 4)) {
            let update = sqlx::query("UPDATE sessions SET last_used_at = $1 WHERE id = $2");
            update.bind(now.as_millis()).bind(&session.id).execute(&mut *self.writer().await.connection).await?;
        }
        Ok(Some(session))
    }

    /// Whether a session lasts; asking is no use of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session_lasts(&self, id: &str, limits: SessionLimits) -> Result<bool, Error> {
        let row = sqlx::query(select!("s.id = $1")).bind(id).fetch_optional(self.readers()).await?;
        let session = row.as_ref().map(read).transpose()?;
        Ok(session.is_some_and(|session| session.lasts(Timestamp::now(), limits)))
    }

    /// The sessions that last, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sessions(&self, limits: SessionLimits) -> Result<Vec<Session>, Error> {
        let rows = sqlx::query(select!("1 = 1")).fetch_all(self.readers()).await?;
        let now = Timestamp::now();
        let sessions: Result<Vec<Session>, Error> = rows.iter().map(read).collect();
        Ok(sessions?.into_iter().filter(|session| session.lasts(now, limits)).collect())
    }

    /// Ends a session at once.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn end_session(&self, id: &str) -> Result<(), Error> {
        let delete = sqlx::query("DELETE FROM sessions WHERE id = $1").bind(id);
        if delete.execute(&mut *self.writer().await.connection).await?.rows_affected() == 0 {
            return Err(Error::NotFound { what: "session", name: id.to_owned() });
        }
        self.access_changed();
        Ok(())
    }

    /// Changes whenever a session, a user or a token was ended: time for long answers to ask again whether they may go on.
    #[must_use]
    pub fn access_changes(&self) -> watch::Receiver<u64> {
        self.inner.access_changes.subscribe()
    }

    pub(crate) fn access_changed(&self) {
        self.inner.access_changes.send_modify(|count| *count += 1);
    }
}

impl Session {
    fn lasts(&self, now: Timestamp, limits: SessionLimits) -> bool {
        now < self.expires_at && before(now, limits.idle) < self.last_used_at
    }
}

fn before(time: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_sub(millis(span)))
}

fn after(time: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_add(millis(span)))
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn read(row: &SqliteRow) -> Result<Session, Error> {
    let row = Row { table: "sessions", row };
    Ok(Session {
        id: row.get("id")?,
        user: row.get("user_name")?,
        role: row.word("role")?,
        created_at: row.time("created_at")?,
        last_used_at: row.time("last_used_at")?,
        expires_at: row.time("expires_at")?,
        remote: row.get("remote")?,
        user_agent: row.get("user_agent")?,
    })
}

#[cfg(test)]
mod tests;
