//! Device-to-cloud messages over HTTPS: a request for each message, or for several as a batch.
//!
//! A [`Client`] holds the kept-alive connections to a hub, which all devices share; a [`Sender`] is a device. There is
//! no link and no driver: a device exists for the hub only while a request of it is under way, nothing is stolen, and
//! closing takes no time. In return every request carries a token and a good kilobyte of headers.
//!
//! A single message travels as its body, with properties as headers; a batch as JSON with the bodies in Base64. Header
//! names have no case and values no outer blanks, so a message with a property that headers would change travels as a
//! batch of one.

mod client;
mod encode;
mod refusal;
mod sender;

pub use client::Client;
pub use sender::Sender;

pub use crate::link::{Identity, NotSent, OpenError, SendError, Target, Timeouts};

#[cfg(test)]
mod tests;
