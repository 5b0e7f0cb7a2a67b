//! The hub governed: faults, clock, usage, connections, over HTTP on a port of its own.
//!
//! - [`file`]: the address and the token, in a file that only the owner can read;
//! - [`server`]: the listener, and who may ask; [`routes`]: what can be asked.

mod file;
mod routes;
mod server;

pub(crate) use file::ADMIN_FILE;
pub use file::AdminFile;
pub(crate) use server::{Server, bind};

#[cfg(test)]
mod tests;
