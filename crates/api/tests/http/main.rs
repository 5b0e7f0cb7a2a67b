//! The interface asked as a client asks it, without sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod alarms;
mod bounds;
mod changes;
mod dropped;
mod handlers;
mod hubs;
mod kit;
mod openapi;
mod operations;
mod pages;
mod rights;
mod rotations;
mod session;
mod watched;
