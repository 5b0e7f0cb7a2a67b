//! The relay: it takes what the journal holds and brings it to the hubs, each signal as its own device, in order, at least
//! once; what a hub refuses for good becomes a dead letter with its reason.
//!
//! It does not listen, route MQTT, or know a packet format: signals come from the journal, and go up through `iothub`.
//! In reading order, which is the order a signal takes:
//!
//! - [`relay`], [`options`]: start and stop; `supervisor`: who owns the tasks;
//! - [`handle`]: what the API and the CLI ask and order; [`status`], [`deliveries`]: what they are told;
//! - `dealer`: the reader of one integration, which deals signals to lanes, catches up detached ones, and saves progress;
//! - `lane`: one device in one integration: a queue, and a task with one unsettled transfer;
//! - [`message`]: a record as a device-to-cloud message;
//! - `hub`: what lanes of one hub share: connections, memory budget, governor, whether the hub is away;
//! - [`trace`]: where a signal is and was;
//! - [`finding`]: what a refusal means for the lane; `backoff`: how long to wait; `suspicions`: what lanes tell of identities;
//! - `plan`, `ledger`, `records`: what the data plane needs of registry and journal;
//! - [`provision`]: integrations and their identities made, edited, healed and removed.

mod backoff;
mod dead_letters;
mod dealer;
pub mod deliveries;
pub mod error;
pub mod finding;
pub mod handle;
mod hub;
mod lane;
mod lanes;
mod ledger;
pub mod message;
pub mod options;
mod over;
mod plan;
pub mod preview;
pub mod provision;
mod pulse;
mod records;
pub mod relay;
mod shared;
pub mod status;
pub mod summary;
mod supervisor;
mod suspicions;
#[cfg(test)]
mod tests;
pub mod trace;
mod trials;
mod usage;

pub use deliveries::{Delivery, DeliveryEvent, DeliveryState};
pub use error::{RelayError, StartError};
pub use finding::Finding;
pub use handle::RelayHandle;
pub use hub::{Governors, PaceShown};
pub use hubward_iothub::sas::Lifetime as TokenLifetime;
pub use lanes::Lanes;
pub use options::{Options, Timing};
pub use preview::{MessagePreview, preview};
pub use relay::Relay;
pub use status::{DeviceStatus, HubStatus, IntegrationStatus, RetryReport, TestResult};
pub use summary::{Cause, HubShown, IntegrationSummary};
pub use trace::{TraceAnswer, TracedDelivery};
