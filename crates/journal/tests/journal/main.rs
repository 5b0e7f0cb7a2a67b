//! The journal's promises, from outside.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod commit;
mod damage;
mod faults;
mod golden;
mod hold;
mod kit;
mod looking;
mod model;
mod reading;
mod real;
mod retention;
