//! What needs somebody's eye, and who is told of it.
//!
//! Whoever notices something raises an alarm in the registry by itself: lanes, the healer, drift. Here is what no other part
//! can say, because it shows only in what several of them tell:
//!
//! - [`Judge`]: looks at everything every few seconds, raises what is so and clears what is over; `rules` say what must be
//!   open, given what was seen, and `drops` what of the broker's drops somebody must be told;
//! - [`Habits`]: how long each device is usually silent, and which is silent for longer; `silence` holds the figures of one;
//! - [`webhook`]: tells a target of yours of each alarm, in order and signed, until it answers.
//!
//! Nothing here starts a task: whoever puts the server together runs [`Judge::run`] and [`webhook::Teller::run`], and ends
//! them.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may fail at any step"))]

mod drops;
mod habits;
mod judge;
mod rules;
mod silence;
pub mod webhook;

pub use habits::{Habits, Silent};
pub use judge::{Judge, Sources};
