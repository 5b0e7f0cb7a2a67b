//! Answers to creates, kept a day, so that a client that heard no answer may ask again without making two.

use std::time::Duration;

use hubward_model::Timestamp;
use secrecy::SecretString;
use sqlx::Connection as _;

use crate::row::Row;
use crate::seal::Place;
use crate::store::Writer;
use crate::{Error, Registry, random};

/// How long an answer is kept.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// An answer that was given.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// Hash of the request it answered.
    pub fingerprint: [u8; 32],
    /// The answer, in the caller's own form.
    pub answer: SecretString,
}

fn place(id: &str) -> Place<'_> {
    Place { table: "idempotency", row: id, column: "answer" }
}

impl Registry {
    /// The answer that `caller` got under this key within the last day.
    ///
    /// # Errors
    /// When the database fails or the answer does not open.
    pub async fn remembered(&self, caller: &str, key: &str) -> Result<Option<Remembered>, Error> {
        let sql = "SELECT id, fingerprint, answer FROM idempotency \
                   WHERE caller = $1 AND idempotency_key = $2 AND created_at > $3";
        let select = sqlx::query(sql).bind(caller).bind(key).bind(oldest());
        let Some(row) = select.fetch_optional(self.readers()).await? else { return Ok(None) };
        let row = Row { table: "idempotency", row: &row };
        let fingerprint = row.get::<&[u8]>("fingerprint")?.try_into();
        Ok(Some(Remembered {
            fingerprint: fingerprint.map_err(|_| row.corrupt("fingerprint: not 32 bytes".to_owned()))?,
            answer: self.open_sealed(place(row.get("id")?), row.get("answer")?)?,
        }))
    }

    /// Keeps an answer for a day; the first one given under a key stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remember(
        &self,
        caller: &str,
        key: &str,
        fingerprint: &[u8; 32],
        answer: &SecretString,
    ) -> Result<(), Error> {
        let Writer { mut connection, sealer } = self.writer().await;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM idempotency WHERE created_at <= $1").bind(oldest()).execute(&mut *tx).await?;
        let id = random::id();
        let sql = "INSERT INTO idempotency (id, caller, idempotency_key, fingerprint, answer, created_at) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (caller, idempotency_key) DO NOTHING";
        sqlx::query(sql)
            .bind(&id)
            .bind(caller)
            .bind(key)
            .bind(fingerprint.as_slice())
            .bind(sealer.seal(place(&id), answer))
            .bind(Timestamp::now().as_millis())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Answers of this time and before are forgotten.
fn oldest() -> i64 {
    let day = i64::try_from(KEPT_FOR.as_millis()).unwrap_or(i64::MAX);
    Timestamp::now().as_millis().saturating_sub(day)
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret as _, SecretString};

    use crate::testing::registry;

    #[tokio::test]
    async fn the_first_answer_is_kept_for_its_caller_and_opens_after_a_rotation() {
        let (registry, _folder) = registry().await;
        let answer = |text: &str| SecretString::from(text.to_owned());
        registry.remember("ann", "k", &[1; 32], &answer("first")).await.unwrap();
        registry.remember("ann", "k", &[2; 32], &answer("second")).await.unwrap();
        registry.rotate_keys().await.unwrap();
        let found = registry.remembered("ann", "k").await.unwrap().unwrap();
        assert_eq!((found.fingerprint, found.answer.expose_secret()), ([1; 32], "first"));
        assert!(registry.remembered("bob", "k").await.unwrap().is_none());
        assert!(registry.remembered("ann", "other").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_answer_is_forgotten_after_a_day() {
        let (registry, _folder) = registry().await;
        let answer = SecretString::from("first");
        registry.remember("ann", "k", &[1; 32], &answer).await.unwrap();
        let age = "UPDATE idempotency SET created_at = created_at - 86400000";
        sqlx::query(age).execute(&mut *registry.writer().await.connection).await.unwrap();
        assert!(registry.remembered("ann", "k").await.unwrap().is_none());
        registry.remember("ann", "k", &[2; 32], &answer).await.unwrap();
        assert_eq!(registry.remembered("ann", "k").await.unwrap().unwrap().fingerprint, [2; 32]);
    }
}
