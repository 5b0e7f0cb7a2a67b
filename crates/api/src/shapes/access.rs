//! Users, sessions, API tokens, the audit log.

use hubward_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// An API token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it may do: `read`, `operate`, `admin`, `metrics`, `publish:FILTER`, `subscribe:FILTER`.
    pub scopes: Vec<String>,
    /// When it was made.
    #[schema(value_type = words::Timestamp)]
    pub created_at: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = Option<words::Timestamp>)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to a minute.
    #[serde(default)]
    #[schema(value_type = Option<words::Timestamp>)]
    pub last_used_at: Option<Timestamp>,
}

/// A token to make.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its name: 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// What it may do: `read`, `operate`, `admin`, `metrics`, `publish:FILTER`, `subscribe:FILTER`.
    #[schema(min_items = 1)]
    pub scopes: Vec<String>,
    /// After how many seconds it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub expires_in: Option<u64>,
}

/// A token that was just made; the secret is shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenMade {
    /// The token.
    #[serde(flatten)]
    pub row: TokenRow,
    /// Its secret.
    pub token: String,
}

/// A user.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UserRow {
    /// Their name.
    pub name: String,
    /// What they may do.
    #[schema(value_type = words::Role)]
    pub role: String,
    /// When they were added.
    #[schema(value_type = words::Timestamp)]
    pub created_at: Timestamp,
    /// When they logged in last.
    #[schema(value_type = Option<words::Timestamp>)]
    pub last_login_at: Option<Timestamp>,
}

/// A user to add.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Their name: 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// Their password: at least 10 characters.
    #[schema(min_length = 10, max_length = 1024)]
    pub password: String,
    /// What they may do; `viewer` if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Role>)]
    pub role: Option<String>,
}

/// What to change of a user.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserEdit {
    /// What they may do.
    #[schema(value_type = words::Role)]
    pub role: String,
}

/// A new password.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// It: at least 10 characters.
    #[schema(min_length = 10, max_length = 1024)]
    pub password: String,
}

/// A new password of one's own.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnPassword {
    /// The present one.
    pub old: String,
    /// The new one: at least 10 characters.
    #[schema(min_length = 10, max_length = 1024)]
    pub new: String,
}

/// Whether the first user is still to be made.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct SetupState {
    /// There is no user yet: the link that the server printed makes one.
    pub needed: bool,
}

/// The first user, who may do everything.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// The token of the link that the server printed at its start.
    pub token: String,
    /// Their name: 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// Their password: at least 10 characters.
    #[schema(min_length = 10, max_length = 1024)]
    pub password: String,
}

/// Who logs in.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// Their name.
    pub name: String,
    /// Their password.
    pub password: String,
}

/// Who asks, and what they may.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SessionShow {
    /// The user who is logged in; none for a token.
    pub user: Option<SessionUser>,
    /// The name of the token that asks; none for a user.
    pub token: Option<String>,
    /// `read`, `operate`, `admin`, or `metrics`; none: nothing here.
    pub scope: Option<String>,
    /// What the header `X-CSRF-Token` must carry in requests that may change something.
    pub csrf: Option<String>,
    /// When the session began.
    #[schema(value_type = Option<words::Timestamp>)]
    pub created_at: Option<Timestamp>,
    /// When it ends, however much it is used.
    #[schema(value_type = Option<words::Timestamp>)]
    pub expires_at: Option<Timestamp>,
    /// After how many seconds without a request it ends.
    pub idle_seconds: Option<u64>,
    /// Passwords and cookies can be read on the way: the server speaks HTTP to other machines.
    pub insecure: bool,
}

/// The user of a session.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SessionUser {
    /// Their name.
    pub name: String,
    /// What they may do.
    #[schema(value_type = words::Role)]
    pub role: String,
}

/// A session in the list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// When it began.
    #[schema(value_type = words::Timestamp)]
    pub created_at: Timestamp,
    /// When it was last used, to a minute.
    #[schema(value_type = words::Timestamp)]
    pub last_used_at: Timestamp,
    /// When it ends, however much it is used.
    #[schema(value_type = words::Timestamp)]
    pub expires_at: Timestamp,
    /// The address they logged in from.
    pub remote: Option<String>,
    /// What their browser calls itself.
    pub user_agent: Option<String>,
    /// It is the one that asks.
    pub current: bool,
}

/// An entry of the audit log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditRow {
    /// Its id.
    pub id: String,
    /// When.
    #[schema(value_type = words::Timestamp)]
    pub at: Timestamp,
    /// The user, the token, or the part of the server that did it.
    pub who: String,
    /// `session`, `token`, or none for the server itself.
    pub via: Option<String>,
    /// The address they asked from.
    pub remote: Option<String>,
    /// What was done, such as `integration.remove`.
    pub what: String,
    /// To what: a name or an id.
    pub subject: String,
    /// More about it.
    pub detail: serde_json::Value,
}

/// A token that was revoked.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenRevoked {
    /// Its name or id, as it was asked for.
    pub revoked: String,
}

/// A user who was removed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UserRemoved {
    /// Their name.
    pub removed: String,
}

/// A user whose password was changed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PasswordChanged {
    /// Their name.
    pub changed: String,
}
