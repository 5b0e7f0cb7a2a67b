//! Benchmarks beside peers, in one interleaved run on one machine.
//!
//! In reading order:
//!
//! - [`loader`]: the load, many MQTT connections with a window of unacknowledged signals;
//! - [`system`]: what is loaded: Hubward, and the Node.js bridge that does the original service's job;
//! - [`arrived`]: what the hub has in the end: every signal once, in order;
//! - [`rounds`]: interleaved rounds and what may be concluded from them;
//! - [`usage`]: memory and processor time of a process.

pub mod arrived;
pub mod loader;
pub mod rounds;
pub mod system;
pub mod usage;
