//! Who connects, and what they may do. The broker asks; the user of this crate answers.

use std::fmt;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use hubward_model::DeviceId;
use hubward_mqtt::{TopicError, TopicFilter, Version};
use secrecy::{ExposeSecret, SecretString};

/// Knows the clients.
pub trait Authenticator: Send + Sync + 'static {
    /// Who is this, and what may they do? Answered within [`Options::auth_timeout`](crate::Options::auth_timeout), or
    /// the client is told to come back.
    fn authenticate(&self, login: Login) -> BoxFuture<'_, Result<Grant, Refusal>>;

    /// The device whose secret `token` is; from memory, because it is asked for topic levels while reading.
    fn device_of_token(&self, token: &str) -> Option<DeviceId>;
}

/// What a client says of itself. `Debug` shows no client id: a Pycom device's is its secret.
#[derive(Clone)]
pub struct Login {
    /// The client id.
    pub client_id: String,
    /// The user name.
    pub username: Option<String>,
    /// The password; one that is not UTF-8 never gets here.
    pub password: Option<SecretString>,
    /// Where it connects from.
    pub peer: SocketAddr,
    /// The version it speaks.
    pub version: Version,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("peer", &self.peer).field("version", &self.version).finish_non_exhaustive()
    }
}

/// What an accepted client is and may do.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Whose sessions and messages these are.
    pub owner: Owner,
    /// How it speaks.
    pub kind: ClientKind,
    /// Where it may publish, as on the wire.
    pub publish: Vec<TopicFilter>,
    /// What it may subscribe to, as on the wire.
    pub subscribe: Vec<TopicFilter>,
}

impl Grant {
    /// An ordinary device: `devices/{id}/signals/#` up (or its own list of filters), `devices/{id}/commands/#` down.
    ///
    /// # Errors
    /// None for an id of ours; ids are topic levels.
    pub fn device(id: &DeviceId, uplink: Vec<TopicFilter>) -> Result<Self, TopicError> {
        let publish = if uplink.is_empty() { vec![format!("devices/{id}/signals/#").parse()?] } else { uplink };
        Ok(Self {
            owner: Owner::Device(id.clone()),
            kind: ClientKind::Mqtt,
            publish,
            subscribe: vec![format!("devices/{id}/commands/#").parse()?],
        })
    }

    /// A device with Pycom's firmware: `u{token}` and below up, `d{token}` down.
    ///
    /// # Errors
    /// The token cannot stand in a topic.
    pub fn pycom(id: &DeviceId, token: SecretString) -> Result<Self, TopicError> {
        let text = token.expose_secret();
        Ok(Self {
            owner: Owner::Device(id.clone()),
            publish: vec![format!("u{text}/#").parse()?],
            subscribe: vec![format!("d{text}").parse()?],
            kind: ClientKind::Pycom { token },
        })
    }

    /// An app with an API token's scope.
    #[must_use]
    pub fn app(token_id: impl Into<String>, publish: Vec<TopicFilter>, subscribe: Vec<TopicFilter>) -> Self {
        Self { owner: Owner::App(token_id.into()), kind: ClientKind::App, publish, subscribe }
    }
}

/// Whose a session is. A client id alone gives nobody anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A device.
    Device(DeviceId),
    /// An app, by the public id of its API token.
    App(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(id) => write!(f, "device {id}"),
            Self::App(id) => write!(f, "app {id}"),
        }
    }
}

/// How a client speaks.
#[derive(Debug, Clone)]
pub enum ClientKind {
    /// A device by the book.
    Mqtt,
    /// Pycom's firmware.
    Pycom {
        /// Its secret, which is its client id, its password, and part of its topics.
        token: SecretString,
    },
    /// An app.
    App,
}

/// Why a client may not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Unknown, or the wrong secret.
    #[error("wrong user name or password")]
    BadCredentials,
    /// Known, but not allowed in.
    #[error("not allowed")]
    NotAuthorized,
    /// It cannot be told now.
    #[error("logins cannot be checked now")]
    Unavailable,
}
