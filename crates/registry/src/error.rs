//! What callers may branch on, and how each refusal is explained.

use std::path::PathBuf;

use hubward_model::Problem;

use crate::seal::SealError;

/// Why the registry could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing.
    #[error("there is no {what} {name:?}")]
    NotFound {
        /// Device, integration, binding, dead letter, alarm, webhook, draft, user, API token, pending deletion.
        what: &'static str,
        /// What was looked for.
        name: String,
    },
    /// Another one has this name.
    #[error("the {what} {name:?} is taken")]
    NameTaken {
        /// What was to be named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Another binding sends as this hub device already.
    #[error("the hub device id {hub_device_id:?} on {host} is used by the integration {integration:?}")]
    HubDeviceIdTaken {
        /// Host name of the hub.
        host: String,
        /// The id.
        hub_device_id: String,
        /// Name of the integration that uses it.
        integration: String,
    },
    /// The device is in the integration already.
    #[error("the device {device:?} is in the integration {integration:?} already")]
    AlreadyBound {
        /// Name of the integration.
        integration: String,
        /// Name of the device.
        device: String,
    },
    /// The device cannot go while integrations hold it.
    #[error("the device {device:?} is still in: {}", integrations.join(", "))]
    DeviceBound {
        /// Name of the device.
        device: String,
        /// Names of the integrations.
        integrations: Vec<String>,
    },
    /// It was changed, or is being removed, since the caller looked.
    #[error("the {what} {name:?} was changed by somebody else")]
    Stale {
        /// What was to be changed.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There are as many as there may be.
    #[error("there are {most} {what} already, which is the most")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many there may be.
        most: u64,
    },
    /// Nobody would be left who may do everything.
    #[error("{name:?} is the last administrator")]
    LastAdmin {
        /// The name of the user.
        name: String,
    },
    /// There is a user already.
    #[error("the first user was made already")]
    SetupDone,
    /// A setup token that is not the newest.
    #[error("the setup token is not the one that the server printed last")]
    SetupTokenWrong,
    /// Another device has the same secret or token.
    #[error("another device has this {what} already")]
    CredentialTaken {
        /// Device token or user name.
        what: &'static str,
    },
    /// A credential that cannot be one.
    #[error("the {field} {reason}")]
    BadCredential {
        /// The field to blame.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A secret could not be opened.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// A key file could not be written.
    #[error(transparent)]
    Key(#[from] crate::key::KeyError),
    /// What is stored makes no sense.
    #[error("the table {table} holds a damaged row {row:?}: {reason}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// Id of the row.
        row: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database failed.
    #[error("the registry's database failed: {0}")]
    Storage(#[from] sqlx::Error),
}

impl Error {
    /// The same with a code, a remedy and the field to blame.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let message = self.to_string();
        match self {
            Self::NotFound { what, .. } => Problem::new("not_found", message, format!("list what there is; check the {what}'s name or id")),
            Self::NameTaken { .. } => Problem::new("name_taken", message, "choose another name").with_field("name"),
            Self::HubDeviceIdTaken { .. } => Problem::new(
                "hub_device_id_taken",
                message,
                "one identity of a hub belongs to one device in one integration: give another id (--device NAME=HUB_ID) or another template",
            )
            .with_field("device"),
            Self::AlreadyBound { .. } => Problem::new("already_bound", message, "leave the device out").with_field("device"),
            Self::DeviceBound { .. } => Problem::new("device_bound", message, "remove the device from these integrations first"),
            Self::Stale { .. } => Problem::new("stale", message, "look at it again, then repeat the change"),
            Self::TooMany { what, .. } => Problem::new("too_many", message, format!("remove some {what} first")),
            Self::LastAdmin { .. } => Problem::new("last_admin", message, "make somebody else administrator first"),
            Self::SetupDone => Problem::new("setup_done", message, "log in; whoever has no password asks an administrator"),
            Self::SetupTokenWrong => Problem::new(
                "setup_token_wrong",
                message,
                "open the link that 'hubward up' printed at its last start; each start prints a new one",
            )
            .with_field("token"),
            Self::CredentialTaken { what } => {
                Problem::new("credential_taken", message, "remove or rotate the device that has it").with_field(field_of(what))
            }
            Self::BadCredential { field, .. } => {
                let remedy = match *field {
                    "token" => "a device token is a UUID in text, for example 9f262000-1111-4222-8333-444455556666",
                    "username" => "use 1 to 99 printable ASCII characters",
                    _ => "give another one",
                };
                Problem::new("bad_credential", message, remedy).with_field(field)
            }
            Self::Sealed(_) => Problem::new("sealed", message, "start with the master key that belongs to this data folder, or restore both from one backup"),
            Self::Key(error) => error.problem(),
            Self::Corrupt { .. } | Self::Storage(_) => {
                Problem::new("storage", message, "look at the log for the cause; check the disk and the rights of the data folder")
            }
        }
    }
}

fn field_of(what: &str) -> &'static str {
    if what == "user name" { "username" } else { "token" }
}

/// Why the registry could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Secrets are sealed, and their key is not here.
    #[error("the secrets in {} are sealed under the master key {key_id}, which is not in {}", database.display(), file.display())]
    KeyMissing {
        /// The database.
        database: PathBuf,
        /// Id of the key that is needed.
        key_id: String,
        /// The key file that was looked at.
        file: PathBuf,
    },
    /// Secrets are sealed under another key than the one given.
    #[error("the secrets in {} are sealed under the master key {wanted}, but {given} was given", database.display())]
    WrongKey {
        /// The database.
        database: PathBuf,
        /// Id of the key that is needed.
        wanted: String,
        /// Ids of the keys that were given.
        given: String,
    },
    /// What was given as a master key is none, or its file cannot be used.
    #[error(transparent)]
    Key(#[from] crate::key::KeyError),
    /// A newer Hubward wrote this database.
    #[error("{} was written by a newer Hubward (schema {found}, this one knows up to {known})", database.display())]
    Newer {
        /// The database.
        database: PathBuf,
        /// Schema version found.
        found: i64,
        /// Newest version this program knows.
        known: i64,
    },
    /// A data key does not open under its own master key.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// The database cannot be created, opened or migrated.
    #[error("cannot open the registry {}", database.display())]
    Storage {
        /// The database.
        database: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    /// The same with a code and a remedy.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let message = self.to_string();
        match self {
            Self::KeyMissing { key_id, file, .. } => Problem::new(
                "key_missing",
                message,
                format!(
                    "put the key {key_id} back at {} (or give it in HUBWARD_MASTER_KEY); no new one is made, for it could open nothing",
                    file.display()
                ),
            ),
            Self::WrongKey { wanted, .. } => {
                Problem::new("wrong_master_key", message, format!("give the key {wanted}"))
            }
            Self::Key(error) => error.problem(),
            Self::Newer { .. } => Problem::new(
                "newer_registry",
                message,
                "start the newer Hubward, or restore a backup made with this one",
            ),
            Self::Sealed(_) => Problem::new("sealed", message, "restore the data folder and its key from one backup"),
            Self::Storage { .. } => {
                Problem::new("storage", message, "check that the folder exists, is writable and has room")
            }
        }
    }
}
