//! The words that all of Hubward's crates share.
//!
//! Nothing here does I/O, knows a packet format other than Pybytes frames, or knows Azure's wire.
//! In reading order:
//!
//! - [`ids`]: who is meant: devices and integrations, by ids made without coordination;
//! - [`time`]: one point in time, in milliseconds;
//! - [`position`]: where a record stands in the journal: [`Offset`], [`Epoch`], and the [`MessageId`] made of them;
//! - [`record`]: what the journal stores: [`Draft`] before, [`Record`] after it got its offset;
//! - [`names`]: what users may call things, refused with the reason;
//! - [`settings`]: the choices of an integration and the states shown for it; [`capacity`]: the size of its hub;
//! - [`problem`]: a refusal explained: code, what and why, what to do;
//! - [`pybytes`]: the frames of Pycom's firmware.

pub mod capacity;
pub mod ids;
pub mod names;
pub mod position;
pub mod problem;
pub mod pybytes;
pub mod record;
pub mod settings;
pub mod time;

pub use capacity::{Capacity, UnitsError};
pub use ids::{DeviceId, IntegrationId};
pub use names::{DeviceName, IntegrationName, MessageTopic, NameError};
pub use position::{Epoch, JournalId, MessageId, Offset};
pub use problem::Problem;
pub use record::{Draft, Kind, Message, Qos, Record};
pub use settings::{
    BindingState, BodyFormat, DeviceKind, IntegrationState, OnExisting, OnFull, OnMissing, OnMissingKeys, Tier,
    Transport,
};
pub use time::Timestamp;
