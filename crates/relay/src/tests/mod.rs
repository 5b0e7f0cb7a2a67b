//! The data plane against a hub, a journal and a registry in memory, in virtual time.

mod held;
pub(crate) mod ledger;
mod limits;
mod model;
mod night;
mod pace;
mod quarantine;
pub(crate) mod records;
mod scenarios;
mod thousand;
mod world;
