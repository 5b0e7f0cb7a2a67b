//! Faults on demand: what the hub does wrong because somebody asked for it.
//!
//! - [`kind`]: what can be asked for;
//! - [`desk`]: where endpoints ask what is to go wrong;
//! - [`keeper`]: what a fault does when it begins and when it ends;
//! - [`wire`]: connections that can be held still and cut; [`closed`]: a port that refuses connections.

mod closed;
mod desk;
mod keeper;
mod kind;
mod wire;

pub(crate) use closed::Closed;
pub(crate) use desk::{Answer, Arriving, Faults, Intake};
pub(crate) use keeper::{NotBegun, begin, clear, run};
pub use kind::{FaultKind, FaultSpec, FaultView, Outage, WrongCertificate};
pub(crate) use wire::{Seen, Wire};
