//! People who use the console.

use hubward_model::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::row::Row;
use crate::{Error, Registry, caps};

/// Shortest password of a person, in characters.
pub const MIN_PASSWORD_CHARS: usize = 10;
/// Longest name of a person, in characters.
const MAX_NAME_CHARS: usize = 64;

/// What a person may do; the larger includes the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// See everything but secrets.
    Viewer,
    /// Change devices, integrations and dead letters.
    Operator,
    /// Everything: users, tokens, keys.
    Admin,
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: use admin, operator or viewer")]
pub struct RoleError(String);

impl Role {
    /// All, the smallest first.
    pub const ALL: &'static [Self] = &[Self::Viewer, Self::Operator, Self::Admin];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = RoleError;

    fn from_str(word: &str) -> Result<Self, RoleError> {
        Self::ALL.iter().copied().find(|role| role.as_str() == word).ok_or_else(|| RoleError(word.to_owned()))
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Unique name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// When they were added.
    pub created_at: Timestamp,
    /// When they logged in last.
    pub last_login_at: Option<Timestamp>,
    /// Rises with every edit.
    pub version: u64,
}

impl Registry {
    /// Adds a person.
    ///
    /// # Errors
    /// When the name is taken or cannot be one, the password is too short, or there are as many as there may be.
    pub async fn add_user(&self, name: &str, password: &SecretString, role: Role) -> Result<User, Error> {
        let phc = self.check_user(name, password).await?;
        let mut writer = self.writer().await;
        caps::check(&mut writer.connection, "SELECT COUNT(*) FROM users", "users", caps::MAX_USERS).await?;
        insert(&mut writer.connection, name, &phc, role).await
    }

    /// All people, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let rows = sqlx::query("SELECT * FROM users ORDER BY name").fetch_all(self.readers()).await?;
        rows.iter().map(read).collect()
    }

    /// The person of this name.
    ///
    /// # Errors
    /// When there is none.
    pub async fn user(&self, name: &str) -> Result<User, Error> {
        let row = sqlx::query("SELECT * FROM users WHERE name = $1").bind(name).fetch_optional(self.readers()).await?;
        row.as_ref().map_or_else(|| Err(unknown(name)), read)
    }

    /// Removes a person; their sessions end.
    ///
    /// # Errors
    /// When there is none of this name, or nobody would be left who may do everything.
    pub async fn remove_user(&self, name: &str) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let user = one(&mut tx, name).await?;
        must_not_be_last(&mut tx, &user).await?;
        sqlx::query("DELETE FROM users WHERE name = $1").bind(name).execute(&mut *tx).await?;
        tx.commit().await?;
        self.access_changed();
        Ok(())
    }

    /// Gives a person another role, from their next request on.
    ///
    /// # Errors
    /// When there is none of this name, somebody else changed them since `expected_version`, or nobody would be left
    /// who may do everything.
    pub async fn set_role(&self, name: &str, expected_version: Option<u64>, role: Role) -> Result<User, Error> {
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let user = one(&mut tx, name).await?;
        if expected_version.is_some_and(|expected| expected != user.version) {
            return Err(Error::Stale { what: "user", name: name.to_owned() });
        }
        if role != Role::Admin {
            must_not_be_last(&mut tx, &user).await?;
        }
        let update = sqlx::query("UPDATE users SET role = $1, version = version + 1 WHERE name = $2");
        update.bind(role.as_str()).bind(name).execute(&mut *tx).await?;
        let user = one(&mut tx, name).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Gives a person another password, and ends their sessions but the one named `keep`.
    ///
    /// # Errors
    /// When there is none of this name, or the password is too short.
    pub async fn set_password(&self, name: &str, password: &SecretString, keep: Option<&str>) -> Result<(), Error> {
        check_password(password)?;
        let phc = self.inner.logins.passwords.hash(password).await;
        let mut writer = self.writer().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let update = sqlx::query("UPDATE users SET phc = $1, version = version + 1 WHERE name = $2");
        if update.bind(phc).bind(name).execute(&mut *tx).await?.rows_affected() == 0 {
            return Err(unknown(name));
        }
        let delete = sqlx::query("DELETE FROM sessions WHERE user_name = $1 AND id <> $2");
        delete.bind(name).bind(keep.unwrap_or_default()).execute(&mut *tx).await?;
        tx.commit().await?;
        self.access_changed();
        Ok(())
    }

    /// The person of this name, if the password is theirs. It takes as long for a name that is unknown.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn verify_user(&self, name: &str, password: &SecretString) -> Result<Option<User>, Error> {
        let select = sqlx::query("SELECT * FROM users WHERE name = $1").bind(name);
        let row = select.fetch_optional(self.readers()).await?;
        let phc = row.as_ref().map(|row| Row { table: "users", row }.get("phc")).transpose()?;
        let right = self.inner.logins.passwords.verify(password, phc).await;
        row.as_ref().filter(|_| right).map(read).transpose()
    }

    /// The hash to store, if a person may have this name and password.
    pub(crate) async fn check_user(&self, name: &str, password: &SecretString) -> Result<String, Error> {
        check_name(name)?;
        check_password(password)?;
        Ok(self.inner.logins.passwords.hash(password).await)
    }
}

pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    name: &str,
    phc: &str,
    role: Role,
) -> Result<User, Error> {
    let user = User { name: name.to_owned(), role, created_at: Timestamp::now(), last_login_at: None, version: 1 };
    let sql = "INSERT INTO users (name, phc, role, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING";
    let insert = sqlx::query(sql).bind(name).bind(phc).bind(role.as_str()).bind(user.created_at.as_millis());
    match insert.execute(connection).await?.rows_affected() {
        0 => Err(Error::NameTaken { what: "user name", name: name.to_owned() }),
        _ => Ok(user),
    }
}

async fn one(connection: &mut SqliteConnection, name: &str) -> Result<User, Error> {
    let row = sqlx::query("SELECT * FROM users WHERE name = $1").bind(name).fetch_optional(connection).await?;
    row.as_ref().map_or_else(|| Err(unknown(name)), read)
}

/// Somebody must be left who may add users and give roles.
async fn must_not_be_last(connection: &mut SqliteConnection, user: &User) -> Result<(), Error> {
    let others = sqlx::query_scalar("SELECT COUNT(*) FROM users WHERE role = 'admin' AND name <> $1");
    let others: i64 = others.bind(&user.name).fetch_one(connection).await?;
    if user.role == Role::Admin && others == 0 {
        return Err(Error::LastAdmin { name: user.name.clone() });
    }
    Ok(())
}

fn read(row: &SqliteRow) -> Result<User, Error> {
    let row = Row { table: "users", row };
    Ok(User {
        name: row.get("name")?,
        role: row.word("role")?,
        created_at: row.time("created_at")?,
        last_login_at: row.optional_time("last_login_at")?,
        version: row.get::<i64>("version")?.cast_unsigned(),
    })
}

fn check_name(name: &str) -> Result<(), Error> {
    let refuse = |reason| Err(Error::BadCredential { field: "name", reason });
    match name.chars().count() {
        _ if name.trim() != name || name.is_empty() => refuse("is empty or has blanks around it"),
        length if length > MAX_NAME_CHARS => refuse("is too long: at most 64 characters"),
        _ if name.chars().any(char::is_control) => refuse("has control characters"),
        _ => Ok(()),
    }
}

fn check_password(password: &SecretString) -> Result<(), Error> {
    if password.expose_secret().chars().count() < MIN_PASSWORD_CHARS {
        return Err(Error::BadCredential { field: "password", reason: "is too short: at least 10 characters" });
    }
    Ok(())
}

fn unknown(name: &str) -> Error {
    Error::NotFound { what: "user", name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::Role;
    use crate::Error;
    use crate::testing::registry;

    #[tokio::test]
    async fn a_person_logs_in_with_the_newest_password_alone() {
        let (registry, _folder) = registry().await;
        let (first, second) = (SecretString::from("first password"), SecretString::from("second password"));
        registry.add_user("ann", &first, Role::Viewer).await.unwrap();
        assert!(registry.verify_user("ann", &first).await.unwrap().is_some());
        registry.set_password("ann", &second, None).await.unwrap();
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
        registry.add_user("ann", &password, Role::Viewer).await.unwrap();
        let again = registry.add_user("ann", &password, Role::Admin).await;
        assert!(matches!(again, Err(Error::NameTaken { .. })));
        assert!(matches!(registry.add_user(" bob", &password, Role::Admin).await, Err(Error::BadCredential { .. })));
        let short = SecretString::from("short");
        assert!(matches!(registry.add_user("bob", &short, Role::Admin).await, Err(Error::BadCredential { .. })));
        assert!(matches!(registry.set_password("bob", &password, None).await, Err(Error::NotFound { .. })));
        assert_eq!(registry.users().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn somebody_who_may_do_everything_is_always_left() {
        let (registry, _folder) = registry().await;
        let password = SecretString::from("long enough");
        registry.add_user("ann", &password, Role::Admin).await.unwrap();
        registry.add_user("bob", &password, Role::Operator).await.unwrap();
        assert!(matches!(registry.remove_user("ann").await, Err(Error::LastAdmin { .. })));
        assert!(matches!(registry.set_role("ann", None, Role::Viewer).await, Err(Error::LastAdmin { .. })));
        registry.set_role("bob", None, Role::Admin).await.unwrap();
        assert_eq!(registry.set_role("ann", None, Role::Viewer).await.unwrap().role, Role::Viewer);
        registry.remove_user("ann").await.unwrap();
        assert!(matches!(registry.remove_user("bob").await, Err(Error::LastAdmin { .. })));
    }

    #[tokio::test]
    async fn a_role_is_changed_only_by_who_saw_the_newest() {
        let (registry, _folder) = registry().await;
        let seen = registry.add_user("ann", &SecretString::from("long enough"), Role::Viewer).await.unwrap();
        let changed = registry.set_role("ann", Some(seen.version), Role::Operator).await.unwrap();
        let late = registry.set_role("ann", Some(seen.version), Role::Admin).await;
        assert!(matches!(late, Err(Error::Stale { .. })));
        assert_eq!(registry.user("ann").await.unwrap(), changed);
    }
}
