//! API tokens: what scripts and apps prove themselves with.

use hubward_model::Timestamp;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::devices::{WithSecret, digest};
use crate::row::Row;
use crate::{Error, Registry, caps, random};

/// What a secret begins with, so that a scanner of repositories knows it.
const PREFIX: &str = "hubward_";

/// An API token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id.
    pub id: String,
    /// Its unique name.
    pub name: String,
    /// What it may do; the words belong to the API.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to a minute.
    pub last_used_at: Option<Timestamp>,
}

impl Registry {
    /// Makes a token; its secret is shown this once.
    ///
    /// # Errors
    /// When the name is taken or empty, or there are as many as there may be.
    pub async fn create_token(
        &self,
        name: &str,
        scopes: &[String],
        expires_at: Option<Timestamp>,
    ) -> Result<WithSecret<ApiToken>, Error> {
        if name.trim().is_empty() {
            return Err(Error::BadCredential { field: "name", reason: "is empty" });
        }
        let secret = random::secret(PREFIX);
        let digest = digest(&secret);
        let value = ApiToken {
            id: random::id(),
            name: name.to_owned(),
            scopes: scopes.to_vec(),
            created_at: Timestamp::now(),
            expires_at,
            last_used_at: None,
        };
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        caps::check(&mut tx, "SELECT COUNT(*) FROM api_tokens", "tokens", caps::MAX_TOKENS).await?;
        let inserted = sqlx::query(
            "INSERT INTO api_tokens (id, name, scopes, digest, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(&value.id)
        .bind(&value.name)
        .bind(serde_json::json!(value.scopes).to_string())
        .bind(digest.as_slice())
        .bind(value.created_at.as_millis())
        .bind(value.expires_at.map(Timestamp::as_millis))
        .execute(&mut *tx)
        .await?;
        if inserted.rows_affected() == 0 {
            return Err(Error::NameTaken { what: "token name", name: name.to_owned() });
        }
        let change = self.inner.logins.change();
        tx.commit().await?;
        change.put_app(digest, value.clone());
        Ok(WithSecret { value, secret })
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tokens(&self) -> Result<Vec<ApiToken>, Error> {
        let rows = sqlx::query("SELECT * FROM api_tokens ORDER BY name").fetch_all(self.readers()).await?;
        rows.iter().map(read).collect()
    }

    /// Ends a token at once.
    ///
    /// # Errors
    /// When there is none of this name or id.
    pub async fn revoke_token(&self, name_or_id: &str) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let select = sqlx::query_scalar("SELECT id FROM api_tokens WHERE name = $1 OR id = $1 ORDER BY name <> $1");
        let id: Option<String> = select.bind(name_or_id).fetch_optional(&mut *tx).await?;
        let id = id.ok_or_else(|| Error::NotFound { what: "token", name: name_or_id.to_owned() })?;
        sqlx::query("DELETE FROM api_tokens WHERE id = $1").bind(&id).execute(&mut *tx).await?;
        let change = self.inner.logins.change();
        tx.commit().await?;
        change.remove_app(&id);
        self.inner.logins.forget_use(&id);
        self.access_changed();
        Ok(())
    }

    /// Notes that a token was used; written down at most once a minute.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_token_use(&self, id: &str) -> Result<(), Error> {
        let now = Timestamp::now();
        if !self.inner.logins.note_use(id, now) {
            return Ok(());
        }
        let update = sqlx::query("UPDATE api_tokens SET last_used_at = $1 WHERE id = $2");
        update.bind(now.as_millis()).bind(id).execute(&mut *self.writer().await.connection).await?;
        Ok(())
    }

    /// All tokens by the hash of their secret, for the logins in memory.
    pub(crate) async fn token_entries(connection: &mut SqliteConnection) -> Result<Vec<([u8; 32], ApiToken)>, Error> {
        let rows = sqlx::query("SELECT * FROM api_tokens").fetch_all(connection).await?;
        let entry = |row| {
            let token = read(row)?;
            let row = Row { table: "api_tokens", row };
            let digest = row.get::<&[u8]>("digest")?.try_into();
            Ok((digest.map_err(|_| row.corrupt("digest: not 32 bytes".to_owned()))?, token))
        };
        rows.iter().map(entry).collect()
    }
}

fn read(row: &SqliteRow) -> Result<ApiToken, Error> {
    let row = Row { table: "api_tokens", row };
    Ok(ApiToken {
        id: row.get("id")?,
        name: row.get("name")?,
        scopes: row.json("scopes")?,
        created_at: row.time("created_at")?,
        expires_at: row.optional_time("expires_at")?,
        last_used_at: row.optional_time("last_used_at")?,
    })
}

#[cfg(test)]
mod tests {
    use hubward_model::Timestamp;
    use secrecy::SecretString;

    use crate::Error;
    use crate::testing::registry;

    #[tokio::test]
    async fn a_token_works_until_it_is_revoked() {
        let (registry, _folder) = registry().await;
        let made = registry.create_token("ci", &["admin".to_owned()], None).await.unwrap();
        assert_eq!(registry.verify_api_token(&made.secret).as_ref(), Some(&made.value));
        assert!(registry.verify_api_token(&SecretString::from("hubward_other")).is_none());
        assert!(matches!(registry.create_token("ci", &[], None).await, Err(Error::NameTaken { .. })));
        assert!(registry.verify_api_token(&made.secret).is_some(), "a refused change changes nothing");
        registry.revoke_token("ci").await.unwrap();
        assert!(registry.verify_api_token(&made.secret).is_none());
        assert!(matches!(registry.revoke_token("ci").await, Err(Error::NotFound { .. })));
    }

    #[tokio::test]
    async fn the_last_use_of_a_token_is_noted_and_others_hear_of_its_end() {
        let (registry, _folder) = registry().await;
        let made = registry.create_token("ci", &[], None).await.unwrap().value;
        assert_eq!(made.last_used_at, None);
        registry.note_token_use(&made.id).await.unwrap();
        let used = registry.tokens().await.unwrap()[0].last_used_at;
        assert!(used.is_some());
        registry.note_token_use(&made.id).await.unwrap();
        assert_eq!(registry.tokens().await.unwrap()[0].last_used_at, used, "not written again within the minute");
        let changes = registry.access_changes();
        registry.revoke_token("ci").await.unwrap();
        assert!(changes.has_changed().unwrap());
    }

    #[tokio::test]
    async fn a_token_ends_by_itself_when_it_expires() {
        let (registry, _folder) = registry().await;
        let past = Timestamp::from_millis(Timestamp::now().as_millis() - 1);
        let made = registry.create_token("old", &[], Some(past)).await.unwrap();
        assert!(registry.verify_api_token(&made.secret).is_none());
        assert_eq!(registry.tokens().await.unwrap(), [made.value]);
    }
}
