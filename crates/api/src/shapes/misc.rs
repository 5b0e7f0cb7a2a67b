//! Tokens, users, keys, the journal, and the server itself.

use hubward_model::{Offset, Timestamp};
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
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    #[schema(value_type = words::Timestamp)]
    pub created_at: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = Option<words::Timestamp>)]
    pub expires_at: Option<Timestamp>,
}

/// A token to make.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// After how many seconds it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserRow {
    /// Their name.
    pub name: String,
    /// When they were added.
    pub created_at: Timestamp,
}

/// A user to add.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Their name.
    pub name: String,
    /// Their password.
    pub password: String,
}

/// A new password.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// It.
    pub password: String,
}

/// What a rotation of the keys did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeysRotated {
    /// The master key in use.
    pub master_key_id: String,
    /// Whether it is another one than before.
    pub master_key_changed: bool,
    /// The new data key.
    pub data_key_id: String,
    /// How many secrets were sealed again.
    pub resealed: u64,
}

/// The journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JournalInfo {
    /// Its id.
    pub id: String,
    /// This opening of it.
    pub epoch: String,
    /// The oldest record it still has.
    pub oldest: Offset,
    /// The end of what is durable.
    pub durable: Offset,
    /// Bytes on disk.
    pub bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// What `bytes` may become.
    pub limit_bytes: u64,
    /// Bytes that wait for their commit.
    pub pending_bytes: u64,
    /// Records committed since the server started.
    pub records: u64,
    /// Commits, one sync each, since then.
    pub commits: u64,
    /// Commits that failed, since then.
    pub failed_commits: u64,
}

/// What reading all of the journal found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JournalVerified {
    /// Each segment, oldest first.
    pub segments: Vec<SegmentVerified>,
    /// All records that can be read.
    pub records: u64,
    /// Nothing is damaged or missing.
    pub good: bool,
}

/// What was found in one segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SegmentVerified {
    /// Its file.
    pub file: String,
    /// Records that can be read.
    pub records: u64,
    /// Bytes of them and of what is damaged.
    pub bytes: u64,
    /// First offset it may hold.
    pub first: Offset,
    /// Exclusive end of its offsets.
    pub end: Offset,
    /// The header cannot be read; the records can without it.
    pub header_damaged: bool,
    /// Offsets that should be here and cannot be read.
    pub damage: Vec<serde_json::Value>,
}

/// The server and its addresses.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct About {
    /// Its version.
    pub version: String,
    /// MQTT in clear text, `HOST:PORT`.
    pub mqtt: Option<String>,
    /// MQTT over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtts: Option<String>,
    /// MQTT over WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ws: Option<String>,
    /// MQTT over WebSocket over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wss: Option<String>,
    /// The API, as URL.
    pub http: Option<String>,
    /// The data folder.
    pub data: String,
    /// This machine's addresses, for devices on the network.
    #[serde(default)]
    pub reachable_at: Vec<String>,
}

/// How the server is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// `ok` or `failing`.
    pub status: String,
    /// Part by part.
    pub checks: std::collections::BTreeMap<String, String>,
}
