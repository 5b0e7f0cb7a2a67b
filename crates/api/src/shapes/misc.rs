//! Keys, the journal, and the server itself.

use hubward_journal::{Damage, SegmentReport, VerifyReport};
use hubward_model::{Offset, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

/// What a rotation of the keys did.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
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

/// The keys in use.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeysShow {
    /// The master key's id.
    pub master_key_id: String,
    /// The file it lies in; none when it came from the environment.
    pub key_file: Option<String>,
}

/// A setting or a limit of the server, as it is in effect.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SettingShow {
    /// Its name, as the configuration file has it; words for what is built in.
    pub name: String,
    /// What is in effect; none: nothing is set.
    pub value: Option<String>,
    /// Who said so: `default`, the file, the variable or the flag; `built in` for what cannot be set.
    pub from: String,
    /// What it would be if nobody said anything; none: nothing.
    pub default: Option<String>,
    /// What it is, in a line.
    pub help: String,
    /// Whether it bounds something.
    pub limit: bool,
    /// The environment variable that sets it, if it can be set.
    pub variable: Option<String>,
}

/// The journal.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JournalInfo {
    /// Its id.
    pub id: String,
    /// This opening of it.
    pub epoch: String,
    /// The oldest record it still has.
    #[schema(value_type = words::Offset)]
    pub oldest: Offset,
    /// The end of what is durable.
    #[schema(value_type = words::Offset)]
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
    /// Whether it can be written: `ok`, `full`, `at-limit`, `read-only`, `failed` or `closed`.
    #[serde(default)]
    pub health: String,
    /// When the latest record was received, if there is one.
    #[serde(default)]
    #[schema(value_type = Option<words::Timestamp>)]
    pub newest_at: Option<Timestamp>,
    /// MQTT sessions, with a connection or without.
    #[serde(default)]
    pub sessions: u64,
    /// Who still needs records, and from where on, the neediest first. What everybody has passed goes when its history
    /// is over or the limit asks for it.
    #[serde(default)]
    pub pins: Vec<JournalPin>,
    /// Records kept aside for those who cannot take them now.
    #[serde(default)]
    pub holds: Vec<JournalHold>,
    /// Gaps that readers met because records are damaged on disk, since the server started.
    #[serde(default)]
    pub damaged_gaps: u64,
    /// Segments of which nothing could be read, set aside when the server started.
    #[serde(default)]
    pub set_aside: u64,
}

/// One who still needs records.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JournalPin {
    /// Who: an integration's id, or a part of the server.
    pub name: String,
    /// The first record it needs.
    #[schema(value_type = words::Offset)]
    pub from: Offset,
}

/// A file of records kept aside.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JournalHold {
    /// Its name: the integration's id.
    pub name: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Records in it, at most.
    pub records: u64,
}

/// What reading all of the journal found.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JournalVerified {
    /// Each segment, oldest first.
    pub segments: Vec<SegmentVerified>,
    /// All records that can be read.
    pub records: u64,
    /// Nothing is damaged or missing.
    pub good: bool,
    /// Files of segments of which nothing could be read, set aside at an earlier start.
    #[serde(default)]
    pub set_aside: Vec<String>,
}

impl From<VerifyReport> for JournalVerified {
    fn from(report: VerifyReport) -> Self {
        let missing = |gap: Damage| Missing { from: gap.from, to: gap.to, records: gap.records() };
        let segment = |segment: SegmentReport| SegmentVerified {
            file: segment.file,
            records: segment.records,
            bytes: segment.bytes,
            first: segment.first,
            end: segment.end,
            header_damaged: segment.header_damaged,
            damage: segment.damage.into_iter().map(missing).collect(),
        };
        Self {
            segments: report.segments.into_iter().map(segment).collect(),
            records: report.records,
            good: report.good,
            set_aside: report.set_aside,
        }
    }
}

/// What was found in one segment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SegmentVerified {
    /// Its file.
    pub file: String,
    /// Records that can be read.
    pub records: u64,
    /// Bytes of them and of what is damaged.
    pub bytes: u64,
    /// First offset it may hold.
    #[schema(value_type = words::Offset)]
    pub first: Offset,
    /// Exclusive end of its offsets.
    #[schema(value_type = words::Offset)]
    pub end: Offset,
    /// The header cannot be read; the records can without it.
    pub header_damaged: bool,
    /// Offsets that should be here and cannot be read.
    pub damage: Vec<Missing>,
}

/// Offsets that cannot be read.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Missing {
    /// The first.
    #[schema(value_type = words::Offset)]
    pub from: Offset,
    /// The first that can be read again.
    #[schema(value_type = words::Offset)]
    pub to: Offset,
    /// How many records that may be, at most.
    #[serde(default)]
    pub records: u64,
}

/// The server and its addresses.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
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
    /// Passwords and tokens can be read on the way: HTTP goes to other machines without TLS.
    #[serde(default)]
    pub insecure_http: bool,
    /// Hash of the API's description: its ETag.
    #[serde(default)]
    pub openapi: String,
    /// The host of the local hub inside this server; none: it runs none.
    #[serde(default)]
    pub local_hub: Option<String>,
}

/// How the server is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok` or `failing`.
    pub status: String,
    /// Part by part.
    pub checks: std::collections::BTreeMap<String, String>,
}
