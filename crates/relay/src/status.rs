//! What the relay says of itself.

use hubward_model::{BindingState, DeviceId, IntegrationState, MessageId, Problem, Timestamp};
use hubward_registry::Integration;
use serde::Serialize;

/// An integration: what the registry has, and how it runs.
#[derive(Debug, Clone)]
pub struct IntegrationStatus {
    /// The registry's entry.
    pub integration: Integration,
    /// Its state now: `waiting` and `attention` are found while running, the others are the registry's.
    pub state: IntegrationState,
    /// What last went wrong with the whole of it.
    pub last_error: Option<String>,
    /// Its hub.
    pub hub: HubStatus,
    /// Its devices, by device id.
    pub devices: Vec<DeviceStatus>,
}

/// A hub as an integration reaches it.
#[derive(Debug, Clone, Default)]
pub struct HubStatus {
    /// Open connections.
    pub connections: usize,
    /// Lanes of this integration whose link is attached.
    pub attached: usize,
    /// Since when no connection can be opened.
    pub away_since: Option<Timestamp>,
    /// Whether all lanes are slowed or wait because the hub said so.
    pub throttled: bool,
    /// The hub says that it is suspended, disabled or gone.
    pub suspended: bool,
    /// The last trouble with it.
    pub last_error: Option<String>,
}

/// A device in an integration.
#[derive(Debug, Clone)]
pub struct DeviceStatus {
    /// The device.
    pub device: DeviceId,
    /// What the hub knows it as.
    pub hub_device_id: String,
    /// Hubward made the identity.
    pub made_by_us: bool,
    /// Its state.
    pub state: BindingState,
    /// Whether its link is attached.
    pub attached: bool,
    /// Accepted by the hub since the binding was made.
    pub delivered: u64,
    /// Signals neither accepted nor dead-lettered.
    pub backlog: u64,
    /// Its dead letters in this integration.
    pub dead_letters: u64,
    /// What last went wrong.
    pub last_error: Option<String>,
}

/// What became of the test message of one device.
#[derive(Debug, Clone, Serialize)]
pub struct TestResult {
    /// The device.
    pub device: DeviceId,
    /// The hub took it.
    pub accepted: bool,
    /// Its id at the hub.
    pub message_id: Option<MessageId>,
    /// From receipt to the hub's word.
    pub delay_ms: Option<u64>,
    /// Why it was not accepted.
    pub error: Option<String>,
}

/// What became of dead letters sent again.
#[derive(Debug, Clone, Default)]
pub struct RetryReport {
    /// Accepted by the hub, and no longer dead letters.
    pub done: u64,
    /// The others: id and why.
    pub failed: Vec<(String, Problem)>,
}
