//! Nothing acknowledged is lost, repeated under another name, or out of order, whatever breaks.
//!
//! Every case plays its plan with one seed after the other (`HUBWARD_FAULT_SEED`, `HUBWARD_FAULT_RUNS`) and ends with the
//! same verdict at the hub. `docs/faults.md` names each case beside what a user sees and does.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

mod demo;
mod hub;
mod identities;
mod kills;
mod network;
mod sessions;
mod signals;
mod storage;
mod verdict;
