//! Hubward: an MQTT broker that mirrors devices in Azure IoT Hub and republishes every signal there.
//!
//! This crate holds the only wiring of the parts, and everything of the command line; the binary beside it is one call.
//! No rule of the business is decided here: those are in the crates below.
//!
//! In reading order:
//!
//! - [`config`]: the settings: defaults, file, environment, flags;
//! - [`server`]: starts and stops everything in order;
//! - [`hub_link`]: the way to a hub for the commands that speak to one themselves;
//! - [`cli`]: the commands, one file for each family;
//! - [`demo`]: the main job shown by itself;
//! - [`observe`]: logs and metrics; [`units`]: durations and sizes as people write them.

pub mod cli;
pub mod config;
pub mod demo;
pub mod hub_link;
pub mod observe;
pub mod server;
pub mod units;
