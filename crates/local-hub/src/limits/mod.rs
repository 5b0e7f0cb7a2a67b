//! What the hub refuses because there is too much of it: a tier's quota and throttles (IoT Hub wire reference, section 7).
//!
//! - [`desk`]: the one place where endpoints ask, before they do anything;
//! - [`figures`]: what each tier allows; [`throttle`]: so many in a time; [`meter`]: the day's messages, as they are billed;
//! - [`refusal`]: how it is told on each transport.
//!
//! Without a tier nothing is refused here: sizes are checked by whoever takes a message apart.

mod desk;
mod figures;
mod meter;
mod refusal;
mod throttle;

pub use desk::LimitOptions;
pub(crate) use desk::{Kind, Limits};
pub use meter::Metering;
pub(crate) use meter::{Charge, Used};
pub(crate) use refusal::Refusal;
