//! The interface asked as a client asks it, without sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod handlers;
mod kit;
mod openapi;
mod pages;
mod rights;
mod session;
