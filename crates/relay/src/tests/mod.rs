//! The data plane against a hub, a journal and a registry in memory, in virtual time.

pub(crate) mod ledger;
mod model;
mod pace;
mod quarantine;
pub(crate) mod records;
mod scenarios;
mod thousand;
mod world;
