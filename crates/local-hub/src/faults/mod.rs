//! Faults on demand: what the hub does wrong because somebody asked for it.
//!
//! - [`desk`]: where endpoints ask what is to go wrong;
//! - [`wire`]: connections that can be held still and cut.

#![allow(dead_code, reason = "its callers follow")]

mod desk;
mod wire;

#[allow(unused_imports, reason = "its callers follow")]
pub(crate) use desk::{Answer, Faults, Intake};
#[allow(unused_imports, reason = "its callers follow")]
pub(crate) use wire::{Wire, Wires};
