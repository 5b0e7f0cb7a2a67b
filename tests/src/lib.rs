//! The kit of the end-to-end tests: it starts the real binary and speaks to it from outside.
//!
//! Nothing here imports the crates under test, but for the MQTT client that plays a device. In reading order:
//!
//! - [`process`]: the `hubward` binary as a child process that is killed when the test ends;
//! - [`server`]: `hubward up`, on port 0 and a data folder of its own, stopped, killed and started again;
//! - [`hub`]: `hubward local-hub` as a process of its own;
//! - [`hub_fleet`]: thousands of devices that speak to a hub directly, and what a reader finds of theirs;
//! - [`portal`]: somebody who changes identities in the hub outside of Hubward;
//! - [`cli`]: admin commands and their JSON;
//! - [`http`]: the API asked with a token, with a session, or by a stranger;
//! - [`device`]: a device that publishes by MQTT;
//! - [`events`]: what arrived at the hub, and the rules it must keep (every signal, order, repeats);
//! - [`world`]: a server and a hub together, and what most tests do with them;
//! - [`azure`]: what Hubward does at a hub, done at one, and what that hub answers where documents are silent;
//! - [`proxy`]: a TCP proxy between any two parts that can cut, delay and hold what flows;
//! - [`faults`]: the kit of the fault suite: seeds, a scene to break, and the one verdict.

pub mod azure;
pub mod cli;
pub mod device;
pub mod events;
pub mod faults;
pub mod http;
pub mod hub;
pub mod hub_fleet;
pub mod portal;
pub mod process;
pub mod proxy;
mod reserved;
pub mod server;
pub mod world;

pub use cli::Cli;
pub use device::Device;
pub use events::Arrivals;
pub use http::Http;
pub use hub::Hub;
pub use hub_fleet::HubFleet;
pub use portal::Portal;
pub use proxy::Proxy;
pub use server::{Server, ServerOptions};
pub use world::{Credentials, World};
