//! What the hub refuses because there is too much of it: a tier's quota and throttles (IoT Hub wire reference, section 7).
//!
//! - [`desk`]: the one place where endpoints ask, before they do anything;
//! - [`refusal`]: how it is told on each transport.
//!
//! Without a tier nothing is refused here: sizes are checked by whoever takes a message apart.

#![allow(dead_code, reason = "its callers follow")]

mod desk;
mod refusal;

#[allow(unused_imports, reason = "its callers follow")]
pub(crate) use desk::{Kind, Limits};
#[allow(unused_imports, reason = "its callers follow")]
pub(crate) use refusal::Refusal;
