//! People who use the console.

use hubward_model::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use crate::row::Row;
use crate::{Error, Registry};

/// Shortest password of a person, in characters.
pub const MIN_PASSWORD_CHARS: usize = 8;
/// Longest name of a person, in characters.
const MAX_NAME_CHARS: usize = 64;

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Unique name.
    pub name: String,
    /// When it was added.
    pub created_at: Timestamp,
}

impl Registry {
    /// Adds a person.
    ///
    /// # Errors
    /// When the name is taken or cannot be one, or the password is too short.
    pub async fn add_user(&self, name: &str, password: &SecretString) -> Result<User, Error> {
        check_name(name)?;
        check_password(password)?;
        let phc = self.inner.logins.passwords.hash(password).await;
        let user = User { name: name.to_owned(), created_at: Timestamp::now() };
        let sql = "INSERT INTO users (name, phc, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
        let insert = sqlx::query(sql).bind(name).bind(phc).bind(user.created_at.as_millis());
        match insert.execute(&mut *self.writer().await.connection).await?.rows_affected() {
            0 => Err(Error::NameTaken { what: "user name", name: name.to_owned() }),
            _ => Ok(user),
        }
    }

    /// All people, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let rows = sqlx::query("SELECT name, created_at FROM users ORDER BY name").fetch_all(self.readers()).await?;
        let read = |row| {
            let row = Row { table: "users", row };
            Ok(User { name: row.get("name")?, created_at: row.time("created_at")? })
        };
        rows.iter().map(read).collect()
    }

    /// Removes a person.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn remove_user(&self, name: &str) -> Result<(), Error> {
        let delete = sqlx::query("DELETE FROM users WHERE name = $1").bind(name);
        found(name, delete.execute(&mut *self.writer().await.connection).await?.rows_affected())
    }

    /// Gives a person another password.
    ///
    /// # Errors
    /// When there is none of this name, or the password is too short.
    pub async fn set_password(&self, name: &str, password: &SecretString) -> Result<(), Error> {
        check_password(password)?;
        let phc = self.inner.logins.passwords.hash(password).await;
        let update = sqlx::query("UPDATE users SET phc = $1 WHERE name = $2").bind(phc).bind(name);
        found(name, update.execute(&mut *self.writer().await.connection).await?.rows_affected())
    }

    /// The person of this name, if the password is theirs. It takes as long for a name that is unknown.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn verify_user(&self, name: &str, password: &SecretString) -> Result<Option<User>, Error> {
        let select = sqlx::query("SELECT name, phc, created_at FROM users WHERE name = $1").bind(name);
        let row = select.fetch_optional(self.readers()).await?;
        let row = row.as_ref().map(|row| Row { table: "users", row });
        let phc = row.as_ref().map(|row| row.get("phc")).transpose()?;
        let right = self.inner.logins.passwords.verify(password, phc).await;
        match row {
            Some(row) if right => Ok(Some(User { name: row.get("name")?, created_at: row.time("created_at")? })),
            _ => Ok(None),
        }
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let refuse = |reason| Err(Error::BadCredential { field: "username", reason });
    match name.chars().count() {
        _ if name.trim() != name || name.is_empty() => refuse("is empty or has blanks around it"),
        length if length > MAX_NAME_CHARS => refuse("is too long: at most 64 characters"),
        _ if name.chars().any(char::is_control) => refuse("has control characters"),
        _ => Ok(()),
    }
}

fn check_password(password: &SecretString) -> Result<(), Error> {
    if password.expose_secret().chars().count() < MIN_PASSWORD_CHARS {
        return Err(Error::BadCredential { field: "password", reason: "is too short: at least 8 characters" });
    }
    Ok(())
}

fn found(name: &str, rows: u64) -> Result<(), Error> {
    if rows == 0 { Err(Error::NotFound { what: "user", name: name.to_owned() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use crate::Error;
    use crate::testing::registry;

    #[tokio::test]
    async fn a_person_logs_in_with_the_newest_password_alone() {
        let (registry, _folder) = registry().await;
        let (first, second) = (SecretString::from("first password"), SecretString::from("second password"));
        registry.add_user("ann", &first).await.unwrap();
        assert!(registry.verify_user("ann", &first).await.unwrap().is_some());
        registry.set_password("ann", &second).await.unwrap();
        assert!(registry.verify_user("ann", &first).await.unwrap().is_none());
        assert!(registry.verify_user("ann", &second).await.unwrap().is_some());
        assert!(registry.verify_user("bob", &second).await.unwrap().is_none());
        registry.remove_user("ann").await.unwrap();
        assert!(registry.verify_user("ann", &second).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_name_that_is_taken_and_a_short_password_are_refused() {
        let (registry, _folder) = registry().await;
        let password = SecretString::from("long enough");
        registry.add_user("ann", &password).await.unwrap();
        assert!(matches!(registry.add_user("ann", &password).await, Err(Error::NameTaken { .. })));
        assert!(matches!(registry.add_user(" bob", &password).await, Err(Error::BadCredential { .. })));
        let short = SecretString::from("short");
        assert!(matches!(registry.add_user("bob", &short).await, Err(Error::BadCredential { .. })));
        assert!(matches!(registry.set_password("bob", &password).await, Err(Error::NotFound { .. })));
        assert_eq!(registry.users().await.unwrap().len(), 1);
    }
}
