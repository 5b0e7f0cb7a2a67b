//! The first start: a token that makes the first user, once.

use secrecy::SecretString;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use subtle::ConstantTimeEq as _;

use crate::devices::digest;
use crate::users::{Role, User};
use crate::{Error, Registry, random, users};

impl Registry {
    /// Whether there is no user yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn setup_needed(&self) -> Result<bool, Error> {
        let users: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(self.readers()).await?;
        Ok(users == 0)
    }

    /// A token that makes the first user; those given before are void. None when there is a user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn new_setup_token(&self) -> Result<Option<SecretString>, Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM setup_token").execute(&mut *tx).await?;
        let token = random::secret("");
        let needed = no_user(&mut tx).await?;
        if needed {
            let insert = sqlx::query("INSERT INTO setup_token (digest) VALUES ($1)");
            insert.bind(digest(&token).as_slice()).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(needed.then_some(token))
    }

    /// Makes the first user, who may do everything. The token is used up.
    ///
    /// # Errors
    /// When there is a user already, the token is not the newest, or name or password cannot be one.
    pub async fn set_up(&self, token: &SecretString, name: &str, password: &SecretString) -> Result<User, Error> {
        // Told before anything costly is done, and again where nobody can come between.
        if !self.setup_needed().await? {
            return Err(Error::SetupDone);
        }
        self.check_setup_token(token, &mut *self.readers().acquire().await?).await?;
        let phc = self.check_user(name, password).await?;
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        if !no_user(&mut tx).await? {
            return Err(Error::SetupDone);
        }
        self.check_setup_token(token, &mut tx).await?;
        let user = users::insert(&mut tx, name, &phc, Role::Admin).await?;
        sqlx::query("DELETE FROM setup_token").execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(user)
    }

    async fn check_setup_token(&self, token: &SecretString, connection: &mut SqliteConnection) -> Result<(), Error> {
        let stored: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT digest FROM setup_token").fetch_optional(connection).await?;
        if stored.is_some_and(|stored| stored.ct_eq(digest(token).as_slice()).into()) {
            return Ok(());
        }
        Err(Error::SetupTokenWrong)
    }
}

async fn no_user(connection: &mut SqliteConnection) -> Result<bool, Error> {
    let users: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(connection).await?;
    Ok(users == 0)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use crate::testing::registry;
    use crate::{Error, Role};

    #[tokio::test]
    async fn the_newest_setup_token_makes_one_admin_once() {
        let (registry, _folder) = registry().await;
        let password = SecretString::from("long enough");
        assert!(registry.setup_needed().await.unwrap());
        let old = registry.new_setup_token().await.unwrap().unwrap();
        let token = registry.new_setup_token().await.unwrap().unwrap();
        assert!(matches!(registry.set_up(&old, "ann", &password).await, Err(Error::SetupTokenWrong)));
        let short = SecretString::from("short");
        assert!(matches!(registry.set_up(&token, "ann", &short).await, Err(Error::BadCredential { .. })));
        assert_eq!(registry.set_up(&token, "ann", &password).await.unwrap().role, Role::Admin);
        assert!(matches!(registry.set_up(&token, "bob", &password).await, Err(Error::SetupDone)));
        assert!(!registry.setup_needed().await.unwrap());
        assert!(registry.new_setup_token().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn two_who_have_the_link_make_one_user() {
        let (registry, _folder) = registry().await;
        let password = SecretString::from("long enough");
        let token = registry.new_setup_token().await.unwrap().unwrap();
        let (ann, bob) =
            tokio::join!(registry.set_up(&token, "ann", &password), registry.set_up(&token, "bob", &password));
        assert!(ann.is_ok() != bob.is_ok(), "{ann:?} {bob:?}");
        assert_eq!(registry.users().await.unwrap().len(), 1);
    }
}
