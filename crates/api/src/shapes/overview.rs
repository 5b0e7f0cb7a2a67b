//! The overview, and hubs.

use hubward_model::{Tier, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::words;

use super::alarms::AlarmTotals;
use super::integrations::{Cause, IntegrationShow};

/// Everything at one look.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// Devices.
    pub devices: DeviceTotals,
    /// Signals received in the last hour.
    pub signals_last_hour: u64,
    /// Signals that wait for a hub.
    pub waiting: u64,
    /// When the oldest of them was received.
    #[schema(value_type = Option<words::Timestamp>)]
    pub oldest_waiting_at: Option<Timestamp>,
    /// Signals given up.
    pub dead_letters: u64,
    /// Alarms.
    #[serde(default)]
    pub alarms: AlarmTotals,
    /// When the server started.
    #[schema(value_type = words::Timestamp)]
    pub server_started_at: Timestamp,
    /// The disk.
    pub disk: Disk,
    /// Integrations by name, the first hundred.
    pub integrations: Vec<IntegrationShow>,
    /// How many there are.
    pub integrations_total: u64,
    /// The steps of a first start.
    pub first: FirstSteps,
}

/// How many devices there are.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeviceTotals {
    /// All.
    pub total: usize,
    /// Those with an open connection.
    pub connected: usize,
}

/// The disk that the journal is on.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Disk {
    /// Bytes that are left; null: the system does not say.
    pub free_bytes: Option<u64>,
    /// Bytes of the disk.
    pub total_bytes: Option<u64>,
    /// Bytes of signals on disk.
    pub journal_bytes: u64,
    /// What they may become.
    pub journal_limit_bytes: u64,
    /// `good`, `disk_full`, `limit_reached`, `read_only`, `failed` or `closed`.
    pub journal_health: String,
}

/// The steps of a first start; null: not yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct FirstSteps {
    /// The first device was added.
    pub device: Option<FirstStep>,
    /// The first device connected.
    pub connect: Option<FirstStep>,
    /// The first signal was durable.
    pub signal: Option<FirstStep>,
    /// The first integration was made.
    pub integration: Option<FirstStep>,
    /// A hub accepted the first signal.
    pub accepted: Option<FirstStep>,
}

/// A step that was reached.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FirstStep {
    /// When first.
    #[schema(value_type = words::Timestamp)]
    pub at: Timestamp,
    /// The device or integration it happened with: its name, or its id if it is gone.
    pub subject: String,
}

/// A hub, over all integrations that send to it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HubShow {
    /// Its host name.
    pub host_name: String,
    /// Names of the integrations that send to it.
    pub integrations: Vec<String>,
    /// Open connections.
    pub connections: usize,
    /// Links that are open, one a device.
    pub links: usize,
    /// Lanes: devices of running integrations.
    pub lanes: usize,
    /// Since when no connection can be opened.
    #[schema(value_type = Option<words::Timestamp>)]
    pub away_since: Option<Timestamp>,
    /// It asked us to slow down.
    pub throttled: bool,
    /// Why all lanes wait, if they do.
    pub holding: Option<Cause>,
    /// What it accepted from Hubward today.
    pub used_today: HubUsed,
    /// The last trouble with it.
    pub last_error: Option<String>,
    /// Seconds by which its clock is ahead of this machine's (negative: behind), as its registry last answered; none: it
    /// was not asked since the start.
    #[serde(default)]
    pub clock_offset_s: Option<i64>,
    /// When it said so.
    #[serde(default)]
    #[schema(value_type = Option<words::Timestamp>)]
    pub clock_seen_at: Option<Timestamp>,
    /// Its certificate is checked against a CA that was given with an integration, besides the authorities of the web.
    #[serde(default)]
    pub own_ca: bool,
    /// Send operations a second that Hubward keeps to; null: it was never refused as too fast, so there is no limit.
    #[serde(default)]
    pub sends_per_s: Option<f64>,
    /// The same of links that are opened.
    #[serde(default)]
    pub links_per_s: Option<f64>,
    /// Whether that follows from the hub's tier and units; else it is learned from refusals.
    #[serde(default)]
    pub pace_given: bool,
}

/// What a hub accepted from Hubward today. What others sent to it is not known here.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HubUsed {
    /// Messages.
    pub messages: u64,
    /// As the 4 KB meter counts them.
    pub units_4k: u64,
    /// What it will be at the end of the day if it goes on like this.
    pub forecast_units_4k: u64,
    /// How much of the day's messages that is; null: no integration says the hub's tier and units.
    #[serde(default)]
    pub quota: Option<HubQuota>,
    /// 00:00 UTC.
    #[schema(value_type = words::Timestamp)]
    pub since: Timestamp,
}

/// What a hub takes in a day, and how much of it Hubward used.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HubQuota {
    /// The hub's tier; where integrations on it say different ones, the one that takes least.
    #[schema(value_type = words::Tier)]
    pub tier: Tier,
    /// Its units.
    pub units: u32,
    /// Messages a day that they take.
    pub messages_per_day: u64,
    /// Used today, as the meter of this tier counts: pieces of 4 KB, of F1 of 0.5 KB.
    pub used: u64,
    /// The same in percent.
    pub used_percent: f64,
    /// What it will be in percent at the end of the day if it goes on like this.
    pub forecast_percent: f64,
}

/// The pauses of a hub were ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Reconnected {
    /// Of so many integrations.
    pub integrations: usize,
}
